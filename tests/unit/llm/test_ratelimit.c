/* ratelimit: spans, times and what is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/ratelimit.h"

static void spans(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } all[] = {
        {"1s", 1000},
        {"6m0s", 360000},
        {"17ms", 17},
        {"1h2m3.5s", 3723500},
        {"1.5", 1500},
        {"60", 60000},
        {" 2s ", 2000},
        {"0s", 0},
        {"7.66s", 7660},
        {"99h", 86400000},
        {"9999999999h", 86400000},
        {"", -1},
        {"s", -1},
        {"1d", -1},
        {"-1s", -1},
        {"1s!", -1},
        {"1..2s", -1},
        {"12345678901s", -1},
        {"soon", -1},
        {"2026-11-23", -1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (ratelimit_span_ms(str_c(all[i].text)) != all[i].ms)
            fail_msg("'%s' is %lld", all[i].text, (long long)ratelimit_span_ms(str_c(all[i].text)));
}

static void take(struct ratelimit *r, const char *name, const char *value)
{
    ratelimit_take(r, str_c(name), str_c(value), INT64_C(1795428000000)); /* 2026-11-23T10:00:00Z */
}

static void headers(void **state)
{
    struct ratelimit r;
    ratelimit_init(&r);
    take(&r, "X-RateLimit-Limit-Requests", "60");
    take(&r, "x-ratelimit-remaining-requests", "59");
    take(&r, "x-ratelimit-reset-requests", "1s");
    take(&r, "x-ratelimit-remaining-tokens", "149984");
    take(&r, "x-ratelimit-reset-tokens", "6m0s");
    take(&r, "x-ratelimit-remaining-images", "5");
    assert_int_equal(r.requests.limit, 60);
    assert_int_equal(r.requests.left, 59);
    assert_int_equal(r.requests.reset_ms, 1000);
    assert_int_equal(r.tokens.limit, -1);
    assert_int_equal(r.tokens.left, 149984);
    assert_int_equal(r.tokens.reset_ms, 360000);
    take(&r, "x-ratelimit-remaining-requests", "-1");
    take(&r, "x-ratelimit-remaining-requests", "many");
    take(&r, "x-ratelimit-remaining-requests", "99999999999999999999");
    take(&r, "x-ratelimit-reset-requests", "later");
    assert_int_equal(r.requests.left, 59);
    assert_int_equal(r.requests.reset_ms, 1000);
    ratelimit_init(&r);
    take(&r, "anthropic-ratelimit-tokens-limit", "80000");
    take(&r, "anthropic-ratelimit-tokens-remaining", "0");
    take(&r, "anthropic-ratelimit-tokens-reset", "2026-11-23T10:00:30Z");
    take(&r, "anthropic-ratelimit-requests-reset", "2026-11-23T09:00:00Z");
    assert_int_equal(r.tokens.limit, 80000);
    assert_int_equal(r.tokens.left, 0);
    assert_int_equal(r.tokens.reset_ms, 30000);
    assert_int_equal(r.requests.reset_ms, 0);
    take(&r, "anthropic-ratelimit-tokens-reset", "2026-11-24T12:00:00Z");
    assert_int_equal(r.tokens.reset_ms, 86400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spans), cmocka_unit_test(headers)};
    return cmocka_run_group_tests_name("ratelimit", tests, NULL, NULL);
}
