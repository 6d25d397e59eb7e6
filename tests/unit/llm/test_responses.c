/* responses: what holds of every conversation: a request that is written, read and written again is
 * the same; a stream ends in the very object that a whole answer is; bounds and shortage of memory
 * are told. Conversations are drawn with a fixed seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "llm/codec.h"
#include "net/sse.h"

static const struct answer answer = {.op = OP_RESPONSES,
                                     .request_id = STR("01234567-89ab-cdef-0123-456789abcdef"),
                                     .model = STR("m"),
                                     .created_s = 5};
static const struct link no_link;
static struct arena a;
static uint32_t seed;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static struct str word(void)
{
    static const struct str words[] = {STR("a"),  STR("\xC3\xA4 \"quoted\""), STR("line\nline"),
                                       STR("\\"), STR("{\"x\":1}"),           STR("\x01")};
    return words[draw(sizeof words / sizeof *words)];
}

static struct part *part(struct part **list, enum part_type type)
{
    struct part *p = neutral_part(&a, type, list);
    assert_non_null(p);
    return p;
}

/* ---- requests ---- */

static struct str id_of(unsigned n)
{
    return arena_printf(&a, "call_%u", n);
}

static void draw_asked(struct part **list)
{
    for (uint32_t i = 0, n = 1 + draw(3); i < n; i++) {
        if (draw(3)) {
            part(list, PART_TEXT)->text = word();
            continue;
        }
        struct part *p = part(list, draw(2) ? PART_IMAGE : PART_DOCUMENT);
        if (draw(2))
            p->media.url = STR("https://example.com/x");
        else
            p->media.data = STR("AAAA");
        if (p->type == PART_IMAGE)
            p->media.mime = p->media.data.n ? STR("image/png") : STR_NULL;
    }
}

/* A turn of the model's with k calls from number `from` on. */
static void draw_said(struct part **list, unsigned from, unsigned k)
{
    if (draw(2)) {
        struct part *p = part(list, PART_REASONING);
        p->issuer = ISSUER_OPENAI;
        p->id = STR("rs_1");
        p->redacted = draw(2);
        if (p->redacted)
            p->data = STR("gAAA");
        else {
            p->text = word();
            p->signature = STR("gBBB");
        }
    }
    part(list, PART_TEXT)->text = word();
    for (unsigned i = 0; i < k; i++) {
        struct part *p = part(list, PART_TOOL_USE);
        p->id = id_of(from + i);
        p->name = STR("f");
        p->args = draw(2) ? STR("{\"a\":1}") : STR("not JSON");
    }
}

static void draw_request(struct neutral_request *r)
{
    unsigned calls = 0;
    neutral_request_init(r, OP_CHAT);
    for (uint32_t i = 0, n = draw(3); i < n; i++)
        part(&r->system, PART_TEXT)->text = word();
    for (uint32_t i = 0, n = 1 + draw(4); i < n; i++) {
        unsigned k = draw(3);
        draw_asked(&neutral_turn(&a, ROLE_USER, &r->turns)->parts);
        draw_said(&neutral_turn(&a, ROLE_ASSISTANT, &r->turns)->parts, calls, k);
        struct turn *t = k ? neutral_turn(&a, ROLE_USER, &r->turns) : NULL;
        for (unsigned c = 0; c < k; c++) {
            struct part *p = part(&t->parts, PART_TOOL_RESULT);
            p->id = id_of(calls + c);
            for (uint32_t j = 0, m = draw(3); j < m; j++)
                part(&p->parts, PART_TEXT)->text = word();
        }
        calls += k;
    }
    struct tool *t = draw(2) ? neutral_tool(&a, &r->tools) : NULL;
    if (t) {
        t->name = STR("f");
        t->schema = STR("{\"type\":\"object\"}");
        t->strict = (int8_t)draw(2);
        r->choice = (uint8_t)draw(5);
        r->choice_name = r->choice == CHOICE_NAMED ? t->name : STR_NULL;
    }
    r->effort = (uint8_t)draw(EFFORT_COUNT);
    r->temperature = draw(2) ? STR("0.5") : STR_NULL;
    r->max_tokens = draw(2) ? STR("1000") : STR_NULL;
    r->format = (uint8_t)draw(4);
    if (r->format == FORMAT_SCHEMA) {
        r->schema_name = STR("n");
        r->schema = STR("{\"type\":\"object\"}");
    }
}

