/* gemini: what golden cases cannot show: the bytes of a stream, what a writer holds, and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "llm/gemini/gemini.h"

static const struct answer as = {
    .op = OP_GENERATE, .request_id = STR("rid"), .model = STR("m"), .estimate_in = 3};

static void events_end_in_crlf_twice(void **state)
{
    struct gemini_writer w = {0};
    struct buf out;
    buf_init(&out, 4096);
    gemini_writer_init(&w, &as);
    gemini_write_event(&w, &(struct neutral_event){.type = EVENT_TEXT, .text = STR("a\r\nb")},
                       &out);
    assert_string_equal(buf_view(&out).p,
                        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\\r\\nb\"}],"
                        "\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\","
                        "\"responseId\":\"rid\"}\r\n\r\n");
    buf_reset(&out);
    gemini_write_event(&w, &(struct neutral_event){.type = EVENT_END}, &out);
    assert_string_equal(buf_view(&out).p,
                        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],"
                        "\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],"
                        "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":0,"
                        "\"totalTokenCount\":3},\"modelVersion\":\"m\",\"responseId\":\"rid\"}"
                        "\r\n\r\n");
    gemini_writer_release(&w);
    buf_release(&out);
}

/* Arguments may come laid out over lines; an event is one. */
static void arguments_stay_on_one_line(void **state)
{
    struct gemini_writer w = {0};
    struct buf out;
    buf_init(&out, 4096);
    gemini_writer_init(&w, &as);
    gemini_write_event(&w, &(struct neutral_event){.type = EVENT_TOOL, .name = STR("f")}, &out);
    gemini_write_event(
        &w, &(struct neutral_event){.type = EVENT_TOOL_ARGS, .text = STR("{\n\r\n \"a\": 1\n}")},
        &out);
    gemini_write_event(&w, &(struct neutral_event){.type = EVENT_TOOL_END}, &out);
    struct str s = buf_view(&out);
    assert_int_equal(str_find(s, STR("\n")), (ptrdiff_t)s.n - 3);
    assert_int_equal(str_find(s, STR("\r")), (ptrdiff_t)s.n - 4);
    gemini_writer_release(&w);
    buf_release(&out);
}

static void what_is_held_has_a_bound(void **state)
{
    struct gemini_writer w = {0};
    struct buf out;
    static char much[1 << 16];
    memset(much, ' ', sizeof much);
    buf_init(&out, 8 << 20);
    gemini_writer_init(&w, &as);
    gemini_write_event(&w, &(struct neutral_event){.type = EVENT_TOOL, .name = STR("f")}, &out);
    struct neutral_event args = {.type = EVENT_TOOL_ARGS, .text = {much, sizeof much}};
    for (int i = 0; i < 15; i++)
        gemini_write_event(&w, &args, &out);
    assert_false(buf_failed(&out));
    gemini_write_event(&w, &args, &out);
    assert_true(buf_failed(&out));
    gemini_writer_release(&w);
    assert_int_equal(w.held_bytes, 0);

    buf_reset(&out);
    struct neutral_event tool = {.type = EVENT_TOOL, .name = STR("f")};
    for (; tool.tool < GEMINI_CALLS_HELD; tool.tool++)
        gemini_write_event(&w, &tool, &out);
    assert_false(buf_failed(&out));
    gemini_write_event(&w, &tool, &out);
    assert_true(buf_failed(&out));
    gemini_writer_release(&w);
    buf_release(&out);
}

static void a_signature_is_bytes_in_base64(void **state)
{
    struct arena a;
    enum issuer issuer;
    struct str signature;
    bool redacted;
    arena_init(&a, 4096);
    struct str field = gemini_signature_join(STR("A/b+c="), ISSUER_ANTHROPIC, false, &a);
    gemini_signature_split(field, &issuer, &signature, &redacted, &a);
    assert_int_equal(issuer, ISSUER_ANTHROPIC);
    assert_true(str_eq(signature, STR("A/b+c=")) && !redacted);
    assert_true(str_eq(gemini_signature_join(STR("x"), ISSUER_GEMINI, false, &a), STR("x")));
    /* looks like one, is none */
    gemini_signature_split(STR("bHlzcy!"), &issuer, &signature, &redacted, &a);
    assert_int_equal(issuer, ISSUER_GEMINI);
    gemini_signature_split(STR("bHlzcy1hYmM6ZA=="), &issuer, &signature, &redacted, &a);
    assert_int_equal(issuer, ISSUER_GEMINI);
    gemini_signature_split(STR(""), &issuer, &signature, &redacted, &a);
    assert_int_equal(issuer, ISSUER_NONE);
    arena_release(&a);
}

/* References make a short schema long to look at: a request full of such is refused before long,
 * one full of plain ones is not. */
