/* http_server: a connection's life: head, body, reply, next request, end. */
#include "net/http_conn.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "net/scratch.h"

#define PIPELINE_MAX  16384
#define LINGERING_MAX 256
#define READS_A_TURN  16
/* Of a message that begins: what follows of a longer body is read to where it belongs, and need not
 * be copied there. A request up to this long takes one read; behind a long one less is read at
 * first, for the next is most likely long as well. */
#define FIRST_READ      16384
#define FIRST_READ_LONG 4096

static struct http_conn *of_tcp(struct tcp *t)
{
    return (struct http_conn *)t; /* first member */
}

/* ---- deadlines: one armed entry a connection, moved lazily ------------------- */

static void on_deadline(struct deadline *d);

static uint64_t stall_due_ms(const struct http_conn *c)
{
    return c->tcp.moved_ms + c->server->limits.write_stall_ms;
}

/* Sees to it that on_deadline runs when the next of the two is due: the state's own, and that of
 * the bytes that wait for the caller to take them. */
static void arm(struct http_conn *c)
{
    uint64_t due_ms = c->due_ms ? c->due_ms : UINT64_MAX;
    if (tcp_queued(&c->tcp) && stall_due_ms(c) < due_ms)
        due_ms = stall_due_ms(c);
    if (due_ms < UINT64_MAX && (!deadline_armed(&c->deadline) || c->deadline.due_ms > due_ms))
        deadline_set(c->server->loop, &c->deadline, due_ms, on_deadline);
}

static void set_due(struct http_conn *c, uint32_t ms)
{
    c->due_ms = loop_now_ms(c->server->loop) + ms;
    arm(c);
}

/* ---- the end --------------------------------------------------------------------- */

static void on_closed(struct tcp *t)
{
    mem_free(of_tcp(t));
}

static void forget_input(struct http_conn *c)
{
    mem_free(c->in);
    c->in = NULL;
    c->in_len = c->in_cap = c->scan = 0;
}

/* The queue is empty, or goes with the connection. */
static void forget_unsent(struct http_conn *c)
{
    if (c->unsent_bytes)
        atomic_fetch_sub_explicit(c->server->unsent_bytes, c->unsent_bytes, memory_order_relaxed);
    c->unsent_bytes = 0;
}

/* Counts what waits beyond what is free; the queue keeps its room until it is empty. False: there
 * is no room for so much. */
static bool count_unsent(struct http_conn *c)
{
    struct http_server *s = c->server;
    size_t n = tcp_queued(&c->tcp);
    if (!s->unsent_bytes || n <= HTTP_UNSENT_FREE + c->unsent_bytes)
        return true;
    n -= HTTP_UNSENT_FREE;
    atomic_fetch_add_explicit(s->unsent_bytes, n - c->unsent_bytes, memory_order_relaxed);
    c->unsent_bytes = n;
    return !s->full || !s->full(s);
}

static void count(struct http_server *s, int by)
{
    s->count += (unsigned)by;
    if (s->connections)
        atomic_store_explicit(s->connections, s->count, memory_order_relaxed);
}

static void destroy(struct http_conn *c)
{
    if (c->state == CLOSED)
        return;
    if (c->state == LINGER)
        c->server->lingering--;
    c->state = CLOSED;
    deadline_clear(&c->deadline);
    http_conn_unhold(c);
    forget_input(c);
    forget_unsent(c);
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    count(c->server, -1);
    if (!c->next_pending)
        tcp_close(&c->tcp, on_closed);
    /* else next_turn's message closes it */
}

/* The caller is gone, or closed its side: nothing more can be said to it. */
static void gone(struct http_conn *c)
{
    if (c->state == BODY || c->state == SERVING || c->state == STREAMING) {
        struct err_info info;
        err_info_init(&info);
        c->server->service->failed(c, ERR_CLIENT_GONE, &info);
    }
    destroy(c);
}

/* Last bytes are followed by a FIN, then input is discarded until the peer's FIN: closing with
 * unread input would send a RST that can destroy what was sent last. */
