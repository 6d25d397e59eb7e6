/* http_client: on a real loop, against an upstream that the test plays byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <limits.h>

#include "http_harness.h"

#include "core/alloc.h"
#include "net/http_client.h"
#include "net/scratch.h"

static struct http_client client;
static struct http_origin origin;
static struct guard guard;
static struct dns *dns;
static int listener;
static struct peer up, up2; /* the upstream's ends */
static struct http_call call;
static struct iovec iov[2], work[2];
static char text[4 << 20]; /* what the callbacks tell */
static size_t text_n;
static char big[1 << 20];
static bool in_start;
static char why[512];
static enum { NOTHING, CANCEL, PAUSE, AGAIN } at_head, at_body, at_end, at_fail;

static void note(const char *p, size_t n)
{
    assert_false(in_start);
    assert_true(text_n + n < sizeof text);
    memcpy(text + text_n, p, n);
    text_n += n;
    text[text_n] = 0;
}

static void assert_text(const char *want)
{
    assert_string_equal(text, want);
    text_n = 0;
    text[0] = 0;
}

static void start(void);

static void act(int what)
{
    if (what == CANCEL)
        http_call_cancel(&call);
    else if (what == PAUSE)
        http_call_pause(&call);
    else if (what == AGAIN)
        start();
}

static void on_head(struct http_call *c, const struct http_head *h)
{
    char line[64];
    note(line, (size_t)snprintf(line, sizeof line, "[%d %u]", h->status, h->n));
    act(at_head);
    for (unsigned i = 0; i < h->n; i++) /* still there */
        assert_true(h->f[i].name.n && h->f[i].name.p[0] >= 'A');
}

static void on_body(struct http_call *c, char *p, size_t n)
{
    assert_true(n > 0);
    note(p, n);
    memset(p, 0, n); /* ours to change */
    act(at_body);
}

static void on_end(struct http_call *c)
{
    note("[end]", 5);
    int what = at_end;
    at_end = NOTHING;
    act(what);
}

static void on_fail(struct http_call *c, enum err e, const struct err_info *info)
{
    char line[64];
    note(line, (size_t)snprintf(line, sizeof line, "[%s]", err_name(e)));
    memcpy(why, info->text, sizeof why);
    assert_int_equal(info->offset, -1);
    assert_int_equal(info->retry_ms, 0);
    int what = at_fail;
    at_fail = NOTHING;
    act(what);
}

static const struct http_call_events call_events = {on_head, on_body, on_end, on_fail};

/* ---- fixture ------------------------------------------------------------------------- */

static void start(void)
{
    iov[0] = (struct iovec){"POST / HTTP/1.1\r\n", 17};
    call.on = &call_events;
    call.iov = iov;
    call.work = work;
    call.iov_n = 2;
    bool nested = in_start;
    in_start = true;
    assert_int_equal(http_call_start(&client, &origin, &call), ERR_OK);
    in_start = nested;
}

static void set_url(const char *host, uint16_t port)
{
    static char url[64];
    snprintf(url, sizeof url, "http://%s:%u", host, port);
    assert_int_equal(url_parse(str_c(url), &origin.url, NULL), ERR_OK);
}

static uint16_t port;

static int setup(void **state)
{
    struct sockaddr_in at;
    loop = loop_new("test");
    offset_ms = 0;
    clock_test_offset_ns(0);
    assert_int_equal(cidr_list_parse(STR("127.0.0.0/8"), &guard.allow, NULL), ERR_OK);
    http_client_init(&client, loop, NULL, &guard, 50000);
    origin = (struct http_origin){.connect_ms = 5000};
    listener = listen_any(&at);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    port = ntohs(at.sin_port);
    set_url("127.0.0.1", port);
    up.fd = up2.fd = -1;
    iov[1] = (struct iovec){"Host: a\r\n\r\n", 11};
    text_n = 0;
    text[0] = why[0] = 0;
    at_head = at_body = at_end = at_fail = NOTHING;
    memset(big, 'x', sizeof big);
    return 0;
}

