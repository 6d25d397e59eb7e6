/* recordings: recorded answers of every provider, through every form and back.
 *
 * LYSS_FIXTURES names a folder with openai/, anthropic/ and google/ in it or one
 * below; *.json is a whole body, *.chunks.txt one SSE data payload a line.  Each is read by the
 * codec of its form, written by the codec of each other form and read again: text, calls, finish
 * and tokens must come out the same, and the end exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/codec.h"
#include "net/sse.h"
#include "recordings.h"

static const enum llm_op forms[] = {OP_CHAT, OP_RESPONSES, OP_MESSAGES, OP_GENERATE};
#define FORMS (sizeof forms / sizeof *forms)

/* What a stream said. */
struct heard {
    struct buf text, reasoning, calls;
    char args[64][16384];
    char names[64][128];
    unsigned calls_n, ends, finish;
    bool has_usage;
    struct usage usage;
    enum err err;
};

static void heard_init(struct heard *h)
{
    memset(h, 0, sizeof *h);
    buf_init(&h->text, 1 << 20);
    buf_init(&h->reasoning, 1 << 20);
    buf_init(&h->calls, 1 << 20);
}

static void heard_release(struct heard *h)
{
    buf_release(&h->text);
    buf_release(&h->reasoning);
    buf_release(&h->calls);
}

static void hear(struct heard *h, const struct neutral_event *ev)
{
    assert_int_equal(h->ends, 0);
    switch (ev->type) {
    case EVENT_TEXT:
    case EVENT_REFUSAL:
        buf_str(&h->text, ev->text);
        break;
    case EVENT_REASONING:
        buf_str(&h->reasoning, ev->text);
        break;
    case EVENT_TOOL:
        assert_int_equal(ev->tool, h->calls_n);
        assert_true(h->calls_n < 64 && ev->id.n > 0);
        str_copy(h->names[h->calls_n++], sizeof h->names[0], ev->name);
        break;
    case EVENT_TOOL_ARGS: {
        assert_true(ev->tool < h->calls_n);
        char *args = h->args[ev->tool];
        size_t n = strlen(args);
        str_copy(args + n, sizeof h->args[0] - n, ev->text);
        break;
    }
    case EVENT_FINISH:
        h->finish = ev->finish;
        break;
    case EVENT_END:
        h->ends++;
        break;
    default:
        break;
    }
    if (ev->usage) {
        h->usage = *ev->usage;
        h->has_usage = true;
    }
}

/* Arguments as a form must give them that wants an object, without white space. */
static void put_args(struct buf *b, const char *args)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct str s = neutral_args_object(str_c(args), &a);
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(" \t\r\n", s.p[i]))
            buf_char(b, s.p[i]);
    arena_release(&a);
}

static void heard_end(struct heard *h)
{
    for (unsigned i = 0; i < h->calls_n; i++) {
        buf_printf(&h->calls, "%s(", h->names[i]);
        put_args(&h->calls, h->args[i]);
        buf_lit(&h->calls, ")\n");
    }
}

/* ---- a stream through a reader, into heard and perhaps a writer ---- */

struct sink {
    struct heard *h;
    const struct codec *to;
    void *writer;
    struct buf *out;
};

static void on_event(void *ctx, const struct neutral_event *ev)
{
    struct sink *s = ctx;
    hear(s->h, ev);
    if (s->to)
        s->to->write_event(s->writer, ev, s->out);
}

struct reading {
    const struct codec *from;
    void *state;
    struct sink sink;
};

static void reading_open(struct reading *r, const struct codec *from, struct heard *h,
                         const struct codec *to, struct buf *out)
{
    static const struct link link = {false};
    struct answer as = {.op = to ? to->op : from->op,
                        .request_id = STR("01234567-89ab-7cde-8f01-23456789abcd"),
                        .model = STR("model"),
                        .created_s = 1,
                        .include_usage = true};
    *r = (struct reading){.from = from, .state = calloc(1, from->reader_bytes)};
    from->reader_init(r->state, &link);
    r->sink = (struct sink){.h = h, .to = to, .out = out};
    if (to) {
        r->sink.writer = calloc(1, to->writer_bytes);
        to->writer_init(r->sink.writer, &as);
    }
    heard_init(h);
}

static void reading_event(struct reading *r, struct str name, struct str data)
{
    struct arena scratch;
    struct fault f;
    if (r->sink.h->err || r->sink.h->ends)
        return;
    arena_init(&scratch, 4 << 20);
    r->sink.h->err =
        r->from->read_event(r->state, STR("openai"), name, data, &scratch, on_event, &r->sink, &f);
    assert_false(arena_failed(&scratch));
    arena_release(&scratch);
}