static void linger(struct http_conn *c)
{
    forget_input(c);
    if (c->server->lingering >= LINGERING_MAX || c->tcp.failed) {
        destroy(c);
        return;
    }
    tcp_shutdown(&c->tcp);
    c->state = LINGER;
    c->server->lingering++;
    set_due(c, c->server->limits.linger_ms);
}

void http_conn_close_when_sent(struct http_conn *c)
{
    c->user = NULL;
    c->state = FLUSH_CLOSE;
    c->due_ms = 0;
    if (!tcp_queued(&c->tcp))
        linger(c);
}

/* The last write of a reply found the peer gone: the next turn closes, and the service, whose reply
 * has ended, hears nothing. */
void http_conn_end_unsent(struct http_conn *c)
{
    c->user = NULL;
    c->state = FLUSH_CLOSE;
}

static void read_input(struct http_conn *c);

static void on_next_turn(struct message *m)
{
    struct http_conn *c = (struct http_conn *)((char *)m - offsetof(struct http_conn, next_turn));
    c->next_pending = false;
    if (c->state == CLOSED)
        tcp_close(&c->tcp, on_closed);
    else if (c->tcp.failed)
        gone(c);
    else
        read_input(c);
}

static void look_again(struct http_conn *c)
{
    if (c->next_pending)
        return;
    c->next_pending = true;
    c->next_turn.run = on_next_turn;
    loop_defer(c->server->loop, &c->next_turn);
}

void http_conn_request_done(struct http_conn *c)
{
    c->user = NULL;
    c->arena = NULL;
    c->body = NULL;
    if (!c->keep_alive || c->discarding) {
        http_conn_close_when_sent(c);
        return;
    }
    c->state = HEAD;
    c->scan = 0;
    set_due(c, c->in_len ? c->server->limits.head_ms : c->server->limits.idle_ms);
    if (c->in_len || tcp_has_more(&c->tcp))
        look_again(c);
}

static void fail_body(struct http_conn *c, enum err e, struct err_info *info);

static void on_due(struct http_conn *c)
{
    const struct http_server_limits *lim = &c->server->limits;
    struct err_info info;
    err_info_init(&info);
    switch (c->state) {
    case HEAD:
        if (!c->in_len && tcp_queued(&c->tcp)) { /* not idle: it still takes the last reply */
            set_due(c, lim->idle_ms);
            return;
        }
        if (!c->in_len || c->tcp.handshaking) {
            destroy(c);
            return;
        }
        c->keep_alive = false;
        (void)!err_set(&info, ERR_REQUEST_TIMEOUT, "the header was not complete in %u ms",
                       lim->head_ms);
        c->server->service->malformed(c, ERR_REQUEST_TIMEOUT, &info);
        return;
    case BODY:
        if ((c->body_n - c->body_mark) * 1000 <
            (uint64_t)lim->body_min_bytes_per_s * lim->body_stall_ms) {
            (void)!err_set(&info, ERR_REQUEST_TIMEOUT,
                           "the body came slower than %u bytes a second for %u ms",
                           lim->body_min_bytes_per_s, lim->body_stall_ms);
            fail_body(c, ERR_REQUEST_TIMEOUT, &info);
            return;
        }
        c->body_mark = c->body_n;
        set_due(c, lim->body_stall_ms);
        return;
    case LINGER:
        destroy(c);
        return;
    default: /* SERVING, STREAMING, FLUSH_CLOSE: only a caller that takes nothing matters */
        return;
    }
}

static void on_deadline(struct deadline *d)
{
    struct http_conn *c = (struct http_conn *)((char *)d - offsetof(struct http_conn, deadline));
    uint64_t now_ms = loop_now_ms(c->server->loop);
    if (tcp_queued(&c->tcp) && stall_due_ms(c) <= now_ms) {
        gone(c);
        return;
    }
    if (c->due_ms && c->due_ms <= now_ms) {
        c->due_ms = 0;
        on_due(c);
    }
    if (c->state != CLOSED)
        arm(c);
}

