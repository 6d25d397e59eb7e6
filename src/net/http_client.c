/* http_client: connections to upstreams, from the call to the last byte of the answer, and the pool
 * of those that are idle. http_connect.c makes them. */
#include "net/http_upstream.h"

#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"
#include "net/scratch.h"

#define IDLE_MAX     1024
#define READS_A_TURN 16

static struct http_upstream *of_tcp(struct tcp *t)
{
    return (struct http_upstream *)t;
}

/* ---- the pool ---------------------------------------------------------------- */

static void pool_remove(struct http_upstream *u)
{
    struct http_client *c = u->client;
    struct http_idle *i = &u->idle;
    *(i->prev ? &i->prev->idle.next : &c->pool_head) = i->next;
    *(i->next ? &i->next->idle.prev : &c->pool_tail) = i->prev;
    *(i->origin_prev ? &i->origin_prev->idle.origin_next : &u->origin->idle) = i->origin_next;
    if (i->origin_next)
        i->origin_next->idle.origin_prev = i->origin_prev;
    u->origin->idle_n--;
}

void http_upstream_closed(struct tcp *t)
{
    mem_free(of_tcp(t));
}

void http_upstream_count(struct http_upstream *u, int by)
{
    struct http_client *c = u->client;
    struct http_origin *o = u->origin;
    o->open_n += (unsigned)by;
    if (o->open_all)
        atomic_fetch_add_explicit(o->open_all, by, memory_order_relaxed);
    c->open_n += (unsigned)by;
    if (c->open_all)
        atomic_fetch_add_explicit(c->open_all, by, memory_order_relaxed);
}

void http_upstream_close(struct http_upstream *u)
{
    if (u->state == CLOSED)
        return;
    if (u->state == IDLE)
        pool_remove(u);
    else if (u->state == WAITING_HEAD)
        mem_free(u->head.p);
    else if (u->state <= CONNECTING)
        http_connect_stop(u);
    http_upstream_count(u, -1);
    u->state = CLOSED;
    if (u->call)
        u->call->conn = NULL;
    u->call = NULL;
    if (u->origin->warming == u)
        u->origin->warming = NULL;
    if (u->tcp_open)
        tcp_close(&u->tcp, http_upstream_closed);
    else
        mem_free(u);
}

static void on_sweep(struct deadline *d)
{
    struct http_client *c = (struct http_client *)((char *)d - offsetof(struct http_client, sweep));
    uint64_t now_ms = loop_now_ms(c->loop);
    while (c->pool_tail && c->pool_tail->idle.since_ms + c->pool_idle_ms <= now_ms)
        http_upstream_close(c->pool_tail);
    if (c->pool_tail)
        deadline_set(c->loop, d, c->pool_tail->idle.since_ms + c->pool_idle_ms, on_sweep);
}

static void pool_put(struct http_upstream *u)
{
    struct http_client *c = u->client;
    struct http_origin *o = u->origin;
    u->state = IDLE;
    u->idle = (struct http_idle){
        .next = c->pool_head, .origin_next = o->idle, .since_ms = loop_now_ms(c->loop)};
    *(c->pool_head ? &c->pool_head->idle.prev : &c->pool_tail) = u;
    c->pool_head = u;
    if (o->idle)
        o->idle->idle.origin_prev = u;
    o->idle = u;
    o->idle_n++;
    if (u->tcp.paused)
        tcp_resume(&u->tcp);
    if (!deadline_armed(&c->sweep))
        deadline_set(c->loop, &c->sweep, u->idle.since_ms + c->pool_idle_ms, on_sweep);
}

/* ---- the end of a call --------------------------------------------------------- */

static enum err begin(struct http_client *c, struct http_origin *o,
                      struct http_call *call) MUST_CHECK;

void http_upstream_fail(struct http_upstream *u, enum err e, const struct err_info *info)
{
    struct http_call *call = u->call;
    struct http_client *c = u->client;
    struct http_origin *o = u->origin;
    bool again = call && call->reused && !call->got_bytes;
    struct err_info none;
    if (!info) {
        err_info_init(&none);
        info = &none;
    }
    struct err_info copy = *info; /* it may live in what is freed now */
    http_upstream_close(u);
    if (!call)
        return;
    if (again) {
        /* The upstream closed an idle connection as we took it: no fault of its own. */
        call->fresh_only = true;
        e = begin(c, o, call);
        if (!e)
            return;
    }
    call->on->fail(call, e, &copy);
}

