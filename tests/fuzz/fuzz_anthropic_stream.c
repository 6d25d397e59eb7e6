/* fuzz_anthropic_stream: lines are events.  What the reader makes of them the writer must turn into
 * a stream of whole blocks, one after another, with one end; all of it one whole answer as well. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"
#include "net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

struct relay {
    char writer[16384];
    struct buf out;
    bool ended;
    unsigned scramble; /* tool numbers are mixed up, so that calls interleave */
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct relay *r = ctx;
    struct neutral_event copy = *ev;
    must(!r->ended);
    r->ended = ev->type == EVENT_END;
    if (r->scramble)
        copy.tool = ev->tool * 7 % 3;
    codec_messages.write_event(r->writer, &copy, &r->out);
}

/* ---- the grammar of what was written ---- */

struct grammar {
    bool started, open, told, stopped;
    int64_t index;
};

static void check_event(struct grammar *g, const struct sse_event *ev)
{
    struct json_doc d;
    int64_t index = -1;
    must(json_parse(&d, ev->data, NULL) == ERR_OK);
    uint32_t type = json_get(&d, 0, STR("type"));
    must(json_string_is(&d, type, ev->name) && !g->stopped);
    if (str_eq(ev->name, STR("ping")))
        return;
    json_i64(&d, json_get(&d, 0, STR("index")), &index);
    if (str_eq(ev->name, STR("message_start"))) {
        must(!g->started);
        g->started = true;
        return;
    }
    must(g->started);
    if (str_eq(ev->name, STR("content_block_start"))) {
        must(!g->open && !g->told && index == g->index);
        g->open = true;
    } else if (str_eq(ev->name, STR("content_block_delta"))) {
        must(g->open && index == g->index);
    } else if (str_eq(ev->name, STR("content_block_stop"))) {
        must(g->open && index == g->index);
        g->open = false;
        g->index++;
    } else if (str_eq(ev->name, STR("message_delta"))) {
        must(!g->open && !g->told);
        g->told = true;
    } else {
        must(str_eq(ev->name, STR("message_stop")) && g->told);
        g->stopped = true;
    }
}

static void check_stream(struct str out, bool ended)
{
    struct grammar g = {.index = 0};
    struct sse_event ev;
    while (sse_next(&out, &ev))
        check_event(&g, &ev);
    must(out.n == 0 && g.stopped == ended);
}

static void stream(struct str rest, unsigned scramble)
{
    static const struct answer as = {.op = OP_MESSAGES, .request_id = {"r", 1}, .model = {"m", 1}};
    struct link link = {.schema_tool = rest.n & 4};
    struct relay relay = {.scramble = scramble};
    struct arena scratch;
    struct fault f;
    struct str line;
    enum err e = ERR_OK;
    void *reader = calloc(1, codec_messages.reader_bytes);
    must(reader && codec_messages.writer_bytes <= sizeof relay.writer);
    buf_init(&relay.out, (size_t)16 << 20);
    codec_messages.reader_init(reader, &link);
    codec_messages.writer_init(relay.writer, &as);
    arena_init(&scratch, (size_t)16 << 20);
    while (!e && str_split(&rest, '\n', &line)) {
        e = codec_messages.read_event(reader, STR("anthropic"),
                                      line.n % 5 ? STR_NULL : STR("error"), line, &scratch, take,
                                      &relay, &f);
        must(!e || (f.err == e && f.status >= 400 && f.status <= 599));
        arena_release(&scratch);
    }
    if (!buf_failed(&relay.out))
        check_stream(buf_view(&relay.out), relay.ended);
    codec_messages.reader_release(reader);
    codec_messages.writer_release(relay.writer);
    buf_release(&relay.out);
    free(reader);
}

/* ---- whole answers ---- */

static void whole(struct str body)
{
    static const struct answer as = {.op = OP_MESSAGES, .request_id = {"r", 1}, .model = {"m", 1}};
    struct link link = {.schema_tool = body.n & 4};
    struct neutral_reply r, again;
    struct json_doc d;
    struct fault f;
    struct arena a;
    struct buf b;
    arena_init(&a, (size_t)64 << 20);
    buf_init(&b, (size_t)16 << 20);
    if (json_parse(&d, body, NULL) == ERR_OK) {
        enum err e = codec_messages.read_reply(&r, &d, &link, STR("anthropic"), &a, &f);
        must(!e || (f.err == e && f.status >= 400));
        if (!e) {
            codec_messages.write_reply(&r, &as, &a, &b);
            must(json_parse(&d, buf_view(&b), NULL) == ERR_OK);
            must(codec_messages.read_reply(&again, &d, &link, STR("anthropic"), &a, &f) == ERR_OK);
            if (r.has_usage)
                must(usage_output_tokens(&r.usage) == usage_output_tokens(&again.usage));
        }
    }
    arena_release(&a);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    stream(str_make(exact, size), 0);
    stream(str_make(exact, size), 1);
    whole(str_make(exact, size));
    free(exact);
    return 0;
}
