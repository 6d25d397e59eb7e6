/* anthropic: what single cases of the golden folder do not show of the Messages form: its errors,
 * its words on usage, names there and back, bounds, and that nothing is lost on a round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "llm/anthropic/anthropic.h"
#include "llm/dialect.h"

static const struct model_caps no_caps;

/* ---- errors ---- */

static void judges_errors(void **state)
{
#define E(type, text)                                                                              \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" text "\"}}"
    static const struct {
        int status;
        const char *body;
        enum err want;
        int caller, own; /* the caller's status: of OpenAI's dialect, of this one */
        unsigned kind;
        const char *type;
    } t[] = {
        {400, E("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
         ERR_UPSTREAM_REQUEST, 400, 400, FAULT_CONTEXT, "invalid_request_error"},
        {400, E("invalid_request_error", "input length and `max_tokens` exceed context limit"),
         ERR_UPSTREAM_REQUEST, 400, 400, FAULT_CONTEXT, "invalid_request_error"},
        {400, E("invalid_request_error", "messages: no"), ERR_UPSTREAM_REQUEST, 400, 400, 0,
         "invalid_request_error"},
        {400, E("invalid_request_error", "Your credit balance is too low to access"),
         ERR_UPSTREAM_KEY, 502, 502, FAULT_NO_CREDIT, "api_error"},
        /* an echo of what the caller sent */
        {400, E("invalid_request_error", "tools.0.name: 'credit balance is too low' is no name"),
         ERR_UPSTREAM_REQUEST, 400, 400, 0, "invalid_request_error"},
        {403, "{\"error\":{\"code\":\"model_not_found\",\"message\":\"no access\"}}",
         ERR_UPSTREAM_KEY, 502, 502, FAULT_MAPPING, "api_error"},
        {402, E("billing_error", "no"), ERR_UPSTREAM_KEY, 502, 502, FAULT_NO_CREDIT, "api_error"},
        {401, E("authentication_error", "no"), ERR_UPSTREAM_KEY, 502, 502, 0, "api_error"},
        {403, E("permission_error", "no"), ERR_UPSTREAM_KEY, 502, 502, FAULT_PERMISSION,
         "api_error"},
        {404, E("not_found_error", "model: x"), ERR_UPSTREAM_REQUEST, 404, 404, FAULT_MODEL,
         "not_found_error"},
        {404, E("not_found_error", "Not found"), ERR_UPSTREAM_REQUEST, 404, 404, 0,
         "not_found_error"},
        {413, E("request_too_large", "no"), ERR_UPSTREAM_REQUEST, 413, 413, 0, "request_too_large"},
        {429, E("rate_limit_error", "no"), ERR_UPSTREAM_THROTTLE, 429, 429, 0, "rate_limit_error"},
        {500, E("api_error", "no"), ERR_UPSTREAM_ERROR, 500, 500, 0, "api_error"},
        {504, E("timeout_error", "no"), ERR_UPSTREAM_TIMEOUT, 504, 504, 0, "timeout_error"},
        {529, E("overloaded_error", "no"), ERR_UPSTREAM_ERROR, 503, 529, 0, "overloaded_error"},
        {529, "<html>", ERR_UPSTREAM_ERROR, 503, 529, 0, "overloaded_error"},
        {503, "<html>", ERR_UPSTREAM_ERROR, 503, 529, 0, "overloaded_error"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct fault f;
        struct buf b;
        char want[64];
        fault_from_response(&f, STR("anthropic"), t[i].status, NULL, str_c(t[i].body));
        assert_int_equal(f.err, t[i].want);
        assert_int_equal(f.kind, t[i].kind);
        assert_int_equal(dialect_openai.fault_status(&f), t[i].caller);
        assert_int_equal(dialect_anthropic.fault_status(&f), t[i].own);
        buf_init(&b, 4096);
        dialect_anthropic.fault_body(&b, &f, STR("r1"));
        snprintf(want, sizeof want, "\"error\":{\"type\":\"%s\",", t[i].type);
        assert_non_null(strstr(b.p, want));
        buf_release(&b);
    }
}

static void judges_errors_in_streams(void **state)
{
    static const struct {
        const char *type;
        enum err want;
        int status;
    } t[] = {
        {"overloaded_error", ERR_UPSTREAM_ERROR, 503},
        {"api_error", ERR_UPSTREAM_ERROR, 502},
        {"rate_limit_error", ERR_UPSTREAM_THROTTLE, 429},
        {"timeout_error", ERR_UPSTREAM_TIMEOUT, 504},
        {"permission_error", ERR_UPSTREAM_KEY, 502},
        {"authentication_error", ERR_UPSTREAM_KEY, 502},
        {"invalid_request_error", ERR_UPSTREAM_REQUEST, 400},
        {"not_found_error", ERR_UPSTREAM_REQUEST, 404},
        {"request_too_large", ERR_UPSTREAM_REQUEST, 413},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct json_doc d;
        struct fault f;
        char text[128];
        snprintf(text, sizeof text, "{\"type\":\"%s\",\"message\":\"m\"}", t[i].type);
        assert_int_equal(json_parse(&d, str_c(text), NULL), ERR_OK);
        fault_from_object(&f, STR("anthropic"), &d, 0);
        assert_int_equal(f.err, t[i].want);
        assert_int_equal(f.status, t[i].status);
    }
}

static void says_errors(void **state)
{
    struct buf b;
    struct err_info info;
    struct fault f;
    buf_init(&b, 4096);
    err_info_init(&info);
    enum err e = err_set(&info, ERR_INVALID, "messages.0.role: Field required");
    info.offset = 7;
    dialect_error_body(&dialect_anthropic, &b, e, &info, STR("r1"));
    assert_string_equal(b.p, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
                             "\"message\":\"messages.0.role: Field required (at byte 7)\"},"
                             "\"request_id\":\"r1\"}");
    static const struct {
        enum err e;
        const char *type;
    } ours[] = {
        {ERR_UNAUTHORIZED, "authentication_error"}, {ERR_FORBIDDEN, "permission_error"},
        {ERR_MODEL_NOT_FOUND, "not_found_error"},   {ERR_BODY_TOO_LARGE, "request_too_large"},
        {ERR_RATE_LIMITED, "rate_limit_error"},     {ERR_NO_CHANNEL, "api_error"},
        {ERR_OVERLOADED, "overloaded_error"},       {ERR_UPSTREAM_TIMEOUT, "timeout_error"}};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        char want[64];
        buf_reset(&b);
        dialect_error_body(&dialect_anthropic, &b, ours[i].e, NULL, STR_NULL);
        snprintf(want, sizeof want, "{\"type\":\"%s\"", ours[i].type);
        assert_non_null(strstr(b.p, want));
        assert_null(strstr(b.p, "request_id"));
    }
    buf_reset(&b);
    fault_from_err(&f, ERR_UPSTREAM_RESET, NULL);
    dialect_anthropic.fault_event(&b, OP_MESSAGES, &f, 3, 0, STR("r1"));
    assert_string_equal(
        b.p,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":"
        "\"the upstream closed the connection\",\"retryable\":true,\"tokens\":3},"
        "\"request_id\":\"r1\"}\n\n");
    buf_release(&b);
}

static void lists_models(void **state)
{
    struct buf b;
    struct model_entry m = {
        .name = STR("a\"b"), .created_s = 1700000000, .context_tokens = 200000, .output_tokens = 8};
    buf_init(&b, 4096);
    dialect_anthropic.models_begin(&b);
    dialect_models_add(&dialect_anthropic, &b, &m, false);
    dialect_models_add(&dialect_anthropic, &b, &m, true);
    dialect_anthropic.models_end(&b, m.name, m.name);
#define ONE                                                                                        \
    "{\"type\":\"model\",\"id\":\"a\\\"b\",\"display_name\":\"a\\\"b\","                           \
    "\"created_at\":\"2023-11-14T22:13:20Z\",\"max_input_tokens\":200000,\"max_tokens\":8}"
    assert_string_equal(b.p,
                        "{\"data\":[" ONE "," ONE "],\"has_more\":false,\"first_id\":\"a\\\"b\","
                        "\"last_id\":\"a\\\"b\"}");
    buf_reset(&b);
    dialect_anthropic.models_begin(&b);
    dialect_anthropic.models_end(&b, STR_NULL, STR_NULL);
    assert_string_equal(b.p, "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
    buf_release(&b);
}

/* ---- usage ---- */

static bool add_usage(struct usage *u, const char *text)
{
    struct json_doc d;
    assert_int_equal(json_parse(&d, str_c(text), NULL), ERR_OK);
    return usage_read_anthropic(&d, json_root(&d), u);
}

static void assigns_usage(void **state)
{
    struct usage u = {0};
    assert_true(add_usage(&u, "{\"input_tokens\":10,\"cache_creation_input_tokens\":9,"
                              "\"cache_read_input_tokens\":4,\"cache_creation\":{"
                              "\"ephemeral_5m_input_tokens\":3,\"ephemeral_1h_input_tokens\":6},"
                              "\"output_tokens\":1}"));
    /* what is left out stays, and so do the parts of a total that did not change */
    assert_true(add_usage(&u, "{\"cache_creation_input_tokens\":9,\"output_tokens\":50,"
                              "\"output_tokens_details\":{\"thinking_tokens\":20}}"));
    assert_true(add_usage(&u, "{\"input_tokens\":null,\"output_tokens\":60}"));
    struct usage want = {.in_uncached = 10,
                         .cache_read = 4,
                         .cache_write_5m = 3,
                         .cache_write_1h = 6,
                         .out_text = 40,
                         .out_reasoning = 20};
    assert_memory_equal(&u, &want, sizeof u);
    assert_int_equal(usage_input_tokens(&u), 23);
    assert_false(add_usage(&u, "{\"input_tokens\":-1,\"output_tokens\":\"5\"}"));
    assert_false(add_usage(&u, "[1]"));
    assert_memory_equal(&u, &want, sizeof u);
    u = (struct usage){0};
    assert_true(add_usage(&u, "{\"cache_creation_input_tokens\":5,\"output_tokens\":2,"
                              "\"output_tokens_details\":{\"thinking_tokens\":9}}"));
    assert_int_equal(u.cache_write_5m, 5);
    assert_int_equal(u.out_reasoning, 2);
    assert_int_equal(u.out_text, 0);
}

/* ---- names ---- */

static void names_there_and_back(void **state)
{
    static const char *const names[] = {
        "get_weather",       "a.b", "a:b/c d", "_x2E_", "a_x2E", "_x2E.", "get_x41_thing",
        "\xC3\xA9t\xC3\xA9", "__x", "_x.",     ".",     "x_.y"};
    struct arena a;
    arena_init(&a, 65536);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str fit = anthropic_name_fit(str_c(names[i]), &a);
        assert_true(fit.n > 0 && fit.n <= 128);
        for (size_t k = 0; k < fit.n; k++)
            assert_non_null(strchr(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", fit.p[k]));
        assert_true(str_eq(anthropic_name_own(fit, &a), str_c(names[i])));
    }
    assert_int_equal(anthropic_name_fit(STR("get_weather"), &a).n, 11);
    assert_int_equal(anthropic_name_fit(STR(""), &a).n, 0);
    char dots[27];
    memset(dots, '.', sizeof dots);
    assert_true(anthropic_name_fit(str_make(dots, 25), &a).n == 125);
    assert_null(anthropic_name_fit(str_make(dots, 26), &a).p);
    arena_release(&a);
}

/* ---- bounds ---- */

static void holds_no_more_than_it_may(void **state)
{
    struct anthropic_writer w = {.started = false};
    struct answer as = {.model = STR("m")};
    struct buf out;
    static char piece[65536];
    memset(piece, 'x', sizeof piece);
    buf_init(&out, 64 << 20);
    anthropic_writer_init(&w, &as);
    struct neutral_event ev = {.type = EVENT_TOOL, .id = STR("a"), .name = STR("f")};
    anthropic_write_event(&w, &ev, &out);
    ev = (struct neutral_event){.type = EVENT_TEXT, .text = str_make(piece, sizeof piece)};
    unsigned n = 0;
    while (!buf_failed(&out) && n < 100) {
        anthropic_write_event(&w, &ev, &out);
        n++;
    }
    assert_true(buf_failed(&out));
    assert_in_range(n, 15, 17);
    anthropic_writer_release(&w);
    assert_int_equal(w.held_bytes, 0);
    buf_release(&out);
}

/* ---- there and back ---- */

static enum err read_text(const struct codec *c, struct neutral_request *r, struct str body,
                          struct arena *a, struct err_info *info)
{
    struct json_doc d;
    assert_int_equal(json_parse(&d, body, NULL), ERR_OK);
    return c->read_request(r, &d, STR_NULL, a, info);
}

/* A request that uses all that the form can say is the same after a trip through the neutral one.
 */
static void loses_nothing(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"max_tokens\":9000,\"stream\":true,"
        "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},"
        "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"bash_20250124\",\"name\":\"bash\"}"
        "],"
        "\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true},"
        "\"system\":[{\"type\":\"text\",\"text\":\"S\",\"cache_control\":{\"type\":\"ephemeral\","
        "\"ttl\":\"1h\"}}],"
        "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"go "
        "\xC3\xA9\"},"
        "{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"f1\"}}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\","
        "\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"thinking\","
        "\"thinking\":\"hm2\",\"signature\":\"s2\"},{\"type\":\"tool_use\",\"id\":\"t1\","
        "\"name\":\"f\",\"input\":{\"a\":[1,2.50]}}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\","
        "\"content\":[{\"type\":\"text\",\"text\":\"r\"}],\"is_error\":true}]}],"
        "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048},"
        "\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"standard_only\",\"container\":\"c\"}";
    struct model_caps caps = {.thinking = THINK_BUDGET};
    struct target t = {
        .model = STR("m"), .provider = STR("anthropic"), .caps = &caps, .stream = true};
    struct neutral_request r;
    struct receipt receipt = {.n = 0};
    struct link link;
    struct arena a;
    struct buf b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_int_equal(read_text(&codec_messages, &r, str_c(body), &a, NULL), ERR_OK);
    assert_int_equal(codec_messages.write_request(&r, &t, &a, &b, &receipt, &link, NULL), ERR_OK);
    assert_string_equal(b.p, body);
    assert_string_equal(receipt.names, "");
    buf_release(&b);
    arena_release(&a);
}

/* Short of memory, every step says so and none is taken for done. */
static void survives_want_of_memory(void **state)
{
    static const struct str body = STR(
        "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"a\\n\"},{\"type\":\"image\",\"source\":{\"type\":\"url\","
        "\"url\":\"https://x\"}}]}],\"tools\":[{\"name\":\"f\",\"input_schema\":{}}]}");
    struct target t = {.model = STR("m"), .provider = STR("anthropic"), .caps = &no_caps};
    enum err e = ERR_NOMEM;
    for (size_t room = 0; e; room += 64) {
        struct neutral_request r;
        struct receipt receipt = {.n = 0};
        struct link link;
        struct arena a;
        struct buf b;
        arena_init(&a, room);
        buf_init(&b, 65536);
        e = read_text(&codec_messages, &r, body, &a, NULL);
        if (!e)
            e = codec_messages.write_request(&r, &t, &a, &b, &receipt, &link, NULL);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        assert_true(room < 65536);
        buf_release(&b);
        arena_release(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_errors),
        cmocka_unit_test(judges_errors_in_streams),
        cmocka_unit_test(says_errors),
        cmocka_unit_test(lists_models),
        cmocka_unit_test(assigns_usage),
        cmocka_unit_test(names_there_and_back),
        cmocka_unit_test(loses_nothing),
        cmocka_unit_test(survives_want_of_memory),
        cmocka_unit_test(holds_no_more_than_it_may),
    };
    return cmocka_run_group_tests_name("llm/anthropic", tests, NULL, NULL);
}
