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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_slides),
        cmocka_unit_test(a_long_pause_forgets_everything_settled),
        cmocka_unit_test(what_is_in_flight_counts_for_ever),
        cmocka_unit_test(the_wait_is_until_enough_has_left),
        cmocka_unit_test(threads_never_pass_the_limit),
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
