/* http_reply: replies and streams on their way out: put together by copying, sent in one write. */
#include <assert.h>
#include <stdio.h>

#include "net/http_conn.h"
#include "net/scratch.h"

#define CHUNK_COPY 16384

/* ---- replies ---------------------------------------------------------------------------- */

/* Status line and the fields that every reply has; returns the length. */
static size_t put_head(struct http_conn *c, char *to, int status, const char *framing,
                       int64_t length)
{
    size_t n = 0;
    if (status == 200) {
        memcpy(to, "HTTP/1.1 200 OK\r\n", 17);
        n = 17;
    } else {
        n = (size_t)sprintf(to, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
    }
    size_t k = strlen(framing);
    memcpy(to + n, framing, k);
    n += k;
    if (length >= 0) {
        char digits[20];
        int i = 20;
        do
            digits[--i] = (char)('0' + length % 10);
        while (length /= 10);
        memcpy(to + n, digits + i, (size_t)(20 - i));
        n += (size_t)(20 - i);
        memcpy(to + n, "\r\n", 2);
        n += 2;
    }
    if (!c->keep_alive || c->discarding) {
        memcpy(to + n, "Connection: close\r\n", 19);
        n += 19;
    } else if (!c->minor) {
        memcpy(to + n, "Connection: keep-alive\r\n", 24);
        n += 24;
    }
    return n;
}

static bool reply(struct http_conn *c, int status, struct str headers, size_t length,
                  struct str body)
{
    char head[256];
    char *out = scratch_write();
    bool none = status == 204; /* has neither a body nor a length */
    size_t n =
        put_head(c, head, status, none ? "" : "Content-Length: ", none ? -1 : (int64_t)length);
    bool ok;
    if (n + headers.n + 2 + body.n <= SCRATCH_BYTES) {
        memcpy(out, head, n);
        if (headers.n)
            memcpy(out + n, headers.p, headers.n);
        n += headers.n;
        memcpy(out + n, "\r\n", 2);
        n += 2;
        if (body.n)
            memcpy(out + n, body.p, body.n);
        struct iovec v = {out, n + body.n};
        ok = http_conn_write_end(c, &v, 1);
    } else {
        struct iovec v[4] = {
            {head, n}, {(char *)headers.p, headers.n}, {"\r\n", 2}, {(char *)body.p, body.n}};
        ok = http_conn_write_end(c, v, 4);
    }
    if (ok)
        http_conn_request_done(c);
    else
        http_conn_end_unsent(c);
    return ok;
}

bool http_reply(struct http_conn *c, int status, struct str headers, struct str body)
{
    return reply(c, status, headers, body.n, body);
}

void http_reply_head(struct http_conn *c, int status, struct str headers, size_t length)
{
    (void)reply(c, status, headers, length, STR_NULL);
}

/* ---- streams ------------------------------------------------------------------------------ */

static size_t put_chunk_size(char *to, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char t[16];
    int i = 16;
    do
        t[--i] = digits[n & 15];
    while (n >>= 4);
    memcpy(to, t + i, (size_t)(16 - i));
    memcpy(to + (16 - i), "\r\n", 2);
    return (size_t)(16 - i) + 2;
}

/* One write of head (may be empty) and data as a chunk. */
static bool write_chunk(struct http_conn *c, char *out, size_t head_n, struct str data)
{
    size_t n = head_n;
    if (!data.n) {
        struct iovec v = {out, n};
        return !n || http_conn_write(c, &v, 1);
    }
    if (c->chunked_out)
        n += put_chunk_size(out + n, data.n);
    size_t tail = c->chunked_out ? 2 : 0;
    if (data.n <= CHUNK_COPY) {
        memcpy(out + n, data.p, data.n);
        n += data.n;
        memcpy(out + n, "\r\n", tail);
        struct iovec v = {out, n + tail};
        return http_conn_write(c, &v, 1);
    }
    struct iovec v[3] = {{out, n}, {(char *)data.p, data.n}, {"\r\n", tail}};
    return http_conn_write(c, v, c->chunked_out ? 3 : 2);
}

bool http_stream_start(struct http_conn *c, int status, struct str headers, struct str first)
{
    char *out = scratch_write();
    c->state = STREAMING;
    c->due_ms = 0;
    c->chunked_out = c->minor == 1;
    if (!c->chunked_out)
        c->keep_alive = false;
    size_t n = put_head(c, out, status, c->chunked_out ? "Transfer-Encoding: chunked\r\n" : "", -1);
    assert(headers.n < SCRATCH_BYTES - CHUNK_COPY - 512);
    if (headers.n)
        memcpy(out + n, headers.p, headers.n);
    n += headers.n;
    memcpy(out + n, "\r\n", 2);
    return write_chunk(c, out, n + 2, first);
}

bool http_stream_write(struct http_conn *c, struct str data)
{
    assert(c->state == STREAMING);
    return write_chunk(c, scratch_write(), 0, data);
}

void http_stream_write_last(struct http_conn *c, struct str data)
{
    char *out = scratch_write();
    if (!c->chunked_out || !data.n || data.n > CHUNK_COPY) {
        if (http_stream_write(c, data))
            http_stream_finish(c);
        else
            http_conn_end_unsent(c);
        return;
    }
    size_t n = put_chunk_size(out, data.n);
    memcpy(out + n, data.p, data.n);
    n += data.n;
    memcpy(out + n, "\r\n0\r\n\r\n", 7);
    struct iovec v = {out, n + 7};
    if (http_conn_write_end(c, &v, 1))
        http_conn_request_done(c);
    else
        http_conn_end_unsent(c);
}

void http_stream_finish(struct http_conn *c)
{
    assert(c->state == STREAMING);
    struct iovec v = {"0\r\n\r\n", 5};
    if (c->chunked_out && !http_conn_write_end(c, &v, 1))
        http_conn_end_unsent(c);
    else
        http_conn_request_done(c);
}

void http_stream_break(struct http_conn *c)
{
    c->keep_alive = false;
    http_conn_close_when_sent(c);
}
