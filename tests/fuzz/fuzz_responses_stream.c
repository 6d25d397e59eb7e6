/* fuzz_responses_stream: lines are events.  What the reader makes of them the writer must turn into
 * items one after another, numbered without a gap, that the last event repeats; the bytes as a
 * whole answer as well. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"
#include "net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static const struct answer as = {
    .op = OP_RESPONSES, .request_id = {"r", 1}, .model = {"m", 1}, .created_s = 5};
static const struct link no_link;

struct relay {
    void *writer;
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
    codec_responses.write_event(r->writer, &copy, &r->out);
}

/* ---- the grammar of what was written ---- */

struct grammar {
    bool open, over;
    int64_t sequence, items;
    struct buf done; /* the finished items */
};

static bool is(struct str type, const char *start, const char *end)
{
    return str_starts(type, str_c(start)) && str_ends(type, str_c(end));
}

static void check_event(struct grammar *g, const struct sse_event *ev)
{
    struct json_doc d;
    int64_t n = -1, index = -1;
    must(json_parse(&d, ev->data, NULL) == ERR_OK && !g->over);
    must(json_string_is(&d, json_get(&d, 0, STR("type")), ev->name));
    must(json_i64(&d, json_get(&d, 0, STR("sequence_number")), &n) && n == g->sequence++);
    if (json_i64(&d, json_get(&d, 0, STR("output_index")), &index))
        must(index == g->items);
    if (is(ev->name, "response.output_item", ".added")) {
        must(!g->open);
        g->open = true;
    } else if (is(ev->name, "response.output_item", ".done")) {
        must(g->open);
        g->open = false;
        g->items++;
        if (g->done.n)
            buf_char(&g->done, ',');
        buf_str(&g->done, json_raw(&d, json_get(&d, 0, STR("item"))));
    } else if (is(ev->name, "response.completed", "") || is(ev->name, "response.incomplete", "")) {
        struct str all =
            json_raw(&d, json_get(&d, json_get(&d, 0, STR("response")), STR("output")));
        must(!g->open && all.n >= 2);
        must(str_eq(str_make(all.p + 1, all.n - 2), buf_view(&g->done)));
        g->over = true;
    } else {
        must(index < 0 || g->open);
    }
}

static void check_stream(struct str out, bool ended)
{
    struct grammar g = {.items = 0};
    struct sse_event ev;
    buf_init(&g.done, (size_t)16 << 20);
    while (sse_next(&out, &ev))
        check_event(&g, &ev);
    must(out.n == 0 && g.over == ended);
    buf_release(&g.done);
}

static void stream(struct str rest, unsigned scramble)
{
    struct relay relay = {.writer = calloc(1, codec_responses.writer_bytes), .scramble = scramble};
    struct arena scratch;
    struct fault f;
    struct str line;
    enum err e = ERR_OK;
    void *reader = calloc(1, codec_responses.reader_bytes);
    must(reader && relay.writer);
    buf_init(&relay.out, (size_t)16 << 20);
    codec_responses.reader_init(reader, &no_link);
    codec_responses.writer_init(relay.writer, &as);
    arena_init(&scratch, (size_t)16 << 20);
    while (!e && !relay.ended && str_split(&rest, '\n', &line)) {
        e = codec_responses.read_event(reader, STR("openai"), line.n % 5 ? STR_NULL : STR("error"),
                                       line, &scratch, take, &relay, &f);
        must(!e || (f.err == e && f.status >= 400 && f.status <= 599));
        arena_release(&scratch);
    }
    if (!buf_failed(&relay.out))
        check_stream(buf_view(&relay.out), relay.ended);
    codec_responses.writer_release(relay.writer);
    buf_release(&relay.out);
    free(relay.writer);
    free(reader);
}

/* ---- whole answers ---- */

static void whole(struct str body)
{
    struct neutral_reply r, again;
    struct json_doc d;
    struct fault f;
    struct arena a;
    struct buf b;
    arena_init(&a, (size_t)64 << 20);
    buf_init(&b, (size_t)16 << 20);
    if (json_parse(&d, body, NULL) == ERR_OK) {
        enum err e = codec_responses.read_reply(&r, &d, &no_link, STR("openai"), &a, &f);
        must(!e || e == ERR_NOMEM || (f.err == e && f.status >= 400));
        if (!e) {
            codec_responses.write_reply(&r, &as, &a, &b);
            must(json_parse(&d, buf_view(&b), NULL) == ERR_OK);
            must(codec_responses.read_reply(&again, &d, &no_link, STR("openai"), &a, &f) == ERR_OK);
            must(r.has_usage == again.has_usage);
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
