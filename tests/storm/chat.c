/* chat: requests and answers of the storm's upstream. What tests/lib/upstream.py does for single
 * tests, fast enough for a storm: POST /v1/chat/completions, whole or streamed, with usage. */
#include "chat.h"
#include "../bench/wire.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PIECES_MAX = PARTS_MAX - 6 };

static const char *key;
static char *const *pieces;
static unsigned piece_count;

void chat_init(const char *wanted, char *const *text, unsigned n)
{
    key = wanted;
    pieces = text;
    piece_count = n < PIECES_MAX ? n : PIECES_MAX;
}

/* ---- requests ---- */

/* The headers that are looked at; those behind HEADERS_ASKED must not be sent on. */
static const char *const headers[] = {
    "host",
    "content-length",
    "authorization",
    "content-type",
    "accept-encoding",
    "te",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "keep-alive",
    "trailer",
    "cookie",
    "x-goog-api-key",
    "forwarded",
    "api-key",
    "connection",
    "transfer-encoding",
};
enum { HOST, LENGTH, AUTHORIZATION, TYPE, ENCODING, HEADERS_ASKED };
enum { HEADERS = sizeof headers / sizeof headers[0] };

static bool is_token(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("!#$%&'*+.^_`|~-", p[i]))
            return false;
    return n > 0;
}

/* One line of the head; stores the value of a header that is looked at. */
static const char *read_line(const char *line, size_t n, const char *value[HEADERS_ASKED])
{
    const char *colon = memchr(line, ':', n);
    if (!colon || !is_token(line, (size_t)(colon - line)))
        return "a header line that is none";
    for (const char *p = colon + 1; p < line + n; p++)
        if ((unsigned char)*p < ' ' && *p != '\t')
            return "a control character in a header";
    for (int i = 0; i < HEADERS; i++) {
        if (strlen(headers[i]) != (size_t)(colon - line) ||
            strncasecmp(line, headers[i], (size_t)(colon - line)))
            continue;
        if (i >= HEADERS_ASKED)
            return "a header that must not be sent on";
        if (value[i])
            return "a header that is there twice";
        value[i] = colon + 1 + strspn(colon + 1, " \t");
    }
    return NULL;
}

static const char *check_values(const char *const value[HEADERS_ASKED])
{
    size_t n = strlen(key);
    if (!value[HOST])
        return "no host";
    if (!value[LENGTH] || !isdigit((unsigned char)*value[LENGTH]))
        return "no content-length";
    if (value[ENCODING] && strncmp(value[ENCODING], "identity\r", 9))
        return "a content coding was asked for";
    if (!value[AUTHORIZATION] || strncmp(value[AUTHORIZATION], "Bearer ", 7) ||
        strncmp(value[AUTHORIZATION] + 7, key, n) || value[AUTHORIZATION][7 + n] != '\r')
        return "not the channel's credential";
    return NULL;
}

/* Whether it is one object with nothing torn off: outside of strings, brackets pair up. */
static bool is_object(const char *p, size_t n)
{
    char open[32];
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && p[i] == '\\') {
            i++;
        } else if (p[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && (p[i] == '{' || p[i] == '[')) {
            if (depth == sizeof open)
                return false;
            open[depth++] = p[i];
        } else if (!quoted && (p[i] == '}' || p[i] == ']')) {
            if (!depth || open[--depth] != (p[i] == '}' ? '{' : '['))
                return false;
            if (!depth)
                return i == n - 1 && *p == '{';
        }
    }
    return false;
}

long chat_length(char *in, size_t n, const char **why)
{
    static const char first[] = "POST /v1/chat/completions HTTP/1.1\r\n";
    const char *value[HEADERS_ASKED] = {0};
    in[n] = 0;
    char *end = strstr(in, "\r\n\r\n");
    *why = n == REQUEST_MAX - 1 ? "a request that is too long" : NULL;
    if (!end)
        return *why ? -1 : 0;
    if (strncmp(in, first, sizeof first - 1))
        *why = "a request line that nobody asked for";
    for (char *line = in + sizeof first - 1; !*why && line < end + 2;) {
        char *next = strstr(line, "\r\n");
        *why = read_line(line, (size_t)(next - line), value);
        line = next + 2;
    }
    if (!*why)
        *why = check_values(value);
    if (*why)
        return -1;
    size_t head = (size_t)(end + 4 - in), length = strtoul(value[LENGTH], NULL, 10);
    if (length >= REQUEST_MAX - head)
        *why = "a body that is too long";
    else if (n < head + length)
        return 0;
    else if (!is_object(in + head, length))
        *why = "a body that is not JSON";
    return *why ? -1 : (long)(head + length);
}

