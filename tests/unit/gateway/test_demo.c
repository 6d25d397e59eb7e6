/* The demo provider over its socket pair: a client on the same loop says HTTP/1.1 to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/json_read.h"
#include "gateway/demo/demo.h"

struct client {
    struct io io;
    struct deadline limit;
    struct loop *loop;
    struct demo *demo;
    int fd;
    bool ended, timed_out;
    size_t stop_at; /* bytes after which the loop is stopped; 0: at the end of the reply */
    size_t n;
    char got[1 << 20];
};

static bool whole(const struct client *c)
{
    struct str s = str_make(c->got, c->n);
    ptrdiff_t head = str_find(s, STR("\r\n\r\n"));
    if (head < 0)
        return false;
    ptrdiff_t length = str_find(s, STR("Content-Length: "));
    if (length >= 0 && length < head)
        return c->n == (size_t)head + 4 + strtoul(c->got + length + 16, NULL, 10);
    return str_ends(s, STR("\r\n0\r\n\r\n"));
}

static void on_ready(struct io *io, int events)
{
    struct client *c = (struct client *)io;
    (void)mem_fail_at(0); /* the test's own allocations succeed */
    ssize_t n = read(c->fd, c->got + c->n, sizeof c->got - 1 - c->n);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        c->n += (size_t)n;
    else
        c->ended = true;
    c->got[c->n] = 0;
    if (c->ended || (c->stop_at ? c->n >= c->stop_at : whole(c)))
        loop_stop(c->loop);
}

static void on_limit(struct deadline *d)
{
    struct client *c = (struct client *)((char *)d - offsetof(struct client, limit));
    c->timed_out = true;
    loop_stop(c->loop);
}

static void watch(struct client *c)
{
    c->fd = demo_open(c->demo);
    assert_true(c->fd >= 0);
    assert_int_equal(io_open(&c->io, c->loop, c->fd, IO_READ, on_ready), ERR_OK);
}

static int up(void **state)
{
    struct client *c = calloc(1, sizeof *c);
    c->loop = loop_new("test");
    assert_non_null(c->loop);
    assert_int_equal(demo_new(&c->demo, c->loop), ERR_OK);
    watch(c);
    *state = c;
    return 0;
}

static void on_closed(struct io *io)
{
    loop_stop(((struct client *)io)->loop);
}

static void hang_up(struct client *c)
{
    io_close(&c->io, on_closed);
    close(c->fd);
    loop_run(c->loop);
}

static int down(void **state)
{
    struct client *c = *state;
    hang_up(c);
    demo_close(&c->demo);
    loop_free(&c->loop);
    free(c);
    return 0;
}

static void turn(struct client *c)
{
    deadline_set(c->loop, &c->limit, loop_now_ms(c->loop) + 30000, on_limit);
    loop_run(c->loop);
    deadline_clear(&c->limit);
    assert_false(c->timed_out);
}

static void send_request(struct client *c, const char *method, const char *path, const char *body)
{
    char head[256];
    int n =
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: demo\r\nContent-Length: %zu\r\n\r\n",
                 method, path, strlen(body));
    c->n = 0;
    c->got[0] = 0;
    assert_int_equal(write(c->fd, head, (size_t)n), n);
    assert_int_equal(write(c->fd, body, strlen(body)), strlen(body));
}

static const char *ask(struct client *c, const char *path, const char *body)
{
    send_request(c, body[0] ? "POST" : "GET", path, body);
    turn(c);
    return c->got;
}

