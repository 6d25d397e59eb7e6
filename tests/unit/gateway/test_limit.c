/* limit: windows slide, reservations are all or nothing, and threads never pass the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <cmocka.h>

#include "gateway/limit.h"

static void a_window_slides(void **state)
{
    struct limit_cell c;
    uint64_t t = 1000000;
    limit_init(&c, 60000, t);
    assert_true(limit_reserve(&c, 10, 6, t));
    assert_false(limit_reserve(&c, 10, 5, t));
    limit_settle(&c, 6, 4, t);
    assert_int_equal(limit_used(&c, t), 4);
    assert_true(limit_reserve(&c, 10, 6, t + 30000));
    limit_settle(&c, 6, 6, t + 30000);
    assert_false(limit_reserve(&c, 10, 1, t + 59000));
    assert_int_equal(limit_used(&c, t + 60000), 6);
    assert_int_equal(limit_used(&c, t + 90000), 0);
    assert_int_equal(limit_used(&c, t + 10000000), 0);
}

static void a_long_pause_forgets_everything_settled(void **state)
{
    struct limit_cell c;
    limit_init(&c, 60000, 0);
    for (uint64_t t = 0; t < 60000; t += 1000) {
        assert_true(limit_reserve(&c, 60, 1, t));
        limit_settle(&c, 1, 1, t);
    }
    assert_false(limit_reserve(&c, 60, 1, 59999));
    assert_int_equal(limit_used(&c, 86400000), 0);
}

static void what_is_in_flight_counts_for_ever(void **state)
{
    struct limit_cell c;
    limit_init(&c, 60000, 0);
    assert_true(limit_reserve(&c, 5, 5, 0));
    assert_false(limit_reserve(&c, 5, 1, 600000));
    assert_int_equal(limit_wait_ms(&c, 5, 1, 600000), -1);
    limit_cancel(&c, 5);
    assert_int_equal(limit_used(&c, 600000), 0);
    assert_int_equal(atomic_load(&c.in_flight), 0);
}

static void the_wait_is_until_enough_has_left(void **state)
{
    struct limit_cell c;
    limit_init(&c, 60000, 0);
    assert_true(limit_reserve(&c, 10, 5, 500));
    limit_settle(&c, 5, 5, 500);
    assert_true(limit_reserve(&c, 10, 5, 20500));
    limit_settle(&c, 5, 5, 20500);
    assert_int_equal(limit_wait_ms(&c, 10, 5, 30000), 60000 - 30000);
    assert_int_equal(limit_wait_ms(&c, 10, 6, 30000), 80000 - 30000);
    assert_int_equal(limit_wait_ms(&c, 10, 11, 30000), -1);
}

enum { LIMIT = 1000, THREADS = 4, TRIES = 20000 };
static struct limit_cell shared;
static _Atomic int64_t held, worst, admitted;

static void *hammer(void *arg)
{
    for (int i = 0; i < TRIES; i++) {
        int64_t ask = 1 + i % 300;
        if (!limit_reserve(&shared, LIMIT, ask, 0))
            continue;
        int64_t now = atomic_fetch_add(&held, ask) + ask, w = atomic_load(&worst);
        while (now > w && !atomic_compare_exchange_weak(&worst, &w, now))
            ;
        atomic_fetch_add(&admitted, 1);
        atomic_fetch_sub(&held, ask);
        limit_cancel(&shared, ask);
    }
    return NULL;
}

static void threads_never_pass_the_limit(void **state)
{
    pthread_t t[THREADS];
    limit_init(&shared, 60000, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_true(admitted > 0);
    assert_true(worst <= LIMIT);
    assert_int_equal(limit_used(&shared, 0), 0);
}

/* Every thread settles through all ticks of a window, at its own pace: each change of tick is met
 * by several at once, and nothing has left the window at the end. */
enum { ROUNDS = 400, EACH_TICK = 20 };
static pthread_barrier_t gate;

static void *settle_through_a_window(void *arg)
{
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&gate);
        for (uint64_t tick = 0; tick < LIMIT_BUCKETS; tick++)
            for (int i = 0; i < EACH_TICK; i++)
                limit_settle(&shared, 0, 3, 120 + tick);
        pthread_barrier_wait(&gate);
        if (!arg)
            continue;
        assert_int_equal(limit_used(&shared, 120 + LIMIT_BUCKETS - 1),
                         3 * THREADS * EACH_TICK * LIMIT_BUCKETS);
        assert_int_equal(limit_used(&shared, 120 + 2 * LIMIT_BUCKETS), 0);
        limit_init(&shared, LIMIT_BUCKETS, 120);
    }
    return NULL;
}

static void no_settlement_is_lost_where_the_window_moves(void **state)
{
    pthread_t t[THREADS];
    limit_init(&shared, LIMIT_BUCKETS, 120); /* sub-buckets of 1 ms */
    pthread_barrier_init(&gate, NULL, THREADS);
    for (intptr_t i = 1; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, settle_through_a_window, NULL), 0);
    settle_through_a_window(&shared);
    for (int i = 1; i < THREADS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&gate);
}

static void ticks_that_wrap_are_told_apart(void **state)
{
    struct limit_cell c;
    uint64_t t = 0xffff - 30; /* sub-buckets of 1 ms; their 16 bits wrap in mid-window */
    limit_init(&c, LIMIT_BUCKETS, t);
    for (int i = 0; i < 60; i++)
        limit_settle(&c, 0, 1, t + (uint64_t)i);
    assert_int_equal(limit_used(&c, t + 59), 60);
    assert_int_equal(limit_used(&c, t + 59 + 15), 45);
    assert_int_equal(limit_used(&c, t + 0x10000), 0);
    limit_settle(&c, 0, 7, t + 0x10000);
    assert_int_equal(limit_used(&c, t + 0x20000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_slides),
        cmocka_unit_test(a_long_pause_forgets_everything_settled),
        cmocka_unit_test(what_is_in_flight_counts_for_ever),
        cmocka_unit_test(the_wait_is_until_enough_has_left),
        cmocka_unit_test(threads_never_pass_the_limit),
        cmocka_unit_test(no_settlement_is_lost_where_the_window_moves),
        cmocka_unit_test(ticks_that_wrap_are_told_apart),
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