static void reading_close(struct reading *r)
{
    heard_end(r->sink.h);
    if (r->from->reader_release)
        r->from->reader_release(r->state);
    if (r->sink.to && r->sink.to->writer_release)
        r->sink.to->writer_release(r->sink.writer);
    free(r->state);
    free(r->sink.writer);
}

/* ---- recordings ---- */

static enum llm_op form_of(const char *path, const char *text)
{
    if (strstr(path, "/anthropic/"))
        return OP_MESSAGES;
    if (strstr(path, "/google/"))
        return strstr(text, "\"candidates\"") ? OP_GENERATE : OP_NONE;
    if (strstr(text, "\"object\":\"chat.completion.chunk\""))
        return OP_CHAT;
    if (strstr(text, "\"object\":\"text_completion\""))
        return OP_COMPLETIONS;
    return OP_RESPONSES;
}

/* Feeds the payloads; an event's name is its type, as both forms with names have it. */
static void replay(struct reading *r, const char *text)
{
    struct str rest = str_trim(str_c(text)), line;
    struct arena a;
    arena_init(&a, 1 << 20);
    while (str_split(&rest, '\n', &line)) {
        struct json_doc d;
        struct str name = STR_NULL;
        if (json_parse(&d, line, NULL))
            break; /* one recording is cut within a line */
        if (r->from->op == OP_MESSAGES || r->from->op == OP_RESPONSES)
            json_string(&d, json_get(&d, 0, STR("type")), &a, &name);
        reading_event(r, arena_dup(&a, name), line);
    }
    if (r->from->op == OP_CHAT || r->from->op == OP_COMPLETIONS)
        reading_event(r, STR_NULL, STR("[DONE]"));
    arena_release(&a);
}

static void same(const struct buf *got, const struct buf *want)
{
    assert_string_equal(got->p ? got->p : "", want->p ? want->p : "");
}

/* The text of a chat stream, found without the code under test. */
static void check_text(const char *text, const struct heard *h)
{
    struct str rest = str_trim(str_c(text)), line;
    struct buf want;
    struct arena a;
    buf_init(&want, 1 << 20);
    arena_init(&a, 1 << 20);
    while (str_split(&rest, '\n', &line)) {
        struct json_doc d;
        struct str s;
        assert_int_equal(json_parse(&d, line, NULL), ERR_OK);
        uint32_t c = json_child(&d, json_get(&d, 0, STR("choices")));
        uint32_t delta = json_get(&d, c, STR("delta"));
        if (json_string(&d, json_get(&d, delta, STR("content")), &a, &s) ||
            json_string(&d, json_get(&d, c, STR("text")), &a, &s))
            buf_str(&want, s);
    }
    assert_true(want.n > 0);
    same(&h->text, &want);
    buf_release(&want);
    arena_release(&a);
}

/* What was written must be events of that form which say the same. */
static void check_written(enum llm_op op, struct str out, const struct heard *want)
{
    struct reading r;
    struct heard *h = malloc(sizeof *h);
    struct sse_event ev;
    assert_non_null(h);
    reading_open(&r, codec_of(op), h, NULL, NULL);
    while (sse_next(&out, &ev))
        if (ev.has_data)
            reading_event(&r, ev.name, ev.data);
    assert_int_equal(out.n, 0);
    reading_close(&r);
    assert_int_equal(h->err, ERR_OK);
    assert_int_equal(h->ends, 1);
    same(&h->text, &want->text);
    same(&h->calls, &want->calls);
    if (want->has_usage) {
        assert_int_equal(usage_input_tokens(&h->usage), usage_input_tokens(&want->usage));
        assert_int_equal(usage_output_tokens(&h->usage), usage_output_tokens(&want->usage));
        assert_int_equal(h->usage.cache_read, want->usage.cache_read);
    }
    heard_release(h);
    free(h);
}

static unsigned translate(const char *path)
{
    char *text = recordings_read(path);
    enum llm_op from = form_of(path, text);
    struct heard *h = malloc(sizeof *h);
    unsigned done = 0;
    assert_non_null(h);
    for (size_t i = 0; from != OP_NONE && i < FORMS; i++) {
        struct buf out;
        struct reading r;
        if (!codec_of(from) || !codec_of(forms[i]) || from == forms[i])
            continue;
        buf_init(&out, 16 << 20);
        reading_open(&r, codec_of(from), h, codec_of(forms[i]), &out);
        replay(&r, text);
        reading_close(&r);
        assert_false(buf_failed(&out));
        if (!h->err && h->ends) {
            print_message("  %s to %s: %zu bytes of text, %u calls\n", op_row(from)->name,
                          op_row(forms[i])->name, h->text.n, h->calls_n);
            if (from == OP_CHAT || from == OP_COMPLETIONS)
                check_text(text, h);
            check_written(forms[i], buf_view(&out), h);
            done++;
        } else {
            print_message("  %s ends with %s\n", op_row(from)->name, err_name(h->err));
        }
        heard_release(h);
        buf_release(&out);
    }
    free(h);
    free(text);
    return done;
}

