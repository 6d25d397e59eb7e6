/* simulate: the bars that balancing has to clear, on fixed seeds, and that the simulator can be
 * believed: the same seed gives the same result, and each scenario does what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "core/json_read.h"
#include "core/rng.h"
#include "gateway/simulate/simulate.h"

#define SEEDS 5
#define PICKS 3000

static struct simulate_report reports[SEEDS];

static int run_all(void **state)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simulate_options o = {.picks = PICKS, .seed = seed + 1};
        if (simulate_all(&reports[seed], &o))
            return 1;
    }
    return 0;
}

static int release_all(void **state)
{
    for (int i = 0; i < SEEDS; i++)
        simulate_report_release(&reports[i]);
    return 0;
}

static unsigned scenario(const char *name)
{
    for (unsigned i = 0; i < reports[0].scenarios_n; i++)
        if (!strcmp(reports[0].scenarios[i]->name, name))
            return i;
    fail_msg("no scenario %s", name);
    return 0;
}

static unsigned algorithm(const char *name)
{
    for (unsigned i = 0; i < reports[0].algorithms_n; i++)
        if (!strcmp(reports[0].algorithms[i]->name, name))
            return i;
    fail_msg("no algorithm %s", name);
    return 0;
}

static const struct simulate_result *result(int seed, const char *s, const char *a)
{
    return simulate_at(&reports[seed], scenario(s), algorithm(a));
}

/* ---- the bars ---------------------------------------------------------------------------------
 */

static void adaptive_is_near_the_best_in_every_scenario(void **state)
{
    unsigned adaptive = algorithm("adaptive");
    for (int seed = 0; seed < SEEDS; seed++) {
        const struct simulate_report *r = &reports[seed];
        for (unsigned i = 0; i < r->scenarios_n; i++) {
            double warm = INFINITY, all = INFINITY;
            for (unsigned k = 0; k < r->algorithms_n; k++)
                if (k != adaptive) {
                    warm = fmin(warm, simulate_at(r, i, k)->warm.objective);
                    all = fmin(all, simulate_at(r, i, k)->all.objective);
                }
            const struct simulate_result *own = simulate_at(r, i, adaptive);
            if (own->warm.objective > 1.10 * warm || own->all.objective > 1.25 * all)
                fail_msg("seed %d, %s: %.3f of the best after the warm-up, %.3f with it", seed + 1,
                         r->scenarios[i]->name, own->warm.objective / warm,
                         own->all.objective / all);
        }
    }
}

static void adaptive_is_best_over_all(void **state)
{
    unsigned adaptive = algorithm("adaptive");
    for (int seed = 0; seed < SEEDS; seed++)
        for (unsigned k = 0; k < reports[seed].algorithms_n; k++)
            if (k != adaptive)
                assert_true(simulate_overall(&reports[seed], adaptive) <
                            simulate_overall(&reports[seed], k));
}

/* Shares of four or five equal channels, by chi-square at p = 0.001. */
static void the_even_ones_are_even(void **state)
{
    static const char *const even[] = {"round_robin", "weighted_random"};
    for (int seed = 0; seed < SEEDS; seed++)
        for (int a = 0; a < 2; a++) {
            const struct simulate_result *r = result(seed, "equal", even[a]);
            double n = r->attempts - SIMULATE_WARM_UP, expected = n / r->scenario->n, chi2 = 0;
            for (unsigned i = 0; i < r->scenario->n; i++)
                chi2 += pow(r->share[i] * n - expected, 2) / expected;
            assert_true(chi2 < (a ? 18.5 : 0.1));
        }
}

/* ---- the scenarios ------------------------------------------------------------------------------
 */

static void the_slow_and_the_failing_are_avoided(void **state)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        assert_true(result(seed, "one-slow", "adaptive")->share[0] < 0.03);
        assert_true(result(seed, "one-failing-20pct", "adaptive")->share[0] < 0.10);
        assert_true(result(seed, "one-slow", "round_robin")->share[0] > 0.19);
    }
}

static void failover_hides_what_another_channel_can_serve(void **state)
{
    for (int seed = 0; seed < SEEDS; seed++)
        for (unsigned k = 0; k < reports[seed].algorithms_n; k++) {
            const struct simulate_result *r =
                simulate_at(&reports[seed], scenario("one-failing-20pct"), k);
            assert_true(r->warm.errors == 0);
            assert_true(r->attempts > r->requests);
            assert_int_equal(simulate_at(&reports[seed], scenario("equal"), k)->attempts, PICKS);
        }
}

static void limits_and_prices_are_kept(void **state)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        const struct simulate_result *r = result(seed, "rate-limited", "adaptive");
        assert_true(r->share[0] * 8 < 1.1 * 120 / 60); /* 8 a second, 120 a minute */
        r = result(seed, "price-differences", "lowest_cost");
        assert_true(r->share[0] > 0.999);
        assert_true(fabs(r->warm.cost_nusd - 400 * 200) < 0.03 * 400 * 200);
    }
}

static void late_channels_get_nothing_before_they_come(void **state)
{
    const struct simulate_result *r = result(0, "cold-start", "round_robin");
    unsigned join = (unsigned)(120 / r->seconds * SIMULATE_SLOTS), before = 0, after = 0;
    for (unsigned t = 0; t < SIMULATE_SLOTS; t++)
        *(t < join ? &before : &after) += r->history[t][3];
    assert_int_equal(before, 0);
    assert_true(after > 100);
}