static int status_of(const struct client *c)
{
    return c->n > 12 ? atoi(c->got + 9) : 0;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in %s", part, text);
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

/* The reply's body, parsed. */
static struct json_doc body_of(struct client *c)
{
    struct json_doc d;
    const char *body = strstr(c->got, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(json_parse(&d, str_c(body + 4), NULL), ERR_OK);
    return d;
}

/* "choices.0.message.content": by name, or the first element for a digit. */
static uint32_t at(const struct json_doc *d, const char *path)
{
    struct str rest = str_c(path), part;
    uint32_t i = json_root(d);
    while (str_split(&rest, '.', &part)) {
        if (part.p[0] >= '0' && part.p[0] <= '9') {
            i = json_child(d, i);
            for (int k = part.p[0] - '0'; k > 0; k--)
                i = json_sibling(d, 0, i);
        } else {
            i = json_get(d, i, part);
        }
        if (i == JSON_NONE)
            fail_msg("no %s", path);
    }
    return i;
}

static int64_t number_at(const struct json_doc *d, const char *path)
{
    int64_t v = -1;
    assert_true(json_i64(d, at(d, path), &v));
    return v;
}

static struct str string_at(const struct json_doc *d, const char *path, struct arena *a)
{
    struct str s;
    assert_true(json_string(d, at(d, path), a, &s));
    return s;
}

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"Hello there\"}]"

static void test_whole(void **state)
{
    struct client *c = *state;
    ask(c, "/v1/chat/completions", "{\"model\":\"demo\"," USER "}");
    assert_int_equal(status_of(c), 200);
    struct json_doc d = body_of(c);
    assert_true(json_string_is(&d, at(&d, "object"), STR("chat.completion")));
    assert_true(json_string_is(&d, at(&d, "system_fingerprint"), STR("lyss-demo")));
    assert_true(json_string_is(&d, at(&d, "choices.0.finish_reason"), STR("stop")));
    assert_has(c->got, "Lyss");
    assert_true(number_at(&d, "usage.prompt_tokens") > 0);
    assert_true(number_at(&d, "usage.completion_tokens") > 40);
    assert_int_equal(number_at(&d, "usage.total_tokens"),
                     number_at(&d, "usage.prompt_tokens") +
                         number_at(&d, "usage.completion_tokens"));
    assert_int_equal(demo_busy(c->demo), 0);
}

static void test_stream(void **state)
{
    struct client *c = *state;
    uint64_t from_ms = loop_now_ms(c->loop);
    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo\",\"stream\":true,\"stream_options\":{\"include_usage\":true}," USER
        "}");
    assert_int_equal(status_of(c), 200);
    assert_has(c->got, "Content-Type: text/event-stream\r\n");
    assert_has(c->got, "\"delta\":{\"role\":\"assistant\",\"content\":\"\"");
    assert_has(c->got, "\"finish_reason\":\"stop\"");
    assert_has(c->got, "data: [DONE]\n\n");
    /* As many pieces as the usage says, beside the first, empty one. */
    char usage[64];
    unsigned pieces = count(c->got, "\"delta\":{\"content\":\"");
    snprintf(usage, sizeof usage, "\"completion_tokens\":%u,", pieces);
    assert_has(c->got, usage);
    assert_int_equal(count(c->got, "\"usage\":null"), pieces + 2);
    assert_int_equal(count(c->got, "\"usage\":{"), 1);
    /* Paced: not at once. (Not more is asked of a machine under load.) */
    assert_true(loop_now_ms(c->loop) - from_ms >= 1200);
    /* The connection serves on; without include_usage there is none. */
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-fast\",\"stream\":true," USER "}");
    assert_int_equal(count(c->got, "\"usage\""), 0);
    assert_int_equal(count(c->got, "\"delta\":{\"content\":\""), pieces);
}

