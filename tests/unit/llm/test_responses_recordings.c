/* responses_recordings: recorded Responses traffic through the codec and out again.
 *
 * LYSS_FIXTURES names a folder with provider recordings (openai/ in it or one
 * below): *.json is a whole body, *.chunks.txt one SSE data payload a line.
 * What goes in and what comes out is read by the same plain walk over the JSON,
 * which knows nothing of the neutral form: text, calls and usage must be equal,
 * and each stream end once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/codec.h"
#include "net/sse.h"
#include "recordings.h"

static glob_t found;
static const struct answer answer = {.op = OP_RESPONSES,
                                     .request_id = STR("01234567-89ab-cdef-0123-456789abcdef"),
                                     .model = STR("m"),
                                     .created_s = 5};
static const struct link no_link;

/* What a stream or a body says. */
struct saying {
    struct buf text;              /* of output_text, by deltas or whole */
    struct buf calls;             /* name, id and arguments of function calls */
    struct buf deltas, arguments; /* arguments by fragments, and as a whole */
    unsigned terminals, errors;
    uint64_t in, out;
};

static void saying_init(struct saying *s)
{
    *s = (struct saying){.terminals = 0};
    buf_init(&s->text, 1 << 22);
    buf_init(&s->calls, 1 << 22);
    buf_init(&s->deltas, 1 << 22);
    buf_init(&s->arguments, 1 << 22);
}

static void saying_release(struct saying *s)
{
    buf_release(&s->text);
    buf_release(&s->calls);
    buf_release(&s->deltas);
    buf_release(&s->arguments);
}

static void add(struct buf *b, const struct json_doc *d, uint32_t obj, struct str name)
{
    struct arena a;
    struct str s = STR_NULL;
    arena_init(&a, 1 << 22);
    json_string(d, json_get(d, obj, name), &a, &s);
    buf_str(b, s);
    arena_release(&a);
}

static void look_item(struct saying *s, const struct json_doc *d, uint32_t item)
{
    if (!json_string_is(d, json_get(d, item, STR("type")), STR("function_call")))
        return;
    add(&s->calls, d, item, STR("name"));
    add(&s->calls, d, item, STR("call_id"));
    add(&s->calls, d, item, STR("arguments"));
    add(&s->arguments, d, item, STR("arguments"));
}

static void look_usage(struct saying *s, const struct json_doc *d, uint32_t response)
{
    int64_t v = 0;
    uint32_t usage = json_get(d, response, STR("usage"));
    if (json_i64(d, json_get(d, usage, STR("input_tokens")), &v))
        s->in = (uint64_t)v;
    if (json_i64(d, json_get(d, usage, STR("output_tokens")), &v))
        s->out = (uint64_t)v;
}

static void look_event(struct saying *s, struct str data)
{
    struct json_doc d;
    assert_int_equal(json_parse(&d, data, NULL), ERR_OK);
    uint32_t type = json_get(&d, 0, STR("type"));
    if (json_string_is(&d, type, STR("response.output_text.delta")))
        add(&s->text, &d, 0, STR("delta"));
    else if (json_string_is(&d, type, STR("response.function_call_arguments.delta")))
        add(&s->deltas, &d, 0, STR("delta"));
    else if (json_string_is(&d, type, STR("response.output_item.done")))
        look_item(s, &d, json_get(&d, 0, STR("item")));
    else if (json_string_is(&d, type, STR("error")))
        s->errors++;
    else if (json_string_is(&d, type, STR("response.completed")) ||
             json_string_is(&d, type, STR("response.incomplete"))) {
        s->terminals++;
        look_usage(s, &d, json_get(&d, 0, STR("response")));
    }
}

static void look_body(struct saying *s, struct str body)
{
    struct json_doc d;
    assert_int_equal(json_parse(&d, body, NULL), ERR_OK);
    uint32_t output = json_get(&d, 0, STR("output"));
    look_usage(s, &d, 0);
    for (uint32_t i = json_child(&d, output); i != JSON_NONE; i = json_sibling(&d, output, i)) {
        uint32_t content = json_get(&d, i, STR("content"));
        look_item(s, &d, i);
        if (json_string_is(&d, json_get(&d, i, STR("type")), STR("message")))
            for (uint32_t p = json_child(&d, content); p != JSON_NONE;
                 p = json_sibling(&d, content, p))
                add(&s->text, &d, p, STR("text"));
    }
}

static void same(const struct buf *x, const struct buf *y)
{
    assert_int_equal(x->n, y->n);
    if (x->n)
        assert_memory_equal(x->p, y->p, x->n);
}

/* Calls of custom tools come out as function calls: they are not compared. */
static void same_saying(const struct saying *x, const struct saying *y, bool custom)
{
    same(&x->text, &y->text);
    if (!custom)
        same(&x->calls, &y->calls);
    assert_int_equal(x->in, y->in);
    assert_int_equal(x->out, y->out);
}

/* ---- one stream ---- */