static int teardown(void **state)
{
    http_call_cancel(&call);
    http_client_release(&client);
    assert_int_equal(client.open_n, 0);
    assert_int_equal(origin.open_n, 0);
    assert_int_equal(origin.idle_n, 0);
    dns_close(&dns);
    peer_close(&up);
    peer_close(&up2);
    if (listener >= 0)
        close(listener);
    loop_free(&loop);
    scratch_release();
    clock_test_offset_ns(0);
    return 0;
}

/* The upstream takes the next connection; false: none has come. */
static bool accept_to(struct peer *p)
{
    int one = 1;
    settle();
    p->n = 0;
    p->eof = p->reset = false;
    p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (p->fd >= 0)
        setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return p->fd >= 0;
}

/* The request has come whole. */
static void expect_request(struct peer *p)
{
    settle();
    peer_read(p);
    assert_string_equal(p->got, "POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    p->n = 0;
}

static void answer(struct peer *p, const char *what)
{
    peer_send(p, what, strlen(what));
    settle();
}

#define OK(n) "HTTP/1.1 200 OK\r\nContent-Length: " n "\r\n\r\n"

/* A first call that leaves an idle connection, whose other end is up. */
static void warm(void)
{
    start();
    assert_true(accept_to(&up));
    expect_request(&up);
    answer(&up, OK("2") "ok");
    assert_text("[200 1]ok[end]");
    assert_int_equal(origin.idle_n, 1);
}

static void end_of(struct peer *p)
{
    shutdown(p->fd, SHUT_WR);
    settle();
}

/* ---- answers ---------------------------------------------------------------------------- */

static const struct {
    const char *answer, *text;
    bool end, keeps; /* the upstream closes behind it; the connection is kept */
} answers[] = {
    {OK("3") "abc", "[200 1]abc[end]", false, true},
    {OK("0"), "[200 1][end]", false, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: "
     "y\r\n\r\n",
     "[200 1]abcde[end]", false, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "[200 1][end]", false, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", "[204 0][end]", false, true},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "[304 1][end]", false, true},
    {"HTTP/1.1 200 OK\r\n\r\nabc", "[200 0]abc[end]", true, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "[200 1]a[end]", false, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "[200 2]a[end]",
     false, true},
    {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", "[200 2]a[end]", false,
     false},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK("1") "a",
     "[200 1]a[end]", false, true},
    {"HTTP/1.1 200 OK\r\n\r\n", "[200 0][end]", true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "[200 1]abc[UPSTREAM_INCOMPLETE]", true,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
     "[200 1]abc[UPSTREAM_INCOMPLETE]", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     "[200 1]abc[UPSTREAM_INCOMPLETE]", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
     "[200 1]abc[UPSTREAM_INCOMPLETE]", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd",
     "[200 1]abc[UPSTREAM_PROTOCOL]", false, false},
    {"", "[UPSTREAM_RESET]", true, false},
    {"HTTP/1.1 200 OK\r\nConte", "[UPSTREAM_RESET]", true, false},
    {"HTTP/1.1 100 Continue\r\n\r\n", "[UPSTREAM_RESET]", true, false},
    {"SSH-2.0-x\r\n\r\n", "[UPSTREAM_PROTOCOL]", false, false},
    {"HTTP/1.1 200 OK\n\n", "[UPSTREAM_PROTOCOL]", false, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "[UPSTREAM_PROTOCOL]", false, false},
};

static void reads_answers(void **state)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
            start();
            assert_true(accept_to(&up));
            expect_request(&up);
            for (const char *p = answers[i].answer; *p && by_bytes && client.open_n; p++) {
                peer_send(&up, p, 1);
                turn();
            }
            if (!by_bytes)
                peer_send(&up, answers[i].answer, strlen(answers[i].answer));
            if (answers[i].end)
                shutdown(up.fd, SHUT_WR); /* in one turn with the answer */
            settle();
            assert_text(answers[i].text);
            assert_int_equal(origin.idle_n, answers[i].keeps);
            assert_int_equal(origin.open_n, answers[i].keeps);
            http_client_evict(&client, UINT_MAX);
            settle();
            peer_close(&up);
        }
}

