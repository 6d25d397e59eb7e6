/* upstream: the storm's other side, which does harm. One thread, one epoll, every moment kept by a
 * heap of timers, so that what is late in a storm is Lyss and not this. It answers chat completions
 * on two ports: a straight one, and one behind the faults, where each exchange may meet one: reset,
 * cut, half, hole after so many bytes of the answer, and trickle, which mean what they mean in
 * tests/lib/fault_proxy.py, or delay, where each part comes late. In a storm of `refuse` the
 * listener of that port goes away again and again, and with it all its connections.
 *
 *   upstream --key KEY --gap MILLISECONDS PIECE...
 *
 * answers with the pieces of text (JSON strings), an event each gap; prints {"behind":PORT,
 * "straight":PORT}. Then it takes a line at a time from stdin and answers each with its counters as
 * one line of JSON:
 *
 *   storm KIND SEED   from now on each exchange throws dice; KIND is a fault, `all` or `refuse`
 *   calm              no more faults
 *
 * At the end of stdin it prints the counters once more and ends. */
#include "chat.h"
#include "../bench/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000u

enum {
    SHARE_PERCENT = 12, /* of the exchanges behind the faults meet one */
    LATE_MS = 50,       /* delay: each part comes so late */
    TRICKLE_MS = 1,     /* trickle: so long between two pieces */
    TRICKLE_BYTES = 41, /* of so many bytes */
    RESET_MS = 20,      /* what was sent is read first: a reset discards it */
    ACCEPTING_MS = 350, /* refuse: connections are taken for so long, */
    REFUSING_MS = 20,   /* then refused for so long */
    CONNS_MAX = 8192,   /* at a time */
    VIOLATIONS_MAX = 8, /* that are told in words */
};

/* The first four spoil a connection for what comes after. */
enum fault { RESET, CUT, HALF, HOLE, DELAY, TRICKLE, FAULTS, ALL = FAULTS, REFUSE, NONE };
static const char *const fault_names[] = {"reset", "cut",     "half", "hole",
                                          "delay", "trickle", "all",  "refuse"};

struct conn;

struct timer {
    uint64_t due_ns;
    unsigned at; /* its place in the heap, from 1; 0: not set */
    void (*fire)(struct conn *c);
    struct conn *conn;
};

struct conn {
    struct link link; /* of a listener: its socket, and no more */
    bool listener, behind, spoilt;
    enum { IDLE, REQUEST, ANSWER, SPENT } phase; /* SPENT: spoilt, and its request has been read */
    char in[REQUEST_MAX];
    size_t in_len;
    struct answer answer;
    unsigned part;                /* the next one to be written */
    size_t written, passed, sent; /* bytes: by the upstream, let through by the fault, taken */
    size_t held;                  /* delay: lets through so many bytes next */
    enum fault fault;
    size_t after;
    struct timer write, let; /* the upstream's next part; the fault's next move */
    struct conn *next, **prev;
};

static struct {
    uint64_t exchanges, straight, faults, flaps, ended, violations, lag_ns;
    char violation[VIOLATIONS_MAX][120];
} count;

static int ep, gap_ms = 30;
static struct conn behind, straight; /* the listeners */
static int behind_port, straight_port;
static struct conn *open_conns;
static unsigned conn_count;
static enum fault storm = NONE;
static uint64_t dice;
static struct timer flap;

/* ---- timers: a heap, the next one on top ---- */

static struct timer *heap[2 * CONNS_MAX + 2];
static unsigned timers;

static void place(unsigned at, struct timer *t)
{
    heap[at] = t;
    t->at = at;
}

static void sift(struct timer *t, unsigned at)
{
    for (; at > 1 && heap[at / 2]->due_ns > t->due_ns; at /= 2)
        place(at, heap[at / 2]);
    for (unsigned child; (child = 2 * at) <= timers; at = child) {
        child += child < timers && heap[child + 1]->due_ns < heap[child]->due_ns;
        if (heap[child]->due_ns >= t->due_ns)
            break;
        place(at, heap[child]);
    }
    place(at, t);
}

