/* provider: rows, URLs, credentials; failures and what the caller is told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/dialect.h"
#include "llm/provider.h"

static void builds_targets(void **state)
{
    static const struct {
        const char *provider, *prefix, *version;
        enum llm_op op;
        const char *want; /* NULL: refused */
        const char *model;
    } t[] = {
        {"openai", "/v1", "", OP_CHAT, "/v1/chat/completions", "m"},
        {"deepseek", "", "", OP_CHAT, "/chat/completions", "m"},
        {"openai-compatible", "/a/v1", "", OP_MODEL, "/a/v1/models/m", "m"},
        {"openai-compatible", "/a/v1", "", OP_MODEL, NULL, ".."},
        {"azure-openai", "", "2024-10-21", OP_CHAT,
         "/openai/deployments/dep-1/chat/completions?api-version=2024-10-21", "dep-1"},
        {"azure-openai", "/openai", "2024-10-21", OP_EMBEDDINGS,
         "/openai/deployments/dep-1/embeddings?api-version=2024-10-21", "dep-1"},
        {"azure-openai", "", "2025-03-01-preview", OP_RESPONSES,
         "/openai/responses?api-version=2025-03-01-preview", "dep-1"},
        {"azure-openai", "", "", OP_CHAT, "/openai/v1/chat/completions", "dep-1"},
        {"azure-openai", "", "preview", OP_RESPONSES, "/openai/v1/responses?api-version=preview",
         "d"},
        {"azure-openai", "/api/projects/p/openai/v1", "", OP_CHAT,
         "/api/projects/p/openai/v1/chat/completions", "d"},
        {"azure-openai", "", "2024-10-21", OP_CHAT, NULL, "../x"},
        {"azure-openai", "", "2024-10-21", OP_CHAT, NULL, ".."},
        {"azure-openai", "", "2024-10-21", OP_CHAT, NULL, ""},
        {"azure-openai", "", "2024-10-21", OP_CHAT, NULL, "a?b"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct buf b;
        struct endpoint at = {str_c(t[i].prefix), str_c(t[i].version)};
        buf_init(&b, 1024);
        enum err e = provider_target(provider_find(str_c(t[i].provider)), &at, t[i].op,
                                     str_c(t[i].model), false, &b, NULL);
        assert_int_equal(e, t[i].want ? ERR_OK : ERR_INVALID);
        if (t[i].want)
            assert_string_equal(b.p, t[i].want);
        buf_release(&b);
    }
}

static void sends_one_credential(void **state)
{
    struct buf b;
    buf_init(&b, 1024);
    struct secret s = secret_take_copy(STR("k-1")), bad = secret_take_copy(STR("a\r\nb: c"));
    struct secret none = {NULL, 0};
    assert_int_equal(provider_auth_header(provider_find(STR("openai")), &s, &b), ERR_OK);
    assert_int_equal(provider_auth_header(provider_find(STR("azure-openai")), &s, &b), ERR_OK);
    assert_int_equal(provider_auth_header(provider_find(STR("demo")), &s, &b), ERR_OK);
    assert_int_equal(provider_auth_header(provider_find(STR("openai-compatible")), &none, &b),
                     ERR_OK);
    assert_string_equal(b.p, "Authorization: Bearer k-1\r\napi-key: k-1\r\n");
    assert_int_equal(provider_auth_header(provider_find(STR("openai")), &bad, &b), ERR_INVALID);
    secret_release(&s);
    secret_release(&bad);
    buf_release(&b);
}

