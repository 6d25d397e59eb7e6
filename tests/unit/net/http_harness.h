/* What the tests of the HTTP server and client share: a loop that is turned by hand, sockets on the
 * loopback, and time that passes when a test says so. */
#ifndef TESTS_UNIT_NET_HTTP_HARNESS_H
#define TESTS_UNIT_NET_HTTP_HARNESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/loop.h"

static struct loop *loop;
static int64_t offset_ms;

/* One turn: what is ready is served, nothing is waited for. */
static inline void turn(void)
{
    loop_stop(loop);
    loop_run(loop);
}

static inline void settle(void)
{
    for (int i = 0; i < 12; i++)
        turn();
}

/* Lets the loop's clock go on by ms, and the loop see it. */
static inline void pass_ms(int64_t ms)
{
    offset_ms += ms;
    clock_test_offset_ns(offset_ms * 1000000);
    for (int i = 0; i < 3; i++) {
        usleep(21000); /* a slot of the wheel, which real time turns */
        turn();
    }
    settle();
}

static inline int listen_any(struct sockaddr_in *at)
{
    socklen_t n = sizeof *at;
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)at, n), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)at, &n), 0);
    return fd;
}

/* The test's end of a connection, and what has come over it. */
struct peer {
    int fd;
    char got[4 << 20];
    size_t n;
    bool eof, reset;
};

static inline void peer_read(struct peer *p)
{
    while (p->fd >= 0 && !p->eof && !p->reset && p->n < sizeof p->got - 1) {
        ssize_t k = recv(p->fd, p->got + p->n, sizeof p->got - 1 - p->n, MSG_DONTWAIT);
        if (k < 0 && errno == EAGAIN)
            break;
        p->reset = k < 0;
        p->eof = k == 0;
        p->n += k > 0 ? (size_t)k : 0;
    }
    p->got[p->n] = 0;
}

static inline void peer_send(struct peer *p, const void *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(p->fd, (const char *)data + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) {
            assert_int_equal(errno, EAGAIN);
            turn();
        }
        at += k > 0 ? (size_t)k : 0;
    }
}

static inline void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static inline void peer_reset(struct peer *p)
{
    struct linger l = {.l_onoff = 1};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    peer_close(p);
}

#endif
