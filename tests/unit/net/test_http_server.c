/* http_server: on a real loop over the loopback, with a client that misbehaves in every phase. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "http_harness.h"

#include "net/http_server.h"
#include "net/scratch.h"

static struct http_server server;
static struct peer peer;
static struct arena arena;
static struct http_conn *conn; /* of the last head */
static char events_log[512];
static char big[1 << 20];

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
    va_list ap;
    size_t n = strlen(events_log);
    va_start(ap, fmt);
    vsnprintf(events_log + n, sizeof events_log - n, fmt, ap);
    va_end(ap);
}

static void assert_log(const char *want)
{
    assert_string_equal(events_log, want);
    events_log[0] = 0;
}

/* ---- the service: what it does is the path --------------------------------------- */

static void on_head(struct http_conn *c, const struct http_head *h)
{
    note("h(%.*s)", STR_FMT(h->path));
    conn = c;
    c->user = &server;
    arena_release(&arena);
    arena_init(&arena, 4 << 20);
    if (str_eq(h->path, STR("/now")))
        http_reply(c, 200, STR("X: y\r\n"), STR("now"));
    else if (str_eq(h->path, STR("/none")))
        http_reply(c, 204, STR_NULL, STR_NULL);
    else if (str_eq(h->path, STR("/length")))
        http_reply_head(c, 200, STR_NULL, 12345);
    else if (str_eq(h->path, STR("/headstream")))
        (void)!http_stream_start(c, 200, STR_NULL, STR("first"));
    else
        http_accept(c, &arena);
}

static void on_body(struct http_conn *c, struct str body)
{
    note("b(%.*s)", (int)(body.n < 40 ? body.n : 40), body.p);
    if (body.n && body.p[0] == '!')
        return; /* the test replies */
    if (body.n && body.p[0] == '~')
        (void)!http_stream_start(c, 200, STR("X: y\r\n"), STR("one"));
    else if (body.n && body.p[0] == '#')
        http_reply(c, 200, STR_NULL, str_make(big, sizeof big));
    else
        http_reply(c, 200, STR_NULL, body);
}

static bool reply_to_failures = true;

static void on_failed(struct http_conn *c, enum err e, const struct err_info *info)
{
    note("f(%s)", err_name(e));
    assert_non_null(c->user);
    if (e != ERR_CLIENT_GONE && reply_to_failures)
        http_reply(c, err_status(e), STR_NULL, STR_NULL);
}

static void on_malformed(struct http_conn *c, enum err e, const struct err_info *info)
{
    note("m(%s)", err_name(e));
    http_reply(c, err_status(e), STR_NULL, STR_NULL);
}

static void on_sent(struct http_conn *c)
{
    note("s");
}

static const struct http_service service = {on_head, on_body, on_failed, on_malformed, on_sent};

/* ---- fixture ------------------------------------------------------------------------ */

static _Atomic unsigned connections;

/* Buffers are small where a test fills them. */
static void connect_peer(int buffer)
{
    struct sockaddr_in at;
    struct addr from;
    int listener = listen_any(&at), one = 1;
    peer.n = 0;
    peer.eof = peer.reset = false;
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (buffer)
        setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&at, sizeof at), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    if (buffer)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
    assert_true(addr_from_sockaddr((struct sockaddr *)&at, &from));
    http_server_accept(&server, fd, &from);
}

static int setup(void **state)
{
    loop = loop_new("test");
    offset_ms = 0;
    clock_test_offset_ns(0);
    server = (struct http_server){
        .loop = loop,
        .service = &service,
        .limits = {.body_max_bytes = 100000,
                   .head_ms = 10000,
                   .idle_ms = 75000,
                   .body_stall_ms = 30000,
                   .body_min_bytes_per_s = 100,
                   .write_stall_ms = 60000,
                   .linger_ms = 1000},
        .connections = &connections,
    };
    events_log[0] = 0;
    conn = NULL;
    reply_to_failures = true;
    memset(big, 'x', sizeof big);
    connect_peer(0);
    return 0;
}

