/* model_catalogue: which entry a name finds, what a file of the operator's changes, which files are
 * refused and where they say it; and that every built-in entry makes sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "llm/model_catalogue.h"
#include "llm/provider.h"

static struct model_catalogue *load(const struct model_catalogue *base, const char *text)
{
    struct model_catalogue *c = NULL;
    struct err_info info;
    err_info_init(&info);
    if (model_catalogue_load(&c, base, str_c(text), &info))
        fail_msg("%s", info.text);
    return c;
}

#define SRC                "\"source\":\"https://example.com/models\""
#define ENTRY(names, rest) "{\"provider\":\"acme\",\"models\":[" names "]," rest SRC "}"
#define FILE_OF(entries)   "{\"models\":[" entries "]}"

static struct str found(const struct model_catalogue *c, const char *provider, const char *model)
{
    return model_find(c, str_c(provider), str_c(model))->pattern;
}

static void assert_found(const struct model_catalogue *c, const char *provider, const char *model,
                         const char *pattern)
{
    struct str got = found(c, provider, model);
    if (!str_eq(got, str_c(pattern)))
        fail_msg("%s found \"%.*s\", not \"%s\"", model, STR_FMT(got), pattern);
}

static void the_nearest_pattern_is_found(void **state)
{
    (void)state;
    struct model_catalogue *c =
        load(NULL, FILE_OF(ENTRY("\"m*\",\"m-1*\",\"m-1-????\",\"m-1-mini\"", "")));
    assert_found(c, "acme", "m", "m*");
    assert_found(c, "acme", "m-2", "m*");
    assert_found(c, "acme", "m-1", "m-1*");
    assert_found(c, "acme", "m-1-2026", "m-1-????");
    assert_found(c, "acme", "m-1-mini", "m-1-mini");
    assert_found(c, "acme", "M-1", "");
    assert_found(c, "acme", "", "");
    assert_found(c, "other", "m-1", "");
    assert_int_equal(model_caps_find(c, STR("other"), STR("m"))->known_abilities, 0);
    model_catalogue_free(&c);
    assert_null(c);
}

static void every_member_is_read(void **state)
{
    (void)state;
    struct model_catalogue *c = load(
        NULL,
        FILE_OF(ENTRY("\"m\"",
                      "\"note\":\"x\",\"context_tokens\":1000,\"output_tokens\":100,"
                      "\"can\":[\"tools\",\"json_object\"],\"cannot\":[\"vision\"],"
                      "\"thinking\":{\"style\":\"budget\",\"efforts\":[\"low\",\"high\"],"
                      "\"default\":\"high\",\"budget_min\":1024,\"budget_max\":2048},"
                      "\"rules\":[\"no_prefill\",\"fixed_sampling\"],\"estimate_percent\":90,"
                      "\"prices\":[{\"from\":\"2026-02-28\",\"usd_per_million\":{\"in_uncached\":"
                      "\"1.5\",\"images\":\"0\"}," SRC "},{\"from\":\"2026-02-28\","
                      "\"above_input_tokens\":200000,\"usd_per_million\":{}," SRC "}],")));
    const struct catalogue_entry *e = model_find(c, STR("acme"), STR("m"));
    assert_int_equal(e->caps.context_tokens, 1000);
    assert_int_equal(e->caps.output_tokens, 100);
    assert_int_equal(e->caps.abilities, CAP_TOOLS | CAP_JSON_OBJECT | CAP_THINKING);
    assert_int_equal(e->caps.known_abilities,
                     CAP_TOOLS | CAP_JSON_OBJECT | CAP_THINKING | CAP_VISION);
    assert_int_equal(e->caps.thinking, THINK_BUDGET);
    assert_int_equal(e->caps.efforts, EFFORT_BIT(EFFORT_LOW) | EFFORT_BIT(EFFORT_HIGH));
    assert_int_equal(e->caps.effort_default, EFFORT_HIGH);
    assert_int_equal(e->caps.budget_min, 1024);
    assert_int_equal(e->caps.budget_max, 2048);
    assert_int_equal(e->caps.rules, RULE_NO_PREFILL | RULE_FIXED_SAMPLING);
    assert_int_equal(e->caps.estimate_percent, 90);
    assert_int_equal(e->prices.n, 2);
    const struct price *p = price_at(&e->prices, 1772236800000, 5);
    assert_non_null(p); /* 2026-02-28T00:00:00Z */
    assert_null(price_at(&e->prices, 1772236799999, 5));
    assert_int_equal(p->rates.in_uncached, 1500000);
    assert_int_equal(p->rates.images, 0);
    assert_int_equal(p->rates.out_text, PRICE_UNKNOWN);
    assert_true(price_at(&e->prices, INT64_MAX, 200001)->id != p->id);
    model_catalogue_free(&c);
}

