/* load: the bench's load generator. One thread, HTTP/1.1 keep-alive to 127.0.0.1, every mode
 * bounded in time; the last line of stdout is one JSON object, times in microseconds.
 *
 *   load closed   each of --conns connections sends, waits for the whole answer, sends again;
 *                 prints MEASURE when the warm-up is over
 *   load rate     --rate requests a second over --conns connections; a request's latency counts
 * from the moment it was due, so that a stall is charged for all that waited behind it load stream
 * closed, with streams that are checked: a chunk lost, merged, reordered or a stream without its
 * end is an error load hold     opens --conns streams, --open-rate a second; prints READY when each
 * has delivered; then holds them for --seconds load cancel   --conns streams one after another,
 * each closed soon after its first chunk, by FIN and by RST in turn; prints "ID NANOSECONDS" of
 * each close load slow     --conns connections that send half a head and stay silent; prints READY;
 * holds them for --seconds; counts those that are still open load garbage  --conns connections, 64
 * at a time, each with something that is not a request
 *
 * Others: --port N --key K --model NAME --bytes N (of the request's body) --warm SECONDS (not
 * measured) --expect CHUNKS --tls 1. load_wire.c reads the answers. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options opt = {.port = 0,
                      .conns = 64,
                      .seconds = 2,
                      .warm = 0.5,
                      .rate = 1000,
                      .open_rate = 2000,
                      .bytes = 1024,
                      .expect = 50,
                      .key = "sk-bench",
                      .model = "mock"};
struct tally tally;

static SSL_CTX *tls;
static struct conn *conns;
static int ep;
static struct request request;
static uint64_t begin_ns, measure_ns, end_ns;

/* ---- the request ---- */

/* A conversation of turns of some 900 bytes, with the escapes that real ones have. */
static size_t put_turns(char *p, size_t bytes)
{
    static const char text[] =
        "Please compare the two delivery plans below and say which one carries less risk for a "
        "small team; keep units and dates as they are.\\n\\\"Plan A\\\" ships every week, "
        "caf\xc3\xa9 "
        "hours.\\nPlan B ships every month, with a freeze of ten days. ";
    static const char open[] = "{\"role\":\"%s\",\"content\":\"";
    size_t n = 0;
    for (int turn = 0; n < bytes; turn++) {
        size_t want = bytes - n > 1800 ? 900 : bytes - n, used;
        used = (size_t)sprintf(p + n, turn ? "," : "");
        used += (size_t)sprintf(p + n + used, open, turn % 2 ? "assistant" : "user");
        while (used + 2 < want) {
            size_t fit = want - used - 2;
            if (fit >= sizeof text - 1) {
                memcpy(p + n + used, text, sizeof text - 1);
                used += sizeof text - 1;
            } else {
                memset(p + n + used, '.', fit);
                used += fit;
            }
        }
        used += (size_t)sprintf(p + n + used, "\"}");
        n += used;
    }
    return n;
}

static void build_request(struct request *r, const char *model, bool stream)
{
    char *body = malloc(opt.bytes + 8192);
    r->data = malloc(opt.bytes + 16384);
    if (!body || !r->data)
        wire_die("memory");
    size_t n =
        (size_t)sprintf(body, "{\"model\":\"%s\",\"stream\":%s,\"temperature\":0.2,\"messages\":[",
                        model, stream ? "true" : "false");
    n += put_turns(body + n, opt.bytes > n + 100 ? opt.bytes - n - 2 : 100);
    n += (size_t)sprintf(body + n, "]}");
    r->len = (size_t)sprintf(r->data,
                             "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                             "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
                             "Accept: */*\r\nUser-Agent: bench/1\r\nContent-Length: %zu\r\n\r\n",
                             opt.port, opt.key, n);
    memcpy(r->data + r->len, body, n);
    r->len += n;
    free(body);
}

/* ---- connections ---- */

static void drop(struct conn *c)
{
    link_close(&c->link, false);
    c->busy = false;
}

static bool ensure_open(struct conn *c)
{
    if (c->link.fd >= 0)
        return true;
    if (!link_connect(&c->link, opt.port, 2 + (int)(c - conns) % 8, tls)) {
        tally.connect_errors++;
        return false;
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->link.fd, &ev);
    return true;
}

static bool push(struct conn *c)
{
    while (c->sent < request.len) {
        long put = link_write(&c->link, request.data + c->sent, request.len - c->sent);
        if (put < 0)
            return false;
        if (!put) {
            link_watch(&c->link, ep, c, true);
            return true;
        }
        c->sent += (size_t)put;
    }
    link_watch(&c->link, ep, c, false);
    return true;
}

