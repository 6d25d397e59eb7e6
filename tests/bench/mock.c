/* mock: the bench's upstream. One thread, one epoll, HTTP/1.1 keep-alive on loopback, in the shape
 * of OpenAI's chat completions (of Anthropic's messages, where the path says so): a fixed JSON
 * answer of about 600 bytes, or an SSE stream when the body says "stream": true. It is meant never
 * to be what limits a measurement, and to count what reached it, since every cost is divided by
 * that.
 *
 * The model's name chooses the stream, in words after "mock", in any order:
 *   mock.chunks=50.delay=20.size=250.burst=1.id=7
 *     chunks  content chunks (50)           delay  milliseconds between writes (0: at once)
 *     size    bytes of an SSE event (250)   burst  chunks in one write (1)
 *     id      remembered with the moment at which the caller closed the stream
 * Each content delta begins with "#SEQUENCE@NANOSECONDS " (6 and 19 digits, CLOCK_MONOTONIC), each
 * event is one HTTP chunk. A usage chunk follows when include_usage is asked for, then [DONE].
 *
 * GET /stats gives the counters as JSON, GET /closed a line "ID NANOSECONDS" for each closed id.
 *
 * mock [--cert FILE --key FILE]: listens on two free ports, plain and, with a certificate, TLS, and
 * prints {"port":…,"tls_port":…}. It ends when its parent does. */
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { WHEEL = 1024, KEEP = 6144, SCRATCH = 256 * 1024, MAX_ID = 65536, MAX_EVENT = 16384 };

struct shape {
    unsigned chunks, delay_ms, size, burst, id;
};

enum phase { HEAD, BODY, STREAM };

struct conn {
    struct link link; /* of a listener: its socket, and no more */
    bool listener, tls, shaken, usage, messages;
    enum phase phase;
    char in[KEEP]; /* the request's beginning; what does not fit is counted and dropped */
    size_t in_len, head_len;
    uint64_t body_left;
    struct shape shape;
    unsigned next_chunk;
    char *out; /* what the socket refused */
    size_t out_len, out_off;
    struct conn *next, **at; /* place in the wheel */
    uint64_t due_ms;
};

static struct {
    uint64_t requests, streams, chunks, aborted, accepted, handshakes, resumed, open;
} count;

static int ep;
static SSL_CTX *tls;
static struct conn *wheel[WHEEL];
static uint64_t wheel_ms, timers;
static char scratch[SCRATCH];
static uint64_t closed_ns[MAX_ID];
static char json_answer[1024], message_answer[1024];
static size_t json_answer_len, message_answer_len;

static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-cache\r\nx-request-id: req_mock\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n";

#define WORDS                                                                                      \
    "Plan A asks less of a small team: it moves in short steps, each of which can be taken back. " \
    "Plan B saves some overhead but finds its mistakes late. Unless the release itself is "        \
    "expensive, choose Plan A and review it after a quarter."

static size_t put_answer(char *to, size_t room, const char *body)
{
    return (size_t)snprintf(to, room,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "x-request-id: req_mock\r\nContent-Length: %zu\r\n\r\n%s",
                            strlen(body), body);
}

static void build_answer(void)
{
    static const char chat[] =
        "{\"id\":\"chatcmpl-mock0001\",\"object\":\"chat.completion\",\"created\":1767225600,"
        "\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"" WORDS
        "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":212,\"completion_tokens\":48,\"total_tokens\":260},"
        "\"system_fingerprint\":\"fp_mock\"}";
    static const char messages[] =
        "{\"id\":\"msg_mock0001\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"mock\","
        "\"content\":[{\"type\":\"text\",\"text\":\"" WORDS "\"}],\"stop_reason\":\"end_turn\","
        "\"stop_sequence\":null,\"usage\":{\"input_tokens\":212,\"output_tokens\":48}}";
    json_answer_len = put_answer(json_answer, sizeof json_answer, chat);
    message_answer_len = put_answer(message_answer, sizeof message_answer, messages);
}

/* ---- the wheel: one slot a millisecond; longer delays go round ---- */

static void timer_clear(struct conn *c)
{
    if (!c->at)
        return;
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->at = NULL;
    timers--;
}

static void timer_arm(struct conn *c, uint64_t due_ms)
{
    timer_clear(c);
    c->due_ms = due_ms > wheel_ms ? due_ms : wheel_ms + 1;
    c->at = &wheel[c->due_ms % WHEEL];
    c->next = *c->at;
    if (c->next)
        c->next->at = &c->next;
    *c->at = c;
    timers++;
}

