/* openai_response: whole answers, and streams event by event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/wire_openai_response.h"

static struct openai_event ev;
static const struct str who = {"openai", 6};

static unsigned feed(struct openai_stream *s, const char *name, const char *data)
{
    return openai_stream_event(s, who, str_c(name), str_c(data), &ev);
}

#define USAGE                                                                                      \
    "{\"prompt_tokens\":20,\"completion_tokens\":9,\"total_tokens\":29,\"prompt_tokens_details\":" \
    "{\"cached_tokens\":8,\"audio_tokens\":2},\"completion_tokens_details\":{\"reasoning_"         \
    "tokens\":"                                                                                    \
    "4}}"

static void follows_a_chat_stream(void **state)
{
    struct openai_stream s;
    openai_stream_init(&s, OP_CHAT);
    assert_true(sizeof s <= 128);
    assert_int_equal(feed(&s, "", ""), EV_LIFECYCLE);
    assert_int_equal(feed(&s, "", "{\"choices\":[],\"prompt_filter_results\":[{}]}"), EV_LIFECYCLE);
    assert_int_equal(feed(&s, "",
                          "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                          "\"finish_reason\":null}],\"usage\":null}"),
                     EV_LIFECYCLE);
    assert_int_equal(feed(&s, "", "{\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}"),
                     EV_CONTENT);
    assert_int_equal(feed(&s, "",
                          "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":"
                          "\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                          "\"arguments\":\"\"}}]}}]}"),
                     EV_CONTENT);
    assert_int_equal(s.out.bytes, 6);
    assert_int_equal(feed(&s, "", "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}"),
                     EV_CONTENT);
    assert_true(s.finished);
    assert_int_equal(feed(&s, "", "{\"choices\":[],\"usage\":" USAGE "}"),
                     EV_USAGE | EV_USAGE_ONLY);
    assert_true(str_eq(ev.usage_raw, STR(USAGE)));
    assert_int_equal(s.usage.in_uncached, 10);
    assert_int_equal(s.usage.cache_read, 8);
    assert_int_equal(s.usage.audio_in, 2);
    assert_int_equal(s.usage.out_text, 5);
    assert_int_equal(s.usage.out_reasoning, 4);
    assert_int_equal(feed(&s, "", "[DONE]"), EV_TERMINAL);
    assert_int_equal(feed(&s, "", "[DONE]"), EV_AFTER_END);
}

static void usage_beside_content_is_not_swallowed(void **state)
{
    struct openai_stream s;
    openai_stream_init(&s, OP_COMPLETIONS);
    assert_int_equal(
        feed(&s, "", "{\"choices\":[{\"text\":\"x\",\"finish_reason\":null}],\"usage\":" USAGE "}"),
        EV_CONTENT | EV_USAGE);
}

static enum err fails(enum llm_op op, const char *name, const char *data)
{
    struct openai_stream s;
    openai_stream_init(&s, op);
    assert_int_equal(feed(&s, name, data) & ~(unsigned)EV_USAGE, EV_ERROR);
    assert_int_equal(
        feed(&s, "", op == OP_RESPONSES ? "{\"type\":\"response.completed\"}" : "[DONE]"),
        EV_AFTER_END);
    return ev.fault.err;
}

static void sees_errors_in_band(void **state)
{
    assert_int_equal(fails(OP_CHAT, "", "{\"error\":{\"message\":\"boom\"}}"), ERR_UPSTREAM_ERROR);
    assert_string_equal(ev.fault.message, "boom");
    assert_int_equal(ev.fault.status, 502);
    assert_int_equal(fails(OP_CHAT, "", "{\"error\":{\"code\":429}}"), ERR_UPSTREAM_THROTTLE);
    assert_int_equal(fails(OP_CHAT, "", "{\"error\":{\"code\":\"503\"}}"), ERR_UPSTREAM_ERROR);
    assert_int_equal(ev.fault.status, 503);
    assert_int_equal(fails(OP_CHAT, "", "{\"error\":\"plain\"}"), ERR_UPSTREAM_ERROR);
    assert_string_equal(ev.fault.message, "plain");
    assert_int_equal(fails(OP_CHAT, "", "{\"object\":\"error\",\"message\":\"m\",\"code\":400}"),
                     ERR_UPSTREAM_REQUEST);
    assert_int_equal(fails(OP_CHAT, "error", "{\"message\":\"m\"}"), ERR_UPSTREAM_ERROR);
    assert_int_equal(fails(OP_CHAT, "error", "overloaded"), ERR_UPSTREAM_ERROR);
    assert_string_equal(ev.fault.message, "overloaded");
    assert_int_equal(fails(OP_CHAT, "",
                           "{\"choices\":[{\"delta\":{},\"finish_reason\":"
                           "\"insufficient_system_resource\"}]}"),
                     ERR_UPSTREAM_ERROR);
    assert_int_equal(fails(OP_RESPONSES, "error",
                           "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\","
                           "\"message\":\"slow\"}"),
                     ERR_UPSTREAM_THROTTLE);
    assert_int_equal(fails(OP_RESPONSES, "",
                           "{\"type\":\"response.failed\",\"response\":{\"error\":"
                           "{\"code\":\"server_error\",\"message\":\"m\"}}}"),
                     ERR_UPSTREAM_ERROR);
    assert_int_equal(fails(OP_RESPONSES, "", "[DONE]"), ERR_UPSTREAM_INCOMPLETE);
}

static void calls_broken_events_bad(void **state)
{
    static const char *const t[] = {"{\"choices\":[{\"del", "<html>", "7", "[DONE", "[1]"};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct openai_stream s;
        openai_stream_init(&s, OP_CHAT);
        assert_int_equal(feed(&s, "", t[i]), EV_BAD);
        assert_int_equal(ev.fault.err, ERR_UPSTREAM_PROTOCOL);
    }
}

static void follows_a_responses_stream(void **state)
{
    struct openai_stream s;
    openai_stream_init(&s, OP_RESPONSES);
    assert_int_equal(feed(&s, "response.created",
                          "{\"type\":\"response.created\",\"response\":{"
                          "\"error\":null},\"sequence_number\":0}"),
                     EV_LIFECYCLE);
    assert_int_equal(feed(&s, "",
                          "{\"type\":\"response.output_text.delta\",\"delta\":\"abc\","
                          "\"sequence_number\":4}"),
                     EV_CONTENT);
    assert_int_equal(s.out.bytes, 3);
    assert_int_equal(s.next_sequence, 5);
    assert_int_equal(feed(&s, "", "{\"type\":\"response.output_text.delta\",\"delta\":\"\"}"),
                     EV_LIFECYCLE);
    assert_int_equal(feed(&s, "", "{\"type\":\"response.web_search_call.searching\"}"), EV_CONTENT);
    assert_int_equal(feed(&s, "",
                          "{\"type\":\"response.incomplete\",\"response\":{\"status\":"
                          "\"incomplete\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}"),
                     EV_TERMINAL | EV_USAGE);
    assert_int_equal(s.usage.in_uncached, 3);
    assert_int_equal(s.usage.out_text, 2);
}

static void reads_whole_answers(void **state)
{
    struct openai_reply r;
    struct fault f;
    assert_int_equal(
        openai_reply_read(
            &r, OP_CHAT, who,
            STR("\n\n{\"model\":\"m-1\",\"choices\":[{"
                "\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":"
                "\"stop\"}],\"usage\":" USAGE "}"),
            &f),
        ERR_OK);
    assert_true(r.has_usage && r.finished);
    assert_true(str_eq(r.usage_raw, STR(USAGE)));
    assert_true(str_eq(r.model_raw, STR("\"m-1\"")));
    assert_int_equal(r.out.bytes, 5);
    assert_int_equal(usage_input_tokens(&r.usage), 20);
    assert_int_equal(usage_output_tokens(&r.usage), 9);
    assert_int_equal(openai_reply_read(&r, OP_EMBEDDINGS, who,
                                       STR("{\"data\":[],\"usage\":{"
                                           "\"prompt_tokens\":8,\"total_tokens\":8}}"),
                                       &f),
                     ERR_OK);
    assert_true(r.finished && r.usage.in_uncached == 8);
    assert_int_equal(openai_reply_read(&r, OP_CHAT, who, STR("<html>"), &f), ERR_UPSTREAM_PROTOCOL);
    assert_int_equal(f.status, 502);
    assert_int_equal(openai_reply_read(&r, OP_CHAT, who, STR("{\"choices\":[{"), NULL),
                     ERR_UPSTREAM_PROTOCOL);
    assert_int_equal(openai_reply_read(&r, OP_CHAT, who,
                                       STR("{\"error\":{\"code\":"
                                           "\"insufficient_quota\"}}"),
                                       &f),
                     ERR_UPSTREAM_KEY);
    assert_int_equal(f.status, 502);
}

static void splits_usage(void **state)
{
    static const struct {
        const char *json;
        struct usage want;
    } t[] = {
        {"{\"prompt_tokens\":10,\"prompt_cache_hit_tokens\":6,\"prompt_cache_miss_tokens\":4,"
         "\"completion_tokens\":3}",
         {.in_uncached = 4, .cache_read = 6, .out_text = 3}},
        {"{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":99,\"audio_tokens\":5}"
         "}",
         {.cache_read = 10}},
        {"{\"input_tokens\":10,\"output_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":2,"
         "\"cache_write_tokens\":3},\"output_tokens_details\":{\"reasoning_tokens\":5}}",
         {.in_uncached = 5, .cache_read = 2, .cache_write_5m = 3, .out_reasoning = 5}},
        {"{\"completion_tokens\":7,\"completion_tokens_details\":{\"audio_tokens\":4}}",
         {.out_text = 3, .audio_out = 4}},
        {"{\"prompt_tokens\":99999999999}", {.in_uncached = UINT32_MAX}},
    };
    struct json_doc d;
    struct usage u;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        assert_int_equal(json_parse(&d, str_c(t[i].json), NULL), ERR_OK);
        assert_true(usage_read_openai(&d, 0, &u));
        assert_memory_equal(&u, &t[i].want, sizeof u);
    }
    assert_int_equal(json_parse(&d, STR("{\"prompt_tokens\":-1}"), NULL), ERR_OK);
    assert_false(usage_read_openai(&d, 0, &u));
    assert_false(usage_read_openai(&d, JSON_NONE, &u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_chat_stream),
        cmocka_unit_test(usage_beside_content_is_not_swallowed),
        cmocka_unit_test(sees_errors_in_band),
        cmocka_unit_test(calls_broken_events_bad),
        cmocka_unit_test(follows_a_responses_stream),
        cmocka_unit_test(reads_whole_answers),
        cmocka_unit_test(splits_usage),
    };
    return cmocka_run_group_tests_name("openai_response", tests, NULL, NULL);
}
