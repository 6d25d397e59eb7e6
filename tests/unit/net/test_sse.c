/* sse: events cut from a stream, with every line end and at every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "net/scratch.h"
#include "net/sse.h"

static const struct {
    const char *text, *name, *data;
    bool has_data;
} events[] = {
    {"data: a\n\n", "", "a", true},
    {"data:a\n\n", "", "a", true},
    {"data:  a \n\n", "", " a ", true},
    {"data\n\n", "", "", true},
    {"data:\n\n", "", "", true},
    {"data:\ndata:\n\n", "", "\n", true},
    {"data: a\ndata: b\ndata:\ndata: c\n\n", "", "a\nb\n\nc", true},
    {"event: x\ndata: {\"a\":\"b: c\"}\n\n", "x", "{\"a\":\"b: c\"}", true},
    {"data: 1\nid: 7\nretry: 5\nevent:y\n\n", "y", "1", true},
    {"event: x\nevent: z\ndata: 1\n\n", "z", "1", true},
    {"event: x\n\n", "x", "", false},
    {": ping\n\n", "", "", false},
    {":\n\n", "", "", false},
    {"\n", "", "", false},
    {"database: 1\neventual: 2\n data: 3\nDATA: 4\n\n", "", "", false},
    {": c\ndata: [DONE]\n\n", "", "[DONE]", true},
    {"data: a\rb\n\n", "", "a\rb", true},
};

enum { EVENTS = sizeof events / sizeof *events };

/* All events joined, with the given line end; at[i] is where event i ends. */
static size_t put_all(char *to, bool crlf, size_t at[EVENTS])
{
    size_t n = 0;
    for (int i = 0; i < EVENTS; i++) {
        for (const char *p = events[i].text; *p; p++) {
            if (*p == '\n' && crlf)
                to[n++] = '\r';
            to[n++] = *p;
        }
        at[i] = n;
    }
    return n;
}

static void check_event(int i, const struct sse_event *ev, struct str raw)
{
    if (!str_eq(ev->name, str_c(events[i].name)) || !str_eq(ev->data, str_c(events[i].data)) ||
        ev->has_data != events[i].has_data || !str_eq(ev->raw, raw))
        fail_msg("%s: name '%.*s', data '%.*s'", events[i].text, STR_FMT(ev->name),
                 STR_FMT(ev->data));
}

/* The stream in two pieces; what sse_next leaves of the first is put before the second. */
static void feed_cut(const char *text, size_t n, const size_t at[EVENTS], size_t cut)
{
    int seen = 0;
    size_t taken = 0;
    for (int piece = 0; piece < 2; piece++) {
        size_t len = (piece ? n : cut) - taken;
        char *block = malloc(len ? len : 1);
        assert_non_null(block);
        memcpy(block, text + taken, len);
        struct str in = str_make(block, len);
        struct sse_event ev;
        while (sse_next(&in, &ev)) {
            assert_true(seen < EVENTS);
            size_t from = seen ? at[seen - 1] : 0;
            check_event(seen, &ev, str_make(text + from, at[seen] - from));
            seen++;
        }
        assert_false(sse_next(&in, &ev));
        taken += len - in.n;
        assert_int_equal(taken, seen ? at[seen - 1] : 0);
        free(block);
    }
    assert_int_equal(seen, EVENTS);
}

static void cuts_everywhere(void **state)
{
    char text[2048];
    size_t at[EVENTS];
    for (int crlf = 0; crlf < 2; crlf++) {
        size_t n = put_all(text, crlf, at);
        for (size_t cut = 0; cut <= n; cut++)
            feed_cut(text, n, at, cut);
    }
}

static void leaves_the_unfinished(void **state)
{
    static const char *const tails[] = {"",  "data: a", "data: a\n", "data: a\r\n\r", "data: a\n:x",
                                        "\r"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct str in = str_c(tails[i]);
        struct sse_event ev;
        assert_false(sse_next(&in, &ev));
        assert_true(str_eq(in, str_c(tails[i])));
    }
}

static void mixes_line_ends(void **state)
{
    struct str in = STR("event: a\r\ndata: b\n\r\ndata: c\r\n\n");
    struct sse_event ev;
    assert_true(sse_next(&in, &ev));
    assert_true(str_eq(ev.name, STR("a")) && str_eq(ev.data, STR("b")));
    assert_true(sse_next(&in, &ev));
    assert_true(!ev.name.n && str_eq(ev.data, STR("c")));
    assert_int_equal(in.n, 0);
}

static void joins_long_data(void **state)
{
    /* As many lines as an event can have, and one whose lines are long. */
    static char text[SSE_EVENT_MAX + 16];
    size_t n = 0, lines = 0;
    while (n + 8 < SSE_EVENT_MAX) {
        memcpy(text + n, "data: x\n", 8);
        n += 8;
        lines++;
    }
    text[n++] = '\n';
    struct str in = str_make(text, n);
    struct sse_event ev;
    assert_true(sse_next(&in, &ev));
    assert_int_equal(ev.data.n, 2 * lines - 1);
    for (size_t i = 0; i < ev.data.n; i++)
        assert_int_equal(ev.data.p[i], i % 2 ? '\n' : 'x');
    scratch_release();
    in = STR("data: a\ndata: b\n\n");
    assert_true(sse_next(&in, &ev));
    assert_true(str_eq(ev.data, STR("a\nb")));
    scratch_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_everywhere),
        cmocka_unit_test(leaves_the_unfinished),
        cmocka_unit_test(mixes_line_ends),
        cmocka_unit_test(joins_long_data),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
