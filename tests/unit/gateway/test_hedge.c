/* hedge: shares: no more of a route's requests, and of their cost, than it allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/hedge.h"

/* Of n requests, one a second and every cheap-th of them dear, how many were hedged? */
static unsigned run(unsigned n, unsigned percent, unsigned cost_percent, double hedge_cost)
{
    struct hedge_share s = {0};
    unsigned taken = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t now = 1000000 + i * 1000ull;
        hedge_share_add(&s, 1, now);
        taken += hedge_share_take(&s, percent, cost_percent, hedge_cost, now);
    }
    return taken;
}

static void test_share_of_requests(void **state)
{
    assert_int_equal(run(9, 10, 100, 0), 0);
    assert_int_equal(run(10, 10, 100, 0), 1);
    assert_in_range(run(1000, 10, 100, 0), 95, 105);
    assert_int_equal(run(1000, 100, 100, 0), 1000);
    assert_in_range(run(1000, 1, 100, 0), 5, 15);
}

static void test_share_of_cost(void **state)
{
    assert_in_range(run(1000, 100, 10, 1), 95, 105);
    assert_in_range(run(1000, 100, 10, 5), 15, 25); /* dearer: fewer */
    assert_int_equal(run(1000, 100, 10, 0), 1000);  /* what is not priced is not counted */
}

static void test_what_is_long_ago(void **state)
{
    struct hedge_share s = {0};
    for (int i = 0; i < 100; i++)
        hedge_share_add(&s, 1, 5000);
    for (int i = 0; i < 10; i++)
        assert_true(hedge_share_take(&s, 10, 100, 0, 5000));
    assert_false(hedge_share_take(&s, 10, 100, 0, 5000));
    assert_false(hedge_share_take(&s, 10, 100, 0, 5000 + 86400000ull * 365)); /* and ends soon */
    for (int i = 0; i < 10; i++)
        hedge_share_add(&s, 1, 6000 + 86400000ull * 365);
    assert_true(hedge_share_take(&s, 10, 100, 0, 6000 + 86400000ull * 365));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_of_requests),
        cmocka_unit_test(test_share_of_cost),
        cmocka_unit_test(test_what_is_long_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
