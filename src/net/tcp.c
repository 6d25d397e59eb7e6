/* tcp: sockets without ceremony: one recv for a read, one send for a write, a queue only for what
 * the socket refuses, the same face for plain and TLS. */
#include "net/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"

/* Bytes that one connection may have waiting: the longest answer that leaves at once. Who writes
 * bit by bit pauses long before. */
#define OUT_MAX    (33u << 20)
#define IOV_BATCH  64
#define GATHER_MAX 4096

static struct tcp *of_io(struct io *io)
{
    return (struct tcp *)((char *)io - offsetof(struct tcp, io));
}

/* A step of a handshake, on its own: most connections have none before them. */
struct tcp_step {
    struct costly costly;
    struct tcp *tcp;
};

static void drop_step(struct tcp *t)
{
    if (t->step)
        costly_drop(io_loop(&t->io), &t->step->costly);
    mem_free(t->step);
    t->step = NULL;
}

static bool step_waits(const struct tcp *t)
{
    return t->step && costly_waits(&t->step->costly);
}

static void rearm(struct tcp *t)
{
    int events = t->paused ? 0 : IO_READ;
    if (t->connecting || (t->tls_wants_write && !t->paused) || t->tls_holds ||
        (!t->handshaking && !t->held && tcp_queued(t)))
        events |= IO_WRITE;
    if (t->connecting)
        events = IO_WRITE;
    if (step_waits(t))
        events = 0;
    io_want(&t->io, events);
}

/* ---- the queue ------------------------------------------------------------ */

/* Made when the socket refuses something, gone once it is empty: most connections never have one.
 */
struct tcp_queue {
    uint64_t moved_ms;
    struct iovec *lent; /* goes out behind our own */
    uint32_t lent_n;
    uint32_t off, len, cap; /* own[off..len) waits */
    char own[];
};

static uint32_t own_waits(const struct tcp *t)
{
    return t->queue ? t->queue->len - t->queue->off : 0;
}

static bool lent_waits(const struct tcp *t)
{
    return t->queue && t->queue->lent_n;
}

size_t tcp_queued(const struct tcp *t)
{
    const struct tcp_queue *q = t->queue;
    if (!q)
        return 0;
    size_t n = q->len - q->off;
    for (uint32_t i = 0; i < q->lent_n; i++)
        n += q->lent[i].iov_len;
    return n;
}

uint64_t tcp_moved_ms(const struct tcp *t)
{
    return t->queue ? t->queue->moved_ms : 0;
}

static void drop_queue(struct tcp *t)
{
    mem_free(t->queue);
    t->queue = NULL;
}

/* Room for `add` bytes of our own behind those that wait. False: there is none. */
static bool queue_room(struct tcp *t, size_t add)
{
    struct tcp_queue *q = t->queue;
    uint32_t have = own_waits(t);
    if (add > OUT_MAX - have)
        return false;
    if (q && add <= q->cap - q->len)
        return true;
    if (q && q->off) {
        memmove(q->own, q->own + q->off, have);
        q->off = 0;
        q->len = have;
    }
    uint32_t cap = q ? q->cap : 0;
    if (q && have + add <= cap)
        return true;
    while (cap < have + add)
        cap = cap ? cap * 2 : 1024;
    struct tcp_queue *bigger = mem_realloc(q, sizeof *q + cap);
    if (!bigger)
        return false;
    if (!q)
        *bigger = (struct tcp_queue){.moved_ms = loop_now_ms(io_loop(&t->io))};
    bigger->cap = cap;
    t->queue = bigger;
    return true;
}

/* ---- writing -------------------------------------------------------------- */

/* Puts a short vector together: a copy of 4 KiB costs less than sendmsg costs over send. */
static bool gather(const struct iovec *iov, unsigned n, char to[GATHER_MAX], size_t *total)
{
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].iov_len > GATHER_MAX - at)
            return false;
        if (iov[i].iov_len)
            memcpy(to + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    *total = at;
    return true;
}