/* Starts a request that was due at the given moment; false when it could not be sent. */
static bool begin(struct conn *c, uint64_t due_ns)
{
    if (!ensure_open(c))
        return false;
    reader_reset(&c->reader);
    c->sent = 0;
    c->busy = true;
    c->due_ns = due_ns;
    if (push(c))
        return true;
    tally.errors++;
    drop(c);
    return false;
}

/* Reads what has come; true when an answer is complete. A broken link is an error if busy. */
static bool pull(struct conn *c, uint64_t now)
{
    static char in[256 * 1024];
    bool done = false;
    long n;
    do {
        n = link_read(&c->link, in, sizeof in);
        if (n > 0 && c->busy)
            done = reader_take(&c->reader, in, (size_t)n, now);
        else if (n > 0)
            tally.errors++; /* bytes that nobody asked for */
        if (n < 0 || c->reader.broken) {
            if (c->busy && !done)
                tally.errors++;
            drop(c);
            return done;
        }
    } while (!done && n > 0 && c->link.ssl && SSL_pending(c->link.ssl));
    return done;
}

static void settle(struct conn *c, uint64_t now)
{
    bool good = c->reader.status == 200;
    c->busy = false;
    if (!good) {
        tally.bad_status++;
        tally.last_status = c->reader.status;
    } else if (opt.stream && !reader_stream_whole(&c->reader)) {
        tally.bad_streams++;
        good = false;
    }
    if (good && c->due_ns >= measure_ns && c->due_ns < end_ns) {
        tally.ok++;
        hist_add(&tally.latency, now - c->due_ns);
    }
    if (c->reader.close && c->link.fd >= 0)
        drop(c);
}

/* ---- the loop ---- */

typedef void on_free_fn(struct conn *c, uint64_t now);

/* Waits at most limit_ns and serves what came; on_free is called for each connection that ended. */
static void turn(uint64_t limit_ns, on_free_fn *on_free)
{
    struct epoll_event ev[512];
    struct timespec limit = {(time_t)(limit_ns / 1000000000u), (long)(limit_ns % 1000000000u)};
    int n = epoll_pwait2(ep, ev, 512, &limit, NULL);
    for (int i = 0; i < n; i++) {
        struct conn *c = ev[i].data.ptr;
        uint64_t now = wire_now_ns();
        bool was_busy = c->busy; /* else it is a session ticket, or the end of an idle link */
        if (ev[i].events & EPOLLOUT && c->busy && !push(c)) {
            tally.errors++;
            drop(c);
        }
        if (c->link.fd >= 0 && ev[i].events & ~(unsigned)EPOLLOUT && pull(c, now))
            settle(c, now);
        if (on_free && was_busy && !c->busy)
            on_free(c, now);
    }
}

static void again(struct conn *c, uint64_t now)
{
    if (now < end_ns)
        begin(c, now);
}

static bool any_busy(void)
{
    for (int i = 0; i < opt.conns; i++)
        if (conns[i].busy)
            return true;
    return false;
}

static void drain(void)
{
    uint64_t limit = wire_now_ns() + 3000000000u;
    while (any_busy() && wire_now_ns() < limit)
        turn(10000000, NULL);
    for (int i = 0; i < opt.conns; i++)
        tally.unfinished += conns[i].busy;
}

static void run_closed(void)
{
    for (int i = 0; i < opt.conns; i++) {
        begin(&conns[i], wire_now_ns());
        if (opt.stream && i % 4 == 3)
            turn(0, again); /* spreads the streams' beginnings */
    }
    begin_ns = wire_now_ns(); /* handshakes are over: now the warm-up counts */
    measure_ns = begin_ns + (uint64_t)(opt.warm * 1e9);
    end_ns = measure_ns + (uint64_t)(opt.seconds * 1e9);
    uint64_t next_look = 0;
    bool said = false;
    for (uint64_t now; (now = wire_now_ns()) < end_ns;) {
        if (!said && now >= measure_ns) {
            puts("MEASURE"); /* the driver reads its counters now */
            fflush(stdout);
            said = true;
        }
        turn(10000000, again);
        if (now < next_look)
            continue;
        next_look = now + 100000000;
        for (int i = 0; i < opt.conns; i++) /* what could not connect tries again */
            if (!conns[i].busy)
                begin(&conns[i], now);
    }
    drain();
}