static struct str write_request(struct neutral_request *r)
{
    static const struct model_caps caps = {.thinking = THINK_EFFORT};
    struct target t = {.model = STR("m"), .provider = STR("openai"), .caps = &caps};
    struct receipt receipt = {0};
    struct link link;
    struct err_info info;
    struct buf b;
    err_info_init(&info);
    buf_init(&b, 1 << 20);
    assert_int_equal(codec_responses.write_request(r, &t, &a, &b, &receipt, &link, &info), ERR_OK);
    assert_int_equal(receipt.n, 0);
    struct str body = arena_dup(&a, buf_view(&b));
    buf_release(&b);
    return body;
}

static void a_request_survives_the_trip(void **state)
{
    (void)state;
    seed = 1;
    for (int i = 0; i < 300; i++) {
        struct neutral_request r, back;
        struct json_doc d;
        struct err_info info;
        err_info_init(&info);
        arena_init(&a, 1 << 22);
        draw_request(&r);
        struct str body = write_request(&r);
        assert_int_equal(json_parse(&d, body, NULL), ERR_OK);
        if (codec_responses.read_request(&back, &d, STR_NULL, &a, &info))
            fail_msg("%s: %s in %.*s", info.field, info.text, STR_FMT(body));
        struct str again = write_request(&back);
        assert_string_equal(again.p, body.p);
        arena_release(&a);
    }
}

/* ---- answers ---- */

/* No two texts stand together: events do not tell where one ends. */
static void draw_reply(struct neutral_reply *r)
{
    struct neutral_candidate *c = arena_zalloc(&a, sizeof *c);
    enum part_type last = PART_IMAGE;
    *r = (struct neutral_reply){.id = STR("resp_up"), .model = STR("up"), .candidates = c};
    r->has_usage = draw(2);
    r->usage = (struct usage){.in_uncached = draw(100), .cache_read = draw(9), .out_text = draw(9)};
    c->finish = (uint8_t)(draw(2) ? FINISH_STOP : FINISH_LENGTH);
    for (uint32_t i = 0, n = draw(6); i < n; i++) {
        static const enum part_type types[] = {PART_TEXT, PART_TOOL_USE, PART_REASONING};
        enum part_type type = types[draw(3)];
        if (type == last && type == PART_TEXT)
            continue;
        struct part *p = part(&c->parts, last = type);
        if (type == PART_TOOL_USE) {
            p->id = id_of(i);
            p->name = STR("f");
            p->args = draw(2) ? STR("{\"a\":1}") : STR("{}");
            continue;
        }
        p->text = word();
        if (type == PART_REASONING) {
            p->issuer = ISSUER_ANTHROPIC;
            p->redacted = draw(3) == 0;
            *(p->redacted ? &p->data : &p->signature) = STR("c2ln");
            if (p->redacted)
                p->text = STR_NULL;
        }
    }
}

static void say(void *w, struct neutral_event ev, struct buf *out)
{
    codec_responses.write_event(w, &ev, out);
}

/* The events of calls, in two fragments each. */
static void say_call(void *w, const struct part *p, uint32_t tool, struct buf *out)
{
    say(w, (struct neutral_event){.type = EVENT_TOOL, .tool = tool, .id = p->id, .name = p->name},
        out);
    struct str head = str_make(p->args.p, 1);
    say(w, (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = tool, .text = head}, out);
    say(w,
        (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = tool, .text = str_from(p->args, 1)},
        out);
    say(w, (struct neutral_event){.type = EVENT_TOOL_END, .tool = tool}, out);
}