/* Returns bytes taken (0: the socket is full), or -1. */
static ssize_t send_some(struct tcp *t, const struct iovec *iov, unsigned n)
{
    if (t->tls) {
        size_t put = 0;
        enum tls_io r = tls_writev(t->tls, iov, (int)n, &put);
        t->tls_wants_write = r == TLS_IO_WANT_WRITE;
        if (r == TLS_IO_OK)
            return (ssize_t)put;
        return r == TLS_IO_WANT_READ || r == TLS_IO_WANT_WRITE ? 0 : -1;
    }
    char small[GATHER_MAX];
    struct iovec one = iov[0];
    if (n > 1 && gather(iov, n, small, &one.iov_len)) {
        one.iov_base = small;
        n = 1;
    }
    for (;;) {
        struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
        ssize_t k = n == 1 ? send(t->io.fd, one.iov_base, one.iov_len, MSG_NOSIGNAL)
                           : sendmsg(t->io.fd, &m, MSG_NOSIGNAL);
        if (k >= 0)
            return k;
        if (errno == EINTR)
            continue;
        return errno == EAGAIN ? 0 : -1;
    }
}

/* Drops the first `bytes` of the vector; returns how many entries are wholly gone. */
static unsigned skip(struct iovec *iov, unsigned n, size_t bytes)
{
    unsigned i = 0;
    while (i < n && bytes >= iov[i].iov_len)
        bytes -= iov[i++].iov_len;
    if (i < n) {
        iov[i].iov_base = (char *)iov[i].iov_base + bytes;
        iov[i].iov_len -= bytes;
    }
    return i;
}

static bool keep_copy(struct tcp *t, const struct iovec *iov, unsigned n)
{
    size_t add = 0;
    for (unsigned i = 0; i < n; i++)
        add += iov[i].iov_len;
    if (!add)
        return true;
    if (!queue_room(t, add))
        return false;
    struct tcp_queue *q = t->queue;
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].iov_len)
            memcpy(q->own + q->len, iov[i].iov_base, iov[i].iov_len);
        q->len += (uint32_t)iov[i].iov_len;
    }
    return true;
}

bool tcp_write(struct tcp *t, const struct iovec *iov, unsigned n)
{
    assert(!lent_waits(t) && n <= IOV_BATCH);
    if (t->failed)
        return false;
    struct iovec rest[IOV_BATCH];
    memcpy(rest, iov, n * sizeof *iov);
    struct iovec *at = rest;
    if (!tcp_queued(t) && !t->handshaking && !t->connecting && !t->held) {
        while (n) {
            size_t want = 0;
            for (unsigned i = 0; i < n; i++)
                want += at[i].iov_len;
            ssize_t k = send_some(t, at, n);
            if (k < 0) {
                t->failed = 1;
                return false;
            }
            unsigned gone = skip(at, n, (size_t)k);
            at += gone;
            n -= gone;
            if (!t->tls && (size_t)k < want)
                break; /* the socket is full: no second call to hear it say so */
            if (k == 0)
                break;
        }
    }
    if (n) {
        if (!keep_copy(t, at, n)) {
            t->failed = 1;
            return false;
        }
        rearm(t);
    }
    return true;
}

/* Writes what the socket takes. False: the peer is gone. */
static bool send_lent(struct tcp *t, struct iovec **iov, unsigned *n)
{
    while (*n) {
        unsigned batch = *n < IOV_BATCH ? *n : IOV_BATCH;
        ssize_t k = send_some(t, *iov, batch);
        if (k < 0)
            return false;
        if (k && t->queue)
            t->queue->moved_ms = loop_now_ms(io_loop(&t->io));
        unsigned gone = skip(*iov, batch, (size_t)k);
        *iov += gone;
        *n -= gone;
        if (k == 0 || (!t->tls && gone < batch))
            break;
    }
    return true;
}

bool tcp_write_lent(struct tcp *t, struct iovec *iov, unsigned n)
{
    assert(!lent_waits(t));
    if (t->failed)
        return false;
    if (!own_waits(t) && !t->handshaking && !t->connecting && !send_lent(t, &iov, &n)) {
        t->failed = 1;
        return false;
    }
    if (!n)
        return true;
    if (!queue_room(t, 0)) {
        t->failed = 1;
        return false;
    }
    t->queue->lent = iov;
    t->queue->lent_n = n;
    rearm(t);
    return true;
}