static void drops_what_has_bytes_behind(void **state)
{
    static const char *const rows[] = {
        OK("1") "ab",
        "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
    };
    for (int i = 0; i < 3; i++) {
        start();
        assert_true(accept_to(&up));
        answer(&up, rows[i]);
        assert_string_equal(text + text_n - 5, "[end]");
        assert_true(!strchr(text, 'b') && !strchr(text, 'x'));
        assert_int_equal(client.open_n, 0);
        text_n = 0;
        peer_close(&up);
    }
}

static void keeps_pieces_of_heads(void **state)
{
    /* What was kept of a skipped head makes room for what is kept of the next. */
    start();
    assert_true(accept_to(&up));
    answer(&up, "HTTP/1.1 100 C");
    answer(&up, "ontinue\r\n\r\n");
    answer(&up, "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 20");
    answer(&up, "0 OK\r\nContent-Length: 3\r\n\r\nab");
    answer(&up, "c");
    assert_text("[200 1]abc[end]");
}

/* ---- the pool ------------------------------------------------------------------------------- */

static void reuses_the_last(void **state)
{
    warm();
    start();
    assert_true(call.reused);
    expect_request(&up);
    assert_false(accept_to(&up2));
    answer(&up, OK("1") "b");
    assert_text("[200 1]b[end]");
    assert_int_equal(origin.connects, 1);
    at_end = AGAIN; /* a call from inside end() */
    start();
    expect_request(&up);
    answer(&up, OK("1") "c");
    expect_request(&up);
    answer(&up, OK("1") "d");
    assert_text("[200 1]c[end][200 1]d[end]");
    assert_int_equal(origin.connects, 1);
}

static void closes_idle_ones(void **state)
{
    warm();
    end_of(&up);
    assert_int_equal(client.open_n, 0);
    peer_close(&up);
    warm();
    answer(&up, "x");
    assert_int_equal(client.open_n, 0);
    peer_close(&up);
    warm();
    peer_reset(&up);
    settle();
    assert_int_equal(client.open_n, 0);
    warm();
    pass_ms(49900);
    assert_int_equal(client.open_n, 1);
    pass_ms(100);
    assert_int_equal(client.open_n, 0);
    assert_text("");
}

static void replaces_a_reused_one_once(void **state)
{
    warm();
    end_of(&up); /* seen: another is made at once */
    start();
    assert_true(accept_to(&up2));
    answer(&up2, OK("1") "a");
    assert_text("[200 1]a[end]");
    peer_close(&up);
    shutdown(up2.fd, SHUT_WR); /* not seen before the call starts */
    start();
    assert_true(call.reused);
    assert_true(accept_to(&up));
    assert_false(call.reused);
    expect_request(&up);
    peer_close(&up2);
    end_of(&up); /* the fresh one fails: no third */
    assert_text("[UPSTREAM_RESET]");
    peer_close(&up);
    warm();
    peer_reset(&up);
    start();
    assert_true(accept_to(&up));
    expect_request(&up);
    answer(&up, "HTTP/1.1");
    end_of(&up);
    assert_text("[UPSTREAM_RESET]");
    peer_close(&up);
    warm();
    start();
    answer(&up, "H"); /* a byte of an answer: not replaced */
    end_of(&up);
    assert_false(accept_to(&up2));
    assert_text("[UPSTREAM_RESET]");
}

