/* http_upstream: a connection to an upstream, and what the two halves of the client share:
 * http_connect.c makes connections, http_client.c uses them.  For these two only. */
#ifndef LYSS_NET_HTTP_UPSTREAM_H
#define LYSS_NET_HTTP_UPSTREAM_H

#include "net/http_warm.h"

enum { RESOLVING, CONNECTING, WAITING_HEAD, IN_BODY, IDLE, CLOSED };

struct http_setup;

/* A head that has come in part. */
struct http_partial {
    char *p;
    uint32_t n, cap, scan;
};

struct http_idle {
    struct http_upstream *next, *prev;               /* in the client's pool */
    struct http_upstream *origin_next, *origin_prev; /* in the origin's */
    uint64_t since_ms;
};

struct http_upstream {
    struct tcp tcp; /* first */
    uint8_t state, framing;
    bool keep_alive, tcp_open;
    struct http_call *call;
    struct http_client *client;
    struct http_origin *origin;
    union {                          /* by state; each is set when its state begins */
        struct http_setup *setup;    /* RESOLVING, CONNECTING */
        struct http_partial head;    /* WAITING_HEAD */
        struct http_chunked chunked; /* IN_BODY, */
        uint64_t left;               /* by its framing */
        struct http_idle idle;       /* IDLE */
    };
};

/* ---- http_client.c ---- */
extern const struct tcp_events http_upstream_events;
/* Connected: sends its call's request, or waits in the pool. */
void http_upstream_ready(struct http_upstream *u);
/* Closes it and tells its call, if any. info may be NULL, or lie in u. */
void http_upstream_fail(struct http_upstream *u, enum err e, const struct err_info *info);
/* The end of tcp_close: frees it. */
void http_upstream_closed(struct tcp *t);
void http_upstream_count(struct http_upstream *u, int by);

/* ---- http_connect.c ---- */
void http_connect_done(struct tcp *t, enum err e);
/* Forgets what the making of u needed, at any point of it; another state is to begin. */
void http_connect_stop(struct http_upstream *u);

#endif