static void a_file_is_laid_over(void **state)
{
    (void)state;
    struct model_catalogue *base =
        load(NULL, FILE_OF(ENTRY("\"m-1\",\"m-*\"",
                                 "\"context_tokens\":1000,\"can\":[\"tools\"],"
                                 "\"prices\":[{\"from\":\"2026-01-01\",\"usd_per_million\":"
                                 "{\"in_uncached\":\"1\"}," SRC "}],")));
    struct model_catalogue *c = load(
        base, "{\"models\":[{\"provider\":\"acme\",\"models\":[\"m-1\"],\"cannot\":[\"tools\"]},"
              "{\"provider\":\"acme\",\"models\":[\"m-2\"],\"prices\":[]},"
              "{\"provider\":\"acme\",\"models\":[\"m-3*\"],\"context_tokens\":5},"
              "{\"provider\":\"mine\",\"models\":[\"*\"],\"output_tokens\":7}]}");
    model_catalogue_free(&base);
    const struct catalogue_entry *e = model_find(c, STR("acme"), STR("m-1"));
    assert_true(e->override);
    assert_int_equal(e->caps.context_tokens, 1000);
    assert_int_equal(e->caps.abilities, 0);
    assert_int_equal(e->caps.known_abilities, CAP_TOOLS);
    assert_int_equal(e->prices.n, 1);
    assert_int_equal(e->prices.rows[0].rates.in_uncached, 1000000);
    assert_true(str_eq(e->source, STR("https://example.com/models")));
    e = model_find(c, STR("acme"), STR("m-2"));
    assert_int_equal(e->caps.context_tokens, 1000);
    assert_int_equal(e->prices.n, 0);
    e = model_find(c, STR("acme"), STR("m-33"));
    assert_int_equal(e->caps.context_tokens, 5);
    assert_int_equal(e->caps.abilities, CAP_TOOLS);
    assert_false(model_find(c, STR("acme"), STR("m-4"))->override);
    assert_int_equal(model_caps_find(c, STR("mine"), STR("any"))->output_tokens, 7);
    model_catalogue_free(&c);
}

static void models_are_lent_without_their_prices(void **state)
{
    (void)state;
    struct model_catalogue *base =
        load(NULL, "{\"providers\":{\"cloud\":{\"models_of\":\"acme\",\"deployments\":true}},"
                   "\"models\":[" ENTRY("\"m-1\",\"m-2\"",
                                        "\"context_tokens\":1000,\"prices\":[{\"from\":"
                                        "\"2026-01-01\",\"usd_per_million\":{\"in_uncached\":"
                                        "\"1\"}," SRC "}],") "]}");
    const struct catalogue_entry *e = model_find(base, STR("cloud"), STR("m-1"));
    assert_true(e->lent);
    assert_int_equal(e->caps.context_tokens, 1000);
    assert_int_equal(e->prices.n, 0);
    /* a deployment has a name of its own; what the caller asks for tells the model */
    e = model_resolve(base, STR("cloud"), STR("prod-east"), STR("m-2"));
    assert_true(str_eq(e->pattern, STR("m-2")));
    e = model_resolve(base, STR("acme"), STR("prod-east"), STR("m-2"));
    assert_int_equal(e->pattern.n, 0);
    struct model_catalogue *c =
        load(base, "{\"models\":[{\"provider\":\"acme\",\"models\":[\"m-1\"],\"context_tokens\":9},"
                   "{\"provider\":\"cloud\",\"models\":[\"m-2\"],\"prices\":[{\"from\":"
                   "\"2026-01-01\",\"usd_per_million\":{\"out_text\":\"2\"}}]}]}");
    assert_int_equal(model_caps_find(c, STR("cloud"), STR("m-1"))->context_tokens, 9);
    e = model_find(c, STR("cloud"), STR("m-2"));
    assert_false(e->lent);
    assert_int_equal(e->caps.context_tokens, 1000);
    assert_int_equal(e->prices.rows[0].rates.out_text, 2000000);
    assert_int_equal(e->prices.rows[0].rates.in_uncached, PRICE_UNKNOWN);
    model_catalogue_free(&base);
    model_catalogue_free(&c);
}