/* ---- connections ---- */

static void conn_close(struct conn *c)
{
    if (c->phase == STREAM) {
        count.aborted++;
        if (c->shape.id && c->shape.id < MAX_ID)
            closed_ns[c->shape.id] = wire_now_ns();
    }
    timer_clear(c);
    link_close(&c->link, false);
    free(c->out);
    free(c);
    count.open--;
}

/* Sends, keeping what the socket refuses. False when the peer is gone. */
static bool conn_send(struct conn *c, const char *p, size_t n)
{
    long put = c->out_len ? 0 : link_write(&c->link, p, n);
    if (put < 0)
        return false;
    if ((size_t)put == n)
        return true;
    n -= (size_t)put;
    char *grown = realloc(c->out, c->out_len + n);
    if (!grown)
        wire_die("memory");
    c->out = grown;
    memcpy(c->out + c->out_len, p + put, n);
    c->out_len += n;
    link_watch(&c->link, ep, c, true);
    return true;
}

static bool conn_flush(struct conn *c)
{
    while (c->out_off < c->out_len) {
        long put = link_write(&c->link, c->out + c->out_off, c->out_len - c->out_off);
        if (put < 0)
            return false;
        if (!put)
            return true;
        c->out_off += (size_t)put;
    }
    free(c->out);
    c->out = NULL;
    c->out_len = c->out_off = 0;
    link_watch(&c->link, ep, c, false);
    return true;
}

/* ---- streams ---- */

static size_t put_chunk(char *to, const char *event, size_t n)
{
    int head = sprintf(to, "%zx\r\n", n);
    memcpy(to + head, event, n);
    memcpy(to + head + n, "\r\n", 2);
    return (size_t)head + n + 2;
}

static size_t put_content(char *to, const struct shape *s, bool messages, unsigned seq,
                          uint64_t now_ns)
{
    static const char chat_front[] =
        "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion."
        "chunk\",\"created\":1767225600,\"model\":\"mock\",\"choices\":[{"
        "\"index\":0,\"delta\":{\"content\":\"";
    static const char chat_back[] = "\"},\"finish_reason\":null}]}\n\n";
    static const char messages_front[] = "event: content_block_delta\ndata: "
                                         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
                                         "\"type\":\"text_delta\",\"text\":\"";
    static const char messages_back[] = "\"}}\n\n";
    const char *front = messages ? messages_front : chat_front;
    const char *back = messages ? messages_back : chat_back;
    size_t front_n = strlen(front), back_n = strlen(back);
    static const char words[] = "the plan moves in short steps and ";
    char event[MAX_EVENT], *p = event + front_n;
    memcpy(event, front, front_n);
    *p++ = '#';
    wire_digits(p, seq, 6);
    p[6] = '@';
    wire_digits(p + 7, now_ns, 19);
    p[26] = ' ';
    p += 27;
    for (size_t i = 0; (size_t)(p - event) + back_n < s->size; i++)
        *p++ = words[i % (sizeof words - 1)];
    memcpy(p, back, back_n);
    return put_chunk(to, event, (size_t)(p - event) + back_n);
}

static size_t put_end(char *to, bool usage)
{
    static const char stop[] = "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk"
                               "\",\"created\":1767225600,\"model\":\"mock\",\"choices\":[{"
                               "\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    static const char used[] = "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk"
                               "\",\"created\":1767225600,\"model\":\"mock\",\"choices\":[],"
                               "\"usage\":{\"prompt_tokens\":212,\"completion_tokens\":50,"
                               "\"total_tokens\":262}}\n\n";
    static const char done[] = "data: [DONE]\n\n";
    size_t n = put_chunk(to, stop, sizeof stop - 1);
    if (usage)
        n += put_chunk(to + n, used, sizeof used - 1);
    n += put_chunk(to + n, done, sizeof done - 1);
    memcpy(to + n, "0\r\n\r\n", 5);
    return n + 5;
}

static size_t put_messages_start(char *to)
{
    static const char start[] =
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_mock\","
        "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"mock\",\"content\":[],"
        "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":212,"
        "\"output_tokens\":1}}}\n\n"
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    return put_chunk(to, start, sizeof start - 1);
}

