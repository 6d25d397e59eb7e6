/* tcp_listen: bound sockets, and accepting from them without starving what is open already. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"

#define BACKLOG               4096
#define ACCEPT_A_TURN         64
#define NO_DESCRIPTOR_WAIT_MS 100

int tcp_bind(const struct addr *at, bool reuse_port, struct err_info *info)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(at, &ss);
    int one = 1, fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)!err_set(info, ERR_IO, "socket: %s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG)) {
        (void)!err_set(info, ERR_IO, "%s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

enum err tcp_bound(int fd, struct addr *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) ||
        !addr_from_sockaddr((struct sockaddr *)&ss, out))
        return ERR_IO;
    return ERR_OK;
}

static void on_again(struct deadline *d)
{
    struct tcp_listener *s =
        (struct tcp_listener *)((char *)d - offsetof(struct tcp_listener, again));
    io_want(&s->io, IO_READ);
}

static void accept_some(struct tcp_listener *s)
{
    for (int i = 0; i < ACCEPT_A_TURN; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        int fd = accept4(s->io.fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            bool none_left = errno == EMFILE || errno == ENFILE;
            if (none_left && s->starved && s->starved(s))
                continue;
            if (none_left || errno == ENOMEM || errno == ENOBUFS) {
                /* The queue waits in the kernel; looking again at once would only spin. */
                io_want(&s->io, 0);
                struct loop *l = io_loop(&s->io);
                deadline_set(l, &s->again, loop_now_ms(l) + NO_DESCRIPTOR_WAIT_MS, on_again);
            }
            return;
        }
        int one = 1;
        struct addr peer = {0};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (!addr_from_sockaddr((struct sockaddr *)&ss, &peer))
            peer = (struct addr){0};
        s->accepted(s, fd, &peer);
    }
}

static void on_ready(struct io *io, int events)
{
    (void)events;
    accept_some((struct tcp_listener *)((char *)io - offsetof(struct tcp_listener, io)));
}

enum err tcp_listen(struct tcp_listener *s, struct loop *l, int fd,
                    void (*accepted)(struct tcp_listener *, int, const struct addr *))
{
    s->accepted = accepted;
    s->again = (struct deadline){0};
    return io_open(&s->io, l, fd, IO_READ, on_ready);
}

void tcp_listener_close(struct tcp_listener *s)
{
    if (!s->io.open)
        return;
    accept_some(s);
    deadline_clear(&s->again);
    int fd = s->io.fd;
    io_close(&s->io, NULL);
    close(fd);
}
