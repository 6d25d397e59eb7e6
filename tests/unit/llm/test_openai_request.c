/* openai_request: what is read of a request, what is refused, and how it is edited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/estimate.h"
#include "llm/provider.h"
#include "llm/wire_openai_request.h"

static struct arena a;
static struct err_info info;

static int setup(void **state)
{
    arena_init(&a, 1 << 20);
    err_info_init(&info);
    return 0;
}

static int teardown(void **state)
{
    arena_release(&a);
    return 0;
}

static struct openai_request read_ok(enum llm_op op, const char *body)
{
    struct openai_request r;
    assert_int_equal(openai_request_read(&r, op, str_c(body), STR_NULL, &a, &info), ERR_OK);
    return r;
}

static void refused(const char *body, enum err want, const char *field, int64_t offset)
{
    struct openai_request r;
    err_info_init(&info);
    assert_int_equal(openai_request_read(&r, OP_CHAT, str_c(body), STR_NULL, &a, &info), want);
    assert_string_equal(info.field, field);
    assert_int_equal(info.offset, offset);
}

/* The edited body must be want, written and as iovecs. */
static void edited(const struct openai_request *r, const struct openai_edit_plan *plan,
                   const char *want, bool swallow, const char *dropped)
{
    struct openai_edits o;
    struct iovec iov[EDIT_IOV_MAX(OPENAI_EDITS_MAX)];
    struct buf b, c;
    assert_int_equal(openai_request_edits(r, plan, &a, &o), ERR_OK);
    buf_init(&b, 1 << 20);
    buf_init(&c, 1 << 20);
    edits_write(r->body, o.e, o.n, &b);
    buf_char(&b, 0);
    assert_string_equal(b.p, want);
    assert_int_equal(edits_length(r->body, o.e, o.n), b.n - 1);
    unsigned n = edits_iov(r->body, o.e, o.n, iov);
    for (unsigned i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        buf_add(&c, iov[i].iov_base, iov[i].iov_len);
    }
    buf_char(&c, 0);
    assert_string_equal(c.p, want);
    assert_int_equal(o.swallow_usage, swallow);
    assert_true(str_eq(o.dropped, str_c(dropped)));
    buf_release(&b);
    buf_release(&c);
}

static void reads_facts(void **state)
{
    struct openai_request r = read_ok(
        OP_CHAT,
        "{\"model\":\"gpt\\u002d4o\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\"}}]}],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},\"tools\":[{\"type\":\"function\"}],"
        "\"tool_choice\":\"required\",\"n\":3,\"max_tokens\":10,\"max_completion_tokens\":20,"
        "\"response_format\":{\"type\":\"json_schema\"},\"reasoning_effort\":\"low\"}");
    assert_true(str_eq(r.model, STR("gpt-4o")));
    assert_true(r.stream && r.asks_usage && r.schema && r.forced_tool && r.thinks);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.max_output, 20);
    assert_int_equal(r.needs, NEED_TOOLS | NEED_VISION | NEED_JSON_SCHEMA | NEED_THINKING);
    assert_in_range(r.estimate_in, 765, 850);

    r = read_ok(OP_CHAT,
                "{\"messages\":[],\"max_completion_tokens\":20,\"max_tokens\":10,\"model\":"
                "\"m\",\"stream\":null,\"stream_options\":null,\"tools\":[]}");
    assert_false(r.stream || r.asks_usage);
    assert_int_equal(r.max_output, 20);
    assert_int_equal(r.needs, 0);

    r = read_ok(OP_RESPONSES, "{\"model\":\"m\",\"input\":\"hi\",\"max_output_tokens\":7,"
                              "\"previous_response_id\":\"resp_1\",\"text\":{\"format\":{\"type\":"
                              "\"json_schema\"}},\"stream\":true}");
    assert_int_equal(r.needs, NEED_PINNED | NEED_JSON_SCHEMA);
    assert_int_equal(r.max_output, 7);
    assert_true(r.stream);

    r = read_ok(OP_EMBEDDINGS, "{\"model\":\"m\",\"input\":[[1,2,3],[4,5]],\"stream\":true}");
    assert_int_equal(r.estimate_in, 5);
    assert_false(r.stream);
}

