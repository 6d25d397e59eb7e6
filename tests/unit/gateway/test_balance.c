/* balance: each algorithm gives every contender what is its due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <math.h>
#include <cmocka.h>

#include "core/rng.h"
#include "gateway/balance/affinity.h"
#include "store/rows.h"

#define NOW 1000

static const struct contender three[] = {
    {11, 5, 5, NULL, PRICE_UNKNOWN, 1},
    {12, 1, 1, NULL, PRICE_UNKNOWN, 1},
    {13, 2, 2, NULL, PRICE_UNKNOWN, 1},
};
static const struct balance_ask ask = {.now_ms = NOW};
static struct vitals vitals[BALANCE_MAX];
static struct contender all[BALANCE_MAX];

/* n channels of weight 1 of which nothing is known, ids 1 …, drawn from a fixed seed. */
static void begin(unsigned n)
{
    rng_seed(42);
    for (unsigned i = 0; i < n; i++) {
        vitals_init(&vitals[i], NOW);
        all[i] = balance_contender((int64_t)i + 1, 1, &vitals[i], NOW);
    }
}

static void refresh(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        all[i].effective = vitals_weight(&vitals[i], all[i].weight, NOW);
}

static void calls(unsigned i, unsigned n, uint32_t ttft_ms, bool ok)
{
    while (n--) {
        vitals_started(&vitals[i], NOW);
        if (ok)
            vitals_first(&vitals[i], NOW, ttft_ms);
        vitals_finished(&vitals[i], NOW, ok ? VITALS_OK : VITALS_FAILED, 0, 0, 0);
    }
}

static void shares(const struct balance *b, const struct contender *c, unsigned n, unsigned picks,
                   unsigned *got)
{
    static struct balance_state s;
    s.n = 0;
    memset(got, 0, n * sizeof *got);
    for (unsigned i = 0; i < picks; i++)
        got[b->pick(&s, &ask, c, n)]++;
}

static double chi_square(const unsigned *got, const struct contender *c, unsigned n, unsigned picks)
{
    double chi2 = 0, weights = 0;
    for (unsigned i = 0; i < n; i++)
        weights += c[i].effective;
    for (unsigned i = 0; i < n; i++) {
        double expected = picks * c[i].effective / weights, d = got[i] - expected;
        chi2 += d * d / expected;
    }
    return chi2;
}

/* ---- round_robin ---------------------------------------------------------------------------- */

static void round_robin_is_exact_over_the_sum_of_weights(void **state)
{
    static struct balance_state s;
    unsigned got[3] = {0};
    for (unsigned round = 0; round < 50; round++) {
        for (int i = 0; i < 8; i++)
            got[balance_round_robin.pick(&s, &ask, three, 3)]++;
        assert_int_equal(got[0], 5 * (round + 1));
        assert_int_equal(got[1], 1 * (round + 1));
        assert_int_equal(got[2], 2 * (round + 1));
    }
}

