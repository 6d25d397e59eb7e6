/* load: the storm's callers. One thread: --streams connections that stream without pause, and
 * --rate whole requests a second, sent when they are due whatever has become of those before, over
 * as many connections as that takes. Each call asks for one of the --models by chance. After
 * --seconds no call begins; what is under way is waited for, --patience seconds at most.
 *
 * Every call goes into the file --out, for somebody to judge once the storm is over: a line
 *   stream|whole MICROSECONDS LATE HOW BYTES
 * and then so many bytes as they came, head and all. MICROSECONDS runs from the send to the end,
 * LATE tells how much later than due it was sent, HOW what ended it:
 *   whole   the length or the last chunk        fin, rst  the connection's end came first
 *   broken  it is not HTTP, or over 64 KiB      none      nothing did, or there was no connection
 *
 * Others: --port --key --seed --body JSON, which says "@MODEL@" and "@STREAM@" where they belong.
 * The last line of stdout is one JSON object: how many were due and sent, and what held them up. */
#include "../bench/load.h"

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

enum {
    RAW_MAX = 65536,
    REQUEST_MAX = 4096,
    MODELS_MAX = 1024,
    RATE_CONNS_MAX = 2000,
    REFUSED_MAX = 1000
};
#define SECOND 1000000000u

struct options opt; /* of these and the counters the reader of answers looks at a few */
struct tally tally;

struct caller {
    struct link link;
    bool stream, busy;
    uint64_t due_ns, sent_ns;
    char request[REQUEST_MAX];
    size_t request_len, sent;
    struct reader reader;
    char raw[RAW_MAX];
    size_t raw_len;
};

static struct {
    int port, streams;
    double rate, seconds, patience;
    const char *key, *body, *out;
    char *models[MODELS_MAX];
    unsigned model_count;
} want = {.streams = 20, .rate = 40, .seconds = 2, .patience = 30, .key = "", .body = ""};

static struct {
    uint64_t due, sent, calls, late_ns, starved_ns;
    unsigned conns, stray,
        refused; /* opened for whole requests; bytes that nobody asked for came */
} count;

static int ep;
static FILE *out;
static uint64_t dice;
static struct caller **callers, **idle; /* streams first; of the others, those without a call */
static unsigned caller_count, idle_count;

static unsigned throw_dice(unsigned sides)
{
    uint64_t z = dice += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % sides);
}

/* ---- requests ---- */

/* The body with its two names filled in; its length. */
static size_t put_body(char *to, size_t room, const char *model, const char *stream)
{
    size_t n = 0;
    for (const char *p = want.body; *p && n + 1 < room;) {
        const char *word = NULL;
        size_t skip = 0;
        if (!strncmp(p, "@MODEL@", 7))
            word = model, skip = 7;
        else if (!strncmp(p, "\"@STREAM@\"", 10))
            word = stream, skip = 10;
        if (!word) {
            to[n++] = *p++;
            continue;
        }
        n += (size_t)snprintf(to + n, room - n, "%s", word);
        p += skip;
    }
    return n;
}

static void write_request(struct caller *c)
{
    char body[REQUEST_MAX / 2];
    size_t n = put_body(body, sizeof body, want.models[throw_dice(want.model_count)],
                        c->stream ? "true" : "false");
    int put = snprintf(c->request, sizeof c->request,
                       "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                       "Authorization: Bearer %s\r\n\r\n%.*s",
                       n, want.key, (int)n, body);
    if (n >= sizeof body || put < 0 || (size_t)put >= sizeof c->request)
        wire_die("a request that is too long");
    c->request_len = (size_t)put;
    c->sent = 0;
}

/* ---- connections ---- */

/* Begins to connect where there is no connection; what is sent waits in the socket's own way. */
static bool ensure_open(struct caller *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    if (c->link.fd >= 0)
        return true;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->link.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->link.fd < 0)
        return false;
    setsockopt(c->link.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->link.fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        return false;
    return !epoll_ctl(ep, EPOLL_CTL_ADD, c->link.fd, &ev);
}

static bool push(struct caller *c)
{
    while (c->sent < c->request_len) {
        long n = link_write(&c->link, c->request + c->sent, c->request_len - c->sent);
        if (n < 0)
            return false;
        c->sent += (size_t)n;
        if (!n)
            break;
    }
    link_watch(&c->link, ep, c, c->sent < c->request_len);
    return true;
}

/* ---- calls ---- */

static void record(struct caller *c, uint64_t now, const char *how)
{
    fprintf(out, "%s %" PRIu64 " %" PRIu64 " %s %zu\n", c->stream ? "stream" : "whole",
            (now - c->sent_ns) / 1000, (c->sent_ns - c->due_ns) / 1000, how, c->raw_len);
    fwrite(c->raw, 1, c->raw_len, out);
    count.calls++;
}

/* The call is over; the connection too, unless the answer was whole and says no other. */
static void settle(struct caller *c, const char *how)
{
    record(c, wire_now_ns(), how);
    c->busy = false;
    if (strcmp(how, "whole") || c->reader.close)
        link_close(&c->link, false);
    else
        link_watch(&c->link, ep, c, false);
    if (!c->stream)
        idle[idle_count++] = c;
}

static void begin(struct caller *c, uint64_t due_ns)
{
    uint64_t now = wire_now_ns();
    c->due_ns = due_ns;
    c->sent_ns = now;
    c->busy = true;
    c->raw_len = 0;
    reader_reset(&c->reader);
    write_request(c);
    if (!ensure_open(c)) {
        settle(c, "none");
        count.refused++;
    } else if (!push(c))
        settle(c, "rst");
}