/* One channel that always fails, and nothing else. */
static void errors_are_told(void **state)
{
    static const struct simulate_scenario hopeless = {
        .name = "hopeless",
        .per_s = 10,
        .n = 1,
        .channels = {{"a", .weight = 1, .ttft_ms = 100, .tokens_per_s = 50, .failing = 1}}};
    struct simulate_options o = {.picks = 500, .seed = 1};
    struct simulate_result r;
    assert_int_equal(simulate_run(&hopeless, balance_default(), &o, &r), ERR_OK);
    assert_true(r.warm.errors == 1 && r.all.errors == 1 && r.warm.p95_ttft_ms == 0);
    assert_int_equal(r.attempts, 500);
}

/* ---- the simulator
 * -------------------------------------------------------------------------------- */

static void the_same_seed_gives_the_same_result(void **state)
{
    for (unsigned k = 0; balance_at(k); k++) {
        struct simulate_options o = {.picks = 1000, .seed = 9};
        struct simulate_result a, b, c;
        assert_int_equal(simulate_run(simulate_scenario_at(6), balance_at(k), &o, &a), ERR_OK);
        rng_seed(k);
        assert_int_equal(simulate_run(simulate_scenario_at(6), balance_at(k), &o, &b), ERR_OK);
        o.seed = 10;
        assert_int_equal(simulate_run(simulate_scenario_at(6), balance_at(k), &o, &c), ERR_OK);
        assert_memory_equal(&a, &b, sizeof a);
        assert_true(a.warm.objective != c.warm.objective);
    }
}

static void shares_add_up(void **state)
{
    for (unsigned i = 0; i < reports[0].scenarios_n; i++)
        for (unsigned k = 0; k < reports[0].algorithms_n; k++) {
            const struct simulate_result *r = simulate_at(&reports[0], i, k);
            double sum = 0;
            unsigned all = 0;
            for (unsigned c = 0; c < r->scenario->n; c++) {
                sum += r->share[c];
                for (unsigned t = 0; t < SIMULATE_SLOTS; t++)
                    all += r->history[t][c];
            }
            assert_true(fabs(sum - 1) < 1e-9);
            assert_int_equal(all, r->attempts);
        }
}

static void few_picks_will_do(void **state)
{
    struct simulate_result r;
    for (unsigned picks = 1; picks < 203; picks += picks < 4 ? 1 : 66) {
        struct simulate_options o = {.picks = picks, .seed = 3};
        assert_int_equal(simulate_run(simulate_scenario_at(0), balance_default(), &o, &r), ERR_OK);
        assert_true(r.all.p95_ttft_ms > 0);
    }
}

/* ---- what is told of it
 * ------------------------------------------------------------------------------ */

static void the_report_is_json(void **state)
{
    struct simulate_options o = {.picks = PICKS, .seed = 1};
    struct json_doc d;
    struct err_info info;
    struct buf out;
    err_info_init(&info);
    buf_init(&out, 1 << 20);
    simulate_json(&reports[0], &o, &out);
    assert_false(buf_failed(&out));
    assert_int_equal(json_parse(&d, buf_view(&out), &info), ERR_OK);
    uint32_t all = json_get(&d, json_root(&d), STR("scenarios"));
    assert_int_equal(json_size(&d, all), reports[0].scenarios_n);
    uint32_t results = json_get(&d, json_child(&d, all), STR("results"));
    assert_int_equal(json_size(&d, results), reports[0].algorithms_n);
    uint32_t overall = json_get(&d, json_root(&d), STR("overall"));
    assert_int_equal(json_size(&d, overall), reports[0].algorithms_n);
    buf_release(&out);
}

static unsigned count(const struct buf *b, const char *what)
{
    unsigned n = 0;
    for (const char *p = b->p; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void the_picture_is_whole(void **state)
{
    for (unsigned i = 0; i < reports[0].scenarios_n; i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        simulate_svg(&reports[0], i, &out);
        assert_false(buf_failed(&out));
        assert_true(str_starts(buf_view(&out), STR("<svg ")));
        assert_true(str_ends(buf_view(&out), STR("</svg>\n")));
        assert_int_equal(count(&out, "<text"), count(&out, "</text>"));
        assert_int_equal(count(&out, "<path"), 2 * reports[0].scenarios[i]->n);
        assert_int_equal(count(&out, "nan") + count(&out, "inf\""), 0);
        buf_release(&out);
    }
}

static void a_report_takes_a_choice(void **state)
{
    struct simulate_options o = {.picks = 300, .seed = 1};
    struct simulate_report r = {.scenarios = {simulate_scenario_find(STR("flapping"))},
                                .algorithms = {&balance_adaptive},
                                .scenarios_n = 1,
                                .algorithms_n = 1};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(simulate_all(&r, &o), ERR_OK);
    assert_true(simulate_relative(&r, 0, 0) == 1);
    simulate_svg(&r, 0, &out);
    assert_int_equal(count(&out, "<path"), 4);
    buf_release(&out);
    simulate_report_release(&r);
    assert_null(simulate_scenario_find(STR("equals")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adaptive_is_near_the_best_in_every_scenario),
        cmocka_unit_test(adaptive_is_best_over_all),
        cmocka_unit_test(the_even_ones_are_even),
        cmocka_unit_test(the_slow_and_the_failing_are_avoided),
        cmocka_unit_test(failover_hides_what_another_channel_can_serve),
        cmocka_unit_test(limits_and_prices_are_kept),
        cmocka_unit_test(late_channels_get_nothing_before_they_come),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(the_same_seed_gives_the_same_result),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(few_picks_will_do),
        cmocka_unit_test(the_report_is_json),
        cmocka_unit_test(the_picture_is_whole),
        cmocka_unit_test(a_report_takes_a_choice),
    };
    return cmocka_run_group_tests_name("simulate", tests, run_all, release_all);
}