static void checks_endpoints(void **state)
{
    const struct provider *azure = provider_find(STR("azure-openai"));
    const struct provider *openai = provider_find(STR("openai"));
    struct endpoint at = {STR("/v1"), STR_NULL};
    assert_int_equal(provider_check_endpoint(openai, &at, NULL), ERR_OK);
    at.prefix = STR("/v1/");
    assert_int_equal(provider_check_endpoint(openai, &at, NULL), ERR_INVALID);
    at.prefix = STR("/a/../b");
    assert_int_equal(provider_check_endpoint(openai, &at, NULL), ERR_INVALID);
    at = (struct endpoint){STR(""), STR("2024-10-21")};
    assert_int_equal(provider_check_endpoint(openai, &at, NULL), ERR_INVALID);
    assert_int_equal(provider_check_endpoint(azure, &at, NULL), ERR_OK);
    assert_true(provider_takes_stream_options(azure, &at));
    at.api_version = STR("2024-02-01");
    assert_false(provider_takes_stream_options(azure, &at));
    assert_true(provider_takes_stream_options(openai, &at));
    at.api_version = STR("2024-10-21&x=y");
    assert_int_equal(provider_check_endpoint(azure, &at, NULL), ERR_INVALID);
}

static void finds_rows(void **state)
{
    size_t n = 0;
    for (const struct provider *p; (p = provider_at(n)); n++)
        assert_ptr_equal(provider_find(str_c(p->name)), p);
    assert_int_equal(n, 7);
    assert_null(provider_find(STR("nobody")));
    assert_true(provider_serves(provider_find(STR("openai")), OP_RESPONSES));
    assert_false(provider_serves(provider_find(STR("deepseek")), OP_RESPONSES));
    assert_int_equal(op_find(STR("embeddings")), OP_EMBEDDINGS);
}