static int teardown(void **state)
{
    peer_close(&peer);
    http_server_release(&server);
    assert_int_equal(server.count, 0);
    assert_int_equal(connections, 0);
    assert_int_equal(server.lingering, 0);
    loop_free(&loop);
    arena_release(&arena);
    scratch_release();
    clock_test_offset_ns(0);
    return 0;
}

static void say(const char *text)
{
    peer_send(&peer, text, strlen(text));
    settle();
    peer_read(&peer);
}

/* What has come since the last look is exactly this. */
static void expect(const char *text)
{
    peer_read(&peer);
    assert_string_equal(peer.got, text);
    peer.n = 0;
    peer.got[0] = 0;
}

static void expect_closed(void)
{
    settle();
    peer_read(&peer);
    assert_true(peer.eof);
    peer_close(&peer);
    settle();
    assert_int_equal(server.count, 0);
}

static void expect_open(void)
{
    settle();
    peer_read(&peer);
    assert_false(peer.eof || peer.reset);
    assert_int_equal(server.count, 1);
}

#define NOW_REPLY          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nnow"
#define GET(path)          "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(body, length) "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n" body
#define CHUNKED            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OK(n, more)        "HTTP/1.1 200 OK\r\nContent-Length: " n "\r\n" more "\r\n"
#define CLOSE              "Connection: close\r\n"

/* ---- requests and replies ------------------------------------------------------------ */

static void serves_one_after_another(void **state)
{
    say(GET("/now"));
    expect(NOW_REPLY);
    say(POST("abc", "3"));
    expect(OK("3", "") "abc");
    say("\r\n" CHUNKED "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    expect(OK("3", "") "abc");
    say(GET("/none"));
    expect("HTTP/1.1 204 No Content\r\n\r\n");
    say("HEAD /length HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(OK("12345", ""));
    say(GET("/empty"));
    expect(OK("0", ""));
    expect_open();
    assert_log("h(/now)h(/x)b(abc)h(/x)b(abc)h(/none)h(/length)h(/empty)b()");
}

static void serves_bytes_one_by_one(void **state)
{
    static const char *const texts[] = {POST("abc", "3"), CHUNKED "3\r\nabc\r\n0\r\nT: x\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        for (const char *p = texts[i]; *p; p++) {
            peer_send(&peer, p, 1);
            turn();
        }
        settle();
        expect(OK("3", "") "abc");
    }
    assert_log("h(/x)b(abc)h(/x)b(abc)");
}

static void keeps_the_order_of_pipelined(void **state)
{
    say(POST("!", "1") POST("two", "3") GET("/now") CHUNKED "1\r\n4\r\n0\r\n\r\n" POST("fi", "4"));
    assert_log("h(/x)b(!)");
    expect("");
    http_reply(conn, 200, STR_NULL, STR("one"));
    settle();
    expect(OK("3", "") "one" OK("3", "") "two" NOW_REPLY OK("1", "") "4");
    say("ve");
    expect(OK("4", "") "five");
    assert_log("h(/x)b(two)h(/now)h(/x)b(4)h(/x)b(five)");
    expect_open();
}

static void bounds_what_is_pipelined(void **state)
{
    say(POST("!", "1"));
    peer_send(&peer, big, 16384);
    settle();
    http_reply(conn, 200, STR_NULL, STR("one"));
    settle();
    peer_read(&peer);
    assert_memory_equal(peer.got, OK("3", "") "one", 41); /* all was kept: no `close` */
    assert_log("h(/x)b(!)m(URI_TOO_LONG)");
    peer_close(&peer);
    settle();
    connect_peer(0);
    say(POST("!", "1"));
    peer_send(&peer, big, 16385);
    settle();
    http_reply(conn, 200, STR_NULL, STR("one"));
    settle();
    expect(OK("3", CLOSE) "one");
    assert_log("h(/x)b(!)");
    expect_closed();
}

static void refuses_malformed_heads(void **state)
{
    static const struct {
        const char *text, *status;
    } rows[] = {
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", "400 Bad Request"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400 Bad Request"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "417 Expectation Failed"},
        {"\x16\x03\x01", "400 Bad Request"},
    };
    char want[128];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        say(rows[i].text);
        snprintf(want, sizeof want, "HTTP/1.1 %s\r\nContent-Length: 0\r\n" CLOSE "\r\n",
                 rows[i].status);
        expect(want);
        expect_closed();
        connect_peer(0);
    }
    events_log[0] = 0;
    say(GET("/now") "GET /\r\n\r\n" GET("/now"));
    expect(NOW_REPLY "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n" CLOSE "\r\n");
    assert_log("h(/now)m(BAD_REQUEST)");
    expect_closed();
}