/* Writes; what the socket does not take must move before the stall deadline. */
bool http_conn_write(struct http_conn *c, const struct iovec *iov, unsigned n)
{
    if (!tcp_write(&c->tcp, iov, n)) {
        look_again(c); /* on the next turn: failed() */
        return false;
    }
    if (tcp_queued(&c->tcp))
        arm(c);
    if (count_unsent(c))
        return true;
    c->tcp.failed = 1; /* as if the peer had gone: it does not get the rest */
    look_again(c);
    return false;
}

/* ---- bodies ------------------------------------------------------------------------ */

/* What still comes of the request is read and thrown away; the reply is the connection's last. */
static void fail_body(struct http_conn *c, enum err e, struct err_info *info)
{
    c->state = SERVING;
    c->due_ms = 0;
    c->keep_alive = false;
    c->server->service->failed(c, e, info);
}

static bool keep_input(struct http_conn *c, const char *p, size_t n, size_t max)
{
    if (n > max - c->in_len)
        return false;
    if (c->in_len + n > c->in_cap) {
        uint32_t cap = c->in_cap ? c->in_cap : 256;
        while (cap < c->in_len + n)
            cap *= 2;
        char *in = mem_realloc(c->in, cap);
        if (!in)
            return false;
        c->in = in;
        c->in_cap = cap;
    }
    memcpy(c->in + c->in_len, p, n);
    c->in_len += (uint32_t)n;
    return true;
}

static void pipelined(struct http_conn *c, const char *p, size_t n)
{
    if (!n || c->discarding)
        return;
    if (!c->keep_alive || !keep_input(c, p, n, PIPELINE_MAX)) {
        c->discarding = true;
        forget_input(c);
    }
}

static enum err too_large(const struct http_conn *c, struct err_info *info)
{
    return err_set(info, ERR_BODY_TOO_LARGE, "the body is larger than %llu bytes",
                   (unsigned long long)c->server->limits.body_max_bytes);
}

/* rest[0..n) came behind the body. */
static void body_complete(struct http_conn *c, const char *rest, size_t n)
{
    c->state = SERVING;
    c->due_ms = 0;
    c->keep_alive = c->may_keep && !c->server->closing;
    pipelined(c, rest, n);
    c->server->service->body(c, str_make(c->body, (size_t)c->body_n));
}

/* Decoded bytes of a chunked body are gathered in the arena by doubling. */
static enum err gather(struct http_conn *c, const char *p, size_t n, struct err_info *info)
{
    if (n > c->server->limits.body_max_bytes - c->body_n)
        return too_large(c, info);
    if (c->body_n + n > c->body_cap) {
        uint64_t cap = c->body_cap ? c->body_cap * 2 : 4096;
        while (cap < c->body_n + n)
            cap *= 2;
        char *body = arena_alloc(c->arena, (size_t)cap);
        if (!body)
            return ERR_NOMEM;
        if (c->body_n)
            memcpy(body, c->body, (size_t)c->body_n);
        c->body = body;
        c->body_cap = cap;
    }
    if (n)
        memcpy(c->body + c->body_n, p, n);
    c->body_n += n;
    return ERR_OK;
}

/* Takes body bytes from p[0..n), which it may change. */
static void body_bytes(struct http_conn *c, char *p, size_t n)
{
    if (c->framing == HTTP_BODY_LENGTH) {
        size_t k = n < c->body_cap - c->body_n ? n : (size_t)(c->body_cap - c->body_n);
        if (k)
            memcpy(c->body + c->body_n, p, k);
        c->body_n += k;
        if (c->body_n == c->body_cap)
            body_complete(c, p + k, n - k);
        return;
    }
    struct err_info info;
    err_info_init(&info);
    size_t data = n, used;
    enum err e = http_chunked_decode(&c->chunked, p, &data, &used, &info);
    if (e == ERR_OK || e == ERR_AGAIN) {
        enum err g = gather(c, p, data, &info);
        if (g) {
            fail_body(c, g, &info);
            return;
        }
    }
    if (e == ERR_AGAIN)
        return;
    if (e) {
        fail_body(c, e, &info);
        return;
    }
    body_complete(c, p + used, n - used);
}

void http_accept(struct http_conn *c, struct arena *arena)
{
    c->arena = arena;
}

/* ---- heads --------------------------------------------------------------------------- */

