/* http_client: outbound HTTP/1.1 calls of one worker, over pooled connections.
 *
 * Owned by the worker's thread.  Connections are kept per origin; the one used
 * last is used first, and bytes or an EOF on an idle one close it.  No callback
 * of a call comes before http_call_start has returned, and none after
 * http_call_cancel, nor after end or fail. */
#ifndef LYSS_NET_HTTP_CLIENT_H
#define LYSS_NET_HTTP_CLIENT_H

#include "net/dns.h"
#include "net/http1.h"
#include "net/tcp.h"
#include "net/url.h"

struct http_upstream; /* a connection */
struct http_call;

struct http_call_events {
    /* The final head; its spans die with this call. */
    void (*head)(struct http_call *call, const struct http_head *h);
    /* Decoded body bytes as they come; p is the callee's to change until it returns. */
    void (*body)(struct http_call *call, char *p, size_t n);
    /* The body is whole. The connection is back in the pool, or closed. */
    void (*end)(struct http_call *call);
    /* The call has failed; the connection is closed. */
    void (*fail)(struct http_call *call, enum err e, const struct err_info *info);
};

/* Where calls go: one for each base URL, owned by the caller and
 * used by one worker. It outlives every call to it. */
struct http_origin {
    struct url url;          /* scheme, host, port */
    struct tls_context *tls; /* for https; borrowed */
    int (*open)(void *user); /* in place of an address: returns a connected descriptor */
    void *open_user;
    uint32_t connect_ms;        /* DNS, connect and handshake together */
    struct http_upstream *idle; /* used last first */
    unsigned idle_n, open_n;
    uint64_t connects;         /* ever */
    _Atomic int64_t *open_all; /* counts open_n, too, for others to read; may be NULL */
    /* Keeping it warm: */
    struct http_origin *warm_next;
    struct http_upstream *warming;   /* a connection that is being made for no call yet */
    uint64_t used_ms, connect_at_ms; /* the last call; the last connection begun; loop time */
    bool warm;                       /* among those that are */
};

struct http_client {
    struct loop *loop;
    struct dns *dns;
    const struct guard *guard;
    struct tls_session_cache *sessions;
    uint32_t pool_idle_ms;
    struct http_upstream *pool_head, *pool_tail; /* all idle ones, used last first */
    struct deadline sweep;
    unsigned warm_n;          /* connections to keep to an origin that is in use; 0: none */
    struct http_origin *warm; /* origins in use */
    struct deadline warm_look;
    unsigned open_n;
    _Atomic int64_t *open_all, *connects_all; /* sums over all clients; may be NULL */
};

/* One request and its answer; embedded in its owner. */
struct http_call {
    const struct http_call_events *on;
    struct http_upstream *conn;
    const struct iovec *iov; /* the request's bytes, in the owner's arena */
    struct iovec *work;      /* room for as many entries, likewise */
    uint16_t iov_n;
    bool reused;     /* went out on a connection that had served before */
    bool got_bytes;  /* any byte of an answer has come */
    bool fresh_only; /* take no pooled connection */
};

/* An origin that was called less than HTTP_WARM_MS ago is left with no fewer connections than
 * client->warm_n: where they have gone, one is made anew, HTTP_WARM_GAP_MS after the last was. */
#define HTTP_WARM_MS     (5 * 60 * 1000)
#define HTTP_WARM_GAP_MS 10000

void http_client_init(struct http_client *c, struct loop *l, struct dns *dns,
                      const struct guard *guard, uint32_t pool_idle_ms);
/* Closes up to n of the connections that have been idle longest; returns how many. */
unsigned http_client_evict(struct http_client *c, unsigned n);
/* Closes what is idle. Call after all calls have ended or been cancelled. */
void http_client_release(struct http_client *c);

/* Sends iov[0..n) to the origin. A reused connection that fails before the first byte of an answer
 * is replaced once by a fresh one. iov, work and what iov points at stay untouched until end, fail
 * or cancel, or until the first head() once the request is sent wholly. ERR_NOMEM: not started. */
enum err http_call_start(struct http_client *c, struct http_origin *o,
                         struct http_call *call) MUST_CHECK;
/* Ends the call without a further callback: closes its connection. Harmless when it has ended. */
void http_call_cancel(struct http_call *call);
/* Stops and goes on reading the answer. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* Is the request still going out? */
bool http_call_sending(const struct http_call *call);

#endif
