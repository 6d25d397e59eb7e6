/* golden/round_trip: random requests, answers and streams, as far as chat completions can say them,
 * written in that form and read back: nothing may change.  Seeded, so that a failure comes again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/rng.h"
#include "llm/codec.h"
#include "net/sse.h"
#include "neutral_json.h"

#define ROUNDS 400

static struct arena a;

static unsigned below(unsigned n)
{
    return (unsigned)rng_below(n);
}

static bool coin(void)
{
    return below(2) == 0;
}

static struct str pick_text(void)
{
    static const struct str texts[] = {STR("hello"), STR("a \"quoted\"\n\tline\\"),
                                       STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), STR(" "),
                                       STR("</script>\x01")};
    return texts[below(sizeof texts / sizeof *texts)];
}

static struct str pick_raw(void)
{
    static const struct str numbers[] = {STR("0.50"), STR("1"), STR("1e0"), STR("0.123456789")};
    return numbers[below(sizeof numbers / sizeof *numbers)];
}

static struct part *add(struct part **list, enum part_type type)
{
    struct part *p = neutral_part(&a, type, list);
    assert_non_null(p);
    if (type == PART_TEXT || type == PART_REFUSAL || type == PART_REASONING)
        p->text = pick_text();
    return p;
}

/* ---- requests ---- */

static void make_media(struct part **list)
{
    struct part *p;
    switch (below(4)) {
    case 0:
        p = add(list, PART_IMAGE);
        p->media.mime = STR("image/webp");
        p->media.data = STR("AAEC");
        break;
    case 1:
        p = add(list, PART_IMAGE);
        p->media.url = STR("https://example.com/a.png?b=c&d");
        p->media.detail = coin() ? STR("high") : STR_NULL;
        break;
    case 2:
        p = add(list, PART_AUDIO);
        p->media.mime = coin() ? STR("audio/mpeg") : STR("audio/wav");
        p->media.data = STR("AAEC");
        break;
    default:
        p = add(list, PART_DOCUMENT);
        p->media.mime = STR("application/pdf");
        p->media.data = STR("AAEC");
        p->media.name = STR("a b.pdf");
    }
}

static void make_user(struct turn *t)
{
    t->name = coin() ? STR("bob") : STR_NULL;
    for (unsigned n = 1 + below(3); n; n--)
        if (coin())
            add(&t->parts, PART_TEXT);
        else
            make_media(&t->parts);
}

static void make_assistant(struct neutral_request *r, struct turn *t)
{
    unsigned calls = below(3);
    for (unsigned n = below(3); n; n--)
        add(&t->parts, PART_TEXT);
    if (!t->parts && !calls)
        add(&t->parts, PART_REFUSAL);
    for (unsigned i = 0; i < calls; i++) {
        struct part *p = add(&t->parts, PART_TOOL_USE);
        p->id = arena_printf(&a, "call_%u_%u", below(1000), i);
        p->name = STR("f");
        p->args = coin() ? STR("{\"a\": [1, \"}\"]}") : STR("{}");
        struct turn *result = neutral_turn(&a, ROLE_USER, &r->turns);
        assert_non_null(result);
        struct part *q = add(&result->parts, PART_TOOL_RESULT);
        q->id = p->id;
        for (unsigned n = below(3); n; n--)
            add(&q->parts, PART_TEXT);
    }
}

static void make_tools(struct neutral_request *r)
{
    for (unsigned n = below(3); n; n--) {
        struct tool *t = neutral_tool(&a, &r->tools);
        assert_non_null(t);
        t->name = n == 1 ? STR("f") : STR("g");
        t->description = coin() ? pick_text() : STR_NULL;
        t->schema = coin() ? STR("{\"type\":\"object\",\"x\":1.0}") : STR_NULL;
        t->strict = (int8_t)(below(3) - 1);
    }
    if (!r->tools)
        return;
    r->choice = (uint8_t)below(CHOICE_NAMED + 1);
    if (r->choice == CHOICE_NAMED)
        r->choice_name = STR("f");
    r->parallel = (int8_t)(below(3) - 1);
}

static void make_options(struct neutral_request *r)
{
    struct str *const numbers[] = {&r->temperature, &r->top_p, &r->top_k, &r->frequency_penalty,
                                   &r->presence_penalty};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = coin() ? pick_raw() : STR_NULL;
    struct str *const whole[] = {&r->seed, &r->max_tokens, &r->n};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        *whole[i] = coin() ? STR("7") : STR_NULL;
    for (unsigned n = below(5); n; n--)
        neutral_text(&a, &r->stop, pick_text());
    r->logprobs = (int8_t)(below(3) - 1);
    r->top_logprobs = r->logprobs > 0 ? STR("3") : STR_NULL;
    r->effort = (uint8_t)(coin() ? EFFORT_UNSET : EFFORT_MINIMAL + below(6));
    r->user = coin() ? pick_text() : STR_NULL;
    r->metadata = coin() ? STR("{\"a\":\"b\"}") : STR_NULL;
    r->store = (int8_t)(below(3) - 1);
    r->verbosity = coin() ? STR("low") : STR_NULL;
    r->format = (uint8_t)below(FORMAT_SCHEMA + 1);
    if (r->format == FORMAT_SCHEMA) {
        r->schema_name = STR("s-1");
        r->schema_description = coin() ? pick_text() : STR_NULL;
        r->schema = STR("{\"type\":\"object\"}");
        r->schema_strict = (int8_t)(below(3) - 1);
    }
    if (coin())
        neutral_extra(&a, &r->extras, STR("prediction"), STR("{\"type\":\"content\"}"));
}

