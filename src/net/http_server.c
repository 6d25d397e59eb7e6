/* http_server: a connection's life: what it waits for and how long, its next request, its end. */
#include "net/http_conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"

#define LINGERING_MAX 256

static struct http_conn *of_tcp(struct tcp *t)
{
    return (struct http_conn *)t; /* first member */
}

/* ---- deadlines: one armed entry a connection, moved lazily ------------------- */

static void on_deadline(struct deadline *d);

static uint64_t stall_due_ms(const struct http_conn *c)
{
    return tcp_moved_ms(&c->tcp) + c->server->limits.write_stall_ms;
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

void http_conn_set_due(struct http_conn *c, uint32_t ms)
{
    c->due_ms = loop_now_ms(c->server->loop) + ms;
    arm(c);
}

/* ---- the end --------------------------------------------------------------------- */

static void on_closed(struct tcp *t)
{
    mem_free(of_tcp(t));
}

void http_conn_forget_input(struct http_conn *c)
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
    c->unsent_bytes = (uint32_t)n;
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
    http_conn_forget_input(c);
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
void http_conn_gone(struct http_conn *c)
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
    http_conn_forget_input(c);
    if (c->server->lingering >= LINGERING_MAX || c->tcp.failed) {
        destroy(c);
        return;
    }
    tcp_shutdown(&c->tcp);
    c->state = LINGER;
    c->server->lingering++;
    http_conn_set_due(c, c->server->limits.linger_ms);
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

static void on_next_turn(struct message *m)
{
    struct http_conn *c = (struct http_conn *)((char *)m - offsetof(struct http_conn, next_turn));
    c->next_pending = false;
    if (c->state == CLOSED)
        tcp_close(&c->tcp, on_closed);
    else if (c->tcp.failed)
        http_conn_gone(c);
    else
        http_conn_read_kept(c);
}

void http_conn_look_again(struct http_conn *c)
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
    c->incoming = NULL;
    if (!c->keep_alive || c->discarding) {
        http_conn_close_when_sent(c);
        return;
    }
    c->state = HEAD;
    c->scan = 0;
    http_conn_set_due(c, c->in_len ? c->server->limits.head_ms : c->server->limits.idle_ms);
    if (c->in_len || tcp_has_more(&c->tcp))
        http_conn_look_again(c);
}

static void on_due(struct http_conn *c)
{
    const struct http_server_limits *lim = &c->server->limits;
    struct err_info info;
    err_info_init(&info);
    switch (c->state) {
    case HEAD:
        if (!c->in_len && tcp_queued(&c->tcp)) { /* not idle: it still takes the last reply */
            http_conn_set_due(c, lim->idle_ms);
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
        if ((c->incoming->n - c->incoming->mark) * 1000 <
            (uint64_t)lim->body_min_bytes_per_s * lim->body_stall_ms) {
            (void)!err_set(&info, ERR_REQUEST_TIMEOUT,
                           "the body came slower than %u bytes a second for %u ms",
                           lim->body_min_bytes_per_s, lim->body_stall_ms);
            http_conn_fail_body(c, ERR_REQUEST_TIMEOUT, &info);
            return;
        }
        c->incoming->mark = c->incoming->n;
        http_conn_set_due(c, lim->body_stall_ms);
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
        http_conn_gone(c);
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
        http_conn_look_again(c); /* on the next turn: failed() */
        return false;
    }
    if (tcp_queued(&c->tcp))
        arm(c);
    if (count_unsent(c))
        return true;
    c->tcp.failed = 1; /* as if the peer had gone: it does not get the rest */
    http_conn_look_again(c);
    return false;
}

/* ---- life ---------------------------------------------------------------------------- */

static void on_readable(struct tcp *t)
{
    http_conn_read(of_tcp(t));
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
        http_conn_look_again(c);
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
    http_conn_set_due(c, s->limits.head_ms);
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