static void round_robin_gives_any_window_its_weight_but_one(void **state)
{
    static struct balance_state s;
    unsigned seen[400], got[3];
    for (unsigned i = 0; i < 400; i++)
        seen[i] = balance_round_robin.pick(&s, &ask, three, 3);
    for (unsigned from = 0; from + 8 <= 400; from++) {
        memset(got, 0, sizeof got);
        for (unsigned i = from; i < from + 8; i++)
            got[seen[i]]++;
        for (unsigned i = 0; i < 3; i++)
            assert_true(fabs(got[i] - three[i].weight) <= 1);
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

static void round_robin_passes_chi_square(void **state)
{
    unsigned got[3];
    shares(&balance_round_robin, three, 3, 80000, got);
    assert_true(chi_square(got, three, 3, 80000) < 0.01);
}

/* ---- weighted_random --------------------------------------------------------------------------
 */

static void weighted_random_keeps_to_the_weights(void **state)
{
    unsigned got[20];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        rng_seed(seed);
        shares(&balance_weighted_random, three, 3, 80000, got);
        assert_true(chi_square(got, three, 3, 80000) < 13.8); /* p = 0.001, two degrees */
        begin(20);
        rng_seed(seed);
        shares(&balance_weighted_random, all, 20, 80000, got);
        assert_true(chi_square(got, all, 20, 80000) < 43.8); /* p = 0.001, 19 degrees */
    }
}

static void weighted_random_follows_success_and_slow_start(void **state)
{
    unsigned got[3];
    begin(3);
    calls(0, 500, 100, true);
    calls(0, 500, 100, false);
    vitals_recovering(&vitals[1], NOW);
    refresh(3);
    assert_true(fabs(all[0].effective - 0.5) < 0.01 && fabs(all[1].effective - 0.1) < 1e-6);
    shares(&balance_weighted_random, all, 3, 80000, got);
    assert_true(chi_square(got, all, 3, 80000) < 13.8);
}

/* ---- least_connections ------------------------------------------------------------------------
 */

static void least_connections_keeps_loads_level(void **state)
{
    enum { N = 5 };
    static const double weights[N] = {1, 1, 2, 3, 5};
    begin(N);
    for (unsigned i = 0; i < N; i++)
        all[i].weight = all[i].effective = weights[i];
    for (int k = 0; k < 3000; k++) {
        unsigned i = balance_least_connections.pick(NULL, &ask, all, N);
        vitals_started(&vitals[i], NOW);
        double low = INFINITY, high = 0;
        for (i = 0; i < N; i++) {
            double load = vitals_in_flight(&vitals[i]) / weights[i];
            low = fmin(low, load);
            high = fmax(high, load);
        }
        assert_true(high - low <= 1);
    }
}

static void least_connections_breaks_ties_at_random(void **state)
{
    unsigned got[8];
    begin(8);
    shares(&balance_least_connections, all, 8, 40000, got);
    assert_true(chi_square(got, all, 8, 40000) < 24.3); /* p = 0.001, 7 degrees */
}

/* ---- best_performance -------------------------------------------------------------------------
 */

static void best_performance_takes_the_fastest_and_explores(void **state)
{
    unsigned got[4];
    begin(4);
    for (unsigned i = 0; i < 4; i++)
        calls(i, 50, i == 2 ? 200 : 800, true);
    shares(&balance_best_performance, all, 4, 20000, got);
    assert_true(got[2] > 0.98 * 20000);
    for (unsigned i = 0; i < 4; i++)
        assert_true(got[i] > 50);
}

static void best_performance_leaves_the_busy_and_the_failing(void **state)
{
    unsigned got[2];
    begin(2);
    calls(0, 50, 200, true);
    calls(1, 50, 500, true);
    for (int i = 0; i < 3; i++)
        vitals_started(&vitals[0], NOW);
    shares(&balance_best_performance, all, 2, 1000, got);
    assert_true(got[1] > 950); /* 200 × 4 against 500 × 1 */
    begin(2);
    calls(0, 50, 200, true);
    calls(0, 150, 0, false);
    calls(1, 50, 500, true);
    refresh(2);
    shares(&balance_best_performance, all, 2, 1000, got);
    assert_true(got[1] > 950);
}

static void best_performance_flees_a_peak_at_once(void **state)
{
    unsigned got[2];
    begin(2);
    calls(0, 200, 300, true);
    calls(1, 200, 400, true);
    calls(0, 1, 5000, true);
    shares(&balance_best_performance, all, 2, 1000, got);
    assert_true(got[1] > 950);
}

static void the_unknown_are_spread_over(void **state)
{
    static const struct balance *const both[] = {&balance_best_performance, &balance_adaptive};
    for (int k = 0; k < 2; k++) {
        begin(4);
        for (int i = 0; i < 40; i++)
            vitals_started(&vitals[both[k]->pick(NULL, &ask, all, 4)], NOW);
        for (int i = 0; i < 4; i++)
            assert_in_range(vitals_in_flight(&vitals[i]), 5, 16);
    }
}

/* ---- lowest_cost --------------------------------------------------------------------------------
 */

static void lowest_cost_takes_the_cheapest_that_works(void **state)
{
    unsigned got[4];
    begin(4);
    static const int64_t prices[] = {300, 100, 200, PRICE_UNKNOWN};
    for (int i = 0; i < 4; i++)
        all[i].price_pusd = prices[i];
    shares(&balance_lowest_cost, all, 4, 1000, got);
    assert_int_equal(got[1], 1000);
    calls(1, 70, 0, true);
    calls(1, 30, 0, false); /* 0.7 */
    refresh(4);
    shares(&balance_lowest_cost, all, 4, 1000, got);
    assert_int_equal(got[2], 1000);
}

static void lowest_cost_shares_equal_prices_by_weight(void **state)
{
    unsigned got[3];
    rng_seed(7);
    shares(&balance_lowest_cost, three, 3, 40000, got); /* all unknown */
    assert_true(chi_square(got, three, 3, 40000) < 13.8);
}

static void lowest_cost_takes_the_best_where_all_fail(void **state)
{
    unsigned got[2];
    begin(2);
    all[0].price_pusd = 1;
    all[1].price_pusd = 1000;
    calls(0, 100, 0, false);
    calls(1, 50, 0, false);
    calls(1, 50, 0, true);
    refresh(2);
    shares(&balance_lowest_cost, all, 2, 100, got);
    assert_int_equal(got[1], 100);
}

/* ---- consistent_hash
 * ------------------------------------------------------------------------------ */

static unsigned home(uint64_t key, const struct contender *c, unsigned n)
{
    struct balance_ask a = {.now_ms = NOW, .hash = balance_mix(key, 5)};
    return (unsigned)c[balance_consistent_hash.pick(NULL, &a, c, n)].id;
}

static void consistent_hash_moves_only_what_must_move(void **state)
{
    unsigned got[10] = {0}, moved = 0;
    begin(10);
    for (uint64_t key = 0; key < 5000; key++) {
        unsigned before = home(key, all, 10), after = home(key, all, 9);
        got[before - 1]++;
        assert_int_equal(before, home(key, all, 10));
        moved += before != after;
        if (before != 10)
            assert_int_equal(before, after);
    }
    assert_int_equal(moved, got[9]);
    assert_true(chi_square(got, all, 10, 5000) < 27.9); /* p = 0.001, 9 degrees */
}

static void consistent_hash_keeps_to_the_weights(void **state)
{
    unsigned got[3] = {0};
    for (uint64_t key = 0; key < 40000; key++)
        got[home(key, three, 3) - 11]++;
    assert_true(chi_square(got, three, 3, 40000) < 13.8);
}

static void consistent_hash_bounds_the_load(void **state)
{
    begin(5);
    for (int k = 1; k <= 500; k++) {
        struct balance_ask one = {.now_ms = NOW, .hash = 77}; /* everyone has the same home */
        unsigned i = balance_consistent_hash.pick(NULL, &one, all, 5);
        vitals_started(&vitals[i], NOW);
        assert_true(vitals_in_flight(&vitals[i]) <= ceil(1.25 * k / 5));
    }
}

/* ---- adaptive
 * --------------------------------------------------------------------------------------- */

/* Shares of adaptive where each of n channels has seen so many calls. */
static void adaptive_shares(unsigned n, const struct balance_objective *o, unsigned *got)
{
    struct balance_ask a = {.now_ms = NOW, .objective = o};
    refresh(n);
    memset(got, 0, n * sizeof *got);
    for (int i = 0; i < 1000; i++)
        got[balance_adaptive.pick(NULL, &a, all, n)]++;
}

static void adaptive_weighs_each_of_its_measures(void **state)
{
    static const struct balance_objective cost_only = {.price = 1}, ttft_only = {.ttft = 1};
    unsigned got[2];
    begin(2);
    calls(0, 100, 300, true);
    calls(1, 100, 600, true);
    adaptive_shares(2, NULL, got);
    assert_true(got[0] > 980); /* faster */
    all[0].price_pusd = 5000;
    all[1].price_pusd = 1000;
    adaptive_shares(2, NULL, got);
    assert_true(got[1] > 980); /* twice as slow, a fifth of the price */
    adaptive_shares(2, &ttft_only, got);
    assert_true(got[0] > 980);
    adaptive_shares(2, &cost_only, got);
    assert_int_equal(got[1], 1000);
    all[0].price_pusd = all[1].price_pusd = PRICE_UNKNOWN;
    all[0].headroom = 0.01;
    adaptive_shares(2, NULL, got);
    assert_true(got[1] > 980); /* the other is about to answer 429 */
    all[0].headroom = 1;
    calls(0, 3, 0, false);
    adaptive_shares(2, NULL, got);
    assert_true(got[1] > 980); /* three failures in a row, though 97 % succeeded */
}

static void adaptive_counts_the_output_rate(void **state)
{
    unsigned got[2];
    begin(2);
    for (unsigned i = 0; i < 2; i++)
        for (int k = 0; k < 100; k++) {
            vitals_started(&vitals[i], NOW);
            vitals_first(&vitals[i], NOW, 300);
            vitals_finished(&vitals[i], NOW, VITALS_OK, 101, 101, i ? 8000 : 1000);
        }
    adaptive_shares(2, NULL, got);
    assert_true(got[0] > 980);
}

static void adaptive_tries_again_what_it_has_not_seen_for_long(void **state)
{
    unsigned again = 0;
    begin(2);
    calls(0, 100, 300, true);
    calls(1, 100, 2000, true);
    for (uint64_t now = NOW; now < NOW + 600000; now += 500) { /* only the first is used */
        struct balance_ask a = {.now_ms = now};
        calls(0, 0, 0, true);
        vitals_started(&vitals[0], now);
        vitals_first(&vitals[0], now, 300);
        vitals_finished(&vitals[0], now, VITALS_OK, 0, 0, 0);
        again += balance_adaptive.pick(NULL, &a, all, 2);
        if (now < NOW + 20000)
            assert_int_equal(again, 0);
    }
    assert_true(again > 10);
}

/* ---- affinity
 * ------------------------------------------------------------------------------------------ */

static struct affinity table;

static unsigned pick_for(uint64_t key, uint64_t now_ms)
{
    struct balance_ask a = {.now_ms = now_ms, .affinity = balance_mix(key, 9)};
    return balance_pick(&balance_weighted_random, NULL, &table, &a, all, 4);
}

static void affinity_returns_to_where_it_was(void **state)
{
    unsigned first[200], same = 0;
    begin(4);
    for (uint64_t key = 0; key < 200; key++)
        first[key] = pick_for(key, NOW);
    for (uint64_t key = 0; key < 200; key++)
        same += pick_for(key, NOW + AFFINITY_MS / 2) == first[key];
    assert_true(same >= 198); /* slots may collide */
    same = 0;
    for (uint64_t key = 0; key < 200; key++)
        same += pick_for(key, NOW + 3 * AFFINITY_MS / 2 + 30000) == first[key];
    assert_true(same < 100); /* long ago: a fresh choice */
}

static void affinity_is_no_veto(void **state)
{
    begin(4);
    unsigned at = pick_for(1000, NOW);
    assert_int_equal(pick_for(1000, NOW), at);
    struct contender gone = all[at]; /* not eligible now */
    all[at] = all[3];
    struct balance_ask a = {.now_ms = NOW, .affinity = balance_mix(1000, 9)};
    assert_true(balance_pick(&balance_weighted_random, NULL, &table, &a, all, 3) < 3);
    all[at] = gone;
    begin(4);
    at = pick_for(2000, NOW);
    calls(at, 20, 0, false);
    refresh(4);
    all[at].effective /= 1000; /* so that a draw does not lead there */
    assert_int_not_equal(pick_for(2000, NOW), at);
    begin(4);
    at = pick_for(3000, NOW);
    for (int i = 0; i < 12; i++)
        vitals_started(&vitals[at], NOW);
    unsigned left = 0;
    for (uint64_t key = 3000; key < 3001; key++) {
        struct balance_ask b = {.now_ms = NOW, .affinity = balance_mix(key, 9)};
        unsigned found;
        left += !affinity_find(&table, &b, all, 4, &found);
    }
    assert_int_equal(left, 1);
}

/* ---- the table
 * -------------------------------------------------------------------------------------------- */

static void names_are_found(void **state)
{
    for (unsigned i = 0; balance_at(i); i++)
        assert_ptr_equal(balance_find(str_c(balance_at(i)->name)), balance_at(i));
    assert_null(balance_find(STR("roundrobin")));
    assert_ptr_equal(balance_default(), balance_find(STR("weighted_random")));
}

static void routes_know_every_algorithm(void **state)
{
    struct str rest = str_c(thing_column(&thing_route, STR("algorithm"))->words), word;
    unsigned words = 0, rows = 0;
    while (str_split(&rest, '|', &word)) {
        assert_non_null(balance_find(word));
        words++;
    }
    while (balance_at(rows))
        rows++;
    assert_int_equal(words, rows);
}

static void the_objective_of_a_new_route_is_the_default(void **state)
{
    const struct balance_objective *o = &balance_objective_default;
    const struct {
        const char *flag;
        float v;
    } rows[] = {{"weigh-success", o->success},
                {"weigh-ttft", o->ttft},
                {"weigh-rate", o->rate},
                {"weigh-price", o->price},
                {"weigh-headroom", o->headroom}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(atoi(thing_column(&thing_route, str_c(rows[i].flag))->dflt),
                         (int)(rows[i].v * 100));
}

static void every_algorithm_takes_any_number(void **state)
{
    for (unsigned b = 0; balance_at(b); b++)
        for (unsigned n = 1; n <= BALANCE_MAX; n += n < 4 ? 1 : 20) {
            static struct balance_state s;
            begin(n);
            for (int i = 0; i < 50; i++)
                assert_true(balance_at(b)->pick(&s, &ask, all, n) < n);
            for (unsigned i = 0; i < n; i++)
                all[i].vitals = NULL;
            assert_true(balance_at(b)->pick(&s, &ask, all, n) < n);
        }
}

static void hashes_are_the_same_in_every_process(void **state)
{
    assert_true(balance_hash(STR("")) != 0);
    assert_true(balance_hash(STR("abc")) != balance_hash(STR("abd")));
    assert_true(balance_hash(STR("abcdefgh")) != balance_hash(STR("abcdefgh\0")));
    assert_int_equal(balance_hash(STR("session-1")), balance_hash(STR("session-1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_is_exact_over_the_sum_of_weights),
        cmocka_unit_test(round_robin_gives_any_window_its_weight_but_one),
        cmocka_unit_test(round_robin_spreads_a_heavy_one),
        cmocka_unit_test(round_robin_survives_a_change_of_members),
        cmocka_unit_test(round_robin_passes_chi_square),
        cmocka_unit_test(weighted_random_keeps_to_the_weights),
        cmocka_unit_test(weighted_random_follows_success_and_slow_start),
        cmocka_unit_test(least_connections_keeps_loads_level),
        cmocka_unit_test(least_connections_breaks_ties_at_random),
        cmocka_unit_test(best_performance_takes_the_fastest_and_explores),
        cmocka_unit_test(best_performance_leaves_the_busy_and_the_failing),
        cmocka_unit_test(best_performance_flees_a_peak_at_once),
        cmocka_unit_test(the_unknown_are_spread_over),
        cmocka_unit_test(lowest_cost_takes_the_cheapest_that_works),
        cmocka_unit_test(lowest_cost_shares_equal_prices_by_weight),
        cmocka_unit_test(lowest_cost_takes_the_best_where_all_fail),
        cmocka_unit_test(consistent_hash_moves_only_what_must_move),
        cmocka_unit_test(consistent_hash_keeps_to_the_weights),
        cmocka_unit_test(consistent_hash_bounds_the_load),
        cmocka_unit_test(adaptive_weighs_each_of_its_measures),
        cmocka_unit_test(adaptive_counts_the_output_rate),
        cmocka_unit_test(adaptive_tries_again_what_it_has_not_seen_for_long),
        cmocka_unit_test(affinity_returns_to_where_it_was),
        cmocka_unit_test(affinity_is_no_veto),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(routes_know_every_algorithm),
        cmocka_unit_test(the_objective_of_a_new_route_is_the_default),
        cmocka_unit_test(every_algorithm_takes_any_number),
        cmocka_unit_test(hashes_are_the_same_in_every_process),
    };
    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