/* ---- answers ---- */

__attribute__((format(printf, 2, 3))) static void put(struct answer *a, const char *format, ...)
{
    size_t at = a->parts ? a->end[a->parts - 1] : 0;
    va_list list;
    va_start(list, format);
    int n = vsnprintf(a->data + at, ANSWER_MAX - at, format, list);
    va_end(list);
    if (n < 0 || (size_t)n >= ANSWER_MAX - at || a->parts == PARTS_MAX) {
        fprintf(stderr, "an answer that is too long\n");
        exit(1);
    }
    a->end[a->parts++] = at + (size_t)n;
}

/* An event as a chunk of its own. */
static void put_event(struct answer *a, const char *data)
{
    put(a, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
}

static void put_delta(struct answer *a, const char *model, const char *usage, const char *delta,
                      const char *finish)
{
    char event[2048];
    snprintf(event, sizeof event,
             "{\"id\":\"chatcmpl-storm\",\"object\":\"chat.completion.chunk\",\"created\":"
             "1770000000,\"model\":\"%s\",%s\"choices\":[{\"index\":0,\"delta\":{%s},"
             "\"finish_reason\":%s}]}",
             model, usage, delta, finish);
    put_event(a, event);
}

static const char *usage_json(void)
{
    static char text[128];
    snprintf(text, sizeof text,
             "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":%u,\"total_tokens\":%u}",
             piece_count, piece_count + 7);
    return text;
}

static void put_stream(struct answer *a, const char *model, bool asks_usage)
{
    const char *null_usage = asks_usage ? "\"usage\":null," : "";
    char text[1024];
    put(a, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
           "Transfer-Encoding: chunked\r\n\r\n");
    put_delta(a, model, null_usage, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
              "null");
    for (unsigned i = 0; i < piece_count; i++) {
        snprintf(text, sizeof text, "\"content\":%s", pieces[i]);
        put_delta(a, model, null_usage, text, "null");
    }
    put_delta(a, model, null_usage, "", "\"stop\"");
    if (asks_usage) {
        snprintf(text, sizeof text,
                 "{\"id\":\"chatcmpl-storm\",\"object\":\"chat.completion.chunk\",\"created\":"
                 "1770000000,\"model\":\"%s\",\"choices\":[],%s}",
                 model, usage_json());
        put_event(a, text);
    }
    put_event(a, "[DONE]");
    put(a, "0\r\n\r\n");
}

static void put_whole(struct answer *a, const char *model)
{
    char text[4096], body[8192];
    size_t n = 0;
    for (unsigned i = 0; i < piece_count; i++) /* a piece without its quotes */
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", (int)strlen(pieces[i]) - 2,
                              pieces[i] + 1);
    snprintf(body, sizeof body,
             "{\"id\":\"chatcmpl-storm\",\"object\":\"chat.completion\",\"created\":1770000000,"
             "\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
             "\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}"
             "],%s}",
             model, text, usage_json());
    put(a,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        "%zu\r\n\r\n",
        strlen(body));
    put(a, "%s", body);
}

void chat_answer(const char *request, struct answer *a)
{
    const char *body = strstr(request, "\r\n\r\n") + 4, *p = strstr(body, "\"model\"");
    char model[128] = "";
    if (p)
        sscanf(p + 7, " : \"%127[^\"]\"", model);
    a->parts = 0;
    if (wire_says(body, "\"stream\"", "true"))
        put_stream(a, model, wire_says(body, "\"include_usage\"", "true"));
    else
        put_whole(a, model);
}