static void takes_no_second_old_one(void **state)
{
    struct iovec work2[2];
    struct http_call call2 = {.on = &call_events, .iov = iov, .work = work2, .iov_n = 2};
    start();
    assert_int_equal(http_call_start(&client, &origin, &call2), ERR_OK);
    assert_true(accept_to(&up) && accept_to(&up2));
    expect_request(&up);
    expect_request(&up2);
    answer(&up, OK("1") "a");
    answer(&up2, OK("1") "b");
    assert_int_equal(origin.idle_n, 2);
    text_n = 0;
    shutdown(up2.fd, SHUT_WR); /* the one used last; not seen before the call starts */
    start();
    assert_true(call.reused);
    turn();
    peer_close(&up2);
    assert_true(accept_to(&up2)); /* a new one, although up would be there */
    expect_request(&up2);
    assert_int_equal(origin.connects, 3);
    answer(&up2, OK("1") "c");
    assert_text("[200 1]c[end]");
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void fails_where_nobody_listens(void **state)
{
    close(listener);
    listener = -1;
    start();
    settle();
    assert_text("[CONNECT]");
    assert_string_equal(why, "connect: Connection refused");
    assert_int_equal(client.open_n, 0);
    assert_int_equal(origin.connects, 0);
    at_fail = AGAIN;
    start();
    settle();
    assert_text("[CONNECT][CONNECT]");
    guard.allow.n = 0;
    start();
    settle();
    assert_text("[ADDRESS_REFUSED]");
}

static void use_hosts(const char *lines, struct dns_hosts **hosts)
{
    char path[] = "/tmp/lyss-hosts-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, lines, strlen(lines)), strlen(lines));
    close(fd);
    *hosts = dns_hosts_new(path);
    unlink(path);
    struct dns_options o = {.servers = "127.0.0.1:1", .hosts = *hosts};
    assert_int_equal(dns_new(&dns, loop, &o, NULL), ERR_OK);
    client.dns = dns;
}

static void tries_the_next_address(void **state)
{
    struct dns_hosts *hosts;
    use_hosts("127.0.0.2 up.test\n127.0.0.3 up.test\n127.0.0.1 up.test\n", &hosts);
    set_url("up.test", port);
    warm();
    assert_int_equal(origin.connects, 1);
    assert_int_equal(client.open_n, 1);
    http_client_evict(&client, UINT_MAX);
    close(listener);
    listener = -1;
    start();
    settle();
    assert_text("[CONNECT]");
    assert_int_equal(client.open_n, 0);
    start();
    http_call_cancel(&call); /* while it resolves */
    settle();
    start();
    turn();
    http_call_cancel(&call);
    settle();
    assert_text("");
    dns_close(&dns);
    settle();
    dns_hosts_free(&hosts);
}

static void times_connecting(void **state)
{
    /* A backlog that is full lets a SYN go unanswered. */
    struct sockaddr_in at;
    int full = listen_any(&at), fill[4];
    assert_int_equal(listen(full, 0), 0);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    set_url("127.0.0.1", ntohs(at.sin_port));
    start();
    settle();
    assert_true(http_call_sending(&call));
    assert_text("");
    pass_ms(4900);
    assert_text("");
    pass_ms(200);
    assert_text("[CONNECT_TIMEOUT]");
    assert_int_equal(client.open_n, 0);
    for (int i = 0; i < 4; i++)
        close(fill[i]);
    close(full);
}

static int open_nothing(void *user)
{
    return -1;
}

static int opened;

static int open_pair(void *user)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    opened = fds[1];
    return fds[0];
}

static void opens_in_another_way(void **state)
{
    origin.open = open_nothing;
    start();
    settle();
    assert_text("[CONNECT]");
    origin.open = open_pair;
    start();
    settle();
    up.fd = opened;
    up.n = 0;
    up.eof = up.reset = false;
    expect_request(&up);
    answer(&up, OK("1") "a");
    assert_text("[200 1]a[end]");
    start();
    expect_request(&up);
}

