/* journal_ring: pages, the reserve, damage, and two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/rng.h"
#include "store/journal_ring.h"

#define RING 65536u

static char dir[64];
static struct ring_shared shared;
static const uint8_t uuid[16] = {1, 2, 3};

static struct journal_ring *make(uint32_t bytes)
{
    struct journal_ring *r;
    struct ring_options o = {dir, dir, uuid, bytes, 7, 3, &shared};
    shared.policy = JOURNAL_CLOSED;
    shared.full = false;
    assert_int_equal(ring_new(&r, &o, NULL), ERR_OK);
    return r;
}

static struct ledger_admitted admitted(uint64_t n, struct str model)
{
    struct ledger_admitted a = {.tenant_id = 1, .at_ms = 5, .est_in = 10, .model = model};
    memcpy(a.request_id, &n, sizeof n);
    return a;
}

static struct ledger_settled settled(uint64_t n, struct str usage)
{
    struct ledger_settled s = {.status = 200, .attempts = 1, .usage_json = usage};
    memcpy(s.request_id, &n, sizeof n);
    return s;
}

static char text[4096];

static int setup(void **state)
{
    memset(text, 'x', sizeof text);
    snprintf(dir, sizeof dir, "/tmp/lyss-ring-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    return rmdir(dir);
}

/* Takes all there is, checking sums, the order and that no record crosses a page. */
static unsigned take_all(struct journal_ring *r, uint64_t *last)
{
    const struct record *rec;
    unsigned n = 0;
    while ((rec = ring_peek(r))) {
        size_t in_page = (size_t)((const unsigned char *)rec - r->data) % JOURNAL_PAGE;
        assert_true(record_valid(rec, JOURNAL_PAGE - in_page));
        assert_int_equal(rec->seq, ++*last);
        ring_stage(r, rec);
        n++;
    }
    ring_release_staged(r);
    return n;
}

static void never_crosses_a_page(void **state)
{
    struct journal_ring *r = make(RING);
    uint64_t last = 0;
    rng_seed(1);
    for (uint64_t i = 0; i < 3000; i++) {
        struct ledger_admitted a = admitted(i, str_make(text, rng_below(300)));
        struct ledger_settled s = settled(i, str_make(text, rng_below(2500)));
        assert_int_equal(journal_admitted(r, &a), ERR_OK);
        journal_settled(r, &s);
        if (rng_below(4) == 0)
            take_all(r, &last);
    }
    take_all(r, &last);
    assert_int_equal(last, 6000);
    ring_free(&r, false);
}

static void who_is_in_can_always_settle(void **state)
{
    struct journal_ring *r = make(RING);
    struct ledger_admitted a;
    struct ledger_progress p = {.channel_id = 4};
    uint64_t n = 0, last = 0;
    while (a = admitted(n, STR("gpt-4o")), journal_admitted(r, &a) == ERR_OK)
        n++;
    assert_true(n > 50 && n < 500);
    for (int i = 0; i < 1000; i++) /* as much as fits; the rest is dropped */
        journal_progress(r, &p);
    assert_true(atomic_load(&r->dropped) > 0);
    for (uint64_t i = 0; i < n; i++) {
        struct ledger_settled s = settled(i, str_make(text, 2048));
        journal_settled(r, &s);
    }
    take_all(r, &last);
    assert_int_equal(journal_admitted(r, &a), ERR_OK);
    ring_free(&r, false);
}

static void full_journal(void **state)
{
    struct journal_ring *r = make(RING);
    struct ledger_admitted a = admitted(1, STR("m"));
    struct ledger_settled s = settled(1, STR(""));
    shared.full = true;
    assert_int_equal(journal_admitted(r, &a), ERR_OVERLOADED);
    shared.policy = JOURNAL_OPEN;
    assert_int_equal(journal_admitted(r, &a), ERR_OK);
    shared.full = false;
    journal_settled(r, &s); /* of an unrecorded request: nothing */
    assert_null(ring_peek(r));
    assert_int_equal(atomic_load(&r->passed), 1);
    ring_free(&r, false);
}