/* Sends from the queue; false when the peer is gone. */
static bool flush(struct tcp *t)
{
    struct tcp_queue *q = t->queue;
    while (q->len > q->off) {
        struct iovec v = {q->own + q->off, q->len - q->off};
        ssize_t k = send_some(t, &v, 1);
        if (k < 0)
            return false;
        q->off += (uint32_t)k;
        if (k)
            q->moved_ms = loop_now_ms(io_loop(&t->io));
        if (k == 0 || (!t->tls && q->off < q->len))
            return true;
    }
    if (!send_lent(t, &q->lent, &q->lent_n))
        return false;
    if (!q->lent_n)
        drop_queue(t);
    return true;
}

/* ---- events --------------------------------------------------------------- */

static void end_handshake(struct tcp *t, enum err e)
{
    t->handshaking = 0;
    drop_step(t);
    if (e) {
        t->failed = 1;
        io_want(&t->io, 0);
    } else {
        rearm(t);
    }
    t->on->connected(t, e);
}

static void on_step(struct costly *c)
{
    struct tcp *t = ((struct tcp_step *)c)->tcp; /* it begins with c */
    enum tls_io r = tls_handshake(t->tls);
    t->tls_wants_write = r == TLS_IO_WANT_WRITE;
    if (r == TLS_IO_WANT_READ || r == TLS_IO_WANT_WRITE)
        rearm(t);
    else
        end_handshake(t, r == TLS_IO_OK ? ERR_OK : ERR_TLS);
}

/* What we ask of an upstream is of a request that was taken, and may always wait. */
static void step_handshake(struct tcp *t)
{
    if (!t->step && !(t->step = mem_zalloc(sizeof *t->step))) {
        end_handshake(t, ERR_NOMEM);
        return;
    }
    t->step->tcp = t;
    if (!costly_run(io_loop(&t->io), &t->step->costly, !t->accepted, on_step))
        end_handshake(t, ERR_OVERLOADED);
    else if (step_waits(t))
        rearm(t);
}

static void finish_connect(struct tcp *t)
{
    int so = 0;
    socklen_t n = sizeof so;
    if (getsockopt(t->io.fd, SOL_SOCKET, SO_ERROR, &so, &n) || so) {
        t->failed = 1;
        t->sys_errno = (uint16_t)so;
        t->connecting = 0;
        io_want(&t->io, 0);
        t->on->connected(t, so == ETIMEDOUT ? ERR_CONNECT_TIMEOUT : ERR_CONNECT);
        return;
    }
    t->connecting = 0;
    if (t->tls) {
        t->handshaking = 1;
        step_handshake(t);
        return;
    }
    rearm(t);
    t->on->connected(t, ERR_OK);
}

static void on_ready(struct io *io, int events)
{
    struct tcp *t = of_io(io);
    if (t->connecting) {
        finish_connect(t);
        return;
    }
    if (t->handshaking) {
        step_handshake(t);
        return;
    }
    if ((events & IO_WRITE || t->tls_wants_write) && tcp_queued(t) && !t->held) {
        bool ok = flush(t);
        if (!ok) {
            t->failed = 1;
            drop_queue(t);
            rearm(t);
            if (!t->paused)
                t->on->readable(t); /* tcp_read says TCP_FAILED once it has given what is left */
            return;
        }
        rearm(t);
        if (!tcp_queued(t)) {
            t->on->sent(t);
            return; /* the owner may have closed; readable comes again by itself */
        }
    }
    if (events & IO_READ || (!t->paused && (t->tls_wants_write || t->tls_holds))) {
        if (t->tls_holds) {
            t->tls_holds = 0;
            rearm(t);
        }
        t->on->readable(t);
    }
}

