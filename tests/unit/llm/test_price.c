/* price: money to the last nano-USD, and what is unknown stays unknown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "llm/price.h"

static struct price flat(int64_t pusd)
{
    struct price p = {0};
#define X(name, input) p.rates.name = pusd;
    USAGE_COUNTERS(X)
#undef X
    return p;
}

static int64_t cost(const struct price *p, const struct usage *u)
{
    int64_t c = INT64_MIN;
    return price_cost_nusd(p, u, &c) ? c : -1;
}

static void a_cost_is_the_dot_product(void **state)
{
    (void)state;
    struct price p = {.rates = {.in_uncached = 3000000,
                                .cache_read = 300000,
                                .cache_write_5m = 3750000,
                                .cache_write_1h = 6000000,
                                .out_text = 15000000,
                                .out_reasoning = 15000000,
                                .audio_in = 40000000,
                                .audio_out = 80000000,
                                .images = 1000}};
    struct usage u = {.in_uncached = 1000,
                      .cache_read = 200,
                      .cache_write_5m = 30,
                      .cache_write_1h = 4,
                      .out_text = 500,
                      .out_reasoning = 60,
                      .audio_in = 7,
                      .audio_out = 8,
                      .images = 9};
    assert_int_equal(cost(&p, &u),
                     3000000 + 60000 + 112500 + 24000 + 7500000 + 900000 + 280000 + 640000 + 9);
}

static void a_sum_is_rounded_half_up_once(void **state)
{
    (void)state;
    struct price p = flat(1);
    assert_int_equal(cost(&p, &(struct usage){.in_uncached = 499}), 0);
    assert_int_equal(cost(&p, &(struct usage){.in_uncached = 500}), 1);
    assert_int_equal(cost(&p, &(struct usage){.in_uncached = 1499}), 1);
    assert_int_equal(cost(&p, &(struct usage){.in_uncached = 1500}), 2);
    /* each part alone would round down */
    assert_int_equal(cost(&p, &(struct usage){.in_uncached = 250, .out_text = 250}), 1);
}

static void what_is_unknown_is_not_zero(void **state)
{
    (void)state;
    struct price p = flat(1000);
    struct usage u = {.in_uncached = 1, .images = 1};
    assert_int_equal(cost(&p, &u), 2);
    p.rates.images = PRICE_UNKNOWN;
    assert_int_equal(cost(&p, &u), -1);
    u.images = 0;
    assert_int_equal(cost(&p, &u), 1);
    assert_int_equal(cost(NULL, &u), -1);
    assert_int_equal(cost(NULL, &(struct usage){0}), 0);
    struct price free_of_charge = flat(0);
    assert_int_equal(cost(&free_of_charge, &u), 0);
}

static void a_cost_fills_int64_and_no_more(void **state)
{
    (void)state;
    struct usage u = {.in_uncached = 1000, .out_text = 1};
    struct price p = flat(0);
    p.rates.in_uncached = INT64_MAX;
    assert_int_equal(cost(&p, &u), INT64_MAX);
    p.rates.out_text = 499;
    assert_int_equal(cost(&p, &u), INT64_MAX);
    p.rates.out_text = 500;
    assert_int_equal(cost(&p, &u), -1);
    p = flat(INT64_MAX);
    struct usage all;
    memset(&all, 0xff, sizeof all);
    assert_int_equal(cost(&p, &all), -1);
}

static void prices_are_read_to_the_last_digit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t pusd;
        const char *again;
    } good[] = {
        {"0", 0, "0.00"},
        {"2.50", 2500000, "2.50"},
        {"0.000001", 1, "0.000001"},
        {"3.125", 3125000, "3.125"},
        {"150", 150000000, "150.00"},
        {"1000000", 1000000000000, "1000000.00"},
        {"0.0028", 2800, "0.0028"},
        {"7.5", 7500000, "7.50"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v = -1;
        char out[32];
        assert_true(price_parse(str_c(good[i].text), &v));
        assert_int_equal(v, good[i].pusd);
        assert_string_equal(price_format(v, out), good[i].again);
    }
    static const char *const bad[] = {"",
                                      ".",
                                      "1.",
                                      ".5",
                                      "-1",
                                      "+1",
                                      "1e3",
                                      "1,5",
                                      "1 ",
                                      "0.0000001",
                                      "1.5.0",
                                      "x",
                                      "1000000.000001",
                                      "1000001",
                                      "1.-5",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t v = 7;
        assert_false(price_parse(str_c(bad[i]), &v));
        assert_int_equal(v, 7);
    }
}