static size_t put_messages_end(char *to)
{
    static const char end[] =
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
        "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":50}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    size_t n = put_chunk(to, end, sizeof end - 1);
    memcpy(to + n, "0\r\n\r\n", 5);
    return n + 5;
}

/* Writes what is due of a stream and arms the next write. False when the peer is gone. */
static bool stream_step(struct conn *c)
{
    const struct shape *s = &c->shape;
    while (!c->out_len) {
        size_t n = 0, room = SCRATCH - 4096;
        uint64_t now = wire_now_ns();
        if (c->next_chunk == 0) {
            memcpy(scratch, stream_head, sizeof stream_head - 1);
            n = sizeof stream_head - 1;
            if (c->messages)
                n += put_messages_start(scratch + n);
        }
        for (unsigned i = 0; i < s->burst && c->next_chunk < s->chunks; i++) {
            if (n + s->size + 32 > room)
                break;
            n += put_content(scratch + n, s, c->messages, c->next_chunk++, now);
            count.chunks++;
        }
        bool end = c->next_chunk >= s->chunks;
        if (end) {
            n += c->messages ? put_messages_end(scratch + n) : put_end(scratch + n, c->usage);
            c->phase = HEAD;
        }
        if (!conn_send(c, scratch, n))
            return false;
        if (end)
            return true;
        if (s->delay_ms) {
            timer_arm(c, wheel_ms + s->delay_ms);
            return true;
        }
    }
    return true; /* the socket is full: goes on when it has drained */
}

/* ---- requests ---- */

static unsigned word_of(const char *name, const char *word, unsigned otherwise)
{
    const char *p = strstr(name, word);
    return p ? (unsigned)strtoul(p + strlen(word), NULL, 10) : otherwise;
}

static void read_shape(struct shape *s, const char *body)
{
    char name[160] = "";
    const char *p = strstr(body, "\"model\"");
    if (p)
        sscanf(p + 7, " : \"%159[^\"]\"", name);
    s->chunks = word_of(name, ".chunks=", 50);
    s->delay_ms = word_of(name, ".delay=", 0);
    s->size = word_of(name, ".size=", 250);
    s->burst = word_of(name, ".burst=", 1);
    s->id = word_of(name, ".id=", 0);
    if (s->size > MAX_EVENT - 256)
        s->size = MAX_EVENT - 256;
    if (!s->burst)
        s->burst = 1;
    if (!s->chunks)
        s->chunks = 1;
}

static bool answer_page(struct conn *c)
{
    size_t n = 0, cap = 64 * 1024;
    char *page = scratch + 256, head[200];
    if (!strncmp(c->in, "GET /closed", 11)) {
        for (unsigned i = 0; i < MAX_ID && n + 40 < cap; i++)
            if (closed_ns[i])
                n += (size_t)sprintf(page + n, "%u %llu\n", i, (unsigned long long)closed_ns[i]);
    } else {
        n = (size_t)sprintf(page,
                            "{\"requests\":%llu,\"streams\":%llu,\"chunks\":%llu,\"aborted\":%llu,"
                            "\"accepted\":%llu,\"handshakes\":%llu,\"resumed\":%llu,\"open\":%llu}",
                            (unsigned long long)count.requests, (unsigned long long)count.streams,
                            (unsigned long long)count.chunks, (unsigned long long)count.aborted,
                            (unsigned long long)count.accepted,
                            (unsigned long long)count.handshakes, (unsigned long long)count.resumed,
                            (unsigned long long)count.open);
    }
    int h = sprintf(
        head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", n);
    c->phase = HEAD;
    return conn_send(c, head, (size_t)h) && conn_send(c, page, n);
}

static bool request_done(struct conn *c)
{
    char *body = c->in + c->head_len;
    c->in[c->in_len] = 0;
    c->in_len = 0;
    if (!strncmp(c->in, "GET ", 4))
        return answer_page(c);
    count.requests++;
    c->messages = strstr(c->in, "/messages HTTP/") != NULL;
    if (wire_says(body, "\"stream\"", "true")) {
        count.streams++;
        read_shape(&c->shape, body);
        c->usage = wire_says(body, "\"include_usage\"", "true");
        c->next_chunk = 0;
        c->phase = STREAM;
        return stream_step(c);
    }
    c->phase = HEAD;
    return c->messages ? conn_send(c, message_answer, message_answer_len)
                       : conn_send(c, json_answer, json_answer_len);
}

static uint64_t content_length(const char *head)
{
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p + 2, "\r\n"))
        if (!strncasecmp(p + 2, "content-length:", 15))
            return strtoull(p + 17, NULL, 10);
    return 0;
}