static void test_limits(void **state)
{
    struct client *c = *state;
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-fast\",\"max_tokens\":7," USER "}");
    struct json_doc d = body_of(c);
    assert_true(json_string_is(&d, at(&d, "choices.0.finish_reason"), STR("length")));
    assert_int_equal(number_at(&d, "usage.completion_tokens"), 7);
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-fast\",\"stop\":[\" is\"]," USER "}");
    d = body_of(c);
    struct arena a;
    arena_init(&a, 65536);
    assert_true(str_find(string_at(&d, "choices.0.message.content", &a), STR(" is")) < 0);
    assert_true(json_string_is(&d, at(&d, "choices.0.finish_reason"), STR("stop")));
    ask(c, "/v1/responses", "{\"model\":\"demo-fast\",\"max_output_tokens\":3,\"input\":\"x\"}");
    d = body_of(c);
    assert_true(json_string_is(&d, at(&d, "status"), STR("incomplete")));
    assert_true(json_string_is(&d, at(&d, "incomplete_details.reason"), STR("max_output_tokens")));
    arena_release(&a);
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{"    \
    "\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{"                \
    "\"type\":\"integer\",\"minimum\":5,\"maximum\":9},\"unit\":{\"enum\":[\"celsius\",\"f\"]}},"  \
    "\"required\":[\"city\"]}}},{\"type\":\"function\",\"function\":{\"name\":\"clock\"}}]"

static void test_tools(void **state)
{
    struct client *c = *state;
    struct arena a;
    struct json_doc args;
    arena_init(&a, 65536);
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-fast\"," TOOLS "," USER "}");
    struct json_doc d = body_of(c);
    assert_true(json_string_is(&d, at(&d, "choices.0.finish_reason"), STR("tool_calls")));
    assert_int_equal(json_size(&d, at(&d, "choices.0.message.tool_calls")), 1);
    struct str s = string_at(&d, "choices.0.message.tool_calls.0.function.arguments", &a);
    assert_int_equal(json_parse(&args, s, NULL), ERR_OK);
    assert_true(json_is(&args, at(&args, "city"), JSON_STRING));
    assert_int_equal(number_at(&args, "days"), 5);
    assert_true(json_string_is(&args, at(&args, "unit"), STR("celsius")));
    arena_release(&a);

    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo-parallel\",\"stream\":true," TOOLS "," USER "}");
    assert_int_equal(count(c->got, "\"type\":\"function\""), 2);
    assert_has(c->got, "{\"index\":1,\"id\":\"call_");
    assert_true(count(c->got, "[{\"index\":0,\"function\":{\"arguments\":\"") > 1);

    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo-fast\"," TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":"
        "{\"name\":\"clock\"}}," USER "}");
    assert_has(c->got, "\"name\":\"clock\",\"arguments\":\"{}\"");

    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo-fast\"," TOOLS ",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"sunny\"}]}");
    assert_has(c->got, "\"finish_reason\":\"stop\"");
}

static void test_json(void **state)
{
    struct client *c = *state;
    struct arena a;
    struct json_doc v;
    arena_init(&a, 65536);
    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo-fast\"," USER ",\"response_format\":{\"type\":\"json_schema\","
        "\"json_schema\":{\"name\":\"n\",\"schema\":{\"$defs\":{\"node\":{\"type\":\"object\","
        "\"properties\":{\"value\":{\"type\":\"number\",\"exclusiveMinimum\":2},\"next\":{"
        "\"anyOf\":"
        "[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},\"required\":[\"value\",\"next\"]}},"
        "\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\",\"items\":{\"$ref\":"
        "\"#/$defs/node\"},\"minItems\":2},\"when\":{\"type\":\"string\",\"format\":\"date-time\"},"
        "\"ok\":{\"type\":[\"boolean\",\"null\"]}}}}}}");
    struct json_doc d = body_of(c);
    struct str s = string_at(&d, "choices.0.message.content", &a);
    assert_int_equal(json_parse(&v, s, NULL), ERR_OK);
    assert_int_equal(json_size(&v, at(&v, "list")), 2);
    double x = 0;
    assert_true(json_double(&v, at(&v, "list.0.value"), &x) && x > 2);
    assert_true(json_is(&v, at(&v, "ok"), JSON_TRUE));
    assert_true(json_string_is(&v, at(&v, "when"), STR("2026-01-15T12:00:00Z")));
    /* A schema that is nothing but itself ends too. */
    ask(c, "/v1/responses",
        "{\"model\":\"demo-fast\",\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\","
        "\"name\":\"n\",\"schema\":{\"$ref\":\"#\"}}}}");
    assert_int_equal(status_of(c), 200);
    ask(c, "/v1/chat/completions",
        "{\"model\":\"demo-fast\"," USER ",\"response_format\":{\"type\":\"json_object\"}}");
    d = body_of(c);
    s = string_at(&d, "choices.0.message.content", &a);
    assert_int_equal(json_parse(&v, s, NULL), ERR_OK);
    assert_true(json_is(&v, json_root(&v), JSON_OBJECT));
    arena_release(&a);
}

