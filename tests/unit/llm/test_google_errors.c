/* google_errors: Google's errors on their way in (llm/classify) and out (llm/dialect_gemini). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/dialect.h"
#include "llm/usage.h"

#define DETAIL(rest) "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc." rest "]"

static void refusals_are_told_apart(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum err err;
        int out;
        unsigned kind;
        int64_t retry_ms;
        const char *code;
    } rows[] = {
        {400,
         "{\"error\":{\"code\":400,\"message\":\"API key not valid.\","
         "\"status\":\"INVALID_ARGUMENT\"," DETAIL(
             "ErrorInfo\",\"reason\":\"API_KEY_INVALID\",\"domain\":\"googleapis.com\"}") "}}",
         ERR_UPSTREAM_KEY, 502, 0, 0, "API_KEY_INVALID"},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"Invalid "
         "value\",\"status\":\"INVALID_ARGUMENT\"}}",
         ERR_UPSTREAM_REQUEST, 400, 0, 0, "INVALID_ARGUMENT"},
        {400,
         "[{\"error\":{\"code\":400,\"message\":\"The input token count (9) exceeds the "
         "maximum "
         "number of tokens allowed (8).\",\"status\":\"INVALID_ARGUMENT\"}}\n]",
         ERR_UPSTREAM_REQUEST, 400, FAULT_CONTEXT, 0, "INVALID_ARGUMENT"},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"User location is not supported\","
         "\"status\":\"FAILED_PRECONDITION\"}}",
         ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION, 0, "FAILED_PRECONDITION"},
        {404,
         "{\"error\":{\"code\":404,\"message\":\"models/x is not found for API version v1beta\","
         "\"status\":\"NOT_FOUND\"}}",
         ERR_UPSTREAM_REQUEST, 404, FAULT_MODEL, 0, "NOT_FOUND"},
        {404,
         "{\"error\":{\"code\":404,\"message\":\"Requested entity was not found.\","
         "\"status\":\"NOT_FOUND\"}}",
         ERR_UPSTREAM_REQUEST, 404, 0, 0, "NOT_FOUND"},
        {429,
         "{\"error\":{\"code\":429,\"message\":\"Your prepayment credits are depleted.\","
         "\"status\":\"RESOURCE_EXHAUSTED\"}}",
         ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT, 0, "RESOURCE_EXHAUSTED"},
        {429,
         "{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_"
         "EXHAUSTED\"," DETAIL("QuotaFailure\"},{\"@type\":\"x/"
                               "google.rpc.RetryInfo\",\"retryDelay\":\"34.07s\"}") "}"
                                                                                    "}",
         ERR_UPSTREAM_THROTTLE, 429, 0, 34070, "RESOURCE_EXHAUSTED"},
        {429,
         "{\"error\":{\"status\":\"RESOURCE_EXHAUSTED\"," DETAIL(
             "R\",\"retryDelay\":\"-1s\"}") "}}",
         ERR_UPSTREAM_THROTTLE, 429, 0, 0, "RESOURCE_EXHAUSTED"},
        {403, "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\"}}", ERR_UPSTREAM_KEY, 502,
         FAULT_PERMISSION, 0, "PERMISSION_DENIED"},
        {503, "{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}",
         ERR_UPSTREAM_ERROR, 503, 0, 0, "UNAVAILABLE"},
        {504, "{\"error\":{\"code\":504,\"status\":\"DEADLINE_EXCEEDED\"}}", ERR_UPSTREAM_TIMEOUT,
         504, 0, 0, "DEADLINE_EXCEEDED"},
        /* a status that is not Google's changes nothing */
        {400, "{\"error\":{\"code\":\"x\",\"message\":\"m\",\"status\":\"failed\"}}",
         ERR_UPSTREAM_REQUEST, 400, 0, 0, "x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fault f;
        fault_from_response(&f, STR("google"), rows[i].status, NULL, str_c(rows[i].body));
        print_message("%s\n", rows[i].body);
        assert_int_equal(f.err, rows[i].err);
        assert_int_equal(f.status, rows[i].out);
        assert_int_equal(f.kind, rows[i].kind);
        assert_int_equal(f.retry_ms, rows[i].retry_ms);
        assert_string_equal(f.code, rows[i].code);
    }
}

