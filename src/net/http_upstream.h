/* http_upstream: a connection to an upstream, and what the two halves of the client share:
 * http_connect.c makes connections, http_client.c uses them.  For these two only. */
#ifndef LYSS_NET_HTTP_UPSTREAM_H
#define LYSS_NET_HTTP_UPSTREAM_H

#include "net/http_warm.h"

enum { RESOLVING, CONNECTING, WAITING_HEAD, IN_BODY, IDLE, CLOSED };

struct http_setup;

struct http_upstream {
    struct tcp tcp; /* first */
    struct http_call *call;
    uint8_t state, framing;
    bool keep_alive, served, tcp_open, early_bytes;
    struct http_chunked chunked;
    uint64_t left;
    struct http_client *client;
    struct http_origin *origin;
    struct http_upstream *next, *prev;               /* in the client's pool, while idle */
    struct http_upstream *origin_next, *origin_prev; /* in the origin's, while idle */
    struct http_setup *setup;                        /* while resolving and connecting */
    char *in;                                        /* a partial head */
    uint32_t in_len, in_cap, scan;
    uint64_t idle_since_ms;
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
/* Forgets what the making of u needed, at any point of it. */
void http_connect_stop(struct http_upstream *u);

#endif