static struct conn **idle;
static int idle_count;

static void to_idle(struct conn *c, uint64_t now)
{
    (void)now;
    idle[idle_count++] = c;
}

static void run_rate(void)
{
    double gap = 1e9 / opt.rate;
    uint64_t issued = 0, total = (uint64_t)((double)(end_ns - begin_ns) / gap);
    idle = calloc((size_t)opt.conns, sizeof *idle);
    for (int i = 0; i < opt.conns; i++)
        if (ensure_open(&conns[i]))
            idle[idle_count++] = &conns[i];
    begin_ns = wire_now_ns();
    measure_ns = begin_ns + (uint64_t)(opt.warm * 1e9);
    end_ns = measure_ns + (uint64_t)(opt.seconds * 1e9);
    uint64_t give_up = end_ns + 2000000000u;
    while (issued < total) {
        uint64_t now = wire_now_ns(), due = begin_ns + (uint64_t)((double)issued * gap);
        if (now > give_up)
            break;
        if (due <= now && idle_count) {
            struct conn *c = idle[--idle_count];
            issued++;
            if (!begin(c, due))
                idle[idle_count++] = c;
            continue;
        }
        turn(due > now ? due - now : 1000000, to_idle);
    }
    tally.unfinished += (int)(total - issued);
    drain();
}

static int delivering(void)
{
    int n = 0;
    for (int i = 0; i < opt.conns; i++)
        n += conns[i].busy && conns[i].reader.chunks > 0 && !conns[i].reader.bad;
    return n;
}

static void run_hold(void)
{
    uint64_t start = wire_now_ns(), limit = start + 60000000000u;
    int opened = 0, ready = 0;
    while (wire_now_ns() < limit && ready < opt.conns) {
        uint64_t now = wire_now_ns();
        while (opened < opt.conns && (double)opened < (double)(now - start) / 1e9 * opt.open_rate)
            begin(&conns[opened++], now);
        turn(1000000, NULL);
        if (opened == opt.conns)
            ready = delivering();
        if (tally.connect_errors > 100)
            break;
    }
    printf("READY %d\n", ready);
    fflush(stdout);
    end_ns = wire_now_ns() + (uint64_t)(opt.seconds * 1e9);
    memset(&tally.relay, 0, sizeof tally.relay);
    while (wire_now_ns() < end_ns)
        turn(10000000, NULL);
    tally.alive = delivering();
}

static void wait_chunk(struct conn *c)
{
    uint64_t limit = wire_now_ns() + 2000000000u;
    while (!c->reader.chunks && c->busy && wire_now_ns() < limit)
        turn(1000000, NULL);
}

static void run_cancel(void)
{
    struct timespec breath = {0, 15000000};
    for (int i = 0; i < opt.conns; i++) {
        char model[200];
        struct conn *c = &conns[0];
        /* every other pair is a stream that has gone quiet after its first chunk */
        snprintf(model, sizeof model, "mock.chunks=1000.delay=%d.id=%d", i & 2 ? 20 : 5000, i + 1);
        free(request.data);
        build_request(&request, model, true);
        if (begin(c, wire_now_ns()))
            wait_chunk(c);
        if (!c->reader.chunks) {
            tally.errors++;
            drop(c);
            continue;
        }
        nanosleep(&breath, NULL);
        uint64_t now = wire_now_ns();
        link_close(&c->link, i & 1);
        drop(c);
        printf("%d %llu\n", i + 1, (unsigned long long)now);
        tally.ok++;
    }
}