/* ---- whole answers ---- */

static void sum_up(const struct neutral_reply *r, struct heard *h)
{
    heard_init(h);
    h->has_usage = r->has_usage;
    h->usage = r->usage;
    for (const struct part *p = r->candidates ? r->candidates->parts : NULL; p; p = p->next) {
        if (p->type == PART_TEXT || p->type == PART_REFUSAL)
            buf_str(&h->text, p->text);
        if (p->type != PART_TOOL_USE)
            continue;
        assert_true(h->calls_n < 64 && p->id.n > 0);
        str_copy(h->args[h->calls_n], sizeof h->args[0], p->args);
        str_copy(h->names[h->calls_n++], sizeof h->names[0], p->name);
    }
    heard_end(h);
}

/* False: an error, as the upstream gave it. */
static bool read_whole(enum llm_op op, struct str body, struct heard *h, struct neutral_reply *r,
                       struct arena *a)
{
    static const struct link link = {false};
    struct json_doc d;
    struct fault f;
    assert_int_equal(json_parse(&d, body, NULL), ERR_OK);
    enum err e = codec_of(op)->read_reply(r, &d, &link, STR("openai"), a, &f);
    assert_false(arena_failed(a));
    if (e) {
        print_message("  %s: %s\n", err_name(e), f.message);
        return false;
    }
    sum_up(r, h);
    return true;
}

static void check_whole(enum llm_op op, const struct neutral_reply *r, const struct heard *want)
{
    struct answer as = {
        .op = op, .request_id = STR("01234567-89ab-7cde-8f01-23456789abcd"), .model = STR("model")};
    struct heard *h = malloc(sizeof *h);
    struct neutral_reply again;
    struct buf out;
    struct arena a;
    assert_non_null(h);
    buf_init(&out, 16 << 20);
    arena_init(&a, 16 << 20);
    codec_of(op)->write_reply(r, &as, &a, &out);
    assert_false(buf_failed(&out));
    assert_true(read_whole(op, buf_view(&out), h, &again, &a));
    same(&h->text, &want->text);
    same(&h->calls, &want->calls);
    assert_int_equal(usage_input_tokens(&h->usage), usage_input_tokens(&want->usage));
    assert_int_equal(usage_output_tokens(&h->usage), usage_output_tokens(&want->usage));
    heard_release(h);
    free(h);
    buf_release(&out);
    arena_release(&a);
}

static enum llm_op whole_form(const char *path, const char *text)
{
    if (strstr(path, "/anthropic/"))
        return OP_MESSAGES;
    if (strstr(path, "/google/"))
        return strstr(text, "\"candidates\"") ? OP_GENERATE : OP_NONE;
    if (strstr(text, "\"text_completion\""))
        return OP_COMPLETIONS;
    if (strstr(text, "\"embedding\"") || strstr(text, "b64_json"))
        return OP_NONE;
    return strstr(text, "\"chat.completion\"") ? OP_CHAT : OP_RESPONSES;
}

static unsigned translate_whole(const char *path)
{
    char *text = recordings_read(path);
    enum llm_op from = whole_form(path, text);
    struct heard *h = malloc(sizeof *h);
    struct neutral_reply r;
    struct arena a;
    unsigned done = 0;
    assert_non_null(h);
    arena_init(&a, 16 << 20);
    if (from != OP_NONE && codec_of(from) && read_whole(from, str_c(text), h, &r, &a)) {
        print_message("  %s: %zu bytes of text, %u calls\n", op_row(from)->name, h->text.n,
                      h->calls_n);
        for (size_t i = 0; i < FORMS; i++)
            if (codec_of(forms[i])) {
                check_whole(forms[i], &r, h);
                done++;
            }
        heard_release(h);
    }
    arena_release(&a);
    free(h);
    free(text);
    return done;
}

/* ---- all of a kind ---- */

static void each(const char *kind, unsigned (*run)(const char *path))
{
    static const char *const folders[] = {"openai", "anthropic", "google"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        glob_t found;
        unsigned done = 0;
        recordings_find(&found, folders[i], kind);
        for (size_t f = 0; f < found.gl_pathc; f++) {
            print_message("%s\n", found.gl_pathv[f]);
            done += run(found.gl_pathv[f]);
        }
        assert_true(done > 3);
        globfree(&found);
    }
}

static void streams(void **state)
{
    each("*.chunks.txt", translate);
}

static void whole_answers(void **state)
{
    each("*.json", translate_whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams),
        cmocka_unit_test(whole_answers),
    };
    return cmocka_run_group_tests_name("recordings", tests, NULL, NULL);
}
