/* tcp: one connected socket on a loop: read when told, write at once, queue what the socket
 * refuses.
 *
 * Owned by its loop's thread and embedded in its owner, where it must stay until
 * on_closed. Plain or TLS makes no difference to the owner.  No callback runs
 * inside the call that caused it, and none after tcp_close. */
#ifndef LYSS_NET_TCP_H
#define LYSS_NET_TCP_H

#include <sys/uio.h>

#include "net/guard.h"
#include "net/loop.h"
#include "net/tls.h"

struct tcp;

struct tcp_events {
    /* There are bytes, an EOF or an error to be had from tcp_read. */
    void (*readable)(struct tcp *t);
    /* All that was queued has been taken by the socket. */
    void (*sent)(struct tcp *t);
    /* The end of tcp_connect and of a TLS handshake (ERR_OK, or why not). */
    void (*connected)(struct tcp *t, enum err e);
};

struct tcp_queue;
struct tcp_step;

struct tcp {
    struct io io;
    union {
        const struct tcp_events *on; /* until tcp_close */
        void (*on_closed)(struct tcp *t);
    };
    struct tls *tls;
    struct tcp_queue *queue; /* what the socket has refused; NULL: nothing */
    struct tcp_step *step;   /* the handshake's next; NULL: none under way */
    uint16_t sys_errno;      /* why it could not connect; 0: unknown */
    uint8_t paused : 1, failed : 1, connecting : 1, handshaking : 1, tls_wants_write : 1;
    uint8_t accepted : 1;  /* the server's side */
    uint8_t held : 1;      /* what is written waits */
    uint8_t tls_holds : 1; /* bytes read while paused, of which the descriptor will not tell */
};

enum tcp_io { TCP_OK, TCP_AGAIN, TCP_EOF, TCP_FAILED };

/* Takes a connected, non-blocking descriptor. A TLS context makes it the server's side of a
 * handshake, whose end `connected` tells (ERR_OVERLOADED: too many wait for a step of theirs, see
 * net/loop.h); without one the connection is usable at once. On failure
 * the descriptor stays the caller's. */
enum err tcp_open(struct tcp *t, struct loop *l, int fd, const struct tcp_events *on,
                  struct tls_context *server_tls) MUST_CHECK;

/* Starts to connect; the end is told by `connected`, never from inside this call. Only an address
 * that the guard has checked can be had here. tls: NULL for plain; host: SNI and certificate name;
 * sessions: this worker's cache. */
enum err tcp_connect(struct tcp *t, struct loop *l, const struct checked_addr *to,
                     const struct tcp_events *on, struct tls_context *tls, struct str host,
                     struct tls_session_cache *sessions, struct err_info *info) MUST_CHECK;

/* One read. TCP_OK: *got bytes > 0. */
enum tcp_io tcp_read(struct tcp *t, void *to, size_t cap, size_t *got);
/* True when bytes wait inside the TLS layer, which no readiness event will tell of. */
bool tcp_has_more(const struct tcp *t);

/* Writes now what the socket takes and copies the rest to the queue. False: the peer is gone. */
bool tcp_write(struct tcp *t, const struct iovec *iov, unsigned n) MUST_CHECK;
/* The same without a copy: iov and what it points at stay untouched until `sent`, or close.
 * The iov array is changed. */
bool tcp_write_lent(struct tcp *t, struct iovec *iov, unsigned n) MUST_CHECK;
/* Bytes not yet taken by the socket. */
size_t tcp_queued(const struct tcp *t);
/* Loop time when bytes last left the queue, or began to wait in it; 0: none wait. */
uint64_t tcp_moved_ms(const struct tcp *t);

/* From here on what is written waits in the queue, behind what waits there already; and goes on. */
void tcp_hold(struct tcp *t);
void tcp_let_go(struct tcp *t);

/* Stops and goes on telling readable. */
void tcp_pause(struct tcp *t);
void tcp_resume(struct tcp *t);
/* Sends a FIN (after TLS close_notify) once the queue is empty; call when tcp_queued is 0. */
void tcp_shutdown(struct tcp *t);
/* Closes the descriptor at once; on_closed (may be NULL) runs later on the loop. */
void tcp_close(struct tcp *t, void (*on_closed)(struct tcp *t));
/* As tcp_close, with a RST in place of a FIN. */
void tcp_abort(struct tcp *t, void (*on_closed)(struct tcp *t));

/* ---- listening ------------------------------------------------------- */
struct tcp_listener {
    struct io io;
    struct deadline again; /* armed while there are no descriptors to be had */
    /* No descriptor is left: may close some that are not needed; true: accept again at once. NULL:
     * the queue waits a moment. */
    bool (*starved)(struct tcp_listener *s);
    /* Takes fd: non-blocking, TCP_NODELAY set. */
    void (*accepted)(struct tcp_listener *s, int fd, const struct addr *peer);
};

/* A bound, listening descriptor, or -1 with info. reuse_port: SO_REUSEPORT, one listener a worker;
 * without it a port in use is refused, which is how a second process is noticed. */
int tcp_bind(const struct addr *at, bool reuse_port, struct err_info *info);
/* The address that fd is bound to (port 0 resolved). */
enum err tcp_bound(int fd, struct addr *out) MUST_CHECK;
/* Takes fd. */
enum err tcp_listen(struct tcp_listener *s, struct loop *l, int fd,
                    void (*accepted)(struct tcp_listener *, int, const struct addr *)) MUST_CHECK;
/* Accepts what is in the queue, then closes. */
void tcp_listener_close(struct tcp_listener *s);

#endif