static void test_responses(void **state)
{
    struct client *c = *state;
    static const char *const events[] = {
        "response.created",           "response.in_progress",
        "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done",
        "response.completed",
    };
    const char *p =
        ask(c, "/v1/responses", "{\"model\":\"demo-fast\",\"stream\":true,\"input\":\"Hello\"}");
    unsigned all = count(p, "event: ");
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        char line[64];
        snprintf(line, sizeof line, "event: %s\n", events[i]);
        const char *next = strstr(p, line);
        if (!next)
            fail_msg("%s is missing or too early", events[i]);
        p = next;
    }
    for (unsigned i = 0; i < all; i++) {
        char number[64];
        snprintf(number, sizeof number, "\"sequence_number\":%u,", i);
        assert_int_equal(count(c->got, number), 1);
    }
    ask(c, "/v1/responses",
        "{\"model\":\"demo-fast\",\"stream\":true,\"input\":\"Hello\",\"tools\":[{\"type\":"
        "\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}]}");
    assert_has(c->got, "event: response.function_call_arguments.done\n");
    assert_has(c->got, "event: response.completed\n");
}

static void test_others(void **state)
{
    struct client *c = *state;
    ask(c, "/v1/models", "");
    assert_has(c->got, "\"id\":\"demo-parallel\"");
    ask(c, "/v1/models/demo-slow", "");
    assert_has(c->got, "{\"id\":\"demo-slow\",\"object\":\"model\"");
    ask(c, "/v1/models/gpt", "");
    assert_int_equal(status_of(c), 404);
    ask(c, "/v1/completions", "{\"model\":\"demo-fast\",\"stream\":true,\"prompt\":\"Once\"}");
    assert_has(c->got, "\"object\":\"text_completion\"");
    assert_has(c->got, "data: [DONE]\n\n");
    ask(c, "/v1/embeddings", "{\"model\":\"demo\",\"input\":[\"a\",\"b\"],\"dimensions\":8}");
    struct json_doc d = body_of(c);
    assert_int_equal(json_size(&d, at(&d, "data")), 2);
    assert_int_equal(json_size(&d, at(&d, "data.1.embedding")), 8);
    ask(c, "/v1/embeddings",
        "{\"model\":\"demo\",\"input\":\"a\",\"dimensions\":4,\"encoding_format\":\"base64\"}");
    d = body_of(c);
    assert_int_equal(json_raw(&d, at(&d, "data.0.embedding")).n, 24 + 2); /* 16 bytes, quotes */
}

static void test_errors(void **state)
{
    struct client *c = *state;
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-error\"," USER "}");
    assert_int_equal(status_of(c), 500);
    assert_has(c->got, "{\"error\":{\"message\":");
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-ratelimit\"," USER "}");
    assert_int_equal(status_of(c), 429);
    assert_has(c->got, "Retry-After: 2\r\n");
    ask(c, "/v1/chat/completions", "{\"model\":\"gpt\"," USER "}");
    assert_int_equal(status_of(c), 404);
    ask(c, "/v1/chat/completions", "{\"model\":\"demo\",");
    assert_int_equal(status_of(c), 400);
    ask(c, "/v1/nothing", "{}");
    assert_int_equal(status_of(c), 404);
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-cut\",\"stream\":true," USER "}");
    assert_true(c->ended);
    assert_has(c->got, "\"delta\":{\"content\":\"");
    assert_null(strstr(c->got, "[DONE]"));
    assert_int_equal(demo_busy(c->demo), 0);
}