static void timer_clear(struct timer *t)
{
    unsigned at = t->at;
    if (!at)
        return;
    struct timer *last = heap[timers--];
    t->at = 0;
    if (last != t)
        sift(last, at);
}

static void timer_set(struct timer *t, uint64_t due_ns, void (*fire)(struct conn *c))
{
    timer_clear(t);
    t->due_ns = due_ns;
    t->fire = fire;
    sift(t, ++timers);
}

/* From when it was due, not from now: a late turn does not slow a stream down. */
static void timer_again(struct timer *t, unsigned ms, void (*fire)(struct conn *c))
{
    timer_set(t, t->due_ns + (uint64_t)ms * MS, fire);
}

static void run_timers(void)
{
    uint64_t now = wire_now_ns();
    while (timers && heap[1]->due_ns <= now) {
        struct timer *t = heap[1];
        timer_clear(t);
        if (now - t->due_ns > count.lag_ns)
            count.lag_ns = now - t->due_ns;
        t->fire(t->conn);
    }
}

/* ---- connections ---- */

static void violation(const struct conn *c, const char *what)
{
    if (count.violations < VIOLATIONS_MAX)
        snprintf(count.violation[count.violations], sizeof count.violation[0], "%s%s%s", what,
                 c->fault < FAULTS ? ", fault " : "",
                 c->fault < FAULTS ? fault_names[c->fault] : "");
    count.violations++;
}

static void conn_close(struct conn *c, bool reset)
{
    timer_clear(&c->write);
    timer_clear(&c->let);
    link_close(&c->link, reset);
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    conn_count--;
    free(c);
}

/* Sends what was let through. False when the peer is gone. */
static bool push(struct conn *c)
{
    while (c->sent < c->passed) {
        long n = link_write(&c->link, c->answer.data + c->sent, c->passed - c->sent);
        if (n < 0)
            return false;
        c->sent += (size_t)n;
        if (!n)
            break;
    }
    link_watch(&c->link, ep, c, c->sent < c->passed);
    if (c->phase == ANSWER && c->part == c->answer.parts && c->sent == c->written) {
        c->phase = IDLE;
        timer_clear(&c->let);
    }
    return true;
}

/* ---- faults ---- */

