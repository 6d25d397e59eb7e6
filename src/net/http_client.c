/* http_client: connections to upstreams, from the name to the last byte of the answer. */
#include "net/http_warm.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "net/scratch.h"

enum { RESOLVING, CONNECTING, WAITING_HEAD, IN_BODY, IDLE, CLOSED };

#define ADDRESSES    8
#define IDLE_MAX     1024
#define READS_A_TURN 16

struct http_upstream {
    struct tcp tcp; /* first */
    struct http_client *client;
    struct http_origin *origin;
    struct http_call *call;
    struct http_upstream *next, *prev;               /* in the client's pool, while idle */
    struct http_upstream *origin_next, *origin_prev; /* in the origin's, while idle */
    struct setup *setup;                             /* while resolving and connecting */
    char *in;                                        /* a partial head */
    uint32_t in_len, in_cap, scan;
    uint64_t left;
    struct http_chunked chunked;
    uint64_t idle_since_ms;
    uint8_t state, framing;
    bool keep_alive, served, tcp_open, early_bytes;
};

/* What only a connection being made needs. */
struct setup {
    struct http_upstream *u;
    struct dns_query query;
    struct deadline deadline;
    struct message begin;
    struct checked_addr to[ADDRESSES];
    unsigned n, at;
    bool querying, beginning;
    struct err_info info;
};

static struct http_upstream *of_tcp(struct tcp *t)
{
    return (struct http_upstream *)t;
}

/* ---- the pool ---------------------------------------------------------------- */

static void pool_remove(struct http_upstream *u)
{
    struct http_client *c = u->client;
    *(u->prev ? &u->prev->next : &c->pool_head) = u->next;
    *(u->next ? &u->next->prev : &c->pool_tail) = u->prev;
    *(u->origin_prev ? &u->origin_prev->origin_next : &u->origin->idle) = u->origin_next;
    if (u->origin_next)
        u->origin_next->origin_prev = u->origin_prev;
    u->next = u->prev = u->origin_next = u->origin_prev = NULL;
    u->origin->idle_n--;
}

static void free_setup(struct http_upstream *u)
{
    struct setup *s = u->setup;
    if (!s)
        return;
    if (s->querying)
        dns_cancel(&s->query);
    deadline_clear(&s->deadline);
    s->querying = false;
    if (s->beginning) {
        s->u = NULL; /* its message is under way and frees it */
    } else {
        mem_free(s);
    }
    u->setup = NULL;
}

static void on_closed(struct tcp *t)
{
    mem_free(of_tcp(t));
}

static void count_open(struct http_client *c, struct http_origin *o, int by)
{
    o->open_n += (unsigned)by;
    if (o->open_all)
        atomic_fetch_add_explicit(o->open_all, by, memory_order_relaxed);
    c->open_n += (unsigned)by;
    if (c->open_all)
        atomic_fetch_add_explicit(c->open_all, by, memory_order_relaxed);
}

static void count_connect(struct http_upstream *u)
{
    u->origin->connects++;
    if (u->client->connects_all)
        atomic_fetch_add_explicit(u->client->connects_all, 1, memory_order_relaxed);
}

void http_upstream_close(struct http_upstream *u)
{
    if (u->state == CLOSED)
        return;
    if (u->state == IDLE)
        pool_remove(u);
    count_open(u->client, u->origin, -1);
    u->state = CLOSED;
    if (u->call)
        u->call->conn = NULL;
    u->call = NULL;
    if (u->origin->warming == u)
        u->origin->warming = NULL;
    free_setup(u);
    mem_free(u->in);
    u->in = NULL;
    if (u->tcp_open)
        tcp_close(&u->tcp, on_closed);
    else
        mem_free(u);
}

static void on_sweep(struct deadline *d)
{
    struct http_client *c = (struct http_client *)((char *)d - offsetof(struct http_client, sweep));
    uint64_t now_ms = loop_now_ms(c->loop);
    while (c->pool_tail && c->pool_tail->idle_since_ms + c->pool_idle_ms <= now_ms)
        http_upstream_close(c->pool_tail);
    if (c->pool_tail)
        deadline_set(c->loop, d, c->pool_tail->idle_since_ms + c->pool_idle_ms, on_sweep);
}

static void pool_put(struct http_upstream *u)
{
    struct http_client *c = u->client;
    struct http_origin *o = u->origin;
    u->state = IDLE;
    u->idle_since_ms = loop_now_ms(c->loop);
    u->next = c->pool_head;
    *(c->pool_head ? &c->pool_head->prev : &c->pool_tail) = u;
    c->pool_head = u;
    u->origin_next = o->idle;
    if (o->idle)
        o->idle->origin_prev = u;
    o->idle = u;
    o->idle_n++;
    if (u->tcp.paused)
        tcp_resume(&u->tcp);
    if (!deadline_armed(&c->sweep))
        deadline_set(c->loop, &c->sweep, u->idle_since_ms + c->pool_idle_ms, on_sweep);
}