static void a_header_wins_over_a_detail(void **state)
{
    struct fault f;
    struct fault_headers h = {.retry_after = STR("5")};
    fault_from_response(&f, STR("google"), 429, &h,
                        STR("{\"error\":{\"status\":\"RESOURCE_EXHAUSTED\"," DETAIL(
                            "R\",\"retryDelay\":\"9s\"}") "}}"));
    assert_int_equal(f.retry_ms, 5000);
}

static void errors_inside_an_answer(void **state)
{
    static const struct {
        const char *error;
        enum err err;
        int out;
    } rows[] = {
        {"{\"status\":\"UNAVAILABLE\"}", ERR_UPSTREAM_ERROR, 503},
        {"{\"status\":\"INTERNAL\"}", ERR_UPSTREAM_ERROR, 502},
        {"{\"status\":\"RESOURCE_EXHAUSTED\"}", ERR_UPSTREAM_THROTTLE, 429},
        {"{\"status\":\"UNAUTHENTICATED\"}", ERR_UPSTREAM_KEY, 502},
        {"{\"status\":\"NOT_FOUND\"}", ERR_UPSTREAM_REQUEST, 404},
        {"{\"status\":\"INVALID_ARGUMENT\"}", ERR_UPSTREAM_REQUEST, 400},
        {"{\"status\":\"DEADLINE_EXCEEDED\"}", ERR_UPSTREAM_TIMEOUT, 504},
        {"{\"code\":403,\"status\":\"PERMISSION_DENIED\"}", ERR_UPSTREAM_KEY, 502},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_doc d;
        struct fault f;
        assert_int_equal(json_parse(&d, str_c(rows[i].error), NULL), ERR_OK);
        fault_from_object(&f, STR("google"), &d, 0);
        print_message("%s\n", rows[i].error);
        assert_int_equal(f.err, rows[i].err);
        assert_int_equal(f.status, rows[i].out);
    }
}

static void must_write(enum err e, const struct err_info *info, const char *want)
{
    struct buf b;
    buf_init(&b, 4096);
    dialect_error_body(&dialect_gemini, &b, e, info, STR("id-1"));
    assert_string_equal(buf_view(&b).p, want);
    buf_release(&b);
}

#define REQUEST "{\"@type\":\"type.googleapis.com/google.rpc.RequestInfo\",\"requestId\":\"id-1\"}"

static void bodies(void **state)
{
    struct err_info info;
    err_info_init(&info);
    must_write(ERR_UNAUTHORIZED, NULL,
               "{\"error\":{\"code\":401,\"message\":\"missing or invalid API key\","
               "\"status\":\"UNAUTHENTICATED\"," DETAIL(
                   "ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}," REQUEST) "}}");
    must_write(ERR_MODEL_NOT_FOUND, NULL,
               "{\"error\":{\"code\":404,\"message\":\"the model does not exist\","
               "\"status\":\"NOT_FOUND\",\"details\":[" REQUEST "]}}");
    must_write(ERR_NO_CHANNEL, NULL,
               "{\"error\":{\"code\":503,\"message\":\"no channel is available for this model\","
               "\"status\":\"UNAVAILABLE\",\"details\":[" REQUEST "]}}");
    info.retry_ms = 34070;
    must_write(ERR_RATE_LIMITED, &info,
               "{\"error\":{\"code\":429,\"message\":\"rate limit exceeded\","
               "\"status\":\"RESOURCE_EXHAUSTED\"," DETAIL(
                   "RetryInfo\",\"retryDelay\":\"34.070s\"}," REQUEST) "}}");
    info.retry_ms = 0;
    info.offset = 12;
    str_copy(info.field, sizeof info.field, STR("contents[0].role"));
    str_copy(info.text, sizeof info.text, STR("no"));
    must_write(ERR_INVALID, &info,
               "{\"error\":{\"code\":400,\"message\":\"no (at byte 12)\","
               "\"status\":\"INVALID_ARGUMENT\"," DETAIL(
                   "BadRequest\",\"fieldViolations\":[{\"field\":\"contents[0].role\","
                   "\"description\":\"no\"}]}," REQUEST) "}}");
}

