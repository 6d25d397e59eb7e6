/* breaker: scripts of calls on a clock of their own, and threads that race for the one probe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/health/breaker.h"

/* A script of words: "ok", "bad" (a call that ends so at once; it must be let pass), "no" (a call
 * must not pass), "trip", "probe" (a call passes and stays under way), "late-ok", "late-bad",
 * "forget" (the call under way ends), "+N" (N ms pass), "xN" (the next word N times), and
 * "closed", "open", "half_open" (what it must be now). */
static void run(const char *script)
{
    char text[1024], *save = NULL;
    struct breaker b = {0};
    struct breaker_change change;
    uint64_t now = 1000000, ticket, under_way = 0;
    long times = 1;
    strncpy(text, script, sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (*w == '+') {
            now += strtoull(w + 1, NULL, 10);
            continue;
        }
        if (*w == 'x') {
            times = strtol(w + 1, NULL, 10);
            continue;
        }
        for (; times > 0; times--) {
            if (!strcmp(w, "ok") || !strcmp(w, "bad")) {
                if (!breaker_enter(&b, now, &ticket, &change))
                    fail_msg("'%s' was not let pass in: %s", w, script);
                breaker_report(&b, ticket, *w == 'o', now, &change);
            } else if (!strcmp(w, "no")) {
                if (breaker_enter(&b, now, &ticket, &change))
                    fail_msg("a call passed in: %s", script);
            } else if (!strcmp(w, "probe")) {
                assert_true(breaker_enter(&b, now, &under_way, &change));
            } else if (!strcmp(w, "late-ok") || !strcmp(w, "late-bad")) {
                breaker_report(&b, under_way, !strcmp(w, "late-ok"), now, &change);
            } else if (!strcmp(w, "forget")) {
                breaker_forget(&b, under_way, now);
            } else if (!strcmp(w, "trip")) {
                breaker_trip(&b, now, &change);
            } else if (strcmp(breaker_state_name(breaker_look(&b, now, NULL)), w) != 0) {
                fail_msg("not '%s' (but %s) in: %s", w,
                         breaker_state_name(breaker_look(&b, now, NULL)), script);
            }
        }
        times = 1;
    }
}