static uint64_t throw_dice(uint64_t sides)
{
    uint64_t z = dice += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

/* What the exchange that begins will meet. Half of the faults come before the first byte. */
static void choose(struct conn *c)
{
    enum fault kind = storm == ALL ? (enum fault)throw_dice(FAULTS) : storm;
    c->fault = NONE;
    c->after = 0;
    if (kind >= FAULTS || throw_dice(100) >= SHARE_PERCENT)
        return;
    uint64_t where = throw_dice(4);
    c->fault = kind;
    c->after = where < 2 ? 0 : throw_dice(where == 2 ? 400 : 4000);
    count.faults++;
}

static void reset_now(struct conn *c)
{
    conn_close(c, true);
}

/* Does the harm. False when the connection is to be closed. */
static bool spoil(struct conn *c)
{
    c->spoilt = true;
    timer_clear(&c->write);
    if (c->fault == HALF)
        shutdown(c->link.fd, SHUT_WR);
    else if (c->fault == RESET && c->sent)
        timer_set(&c->let, wire_now_ns() + RESET_MS * MS, reset_now);
    if (c->phase == ANSWER)
        c->phase = SPENT;
    return c->fault == HALF || c->fault == HOLE || (c->fault == RESET && c->sent);
}

static bool closes_by_reset(const struct conn *c)
{
    return c->spoilt && c->fault == RESET;
}

static void let_more(struct conn *c);

/* Lets through what the fault allows of what was written. False: the connection is to be closed. */
static bool let(struct conn *c)
{
    bool waits = c->let.at != 0;
    if (c->fault <= HOLE && c->written >= c->after) {
        c->passed = c->after;
        return push(c) && spoil(c);
    }
    if (c->fault == DELAY) {
        if (waits || c->written == c->passed)
            return true;
        c->held = c->written;
        timer_set(&c->let, wire_now_ns() + LATE_MS * MS, let_more);
        return true;
    }
    if (c->fault == TRICKLE) {
        if (waits || c->written == c->passed)
            return true;
        size_t left = c->written - c->passed;
        c->passed += left < TRICKLE_BYTES ? left : TRICKLE_BYTES;
        timer_set(&c->let, wire_now_ns() + TRICKLE_MS * MS, let_more);
        return push(c);
    }
    c->passed = c->written;
    return push(c);
}

static void let_more(struct conn *c)
{
    bool good = true;
    if (c->fault == DELAY) {
        c->passed = c->held;
        good = push(c);
    }
    if (!good || (c->phase == ANSWER && !let(c)))
        conn_close(c, closes_by_reset(c));
}

/* ---- exchanges ---- */

static void write_later(struct conn *c);

/* Writes the next part of the answer, and those that come with it. False: to be closed. */
static bool write_part(struct conn *c)
{
    while (c->phase == ANSWER && c->part < c->answer.parts) {
        c->written = c->answer.end[c->part++];
        if (!let(c))
            return false;
        if (c->part > 1 && c->part < c->answer.parts - 1) {
            if (c->phase == ANSWER)
                timer_again(&c->write, (unsigned)gap_ms, write_later);
            break;
        }
    }
    return true;
}

static void write_later(struct conn *c)
{
    if (!write_part(c))
        conn_close(c, closes_by_reset(c));
}

/* An exchange begins with its first byte. False: to be closed. */
static bool begin(struct conn *c)
{
    c->phase = REQUEST;
    c->fault = NONE;
    if (!c->behind) {
        count.straight++;
        return true;
    }
    count.exchanges++;
    choose(c);
    return c->fault > HOLE || c->after || spoil(c);
}

/* Looks at what has come of a request. False: to be closed. */
static bool take(struct conn *c)
{
    const char *why;
    long n = chat_length(c->in, c->in_len, &why);
    if (!n)
        return true;
    if (n > 0 && (size_t)n < c->in_len)
        why = "bytes behind a request";
    if (why) {
        violation(c, why);
        return false;
    }
    c->in_len = 0;
    c->phase = c->spoilt ? SPENT : ANSWER;
    if (c->spoilt)
        return true;
    chat_answer(c->in, &c->answer);
    c->part = 0;
    c->written = c->passed = c->sent = 0;
    c->write.due_ns = wire_now_ns();
    return write_part(c);
}

/* False: to be closed. */
static bool read_more(struct conn *c)
{
    long n = link_read(&c->link, c->in + c->in_len, REQUEST_MAX - 1 - c->in_len);
    if (n <= 0)
        return n == 0;
    if (c->phase == ANSWER || c->phase == SPENT) {
        violation(c, c->spoilt ? "a request over a connection that was spoilt"
                               : "a request in the middle of an answer");
        return false;
    }
    if (c->phase == IDLE && !begin(c))
        return false;
    c->in_len += (size_t)n;
    return take(c);
}

static void conn_event(struct conn *c, unsigned events)
{
    bool good = true;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        good = read_more(c);
    if (good && events & EPOLLOUT)
        good = push(c);
    if (!good)
        conn_close(c, closes_by_reset(c));
}

/* ---- listeners ---- */

static void accept_all(struct conn *listener)
{
    for (int one = 1;;) {
        int fd = accept4(listener->link.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct conn *c = conn_count < CONNS_MAX ? calloc(1, sizeof *c) : NULL;
        if (!c)
            wire_die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->link.fd = fd;
        c->behind = listener->behind;
        c->fault = NONE;
        c->write.conn = c->let.conn = c;
        c->next = open_conns;
        c->prev = &open_conns;
        if (c->next)
            c->next->prev = &c->next;
        open_conns = c;
        conn_count++;
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    }
}

static void open_listener(struct conn *l, int *port)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    l->listener = true;
    l->link.fd = wire_listen(port);
    epoll_ctl(ep, EPOLL_CTL_ADD, l->link.fd, &ev);
}

/* Keeps a port for a listener that goes away: bound, and never listening. */
static int keep_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len))
        wire_die("bind");
    return ntohs(a.sin_port);
}

static void flap_down(struct conn *nobody);