/* ---- in the middle ------------------------------------------------------------------------- */

static void cancels_anywhere(void **state)
{
    static const char *const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                       "3\r\nabc\r\n0\r\n\r\n";
    for (int how = 0; how < 7; how++) {
        at_head = how == 2 || how == 3 ? CANCEL : NOTHING;
        at_body = how == 4 || how == 5 ? CANCEL : NOTHING;
        at_end = how == 6 ? CANCEL : NOTHING;
        start();
        if (how == 0) {
            http_call_cancel(&call);
            http_call_cancel(&call);
        }
        if (!accept_to(&up)) {
            assert_int_equal(how, 0);
            continue;
        }
        if (how == 1) {
            http_call_cancel(&call);
            settle();
        }
        if (how == 3)
            answer(&up, "HTTP/1.1 200 OK\r\n"); /* the head is kept in pieces */
        if (how == 3)
            answer(&up, chunked + strlen("HTTP/1.1 200 OK\r\n"));
        else if (how > 1)
            answer(&up, how == 5 ? OK("9") "abc" : chunked);
        settle();
        assert_text(how == 1               ? ""
                    : how == 2 || how == 3 ? "[200 1]"
                    : how == 6             ? "[200 1]abc[end]"
                                           : "[200 1]abc");
        assert_int_equal(client.open_n, how == 6);
        peer_read(&up);
        assert_int_equal(up.eof || up.reset, how != 6);
        peer_close(&up);
        http_client_evict(&client, UINT_MAX);
        settle();
    }
}

static void pauses_and_goes_on(void **state)
{
    start();
    assert_true(accept_to(&up));
    at_body = PAUSE;
    answer(&up, OK("6") "ab");
    answer(&up, "cd");
    assert_text("[200 1]ab");
    at_body = NOTHING;
    http_call_resume(&call);
    settle();
    assert_text("cd");
    http_call_pause(&call);
    answer(&up, "e");
    end_of(&up);
    assert_text("");
    http_call_resume(&call);
    settle();
    assert_text("e[UPSTREAM_INCOMPLETE]");
    peer_close(&up);
    start();
    assert_true(accept_to(&up));
    http_call_pause(&call);
    peer_reset(&up);
    settle();
    assert_text("");
    http_call_resume(&call);
    settle();
    assert_text("[UPSTREAM_RESET]");
}

static void forgets_a_pause_at_the_end(void **state)
{
    at_body = PAUSE;
    start();
    assert_true(accept_to(&up));
    expect_request(&up);
    answer(&up, OK("2") "ab");
    assert_text("[200 1]ab[end]");
    at_body = NOTHING;
    start();
    assert_true(call.reused);
    expect_request(&up);
    answer(&up, OK("2") "cd");
    assert_text("[200 1]cd[end]");
    end_of(&up);
    assert_int_equal(client.open_n, 0);
}