static void costs_are_written_in_full(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(price_format_cost(0, out), "0.000000000");
    assert_string_equal(price_format_cost(1234567890, out), "1.234567890");
    assert_string_equal(price_format_cost(INT64_MAX, out), "9223372036.854775807");
    assert_string_equal(price_format_cost(INT64_MIN, out), "-9223372036.854775808");
}

static void the_price_in_force(void **state)
{
    (void)state;
    static const struct price rows[] = {{.id = 1, .from_ms = 100},
                                        {.id = 2, .from_ms = 100, .above_tokens = 1000},
                                        {.id = 3, .from_ms = 200},
                                        {.id = 4, .from_ms = 300, .above_tokens = 1000}};
    struct price_list l = {rows, 4}, none = {NULL, 0};
    assert_null(price_at(&l, 99, 5));
    assert_null(price_at(&none, 100, 5));
    assert_int_equal(price_at(&l, 100, 5)->id, 1);
    assert_int_equal(price_at(&l, 199, 1000)->id, 1);
    assert_int_equal(price_at(&l, 199, 1001)->id, 2);
    assert_int_equal(price_at(&l, 200, 1001)->id, 3);
    assert_null(price_at(&l, 300, 1000));
    assert_int_equal(price_at(&l, INT64_MAX, 1001)->id, 4);
}

static void prices_are_compared_by_what_is_expected(void **state)
{
    (void)state;
    struct price p = flat(PRICE_UNKNOWN);
    assert_int_equal(price_expected_pusd(NULL, 0, 0), PRICE_UNKNOWN);
    assert_int_equal(price_expected_pusd(&p, 0, 0), 0);
    assert_int_equal(price_expected_pusd(&p, 1, 0), PRICE_UNKNOWN);
    p.rates.in_uncached = 3;
    assert_int_equal(price_expected_pusd(&p, 10, 0), 30);
    assert_int_equal(price_expected_pusd(&p, 10, 1), PRICE_UNKNOWN);
    p.rates.out_text = INT64_MAX;
    assert_int_equal(price_expected_pusd(&p, 10, 1), INT64_MAX);
    assert_int_equal(price_expected_pusd(&p, 10, UINT64_MAX), INT64_MAX);
}

static void a_price_is_named_by_all_it_says(void **state)
{
    (void)state;
    struct price a = flat(1), b = flat(1);
    price_seal(&a, STR("openai"), STR("m"));
    price_seal(&b, STR("openai"), STR("m"));
    assert_true(a.id > 0);
    assert_int_equal(a.id, b.id);
    price_seal(&b, STR("openaim"), STR(""));
    assert_int_not_equal(a.id, b.id);
    b = flat(1);
    b.rates.images = 2;
    price_seal(&b, STR("openai"), STR("m"));
    assert_int_not_equal(a.id, b.id);
    b = flat(1);
    b.from_ms = 1;
    price_seal(&b, STR("openai"), STR("m"));
    assert_int_not_equal(a.id, b.id);
    b = flat(1);
    b.above_tokens = 1;
    price_seal(&b, STR("openai"), STR("m"));
    assert_int_not_equal(a.id, b.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cost_is_the_dot_product),
        cmocka_unit_test(a_sum_is_rounded_half_up_once),
        cmocka_unit_test(what_is_unknown_is_not_zero),
        cmocka_unit_test(a_cost_fills_int64_and_no_more),
        cmocka_unit_test(prices_are_read_to_the_last_digit),
        cmocka_unit_test(costs_are_written_in_full),
        cmocka_unit_test(the_price_in_force),
        cmocka_unit_test(prices_are_compared_by_what_is_expected),
        cmocka_unit_test(a_price_is_named_by_all_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