static void refuse(struct http_conn *c, enum err e, struct err_info *info)
{
    c->keep_alive = false;
    c->server->service->malformed(c, e, info);
}

/* The service has seen the head: rest[0..n) is what followed it. */
static void after_head(struct http_conn *c, uint64_t length, char *rest, size_t n)
{
    struct err_info info;
    err_info_init(&info);
    if (c->state != BODY) { /* it has replied, or begun to */
        if (c->state == HEAD || c->state == STREAMING)
            pipelined(c, rest, n);
        if (c->state == HEAD && c->in_len) {
            set_due(c, c->server->limits.head_ms);
            look_again(c);
        }
        return;
    }
    if (c->framing == HTTP_BODY_LENGTH) {
        if (length > c->server->limits.body_max_bytes) {
            fail_body(c, too_large(c, &info), &info);
            return;
        }
        c->body = arena_alloc(c->arena, (size_t)length);
        c->body_cap = length;
        if (!c->body) {
            fail_body(c, ERR_NOMEM, &info);
            return;
        }
    } else if (c->framing == HTTP_BODY_NONE) {
        body_complete(c, rest, n);
        return;
    }
    if (n) {
        body_bytes(c, rest, n);
        if (c->state != BODY)
            return;
    }
    if (c->expects_continue) {
        struct iovec v = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
        if (!http_conn_write(c, &v, 1))
            return;
    }
    c->body_mark = c->body_n;
    set_due(c, c->server->limits.body_stall_ms);
}

/* A reply given before the body leaves it unread. When all of it is here already the connection can
 * go on; else it closes behind the reply. */
static bool body_is_here(const struct http_head *h, size_t n)
{
    return h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && n >= h->length);
}

static void serve(struct http_conn *c, char *text, size_t n, size_t head_n)
{
    static __thread struct http_head h;
    struct err_info info;
    err_info_init(&info);
    enum err e = http_request_parse(&h, str_make(text, head_n), &info);
    c->minor = (uint8_t)h.minor;
    if (e) {
        refuse(c, e, &info);
        return;
    }
    char *rest = text + head_n;
    size_t rest_n = n - head_n;
    c->may_keep = h.keep_alive && !c->server->closing;
    c->keep_alive = c->may_keep && body_is_here(&h, rest_n);
    c->framing = (uint8_t)h.framing;
    c->expects_continue = h.expect_continue;
    c->discarding = false;
    c->arena = NULL;
    c->body = NULL;
    c->body_n = c->body_cap = 0;
    c->chunked = (struct http_chunked){0};
    c->state = BODY;
    c->due_ms = 0;
    uint64_t length = h.length;
    c->server->service->head(c, &h);
    if (c->state == BODY) {
        assert(c->arena);
    } else if (h.framing == HTTP_BODY_LENGTH && rest_n >= length) {
        rest += length; /* answered without it */
        rest_n -= (size_t)length;
    }
    after_head(c, length, rest, rest_n);
}

/* New bytes while a head is awaited; text may be changed. */
static void head_bytes(struct http_conn *c, char *text, size_t n)
{
    struct err_info info;
    err_info_init(&info);
    bool kept = c->in_len > 0;
    if (kept) {
        if (text != c->in && !keep_input(c, text, n, HTTP_HEAD_MAX + SCRATCH_BYTES)) {
            refuse(c, ERR_HEAD_TOO_LARGE, &info);
            return;
        }
        text = c->in;
        n = c->in_len;
    }
    size_t scan = c->scan;
    enum err e = http_head_find(str_make(text, n), &scan, true, &info);
    c->scan = (uint32_t)scan;
    if (e == ERR_AGAIN) {
        if (!kept) {
            if (!keep_input(c, text, n, HTTP_HEAD_MAX + SCRATCH_BYTES)) {
                refuse(c, ERR_NOMEM, &info);
                return;
            }
            set_due(c, c->server->limits.head_ms);
        }
        return;
    }
    if (e) {
        refuse(c, e, &info);
        return;
    }
    /* Detached, so that what is pipelined behind can be kept anew. */
    char *own = kept ? c->in : NULL;
    c->in = kept ? NULL : c->in;
    if (kept)
        c->in_len = c->in_cap = 0;
    c->scan = 0;
    serve(c, text, n, scan);
    mem_free(own);
}