static void sends_what_the_socket_refuses(void **state)
{
    static char huge[8 << 20];
    int small = 65536; /* else the kernel might take it all */
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    memset(huge, 'y', sizeof huge);
    iov[1] = (struct iovec){huge, sizeof huge};
    start();
    assert_true(accept_to(&up));
    assert_true(http_call_sending(&call));
    size_t total = 0;
    while (total < 17 + sizeof huge) {
        turn();
        up.n = 0;
        peer_read(&up);
        assert_false(up.eof || up.reset);
        total += up.n;
    }
    assert_int_equal(total, 17 + sizeof huge);
    settle();
    assert_false(http_call_sending(&call));
    answer(&up, OK("1") "a");
    assert_text("[200 1]a[end]");
    assert_int_equal(client.open_n, 1);
    start(); /* an answer before the request is out: taken, and the connection not kept */
    settle();
    assert_true(http_call_sending(&call));
    answer(&up, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 1\r\n\r\nb");
    assert_text("[413 1]b[end]");
    assert_int_equal(client.open_n, 0);
    peer_close(&up);
    start(); /* the same with a peer that closes at once */
    assert_true(accept_to(&up));
    peer_send(&up, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 1\r\n\r\nc", 54);
    peer_close(&up);
    settle();
    assert_text("[413 1]c[end]");
    assert_int_equal(client.open_n, 0);
}

static void survives_lack_of_memory(void **state)
{
    iov[0] = (struct iovec){"POST / HTTP/1.1\r\n", 17};
    for (uint64_t i = 1; i <= 2; i++) {
        call = (struct http_call){.on = &call_events, .iov = iov, .work = work, .iov_n = 2};
        mem_fail_at(i);
        assert_int_equal(http_call_start(&client, &origin, &call), ERR_NOMEM);
        assert_int_equal(client.open_n, 0);
        http_call_cancel(&call);
    }
    mem_fail_at(0);
    warm();
}

/* ---- keeping warm ------------------------------------------------------------------------- */

static void keeps_one_warm(void **state)
{
    client.warm_n = 1;
    warm();
    peer_close(&up);
    settle();
    assert_int_equal(origin.open_n, 0);
    pass_ms(HTTP_WARM_GAP_MS / 2);
    assert_false(accept_to(&up)); /* not at once */
    pass_ms(HTTP_WARM_GAP_MS);
    assert_true(accept_to(&up));
    assert_int_equal(origin.idle_n, 1);
    assert_int_equal(origin.connects, 2);
    pass_ms(4000);
    assert_false(accept_to(&up2)); /* one is enough */
    start();
    expect_request(&up);
    answer(&up, OK("0"));
    assert_true(call.reused);
    pass_ms(60000); /* longer than idle ones are kept */
    assert_true(origin.connects <= 3);
    pass_ms(HTTP_WARM_MS); /* not called any more */
    pass_ms(60000);
    assert_int_equal(origin.open_n, 0);
    uint64_t connects = origin.connects;
    pass_ms(60000);
    assert_int_equal(origin.connects, connects);
}

static void warms_nothing_that_was_not_called(void **state)
{
    client.warm_n = 1;
    pass_ms(60000);
    assert_false(accept_to(&up));
    client.warm_n = 0;
    warm();
    peer_close(&up);
    pass_ms(60000);
    assert_false(accept_to(&up));
}

static void ends_while_it_warms(void **state)
{
    client.warm_n = 1;
    warm();
    peer_close(&up);
    settle();
    offset_ms += 60000;
    clock_test_offset_ns(offset_ms * 1000000);
    for (int i = 0; i < 200 && !origin.warming; i++) {
        usleep(1000);
        turn();
    }
    http_client_release(&client); /* in the middle of it, and once more by the teardown */
    assert_int_equal(origin.open_n, 0);
}

static void a_refused_one_is_no_loss(void **state)
{
    client.warm_n = 1;
    warm();
    peer_close(&up);
    close(listener);
    listener = -1;
    for (int i = 0; i < 4; i++)
        pass_ms(HTTP_WARM_GAP_MS);
    assert_int_equal(origin.open_n, 0);
    assert_null(origin.warming);
    assert_int_equal(origin.connects, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_answers),
        T(drops_what_has_bytes_behind),
        T(keeps_pieces_of_heads),
        T(reuses_the_last),
        T(closes_idle_ones),
        T(replaces_a_reused_one_once),
        T(takes_no_second_old_one),
        T(fails_where_nobody_listens),
        T(tries_the_next_address),
        T(times_connecting),
        T(opens_in_another_way),
        T(cancels_anywhere),
        T(pauses_and_goes_on),
        T(forgets_a_pause_at_the_end),
        T(sends_what_the_socket_refuses),
        T(survives_lack_of_memory),
        T(keeps_one_warm),
        T(warms_nothing_that_was_not_called),
        T(ends_while_it_warms),
        T(a_refused_one_is_no_loss),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
