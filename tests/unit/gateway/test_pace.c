/* pace: streams that are fast enough, on the average, however they come; and those that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/pace.h"

/* Feeds step tokens every gap_ms. When it was found too slow, 0: never in ten minutes. */
static uint64_t run(uint32_t min_tps, uint32_t step, uint64_t gap_ms)
{
    struct pace p = {.min_tps = min_tps};
    uint32_t tokens = 0;
    pace_restart(&p, 0, 1000);
    for (uint64_t now = 1000 + gap_ms; now < 600000; now += gap_ms) {
        if (pace_due_ms(&p) <= now)
            return pace_due_ms(&p);
        pace_look(&p, tokens += step, now);
    }
    return 0;
}

static void test_rates(void **state)
{
    assert_int_equal(run(10, 1, 100), 0); /* exactly as fast as it must be */
    assert_int_equal(run(10, 1, 101), 1000 + PACE_MS);
    assert_int_equal(run(10, 9, 1000), 1000 + PACE_MS);
    assert_int_equal(run(10, 250, 25000), 0); /* seldom, but much */
    assert_int_equal(run(10, 200, 25000), 1000 + PACE_MS);
    assert_int_equal(run(1, 0, 50), 1000 + PACE_MS);
    assert_int_equal(run(100000, UINT32_MAX / 4096, 1000), 0);
}

/* What was fast before does not pay for what is slow now. */
static void test_fast_then_slow(void **state)
{
    struct pace p = {.min_tps = 10};
    pace_restart(&p, 0, 0);
    pace_look(&p, 100000, 1000);
    assert_int_equal(pace_due_ms(&p), 1000 + PACE_MS);
    pace_look(&p, 100001, 20000);
    assert_int_equal(pace_due_ms(&p), 1000 + PACE_MS);
    pace_look(&p, 100301, 30999); /* it has caught up */
    assert_int_equal(pace_due_ms(&p), 30999 + PACE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_fast_then_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