static void say_reply(void *w, const struct neutral_reply *r, struct buf *out)
{
    uint32_t tool = 0;
    say(w, (struct neutral_event){.type = EVENT_START, .id = r->id, .model = r->model}, out);
    for (const struct part *p = r->candidates->parts; p; p = p->next) {
        if (p->type == PART_TOOL_USE)
            say_call(w, p, tool++, out);
        else if (p->text.n)
            say(w,
                (struct neutral_event){.type = p->type == PART_TEXT ? EVENT_TEXT : EVENT_REASONING,
                                       .text = p->text},
                out);
        if (p->type == PART_REASONING)
            say(w,
                (struct neutral_event){.type = p->redacted ? EVENT_REDACTED : EVENT_SIGNATURE,
                                       .issuer = p->issuer,
                                       .text = p->redacted ? p->data : p->signature},
                out);
    }
    if (r->has_usage)
        say(w, (struct neutral_event){.type = EVENT_USAGE, .usage = &r->usage}, out);
    say(w, (struct neutral_event){.type = EVENT_FINISH, .finish = r->candidates->finish}, out);
    say(w, (struct neutral_event){.type = EVENT_END}, out);
}

/* The response object in the last event. */
static struct str last_response(struct str out)
{
    struct sse_event ev;
    struct str data = STR_NULL;
    struct json_doc d;
    while (sse_next(&out, &ev))
        data = ev.data;
    assert_int_equal(json_parse(&d, data, NULL), ERR_OK);
    return arena_dup(&a, json_raw(&d, json_get(&d, 0, STR("response"))));
}

static void a_stream_ends_in_the_whole_answer(void **state)
{
    (void)state;
    seed = 2;
    for (int i = 0; i < 300; i++) {
        struct neutral_reply r;
        struct buf whole, events;
        void *w = calloc(1, codec_responses.writer_bytes);
        arena_init(&a, 1 << 22);
        buf_init(&whole, 1 << 20);
        buf_init(&events, 1 << 20);
        draw_reply(&r);
        codec_responses.write_reply(&r, &answer, &a, &whole);
        codec_responses.writer_init(w, &answer);
        say_reply(w, &r, &events);
        assert_string_equal(last_response(buf_view(&events)).p, whole.p);
        codec_responses.writer_release(w);
        free(w);
        buf_release(&whole);
        buf_release(&events);
        arena_release(&a);
    }
}

static void an_answer_survives_the_trip(void **state)
{
    (void)state;
    seed = 3;
    for (int i = 0; i < 300; i++) {
        struct neutral_reply r, back;
        struct json_doc d;
        struct fault f;
        struct buf one, two;
        arena_init(&a, 1 << 22);
        buf_init(&one, 1 << 20);
        buf_init(&two, 1 << 20);
        draw_reply(&r);
        codec_responses.write_reply(&r, &answer, &a, &one);
        assert_int_equal(json_parse(&d, buf_view(&one), NULL), ERR_OK);
        assert_int_equal(codec_responses.read_reply(&back, &d, &no_link, STR("openai"), &a, &f),
                         ERR_OK);
        codec_responses.write_reply(&back, &answer, &a, &two);
        assert_string_equal(two.p, one.p);
        buf_release(&one);
        buf_release(&two);
        arena_release(&a);
    }
}

/* ---- bounds ---- */

static void a_writer_holds_so_much_and_says_so(void **state)
{
    static char text[1 << 20];
    struct buf out;
    void *w = calloc(1, codec_responses.writer_bytes);
    (void)state;
    memset(text, 'x', sizeof text);
    buf_init(&out, 64 << 20);
    codec_responses.writer_init(w, &answer);
    for (int i = 0; i < 8; i++) {
        say(w, (struct neutral_event){.type = EVENT_TEXT, .text = str_make(text, sizeof text)},
            &out);
        assert_false(buf_failed(&out));
    }
    say(w, (struct neutral_event){.type = EVENT_TEXT, .text = STR("x")}, &out);
    assert_true(buf_failed(&out));
    buf_reset(&out);
    say(w, (struct neutral_event){.type = EVENT_END}, &out);
    assert_true(buf_failed(&out)); /* and never again a terminal event */
    assert_int_equal(out.n, 0);
    codec_responses.writer_release(w);
    free(w);
    buf_release(&out);
}

