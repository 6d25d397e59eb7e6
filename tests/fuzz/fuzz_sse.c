/* fuzz_sse: any bytes as a stream of events.  Fed in pieces it yields the events that it yields
 * whole, whose raw texts together are the stream without its tail; and data of any lines, written
 * as an event, reads back as it was. */
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static void note(struct buf *b, struct str s)
{
    buf_printf(b, "%zu:", s.n);
    buf_str(b, s);
}

/* A transcript of the events, and how many bytes they took. */
static size_t transcribe(const char *text, size_t size, size_t step, struct buf *to)
{
    size_t taken = 0, have = 0;
    while (have < size) {
        have = size - have < step ? size : have + step;
        size_t n = have - taken;
        char *block = malloc(n ? n : 1);
        must(block);
        memcpy(block, text + taken, n);
        struct str in = str_make(block, n);
        struct sse_event ev;
        while (sse_next(&in, &ev)) {
            must(ev.raw.n && ev.raw.p + ev.raw.n == in.p && ev.raw.p[ev.raw.n - 1] == '\n');
            must(ev.has_data || !ev.data.n);
            note(to, ev.raw);
            note(to, ev.name);
            note(to, ev.data);
            buf_char(to, ev.has_data ? 'd' : '-');
        }
        must(in.p + in.n == block + n);
        taken += n - in.n;
        free(block);
    }
    return taken;
}

static void check_cuts(const char *text, size_t size, size_t step)
{
    struct buf whole, pieces;
    buf_init(&whole, 1 << 24);
    buf_init(&pieces, 1 << 24);
    size_t w = transcribe(text, size, size ? size : 1, &whole);
    size_t p = transcribe(text, size, step, &pieces);
    must(w == p && str_eq(buf_view(&whole), buf_view(&pieces)));
    buf_release(&whole);
    buf_release(&pieces);
}

static void check_round_trip(struct str data)
{
    struct buf b;
    struct str rest = data, line;
    struct sse_event ev;
    if (memchr(data.p, '\r', data.n)) /* a line's end to others, and ours before LF */
        return;
    buf_init(&b, 1 << 24);
    buf_lit(&b, "event: e\n");
    while (str_split(&rest, '\n', &line)) {
        buf_lit(&b, "data: ");
        buf_str(&b, line);
        buf_char(&b, '\n');
    }
    buf_char(&b, '\n');
    struct str in = buf_view(&b);
    must(sse_next(&in, &ev) && in.n == 0 && ev.has_data);
    must(str_eq(ev.data, data) && str_eq(ev.name, STR("e")));
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const char *text = (const char *)data + 1;
    check_cuts(text, size - 1, data[0] % 32 + 1);
    check_round_trip(str_make(text, size - 1));
    return 0;
}