static void a_bad_file_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "line 1: "},
        {"{\"models\":[}", "line 1: "},
        {"{\n\"models\":\n[x]}", "line 3: "},
        {"[]", "line 1: expected an object"},
        {"{}", "\"models\" must be there"},
        {"{\"models\":{}}", "\"models\" must be there"},
        {"{\"models\":[],\"x\":1}", "there is no member \"x\""},
        {"{\"models\":[],\"models\":[]}", "models is there twice"},
        {"{\"models\":[],\"providers\":[]}", "\"providers\" must be an object"},
        {"{\"models\":[],\"providers\":{\"a\":{\"y\":1}}}", "providers.a: there is no member"},
        {"{\"models\":[],\"providers\":{\"a\":{\"deployments\":1}}}", "expected true or false"},
        {"{\"models\":[1]}", "models[0]: expected an object"},
        {"{\"models\":[{\"models\":[\"m\"]}]}", "models[0]: \"provider\" is missing"},
        {"{\"models\":[{\"provider\":\"a\"}]}", "models[0]: \"models\" is missing"},
        {"{\"models\":[{\"provider\":\"a\",\"models\":[]}]}", "array of 1 to"},
        {"{\"models\":[{\"provider\":\"a\",\"models\":[\"a b\"]}]}", "without spaces"},
        {"{\"models\":[{\"provider\":\"a\",\"models\":[\"m\"]}]}", "\"source\" is missing"},
        {FILE_OF(ENTRY("\"m\",\"m\"", "")), "m of acme is there twice"},
        {FILE_OF(ENTRY("\"m\"", "\"context_tokens\":-1,")),
         "models[0].context_tokens: expected a whole number"},
        {FILE_OF(ENTRY("\"m\"", "\"context_tokens\":1.5,")), "whole number"},
        {FILE_OF(ENTRY("\"m\"", "\"can\":[\"fly\"],")), "models[0].can: \"fly\" is none of"},
        {FILE_OF(ENTRY("\"m\"", "\"rules\":\"no_prefill\",")),
         "models[0].rules: expected an array"},
        {FILE_OF(ENTRY("\"m\"", "\"estimate_percent\":5,")), "from 10 to 250"},
        {FILE_OF(ENTRY("\"m\"", "\"thinking\":{},")), "\"style\" is missing"},
        {FILE_OF(ENTRY("\"m\"", "\"thinking\":{\"style\":\"none\",\"efforts\":[\"hard\"]},")),
         "models[0].thinking.efforts: expected none, minimal"},
        {FILE_OF(ENTRY("\"m\"", "\"thinking\":{\"style\":\"budget\",\"budget_min\":2,"
                                "\"budget_max\":1},")),
         "budget_min is above"},
        {FILE_OF(ENTRY("\"m\"", "\n\"prices\":[{\"from\":\"2026-02-29\"}],")),
         "line 2: models[0].prices[0].from: expected a date"},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"usd_per_million\":{}," SRC "}],")),
         "\"from\" is missing"},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"from\":\"2026-02-28\"," SRC "}],")),
         "\"usd_per_million\" is missing"},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"from\":\"2026-02-28\",\"usd_per_million\":{}}],")),
         "\"source\" is missing"},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"from\":\"2026-02-28\",\"usd_per_million\":"
                                "{\"in_uncached\":2.5}," SRC "}],")),
         "prices[0].usd_per_million.in_uncached: expected USD"},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"from\":\"2026-02-28\",\"usd_per_million\":"
                                "{\"in\":\"2.5\"}," SRC "}],")),
         "there is no member \"in\""},
        {FILE_OF(ENTRY("\"m\"", "\"prices\":[{\"from\":\"2026-02-28\",\"usd_per_million\":{}," SRC
                                "},{\"from\":\"2026-02-27\",\"usd_per_million\":{}," SRC "}],")),
         "models[0].prices[1]: prices must be in order"},
        {"{\"models\":[{\"provider\":\"a\",\"models\":[\"m\"],\"source\":\"example.com\"}]}",
         "expected an https:// address"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct model_catalogue *c = NULL;
        struct err_info info;
        err_info_init(&info);
        enum err e = model_catalogue_load(&c, NULL, str_c(bad[i].text), &info);
        if (!e || c || !strstr(info.text, bad[i].why))
            fail_msg("%s: %s, \"%s\", not \"%s\"", bad[i].text, err_name(e), info.text, bad[i].why);
    }
}

