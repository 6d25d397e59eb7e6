/* codec: what the fuzz targets of codecs share: any bytes through a codec, out by every other.
 *
 * Whatever is read must be written by every form as JSON, or refused with a
 * sentence; a stream must have one end and nothing after it. */
#ifndef LYSS_TESTS_FUZZ_CODEC_H
#define LYSS_TESTS_FUZZ_CODEC_H

#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"
#include "net/sse.h"

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

#define FUZZ_ARENA ((size_t)64 << 20)

static const struct model_caps fuzz_caps[] = {
    {.context_tokens = 0},
    {.rules = UINT32_MAX, .thinking = THINK_TOGGLE, .known_abilities = UINT32_MAX},
    {.rules = UINT32_MAX & ~(uint32_t)RULE_NO_STOP,
     .thinking = THINK_EFFORT,
     .efforts = EFFORT_BIT(EFFORT_LOW),
     .abilities = UINT32_MAX},
};
#define FUZZ_CAPS (sizeof fuzz_caps / sizeof *fuzz_caps)

static inline void fuzz_json(struct str text)
{
    struct json_doc d;
    struct err_info info;
    err_info_init(&info);
    if (json_parse(&d, text, &info)) {
        fprintf(stderr, "%s at %lld: %.*s\n", info.text, (long long)info.offset, STR_FMT(text));
        abort();
    }
    must(json_is(&d, 0, JSON_OBJECT));
}

/* Writes r for each kind of model. False where the form refuses it for the first of them. */
static inline bool fuzz_write_request(const struct codec *to, struct neutral_request *r,
                                      struct arena *a, struct buf *first)
{
    bool ok = false;
    for (size_t i = 0; i < FUZZ_CAPS; i++) {
        struct target t = {.model = STR("m"),
                           .provider = i == 1 ? STR("deepseek") : STR("openai"),
                           .caps = &fuzz_caps[i],
                           .reserve_output = 4096,
                           .stream = i & 1};
        struct receipt receipt = {.n = 0};
        struct link link = {false};
        struct err_info info;
        struct buf b;
        err_info_init(&info);
        buf_init(&b, FUZZ_ARENA);
        enum err e = to->write_request(r, &t, a, &b, &receipt, &link, &info);
        must(e == ERR_OK || (e == ERR_INVALID && info.text[0]) || arena_failed(a));
        if (!e) {
            must(!buf_failed(&b));
            fuzz_json(buf_view(&b));
            must(receipt.n == strlen(receipt.names) && !strpbrk(receipt.names, "\r\n"));
        }
        if (!e && i == 0) {
            buf_str(first, buf_view(&b));
            ok = true;
        }
        buf_release(&b);
    }
    return ok;
}

static inline bool fuzz_kin(enum llm_op x, enum llm_op y)
{
    return op_row(x)->kind == op_row(y)->kind;
}

/* A request of one form, written in all that can stand for it; what its own form wrote is read
 * and written once more, and must then not change. */
static inline void fuzz_request(const struct codec *from, const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1);
    struct json_doc d;
    struct arena a;
    struct err_info info;
    must(exact);
    memcpy(exact, data, size);
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        const struct codec *to = codec_of((enum llm_op)op);
        struct neutral_request r, again;
        struct buf once, twice;
        if (!to || !fuzz_kin(from->op, (enum llm_op)op))
            continue;
        arena_init(&a, FUZZ_ARENA);
        buf_init(&once, FUZZ_ARENA);
        buf_init(&twice, FUZZ_ARENA);
        err_info_init(&info);
        if (json_parse(&d, str_make(exact, size), NULL)) {
            arena_release(&a);
            break;
        }
        enum err e = from->read_request(&r, &d, STR_NULL, &a, &info);
        must(e == ERR_OK || (e == ERR_INVALID && info.text[0] && info.offset < (int64_t)size));
        if (!e && fuzz_write_request(to, &r, &a, &once) && to == from) {
            must(json_parse(&d, buf_view(&once), NULL) == ERR_OK);
            e = from->read_request(&again, &d, STR_NULL, &a, &info);
            if (e)
                fprintf(stderr, "%s: %.*s\n", info.text, STR_FMT(buf_view(&once)));
            must(e == ERR_OK);
            must(fuzz_write_request(to, &again, &a, &twice));
            must(str_eq(buf_view(&once), buf_view(&twice)) || again.extras);
        }
        must(!arena_failed(&a));
        buf_release(&once);
        buf_release(&twice);
        arena_release(&a);
    }
    free(exact);
}

