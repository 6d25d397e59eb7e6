/* gemini_recordings: recorded traffic of the real thing, where there is any.
 *
 * LYSS_FIXTURES names a folder with provider recordings (google/ in it or one
 * below): *.json is a whole body, *.chunks.txt one SSE data payload a line.
 * Recordings of the Interactions API are of another form and are passed over.
 * What a recording says is found by text search, so that the code under test is
 * not asked about itself; each is then written out again to a caller of
 * Gemini's, and read a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/codec.h"
#include "net/sse.h"
#include "recordings.h"

static glob_t found;

/* The number after the last "key":, or 0. */
static unsigned long number(const char *text, const char *key)
{
    const char *last = NULL;
    for (const char *p = text; (p = strstr(p, key)); p += strlen(key))
        last = p + strlen(key);
    return last ? strtoul(last + strspn(last, "\": "), NULL, 10) : 0;
}

static unsigned times(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static void same_usage(const struct usage *u, const char *recorded)
{
    assert_int_equal(usage_input_tokens(u), number(recorded, "\"promptTokenCount\""));
    assert_int_equal(u->out_reasoning, number(recorded, "\"thoughtsTokenCount\""));
    assert_int_equal(u->out_text, number(recorded, "\"candidatesTokenCount\""));
}

/* ---- what came out of a stream ---- */

struct heard {
    struct buf text, args, ids;
    unsigned tools, ended, finishes, ends, signatures;
    uint8_t finish;
    bool has_usage;
    struct usage usage;
    void *writer;
    struct buf out;
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct heard *h = ctx;
    assert_int_equal(h->ends, 0);
    codec_generate.write_event(h->writer, ev, &h->out);
    if (ev->usage) {
        h->usage = *ev->usage;
        h->has_usage = true;
    }
    switch (ev->type) {
    case EVENT_TEXT:
        buf_str(&h->text, ev->text);
        break;
    case EVENT_SIGNATURE:
        h->signatures++;
        break;
    case EVENT_TOOL:
        assert_int_equal(ev->tool, h->tools);
        assert_int_equal(h->tools, h->ended);
        assert_true(ev->id.n > 0 && ev->name.n > 0);
        assert_true(str_find(buf_view(&h->ids), ev->id) < 0);
        buf_str(&h->ids, ev->id);
        h->tools++;
        h->signatures += ev->text.n > 0;
        break;
    case EVENT_TOOL_ARGS:
        buf_str(&h->args, ev->text);
        break;
    case EVENT_TOOL_END:
        buf_char(&h->args, '\n');
        h->ended++;
        break;
    case EVENT_FINISH:
        h->finishes++;
        h->finish = ev->finish;
        break;
    case EVENT_END:
        h->ends++;
        break;
    default:
        break;
    }
}

static void heard_init(struct heard *h)
{
    const struct answer as = {.op = OP_GENERATE, .request_id = STR("rid"), .model = STR("m")};
    *h = (struct heard){.writer = calloc(1, codec_generate.writer_bytes)};
    buf_init(&h->text, 1 << 20);
    buf_init(&h->args, 1 << 20);
    buf_init(&h->ids, 1 << 20);
    buf_init(&h->out, 1 << 22);
    codec_generate.writer_init(h->writer, &as);
}

static void heard_release(struct heard *h)
{
    codec_generate.writer_release(h->writer);
    free(h->writer);
    buf_release(&h->text);
    buf_release(&h->args);
    buf_release(&h->ids);
    buf_release(&h->out);
}

static void read_one(void *reader, struct heard *h, struct str data)
{
    struct arena scratch;
    struct fault f;
    arena_init(&scratch, 8 << 20);
    enum err e =
        codec_generate.read_event(reader, STR("google"), STR_NULL, data, &scratch, take, h, &f);
    if (e)
        fail_msg("%s: %s", err_name(e), f.message);
    arena_release(&scratch);
}

/* The arguments that a recording means, where they come in pieces. */
static const struct {
    const char *name, *args;
} pieces[] = {
    {"google-stream-tool-call-arguments.", "{\"location\":\"Boston\"}\n{\"location\":\"San "
                                           "Francisco\"}\n"},
    {"google-stream-no-args-tool-call.", "\n{\"id\":\"A\"}\n{\"id\":\"B\"}\n{\"id\":\"C\"}\n"},
    {"missing-terminal-function-call.",
     "{\"operations\":[{\"action\":\"add\",\"description\":\"Fresh red apple\",\"itemid\":"
     "\"apple_001\",\"price\":0.5},{\"action\":\"add\",\"description\":\"Ripe yellow banana\","
     "\"itemid\":\"banana_001\",\"price\":0.3}]}\n"},
    {"google-tool-call", "{\"location\":\"San Francisco\"}\n"},
};

static void check_args(const char *path, const struct heard *h)
{
    struct str rest = buf_view(&h->args), line;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (strstr(path, pieces[i].name))
            assert_string_equal(h->args.p, pieces[i].args);
    while (str_split(&rest, '\n', &line)) {
        struct json_doc d;
        if (line.n && json_parse(&d, line, NULL))
            fail_msg("not JSON: %.*s", STR_FMT(line));
    }
}

/* What was written is Gemini's form again and says the same. */
static void read_again(const struct heard *h)
{
    struct heard again;
    struct str rest = buf_view(&h->out);
    struct sse_event ev;
    void *reader = calloc(1, codec_generate.reader_bytes);
    heard_init(&again);
    codec_generate.reader_init(reader, NULL);
    while (sse_next(&rest, &ev))
        read_one(reader, &again, ev.data);
    assert_int_equal(again.ends, 1);
    assert_string_equal(buf_view(&again.text).p, buf_view(&h->text).p);
    assert_int_equal(again.tools, h->tools);
    assert_int_equal(again.finish, h->finish);
    assert_int_equal(again.signatures, h->signatures);
    assert_memory_equal(&again.usage, &h->usage, sizeof h->usage);
    heard_release(&again);
    free(reader);
}

static void stream(const char *path, char *text)
{
    struct heard h;
    struct str rest = str_c(text), line;
    void *reader = calloc(1, codec_generate.reader_bytes);
    unsigned named = times(text, "\"functionCall\":{\"name\"");
    heard_init(&h);
    codec_generate.reader_init(reader, NULL);
    while (str_split(&rest, '\n', &line))
        read_one(reader, &h, line);
    assert_int_equal(h.ends, 1);
    assert_int_equal(h.finishes, 1);
    assert_int_equal(h.tools, named);
    assert_int_equal(h.ended, named);
    assert_int_equal(h.finish, named ? FINISH_TOOL_CALLS : FINISH_STOP);
    assert_int_equal(h.signatures, times(text, "\"thoughtSignature\""));
    assert_true(h.has_usage);
    same_usage(&h.usage, text);
    check_args(path, &h);
    if (!named)
        assert_true(strstr(buf_view(&h.text).p, "strawberry") || strstr(h.text.p, "r**y"));
    read_again(&h);
    heard_release(&h);
    free(reader);
}

static void streams(void **state)
{
    recordings_find(&found, "google", "*.chunks.txt");
    unsigned seen = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = recordings_read(found.gl_pathv[i]);
        bool other = strstr(text, "\"event_type\"") != NULL;
        print_message("%s%s\n", found.gl_pathv[i], other ? ": of the Interactions API" : "");
        if (!other) {
            stream(found.gl_pathv[i], text);
            seen++;
        }
        free(text);
    }
    assert_true(seen >= 8);
    globfree(&found);
}