static void a_file_is_opened(void **state)
{
    (void)state;
    char path[] = "/tmp/lyss-models-XXXXXX";
    struct model_catalogue *c = NULL;
    struct err_info info;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "{\"models\":[{\"provider\":\"openai\",\"models\":[\"gpt-4o\"],"
                               "\"output_tokens\":42}]}";
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    err_info_init(&info);
    assert_int_equal(model_catalogue_open(&c, path, &info), ERR_OK);
    assert_int_equal(model_caps_find(c, STR("openai"), STR("gpt-4o"))->output_tokens, 42);
    assert_true(model_caps_find(c, STR("openai"), STR("gpt-4o"))->context_tokens > 0);
    assert_int_equal(model_caps_find(c, STR("azure-openai"), STR("gpt-4o"))->output_tokens, 42);
    model_catalogue_free(&c);
    static const char strange[] =
        "{\"models\":\n[{\"provider\":\"opanai\",\"models\":[\"gpt-4o\"]}]}";
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, strange, strlen(strange), 0), (ssize_t)strlen(strange));
    assert_int_equal(model_catalogue_open(&c, path, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "line 2: models[0].provider: there is no provider opanai"));
    assert_int_equal(ftruncate(fd, 20), 0);
    assert_int_equal(model_catalogue_open(&c, path, &info), ERR_BAD_JSON);
    assert_true(str_starts(str_c(info.text), str_c(path)));
    close(fd);
    unlink(path);
    assert_int_equal(model_catalogue_open(&c, path, &info), ERR_IO);
    assert_non_null(strstr(info.text, path));
    assert_null(c);
}

static void memory_may_end_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        FILE_OF(ENTRY("\"m-1\",\"m-*\"", "\"prices\":[{\"from\":\"2026-01-01\","
                                         "\"usd_per_million\":{}," SRC "}],"));
    const struct model_catalogue *base = model_catalogue_builtin();
    enum err e = ERR_NOMEM;
    unsigned n = 0;
    while (e && n < 100000) {
        struct model_catalogue *c = NULL;
        struct err_info info;
        err_info_init(&info);
        mem_fail_at(++n);
        e = model_catalogue_load(&c, base, str_c(text), &info);
        mem_fail_at(0);
        assert_true(e == ERR_NOMEM || (!e && c));
        model_catalogue_free(&c);
    }
    assert_true(!e && n > 3);
}

/* ---- data/models.json -------------------------------------------------------------- */

static void check_rates(const struct catalogue_entry *e, const struct price_rates *r)
{
    char where[200];
    snprintf(where, sizeof where, "%.*s %.*s", STR_FMT(e->provider), STR_FMT(e->pattern));
    struct {
        const char *what;
        int64_t low, high;
    } order[] = {{"a cache read costs no more than input", r->cache_read, r->in_uncached},
                 {"a cache write costs no less than input", r->in_uncached, r->cache_write_5m},
                 {"a long cache write costs no less", r->cache_write_5m, r->cache_write_1h},
                 {"output costs no less than input", r->in_uncached, r->out_text},
                 {"speech costs no less than hearing", r->audio_in, r->audio_out}};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i].low > 0 && order[i].high >= 0 && order[i].low > order[i].high)
            fail_msg("%s: %s", where, order[i].what);
    if (r->out_reasoning >= 0 && r->out_reasoning != r->out_text)
        fail_msg("%s: reasoning is billed as output", where);
    if (model_caps_can(&e->caps, CAP_THINKING) && r->out_text >= 0 && r->out_reasoning < 0)
        fail_msg("%s: thinks, but reasoning has no price", where);
}

