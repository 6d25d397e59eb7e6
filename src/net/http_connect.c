/* http_connect: how a connection to an upstream is made: its name resolved, all addresses checked,
 * one after the other tried, TLS begun; within the time that the origin gives. */
#include "net/http_upstream.h"

#include <stdatomic.h>
#include <unistd.h>

#include "core/alloc.h"

#define ADDRESSES 8

/* What only a connection being made needs. */
struct http_setup {
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

void http_connect_stop(struct http_upstream *u)
{
    struct http_setup *s = u->setup;
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

static void count_connect(struct http_upstream *u)
{
    u->origin->connects++;
    if (u->client->connects_all)
        atomic_fetch_add_explicit(u->client->connects_all, 1, memory_order_relaxed);
}

static void connect_next(struct http_upstream *u);

void http_connect_done(struct tcp *t, enum err e)
{
    struct http_upstream *u = of_tcp(t);
    struct http_setup *s = u->setup;
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
                tcp_close(&u->tcp, http_upstream_closed);
                connect_next(fresh);
                return;
            }
        }
        struct err_info info = s->info;
        http_upstream_fail(u, e, &info);
        return;
    }
    http_connect_stop(u);
    count_connect(u);
    http_upstream_ready(u);
}

static void connect_next(struct http_upstream *u)
{
    struct http_setup *s = u->setup;
    struct http_origin *o = u->origin;
    u->state = CONNECTING;
    enum err e = ERR_CONNECT;
    while (s->at < s->n) {
        e = tcp_connect(&u->tcp, u->client->loop, &s->to[s->at++], &http_upstream_events, o->tls,
                        url_host(&o->url), u->client->sessions, &s->info);
        if (!e) {
            u->tcp_open = true;
            return;
        }
    }
    struct err_info info = s->info;
    http_upstream_fail(u, e, &info);
}

static void on_setup_deadline(struct deadline *d)
{
    struct http_setup *s = (struct http_setup *)((char *)d - offsetof(struct http_setup, deadline));
    struct http_upstream *u = s->u;
    struct err_info info;
    err_info_init(&info);
    bool dns = u->state == RESOLVING;
    (void)!err_set(&info, ERR_CONNECT_TIMEOUT, "%s took longer than %u ms",
                   dns ? "resolving the upstream's name" : "connecting to the upstream",
                   u->origin->connect_ms);
    http_upstream_fail(u, dns ? ERR_DNS_TIMEOUT : ERR_CONNECT_TIMEOUT, &info);
}

static void resolved(struct http_upstream *u, enum err e, const struct addr *a, size_t n)
{
    struct http_setup *s = u->setup;
    if (n > ADDRESSES)
        n = ADDRESSES;
    if (!e)
        e = guard_check_all(u->client->guard, a, n, s->to, &s->info);
    if (e) {
        struct err_info info = s->info;
        http_upstream_fail(u, e, &info);
        return;
    }
    s->n = (unsigned)n;
    s->at = 0;
    connect_next(u);
}

static void on_resolved(struct dns_query *q, enum err e, const struct addr *a, size_t n)
{
    struct http_setup *s = (struct http_setup *)((char *)q - offsetof(struct http_setup, query));
    s->querying = false;
    resolved(s->u, e, a, n);
}

/* First step of a new connection, on a turn of its own so that no callback comes too early. */
static void on_begin(struct message *m)
{
    struct http_setup *s = (struct http_setup *)((char *)m - offsetof(struct http_setup, begin));
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
        enum err e =
            fd < 0 ? ERR_CONNECT : tcp_open(&u->tcp, c->loop, fd, &http_upstream_events, NULL);
        if (e) {
            if (fd >= 0)
                close(fd);
            http_upstream_fail(u, e, NULL);
            return;
        }
        u->tcp_open = true;
        http_connect_stop(u);
        count_connect(u);
        http_upstream_ready(u);
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
    struct http_setup *s = u ? mem_zalloc(sizeof *s) : NULL;
    if (!s) {
        mem_free(u);
        return NULL;
    }
    u->client = c;
    u->origin = o;
    u->setup = s;
    u->state = RESOLVING;
    o->connect_at_ms = loop_now_ms(c->loop);
    http_upstream_count(u, 1);
    s->u = u;
    s->beginning = true;
    s->begin.run = on_begin;
    err_info_init(&s->info);
    loop_defer(c->loop, &s->begin);
    return u;
}