static void make_request(struct neutral_request *r)
{
    neutral_request_init(r, OP_CHAT);
    r->model = STR("gpt");
    for (unsigned n = below(3); n; n--)
        add(&r->system, PART_TEXT);
    for (unsigned n = 1 + below(5); n; n--) {
        bool user = coin();
        struct turn *t = neutral_turn(&a, user ? ROLE_USER : ROLE_ASSISTANT, &r->turns);
        assert_non_null(t);
        if (user)
            make_user(t);
        else
            make_assistant(r, t);
    }
    make_tools(r);
    make_options(r);
}

static void same_text(struct buf *got, struct buf *want)
{
    assert_false(buf_failed(got) || buf_failed(want));
    assert_string_equal(got->p, want->p);
    buf_reset(got);
    buf_reset(want);
}

static void requests(void **state)
{
    static const struct model_caps caps;
    struct buf want, body, got;
    buf_init(&want, 1 << 20);
    buf_init(&body, 1 << 20);
    buf_init(&got, 1 << 20);
    rng_seed(1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct neutral_request r, again;
        struct target t = {.model = STR("gpt"), .provider = STR("openai"), .caps = &caps};
        struct receipt receipt = {.n = 0};
        struct link link;
        struct err_info info;
        struct json_doc d;
        arena_init(&a, 4 << 20);
        make_request(&r);
        neutral_json_request(&r, &want);
        assert_int_equal(codec_chat.write_request(&r, &t, &a, &body, &receipt, &link, &info),
                         ERR_OK);
        assert_int_equal(receipt.n, 0);
        assert_int_equal(json_parse(&d, buf_view(&body), &info), ERR_OK);
        enum err e = codec_chat.read_request(&again, &d, STR_NULL, &a, &info);
        if (e)
            fail_msg("%s\n%s", info.text, body.p);
        neutral_json_request(&again, &got);
        same_text(&got, &want);
        assert_false(arena_failed(&a));
        buf_reset(&body);
        arena_release(&a);
    }
    buf_release(&want);
    buf_release(&body);
    buf_release(&got);
}

/* ---- whole answers ---- */

static void make_candidate(struct neutral_candidate *c, unsigned index)
{
    static const enum finish finishes[] = {FINISH_STOP, FINISH_LENGTH, FINISH_CONTENT_FILTER};
    c->finish = (uint8_t)finishes[below(3)];
    for (unsigned n = below(3); n; n--) {
        struct part *p = add(&c->parts, PART_REASONING);
        p->issuer = ISSUER_ANTHROPIC;
        p->redacted = coin();
        *(p->redacted ? &p->data : &p->signature) = STR("c2ln");
        if (p->redacted)
            p->text = STR_NULL;
    }
    if (coin())
        add(&c->parts, PART_TEXT);
    if (coin())
        add(&c->parts, PART_REFUSAL);
    for (unsigned n = below(3); n; n--) {
        struct part *p = add(&c->parts, PART_TOOL_USE);
        p->id = arena_printf(&a, "call_%u_%u", index, n);
        p->name = STR("f");
        p->args = STR("{\"a\":\"\\u00e4\"}");
        c->finish = FINISH_TOOL_CALLS;
    }
    if (coin())
        c->logprobs = STR("{\"content\":[]}");
}

static void make_reply(struct neutral_reply *r)
{
    struct neutral_candidate **end = &r->candidates;
    *r = (struct neutral_reply){
        .id = STR("chatcmpl-1"), .model = pick_text(), .created_s = 5, .has_usage = coin()};
    if (r->has_usage)
        r->usage = (struct usage){.in_uncached = below(100),
                                  .cache_read = below(100),
                                  .cache_write_5m = below(2) * below(100),
                                  .out_text = below(100),
                                  .out_reasoning = below(100),
                                  .audio_in = below(9),
                                  .audio_out = below(9)};
    for (unsigned n = 0; n == 0 || coin(); n++) {
        *end = arena_zalloc(&a, sizeof **end);
        assert_non_null(*end);
        make_candidate(*end, n);
        end = &(*end)->next;
    }
}