static void finish(struct http_upstream *u)
{
    struct http_call *call = u->call;
    /* Not with bytes behind the answer, nor with a request that the upstream did not wait for. */
    bool keep = u->keep_alive && !tcp_queued(&u->tcp) && !tcp_has_more(&u->tcp) &&
                u->origin->idle_n < IDLE_MAX;
    u->call = NULL;
    call->conn = NULL;
    if (u->tcp.paused)
        tcp_resume(&u->tcp); /* the next call is to hear its answer */
    if (keep)
        pool_put(u);
    else
        http_upstream_close(u);
    call->on->end(call);
}

/* ---- answers -------------------------------------------------------------------- */

/* Body bytes p[0..n). False once the call has ended. */
static bool body_bytes(struct http_upstream *u, char *p, size_t n)
{
    struct http_call *call = u->call;
    if (u->framing == HTTP_BODY_CHUNKED) {
        struct err_info info;
        err_info_init(&info);
        size_t data = n, used;
        enum err e = http_chunked_decode(&u->chunked, p, &data, &used, &info);
        if (data) {
            call->on->body(call, p, data);
            if (u->call != call)
                return false;
        }
        if (e == ERR_AGAIN)
            return true;
        if (e) {
            http_upstream_fail(u, ERR_UPSTREAM_PROTOCOL, &info);
            return false;
        }
        if (used < n)
            u->keep_alive = false; /* bytes behind the answer */
        finish(u);
        return false;
    }
    size_t k = u->framing == HTTP_BODY_EOF || n < u->left ? n : (size_t)u->left;
    if (u->framing == HTTP_BODY_LENGTH)
        u->left -= k;
    if (k) {
        call->on->body(call, p, k);
        if (u->call != call)
            return false;
    }
    if (u->framing == HTTP_BODY_EOF || (u->framing == HTTP_BODY_LENGTH && u->left))
        return true;
    if (k < n)
        u->keep_alive = false;
    finish(u);
    return false;
}

static void start_body(struct http_upstream *u, const struct http_head *h)
{
    u->framing = (uint8_t)h->framing;
    u->keep_alive = h->keep_alive;
    if (h->framing == HTTP_BODY_CHUNKED)
        u->chunked = (struct http_chunked){0};
    else
        u->left = h->framing == HTTP_BODY_LENGTH ? h->length : 0;
    u->state = IN_BODY;
}

static bool keep_head(struct http_upstream *u, const char *p, size_t n)
{
    struct http_partial *h = &u->head;
    if (!mem_room(&h->p, &h->cap, h->n + n))
        return false;
    memcpy(h->p + h->n, p, n);
    h->n += (uint32_t)n;
    return true;
}

/* Bytes while the head is awaited; 1xx heads are skipped. */
static void head_bytes(struct http_upstream *u, char *p, size_t n)
{
    static __thread struct http_head h;
    struct http_call *call = u->call;
    struct err_info info;
    err_info_init(&info);
    if (u->head.n) {
        if (!keep_head(u, p, n)) {
            http_upstream_fail(u, ERR_NOMEM, NULL);
            return;
        }
        p = u->head.p;
        n = u->head.n;
    }
    for (;;) {
        size_t scan = u->head.scan;
        enum err e = http_head_find(str_make(p, n), &scan, false, &info);
        u->head.scan = (uint32_t)scan;
        if (e == ERR_AGAIN)
            break;
        if (!e)
            e = http_response_parse(&h, str_make(p, scan), false, &info);
        if (e) {
            http_upstream_fail(u, ERR_UPSTREAM_PROTOCOL, &info);
            return;
        }
        p += scan;
        n -= scan;
        u->head.scan = 0;
        if (h.status < 200)
            continue;
        char *own = u->head.p; /* the spans of h must outlive a cancel from inside head() */
        start_body(u, &h);
        call->on->head(call, &h);
        if (u->call == call &&
            (n || u->framing == HTTP_BODY_NONE || (u->framing == HTTP_BODY_LENGTH && !u->left)))
            body_bytes(u, p, n);
        mem_free(own);
        return;
    }
    if (u->head.n) { /* p is in it */
        memmove(u->head.p, p, n);
        u->head.n = (uint32_t)n;
    } else if (n && !keep_head(u, p, n)) {
        http_upstream_fail(u, ERR_NOMEM, NULL);
    }
}