static void every_entry_makes_sense(void **state)
{
    (void)state;
    const struct model_catalogue *c = model_catalogue_builtin();
    const struct catalogue_entry *e;
    size_t n = 0, priced = 0;
    for (; (e = model_at(c, n)); n++) {
        assert_true(str_starts(e->source, STR("https://")));
        if (!provider_find(e->provider))
            fail_msg("there is no provider %.*s", STR_FMT(e->provider));
        assert_false(e->override);
        if (e->caps.context_tokens && e->caps.output_tokens > e->caps.context_tokens)
            fail_msg("%.*s: more output than context", STR_FMT(e->pattern));
        if (e->caps.effort_default && !(e->caps.efforts & EFFORT_BIT(e->caps.effort_default)))
            fail_msg("%.*s: its default effort is none of its own", STR_FMT(e->pattern));
        if (e->caps.rules & RULE_THINKING_CANNOT_BE_OFF &&
            e->caps.efforts & EFFORT_BIT(EFFORT_NONE))
            fail_msg("%.*s: can and cannot be off", STR_FMT(e->pattern));
        for (uint32_t i = 0; i < e->prices.n; i++) {
            assert_true(str_starts(e->prices.rows[i].source, STR("https://")));
            assert_true(e->prices.rows[i].id > 0);
            check_rates(e, &e->prices.rows[i].rates);
        }
        priced += e->prices.n > 0;
    }
    assert_true(n > 150 && priced > 60);
}

static void no_two_prices_share_an_id(void **state)
{
    (void)state;
    const struct model_catalogue *c = model_catalogue_builtin();
    const struct catalogue_entry *a, *b;
    for (size_t i = 0; (a = model_at(c, i)); i++)
        for (size_t k = i + 1; (b = model_at(c, k)); k++)
            for (uint32_t x = 0; x < a->prices.n; x++)
                for (uint32_t y = 0; y < b->prices.n; y++)
                    assert_int_not_equal(a->prices.rows[x].id, b->prices.rows[y].id);
}

/* Names that providers' answers in the field bear. */
static void names_of_the_field_are_known(void **state)
{
    (void)state;
    const struct model_catalogue *c = model_catalogue_builtin();
    static const struct {
        const char *provider, *model;
        uint8_t thinking;
        uint32_t rules;
    } known[] = {
        {"openai", "gpt-4.1-nano-2025-04-14", THINK_NONE, RULE_DEVELOPER_ROLE},
        {"openai", "gpt-4o-mini-2024-07-18", THINK_NONE, RULE_DEVELOPER_ROLE},
        {"openai", "o3-mini-2025-01-31", THINK_EFFORT, RULE_FIXED_SAMPLING},
        {"openai", "gpt-5-nano-2025-08-07", THINK_EFFORT, RULE_MAX_COMPLETION_TOKENS},
        {"openai", "gpt-5.3-codex", THINK_EFFORT, RULE_RESPONSES_ONLY},
        {"openai", "gpt-5.4-2026-03-05", THINK_EFFORT, RULE_EFFORT_WITH_TOOLS_WANTS_RESPONSES},
        {"openai", "gpt-5.6-sol", THINK_EFFORT, RULE_EFFORT_WITH_TOOLS_WANTS_RESPONSES},
        {"openai", "gpt-6.9-nova", THINK_EFFORT, RULE_MAX_COMPLETION_TOKENS},
        {"openai", "text-embedding-3-small", THINK_NONE, 0},
        {"azure-openai", "gpt-4.1", THINK_NONE, RULE_DEVELOPER_ROLE},
        {"anthropic", "claude-3-haiku-20240307", THINK_NONE, 0},
        {"anthropic", "claude-sonnet-4-20250514", THINK_BUDGET, RULE_FORCED_TOOL_NOT_THINKING},
        {"anthropic", "claude-haiku-4-5-20251001", THINK_BUDGET, RULE_TEMPERATURE_OR_TOP_P},
        {"anthropic", "claude-opus-4-5-20251101", THINK_BUDGET, RULE_JSON_SCHEMA_NATIVE},
        {"anthropic", "claude-sonnet-4-6", THINK_EITHER, RULE_NO_PREFILL},
        {"anthropic", "claude-opus-4-8", THINK_ADAPTIVE, RULE_FIXED_SAMPLING},
        {"anthropic", "claude-fable-5", THINK_ADAPTIVE, RULE_THINKING_CANNOT_BE_OFF},
        {"anthropic", "claude-opus-5", THINK_ADAPTIVE, RULE_THINKING_DEFAULT_ON},
        {"anthropic", "claude-opus-9", THINK_UNKNOWN, 0},
        {"google", "gemini-2.5-flash", THINK_BUDGET, RULE_JSON_NOT_WITH_TOOLS},
        {"google", "gemini-3-flash-preview", THINK_LEVEL, RULE_SIGNATURE_REQUIRED},
        {"google", "gemini-3.1-pro-preview", THINK_LEVEL, RULE_SIGNATURE_REQUIRED},
        {"google", "gemini-3.9-ultra", THINK_LEVEL, RULE_SIGNATURE_REQUIRED},
        {"deepseek", "deepseek-v4-pro", THINK_TOGGLE, RULE_THINKING_DEFAULT_ON},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct catalogue_entry *e =
            model_find(c, str_c(known[i].provider), str_c(known[i].model));
        if (!e->pattern.n || e->caps.thinking != known[i].thinking ||
            (e->caps.rules & known[i].rules) != known[i].rules)
            fail_msg("%s: \"%.*s\", thinking %u, rules %x", known[i].model, STR_FMT(e->pattern),
                     e->caps.thinking, e->caps.rules);
    }
    assert_int_equal(model_find(c, STR("openai-compatible"), STR("gpt-4o"))->pattern.n, 0);
}

