/* histogram, counter, metrics_text: quantiles against the sorted data, merging, rendering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/metrics_text.h"
#include "core/rng.h"

#define N 20000

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_within_five_percent(void **state)
{
    static uint64_t v[N];
    static const double qs[] = {0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1};
    rng_seed(3);
    for (int shape = 0; shape < 3; shape++) {
        struct histogram h = {0};
        for (int i = 0; i < N; i++) {
            v[i] = shape == 0   ? rng_below(100000)
                   : shape == 1 ? (uint64_t)exp(rng_unit() * 21)
                                : 1 + rng_below(40);
            histogram_record(&h, v[i]);
        }
        qsort(v, N, sizeof *v, by_value);
        for (size_t k = 0; k < sizeof qs / sizeof *qs; k++) {
            size_t rank = (size_t)ceil(qs[k] * N);
            double exact = (double)v[rank ? rank - 1 : 0], got = histogram_quantile(&h, qs[k]);
            if (fabs(got - exact) > 0.05 * exact)
                fail_msg("shape %d: q %.3f is %.1f, told %.1f", shape, qs[k], exact, got);
        }
    }
}

static void every_value_lands_near_itself(void **state)
{
    for (uint64_t v = 0; v < 1ull << 31; v += 1 + v / 50) {
        struct histogram h = {0};
        histogram_record(&h, v);
        double got = histogram_quantile(&h, 0.5);
        if (fabs(got - (double)v) > 0.05 * (double)v)
            fail_msg("%llu is told as %.2f", (unsigned long long)v, got);
    }
}

static void extremes_are_kept(void **state)
{
    struct histogram h = {0};
    assert_true(histogram_quantile(&h, 0.5) == 0);
    histogram_record(&h, UINT32_MAX);
    histogram_record(&h, 0);
    assert_int_equal(histogram_count(&h), 2);
    assert_true(histogram_quantile(&h, 0) == 0);
    assert_true(histogram_quantile(&h, 1) > 2e9);
}

static void merging_equals_recording_together(void **state)
{
    static struct histogram a, b, both;
    for (int i = 0; i < N; i++) {
        uint64_t v = rng_below(1 << 20);
        histogram_record(i % 3 ? &a : &b, v);
        histogram_record(&both, v);
    }
    histogram_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof a);
}

static void counters_are_summed_over_workers(void **state)
{
    struct {
        char other[24];
        struct counter requests;
    } workers[3] = {0};
    counter_add(&workers[0].requests, 5);
    counter_add(&workers[2].requests, 7);
    counter_add(&workers[2].requests, 1);
    assert_int_equal(counter_sum(&workers[0].requests, 3, sizeof *workers), 13);
}

static void labels_are_escaped(void **state)
{
    struct buf b;
    struct metrics_label l[] = {{"a", STR("x\"\\\n")}, {"b", STR("")}};
    buf_init(&b, 4096);
    metrics_text_family(&b, "m", "counter", "Of tests.");
    metrics_text_u64(&b, "m", l, 2, 3);
    metrics_text_i64(&b, "m", NULL, 0, -3);
    metrics_text_f64(&b, "m", l + 1, 1, 0.25);
    metrics_text_f64(&b, "m", NULL, 0, INFINITY);
    assert_string_equal(b.p, "# HELP m Of tests.\n# TYPE m counter\n"
                             "m{a=\"x\\\"\\\\\\n\",b=\"\"} 3\nm -3\nm{b=\"\"} 0.25\nm +Inf\n");
    buf_release(&b);
}

static void histograms_render_cumulatively(void **state)
{
    static struct histogram h;
    struct buf b;
    struct metrics_label l = {"model", STR("m")};
    histogram_record(&h, 300);
    histogram_record(&h, 40 * 1000);
    histogram_record(&h, 3000ull * 1000000);
    buf_init(&b, 65536);
    metrics_text_seconds(&b, "t", &l, 1, &h);
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"0.00025\"} 0\n"));
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"0.025\"} 1\n"));
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"0.05\"} 2\n"));
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"600\"} 2\n"));
    assert_non_null(strstr(b.p, "t_bucket{model=\"m\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(b.p, "t_sum{model=\"m\"} 3000.0403\nt_count{model=\"m\"} 3\n"));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_five_percent),
        cmocka_unit_test(every_value_lands_near_itself),
        cmocka_unit_test(extremes_are_kept),
        cmocka_unit_test(merging_equals_recording_together),
        cmocka_unit_test(counters_are_summed_over_workers),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(histograms_render_cumulatively),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