static void scripts(void **state)
{
    static const char *const all[] = {
        /* in a row */
        "closed x4 bad closed bad open no",
        "x4 bad ok x4 bad closed bad open",
        /* half of at least 20 in 30 s; in turn, so never five in a row */
        "x3 bad x3 ok x3 bad x3 ok x3 bad x3 ok closed bad closed bad open",
        "x3 ok x3 bad x3 ok x3 bad x3 ok x4 bad ok closed bad open",
        "x40 ok x4 bad ok x4 bad ok x4 bad closed",
        /* the window moves on */
        "x3 bad ok x3 bad ok x3 bad ok +31000 x3 bad ok x3 bad ok closed",
        /* open for 5 s, then one probe at a time */
        "x5 bad +4999 no +1 probe half_open no late-ok closed x4 bad closed",
        "x5 bad +5000 probe no +119999 no +1 probe no",
        "x5 bad +5000 probe forget open probe late-ok closed",
        /* a probe that fails doubles the time, up to 60 s */
        "x5 bad +5000 bad open +9999 no +1 bad +19999 no +1 bad +39999 no +1 bad +59999 no +1 "
        "bad +59999 no +1 ok closed",
        /* soon open again: the time goes on doubling; calm for a minute: from the start */
        "x5 bad +5000 ok x5 bad +9999 no +1 ok closed",
        "x5 bad +5000 ok +60000 x5 bad +4999 no +1 ok closed",
        /* what began before says nothing of now */
        "probe x5 bad open late-ok open late-bad +5000 ok closed late-bad x4 bad closed",
        "x5 bad +5000 probe +120000 bad open late-ok open",
        /* one proof is enough */
        "trip open +4999 no trip +1 ok closed",
        "x5 bad +5000 trip open +9999 no +1 ok",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        run(all[i]);
}

static void changes_are_told_once(void **state)
{
    struct breaker b = {0};
    struct breaker_change c;
    uint64_t t, wait;
    for (int i = 0; i < 4; i++) {
        assert_true(breaker_enter(&b, 100, &t, &c));
        breaker_report(&b, t, false, 100, &c);
        assert_int_equal(c.from, c.to);
    }
    breaker_report(&b, t, false, 100, &c);
    assert_int_equal(c.from, BREAKER_CLOSED);
    assert_int_equal(c.to, BREAKER_OPEN);
    assert_int_equal(c.open_ms, 5000);
    breaker_report(&b, t, false, 100, &c);
    assert_int_equal(c.from, c.to);
    assert_int_equal(breaker_look(&b, 1100, &wait), BREAKER_OPEN);
    assert_int_equal(wait, 4000);
    assert_true(breaker_enter(&b, 5100, &t, &c));
    assert_int_equal(c.to, BREAKER_HALF_OPEN);
    assert_int_equal(breaker_look(&b, 5100, &wait), BREAKER_HALF_OPEN);
    assert_int_equal(wait, BREAKER_PROBE_MS);
    breaker_report(&b, t, true, 5200, &c);
    assert_int_equal(c.to, BREAKER_CLOSED);
    breaker_look(&b, 5200, &wait);
    assert_int_equal(wait, 0);
}

static void a_tally_forgets_and_never_wraps(void **state)
{
    struct tally t = {0};
    for (int i = 0; i < 3; i++)
        tally_add(&t, 1000, 50000, 1000000, 1000000);
    assert_int_equal(tally_sum(&t, 1000, 50000).all, 1048575);
    assert_int_equal(tally_sum(&t, 1000, 59999).marked, 1048575);
    assert_int_equal(tally_sum(&t, 1000, 60000).all, 0);
    tally_add(&t, 1000, 60000, 2, 1);
    assert_int_equal(tally_sum(&t, 1000, 60000).all, 2);
    tally_add(&t, 1000, 60000, 0, -5);
    assert_int_equal(tally_sum(&t, 1000, 60000).marked, 0);
    tally_add(&t, 1000, 50000, 7, 7); /* a late thread: its sub-bucket has been given away */
    assert_int_equal(tally_sum(&t, 1000, 60000).all, 2);
    assert_int_equal(tally_sum(&t, 1000, 86400000).all, 0);
}

enum { THREADS = 4, ROUNDS = 2000 };
static struct breaker shared;
static _Atomic uint64_t now_ms;
static _Atomic unsigned passed, opened;
static pthread_barrier_t barrier;

static void *race(void *arg)
{
    struct breaker_change change;
    uint64_t ticket;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&barrier);
        if (breaker_enter(&shared, now_ms, &ticket, &change)) {
            passed++;
            breaker_report(&shared, ticket, false, now_ms, &change);
            opened += change.to == BREAKER_OPEN && change.from != BREAKER_OPEN;
        }
        pthread_barrier_wait(&barrier);
        if (arg)
            now_ms += BREAKER_OPEN_MAX_MS;
    }
    return NULL;
}

static void one_thread_gets_the_probe(void **state)
{
    pthread_t t[THREADS];
    struct breaker_change change;
    breaker_trip(&shared, 0, &change);
    now_ms = BREAKER_OPEN_MAX_MS;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, race, i ? NULL : &shared), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(passed, ROUNDS);
    assert_int_equal(opened, ROUNDS);
}

static struct tally counted;

static void *count(void *arg)
{
    for (int i = 0; i < 20000; i++)
        tally_add(&counted, 3000, 9000 + (uint64_t)(i % 3) * 3000, 1, i % 2);
    return NULL;
}

static void no_count_is_lost(void **state)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(tally_sum(&counted, 3000, 15000).all, THREADS * 20000);
    assert_int_equal(tally_sum(&counted, 3000, 15000).marked, THREADS * 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts),
        cmocka_unit_test(changes_are_told_once),
        cmocka_unit_test(a_tally_forgets_and_never_wraps),
        cmocka_unit_test(one_thread_gets_the_probe),
        cmocka_unit_test(no_count_is_lost),
    };
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