static void test_gone(void **state)
{
    struct client *c = *state;
    c->stop_at = 1000;
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-slow\",\"stream\":true," USER "}");
    assert_int_equal(demo_busy(c->demo), 1);
    hang_up(c);
    c->stop_at = 0;
    watch(c); /* the next request's answer comes after the first one's end was seen */
    ask(c, "/v1/chat/completions", "{\"model\":\"demo\",\"max_tokens\":9," USER "}");
    assert_int_equal(status_of(c), 200);
    assert_int_equal(demo_busy(c->demo), 0);
}

/* The answer repeats what the request holds in each of its first two events: more than the socket
 * takes at once, so that the pieces wait for the reader. */
static void test_slow_reader(void **state)
{
    struct client *c = *state;
    static char pad[30001], request[125000];
    memset(pad, 'x', sizeof pad - 1);
    snprintf(request, sizeof request,
             "{\"model\":\"demo-fast\",\"stream\":true,\"input\":\"x\",\"instructions\":\"%s\","
             "\"tools\":[{\"type\":\"a\",\"b\":\"%s\"}],\"tool_choice\":{\"a\":\"%s\"},"
             "\"text\":{\"format\":{\"type\":\"text\",\"a\":\"%s\"}}}",
             pad, pad, pad, pad);
    for (int i = 0; i < 3; i++) {
        ask(c, "/v1/responses", request);
        assert_true(c->n > 3 * 120000);
        assert_has(c->got, "event: response.completed\n");
    }
    assert_int_equal(demo_busy(c->demo), 0);
}

static void test_closed_under_way(void **state)
{
    struct client *c = *state;
    c->stop_at = 1000;
    ask(c, "/v1/chat/completions", "{\"model\":\"demo-slow\",\"stream\":true," USER "}");
    assert_int_equal(demo_busy(c->demo), 1); /* down() closes the demo; nothing may leak */
}

/* Whichever allocation fails: the answer is whole, an error, or visibly broken off. */
static void test_no_memory(void **state)
{
    struct client *c = *state;
    static const char *const bodies[] = {
        "{\"model\":\"demo-fast\",\"stream\":true," USER "}",
        "{\"model\":\"demo-parallel\",\"max_tokens\":9," TOOLS "," USER "}",
    };
    for (size_t b = 0; b < sizeof bodies / sizeof *bodies; b++)
        for (unsigned i = 1; i < 25; i++) {
            send_request(c, "POST", "/v1/chat/completions", bodies[b]);
            (void)mem_fail_at(i);
            turn(c);
            (void)mem_fail_at(0);
            if (!c->ended && status_of(c) != 200)
                assert_int_equal(status_of(c), 503);
            if (c->ended) {
                hang_up(c);
                c->ended = false;
                watch(c);
            }
            assert_int_equal(demo_busy(c->demo), 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, up, down),
        cmocka_unit_test_setup_teardown(test_stream, up, down),
        cmocka_unit_test_setup_teardown(test_limits, up, down),
        cmocka_unit_test_setup_teardown(test_tools, up, down),
        cmocka_unit_test_setup_teardown(test_json, up, down),
        cmocka_unit_test_setup_teardown(test_responses, up, down),
        cmocka_unit_test_setup_teardown(test_others, up, down),
        cmocka_unit_test_setup_teardown(test_errors, up, down),
        cmocka_unit_test_setup_teardown(test_gone, up, down),
        cmocka_unit_test_setup_teardown(test_slow_reader, up, down),
        cmocka_unit_test_setup_teardown(test_no_memory, up, down),
        cmocka_unit_test_setup_teardown(test_closed_under_way, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