/* Reads once. */
static void pull(struct caller *c)
{
    errno = 0;
    size_t room = RAW_MAX - c->raw_len;
    long n = link_read(&c->link, c->raw + c->raw_len, room);
    const char *end = errno ? "rst" : "fin";
    if (!c->busy) {
        count.stray += n > 0;
        if (n)
            link_close(&c->link, false);
        return;
    }
    if (n < 0) {
        settle(c, end);
        return;
    }
    bool whole = n && reader_take(&c->reader, c->raw + c->raw_len, (size_t)n, 0);
    c->raw_len += (size_t)n;
    if (whole)
        settle(c, "whole");
    else if (c->reader.broken || c->raw_len == RAW_MAX)
        settle(c, "broken");
}

static void turn(uint64_t limit_ns)
{
    struct epoll_event ev[512];
    struct timespec limit = {(time_t)(limit_ns / SECOND), (long)(limit_ns % SECOND)};
    int n = epoll_pwait2(ep, ev, 512, &limit, NULL);
    if (n < 0 && errno != EINTR)
        wire_die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
        struct caller *c = ev[i].data.ptr;
        if (ev[i].events & EPOLLOUT && c->busy && !push(c))
            settle(c, "rst");
        if (c->link.fd >= 0 && ev[i].events & ~(unsigned)EPOLLOUT)
            pull(c);
    }
}

/* ---- the storm ---- */

static struct caller *add_caller(bool stream)
{
    struct caller *c = calloc(1, sizeof *c);
    if (!c)
        wire_die("memory");
    c->link.fd = -1;
    c->stream = stream;
    callers[caller_count++] = c;
    return c;
}

/* A connection without a call, a new one if there is none; NULL when it may not be opened. */
static struct caller *free_caller(void)
{
    if (idle_count)
        return idle[--idle_count];
    if (count.conns == RATE_CONNS_MAX)
        return NULL;
    count.conns++;
    return add_caller(false);
}

/* Sends what is due; when the next one is. */
static uint64_t send_due(uint64_t begin_ns, uint64_t now)
{
    for (;;) {
        uint64_t due = begin_ns + (uint64_t)((double)count.sent * SECOND / want.rate);
        if (due > now)
            return due;
        struct caller *c = free_caller();
        if (!c) {
            count.starved_ns = now - due > count.starved_ns ? now - due : count.starved_ns;
            return now + 1000000;
        }
        count.late_ns = now - due > count.late_ns ? now - due : count.late_ns;
        count.sent++;
        begin(c, due);
    }
}

static bool any_busy(void)
{
    for (unsigned i = 0; i < caller_count; i++)
        if (callers[i]->busy)
            return true;
    return false;
}

static void run(void)
{
    uint64_t now, begin_ns = wire_now_ns(), end_ns = begin_ns + (uint64_t)(want.seconds * SECOND);
    for (int i = 0; i < want.streams; i++)
        add_caller(true);
    while ((now = wire_now_ns()) < end_ns && count.refused < REFUSED_MAX) {
        uint64_t next = send_due(begin_ns, now);
        for (int i = 0; i < want.streams; i++)
            if (!callers[i]->busy)
                begin(callers[i], now);
        turn(next > now ? next - now : 0);
    }
    count.due = (uint64_t)(want.seconds * want.rate);
    end_ns = now + (uint64_t)(want.patience * SECOND);
    while (any_busy() && wire_now_ns() < end_ns)
        turn(10000000);
    for (unsigned i = 0; i < caller_count; i++) {
        if (callers[i]->busy)
            settle(callers[i], "none");
        link_close(&callers[i]->link, false);
        free(callers[i]);
    }
}

/* ---- start ---- */

static void read_models(char *list)
{
    for (char *p = strtok(list, ","); p && want.model_count < MODELS_MAX; p = strtok(NULL, ","))
        want.models[want.model_count++] = p;
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *v = argv[i + 1];
        if (!strcmp(name, "--port"))
            want.port = atoi(v);
        else if (!strcmp(name, "--key"))
            want.key = v;
        else if (!strcmp(name, "--streams"))
            want.streams = atoi(v);
        else if (!strcmp(name, "--rate"))
            want.rate = atof(v);
        else if (!strcmp(name, "--seconds"))
            want.seconds = atof(v);
        else if (!strcmp(name, "--patience"))
            want.patience = atof(v);
        else if (!strcmp(name, "--seed"))
            dice = strtoull(v, NULL, 10);
        else if (!strcmp(name, "--models"))
            read_models(argv[i + 1]);
        else if (!strcmp(name, "--body"))
            want.body = v;
        else if (!strcmp(name, "--out"))
            want.out = v;
        else
            fprintf(stderr, "load: unknown option %s\n", name), exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    if (!want.port || !want.model_count || !want.out) {
        fputs("load: --port, --models and --out are needed\n", stderr);
        return 2;
    }
    wire_start();
    ep = epoll_create1(EPOLL_CLOEXEC);
    out = fopen(want.out, "wb");
    callers = calloc((size_t)want.streams + RATE_CONNS_MAX, sizeof *callers);
    idle = calloc(RATE_CONNS_MAX, sizeof *idle);
    if (!out || !callers || !idle)
        wire_die("start");
    setvbuf(out, NULL, _IOFBF, 1 << 20);
    run();
    if (ferror(out) | fclose(out))
        wire_die("the file of calls");
    printf("{\"due\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"conns\":%u,"
           "\"stray\":%u,\"late_ms\":%.1f,\"starved_ms\":%.1f}\n",
           count.due, count.sent, count.calls, count.conns, count.stray,
           (double)count.late_ns / 1e6, (double)count.starved_ns / 1e6);
    free(callers);
    free(idle);
    return 0;
}