static void speaks_http_1_0(void **state)
{
    say("POST /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na");
    expect(OK("1", "Connection: keep-alive\r\n") "a");
    say("POST /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n~");
    expect("HTTP/1.1 200 OK\r\n" CLOSE "X: y\r\n\r\none");
    assert_true(http_stream_write(conn, STR("two")));
    http_stream_write_last(conn, STR("three"));
    settle();
    expect("twothree");
    expect_closed();
    connect_peer(0);
    say("GET /now HTTP/1.0\r\n\r\n");
    expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow");
    expect_closed();
}

static void says_continue_once_wanted(void **state)
{
#define EXPECT(path, n)                                                                            \
    "POST " path " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " n "\r\n\r\n"
    say(EXPECT("/x", "2"));
    expect("HTTP/1.1 100 Continue\r\n\r\n");
    say("ab");
    expect(OK("2", "") "ab");
    say(EXPECT("/x", "2") "ab");
    expect(OK("2", "") "ab");
    say(EXPECT("/x", "100001"));
    expect("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n" CLOSE "\r\n");
    expect_closed();
    connect_peer(0);
    say(EXPECT("/now", "2"));
    expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow");
    expect_closed();
}

static void refuses_bad_bodies_once(void **state)
{
    static const char *const bad[] = {"x\r\n", "1\r\nab", "0\r\nbad\r\n\r\n", "f\n"};
    for (int later = 0; later < 2; later++)
        for (int i = 0; i < 4; i++) {
            reply_to_failures = !later;
            say(CHUNKED);
            say(bad[i]);
            say("more\r\n");
            assert_log("h(/x)f(BAD_REQUEST)");
            if (later)
                http_reply(conn, 400, STR_NULL, STR_NULL);
            settle();
            expect("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n" CLOSE "\r\n");
            expect_closed();
            assert_log("");
            connect_peer(0);
        }
}

static void bounds_bodies(void **state)
{
    say(CHUNKED "186a0\r\n"); /* 100000 */
    peer_send(&peer, big, 100000);
    say("\r\n0\r\n\r\n");
    peer.n = 0;
    expect_open();
    events_log[0] = 0;
    say(CHUNKED "186a1\r\n");
    peer_send(&peer, big, 100001);
    settle();
    assert_log("h(/x)f(BODY_TOO_LARGE)");
    expect("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n" CLOSE "\r\n");
    expect_closed();
}

/* Sends a request of so many bytes, head included, with another behind it; both must be answered.
 */
static void ask_whole(size_t whole, bool behind)
{
    static char text[120000];
    size_t head = 0;
    for (int pass = 0; pass < 2; pass++) /* the head's length tells the body's */
        head = (size_t)sprintf(text, POST("", "%zu"), whole - head);
    memcpy(text + head, big, whole - head);
    size_t n = whole;
    if (behind)
        n += (size_t)sprintf(text + n, GET("/now"));
    peer.n = 0;
    peer_send(&peer, text, n);
    settle();
    peer_read(&peer);
    size_t told = (size_t)sprintf(text, OK("%zu", ""), whole - head);
    assert_int_equal(peer.n, told + whole - head + (behind ? strlen(NOW_REPLY) : 0));
    assert_memory_equal(peer.got + told, big, whole - head);
    peer.n = 0;
    events_log[0] = 0;
}