/* ---- whole bodies ---- */

static void whole(const char *text)
{
    struct neutral_reply r;
    struct json_doc d;
    struct arena a;
    struct fault f;
    struct buf out;
    const struct answer as = {.op = OP_GENERATE, .request_id = STR("rid"), .model = STR("m")};
    arena_init(&a, 8 << 20);
    buf_init(&out, 8 << 20);
    assert_int_equal(json_parse(&d, str_c(text), NULL), ERR_OK);
    enum err e = codec_generate.read_reply(&r, &d, NULL, STR("google"), &a, &f);
    if (strstr(text, "\"error\": {")) {
        assert_int_equal(e, ERR_UPSTREAM_THROTTLE);
        assert_int_equal(f.retry_ms, 34400);
    } else {
        assert_int_equal(e, ERR_OK);
        same_usage(&r.usage, text);
        bool called = strstr(text, "\"functionCall\"");
        const struct part *p = r.candidates->parts;
        assert_int_equal(r.candidates->finish, called ? FINISH_TOOL_CALLS : FINISH_STOP);
        assert_int_equal(p->type, called ? PART_TOOL_USE : PART_TEXT);
        assert_int_equal(p->issuer, ISSUER_GEMINI);
        assert_true(p->signature.n > 50);
        codec_generate.write_reply(&r, &as, &a, &out);
        assert_int_equal(json_parse(&d, buf_view(&out), NULL), ERR_OK);
        struct neutral_reply again;
        assert_int_equal(codec_generate.read_reply(&again, &d, NULL, STR("google"), &a, &f),
                         ERR_OK);
        assert_true(str_eq(again.candidates->parts->signature, p->signature));
        assert_true(str_eq(again.candidates->parts->text, p->text));
        assert_memory_equal(&again.usage, &r.usage, sizeof r.usage);
    }
    buf_release(&out);
    arena_release(&a);
}

static void whole_bodies(void **state)
{
    recordings_find(&found, "google", "*.json");
    unsigned seen = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = recordings_read(found.gl_pathv[i]);
        bool other = strstr(text, "\"object\": \"interaction\"") != NULL;
        print_message("%s%s\n", found.gl_pathv[i], other ? ": of the Interactions API" : "");
        if (!other) {
            whole(text);
            seen++;
        }
        free(text);
    }
    assert_true(seen >= 5);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams),
        cmocka_unit_test(whole_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