static void schemas_share_their_steps(void **state)
{
    struct arena a;
    struct buf in, out;
    size_t steps = 0;
    enum err e = ERR_OK;
    unsigned n = 0;
    arena_init(&a, 1 << 20);
    buf_init(&in, 1 << 20);
    buf_init(&out, 64 << 20);
    buf_lit(&in, "{\"$defs\":{\"E\":{\"type\":\"integer\",\"enum\":[0");
    for (int i = 1; i < 1000; i++)
        buf_printf(&in, ",%d", i);
    buf_lit(&in, "]}},\"type\":\"object\",\"properties\":{\"p\":{\"$ref\":\"#/$defs/E\"}");
    for (int i = 0; i < 200; i++)
        buf_printf(&in, ",\"p%d\":{\"$ref\":\"#/$defs/E\"}", i);
    buf_lit(&in, "}}");
    for (; n < 100 && !e; n++)
        e = gemini_schema_write(buf_view(&in), true, &steps, &a, &out, NULL);
    assert_int_equal(e, ERR_INVALID);
    assert_in_range(n, 2, 20);
    steps = 0;
    for (n = 0; n < 5000; n++)
        assert_int_equal(gemini_schema_write(STR("{\"type\":\"object\",\"properties\":{"
                                                 "\"a\":{\"type\":\"string\"}}}"),
                                             true, &steps, &a, &out, NULL),
                         ERR_OK);
    buf_release(&in);
    buf_release(&out);
    arena_release(&a);
}

static void a_schema_has_a_depth(void **state)
{
    struct arena a;
    struct buf in, out;
    size_t steps = 0;
    arena_init(&a, 1 << 20);
    buf_init(&in, 4096);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 31; i++)
        buf_lit(&in, "{\"items\":");
    buf_lit(&in, "{}");
    for (int i = 0; i < 31; i++)
        buf_char(&in, '}');
    assert_int_equal(gemini_schema_write(buf_view(&in), false, &steps, &a, &out, NULL), ERR_OK);
    unsigned depth = 0, most = 0;
    for (size_t i = 0; i < out.n; i++) {
        depth += out.p[i] == '{';
        depth -= out.p[i] == '}';
        most = depth > most ? depth : most;
    }
    assert_true(most == 32);
    buf_reset(&out);
    assert_int_equal(gemini_schema_write(STR("[]"), false, &steps, &a, &out, NULL), ERR_INVALID);
    assert_int_equal(gemini_schema_write(STR("{"), false, &steps, &a, &out, NULL), ERR_INVALID);
    assert_int_equal(out.n, 0);
    buf_release(&in);
    buf_release(&out);
    arena_release(&a);
}

/* Every allocation of a translation fails once: it says so, or did without; nothing is lost. */
static enum err translate(struct str body, struct buf *out)
{
    struct neutral_request r;
    struct model_caps caps = {0};
    struct target t = {.model = STR("m"), .caps = &caps};
    struct receipt receipt = {.n = 0};
    struct link link = {false};
    struct json_doc d;
    struct arena a;
    arena_init(&a, 1 << 20);
    buf_init(out, 1 << 20);
    enum err e = json_parse(&d, body, NULL);
    if (!e)
        e = gemini_read_request(&r, &d, STR("m"), &a, NULL);
    if (!e)
        e = gemini_write_request(&r, &t, &a, out, &receipt, &link, NULL);
    arena_release(&a);
    return e;
}

static void memory_may_end_anywhere(void **state)
{
    const struct str body = STR(
        "{\"systemInstruction\":\"s\",\"contents\":[{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\","
        "\"thought\":true,\"thoughtSignature\":\"bHlzcy1hbnRocm9waWM6eA==\"}],\"role\":"
        "\"model\"},{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":"
        "{}}}]},{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":"
        "\"x\"}}}]}],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":"
        "{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"}}}}]}],"
        "\"generationConfig\":{\"stopSequences\":[\"x\"],\"responseMimeType\":"
        "\"application/json\",\"responseSchema\":{\"type\":\"STRING\"},\"foo\":1}}");
    struct buf want, got;
    assert_int_equal(translate(body, &want), ERR_OK);
    mem_fail_at(0);
    assert_int_equal(translate(body, &got), ERR_OK);
    uint64_t n = mem_fail_at(0);
    buf_release(&got);
    assert_true(n > 3);
    unsigned refused = 0;
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        enum err e = translate(body, &got);
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        if (!e)
            assert_string_equal(got.p, want.p);
        refused += e == ERR_NOMEM;
        buf_release(&got);
    }
    assert_true(refused > 3);
    mem_fail_at(0);
    buf_release(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_end_in_crlf_twice),
        cmocka_unit_test(arguments_stay_on_one_line),
        cmocka_unit_test(what_is_held_has_a_bound),
        cmocka_unit_test(a_signature_is_bytes_in_base64),
        cmocka_unit_test(a_schema_has_a_depth),
        cmocka_unit_test(schemas_share_their_steps),
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
