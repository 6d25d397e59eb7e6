/* fuzz_gemini_stream: lines are events; the whole is a body, too.  Whatever comes, events keep
 * their order, a stream ends once, and what a caller of Gemini's is sent is JSON, line by line. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"
#include "llm/dialect.h"
#include "net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

struct watch {
    void *writer;
    struct buf out;
    uint32_t tools[16], ended[16]; /* by candidate: begun and ended calls */
    uint32_t finished;             /* bits */
    unsigned ends;
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct watch *w = ctx;
    uint32_t c = ev->candidate;
    must(!w->ends && c < 16);
    switch (ev->type) {
    case EVENT_TOOL:
        must(ev->tool == w->tools[c] && ev->id.n > 0);
        w->tools[c]++;
        break;
    case EVENT_TOOL_ARGS:
        must(ev->tool + 1 == w->tools[c] && w->ended[c] + 1 == w->tools[c]);
        break;
    case EVENT_TOOL_END:
        must(ev->tool + 1 == w->tools[c] && w->ended[c] + 1 == w->tools[c]);
        w->ended[c]++;
        break;
    case EVENT_FINISH:
        must(!(w->finished >> c & 1) && w->ended[c] == w->tools[c]);
        w->finished |= 1u << c;
        break;
    case EVENT_USAGE:
        must(ev->usage);
        break;
    case EVENT_END:
        w->ends++;
        break;
    default:
        break;
    }
    codec_generate.write_event(w->writer, ev, &w->out);
}

static void check_out(const struct watch *w)
{
    struct str rest = buf_view(&w->out);
    struct sse_event ev;
    struct json_doc d;
    unsigned last = 0;
    while (sse_next(&rest, &ev)) {
        must(json_parse(&d, ev.data, NULL) == ERR_OK);
        must(!last); /* nothing comes after it */
        last += json_get(&d, 0, STR("usageMetadata")) != JSON_NONE;
    }
    must(rest.n == 0 && last == w->ends);
}

static void check_fault(const struct fault *f)
{
    struct json_doc d;
    struct buf b;
    buf_init(&b, 1 << 20);
    must(f->err != ERR_OK && f->status >= 400 && f->status <= 599 && f->retry_ms >= 0);
    dialect_gemini.fault_body(&b, f, STR("id"));
    must(json_parse(&d, buf_view(&b), NULL) == ERR_OK);
    buf_release(&b);
}

static void whole(struct str body)
{
    struct neutral_reply r = {0};
    const struct answer as = {.op = OP_GENERATE, .request_id = STR("rid"), .model = STR("m")};
    struct json_doc d;
    struct arena a;
    struct fault f = {ERR_OK};
    struct buf out;
    if (json_parse(&d, body, NULL))
        return;
    arena_init(&a, (size_t)64 << 20);
    buf_init(&out, (size_t)64 << 20);
    if (codec_generate.read_reply(&r, &d, NULL, STR("google"), &a, &f)) {
        check_fault(&f);
    } else {
        must(r.candidates);
        codec_generate.write_reply(&r, &as, &a, &out);
        must(json_parse(&d, buf_view(&out), NULL) == ERR_OK);
        must(codec_generate.read_reply(&r, &d, NULL, STR("google"), &a, &f) == ERR_OK);
    }
    arena_release(&a);
    if (!json_parse(&d, body, NULL) &&
        codec_gemini_count.read_reply(&r, &d, NULL, STR("google"), &a, &f))
        check_fault(&f);
    arena_release(&a);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct answer as = {.op = OP_GENERATE, .request_id = STR("rid"), .model = STR("m")};
    struct watch w = {.writer = calloc(1, codec_generate.writer_bytes)};
    void *reader = calloc(1, codec_generate.reader_bytes);
    char *exact = malloc(size ? size : 1);
    must(exact && reader && w.writer);
    if (size)
        memcpy(exact, data, size);
    struct str rest = str_make(exact, size), line;
    enum err e = ERR_OK;
    buf_init(&w.out, (size_t)64 << 20);
    codec_generate.reader_init(reader, NULL);
    codec_generate.writer_init(w.writer, &as);
    while (!e && !w.ends && str_split(&rest, '\n', &line)) {
        struct arena scratch;
        struct fault f = {ERR_OK};
        arena_init(&scratch, (size_t)16 << 20);
        e = codec_generate.read_event(reader, STR("google"), STR_NULL, line, &scratch, take, &w,
                                      &f);
        if (e)
            check_fault(&f);
        arena_release(&scratch);
    }
    if (!buf_failed(&w.out))
        check_out(&w);
    codec_generate.writer_release(w.writer);
    whole(str_make(exact, size));
    buf_release(&w.out);
    free(w.writer);
    free(reader);
    free(exact);
    return 0;
}