static void run_slow(void)
{
    static const char half[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nX-Slow: ";
    for (int i = 0; i < opt.conns; i++) {
        if (!link_connect(&conns[i].link, opt.port, 2 + i % 8, NULL))
            tally.connect_errors++;
        else if (link_write(&conns[i].link, half, sizeof half - 1) < 0)
            tally.errors++;
    }
    printf("READY %d\n", opt.conns);
    fflush(stdout);
    usleep((useconds_t)(opt.seconds * 1e6));
    for (int i = 0; i < opt.conns; i++) {
        char byte;
        if (conns[i].link.fd >= 0)
            tally.alive += !link_read(&conns[i].link, &byte, 1);
    }
}

static void run_garbage(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } junk[] = {
#define J(s) {s, sizeof s - 1}
        J("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is a hello to somebody else"),
        J("GET / HTTP/9.9\r\n\r\n"),
        J("\r\n\r\n\r\n\0\0\0\0\xff\xff\xff\xff"),
        J("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        J("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
          "Transfer-Encoding: chunked\r\n\r\n"),
        J("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
        J("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Le"),
        J("GET /v1/models HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n"),
        J(""),
        J("\xde\xad\xbe\xef"),
#undef J
    };
    enum { WAYS = sizeof junk / sizeof junk[0], AT_ONCE = 64 };
    struct link open[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        open[i].fd = -1;
    for (int i = 0; i < opt.conns + AT_ONCE && wire_now_ns() < end_ns; i++) {
        char in[4096];
        struct link *l = &open[i % AT_ONCE];
        if (l->fd >= 0) {
            link_read(l, in, sizeof in);
            link_close(l, i / AT_ONCE % 4 != 0);
        }
        if (i >= opt.conns)
            continue;
        if (!link_connect(l, opt.port, 2 + i % 8, NULL)) {
            tally.connect_errors++;
            continue;
        }
        link_write(l, junk[i % WAYS].bytes, junk[i % WAYS].len);
        tally.ok++;
    }
}

/* ---- start ---- */

static void read_options(int argc, char **argv)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *name = argv[i], *v = argv[i + 1];
        double number = atof(v);
        if (!strcmp(name, "--port"))
            opt.port = (int)number;
        else if (!strcmp(name, "--conns"))
            opt.conns = (int)number;
        else if (!strcmp(name, "--seconds"))
            opt.seconds = number;
        else if (!strcmp(name, "--warm"))
            opt.warm = number;
        else if (!strcmp(name, "--rate"))
            opt.rate = number;
        else if (!strcmp(name, "--open-rate"))
            opt.open_rate = number;
        else if (!strcmp(name, "--bytes"))
            opt.bytes = (size_t)number;
        else if (!strcmp(name, "--expect"))
            opt.expect = (unsigned)number;
        else if (!strcmp(name, "--key"))
            opt.key = v;
        else if (!strcmp(name, "--model"))
            opt.model = v;
        else if (!strcmp(name, "--tls"))
            opt.tls = number > 0;
        else
            fprintf(stderr, "load: unknown option %s\n", name), exit(2);
    }
}

static void print_result(void)
{
    double secs = (double)(end_ns - measure_ns) / 1e9;
    printf("{\"ok\":%llu,\"per_s\":%.1f,\"errors\":%d,\"connect_errors\":%d,\"bad_status\":%d,"
           "\"last_status\":%d,\"bad_streams\":%d,\"unfinished\":%d,\"chunks\":%llu,\"alive\":%d,"
           "\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"relay_p50\":%.1f,\"relay_p99\":%.1f}\n",
           (unsigned long long)tally.ok, secs > 0 ? (double)tally.ok / secs : 0, tally.errors,
           tally.connect_errors, tally.bad_status, tally.last_status, tally.bad_streams,
           tally.unfinished, (unsigned long long)tally.chunks, tally.alive,
           hist_us(&tally.latency, 0.5), hist_us(&tally.latency, 0.99),
           (double)tally.latency.max / 1e3, hist_us(&tally.relay, 0.5),
           hist_us(&tally.relay, 0.99));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool stream;
    } modes[] = {{"closed", run_closed, false},  {"rate", run_rate, false},
                 {"stream", run_closed, true},   {"hold", run_hold, true},
                 {"cancel", run_cancel, true},   {"slow", run_slow, false},
                 {"garbage", run_garbage, false}};
    unsigned m = 0;
    while (m < sizeof modes / sizeof modes[0] && (argc < 2 || strcmp(argv[1], modes[m].name)))
        m++;
    if (m == sizeof modes / sizeof modes[0]) {
        fprintf(stderr, "load: closed, rate, stream, hold, cancel, slow or garbage\n");
        return 2;
    }
    read_options(argc, argv);
    opt.stream = modes[m].stream;
    wire_start();
    prctl(PR_SET_TIMERSLACK, 1);
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)opt.conns + 1, sizeof *conns);
    if (!conns)
        wire_die("memory");
    for (int i = 0; i < opt.conns; i++)
        conns[i].link.fd = -1;
    if (opt.tls) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    build_request(&request, opt.model, opt.stream);
    begin_ns = wire_now_ns();
    measure_ns = begin_ns + (uint64_t)(opt.warm * 1e9);
    end_ns = measure_ns + (uint64_t)(opt.seconds * 1e9);
    modes[m].run();
    print_result();
    return 0;
}