/* Reads end anywhere in a message: at its end, just before, just behind, in what is pipelined. */
static void takes_bodies_around_the_edge_of_a_read(void **state)
{
    /* What follows a body of 89 900 bytes and more is read into a block of 4 096 more; it stays
     * there if it fills three quarters of it. */
    static const size_t edges[] = {4096,  16384, 20480, 32768, 65536, 70500, 70550,
                                   70572, 70600, 81920, 94000, 94050, 94096};
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)('a' + i % 23);
    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++)
        for (int off = -2; off <= 2; off++)
            for (int i = 0; i < 4; i++) {
                ask_whole(i & 1 ? 90000 : 200, false); /* how much is read first depends on it */
                ask_whole(edges[e] + (size_t)off, i & 2);
            }
    memset(big, 0, sizeof big);
    expect_open();
}

static void takes_a_long_body_in_pieces(void **state)
{
    memset(big, 'x', sizeof big);
    for (size_t first = 0; first <= 80000; first += 16000) {
        ask_whole(90000, false);
        say(POST("", "80000"));
        if (first) {
            peer_send(&peer, big, first);
            settle();
        }
        peer_send(&peer, big, 80000 - first);
        say(GET("/now"));
        settle();
        peer_read(&peer);
        char told[100];
        size_t n = (size_t)sprintf(told, OK("%d", ""), 80000);
        assert_int_equal(peer.n, n + 80000 + strlen(NOW_REPLY));
        assert_memory_equal(peer.got + n, big, 80000);
        peer.n = 0;
        events_log[0] = 0;
    }
    memset(big, 0, sizeof big);
    expect_open();
}

static unsigned count_in_log(const char *what)
{
    unsigned n = 0;
    for (const char *p = events_log; (p = strstr(p, what)); p++)
        n++;
    events_log[0] = 0;
    return n;
}

/* Where the last body was long, so that the next most likely is: all have their turn. */
static void begins_few_long_requests_in_a_turn(void **state)
{
    enum { PEERS = 40, BODY = 40000 };
    static char text[BODY + 200];
    int fds[PEERS];
    size_t n = (size_t)sprintf(text, POST("", "%d"), BODY);
    memset(text + n, 'x', BODY);
    n += BODY;
    for (int i = 0; i < PEERS; i++) {
        if (i)
            connect_peer(0);
        fds[i] = peer.fd;
        peer.n = 0;
        peer_send(&peer, text, n);
        settle();
        peer_read(&peer);
        assert_true(peer.n > BODY);
    }
    for (int round = 0; round < 3; round++) {
        events_log[0] = 0;
        for (int i = 0; i < PEERS; i++)
            assert_int_equal(send(fds[i], text, n, MSG_DONTWAIT), n);
        unsigned all = 0, most = 0;
        for (int turns = 0; turns < PEERS; turns++) {
            turn();
            unsigned begun = count_in_log("h(");
            all += begun;
            most = begun > most ? begun : most;
        }
        assert_int_equal(all, PEERS);
        assert_in_range(most, 1, 12); /* a call of turn() may be two */
        for (int i = 0; i < PEERS; i++) {
            peer.fd = fds[i];
            peer.n = 0;
            peer_read(&peer);
            assert_true(peer.n > BODY);
        }
    }
    for (int i = 0; i + 1 < PEERS; i++) /* the last is closed as ever */
        close(fds[i]);
}

/* ---- replies before the body ----------------------------------------------------------- */

static void skips_a_body_that_is_here(void **state)
{
    say("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" POST("a", "1"));
    expect(NOW_REPLY OK("1", "") "a");
    expect_open();
}