static void a_writer_bounds_open_calls(void **state)
{
    struct buf out;
    void *w = calloc(1, codec_responses.writer_bytes);
    (void)state;
    buf_init(&out, 64 << 20);
    codec_responses.writer_init(w, &answer);
    for (uint32_t i = 0; i < 257; i++) {
        assert_false(buf_failed(&out));
        say(w, (struct neutral_event){.type = EVENT_TOOL, .tool = i, .name = STR("f")}, &out);
    }
    assert_true(buf_failed(&out));
    codec_responses.writer_release(w);
    free(w);
    buf_release(&out);
}

static void an_error_gets_the_next_sequence_number(void **state)
{
    struct buf out;
    void *w = calloc(1, codec_responses.writer_bytes);
    (void)state;
    buf_init(&out, 1 << 20);
    codec_responses.writer_init(w, &answer);
    assert_int_equal(codec_responses.writer_sequence(w), 0);
    say(w, (struct neutral_event){.type = EVENT_PING}, &out);
    assert_int_equal(codec_responses.writer_sequence(w), 0);
    say(w, (struct neutral_event){.type = EVENT_START}, &out);
    assert_int_equal(codec_responses.writer_sequence(w), 2);
    codec_responses.writer_release(w);
    free(w);
    buf_release(&out);
}

static void ignore(void *ctx, const struct neutral_event *ev)
{
    (void)ctx, (void)ev;
}

static void too_many_open_calls_upstream_are_a_fault(void **state)
{
    void *r = calloc(1, codec_responses.reader_bytes);
    struct arena scratch;
    struct fault f;
    enum err e = ERR_OK;
    char line[256];
    unsigned n = 0;
    (void)state;
    arena_init(&scratch, 1 << 20);
    codec_responses.reader_init(r, &no_link);
    while (!e && n < 100) {
        int len =
            snprintf(line, sizeof line,
                     "{\"type\":\"response.output_item.added\",\"output_index\":%u,"
                     "\"item\":{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}}",
                     n++);
        e = codec_responses.read_event(r, STR("openai"), STR_NULL, str_make(line, (size_t)len),
                                       &scratch, ignore, NULL, &f);
        arena_release(&scratch);
    }
    assert_int_equal(e, ERR_UPSTREAM_PROTOCOL);
    assert_int_equal(n, 65);
    free(r);
}

#ifdef LYSS_DEBUG
static void shortage_of_memory_is_told(void **state)
{
    (void)state;
    seed = 7;
    arena_init(&a, 1 << 22);
    struct neutral_reply r;
    do
        draw_reply(&r);
    while (!r.candidates->parts || !r.candidates->parts->next);
    for (uint64_t i = 1; i < 40; i++) {
        struct buf out;
        void *w = calloc(1, codec_responses.writer_bytes);
        buf_init(&out, 1 << 20);
        codec_responses.writer_init(w, &answer);
        mem_fail_at(i);
        say_reply(w, &r, &out);
        bool all = mem_fail_at(0) < i;
        bool ended = str_find(buf_view(&out), STR("event: response.completed")) >= 0 ||
                     str_find(buf_view(&out), STR("event: response.incomplete")) >= 0;
        assert_true(all || buf_failed(&out));
        assert_true(ended || buf_failed(&out));
        codec_responses.writer_release(w);
        free(w);
        buf_release(&out);
    }
    arena_release(&a);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_survives_the_trip),
        cmocka_unit_test(a_stream_ends_in_the_whole_answer),
        cmocka_unit_test(an_answer_survives_the_trip),
        cmocka_unit_test(a_writer_holds_so_much_and_says_so),
        cmocka_unit_test(a_writer_bounds_open_calls),
        cmocka_unit_test(an_error_gets_the_next_sequence_number),
        cmocka_unit_test(too_many_open_calls_upstream_are_a_fault),
#ifdef LYSS_DEBUG
        cmocka_unit_test(shortage_of_memory_is_told),
#endif
    };
    return cmocka_run_group_tests_name("responses", tests, NULL, NULL);
}