struct found {
    uint64_t after, first, last, n;
};

static uint64_t found_after(void *ctx, uint32_t epoch, uint16_t worker)
{
    assert_int_equal(epoch, 7);
    assert_int_equal(worker, 3);
    return ((struct found *)ctx)->after;
}

static enum err found_each(void *ctx, const struct record *rec)
{
    struct found *f = ctx;
    assert_true(rec->seq > f->last);
    f->first = f->first ? f->first : rec->seq;
    f->last = rec->seq;
    f->n++;
    return ERR_OK;
}

static struct found recover(const struct journal_ring *r, uint64_t after, uint64_t *damaged)
{
    struct found f = {.after = after};
    struct ring_recovery rec = {&f, found_after, found_each, 0};
    assert_int_equal(ring_recover(r->path, &rec, NULL), ERR_OK);
    if (damaged)
        *damaged = rec.damaged;
    return f;
}

/* Laps the ring, then leaves some unread. */
static struct journal_ring *lapped(unsigned unread, uint64_t *last)
{
    struct journal_ring *r = make(RING);
    *last = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct ledger_admitted a = admitted(i, STR("gpt-4o-mini"));
        struct ledger_settled s = settled(i, STR("{\"prompt_tokens\":1}"));
        assert_int_equal(journal_admitted(r, &a), ERR_OK);
        journal_settled(r, &s);
        if (i < 1000 - unread)
            take_all(r, last);
    }
    return r;
}

static void recovers_what_was_not_copied(void **state)
{
    uint64_t last;
    struct journal_ring *r = lapped(100, &last);
    struct found f = recover(r, 0, NULL);
    assert_int_equal(f.n, 200);
    assert_int_equal(f.first, last + 1);
    assert_int_equal(f.last, 2000);
    f = recover(r, 1900, NULL); /* 1 801…1 900 are in a segment already */
    assert_int_equal(f.n, 100);
    assert_int_equal(f.first, 1901);
    ring_free(&r, false);
}

static void recovery_goes_on_at_the_next_page(void **state)
{
    uint64_t last, damaged;
    struct journal_ring *r = lapped(100, &last);
    uint64_t tail = atomic_load(&r->head->tail);
    /* The second page from the tail: hit in its middle. */
    uint64_t at = (tail / JOURNAL_PAGE + 1) * JOURNAL_PAGE + 2000;
    for (int i = 0; i < 200; i++)
        r->data[(at + i) % r->size] ^= 0x55;
    struct found f = recover(r, 0, &damaged);
    assert_int_equal(damaged, 1);
    assert_int_equal(f.first, last + 1);
    assert_int_equal(f.last, 2000);
    assert_true(f.n < 200 && f.n > 150);
    ring_free(&r, false);
}

/* All was copied, and the segments are gone: a lapped ring holds nothing new. */
static void an_earlier_lap_is_not_taken(void **state)
{
    uint64_t last;
    struct journal_ring *r = lapped(0, &last);
    assert_int_equal(last, 2000);
    assert_int_equal(recover(r, 0, NULL).n, 0);
    ring_free(&r, false);
}

static void a_torn_tail_is_left(void **state)
{
    uint64_t last;
    struct journal_ring *r = lapped(100, &last);
    /* A record whose length is out, whose body is not. */
    *(uint32_t *)(r->data + r->at % r->size) = 96;
    assert_int_equal(recover(r, 0, NULL).last, 2000);
    ring_free(&r, false);
}

#define PASSES 200000

static void *consume(void *arg)
{
    struct journal_ring *r = arg;
    uint64_t last = 0;
    while (last < 2 * PASSES)
        if (!take_all(r, &last))
            usleep(100);
    return NULL;
}

static void two_threads(void **state)
{
    struct journal_ring *r = make(RING);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, consume, r), 0);
    for (uint64_t i = 0; i < PASSES;) {
        struct ledger_admitted a = admitted(i, STR("gpt-4o-mini"));
        struct ledger_settled s = settled(i, str_make(text, i % 500));
        if (journal_admitted(r, &a) != ERR_OK) {
            usleep(50);
            continue;
        }
        journal_settled(r, &s);
        i++;
    }
    pthread_join(t, NULL);
    ring_free(&r, false);
}