static void closes_on_a_body_to_come(void **state)
{
#define NOW_CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow"
    say("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nabc");
    expect(NOW_CLOSE);
    say(GET("/now")); /* is body */
    expect("");
    assert_log("h(/now)");
    expect_closed();
    connect_peer(0);
    say("POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(NOW_CLOSE);
    expect_closed();
}

static void replies_while_the_body_comes(void **state)
{
    static const char *const starts[] = {POST("abc", "40"), CHUNKED "28\r\nabc"};
    for (int i = 0; i < 2; i++) {
        say(starts[i]);
        http_reply(conn, 503, STR_NULL, STR_NULL);
        settle();
        expect("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n" CLOSE "\r\n");
        say(GET("/now"));
        expect("");
        assert_log("h(/x)");
        expect_closed();
        connect_peer(0);
    }
}

static void keeps_what_follows_an_early_stream(void **state)
{
    say(GET("/headstream") "GET /now HT");
    say("TP/1.1\r\nHost: a\r\n\r\n");
    http_stream_finish(conn);
    settle();
    expect(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n" NOW_REPLY);
    expect_open();
}

/* ---- streams ---------------------------------------------------------------------------- */

#define STREAM_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"

static void streams(void **state)
{
    say(POST("~", "1"));
    expect(STREAM_HEAD "3\r\none\r\n");
    assert_true(http_stream_write(conn, STR("0123456789abcdef")));
    assert_true(http_stream_write(conn, STR("")));
    settle();
    expect("10\r\n0123456789abcdef\r\n");
    http_stream_write_last(conn, STR("end"));
    settle();
    expect("3\r\nend\r\n0\r\n\r\n");
    say(POST("~", "1"));
    http_stream_finish(conn);
    settle();
    expect(STREAM_HEAD "3\r\none\r\n0\r\n\r\n");
    say(POST("~", "1"));
    http_stream_write_last(conn, str_make(big, 20000));
    settle();
    peer_read(&peer);
    assert_memory_equal(peer.got + strlen(STREAM_HEAD "3\r\none\r\n"), "4e20\r\nxxx", 9);
    assert_string_equal(peer.got + peer.n - 8, "x\r\n0\r\n\r\n");
    peer.n = 0;
    say(GET("/now"));
    expect(NOW_REPLY);
}

static void breaks_without_an_end(void **state)
{
    say(POST("~", "1"));
    assert_true(http_stream_write(conn, STR("two")));
    http_stream_break(conn);
    settle();
    expect(STREAM_HEAD "3\r\none\r\n3\r\ntwo\r\n");
    expect_closed();
    assert_log("h(/x)b(~)");
}

static void fill_queue(void)
{
    while (!tcp_queued(&conn->tcp))
        assert_true(http_stream_write(conn, str_make(big, 30000)));
}

static void drain(void)
{
    for (int i = 0; i < 200 && server.count && tcp_queued(&conn->tcp); i++) {
        settle();
        peer_read(&peer);
    }
    settle();
    peer_read(&peer);
}

static void breaks_behind_what_waits(void **state)
{
    peer_close(&peer);
    settle();
    connect_peer(8192);
    say(POST("~", "1"));
    fill_queue();
    http_stream_break(conn);
    assert_int_equal(server.count, 1);
    drain();
    assert_true(peer.eof);
    assert_true(peer.n > 30000 && peer.got[peer.n - 3] == 'x');
    assert_null(strstr(peer.got, "\r\n0\r\n"));
    assert_log("h(/x)b(~)");
}

/* ---- deadlines ----------------------------------------------------------------------------- */

#define TIMEOUT_REPLY "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n" CLOSE "\r\n"

static void times_heads(void **state)
{
    pass_ms(9900);
    expect_open();
    pass_ms(100); /* nothing said at all */
    expect("");
    expect_closed();
    connect_peer(0);
    say("GET /now HT");
    pass_ms(9900);
    say("TP/1.1\r\nHo"); /* the whole head is timed, not its pieces */
    pass_ms(100);
    expect(TIMEOUT_REPLY);
    assert_log("m(REQUEST_TIMEOUT)");
    expect_closed();
}

static void times_idle_connections(void **state)
{
    say(GET("/now"));
    expect(NOW_REPLY);
    pass_ms(74900);
    expect_open();
    pass_ms(100);
    expect_closed();
    connect_peer(0);
    say(GET("/now") "GET /now"); /* an unfinished head is not idle */
    expect(NOW_REPLY);
    pass_ms(10000);
    expect(TIMEOUT_REPLY);
    expect_closed();
    connect_peer(0);
    events_log[0] = 0;
    say(POST("!", "1") "GET /now");
    pass_ms(200000); /* while it is served, nothing runs */
    expect_open();
    http_reply(conn, 200, STR_NULL, STR("one"));
    settle();
    expect(OK("3", "") "one");
    pass_ms(10000);
    expect(TIMEOUT_REPLY);
    assert_log("h(/x)b(!)m(REQUEST_TIMEOUT)");
}

static void times_bodies(void **state)
{
    say(POST("", "9000"));
    for (int i = 0; i < 2; i++) {
        peer_send(&peer, big, 3000);
        settle();
        pass_ms(30000);
        expect_open();
    }
    peer_send(&peer, big, 2900);
    settle();
    pass_ms(30000);
    assert_log("h(/x)f(REQUEST_TIMEOUT)");
    expect(TIMEOUT_REPLY);
    say("late");
    expect_closed();
    assert_log("");
}

static void times_a_caller_that_takes_nothing(void **state)
{
    peer_close(&peer);
    settle();
    connect_peer(8192);
    say(POST("~", "1"));
    pass_ms(9000); /* the head's deadline must not be taken for this one */
    events_log[0] = 0;
    fill_queue();
    settle();
    pass_ms(2000);
    pass_ms(57900);
    expect_open();
    for (int i = 0; i < 3; i++) { /* one that takes a little is not cut */
        size_t before = tcp_queued(&conn->tcp);
        while (tcp_queued(&conn->tcp) == before) {
            settle();
            peer_read(&peer);
        }
        assert_true(http_stream_write(conn, str_make(big, 100000)));
        pass_ms(59000);
        assert_int_equal(server.count, 1);
    }
    events_log[0] = 0;
    pass_ms(61000);
    assert_int_equal(server.count, 0);
    assert_log("f(CLIENT_GONE)");
}

static void lets_a_reply_finish_when_idle(void **state)
{
    peer_close(&peer);
    settle();
    connect_peer(8192);
    say(POST("#", "1"));
    assert_true(tcp_queued(&conn->tcp) > 0);
    pass_ms(50000);
    settle();
    peer_read(&peer);
    pass_ms(50000); /* beyond idle_ms, and it moves */
    assert_int_equal(server.count, 1);
    http_server_close_idle(&server);
    drain();
    assert_int_equal(peer.n, strlen(OK("1048576", "")) + sizeof big);
    assert_true(peer.eof);
}

/* ---- the peer goes ----------------------------------------------------------------------- */

static void hears_the_peer_go(void **state)
{
    static const struct {
        const char *text, *log;
    } rows[] = {
        {"", ""},
        {"GET /no", ""},
        {POST("", "9"), "h(/x)f(CLIENT_GONE)"},
        {POST("abc", "9"), "h(/x)f(CLIENT_GONE)"},
        {CHUNKED "5\r\nab", "h(/x)f(CLIENT_GONE)"},
        {POST("!", "1"), "h(/x)b(!)f(CLIENT_GONE)"},
        {POST("!", "1") GET("/now"), "h(/x)b(!)f(CLIENT_GONE)"},
        {POST("~", "1"), "h(/x)b(~)f(CLIENT_GONE)"},
        {GET("/headstream"), "h(/headstream)f(CLIENT_GONE)"},
        {GET("/now"), "h(/now)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int how = 0; how < 4; how++) {
            peer_send(&peer, rows[i].text, strlen(rows[i].text));
            if (how < 2)
                settle(); /* else the bytes and the end come in one turn */
            if (how % 2) {
                peer_reset(&peer);
            } else {
                shutdown(peer.fd, SHUT_WR);
            }
            settle();
            if (how == 3 && !events_log[0])
                assert_int_equal(server.count, 0); /* the reset swallowed the request */
            else
                assert_log(rows[i].log);
            assert_int_equal(server.count, 0);
            peer_close(&peer);
            connect_peer(0);
        }
}

static void hears_it_in_the_middle_of_much(void **state)
{
    /* More than one read's worth comes before the reset. */
    say(POST("!", "1"));
    peer_send(&peer, big, 200000);
    peer_reset(&peer);
    settle();
    assert_log("h(/x)b(!)f(CLIENT_GONE)");
    assert_int_equal(server.count, 0);
}

static void ends_once_when_a_write_fails(void **state)
{
    for (int how = 0; how < 5; how++) {
        say(POST("~", "1"));
        events_log[0] = 0;
        peer_reset(&peer);
        switch (how) { /* the loop has not seen the reset yet */
        case 0:
            assert_false(http_stream_write(conn, STR("x")));
            assert_log("");
            settle();
            assert_log("f(CLIENT_GONE)");
            break;
        case 1:
            http_stream_write_last(conn, STR("x"));
            break;
        case 2:
            http_stream_write_last(conn, str_make(big, 20000));
            break;
        case 3:
            http_stream_finish(conn);
            break;
        default:
            (void)!http_stream_write(conn, STR("x"));
            http_stream_break(conn);
        }
        settle();
        assert_log("");
        assert_int_equal(server.count, 0);
        connect_peer(0);
    }
    say(POST("!", "1"));
    events_log[0] = 0;
    peer_reset(&peer);
    http_reply(conn, 200, STR_NULL, STR("x"));
    settle();
    assert_log("");
    assert_int_equal(server.count, 0);
}

/* ---- pressure and the end ------------------------------------------------------------------ */

static void tells_when_all_is_sent(void **state)
{
    peer_close(&peer);
    settle();
    connect_peer(8192);
    say(POST("~", "1"));
    events_log[0] = 0;
    fill_queue();
    settle();
    assert_log("");
    drain();
    assert_log("s");
    http_stream_finish(conn);
    settle();
    peer_read(&peer);
    assert_string_equal(peer.got + peer.n - 7, "\r\n0\r\n\r\n");
}

static void lingers(void **state)
{
    say("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer_send(&peer, big, 100000); /* would be answered with a RST by a socket that is closed */
    settle();
    peer_read(&peer);
    assert_true(peer.eof);
    assert_int_equal(server.lingering, 1);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow");
    peer_send(&peer, big, 1000);
    settle();
    assert_int_equal(server.count, 1);
    pass_ms(1000);
    assert_int_equal(server.count, 0);
    assert_int_equal(server.lingering, 0);
}

/* Keep-alive ends, and nobody who has begun to ask is cut off. */
static void ends_keep_alive(void **state)
{
    say(GET("/now"));
    peer.n = 0;
    http_server_end_keep_alive(&server);
    settle();
    assert_int_equal(server.count, 1);
    say("GET /no");
    http_server_close_idle(&server);
    settle();
    assert_int_equal(server.count, 1);
    say("w HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow");
    expect_closed();
    server.closing = false;
    connect_peer(0);
    say("GET /no");
    http_server_close_unserved(&server);
    expect_closed();
}

static void closes_what_is_idle(void **state)
{
    say(GET("/now"));
    peer.n = 0;
    http_server_close_idle(&server);
    expect_closed();
    connect_peer(0);
    say(GET("/now") GET("/now"));
    expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CLOSE "X: y\r\n\r\nnow");
    expect_closed();
    server.closing = false;
    connect_peer(0);
    say(POST("ab", "4"));
    http_server_close_idle(&server);
    say("cd");
    expect(OK("4", CLOSE) "abcd");
    expect_closed();
}

/* ---- ends that wait ---------------------------------------------------------------------- */

static unsigned helds;

static void on_held(struct http_server *s)
{
    helds++;
}

static void expect_end(const char *end)
{
    settle();
    peer_read(&peer);
    size_t n = strlen(end);
    if (peer.n < n || memcmp(peer.got + peer.n - n, end, n) != 0)
        fail_msg("no \"%s\" at the end of %.*s", end, (int)peer.n, peer.got);
}

#define ASK(body) "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n" body

static void an_end_waits_for_its_mark(void **state)
{
    helds = 0;
    server.held = on_held;
    peer_send(&peer, ASK("abc"), strlen(ASK("abc")));
    expect_end("\r\n\r\nab");
    assert_int_equal(helds, 1);
    assert_true(http_server_send_held(&server, 99)); /* it has no mark yet */
    expect_end("\r\n\r\nab");
    http_server_mark_held(&server, 7);
    assert_true(http_server_send_held(&server, 6));
    /* the next reply comes behind it, and waits for its own */
    peer_send(&peer, ASK("def"), strlen(ASK("def")));
    expect_end("\r\n\r\nab");
    http_server_mark_held(&server, 8);
    assert_true(http_server_send_held(&server, 7));
    assert_false(http_server_send_held(&server, 8));
    expect_end("\r\n\r\ndef");
    assert_non_null(strstr(peer.got, "\r\n\r\nabcHTTP/1.1 200"));
}

static void a_streams_end_waits(void **state)
{
    server.held = on_held;
    peer_send(&peer, ASK("~bc"), strlen(ASK("~bc")));
    expect_end("3\r\none\r\n");
    assert_true(http_stream_write(conn, STR("two")));
    expect_end("3\r\ntwo\r\n"); /* only the last byte waits */
    http_stream_write_last(conn, STR("end"));
    expect_end("3\r\nend\r\n0\r\n\r");
    http_server_mark_held(&server, 1);
    assert_false(http_server_send_held(&server, 1));
    expect_end("0\r\n\r\n");
    peer_send(&peer, ASK("~bc"), strlen(ASK("~bc")));
    expect_end("3\r\none\r\n");
    http_stream_finish(conn);
    expect_end("0\r\n\r");
    http_server_mark_held(&server, 2);
    assert_false(http_server_send_held(&server, 2));
    expect_end("0\r\n\r\n");
}

static void who_leaves_waits_no_more(void **state)
{
    server.held = on_held;
    peer_send(&peer, ASK("abc"), strlen(ASK("abc")));
    expect_end("ab");
    peer_close(&peer);
    settle();
    assert_int_equal(server.count, 0);
    assert_null(server.held_first);
    assert_false(http_server_send_held(&server, 99));
}

static void a_connection_closes_behind_its_end(void **state)
{
    server.held = on_held;
    static const char ask[] =
        "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    peer_send(&peer, ask, strlen(ask));
    expect_end("ab");
    assert_false(peer.eof);
    http_server_mark_held(&server, 1);
    assert_false(http_server_send_held(&server, 1));
    expect_end("abc");
    assert_true(peer.eof);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(serves_one_after_another),
        T(serves_bytes_one_by_one),
        T(keeps_the_order_of_pipelined),
        T(bounds_what_is_pipelined),
        T(an_end_waits_for_its_mark),
        T(a_streams_end_waits),
        T(who_leaves_waits_no_more),
        T(a_connection_closes_behind_its_end),
        T(refuses_malformed_heads),
        T(speaks_http_1_0),
        T(says_continue_once_wanted),
        T(refuses_bad_bodies_once),
        T(bounds_bodies),
        T(takes_bodies_around_the_edge_of_a_read),
        T(takes_a_long_body_in_pieces),
        T(begins_few_long_requests_in_a_turn),
        T(skips_a_body_that_is_here),
        T(closes_on_a_body_to_come),
        T(replies_while_the_body_comes),
        T(keeps_what_follows_an_early_stream),
        T(streams),
        T(breaks_without_an_end),
        T(breaks_behind_what_waits),
        T(times_heads),
        T(times_idle_connections),
        T(times_bodies),
        T(times_a_caller_that_takes_nothing),
        T(lets_a_reply_finish_when_idle),
        T(hears_the_peer_go),
        T(hears_it_in_the_middle_of_much),
        T(ends_once_when_a_write_fails),
        T(tells_when_all_is_sent),
        T(lingers),
        T(ends_keep_alive),
        T(closes_what_is_idle),
    };
    return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
