/* vitals: decay by the half-life, peaks, slow start, and workers that write at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <cmocka.h>

#include "gateway/balance/balance.h"

static void near(double got, double want)
{
    if (fabs(got - want) > 1e-3 * fabs(want) + 1e-9)
        fail_msg("%g instead of %g", got, want);
}

static struct vitals v;

static int fresh(void **state)
{
    vitals_init(&v, 1000);
    return 0;
}

static void call(uint64_t at, enum vitals_end end, uint32_t ttft_ms)
{
    vitals_started(&v, at);
    if (ttft_ms)
        vitals_first(&v, at, ttft_ms);
    vitals_finished(&v, at, end, 0, 0, 0);
}

static void nothing_is_known_at_first(void **state)
{
    near(vitals_success(&v, 1000), 1);
    near(vitals_weight(&v, 7, 1000), 7);
    assert_true(vitals_ttft(&v, 1000) == 0 && vitals_ttft_peak(&v, 1000) == 0);
    assert_true(vitals_rate(&v, 1000) == 0 && vitals_calls(&v, 1000) == 0);
    assert_int_equal(vitals_in_flight(&v), 0);
}

static void success_is_the_share_that_went_well(void **state)
{
    for (int i = 0; i < 800; i++)
        call(1000, i % 5 ? VITALS_OK : VITALS_FAILED, 0);
    near(vitals_success(&v, 1000), (640.0 + VITALS_PRIOR) / (800 + VITALS_PRIOR));
    near(vitals_weight(&v, 10, 1000), 10 * vitals_success(&v, 1000));
}

static void a_neutral_end_says_nothing(void **state)
{
    for (int i = 0; i < 100; i++)
        call(1000, VITALS_NEUTRAL, 0);
    near(vitals_success(&v, 1000), 1);
    assert_int_equal(vitals_in_flight(&v), 0);
    assert_int_equal(vitals_requests_per_minute(&v, 1000), 100);
}

static void evidence_halves_in_the_half_life(void **state)
{
    for (int i = 0; i < 64; i++)
        call(1000, VITALS_FAILED, 0);
    near(vitals_calls(&v, 1000), 64);
    near(vitals_calls(&v, 1000 + VITALS_HALF_LIFE_MS), 32);
    /* In small steps as in one. */
    for (uint64_t t = 1000 + VITALS_HALF_LIFE_MS; t <= 1000 + 3 * VITALS_HALF_LIFE_MS; t += 70)
        vitals_success(&v, t);
    assert_true(fabs(vitals_calls(&v, 1000 + 3 * VITALS_HALF_LIFE_MS) - 8) < 0.1);
    double then = vitals_success(&v, 1000 + 3 * VITALS_HALF_LIFE_MS);
    assert_true(then > 0.15 && then < 0.25);
    assert_true(vitals_success(&v, 1000 + 20 * VITALS_HALF_LIFE_MS) > 0.999);
}

static void success_after_failure_wins_slowly_back(void **state)
{
    for (int i = 0; i < 50; i++)
        call(1000, VITALS_FAILED, 0);
    double last = vitals_success(&v, 1000);
    for (uint64_t t = 2000; t < 120000; t += 1000) {
        call(t, VITALS_OK, 0);
        assert_true(vitals_success(&v, t) > last - 1e-6);
        last = vitals_success(&v, t);
    }
    assert_true(last > 0.9);
}

static void ttft_is_a_mean_with_a_spread(void **state)
{
    for (int i = 0; i < 100; i++)
        call(1000, VITALS_OK, i % 2 ? 150 : 250);
    near(vitals_ttft(&v, 1000), 200);
    struct vitals_view s;
    vitals_look(&v, 1000, &s);
    near((double)s.samples, 100);
    near((double)s.ttft, 200 * 100);
    near((double)s.square, (150 * 150 + 250 * 250) * 50);
    near(vitals_ttft(&v, 1000 + 10 * VITALS_HALF_LIFE_MS), 200); /* time alone does not move it */
}

static void a_peak_jumps_up_and_comes_down(void **state)
{
    for (int i = 0; i < 99; i++)
        call(1000, VITALS_OK, 100);
    near(vitals_ttft_peak(&v, 1000), 100);
    call(1000, VITALS_OK, 2100);
    assert_true(vitals_ttft_peak(&v, 1000) > 2000);
    assert_true(vitals_ttft(&v, 1000) < 130);
    for (uint64_t t = 1000; t <= 1000 + 2 * VITALS_HALF_LIFE_MS; t += 1000)
        call(t, VITALS_OK, 100);
    double later = vitals_ttft_peak(&v, 1000 + 2 * VITALS_HALF_LIFE_MS);
    assert_true(later > 500 && later < 700);
}

static void rate_is_of_what_follows_the_first_token(void **state)
{
    vitals_started(&v, 1000);
    vitals_finished(&v, 4000, VITALS_OK, 301, 201, 2000);
    near(vitals_rate(&v, 4000), 100);
    assert_int_equal(vitals_tokens_per_minute(&v, 4000), 301);
    assert_int_equal(vitals_tokens_per_minute(&v, 70000), 0);
    vitals_started(&v, 70000); /* neither a lone token nor one without time is a rate */
    vitals_finished(&v, 71000, VITALS_OK, 1, 1, 1000);
    vitals_started(&v, 71000);
    vitals_finished(&v, 71000, VITALS_OK, 100, 100, 0);
    near(vitals_rate(&v, 72000), 100);
    vitals_started(&v, 72000);
    vitals_finished(&v, 72000, VITALS_FAILED, UINT64_MAX, 0, 0);
    assert_true(vitals_tokens_per_minute(&v, 72000) > 0);
}