/* A record as it was before prices were known: its version, its length, its sum. */
static void make_old(struct record *r, uint32_t len)
{
    r->version = 1;
    r->len = len;
    r->crc = record_crc(r, len);
}

static void make_short_of_its_version(struct record *r)
{
    r->version = JOURNAL_VERSION;
    r->crc = record_crc(r, r->len);
}

union any {
    struct record h;
    struct record_attempt attempt;
    struct record_progress progress;
    struct record_settled settled;
    char room[JOURNAL_PAGE];
};

static void an_old_attempt_is_read(void **state)
{
    union any m = {.h = {.type = JOURNAL_ATTEMPT, .version = JOURNAL_VERSION}};
    struct ledger_attempt a = {
        .number = 2, .cost_nusd = 5, .has_cost = true, .price_id = 9, .upstream_model = STR("m-1")};
    struct ledger_attempt back;
    record_pack_attempt(&m.attempt, &a);
    m.h.len = (uint32_t)record_attempt_size(&a);
    m.h.crc = record_crc(&m.h, m.h.len);
    assert_true(record_valid(&m.h, sizeof m));
    record_unpack_attempt(&m.attempt, &back);
    assert_int_equal(back.price_id, 9);
    make_old(&m.h, sizeof m.attempt + 3);
    assert_true(record_valid(&m.h, sizeof m));
    record_unpack_attempt(&m.attempt, &back);
    assert_int_equal(back.price_id, 0);
    assert_int_equal(back.cost_nusd, 5);
    make_short_of_its_version(&m.h);
    assert_false(record_valid(&m.h, sizeof m));
}

static void an_old_progress_is_read(void **state)
{
    union any m = {.h = {.type = JOURNAL_PROGRESS, .version = JOURNAL_VERSION}};
    struct ledger_progress p = {.cost_nusd = 5, .has_cost = true, .price_id = 9}, back;
    record_pack_progress(&m.progress, &p);
    record_unpack_progress(&m.progress, &back);
    assert_true(back.has_cost && back.cost_nusd == 5 && back.price_id == 9);
    make_old(&m.h, 96);
    assert_true(record_valid(&m.h, sizeof m));
    record_unpack_progress(&m.progress, &back);
    assert_false(back.has_cost || back.cost_nusd || back.price_id);
    make_short_of_its_version(&m.h);
    assert_false(record_valid(&m.h, sizeof m));
}

static void an_old_settlement_is_read(void **state)
{
    union any m = {.h = {.type = JOURNAL_SETTLED, .version = JOURNAL_VERSION}};
    struct ledger_settled s = settled(1, STR("{}")), back;
    s.price_id = 9;
    record_pack_settled(&m.settled, &s, false);
    record_unpack_settled(&m.settled, &back);
    assert_int_equal(back.price_id, 9);
    make_old(&m.h, sizeof m.settled + 2);
    assert_true(record_valid(&m.h, sizeof m));
    record_unpack_settled(&m.settled, &back);
    assert_int_equal(back.price_id, 0);
    assert_true(str_eq(back.usage_json, STR("{}")));
    make_short_of_its_version(&m.h);
    assert_false(record_valid(&m.h, sizeof m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_crosses_a_page),
        cmocka_unit_test(who_is_in_can_always_settle),
        cmocka_unit_test(full_journal),
        cmocka_unit_test(recovers_what_was_not_copied),
        cmocka_unit_test(recovery_goes_on_at_the_next_page),
        cmocka_unit_test(an_earlier_lap_is_not_taken),
        cmocka_unit_test(a_torn_tail_is_left),
        cmocka_unit_test(two_threads),
        cmocka_unit_test(an_old_attempt_is_read),
        cmocka_unit_test(an_old_progress_is_read),
        cmocka_unit_test(an_old_settlement_is_read),
    };
    return cmocka_run_group_tests_name("journal_ring", tests, setup, teardown);
}
