/* wire: clock, histogram and link of the bench's programs and the storms'. */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

uint64_t wire_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void wire_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

void wire_start(void)
{
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

bool wire_says(const char *body, const char *name, const char *value)
{
    const char *p = strstr(body, name);
    if (!p)
        return false;
    p += strlen(name);
    p += strspn(p, " :");
    return !strncmp(p, value, strlen(value));
}

void hist_add(struct hist *h, uint64_t ns)
{
    int top = ns < 1024 ? 0 : 63 - __builtin_clzll(ns) - 9; /* ns >> top lies in 512..1023 */
    h->bucket[top][ns >> top & 1023]++;
    h->count++;
    if (ns > h->max)
        h->max = ns;
}

double hist_us(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count), seen = 0;
    for (int top = 0; top < 64 && h->count; top++)
        for (int i = 0; i < 1024; i++) {
            seen += h->bucket[top][i];
            if (seen > want) {
                double middle = (double)((uint64_t)i << top) + (double)(1ull << top) / 2;
                return (middle < (double)h->max ? middle : (double)h->max) / 1e3;
            }
        }
    return (double)h->max / 1e3;
}

static long ssl_result(struct link *l, int n)
{
    int why = SSL_get_error(l->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

long link_read(struct link *l, void *p, size_t n)
{
    if (l->ssl) {
        int got = SSL_read(l->ssl, p, (int)n);
        return got > 0 ? got : ssl_result(l, got);
    }
    ssize_t got = recv(l->fd, p, n, 0);
    if (got > 0)
        return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

long link_write(struct link *l, const void *p, size_t n)
{
    if (l->ssl) {
        int put = SSL_write(l->ssl, p, (int)n);
        return put > 0 ? put : ssl_result(l, put);
    }
    ssize_t put = send(l->fd, p, n, MSG_NOSIGNAL);
    if (put >= 0)
        return put;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

void link_watch(struct link *l, int ep, void *ptr, bool out)
{
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = ptr};
    if (l->wants_out != out)
        epoll_ctl(ep, EPOLL_CTL_MOD, l->fd, &ev);
    l->wants_out = out;
}

void link_close(struct link *l, bool reset)
{
    if (l->fd < 0)
        return;
    if (reset) {
        struct linger now = {1, 0};
        setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (l->ssl) {
        if (!reset)
            SSL_shutdown(l->ssl);
        SSL_free(l->ssl);
        ERR_clear_error();
    }
    close(l->fd);
    *l = (struct link){.fd = -1};
}

bool link_connect(struct link *l, int port, int host, SSL_CTX *ctx)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct timeval limit = {5, 0};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(0x7f000000u | (uint32_t)host);
    *l = (struct link){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (l->fd < 0)
        return false;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(l->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (host && bind(l->fd, (struct sockaddr *)&from, sizeof from))
        goto fail;
    if (connect(l->fd, (struct sockaddr *)&to, sizeof to))
        goto fail;
    if (ctx) {
        l->ssl = SSL_new(ctx);
        SSL_set_fd(l->ssl, l->fd);
        if (SSL_connect(l->ssl) != 1) {
            ERR_clear_error();
            goto fail;
        }
    }
    fcntl(l->fd, F_SETFL, O_NONBLOCK);
    return true;
fail:
    link_close(l, true);
    return false;
}

int wire_listen(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t len = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096))
        wire_die("listen");
    getsockname(fd, (struct sockaddr *)&a, &len);
    *port = ntohs(a.sin_port);
    return fd;
}

void wire_digits(char *p, uint64_t v, int n)
{
    while (n-- > 0) {
        p[n] = (char)('0' + v % 10);
        v /= 10;
    }
}