enum tcp_io tcp_read(struct tcp *t, void *to, size_t cap, size_t *got)
{
    *got = 0;
    if (t->tls) { /* also after a failure: the descriptor's bytes are never plain text */
        enum tls_io r = tls_read(t->tls, to, cap, got);
        if (t->tls_wants_write != (r == TLS_IO_WANT_WRITE)) {
            t->tls_wants_write = r == TLS_IO_WANT_WRITE;
            if (!t->failed)
                rearm(t);
        }
        switch (r) {
        case TLS_IO_OK:
            return TCP_OK;
        case TLS_IO_WANT_READ:
        case TLS_IO_WANT_WRITE:
            return t->failed ? TCP_FAILED : TCP_AGAIN;
        case TLS_IO_EOF:
            return t->failed || tls_truncated(t->tls) ? TCP_FAILED : TCP_EOF;
        case TLS_IO_ERROR:
            break;
        }
        return TCP_FAILED;
    }
    for (;;) {
        ssize_t n = recv(t->io.fd, to, cap, 0);
        if (n > 0) {
            *got = (size_t)n;
            return TCP_OK;
        }
        if (n == 0)
            return t->failed ? TCP_FAILED : TCP_EOF;
        if (errno == EINTR)
            continue;
        return errno == EAGAIN && !t->failed ? TCP_AGAIN : TCP_FAILED;
    }
}

bool tcp_has_more(const struct tcp *t)
{
    return t->tls && tls_pending(t->tls);
}

void tcp_hold(struct tcp *t)
{
    t->held = 1;
    rearm(t);
}

void tcp_let_go(struct tcp *t)
{
    t->held = 0;
    if (t->queue)
        t->queue->moved_ms = loop_now_ms(io_loop(&t->io));
    rearm(t);
}

void tcp_pause(struct tcp *t)
{
    t->paused = 1;
    t->tls_holds = 0;
    rearm(t);
}

void tcp_resume(struct tcp *t)
{
    t->paused = 0;
    t->tls_holds = tcp_has_more(t); /* a writable descriptor then calls readable */
    rearm(t);
}

/* ---- life ------------------------------------------------------------------ */

static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

enum err tcp_open(struct tcp *t, struct loop *l, int fd, const struct tcp_events *on,
                  struct tls_context *server_tls)
{
    memset(t, 0, sizeof *t);
    t->on = on;
    if (server_tls) {
        t->tls = tls_new(server_tls, fd, STR_NULL, 0, NULL);
        if (!t->tls)
            return ERR_NOMEM;
        t->handshaking = t->accepted = 1;
    }
    enum err e = io_open(&t->io, l, fd, IO_READ, on_ready);
    if (e)
        tls_free(&t->tls);
    return e;
}

enum err tcp_connect(struct tcp *t, struct loop *l, const struct checked_addr *to,
                     const struct tcp_events *on, struct tls_context *tls, struct str host,
                     struct tls_session_cache *sessions, struct err_info *info)
{
    memset(t, 0, sizeof *t);
    t->on = on;
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(checked_addr_get(to), &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(info, ERR_OVERLOADED, "no descriptor for an upstream connection: %s",
                       strerror(errno));
    no_delay(fd);
    if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS) {
        enum err e = err_set(info, ERR_CONNECT, "connect: %s", strerror(errno));
        close(fd);
        return e;
    }
    t->connecting = 1;
    if (tls) {
        t->tls = tls_new(tls, fd, host, checked_addr_get(to)->port, sessions);
        if (!t->tls) {
            close(fd);
            return ERR_NOMEM;
        }
    }
    enum err e = io_open(&t->io, l, fd, IO_WRITE, on_ready);
    if (e) {
        tls_free(&t->tls);
        close(fd);
    }
    return e;
}

void tcp_shutdown(struct tcp *t)
{
    if (t->failed)
        return;
    if (t->tls)
        tls_shutdown(t->tls);
    shutdown(t->io.fd, SHUT_WR);
}

static void on_io_closed(struct io *io)
{
    struct tcp *t = of_io(io);
    if (t->on_closed)
        t->on_closed(t);
}

void tcp_close(struct tcp *t, void (*on_closed)(struct tcp *t))
{
    t->on_closed = on_closed;
    drop_step(t);
    drop_queue(t);
    tls_free(&t->tls);
    int fd = t->io.fd;
    io_close(&t->io, on_io_closed);
    close(fd);
}

void tcp_abort(struct tcp *t, void (*on_closed)(struct tcp *t))
{
    struct linger l = {.l_onoff = 1};
    setsockopt(t->io.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    tcp_close(t, on_closed);
}