/* ---- the end of a call --------------------------------------------------------- */

static enum err begin(struct http_client *c, struct http_origin *o,
                      struct http_call *call) MUST_CHECK;

static void fail(struct http_upstream *u, enum err e, const struct err_info *info)
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
    u->served = true;
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
            fail(u, ERR_UPSTREAM_PROTOCOL, &info);
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
    u->left = h->framing == HTTP_BODY_LENGTH ? h->length : 0;
    u->chunked = (struct http_chunked){0};
    u->state = IN_BODY;
}

static bool keep_head(struct http_upstream *u, const char *p, size_t n)
{
    if (u->in_len + n > u->in_cap) {
        uint32_t cap = u->in_cap ? u->in_cap : 256;
        while (cap < u->in_len + n)
            cap *= 2;
        char *in = mem_realloc(u->in, cap);
        if (!in)
            return false;
        u->in = in;
        u->in_cap = cap;
    }
    memcpy(u->in + u->in_len, p, n);
    u->in_len += (uint32_t)n;
    return true;
}

/* Bytes while the head is awaited; 1xx heads are skipped. */
static void head_bytes(struct http_upstream *u, char *p, size_t n)
{
    static __thread struct http_head h;
    struct http_call *call = u->call;
    struct err_info info;
    err_info_init(&info);
    if (u->in_len) {
        if (!keep_head(u, p, n)) {
            fail(u, ERR_NOMEM, NULL);
            return;
        }
        p = u->in;
        n = u->in_len;
    }
    for (;;) {
        size_t scan = u->scan;
        enum err e = http_head_find(str_make(p, n), &scan, false, &info);
        u->scan = (uint32_t)scan;
        if (e == ERR_AGAIN)
            break;
        if (!e)
            e = http_response_parse(&h, str_make(p, scan), false, &info);
        if (e) {
            fail(u, ERR_UPSTREAM_PROTOCOL, &info);
            return;
        }
        p += scan;
        n -= scan;
        u->scan = 0;
        if (h.status < 200)
            continue;
        char *own = u->in; /* the spans of h must outlive a cancel from inside head() */
        u->in = NULL;
        u->in_len = u->in_cap = 0;
        start_body(u, &h);
        call->on->head(call, &h);
        if (u->call == call &&
            (n || u->framing == HTTP_BODY_NONE || (u->framing == HTTP_BODY_LENGTH && !u->left)))
            body_bytes(u, p, n);
        mem_free(own);
        return;
    }
    if (u->in_len) { /* p is in it */
        memmove(u->in, p, n);
        u->in_len = (uint32_t)n;
    } else if (n && !keep_head(u, p, n)) {
        fail(u, ERR_NOMEM, NULL);
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
    fail(u, u->state == IN_BODY ? ERR_UPSTREAM_INCOMPLETE : ERR_UPSTREAM_RESET, &info);
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

/* ---- connecting -------------------------------------------------------------------- */

static bool send_request(struct http_upstream *u)
{
    struct http_call *call = u->call;
    u->state = WAITING_HEAD;
    u->scan = 0;
    memcpy(call->work, call->iov, call->iov_n * sizeof *call->iov);
    return tcp_write_lent(&u->tcp, call->work, call->iov_n);
}

static void send_on_fresh(struct http_upstream *u)
{
    if (!u->call) {
        u->origin->warming = NULL;
        pool_put(u);
        return;
    }
    if (!send_request(u))
        on_readable(&u->tcp); /* the peer may have answered before it closed: reading tells */
}

static void connect_next(struct http_upstream *u);

static void on_connected(struct tcp *t, enum err e)
{
    struct http_upstream *u = of_tcp(t);
    struct setup *s = u->setup;
    if (e) {
        char why[160] = "";
        if (e == ERR_TLS && t->tls) {
            tls_error_text(t->tls, why, sizeof why);
            (void)!err_set(&s->info, e, "TLS handshake with the upstream: %s", why);
        } else if (t->sys_errno) {
            (void)!err_set(&s->info, e, "connect: %s", strerrordesc_np(t->sys_errno));
        }
        if (e != ERR_TLS && s->at < s->n) {
            /* The next address gets a socket of its own; the old one closes under a husk. */
            struct http_upstream *fresh = mem_zalloc(sizeof *fresh);
            if (fresh) {
                *fresh = *u;
                fresh->tcp_open = false;
                s->u = fresh;
                u->setup = NULL;
                u->state = CLOSED;
                u->call = NULL;
                if (fresh->call)
                    fresh->call->conn = fresh;
                else
                    fresh->origin->warming = fresh;
                tcp_close(&u->tcp, on_closed);
                connect_next(fresh);
                return;
            }
        }
        struct err_info info = s->info;
        fail(u, e, &info);
        return;
    }
    free_setup(u);
    count_connect(u);
    send_on_fresh(u);
}

static const struct tcp_events events = {on_readable, on_sent, on_connected};

static void connect_next(struct http_upstream *u)
{
    struct setup *s = u->setup;
    struct http_origin *o = u->origin;
    u->state = CONNECTING;
    enum err e = ERR_CONNECT;
    while (s->at < s->n) {
        e = tcp_connect(&u->tcp, u->client->loop, &s->to[s->at++], &events, o->tls,
                        url_host(&o->url), u->client->sessions, &s->info);
        if (!e) {
            u->tcp_open = true;
            return;
        }
    }
    struct err_info info = s->info;
    fail(u, e, &info);
}

static void on_setup_deadline(struct deadline *d)
{
    struct setup *s = (struct setup *)((char *)d - offsetof(struct setup, deadline));
    struct http_upstream *u = s->u;
    struct err_info info;
    err_info_init(&info);
    bool dns = u->state == RESOLVING;
    (void)!err_set(&info, ERR_CONNECT_TIMEOUT, "%s took longer than %u ms",
                   dns ? "resolving the upstream's name" : "connecting to the upstream",
                   u->origin->connect_ms);
    fail(u, dns ? ERR_DNS_TIMEOUT : ERR_CONNECT_TIMEOUT, &info);
}

static void resolved(struct http_upstream *u, enum err e, const struct addr *a, size_t n)
{
    struct setup *s = u->setup;
    if (n > ADDRESSES)
        n = ADDRESSES;
    if (!e)
        e = guard_check_all(u->client->guard, a, n, s->to, &s->info);
    if (e) {
        struct err_info info = s->info;
        fail(u, e, &info);
        return;
    }
    s->n = (unsigned)n;
    s->at = 0;
    connect_next(u);
}

static void on_resolved(struct dns_query *q, enum err e, const struct addr *a, size_t n)
{
    struct setup *s = (struct setup *)((char *)q - offsetof(struct setup, query));
    s->querying = false;
    resolved(s->u, e, a, n);
}

/* First step of a new connection, on a turn of its own so that no callback comes too early. */
static void on_begin(struct message *m)
{
    struct setup *s = (struct setup *)((char *)m - offsetof(struct setup, begin));
    struct http_upstream *u = s->u;
    s->beginning = false;
    if (!u) { /* cancelled meanwhile */
        mem_free(s);
        return;
    }
    struct http_origin *o = u->origin;
    struct http_client *c = u->client;
    if (o->open) {
        int fd = o->open(o->open_user);
        enum err e = fd < 0 ? ERR_CONNECT : tcp_open(&u->tcp, c->loop, fd, &events, NULL);
        if (e) {
            if (fd >= 0)
                close(fd);
            fail(u, e, NULL);
            return;
        }
        u->tcp_open = true;
        free_setup(u);
        count_connect(u);
        send_on_fresh(u);
        return;
    }
    deadline_set(c->loop, &s->deadline, loop_now_ms(c->loop) + o->connect_ms, on_setup_deadline);
    if (o->url.is_ip) {
        resolved(u, ERR_OK, &o->url.ip, 1);
        return;
    }
    struct addr known[DNS_ADDRS_MAX];
    size_t n;
    enum err e = dns_lookup_cached(c->dns, url_host(&o->url), o->url.port, known, &n);
    if (e != ERR_AGAIN) {
        resolved(u, e, known, n);
        return;
    }
    s->querying = true;
    dns_resolve(c->dns, &s->query, url_host(&o->url), o->url.port, on_resolved);
}

struct http_upstream *http_upstream_new(struct http_client *c, struct http_origin *o)
{
    struct http_upstream *u = mem_zalloc(sizeof *u);
    struct setup *s = u ? mem_zalloc(sizeof *s) : NULL;
    if (!s) {
        mem_free(u);
        return NULL;
    }
    u->client = c;
    u->origin = o;
    u->setup = s;
    u->state = RESOLVING;
    o->connect_at_ms = loop_now_ms(c->loop);
    count_open(c, o, 1);
    s->u = u;
    s->beginning = true;
    s->begin.run = on_begin;
    err_info_init(&s->info);
    loop_defer(c->loop, &s->begin);
    return u;
}

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
