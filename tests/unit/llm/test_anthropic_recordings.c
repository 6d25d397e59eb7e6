/* anthropic_recordings: recorded traffic of the real thing, where there is any.
 *
 * LYSS_FIXTURES names a folder with provider recordings (anthropic/ in it or one
 * below): *.json is a whole body, *.chunks.txt one SSE data payload a line, of
 * one stream or several.  Each is read by the codec and written by it again;
 * a simple look at the JSON of both must find the same text, thoughts, calls,
 * usage and reason to stop in them, and one end in what was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/codec.h"
#include "net/sse.h"
#include "recordings.h"

static glob_t found;
static struct arena a;

static struct json_doc doc_of(struct str text)
{
    struct json_doc d = {.cap = (uint32_t)(text.n + 16)};
    d.e = arena_alloc(&a, d.cap * sizeof *d.e);
    assert_non_null(d.e);
    assert_int_equal(json_parse_onto(&d, text, NULL), ERR_OK);
    return d;
}

/* ---- what a recording says ---- */

#define TOLD_MAX ((size_t)4 << 20)
static const char *const counters[] = {"input_tokens", "cache_creation_input_tokens",
                                       "cache_read_input_tokens", "output_tokens"};
#define COUNTERS (sizeof counters / sizeof *counters)

struct told {
    struct buf text, thoughts, calls, signatures; /* calls: id, name, arguments */
    int64_t usage[COUNTERS];
    struct str stop;
    unsigned starts, ends;
    bool open_call, whole_call;
};

static void told_init(struct told *t)
{
    *t = (struct told){.starts = 0};
    buf_init(&t->text, TOLD_MAX);
    buf_init(&t->thoughts, TOLD_MAX);
    buf_init(&t->calls, TOLD_MAX);
    buf_init(&t->signatures, TOLD_MAX);
}

static void told_release(struct told *t)
{
    buf_release(&t->text);
    buf_release(&t->thoughts);
    buf_release(&t->calls);
    buf_release(&t->signatures);
}

static struct str text_of(const struct json_doc *d, uint32_t obj, const char *name)
{
    struct str s = STR("");
    json_string(d, json_get(d, obj, str_c(name)), &a, &s);
    return s;
}

/* A block as it stands in a whole message, or as it begins in a stream. */
static void tell_block(struct told *t, const struct json_doc *d, uint32_t b)
{
    struct str type = text_of(d, b, "type");
    uint32_t input = json_get(d, b, STR("input"));
    t->open_call = str_eq(type, STR("tool_use"));
    t->whole_call = t->open_call && json_child(d, input) != JSON_NONE;
    if (str_eq(type, STR("text")))
        buf_str(&t->text, text_of(d, b, "text"));
    if (str_eq(type, STR("thinking"))) {
        buf_str(&t->thoughts, text_of(d, b, "thinking"));
        buf_str(&t->signatures, text_of(d, b, "signature"));
    }
    if (str_eq(type, STR("redacted_thinking")))
        buf_str(&t->signatures, text_of(d, b, "data"));
    if (!t->open_call)
        return;
    buf_printf(&t->calls, "\n%.*s %.*s ", STR_FMT(text_of(d, b, "id")),
               STR_FMT(text_of(d, b, "name")));
    if (t->whole_call)
        buf_str(&t->calls, json_raw(d, input));
}

static void tell_delta(struct told *t, const struct json_doc *d, uint32_t delta)
{
    struct str type = text_of(d, delta, "type");
    if (str_eq(type, STR("text_delta")))
        buf_str(&t->text, text_of(d, delta, "text"));
    else if (str_eq(type, STR("thinking_delta")))
        buf_str(&t->thoughts, text_of(d, delta, "thinking"));
    else if (str_eq(type, STR("signature_delta")))
        buf_str(&t->signatures, text_of(d, delta, "signature"));
    else if (str_eq(type, STR("input_json_delta")) && t->open_call && !t->whole_call)
        buf_str(&t->calls, text_of(d, delta, "partial_json"));
}

/* Of a whole message, a message_start's message, or a message_delta. */
static void tell_end(struct told *t, const struct json_doc *d, uint32_t obj, uint32_t stop)
{
    uint32_t usage = json_get(d, obj, STR("usage"));
    for (size_t i = 0; i < COUNTERS; i++)
        json_i64(d, json_get(d, usage, str_c(counters[i])), &t->usage[i]);
    if (text_of(d, stop, "stop_reason").n)
        t->stop = text_of(d, stop, "stop_reason");
    if (!t->text.n && str_eq(t->stop, STR("refusal"))) /* then why is what is said */
        buf_str(&t->text, text_of(d, json_get(d, stop, STR("stop_details")), "explanation"));
}

static void tell_message(struct told *t, const struct json_doc *d, uint32_t message)
{
    uint32_t content = json_get(d, message, STR("content"));
    for (uint32_t b = json_child(d, content); b != JSON_NONE; b = json_sibling(d, content, b))
        tell_block(t, d, b);
    t->open_call = false;
    tell_end(t, d, message, message);
}