static void a_run_of_failures_is_told_and_soon_forgotten(void **state)
{
    struct vitals_view s;
    for (int i = 0; i < 500; i++)
        call(1000, VITALS_OK, 0);
    for (int i = 0; i < 4; i++)
        call(1000, VITALS_FAILED, 0);
    vitals_look(&v, 1000, &s);
    near((double)s.trouble, 4);
    assert_true(vitals_success(&v, 1000) > 0.98); /* the long view hardly sees it */
    vitals_look(&v, 1000 + 2 * VITALS_TROUBLE_MS, &s);
    near((double)s.trouble, 1);
    call(1000 + 2 * VITALS_TROUBLE_MS, VITALS_OK, 0);
    vitals_look(&v, 1000 + 2 * VITALS_TROUBLE_MS, &s);
    assert_true(s.trouble == 0);
}

static void load_is_what_a_call_met(void **state)
{
    struct vitals_view s;
    for (int i = 0; i < 5; i++)
        vitals_started(&v, 1000);
    vitals_look(&v, 1000, &s);
    near((double)s.load, 0 + 1 + 2 + 3 + 4);
    near((double)s.calls, 5);
    assert_int_equal(s.in_flight, 5);
}

static void slow_start_rises_from_a_tenth(void **state)
{
    near(vitals_slow_start(&v, 1000), 1);
    for (int i = 0; i < 50; i++)
        call(1000, VITALS_FAILED, 900);
    vitals_recovering(&v, 2000);
    near(vitals_slow_start(&v, 2000), 0.1);
    near(vitals_slow_start(&v, 1500), 0.1); /* another worker's clock is a little behind */
    near(vitals_slow_start(&v, 2000 + VITALS_SLOW_START_MS / 2), 0.55);
    near(vitals_slow_start(&v, 2000 + VITALS_SLOW_START_MS), 1);
    near(vitals_weight(&v, 10, 2000), 1); /* and the failures are forgotten */
    double last = 0;
    for (uint64_t t = 2000; t < 40000; t += 100) {
        assert_true(vitals_slow_start(&v, t) >= last);
        last = vitals_slow_start(&v, t);
    }
}

static void a_contender_carries_what_is_known(void **state)
{
    for (int i = 0; i < 2; i++)
        call(1000, VITALS_FAILED, 0);
    struct contender c = balance_contender(5, 8, &v, 1000);
    assert_int_equal(c.id, 5);
    near(c.weight, 8);
    near(c.effective, 8.0 * VITALS_PRIOR / (2 + VITALS_PRIOR));
    assert_int_equal(c.price_pusd, PRICE_UNKNOWN);
    near(balance_contender(5, 8, NULL, 1000).effective, 8);
}

#define THREADS 4
#define CALLS   20000

static void *worker(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    struct vitals_view seen;
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t now = 1000 + i / 10;
        vitals_started(&v, now);
        if (i % 100 == 0)
            vitals_look(&v, now + self, &seen);
        vitals_first(&v, now, 100);
        vitals_finished(&v, now, (i + self) % 4 ? VITALS_OK : VITALS_FAILED, 11, 11, 100);
    }
    return NULL;
}

static void workers_lose_no_update(void **state)
{
    pthread_t t[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(vitals_in_flight(&v), 0);
    assert_int_equal(vitals_requests_per_minute(&v, 3100), THREADS * CALLS);
    assert_int_equal(vitals_tokens_per_minute(&v, 3100), THREADS * CALLS * 11);
    assert_true(fabs(vitals_success(&v, 3100) - 0.75) < 0.01);
    assert_true(fabs(vitals_ttft(&v, 3100) - 100) < 0.1);
    assert_true(fabs(vitals_rate(&v, 3100) - 100) < 0.1);
    double calls = vitals_calls(&v, 3100); /* 2 s of 30: some 2 % have faded */
    assert_true(calls > 0.95 * THREADS * CALLS && calls <= THREADS * CALLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_known_at_first, fresh),
        cmocka_unit_test_setup(success_is_the_share_that_went_well, fresh),
        cmocka_unit_test_setup(a_neutral_end_says_nothing, fresh),
        cmocka_unit_test_setup(evidence_halves_in_the_half_life, fresh),
        cmocka_unit_test_setup(success_after_failure_wins_slowly_back, fresh),
        cmocka_unit_test_setup(ttft_is_a_mean_with_a_spread, fresh),
        cmocka_unit_test_setup(a_peak_jumps_up_and_comes_down, fresh),
        cmocka_unit_test_setup(rate_is_of_what_follows_the_first_token, fresh),
        cmocka_unit_test_setup(a_run_of_failures_is_told_and_soon_forgotten, fresh),
        cmocka_unit_test_setup(load_is_what_a_call_met, fresh),
        cmocka_unit_test_setup(slow_start_rises_from_a_tenth, fresh),
        cmocka_unit_test_setup(a_contender_carries_what_is_known, fresh),
        cmocka_unit_test_setup(workers_lose_no_update, fresh),
    };
    return cmocka_run_group_tests_name("vitals", tests, NULL, NULL);
}