struct run {
    void *writer;
    struct buf out;
    unsigned ends;
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct run *run = ctx;
    assert_int_equal(run->ends, 0);
    run->ends += ev->type == EVENT_END;
    codec_responses.write_event(run->writer, ev, &run->out);
}

static void written(struct saying *s, struct str out)
{
    struct sse_event ev;
    int64_t number, next = 0;
    while (sse_next(&out, &ev)) {
        struct json_doc d;
        assert_int_equal(json_parse(&d, ev.data, NULL), ERR_OK);
        assert_true(json_string_is(&d, json_get(&d, 0, STR("type")), ev.name));
        assert_true(json_i64(&d, json_get(&d, 0, STR("sequence_number")), &number));
        assert_int_equal(number, next++);
        assert_int_equal(s->terminals, 0);
        look_event(s, ev.data);
    }
    assert_int_equal(out.n, 0);
}

/* Lines of one stream; rest is what follows it. */
static void one_stream(struct str *rest)
{
    struct saying in, out;
    struct run run = {.writer = calloc(1, codec_responses.writer_bytes)};
    void *reader = calloc(1, codec_responses.reader_bytes);
    struct arena scratch;
    struct json_doc d;
    struct fault f;
    struct str line;
    enum err e = ERR_OK;
    bool custom = false, broken = false;
    buf_init(&run.out, 1 << 24);
    arena_init(&scratch, 1 << 24);
    saying_init(&in);
    saying_init(&out);
    codec_responses.reader_init(reader, &no_link);
    codec_responses.writer_init(run.writer, &answer);
    while (!e && !run.ends && str_split(rest, '\n', &line)) {
        if (json_parse(&d, line, NULL)) { /* one recording holds lines that are not whole */
            broken = true;
            continue;
        }
        look_event(&in, line);
        custom = custom || str_find(line, STR("\"custom_tool_call\"")) >= 0;
        e = codec_responses.read_event(reader, STR("openai"), STR_NULL, line, &scratch, take, &run,
                                       &f);
        assert_false(arena_failed(&scratch));
        arena_release(&scratch);
    }
    written(&out, buf_view(&run.out));
    assert_false(buf_failed(&run.out));
    assert_int_equal(e != ERR_OK, in.errors > 0);
    if (e) {
        assert_true(f.message[0] != 0);
    } else {
        assert_int_equal(in.terminals, broken ? 0 : 1);
        assert_int_equal(out.terminals, in.terminals);
        if (broken) /* the last call's end is not seen */
            buf_reset(&in.calls);
        same_saying(&in, &out, custom);
        if (!broken)
            same(&out.deltas, &out.arguments);
    }
    codec_responses.writer_release(run.writer);
    buf_release(&run.out);
    saying_release(&in);
    saying_release(&out);
    free(reader);
    free(run.writer);
}

/* ---- all of them ---- */

static void streams(void **state)
{
    unsigned checked = 0;
    recordings_find(&found, "openai", "*.chunks.txt");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = recordings_read(found.gl_pathv[i]);
        struct str rest = str_trim(str_c(text));
        bool ours = str_find(rest, STR("{\"type\":\"response.created\"")) >= 0;
        /* An error's stream goes on after it; that is not read. */
        bool fails = str_find(rest, STR("{\"type\":\"error\"")) >= 0;
        while (ours && rest.n) {
            print_message("%s\n", found.gl_pathv[i]);
            one_stream(&rest);
            checked++;
            if (fails)
                break;
        }
        free(text);
    }
    assert_true(checked >= 20);
    globfree(&found);
}

static void whole_body(struct str text, const struct json_doc *d)
{
    struct neutral_reply reply;
    struct saying in, out;
    struct arena a;
    struct fault f;
    struct buf b;
    arena_init(&a, 1 << 24);
    buf_init(&b, 1 << 24);
    saying_init(&in);
    saying_init(&out);
    assert_int_equal(codec_responses.read_reply(&reply, d, &no_link, STR("openai"), &a, &f),
                     ERR_OK);
    assert_true(reply.has_usage);
    codec_responses.write_reply(&reply, &answer, &a, &b);
    assert_false(buf_failed(&b));
    look_body(&in, text);
    look_body(&out, buf_view(&b));
    same_saying(&in, &out, str_find(text, STR("\"custom_tool_call\"")) >= 0);
    saying_release(&in);
    saying_release(&out);
    buf_release(&b);
    arena_release(&a);
}

static void whole_bodies(void **state)
{
    unsigned checked = 0;
    recordings_find(&found, "openai", "*.json");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = recordings_read(found.gl_pathv[i]);
        struct json_doc d;
        assert_int_equal(json_parse(&d, str_c(text), NULL), ERR_OK);
        if (json_string_is(&d, json_get(&d, 0, STR("object")), STR("response"))) {
            print_message("%s\n", found.gl_pathv[i]);
            whole_body(str_c(text), &d);
            checked++;
        }
        free(text);
    }
    assert_true(checked >= 15);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams),
        cmocka_unit_test(whole_bodies),
    };
    return cmocka_run_group_tests_name("responses_recordings", tests, NULL, NULL);
}
