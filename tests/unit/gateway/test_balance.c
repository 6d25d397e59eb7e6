/* balance: each algorithm gives every contender its share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/rng.h"
#include "gateway/balance/balance.h"

static const struct contender three[] = {{11, 5, 5}, {12, 1, 1}, {13, 2, 2}};
static const struct balance_ask ask = {.now_ms = 1};

static void round_robin_is_exact_over_the_sum_of_weights(void **state)
{
    static struct balance_state s;
    unsigned got[3] = {0};
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 8; i++)
            got[balance_round_robin.pick(&s, &ask, three, 3)]++;
        assert_int_equal(got[0], 5 * (round + 1));
        assert_int_equal(got[1], 1 * (round + 1));
        assert_int_equal(got[2], 2 * (round + 1));
    }
}

static void round_robin_spreads_a_heavy_one(void **state)
{
    static struct balance_state s;
    unsigned run = 0, longest = 0;
    for (int i = 0; i < 80; i++) {
        run = balance_round_robin.pick(&s, &ask, three, 3) == 0 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    assert_true(longest <= 3);
}

static void round_robin_survives_a_change_of_members(void **state)
{
    static struct balance_state s;
    for (int i = 0; i < 10; i++)
        assert_true(balance_round_robin.pick(&s, &ask, three, 3) < 3);
    unsigned got[2] = {0};
    for (int i = 0; i < 300; i++)
        got[balance_round_robin.pick(&s, &ask, three + 1, 2)]++;
    assert_true(abs((int)got[0] - 100) <= 3);
}

static void weighted_random_keeps_to_the_weights(void **state)
{
    enum { N = 80000 };
    unsigned got[3] = {0};
    rng_seed(42);
    for (int i = 0; i < N; i++)
        got[balance_weighted_random.pick(NULL, &ask, three, 3)]++;
    double chi2 = 0, weights = 8;
    for (int i = 0; i < 3; i++) {
        double expected = N * three[i].weight / weights, d = got[i] - expected;
        chi2 += d * d / expected;
    }
    assert_true(chi2 < 13.8); /* p = 0.001 at two degrees of freedom */
}

static void names_are_found(void **state)
{
    assert_ptr_equal(balance_find(STR("round_robin")), &balance_round_robin);
    assert_null(balance_find(STR("roundrobin")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_is_exact_over_the_sum_of_weights),
        cmocka_unit_test(round_robin_spreads_a_heavy_one),
        cmocka_unit_test(round_robin_survives_a_change_of_members),
        cmocka_unit_test(weighted_random_keeps_to_the_weights),
        cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