/* ---- reading -------------------------------------------------------------------------- */

static bool take_bytes(struct http_conn *c)
{
    char *to = scratch_read();
    size_t first = c->body_cap > SCRATCH_BYTES ? FIRST_READ_LONG : FIRST_READ;
    size_t cap = c->state == HEAD ? first : SCRATCH_BYTES, n;
    bool direct = c->state == BODY && c->framing == HTTP_BODY_LENGTH;
    if (direct) {
        to = c->body + c->body_n;
        cap = (size_t)(c->body_cap - c->body_n);
    }
    switch (tcp_read(&c->tcp, to, cap, &n)) {
    case TCP_OK:
        break;
    case TCP_AGAIN:
        return false;
    default:
        gone(c);
        return false;
    }
    if (direct) {
        c->body_n += n;
        if (c->body_n == c->body_cap)
            body_complete(c, NULL, 0);
    } else if (c->state == HEAD) {
        head_bytes(c, to, n);
    } else if (c->state == BODY) {
        body_bytes(c, to, n);
    } else if (c->state == SERVING || c->state == STREAMING) {
        pipelined(c, to, n);
    }
    if (c->state == BODY && !direct && n == cap)
        return true; /* the rest is most likely here already */
    return c->state != CLOSED && tcp_has_more(&c->tcp);
}

/* What TLS holds is taken at once, but no more than is fair to the others. */
static void take_all(struct http_conn *c)
{
    for (int i = 0; i < READS_A_TURN; i++)
        if (!take_bytes(c))
            return;
    look_again(c);
}

static void read_input(struct http_conn *c)
{
    if (c->state == HEAD && c->in_len) /* a request that was pipelined behind the last one */
        head_bytes(c, c->in, c->in_len);
    if (c->state != CLOSED && tcp_has_more(&c->tcp))
        take_all(c);
}

static void on_readable(struct tcp *t)
{
    take_all(of_tcp(t));
}

static void on_sent(struct tcp *t)
{
    struct http_conn *c = of_tcp(t);
    forget_unsent(c);
    if (c->state == FLUSH_CLOSE)
        linger(c);
    else if (c->state == SERVING || c->state == STREAMING)
        c->server->service->sent(c);
}

static void on_handshake(struct tcp *t, enum err e)
{
    struct http_conn *c = of_tcp(t);
    if (e)
        destroy(c);
    else if (tcp_has_more(t))
        look_again(c);
}

static const struct tcp_events events = {on_readable, on_sent, on_handshake};

void http_server_accept(struct http_server *s, int fd, const struct addr *peer)
{
    struct http_conn *c = mem_zalloc(sizeof *c);
    if (!c || tcp_open(&c->tcp, s->loop, fd, &events, s->tls)) {
        mem_free(c);
        close(fd);
        return;
    }
    unsigned stall = s->limits.write_stall_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall, sizeof stall);
    c->server = s;
    c->peer = *peer;
    c->minor = 1;
    c->next = s->conns;
    c->prev = &s->conns;
    if (s->conns)
        s->conns->prev = &c->next;
    s->conns = c;
    count(s, 1);
    set_due(c, s->limits.head_ms);
}

void http_server_release(struct http_server *s)
{
    while (s->conns)
        destroy(s->conns);
}

void http_server_end_keep_alive(struct http_server *s)
{
    s->closing = true;
    for (struct http_conn *c = s->conns; c; c = c->next)
        c->keep_alive = c->may_keep = false;
}

static void close_waiting(struct http_server *s, bool begun)
{
    http_server_end_keep_alive(s);
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->state != HEAD || (!begun && (c->in_len || c->tcp.handshaking)))
            continue;
        if (tcp_queued(&c->tcp))
            http_conn_close_when_sent(c); /* the end of its last reply */
        else
            destroy(c);
    }
}

void http_server_close_idle(struct http_server *s)
{
    close_waiting(s, false);
}

void http_server_close_unserved(struct http_server *s)
{
    close_waiting(s, true);
}
