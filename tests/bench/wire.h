/* wire: what the bench's mock upstream and its load generator share, and those of the storms: a
 * clock, a histogram, and a link, which is a socket with or without TLS. Single-threaded programs;
 * errors end the process. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

/* CLOCK_MONOTONIC in nanoseconds: comparable between processes of one machine. */
uint64_t wire_now_ns(void);

/* Prints the message and errno to stderr and exits with 1. */
_Noreturn void wire_die(const char *what);

/* Of such a program's start: it ends with its parent, minds no broken pipe, and may open as many
 * files as the system lets it. */
void wire_start(void);

/* Does the JSON text have a member so named (with its quotes) whose value begins so? The first such
 * name counts, wherever it stands. */
bool wire_says(const char *body, const char *name, const char *value);

/* A histogram of nanoseconds: 512 linear steps in each power of two, so within 0.2 %. */
struct hist {
    uint64_t count, max;
    uint64_t bucket[64][1024];
};

void hist_add(struct hist *h, uint64_t ns);

/* The q quantile (0..1) in microseconds; 0 for an empty histogram. */
double hist_us(const struct hist *h, double q);

/* A socket; ssl is NULL for plain TCP. The link owns both. */
struct link {
    int fd;
    SSL *ssl;
    bool wants_out;
};

/* Bytes moved; 0 when it would block; -1 when the peer is gone or the link is broken. */
long link_read(struct link *l, void *p, size_t n);
long link_write(struct link *l, const void *p, size_t n);

/* Has epoll ep tell of what can be read, and with `out` of room to write, as ptr. */
void link_watch(struct link *l, int ep, void *ptr, bool out);

/* Closes with FIN, or with RST when reset is true. Safe on a closed link. */
void link_close(struct link *l, bool reset);

/* Connects to 127.0.0.1:port from the given loopback host number (127.0.0.host; 0: any), does the
 * TLS handshake when ctx is not NULL, and leaves the socket non-blocking. Each step is bounded by
 * 5 s. Returns false, with the link closed, when it does not come about. */
bool link_connect(struct link *l, int port, int host, SSL_CTX *ctx);

/* A listening socket on 127.0.0.1:port (0: any); the port it got is stored in *port. */
int wire_listen(int *port);

/* Writes v as exactly n decimal digits. */
void wire_digits(char *p, uint64_t v, int n);

#endif