static void on_eof(struct http_upstream *u, enum tcp_io r)
{
    struct err_info info;
    err_info_init(&info);
    if (u->state == IDLE) {
        http_upstream_close(u);
        return;
    }
    if (u->state == IN_BODY && u->framing == HTTP_BODY_EOF && r == TCP_EOF) {
        u->keep_alive = false;
        finish(u);
        return;
    }
    if (u->state == IN_BODY)
        (void)!err_set(&info, ERR_UPSTREAM_INCOMPLETE,
                       "the upstream closed in the middle of its answer");
    http_upstream_fail(u, u->state == IN_BODY ? ERR_UPSTREAM_INCOMPLETE : ERR_UPSTREAM_RESET,
                       &info);
}

static bool take_bytes(struct http_upstream *u)
{
    size_t n;
    char *p = scratch_read();
    enum tcp_io r = tcp_read(&u->tcp, p, SCRATCH_BYTES, &n);
    if (r == TCP_AGAIN)
        return false;
    if (r != TCP_OK) {
        on_eof(u, r);
        return false;
    }
    if (u->state == IDLE || !u->call) {
        http_upstream_close(u);
        return false;
    }
    u->call->got_bytes = true;
    if (u->state == WAITING_HEAD)
        head_bytes(u, p, n);
    else
        body_bytes(u, p, n);
    return u->state != CLOSED && !u->tcp.paused && tcp_has_more(&u->tcp);
}

static void on_readable(struct tcp *t)
{
    for (int i = 0; i < READS_A_TURN; i++)
        if (!take_bytes(of_tcp(t)))
            return;
    tcp_resume(t); /* TLS holds more: on the next turn, to be fair to the others */
}

static void on_sent(struct tcp *t)
{
    (void)t;
}

/* ---- calls --------------------------------------------------------------------------- */

static bool send_request(struct http_upstream *u)
{
    struct http_call *call = u->call;
    u->state = WAITING_HEAD;
    u->head = (struct http_partial){0};
    memcpy(call->work, call->iov, call->iov_n * sizeof *call->iov);
    return tcp_write_lent(&u->tcp, call->work, call->iov_n);
}

void http_upstream_ready(struct http_upstream *u)
{
    if (!u->call) {
        u->origin->warming = NULL;
        pool_put(u);
        return;
    }
    if (!send_request(u))
        on_readable(&u->tcp); /* the peer may have answered before it closed: reading tells */
}

const struct tcp_events http_upstream_events = {on_readable, on_sent, http_connect_done};

static enum err begin(struct http_client *c, struct http_origin *o, struct http_call *call)
{
    call->got_bytes = false;
    call->reused = false;
    while (!call->fresh_only && o->idle) {
        struct http_upstream *u = o->idle;
        pool_remove(u);
        u->call = call;
        call->conn = u;
        if (send_request(u)) {
            call->reused = true;
            return ERR_OK;
        }
        u->call = NULL; /* it died in the pool: take the next one */
        call->conn = NULL;
        http_upstream_close(u);
    }
    struct http_upstream *u = http_upstream_new(c, o);
    if (!u)
        return ERR_NOMEM;
    u->call = call;
    call->conn = u;
    return ERR_OK;
}

enum err http_call_start(struct http_client *c, struct http_origin *o, struct http_call *call)
{
    call->fresh_only = false;
    call->conn = NULL;
    http_warm_touch(c, o);
    return begin(c, o, call);
}

void http_call_cancel(struct http_call *call)
{
    if (!call->conn)
        return;
    struct http_upstream *u = call->conn;
    u->call = NULL;
    call->conn = NULL;
    http_upstream_close(u);
}

void http_call_pause(struct http_call *call)
{
    if (call->conn)
        tcp_pause(&call->conn->tcp);
}

void http_call_resume(struct http_call *call)
{
    if (call->conn)
        tcp_resume(&call->conn->tcp);
}

bool http_call_sending(const struct http_call *call)
{
    return call->conn && (call->conn->state < WAITING_HEAD || tcp_queued(&call->conn->tcp));
}

/* ---- life -------------------------------------------------------------------------- */

void http_client_init(struct http_client *c, struct loop *l, struct dns *dns,
                      const struct guard *guard, uint32_t pool_idle_ms)
{
    *c = (struct http_client){
        .loop = l,
        .dns = dns,
        .guard = guard,
        .pool_idle_ms = pool_idle_ms,
    };
    c->sessions = tls_session_cache_new();
}

unsigned http_client_evict(struct http_client *c, unsigned n)
{
    unsigned closed = 0;
    for (; closed < n && c->pool_tail; closed++)
        http_upstream_close(c->pool_tail);
    return closed;
}

void http_client_release(struct http_client *c)
{
    http_warm_stop(c);
    while (c->pool_head)
        http_upstream_close(c->pool_head);
    deadline_clear(&c->sweep);
    tls_session_cache_free(&c->sessions);
}