static void flap_up(struct conn *nobody)
{
    open_listener(&behind, &behind_port);
    timer_set(&flap, wire_now_ns() + (uint64_t)ACCEPTING_MS * MS, flap_down);
}

static void flap_down(struct conn *nobody)
{
    struct conn *next;
    link_close(&behind.link, false);
    for (struct conn *c = open_conns; c; c = next) {
        next = c->next;
        if (!c->behind)
            continue;
        count.ended++;
        conn_close(c, false);
    }
    count.flaps++;
    timer_set(&flap, wire_now_ns() + (uint64_t)REFUSING_MS * MS, flap_up);
}

/* ---- commands ---- */

static void print_counts(void)
{
    unsigned told = count.violations < VIOLATIONS_MAX ? (unsigned)count.violations : VIOLATIONS_MAX;
    printf("{\"exchanges\":%" PRIu64 ",\"straight\":%" PRIu64 ",\"faults\":%" PRIu64
           ",\"flaps\":%" PRIu64 ",\"ended\":%" PRIu64 ",\"lag_ms\":%.1f,\"violations\":%" PRIu64
           ",\"violation\":[",
           count.exchanges, count.straight, count.faults, count.flaps, count.ended,
           (double)count.lag_ns / 1e6, count.violations);
    for (unsigned i = 0; i < told; i++)
        printf("%s\"%s\"", i ? "," : "", count.violation[i]);
    puts("]}");
    fflush(stdout);
    count.lag_ns = 0;
}

static void calm(void)
{
    storm = NONE;
    timer_clear(&flap);
    if (behind.link.fd < 0)
        open_listener(&behind, &behind_port);
}

static void command(const char *line)
{
    char name[16] = "";
    calm();
    if (sscanf(line, "storm %15s %" SCNu64, name, &dice) == 2)
        for (int i = 0; i <= REFUSE; i++)
            if (!strcmp(name, fault_names[i]))
                storm = (enum fault)i;
    if (strcmp(line, "calm") && storm == NONE) {
        fprintf(stderr, "upstream: no such command: %s\n", line);
        exit(2);
    }
    if (storm == REFUSE)
        timer_set(&flap, wire_now_ns() + (uint64_t)ACCEPTING_MS * MS, flap_down);
    print_counts();
}

/* False at the end of stdin. */
static bool read_commands(void)
{
    static char line[256];
    static size_t n;
    ssize_t got = read(0, line + n, sizeof line - 1 - n);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    n += (size_t)got;
    for (char *end; (end = memchr(line, '\n', n));) {
        *end++ = 0;
        command(line);
        n -= (size_t)(end - line);
        memmove(line, end, n);
    }
    return n < sizeof line - 1;
}

/* ---- start ---- */

static void start(int argc, char **argv)
{
    const char *key = "";
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!strcmp(argv[i], "--key"))
            key = argv[i + 1];
        else if (!strcmp(argv[i], "--gap"))
            gap_ms = atoi(argv[i + 1]);
    }
    chat_init(key, argv + i, (unsigned)(argc - i));
    wire_start();
    ep = epoll_create1(EPOLL_CLOEXEC);
    behind.behind = true;
    behind_port = keep_port();
    open_listener(&behind, &behind_port);
    open_listener(&straight, &straight_port);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &ev);
    printf("{\"behind\":%d,\"straight\":%d}\n", behind_port, straight_port);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    for (bool on = true; on;) {
        struct epoll_event ev[512];
        uint64_t now = wire_now_ns(), due = timers ? heap[1]->due_ns : now + 1000 * MS;
        struct timespec limit = {0, 0};
        if (due > now) {
            limit.tv_sec = (time_t)((due - now) / 1000000000u);
            limit.tv_nsec = (long)((due - now) % 1000000000u);
        }
        int n = epoll_pwait2(ep, ev, 512, &limit, NULL);
        if (n < 0 && errno != EINTR)
            wire_die("epoll_pwait2");
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (!c)
                on = read_commands();
            else if (c->listener)
                accept_all(c);
            else
                conn_event(c, ev[i].events);
        }
        run_timers(); /* last: it may free connections that ev still names */
    }
    print_counts();
    while (open_conns)
        conn_close(open_conns, false);
    return 0;
}