static void refuses_what_cannot_be_routed(void **state)
{
    refused("[1]", ERR_INVALID, "", 0);
    refused("{}", ERR_INVALID, "model", -1);
    refused("{\"model\":1}", ERR_INVALID, "model", 9);
    refused("{\"model\":\"\"}", ERR_INVALID, "model", 9);
    refused("{\"model\":\"a\",\"model\":\"b\"}", ERR_INVALID, "model", 13);
    refused("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", ERR_INVALID, "model", 13);
    refused("{\"stream\":true,\"model\":\"a\",\"stream\":false}", ERR_INVALID, "stream", 27);
    refused("{\"model\":\"a\",\"stream\":\"yes\"}", ERR_INVALID, "stream", 22);
    refused("{\"model\":\"a\",\"stream_options\":[]}", ERR_INVALID, "stream_options", 30);
    refused("{\"model\":\"a\",\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}",
            ERR_INVALID, "stream_options.include_usage", 30);
    refused("{\"model\":\"a\",}", ERR_BAD_JSON, "", 13);

    static char longer[OPENAI_MODEL_MAX_BYTES + 32];
    strcpy(longer, "{\"model\":\"");
    memset(longer + 10, 'm', OPENAI_MODEL_MAX_BYTES);
    strcpy(longer + 10 + OPENAI_MODEL_MAX_BYTES, "\"}");
    read_ok(OP_CHAT, longer);
    strcpy(longer + 10 + OPENAI_MODEL_MAX_BYTES, "m\"}");
    refused(longer, ERR_INVALID, "model", 9);
}

static void leaves_bytes_alone(void **state)
{
    const char *body = " { \"x\" : [1e5, \"\\u00e9\"],\t\"model\" : \"m\\u002d1\" , \"y\":null }\n";
    struct openai_request r = read_ok(OP_CHAT, body);
    struct openai_edit_plan plan = {.inject_usage = true};
    edited(&r, &plan, body, false, "");
}

static void maps_the_model(void **state)
{
    struct openai_request r = read_ok(OP_CHAT, "{\"a\":1, \"model\" : \"m\", \"b\":2}");
    struct openai_edit_plan plan = {.upstream_model = STR("up\"s\\t\xC3\xA9")};
    edited(&r, &plan, "{\"a\":1, \"model\" : \"up\\\"s\\\\t\xC3\xA9\", \"b\":2}", false, "");
    plan.upstream_model = STR("m");
    edited(&r, &plan, "{\"a\":1, \"model\" : \"m\", \"b\":2}", false, "");
}

static void takes_the_model_from_the_path(void **state)
{
    struct openai_request r;
    struct openai_edit_plan plan = {.upstream_model = STR_NULL};
    assert_int_equal(openai_request_read(&r, OP_CHAT, STR("{\"n\":1}"), STR("dep"), &a, &info),
                     ERR_OK);
    edited(&r, &plan, "{\"model\":\"dep\",\"n\":1}", false, "");
    plan.upstream_model = STR("up");
    edited(&r, &plan, "{\"model\":\"up\",\"n\":1}", false, "");
    assert_int_equal(openai_request_read(&r, OP_CHAT, STR("{ }"), STR("dep"), &a, &info), ERR_OK);
    edited(&r, &plan, "{\"model\":\"up\" }", false, "");
    assert_int_equal(
        openai_request_read(&r, OP_CHAT, STR("{\"model\":\"x\"}"), STR("dep"), &a, &info), ERR_OK);
    assert_true(str_eq(r.model, STR("dep")));
    plan.upstream_model = STR_NULL;
    edited(&r, &plan, "{\"model\":\"dep\"}", false, "");
}

static void asks_for_usage(void **state)
{
    struct openai_edit_plan plan = {.inject_usage = true};
    static const struct {
        const char *body, *want;
        bool swallow;
    } t[] = {
        {"{\"model\":\"m\",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}", true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":null}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{ \"x\":1}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true, \"x\":1}}",
         true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", true},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", false},
        {"{\"model\":\"m\",\"stream\":false}", "{\"model\":\"m\",\"stream\":false}", false},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct openai_request r = read_ok(OP_CHAT, t[i].body);
        edited(&r, &plan, t[i].want, t[i].swallow, "");
    }
    struct openai_request r = read_ok(OP_RESPONSES, t[0].body);
    edited(&r, &plan, t[0].body, false, "");
}

static void forces_a_stream(void **state)
{
    struct openai_edit_plan plan = {.force_stream = true, .inject_usage = true};
    struct openai_request r = read_ok(OP_CHAT, "{\"model\":\"m\",\"stream\":false}");
    edited(&r, &plan,
           "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}", true,
           "");
    r = read_ok(OP_CHAT, "{\"model\":\"m\"}");
    edited(&r, &plan,
           "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}", true,
           "");
}

