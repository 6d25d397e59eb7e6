/* http_server: inbound HTTP/1.1 connections of one worker: keep-alive, bodies, replies, streams.
 *
 * Owned by the worker's thread.  A connection serves one request at a time;
 * what a client pipelines behind it waits (16 KiB; more is discarded and the
 * connection will close).  Reading never stops, so that a client's FIN or RST is
 * seen in every phase. */
#ifndef LYSS_NET_HTTP_SERVER_H
#define LYSS_NET_HTTP_SERVER_H

#include "core/arena.h"
#include "net/http1.h"
#include "net/tcp.h"

struct http_conn;

/* What the server asks of the floor above. None may be NULL. */
struct http_service {
    /* The head is complete (its spans die with this call). Either replies, or calls
     * http_accept and is asked again by body(). */
    void (*head)(struct http_conn *c, const struct http_head *h);
    /* The whole body, in the arena given to http_accept. Replies now or later. */
    void (*body)(struct http_conn *c, struct str body);
    /* The request cannot be served on: the caller went away (ERR_CLIENT_GONE), or its body is
     * malformed, too slow or too large. For the former no reply is possible any more and c is
     * closed after this call; for the others the service replies with the error, now or later.
     * Called only between head() and the end of the reply. */
    void (*failed)(struct http_conn *c, enum err e, const struct err_info *info);
    /* No usable head: the service replies with the error; there is no request. */
    void (*malformed)(struct http_conn *c, enum err e, const struct err_info *info);
    /* All that was written has been taken by the socket. */
    void (*sent)(struct http_conn *c);
};

struct http_server_limits {
    uint64_t body_max_bytes;
    uint32_t head_ms, idle_ms, body_stall_ms, body_min_bytes_per_s, write_stall_ms, linger_ms;
};

struct http_held;

/* A stream may have so much waiting before it pauses. */
#define HTTP_UNSENT_FREE 65536u

/* Requests that begin on connections whose last body was long, in one turn of the loop. */
struct http_long_turn {
    uint64_t turn;
    unsigned begun, put_off, put_off_before /* in the turn before */;
};

struct http_server {
    struct loop *loop;
    const struct http_service *service;
    struct http_server_limits limits;
    struct tls_context *tls;
    struct http_conn *conns; /* all of them */
    unsigned count, lingering;
    struct http_long_turn longs;
    _Atomic unsigned *connections; /* follows count, for other threads; may be NULL */
    /* What callers have not taken of their answers, but for the first HTTP_UNSENT_FREE of each
     * connection; follows it, for other threads. NULL: it is not counted. */
    _Atomic uint64_t *unsent_bytes;
    /* Is that more than there is room for? Asked when it has grown; true: the connection that
     * it grew by ends, with what it has sent. NULL: never. */
    bool (*full)(struct http_server *s);
    bool closing; /* every reply carries Connection: close */
    /* The last byte of each reply to a request whose body was accepted waits until
     * http_server_send_held; held is told of each. NULL: none waits. */
    void (*held)(struct http_server *s);
    struct http_held *held_first, **held_last;
    void *user;
};

/* A request's body on its way in; in the service's arena. */
struct http_incoming {
    struct arena *arena;
    char *p;
    uint64_t n, cap, mark /* n when it was last looked at */;
    struct http_chunked chunked;
};

struct http_conn {
    /* First what each piece of a stream touches. */
    struct tcp tcp;
    uint8_t state, framing, minor;
    bool keep_alive; /* behind a reply given now; false while a part of the body is still to come */
    bool may_keep;   /* the same once the body is here */
    bool discarding, chunked_out, expects_continue, next_pending;
    struct addr peer;
    uint32_t long_body;    /* bytes of the last one, where it was long */
    uint32_t unsent_bytes; /* of it, counted at the server: most of what waited at once */
    struct http_server *server;
    void *user;                     /* the service's */
    struct http_held *held;         /* NULL: no end of a reply waits */
    struct http_incoming *incoming; /* from http_accept until the body is here, or has failed */
    struct message next_turn;
    struct deadline deadline;
    uint64_t due_ms; /* of the state that it is in; 0: none */
    struct http_conn *next, **prev;
    char *in; /* partial head, or bytes pipelined behind the request */
    uint32_t in_len, in_cap, scan;
};

/* Takes fd; on failure it is closed. */
void http_server_accept(struct http_server *s, int fd, const struct addr *peer);
/* After the loop has stopped: closes what is left; the loop must then be freed. */
void http_server_release(struct http_server *s);
/* From now on every connection closes behind its reply, and the reply says so where it has not
 * begun. */
void http_server_end_keep_alive(struct http_server *s);
/* The same, and closes idle connections now. */
void http_server_close_idle(struct http_server *s);
/* The same, and closes those whose request's head has not come whole. */
void http_server_close_unserved(struct http_server *s);

/* Gives the ends that wait, and have no mark yet, this one; marks grow, none is UINT64_MAX. (The
 * end of an HTTP/1.0 stream, which only a FIN tells, does not wait.) */
void http_server_mark_held(struct http_server *s, uint64_t mark);
/* Sends those whose mark is at most `upto`. True: others wait still. */
bool http_server_send_held(struct http_server *s, uint64_t upto);

/* From head(): the body is wanted, into this arena (which must outlive it). */
void http_accept(struct http_conn *c, struct arena *arena);

/* A whole reply in one write. headers: complete "Name: value\r\n" lines. The connection goes on to
 * its next request; c->user is cleared first. False: the peer is gone, or there is no room for what
 * it does not take; failed() is not called. */
bool http_reply(struct http_conn *c, int status, struct str headers, struct str body);
/* The same with a length announced but no body (answers to HEAD). */
void http_reply_head(struct http_conn *c, int status, struct str headers, size_t length);

/* A reply whose end is not known: the head and the first bytes (may be empty) in one write. False:
 * the peer is gone; failed() is called on the next turn, not from here. */
bool http_stream_start(struct http_conn *c, int status, struct str headers, struct str first);
bool http_stream_write(struct http_conn *c, struct str data);
/* The last data (may be empty) and the end in one write; the connection goes on. */
void http_stream_write_last(struct http_conn *c, struct str data);
/* Ends it well: the last chunk; the connection goes on. */
void http_stream_finish(struct http_conn *c);
/* Ends it badly: what is queued still goes out, then the connection closes without the last
 * chunk, so that a client knows the reply is not whole. */
COLD void http_stream_break(struct http_conn *c);

#endif