static int64_t cost(const char *provider, const char *model, int64_t at_ms, struct usage u)
{
    const struct catalogue_entry *e =
        model_find(model_catalogue_builtin(), str_c(provider), str_c(model));
    int64_t nusd = -1;
    return price_cost_nusd(price_at(&e->prices, at_ms, usage_input_tokens(&u)), &u, &nusd) ? nusd
                                                                                           : -1;
}

static void prices_of_the_field(void **state)
{
    (void)state;
    const int64_t nov_2026 = 1795392000000, jan_2027 = 1798761600000; /* 11-23 and 01-01, UTC */
    struct usage u = {.in_uncached = 1000000, .out_text = 1000000};
    assert_int_equal(cost("openai", "gpt-4o", nov_2026, u), 12500000000);
    assert_int_equal(cost("openai", "gpt-4o-mini", nov_2026, u), 750000000);
    assert_int_equal(cost("anthropic", "claude-haiku-4-5", nov_2026, u), 6000000000);
    /* this much is more than a short prompt */
    assert_int_equal(cost("google", "gemini-2.5-pro", nov_2026, u), 17500000000);
    u = (struct usage){.in_uncached = 100000, .out_text = 100000};
    assert_int_equal(cost("google", "gemini-2.5-pro", nov_2026, u), 1125000000);
    /* a price that ends with the year */
    assert_int_equal(cost("google", "gemini-3.8-flash", jan_2027 - 1, u), 450000000);
    assert_int_equal(cost("google", "gemini-3.8-flash", jan_2027, u), 900000000);
    /* by the hour of the day, on somebody else's machine, before it was sold */
    assert_int_equal(cost("deepseek", "deepseek-v4-pro", nov_2026, u), -1);
    assert_int_equal(cost("deepseek", "deepseek-chat", nov_2026, u), -1);
    assert_int_equal(cost("azure-openai", "gpt-4o", nov_2026, u), -1);
    assert_int_equal(cost("openai", "gpt-5", 1577836800000, u), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_pattern_is_found),
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(a_file_is_laid_over),
        cmocka_unit_test(models_are_lent_without_their_prices),
        cmocka_unit_test(a_bad_file_is_refused_with_its_place),
        cmocka_unit_test(a_file_is_opened),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(every_entry_makes_sense),
        cmocka_unit_test(no_two_prices_share_an_id),
        cmocka_unit_test(names_of_the_field_are_known),
        cmocka_unit_test(prices_of_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