static void cuts_members_with_a_comma(void **state)
{
    static const struct quirk all[] = {{QUIRK_DROP, FIELD_N, FIELD_N},
                                       {QUIRK_DROP, FIELD_THINKING, FIELD_N},
                                       {QUIRK_DROP, FIELD_REASONING, FIELD_N},
                                       {QUIRK_END}};
    struct openai_edit_plan plan = {.quirks = all};
    static const char *const t[][2] = {
        {"{\"n\":1,\"model\":\"m\"}", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\" , \"n\" : 1 }", "{\"model\":\"m\"  }"},
        {"{\"n\":1 , \"thinking\":{} , \"model\":\"m\",\"reasoning\":2}", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"n\":1,\"thinking\":{},\"reasoning\":2}", "{\"model\":\"m\"}"},
        {"{\"n\":1,\"a\":0,\"thinking\":{},\"model\":\"m\",\"reasoning\":2,\"b\":3}",
         "{\"a\":0,\"model\":\"m\",\"b\":3}"},
        {"{\"thinking\":1,\"reasoning\":1,\"n\":1,\"model\":\"m\"}", "{\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct openai_request r = read_ok(OP_CHAT, t[i][0]);
        struct openai_edits o;
        assert_int_equal(openai_request_edits(&r, &plan, &a, &o), ERR_OK);
        char want[64];
        str_copy(want, sizeof want, o.dropped);
        edited(&r, &plan, t[i][1], false, want);
    }
    struct openai_request r;
    assert_int_equal(
        openai_request_read(&r, OP_CHAT, STR("{\"n\":1,\"thinking\":2}"), STR("d"), &a, &info),
        ERR_OK);
    edited(&r, &plan, "{\"model\":\"d\"}", false, "n,thinking");
    plan = (struct openai_edit_plan){.drop_stream_options = true, .inject_usage = true};
    r = read_ok(OP_CHAT,
                "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}");
    edited(&r, &plan, "{\"model\":\"m\",\"stream\":true}", false, "stream_options");
}

static void heeds_quirks(void **state)
{
    struct openai_edit_plan plan = {.upstream_model = STR("up"),
                                    .inject_usage = true,
                                    .quirks = provider_find(STR("deepseek"))->quirks};
    struct openai_request r =
        read_ok(OP_CHAT, "{\"max_completion_tokens\":5,\"model\":\"m\",\"stream\":true,"
                         "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}},"
                         "\"tool_choice\":{\"type\":\"function\"}}");
    edited(&r, &plan,
           "{\"stream_options\":{\"include_usage\":true},\"thinking\":{\"type\":\"disabled\"},"
           "\"max_tokens\":5,\"model\":\"up\",\"stream\":true,\"response_format\":{\"type\":"
           "\"json_object\"},\"tool_choice\":{\"type\":\"function\"}}",
           true, "response_format.json_schema");
    r = read_ok(OP_CHAT, "{\"max_completion_tokens\":5,\"max_tokens\":6,\"model\":\"up\","
                         "\"tool_choice\":\"required\",\"thinking\":{\"type\":\"enabled\"}}");
    edited(&r, &plan,
           "{\"max_tokens\":6,\"model\":\"up\",\"tool_choice\":\"required\",\"thinking\":{\"type\":"
           "\"disabled\"}}",
           false, "thinking");
}

static void latches_when_memory_ends(void **state)
{
    struct openai_request r = read_ok(OP_CHAT, "{\"model\":\"m\",\"stream\":true}");
    struct openai_edit_plan plan = {.upstream_model = STR("up"), .inject_usage = true};
    struct openai_edits o;
    struct arena none;
    arena_init(&none, 0);
    assert_int_equal(openai_request_edits(&r, &plan, &none, &o), ERR_NOMEM);
    arena_release(&none);
}

static void estimates(void **state)
{
    struct estimate e = {0};
    estimate_add_text(&e, STR("0123456789012345678901234567890123"));
    assert_int_equal(estimate_tokens(&e), 11);
    e = (struct estimate){0};
    estimate_add_text(&e, STR("\u2014\u201c\u0416")); /* are no Han */
    assert_int_equal(e.bytes, 8);
    assert_int_equal(e.tokens, 0);
    e = (struct estimate){0};
    estimate_add_text(&e, STR("\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x81\x82\xF0\xA0\x80\x80"));
    assert_int_equal(e.tokens, 4);
    assert_int_equal(e.bytes, 0);
    struct json_doc d;
    assert_int_equal(json_parse(&d, STR("\"\\u4f60\\n\\ud840\\udc00\\u00e9abc\""), NULL), ERR_OK);
    e = (struct estimate){0};
    estimate_add_string(&e, &d, 0);
    assert_int_equal(e.tokens, 2);
    assert_int_equal(e.bytes, 6);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_facts),
        T(refuses_what_cannot_be_routed),
        T(leaves_bytes_alone),
        T(maps_the_model),
        T(takes_the_model_from_the_path),
        T(asks_for_usage),
        T(forces_a_stream),
        T(cuts_members_with_a_comma),
        T(heeds_quirks),
        T(latches_when_memory_ends),
        T(estimates),
    };
    return cmocka_run_group_tests_name("openai_request", tests, NULL, NULL);
}