static void what_a_key_was_refused_with_stays_inside(void **state)
{
    struct fault f;
    struct buf b;
    buf_init(&b, 4096);
    fault_from_response(&f, STR("google"), 403, NULL,
                        STR("{\"error\":{\"message\":\"project 77 is suspended\"}}"));
    dialect_gemini.fault_body(&b, &f, STR_NULL);
    assert_true(str_find(buf_view(&b), STR("project")) < 0);
    assert_int_equal(dialect_gemini.fault_status(&f), 502);
    buf_release(&b);
}

static void events(void **state)
{
    struct fault f;
    struct buf b;
    buf_init(&b, 4096);
    fault_from_err(&f, ERR_UPSTREAM_RESET, NULL);
    dialect_gemini.fault_event(&b, OP_GENERATE, &f, 7, 0, STR_NULL);
    assert_string_equal(buf_view(&b).p,
                        "data: {\"error\":{\"code\":502,\"message\":\"the upstream closed the "
                        "connection\",\"status\":\"UNAVAILABLE\",\"retryable\":true,\"tokens\":7}}"
                        "\r\n\r\n");
    assert_int_equal(dialect_gemini.ping.n, 0);
    buf_release(&b);
}

static void models(void **state)
{
    struct buf b;
    buf_init(&b, 4096);
    const struct model_entry m = {STR("a\"b"), STR("lyss"),
                                  0,           1048576,
                                  65536,       OP_BIT(OP_GENERATE) | OP_BIT(OP_GEMINI_COUNT)},
                             n = {STR("c")};
    dialect_gemini.models_begin(&b);
    dialect_models_add(&dialect_gemini, &b, &m, false);
    dialect_models_add(&dialect_gemini, &b, &n, true);
    dialect_gemini.models_end(&b, m.name, n.name);
    assert_string_equal(
        buf_view(&b).p,
        "{\"models\":[{\"name\":\"models/a\\\"b\",\"displayName\":\"a\\\"b\","
        "\"inputTokenLimit\":1048576,\"outputTokenLimit\":65536,\"supportedGenerationMethods\":["
        "\"generateContent\",\"countTokens\"]},"
        "{\"name\":\"models/c\",\"displayName\":\"c\",\"supportedGenerationMethods\":[]}]}");
    buf_release(&b);
}

static void usage_is_cut_to_its_totals(void **state)
{
    struct json_doc d;
    struct usage u = {.images = 5};
    assert_int_equal(json_parse(&d, STR("{\"trafficType\":\"ON_DEMAND\"}"), NULL), ERR_OK);
    assert_false(usage_read_gemini(&d, 0, &u));
    assert_int_equal(u.images, 5);
    assert_false(usage_read_gemini(&d, JSON_NONE, &u));
    assert_int_equal(
        json_parse(&d,
                   STR("{\"promptTokenCount\":5,\"cachedContentTokenCount\":9,"
                       "\"toolUsePromptTokenCount\":4294967295,\"thoughtsTokenCount\":-1,"
                       "\"promptTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":3},7]}"),
                   NULL),
        ERR_OK);
    assert_true(usage_read_gemini(&d, 0, &u));
    assert_int_equal(u.cache_read, 5);
    assert_int_equal(u.audio_in, 0);
    assert_int_equal(u.in_uncached, UINT32_MAX);
    assert_int_equal(usage_output_tokens(&u), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_are_told_apart),
        cmocka_unit_test(a_header_wins_over_a_detail),
        cmocka_unit_test(errors_inside_an_answer),
        cmocka_unit_test(bodies),
        cmocka_unit_test(what_a_key_was_refused_with_stays_inside),
        cmocka_unit_test(events),
        cmocka_unit_test(models),
        cmocka_unit_test(usage_is_cut_to_its_totals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