static void judges_failures(void **state)
{
    static const struct {
        int status;
        const char *provider, *body;
        enum err want;
        int caller;
        unsigned kind;
    } t[] = {
        {400, "openai",
         "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":"
         "\"n\",\"code\":null}}",
         ERR_UPSTREAM_REQUEST, 400, 0},
        {400, "openai", "{\"error\":{\"code\":\"context_length_exceeded\"}}", ERR_UPSTREAM_REQUEST,
         400, FAULT_CONTEXT},
        {400, "openai-compatible", "{\"message\":\"the maximum context length is 10\"}",
         ERR_UPSTREAM_REQUEST, 400, FAULT_CONTEXT},
        {400, "azure-openai", "{\"error\":{\"code\":\"content_filter\"}}", ERR_UPSTREAM_REQUEST,
         400, FAULT_POLICY},
        {400, "openai", "[{\"error\":{\"code\":\"API_KEY_INVALID\"}}]", ERR_UPSTREAM_KEY, 502, 0},
        {401, "openai", "", ERR_UPSTREAM_KEY, 502, 0},
        {402, "deepseek", "{\"error\":{\"message\":\"Insufficient Balance\"}}", ERR_UPSTREAM_KEY,
         502, FAULT_NO_CREDIT},
        {403, "openai", "<html>", ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
        {401, "openai",
         "{\"error\":{\"message\":\"You have insufficient permissions for this operation. Missing "
         "scopes: api.model.read.\"}}",
         ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
        {401, "azure-openai", "{\"error\":{\"code\":\"PermissionDenied\"}}", ERR_UPSTREAM_KEY, 502,
         FAULT_PERMISSION},
        {404, "openai", "{\"error\":{\"code\":\"model_not_found\"}}", ERR_UPSTREAM_REQUEST, 404,
         FAULT_MODEL},
        {404, "openai", "{\"error\":{\"message\":\"Invalid URL (POST /v2/models)\"}}",
         ERR_UPSTREAM_REQUEST, 404, 0},
        {404, "openai-compatible", "{\"detail\":\"Not Found\"}", ERR_UPSTREAM_REQUEST, 404, 0},
        {404, "openai-compatible",
         "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"code\":404}",
         ERR_UPSTREAM_REQUEST, 404, FAULT_MODEL},
        {400, "openai-compatible", "{\"error\":{\"message\":\"x is not a valid model ID\"}}",
         ERR_UPSTREAM_REQUEST, 400, FAULT_MODEL},
        {400, "deepseek", "{\"error\":{\"message\":\"Model Not Exist\"}}", ERR_UPSTREAM_REQUEST,
         400, FAULT_MODEL},
        {400, "openai",
         "{\"error\":{\"message\":\"Could not finish the message because max_tokens or model "
         "output "
         "limit was reached. Please try again with higher max_tokens.\"}}",
         ERR_UPSTREAM_REQUEST, 400, FAULT_NO_ROOM},
        {404, "azure-openai", "{\"error\":{\"code\":\"DeploymentNotFound\"}}", ERR_UPSTREAM_KEY,
         502, FAULT_MAPPING},
        {404, "openai", "{\"error\":{\"code\":\"DeploymentNotFound\"}}", ERR_UPSTREAM_REQUEST, 404,
         0},
        {408, "openai", "", ERR_UPSTREAM_TIMEOUT, 504, 0},
        {413, "openai", "", ERR_UPSTREAM_REQUEST, 413, 0},
        {422, "openai", "{\"detail\":\"no\"}", ERR_UPSTREAM_REQUEST, 422, 0},
        {429, "openai", "{\"error\":{\"code\":\"rate_limit_exceeded\"}}", ERR_UPSTREAM_THROTTLE,
         429, 0},
        {429, "openai", "{\"error\":{\"type\":\"insufficient_quota\"}}", ERR_UPSTREAM_KEY, 502,
         FAULT_NO_CREDIT},
        {302, "openai", "", ERR_UPSTREAM_PROTOCOL, 502, 0},
        {500, "openai", "{}", ERR_UPSTREAM_ERROR, 500, 0},
        {503, "openai", "busy", ERR_UPSTREAM_ERROR, 503, 0},
        {529, "openai", "", ERR_UPSTREAM_ERROR, 503, 0},
        {700, "openai", "", ERR_UPSTREAM_ERROR, 502, 0},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct fault f;
        fault_from_response(&f, str_c(t[i].provider), t[i].status, NULL, str_c(t[i].body));
        assert_int_equal(f.err, t[i].want);
        assert_int_equal(f.status, t[i].caller);
        assert_int_equal(f.kind, t[i].kind);
        assert_true(f.message[0] != 0 || strstr(t[i].body, "code"));
    }
}

static void reads_retry_after(void **state)
{
    static const struct {
        const char *s, *ms;
        int64_t want;
    } t[] = {
        {"2", "", 2000},
        {"1.5", "", 1500},
        {"2", "250", 250},
        {"", "1234.5", 1234},
        {"", "", 0},
        {"soon", "", 0},
        {"-1", "", 0},
        {"9999999", "", 24 * 3600 * 1000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", "", 7000},
        {"Sun, 06 Nov 1994 08:49:27 GMT", "", 0},
        {"Sun, 06 Xxx 1994 08:49:37 GMT", "", 0},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct fault_headers h = {str_c(t[i].s), str_c(t[i].ms), 784111770};
        assert_int_equal(retry_after_ms(&h), t[i].want);
    }
}

static void scrubs_credentials(void **state)
{
    static const char *const t[][2] = {
        {"Incorrect API key provided: sk-proj-ab*****cd.", "Incorrect API key provided: […]."},
        {"in organization org-AbCd1234 on tokens", "in organization […] on tokens"},
        {"sent Authorization: Bearer abcdef123456, no", "sent Authorization: […], no"},
        {"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln here", "token […] here"},
        {"key 0123456789abcdef0123456789abcdef!", "key […]!"},
        {"key Abcdefghijklmnopqrstuvwxyz0123456789", "key […]"},
        {"risk-free org-wide task-force, see https://platform.example.com/docs/guides/error-codes",
         "risk-free org-wide task-force, see https://platform.example.com/docs/guides/error-codes"},
        {"request 0198a2b4-7c11-7aaa-8bbb-123456789abc failed",
         "request 0198a2b4-7c11-7aaa-8bbb-123456789abc failed"},
        {"a\nb\x7F", "a b "},
    };
    char out[256], tiny[4];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        scrub(out, sizeof out, str_c(t[i][0]));
        assert_string_equal(out, t[i][1]);
    }
    scrub(tiny, sizeof tiny, STR("ab\xC3\xA9"));
    assert_string_equal(tiny, "ab");
}

static void says_it_in_the_dialect(void **state)
{
    struct buf b;
    struct err_info info;
    struct fault f;
    buf_init(&b, 4096);
    err_info_init(&info);
    enum err e = err_set(&info, ERR_INVALID, "model is given twice");
    str_copy(info.field, sizeof info.field, STR("model"));
    info.offset = 13;
    dialect_error_body(&dialect_openai, &b, e, &info, STR("req-1"));
    assert_string_equal(b.p,
                        "{\"error\":{\"message\":\"model is given twice (at byte 13)\",\"type\":"
                        "\"invalid_request_error\",\"param\":\"model\",\"code\":\"invalid_value\","
                        "\"offset\":13,\"request_id\":\"req-1\"}}");
    buf_reset(&b);
    dialect_error_body(&dialect_openai, &b, ERR_UNAUTHORIZED, NULL, STR_NULL);
    assert_string_equal(b.p,
                        "{\"error\":{\"message\":\"missing or invalid API key\",\"type\":"
                        "\"authentication_error\",\"param\":null,\"code\":\"invalid_api_key\"}}");
    buf_reset(&b);
    fault_from_response(
        &f, STR("openai"), 400, NULL,
        STR("{\"error\":{\"message\":\"bad \\\"n\\\"\",\"type\":\"t\",\"param\":\"n\","
            "\"code\":\"c\"}}"));
    dialect_openai.fault_body(&b, &f, STR_NULL);
    assert_string_equal(b.p,
                        "{\"error\":{\"message\":\"bad \\\"n\\\"\",\"type\":\"t\",\"param\":\"n\","
                        "\"code\":\"c\"}}");
    buf_reset(&b);
    fault_from_response(&f, STR("openai"), 401, NULL, STR("{\"error\":{\"message\":\"secret\"}}"));
    dialect_openai.fault_body(&b, &f, STR_NULL);
    assert_null(strstr(b.p, "secret\""));
    assert_non_null(strstr(b.p, "provider_credential_error"));
    buf_reset(&b);
    fault_from_err(&f, ERR_UPSTREAM_INCOMPLETE, NULL);
    dialect_openai.fault_event(&b, OP_CHAT, &f, 7, 0, STR_NULL);
    assert_string_equal(b.p,
                        "data: {\"error\":{\"message\":\"the upstream's answer ended before it was "
                        "complete\",\"type\":\"server_error\",\"param\":null,\"code\":"
                        "\"upstream_incomplete\",\"retryable\":true,\"tokens\":7}}\n\n");
    buf_reset(&b);
    fault_from_err(&f, ERR_UPSTREAM_TIMEOUT, NULL);
    dialect_openai.fault_event(&b, OP_RESPONSES, &f, 0, 9, STR_NULL);
    assert_true(
        str_starts(buf_view(&b), STR("event: error\ndata: {\"type\":\"error\",\"sequence_number\":"
                                     "9,\"code\":\"upstream_timeout\",")));
    buf_release(&b);
}

/* What other providers say, as callers of this dialect know it. */
static void foreign_refusals_in_the_dialect(void **state)
{
#define GOOGLE(message)                                                                            \
    "{\"error\":{\"code\":400,\"message\":\"" message "\",\"status\":\"INVALID_ARGUMENT\"}}"
#define ANTHROPIC(type, message)                                                                   \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}}"
#define OPENAI(type, code)                                                                         \
    "{\"error\":{\"message\":\"m\",\"type\":\"" type "\",\"code\":\"" code "\"}}"
#define REFUSED "\"type\":\"invalid_request_error\",\"param\":null,\"code\":"
    static const struct {
        int status;
        const char *provider, *body, *want;
    } t[] = {
        {400, "google", GOOGLE("no"), REFUSED "null}"},
        {400, "google", GOOGLE("it exceeds the maximum number of tokens allowed"),
         REFUSED "\"context_length_exceeded\"}"},
        {400, "anthropic", ANTHROPIC("invalid_request_error", "no"), REFUSED "null}"},
        {400, "anthropic", ANTHROPIC("invalid_request_error", "prompt is too long: 9 > 8"),
         REFUSED "\"context_length_exceeded\"}"},
        {404, "anthropic", ANTHROPIC("not_found_error", "model: x"), REFUSED "null}"},
        {413, "anthropic", ANTHROPIC("request_too_large", "no"), REFUSED "null}"},
        {400, "x", "{\"message\":\"maximum context length is 8\",\"code\":400}",
         REFUSED "\"context_length_exceeded\"}"},
        {400, "x", OPENAI("content_filter", ""),
         "\"content_filter\",\"param\":null,\"code\":\"content_policy_violation\"}"},
        /* OpenAI's own stay as they are */
        {400, "azure-openai", OPENAI("t", "content_filter"), "\"code\":\"content_filter\"}"},
        {404, "openai", OPENAI("invalid_request_error", "model_not_found"),
         REFUSED "\"model_not_found\"}"},
    };
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct fault f;
        fault_from_response(&f, str_c(t[i].provider), t[i].status, NULL, str_c(t[i].body));
        buf_reset(&b);
        dialect_openai.fault_body(&b, &f, STR_NULL);
        print_message("%s\n", b.p);
        assert_non_null(strstr(b.p, t[i].want));
    }
    buf_release(&b);
}

static void names_the_version(void **state)
{
    struct buf b;
    buf_init(&b, 256);
    provider_version_header(STR_NULL, STR_NULL, &b);
    assert_string_equal(b.p, "anthropic-version: 2023-06-01\r\n");
    buf_reset(&b);
    provider_version_header(STR("2099-01-01"), STR("a,b"), &b);
    assert_string_equal(b.p, "anthropic-version: 2099-01-01\r\nanthropic-beta: a,b\r\n");
    buf_release(&b);
}

static void lists_models(void **state)
{
    struct buf b;
    struct model_entry one = {.name = STR("a\"b"), .created_s = 5, .owned_by = STR("lyss")};
    struct model_entry two = {.name = STR("c"), .created_s = 5, .owned_by = STR("lyss")};
    buf_init(&b, 4096);
    dialect_openai.models_begin(&b);
    dialect_models_add(&dialect_openai, &b, &one, false);
    dialect_models_add(&dialect_openai, &b, &two, true);
    dialect_openai.models_end(&b, one.name, two.name);
    assert_string_equal(b.p,
                        "{\"object\":\"list\",\"data\":[{\"id\":\"a\\\"b\",\"object\":\"model\","
                        "\"created\":5,\"owned_by\":\"lyss\"},{\"id\":\"c\",\"object\":\"model\","
                        "\"created\":5,\"owned_by\":\"lyss\"}]}");
    buf_release(&b);
}

static void scales_estimates(void **state)
{
    (void)state;
    const struct provider *openai = provider_find(STR("openai"));
    const struct provider *other = provider_find(STR("openai-compatible"));
    struct model_caps any = {0}, own = {.estimate_percent = 120};
    assert_int_equal(provider_scale(openai, &any, 100), openai->estimate_percent);
    assert_int_equal(provider_scale(openai, &own, 100), 120);
    assert_int_equal(provider_scale(openai, &own, 1), 2);
    assert_int_equal(provider_scale(other, &any, 77), 77);
    assert_int_equal(provider_scale(other, &own, UINT32_MAX), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_targets),
        cmocka_unit_test(sends_one_credential),
        cmocka_unit_test(checks_endpoints),
        cmocka_unit_test(finds_rows),
        cmocka_unit_test(judges_failures),
        cmocka_unit_test(reads_retry_after),
        cmocka_unit_test(scrubs_credentials),
        cmocka_unit_test(says_it_in_the_dialect),
        cmocka_unit_test(foreign_refusals_in_the_dialect),
        cmocka_unit_test(names_the_version),
        cmocka_unit_test(lists_models),
        cmocka_unit_test(scales_estimates),
    };
    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