static void replies(void **state)
{
    struct buf want, body, got;
    struct answer as = {.op = OP_CHAT};
    struct link link = {false};
    buf_init(&want, 1 << 20);
    buf_init(&body, 1 << 20);
    buf_init(&got, 1 << 20);
    rng_seed(2);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct neutral_reply r, again;
        struct json_doc d;
        struct fault f;
        arena_init(&a, 4 << 20);
        make_reply(&r);
        neutral_json_reply(&r, &want);
        codec_chat.write_reply(&r, &as, &a, &body);
        assert_int_equal(json_parse(&d, buf_view(&body), NULL), ERR_OK);
        assert_int_equal(codec_chat.read_reply(&again, &d, &link, STR("openai"), &a, &f), ERR_OK);
        neutral_json_reply(&again, &got);
        same_text(&got, &want);
        buf_reset(&body);
        arena_release(&a);
    }
    buf_release(&want);
    buf_release(&body);
    buf_release(&got);
}

/* ---- streams ---- */

struct stream {
    char *writer;
    struct buf bytes, want;
};

static void say(struct stream *s, struct neutral_event ev)
{
    codec_chat.write_event(s->writer, &ev, &s->bytes);
    neutral_json_event(&ev, &s->want);
    buf_char(&s->want, '\n');
}

static void say_texts(struct stream *s, enum event_type type)
{
    for (unsigned n = below(4); n; n--)
        say(s, (struct neutral_event){.type = type, .text = pick_text()});
}

static void say_calls(struct stream *s, unsigned calls)
{
    for (uint32_t i = 0; i < calls; i++) {
        say(s, (struct neutral_event){.type = EVENT_TOOL,
                                      .tool = i,
                                      .id = arena_printf(&a, "call_%u", i),
                                      .name = STR("f")});
        say(s, (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = i, .text = STR("{\"a\":")});
        say(s,
            (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = i, .text = STR("\"}\\\"\"}")});
        say(s, (struct neutral_event){.type = EVENT_TOOL_END, .tool = i});
    }
}

static void say_stream(struct stream *s)
{
    struct usage usage = {.in_uncached = 3, .cache_read = 2, .out_text = 5, .out_reasoning = 1};
    unsigned calls = below(3);
    say(s,
        (struct neutral_event){.type = EVENT_START, .id = STR("chatcmpl-x"), .model = STR("m\"1")});
    say_texts(s, EVENT_REASONING);
    if (coin())
        say(s, (struct neutral_event){
                   .type = EVENT_SIGNATURE, .text = STR("c2ln"), .issuer = ISSUER_ANTHROPIC});
    if (coin())
        say(s, (struct neutral_event){
                   .type = EVENT_REDACTED, .text = STR("AA=="), .issuer = ISSUER_GEMINI});
    say_texts(s, EVENT_TEXT);
    say_texts(s, EVENT_REFUSAL);
    if (coin())
        say(s, (struct neutral_event){.type = EVENT_LOGPROBS, .text = STR("{\"content\":[]}")});
    say_calls(s, calls);
    say(s, (struct neutral_event){.type = EVENT_FINISH,
                                  .finish = (uint8_t)(calls    ? FINISH_TOOL_CALLS
                                                      : coin() ? FINISH_STOP
                                                               : FINISH_LENGTH)});
    say(s, (struct neutral_event){.type = EVENT_USAGE, .usage = &usage});
    say(s, (struct neutral_event){.type = EVENT_END});
}

static void hear(void *ctx, const struct neutral_event *ev)
{
    neutral_json_event(ev, ctx);
    buf_char(ctx, '\n');
}

static void hear_stream(struct str bytes, struct buf *got)
{
    struct link link = {false};
    struct sse_event ev;
    struct fault f;
    char *reader = calloc(1, codec_chat.reader_bytes);
    codec_chat.reader_init(reader, &link);
    while (sse_next(&bytes, &ev))
        assert_int_equal(
            codec_chat.read_event(reader, STR("openai"), ev.name, ev.data, &a, hear, got, &f),
            ERR_OK);
    assert_int_equal(bytes.n, 0);
    free(reader);
}

static void streams(void **state)
{
    struct answer as = {.op = OP_CHAT, .include_usage = true};
    struct stream s;
    struct buf got;
    buf_init(&s.bytes, 1 << 20);
    buf_init(&s.want, 1 << 20);
    buf_init(&got, 1 << 20);
    rng_seed(3);
    for (unsigned i = 0; i < ROUNDS; i++) {
        arena_init(&a, 4 << 20);
        s.writer = calloc(1, codec_chat.writer_bytes);
        codec_chat.writer_init(s.writer, &as);
        say_stream(&s);
        hear_stream(buf_view(&s.bytes), &got);
        same_text(&got, &s.want);
        buf_reset(&s.bytes);
        free(s.writer);
        arena_release(&a);
    }
    buf_release(&s.bytes);
    buf_release(&s.want);
    buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(replies),
        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests_name("golden/round_trip", tests, NULL, NULL);
}