/* Takes what was read: one request at a time, as a proxy sends them. */
static bool take(struct conn *c, const char *p, size_t n)
{
    size_t keep = n < KEEP - 1 - c->in_len ? n : KEEP - 1 - c->in_len;
    if (c->phase == STREAM)
        return false; /* bytes in the middle of an answer: not what we came to measure */
    memcpy(c->in + c->in_len, p, keep);
    c->in_len += keep;
    if (c->phase == BODY) {
        c->body_left -= n < c->body_left ? n : c->body_left;
        return c->body_left || request_done(c);
    }
    c->in[c->in_len] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end)
        return c->in_len < KEEP - 1;
    end[2] = 0;
    c->head_len = (size_t)(end + 4 - c->in);
    uint64_t length = content_length(c->in), have = c->in_len + (n - keep) - c->head_len;
    c->body_left = length > have ? length - have : 0;
    c->phase = BODY;
    return c->body_left || request_done(c);
}

static void count_handshake(struct conn *c)
{
    if (c->shaken || !c->link.ssl || !SSL_is_init_finished(c->link.ssl))
        return;
    c->shaken = true;
    count.handshakes++;
    count.resumed += SSL_session_reused(c->link.ssl) != 0;
}

static void conn_event(struct conn *c, unsigned events)
{
    static char in[SCRATCH];
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        long n;
        do {
            n = link_read(&c->link, in, sizeof in);
            count_handshake(c);
            if (n < 0 || (n > 0 && !take(c, in, (size_t)n))) {
                conn_close(c);
                return;
            }
        } while (n > 0 && c->link.ssl && SSL_pending(c->link.ssl));
    }
    if (!(events & EPOLLOUT) || !c->out_len)
        return;
    if (!conn_flush(c) || (c->phase == STREAM && !c->at && !c->out_len && !stream_step(c)))
        conn_close(c);
}

static void accept_all(struct conn *listener)
{
    for (int one = 1;;) {
        int fd = accept4(listener->link.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            wire_die("memory");
        c->link.fd = fd;
        if (listener->tls) {
            c->link.ssl = SSL_new(tls);
            SSL_set_fd(c->link.ssl, fd);
            SSL_set_accept_state(c->link.ssl);
        }
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
        count.accepted++;
        count.open++;
    }
}

static void run_timers(void)
{
    uint64_t now = wire_now_ns() / 1000000;
    while (timers && wheel_ms < now) {
        struct conn *next;
        wheel_ms++;
        for (struct conn *c = wheel[wheel_ms % WHEEL]; c; c = next) {
            next = c->next;
            if (c->due_ms > wheel_ms)
                continue;
            timer_clear(c);
            if (c->out_len)
                timer_arm(c, wheel_ms + c->shape.delay_ms); /* the peer is slow: skip this turn */
            else if (!stream_step(c))
                conn_close(c);
        }
    }
}

static void start_tls(const char *cert, const char *key)
{
    tls = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"mock", 4);
}

static int open_listener(struct conn *l, bool with_tls)
{
    int port = 0;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    *l = (struct conn){.listener = true, .tls = with_tls, .link.fd = wire_listen(&port)};
    epoll_ctl(ep, EPOLL_CTL_ADD, l->link.fd, &ev);
    return port;
}

int main(int argc, char **argv)
{
    static struct conn plain, secure;
    const char *cert = NULL, *key = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--cert"))
            cert = argv[i + 1];
        else if (!strcmp(argv[i], "--key"))
            key = argv[i + 1];
    }
    wire_start();
    build_answer();
    ep = epoll_create1(EPOLL_CLOEXEC);
    int port = open_listener(&plain, false), tls_port = 0;
    if (cert && key) {
        start_tls(cert, key);
        tls_port = open_listener(&secure, true);
    }
    printf("{\"port\":%d,\"tls_port\":%d}\n", port, tls_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event ev[512];
        int n = epoll_wait(ep, ev, 512, timers ? 1 : 1000);
        if (n < 0 && errno != EINTR)
            wire_die("epoll_wait");
        if (!timers)
            wheel_ms = wire_now_ns() / 1000000;
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c->listener)
                accept_all(c);
            else
                conn_event(c, ev[i].events);
        }
        run_timers(); /* last: it may free connections that ev still names */
    }
}