static void tell_event(struct told *t, struct str data)
{
    struct json_doc d = doc_of(data);
    struct str type = text_of(&d, 0, "type");
    if (str_eq(type, STR("message_start"))) {
        t->starts++;
        tell_message(t, &d, json_get(&d, 0, STR("message")));
    } else if (str_eq(type, STR("content_block_start"))) {
        tell_block(t, &d, json_get(&d, 0, STR("content_block")));
    } else if (str_eq(type, STR("content_block_delta"))) {
        tell_delta(t, &d, json_get(&d, 0, STR("delta")));
    } else if (str_eq(type, STR("message_delta"))) {
        tell_end(t, &d, 0, json_get(&d, 0, STR("delta")));
    } else if (str_eq(type, STR("message_stop"))) {
        t->ends++;
    }
}

static void same_bytes(const struct buf *x, const struct buf *y)
{
    assert_string_equal(x->p ? x->p : "", y->p ? y->p : "");
}

static void same_told(const struct told *was, const struct told *is)
{
    same_bytes(&was->text, &is->text);
    same_bytes(&was->thoughts, &is->thoughts);
    same_bytes(&was->signatures, &is->signatures);
    same_bytes(&was->calls, &is->calls);
    for (size_t i = 0; i < COUNTERS; i++)
        assert_int_equal(was->usage[i], is->usage[i]);
    /* calls are to be run, whatever the answer says it ended with */
    struct str stop = was->stop;
    if (was->calls.n && str_eq(stop, STR("end_turn")))
        stop = STR("tool_use");
    assert_true(stop.n && str_eq(stop, is->stop));
}

/* ---- whole answers ---- */

static void whole(const char *path)
{
    struct neutral_reply r;
    struct fault f;
    struct told was, is;
    struct buf out;
    struct answer as = {.op = OP_MESSAGES};
    char *text = recordings_read(path);
    struct json_doc d = doc_of(str_c(text)), again;
    buf_init(&out, TOLD_MAX);
    told_init(&was);
    told_init(&is);
    print_message("%s\n", path);
    assert_int_equal(codec_messages.read_reply(&r, &d, NULL, STR("anthropic"), &a, &f), ERR_OK);
    codec_messages.write_reply(&r, &as, &a, &out);
    assert_false(buf_failed(&out) || arena_failed(&a));
    again = doc_of(buf_view(&out));
    tell_message(&was, &d, 0);
    tell_message(&is, &again, 0);
    same_told(&was, &is);
    told_release(&was);
    told_release(&is);
    buf_release(&out);
    free(text);
}

static void whole_answers(void **state)
{
    recordings_find(&found, "anthropic", "*.json");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        arena_init(&a, (size_t)64 << 20);
        whole(found.gl_pathv[i]);
        arena_release(&a);
    }
    globfree(&found);
}

/* ---- streams ---- */

struct relay {
    void *writer;
    struct buf out;
    unsigned ends;
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct relay *r = ctx;
    assert_int_equal(r->ends, 0);
    r->ends += ev->type == EVENT_END;
    codec_messages.write_event(r->writer, ev, &r->out);
}

static void read_lines(struct str lines, struct relay *relay, struct told *was)
{
    struct link link = {false};
    struct answer as = {.op = OP_MESSAGES};
    struct fault f;
    struct arena scratch;
    struct str line;
    void *reader = calloc(1, codec_messages.reader_bytes);
    arena_init(&scratch, (size_t)16 << 20);
    codec_messages.reader_init(reader, &link);
    codec_messages.writer_init(relay->writer, &as);
    while (str_split(&lines, '\n', &line)) {
        if (!str_trim(line).n)
            continue;
        struct str data = arena_dup(&a, line);
        tell_event(was, data);
        assert_int_equal(codec_messages.read_event(reader, STR("anthropic"), STR(""), data,
                                                   &scratch, take, relay, &f),
                         ERR_OK);
        arena_release(&scratch);
    }
    codec_messages.reader_release(reader);
    free(reader);
}

static void stream(struct str lines)
{
    struct relay relay = {.writer = calloc(1, codec_messages.writer_bytes)};
    struct told was, is;
    struct sse_event ev;
    told_init(&was);
    told_init(&is);
    buf_init(&relay.out, TOLD_MAX);
    read_lines(lines, &relay, &was);
    struct str out = buf_view(&relay.out);
    while (sse_next(&out, &ev))
        tell_event(&is, ev.data);
    assert_int_equal(out.n, 0);
    assert_int_equal(relay.ends, 1);
    assert_int_equal(is.starts, 1);
    assert_int_equal(is.ends, 1);
    same_told(&was, &is);
    codec_messages.writer_release(relay.writer);
    free(relay.writer);
    buf_release(&relay.out);
    told_release(&was);
    told_release(&is);
}

static void streams(void **state)
{
    static const struct str last = STR("{\"type\":\"message_stop\"}");
    unsigned n = 0;
    recordings_find(&found, "anthropic", "*.chunks.txt");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        arena_init(&a, (size_t)256 << 20);
        char *text = recordings_read(found.gl_pathv[i]);
        struct str rest = str_c(text);
        print_message("%s\n", found.gl_pathv[i]);
        while (str_trim(rest).n) {
            ptrdiff_t end = str_find(rest, last);
            assert_true(end >= 0);
            stream(str_make(rest.p, (size_t)end + last.n));
            rest = str_from(rest, (size_t)end + last.n);
            n++;
        }
        arena_release(&a);
        free(text);
    }
    assert_true(n >= found.gl_pathc);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests_name("llm/anthropic_recordings", tests, NULL, NULL);
}