/* ---- streams ---- */

struct fuzz_relay {
    const struct codec *to;
    void *writer;
    struct buf out;
    bool ended;
    unsigned finishes;
};

static inline void fuzz_take(void *ctx, const struct neutral_event *ev)
{
    struct fuzz_relay *r = ctx;
    must(!r->ended);
    r->ended = ev->type == EVENT_END;
    must((ev->type == EVENT_USAGE) <= (ev->usage != NULL));
    r->to->write_event(r->writer, ev, &r->out);
}

/* Every event that was written is whole, and JSON but for `[DONE]`. */
static inline void fuzz_events(struct str out)
{
    struct sse_event ev;
    bool done = false;
    while (sse_next(&out, &ev)) {
        must(!done);
        if (!ev.has_data)
            continue;
        done = str_eq(ev.data, STR("[DONE]"));
        if (!done)
            fuzz_json(ev.data);
    }
    must(out.n == 0);
}

/* Lines are events. */
static inline void fuzz_stream_to(const struct codec *from, const struct codec *to, char *text,
                                  size_t size)
{
    struct str rest = str_make(text, size), line;
    struct link link = {false};
    struct answer as = {.op = to->op,
                        .request_id = STR("01234567-89ab-7cde-8f01-23456789abcd"),
                        .model = STR("m\"m"),
                        .include_usage = size & 1};
    struct fuzz_relay relay = {.to = to, .writer = calloc(1, to->writer_bytes)};
    void *reader = calloc(1, from->reader_bytes);
    enum err e = ERR_OK;
    must(reader && relay.writer);
    buf_init(&relay.out, FUZZ_ARENA);
    from->reader_init(reader, &link);
    to->writer_init(relay.writer, &as);
    while (!e && !relay.ended && str_split(&rest, '\n', &line)) {
        struct arena scratch;
        struct fault f = {ERR_OK};
        arena_init(&scratch, FUZZ_ARENA);
        e = from->read_event(reader, STR("openai"), STR_NULL, line, &scratch, fuzz_take, &relay,
                             &f);
        must(!e || (f.err == e && f.status >= 400 && f.status <= 599));
        must(!arena_failed(&scratch));
        arena_release(&scratch);
    }
    if (!buf_failed(&relay.out)) /* a writer may refuse to hold more */
        fuzz_events(buf_view(&relay.out));
    if (from->reader_release)
        from->reader_release(reader);
    if (to->writer_release)
        to->writer_release(relay.writer);
    buf_release(&relay.out);
    free(reader);
    free(relay.writer);
}

/* The first line as a whole answer. */
static inline void fuzz_reply_to(const struct codec *from, const struct codec *to, char *text,
                                 size_t size)
{
    struct str rest = str_make(text, size), line = STR("");
    struct link link = {false};
    struct answer as = {
        .op = to->op, .request_id = STR("id"), .model = STR("m"), .base64 = size & 1};
    struct neutral_reply r;
    struct json_doc d;
    struct arena a;
    struct fault f = {ERR_OK};
    struct buf b;
    if (!str_split(&rest, '\n', &line) || json_parse(&d, line, NULL) ||
        !json_is(&d, 0, JSON_OBJECT))
        return;
    arena_init(&a, FUZZ_ARENA);
    buf_init(&b, FUZZ_ARENA);
    enum err e = from->read_reply(&r, &d, &link, STR("openai"), &a, &f);
    must(!e || (f.err == e && f.status >= 400 && f.status <= 599));
    if (!e) {
        to->write_reply(&r, &as, &a, &b);
        must(!buf_failed(&b));
        fuzz_json(buf_view(&b));
    }
    must(!arena_failed(&a));
    buf_release(&b);
    arena_release(&a);
}

static inline void fuzz_answer(const struct codec *from, const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1);
    must(exact);
    memcpy(exact, data, size);
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        const struct codec *to = codec_of((enum llm_op)op);
        if (!to || !fuzz_kin(from->op, (enum llm_op)op))
            continue;
        fuzz_reply_to(from, to, exact, size);
        if (from->read_event && to->write_event)
            fuzz_stream_to(from, to, exact, size);
    }
    free(exact);
}

#endif
