/* http1: heads of every malformed shape, each as a whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "net/http1.h"

static struct http_head h;

/* A block of exactly s's size, so that the sanitizer sees a read behind it. */
static char *exact(struct str s)
{
    char *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p;
}

static enum err find_and_parse(struct str text, bool request, size_t *head_n)
{
    struct err_info info;
    err_info_init(&info);
    char *p = exact(text);
    *head_n = 0;
    enum err e = http_head_find(str_make(p, text.n), head_n, request, &info);
    if (!e) {
        char *head = exact(str_make(p, *head_n));
        e = request ? http_request_parse(&h, str_make(head, *head_n), &info)
                    : http_response_parse(&h, str_make(head, *head_n), false, &info);
        free(head);
    }
    if (e && e != ERR_AGAIN && e != ERR_UPSTREAM_PROTOCOL)
        assert_true(info.text[0]);
    free(p);
    return e;
}

/* The same with the text growing by one byte a call. */
static enum err find_by_bytes(struct str text, bool request, size_t *head_n)
{
    size_t scan = 0;
    struct err_info info;
    for (size_t n = 1; n <= text.n; n++) {
        char *p = exact(str_make(text.p, n));
        enum err e = http_head_find(str_make(p, n), &scan, request, &info);
        if (!e)
            e = request ? http_request_parse(&h, str_make(p, scan), &info)
                        : http_response_parse(&h, str_make(p, scan), false, &info);
        free(p);
        if (e != ERR_AGAIN) {
            *head_n = scan;
            return e;
        }
    }
    return ERR_AGAIN;
}

static void check(struct str text, bool request, enum err want)
{
    size_t whole = 0, bytes = 0;
    enum err e = find_and_parse(text, request, &whole), b = find_by_bytes(text, request, &bytes);
    if (e != want || b != want)
        fail_msg("%.*s: %s whole, %s byte by byte, not %s", STR_FMT(text), err_name(e), err_name(b),
                 err_name(want));
    if (!e)
        assert_int_equal(whole, bytes);
}

/* ---- requests ----------------------------------------------------------------- */

#define START "POST /v1/x HTTP/1.1\r\nHost: a\r\n"
#define GET   "GET / HTTP/1.1\r\n"

static const struct {
    struct str head;
    enum err e;
} requests[] = {
    {STR(GET "Host: a\r\n\r\n"), ERR_OK},
    {STR("\r\n" GET "Host: a\r\n\r\n"), ERR_OK},
    {STR("\r\n\r\n" GET "Host: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(" " GET "Host: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("\x16\x03\x01\x02"), ERR_BAD_REQUEST},
    {STR(""), ERR_AGAIN},
    {STR("GET"), ERR_AGAIN},
    {STR(GET "Host: a\r\n\r"), ERR_AGAIN},
    {STR(GET "Host: a\r\n"), ERR_AGAIN},
    /* line ends */
    {STR("GET / HTTP/1.1\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\n\n"), ERR_BAD_REQUEST},
    {STR("\n" GET "Host: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\rX: b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\nX: b\r\n c\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\nX: b\r\n\tc: d\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET " Host: a\r\n\r\n"), ERR_BAD_REQUEST},
    /* names and values */
    {STR(START ": b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X : b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X\t: b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X(y): b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X\x80: b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X: a\0b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X: a\x01\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X: a\x7f\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "X:\r\n\r\n"), ERR_OK},
    {STR(START "X: \"(a) <b>\" \\ {c}\t\xc3\xa4\r\n\r\n"), ERR_OK},
    /* the request line */
    {STR("GET /\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("G@T / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_OK},
    {STR("GET HTTPS://a:8 HTTP/1.1\r\nHost: b\r\n\r\n"), ERR_OK},
    {STR("GET http://a/ HTTP/1.1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http://:80/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET ://a/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_OK},
    {STR("GET *x HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    /* versions */
    {STR("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), ERR_VERSION_UNSUPPORTED},
    {STR("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), ERR_VERSION_UNSUPPORTED},
    {STR("PRI * HTTP/2.0\r\n\r\n"), ERR_VERSION_UNSUPPORTED},
    {STR("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), ERR_OK},
    {STR("GET / http/1.1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTPS/1.\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTP/1.0\r\n\r\n"), ERR_OK},
    /* Host */
    {STR(GET "\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\nhost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a\r\nX: y\r\nHOST: b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a/b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: u@a\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: a,b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(GET "Host: [::1]:8080\r\n\r\n"), ERR_OK},
    {STR(GET "Host: my_host-1.example:80\r\n\r\n"), ERR_OK},
    /* framing */
    {STR(START "Content-Length: 5\r\n\r\n"), ERR_OK},
    {STR(START "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 5, 5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: +5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: -5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 0x5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 5 5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 9223372036854775807\r\n\r\n"), ERR_OK},
    {STR(START "Content-Length: 9223372036854775808\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 99999999999999999999999\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: Chunked\r\n\r\n"), ERR_OK},
    {STR(START "Transfer-Encoding: gzip\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: gzip, chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: chunked, chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: xchunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: \"chunked\"\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: identity\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR(START "Transfer-Encoding: \x0b"
               "chunked\r\n\r\n"),
     ERR_BAD_REQUEST},
    {STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_BAD_REQUEST},
    /* expectations */
    {STR(START "Expect: 100-Continue\r\n\r\n"), ERR_OK},
    {STR(START "Expect: tea\r\n\r\n"), ERR_EXPECTATION_FAILED},
    {STR("POST / HTTP/1.0\r\nExpect: tea\r\n\r\n"), ERR_OK},
};

static void judges_requests(void **state)
{
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        check(requests[i].head, true, requests[i].e);
}

static void parse(const char *text)
{
    struct err_info info;
    size_t scan = 0;
    assert_int_equal(http_head_find(str_c(text), &scan, true, &info), ERR_OK);
    assert_int_equal(http_request_parse(&h, str_make(text, scan), &info), ERR_OK);
}

static void assert_str(struct str s, const char *want)
{
    if (!str_eq(s, str_c(want)))
        fail_msg("'%.*s' is not '%s'", STR_FMT(s), want);
}

static void reads_requests(void **state)
{
    parse("POST /v1/x?a=b?c HTTP/1.1\r\nhOST:\t a:80 \t\r\nContent-Length: 12\r\n"
          "X-Api-Key: one\r\nx-api-key: two\r\nExpect: 100-continue\r\n\r\nbehind");
    assert_str(h.method, "POST");
    assert_str(h.target, "/v1/x?a=b?c");
    assert_str(h.path, "/v1/x");
    assert_str(h.query, "a=b?c");
    assert_int_equal(h.n, 5);
    assert_str(h.f[0].name, "hOST");
    assert_str(http_get(&h, HTTP_HOST), "a:80");
    assert_str(http_get(&h, HTTP_X_API_KEY), "one");
    assert_null(http_get(&h, HTTP_AUTHORIZATION).p);
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
    assert_int_equal(h.length, 12);
    assert_true(h.expect_continue && h.keep_alive);
    assert_int_equal(h.minor, 1);
    parse("GET / HTTP/1.0\r\n\r\n");
    assert_null(h.query.p);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    assert_int_equal(h.minor, 0);
    assert_false(h.expect_continue);
    parse("POST /? HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n");
    assert_non_null(h.query.p);
    assert_int_equal(h.query.n, 0);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    parse("POST / HTTP/1.9\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n");
    assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
    assert_int_equal(h.minor, 1);
}

static void takes_the_host_of_an_absolute_target(void **state)
{
    parse("GET http://t.example:8/a/b?c=/d HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(str_eq(h.host, STR("t.example:8")));
    assert_true(str_eq(h.path, STR("/a/b")));
    assert_true(str_eq(h.query, STR("c=/d")));
    parse("GET Http://[::1]?q HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(str_eq(h.host, STR("[::1]")));
    assert_true(str_eq(h.path, STR("/")));
    assert_true(str_eq(h.query, STR("q")));
    parse("GET /http://t/ HTTP/1.1\r\nHost: h:1\r\n\r\n");
    assert_true(str_eq(h.host, STR("h:1")));
    assert_true(str_eq(h.path, STR("/http://t/")));
}

static void keeps_alive_unless_told(void **state)
{
    static const struct {
        const char *head;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,y\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parse(rows[i].head);
        if (h.keep_alive != rows[i].keep)
            fail_msg("%s", rows[i].head);
    }
}

/* ---- limits --------------------------------------------------------------------- */

static char big[4 * HTTP_HEAD_MAX];

static size_t put(size_t at, const char *text)
{
    memcpy(big + at, text, strlen(text));
    return at + strlen(text);
}

static size_t fill(size_t at, char c, size_t n)
{
    memset(big + at, c, n);
    return at + n;
}

static void bounds_lines(void **state)
{
    /* "X: aaa\r": 8192 bytes with its CR are the most. */
    size_t n = fill(put(put(0, GET "Host: a\r\n"), "X: "), 'a', HTTP_LINE_MAX - 4);
    check(str_make(big, put(n, "\r\n\r\n")), true, ERR_OK);
    n = fill(n, 'a', 1);
    check(str_make(big, put(n, "\r\n\r\n")), true, ERR_HEAD_TOO_LARGE);
    check(str_make(big, fill(n, 'a', 20000)), true, ERR_HEAD_TOO_LARGE);
    n = put(fill(put(0, "GET /"), 'a', HTTP_LINE_MAX - 15), " HTTP/1.1");
    assert_int_equal(n, HTTP_LINE_MAX - 1);
    check(str_make(big, put(n, "\r\nHost: a\r\n\r\n")), true, ERR_OK);
    n = put(fill(put(0, "GET /"), 'a', HTTP_LINE_MAX - 14), " HTTP/1.1");
    check(str_make(big, put(n, "\r\nHost: a\r\n\r\n")), true, ERR_URI_TOO_LONG);
    n = put(fill(put(0, "\r\nGET /"), 'a', 20000), " HTTP/1.1");
    check(str_make(big, put(n, "\r\nHost: a\r\n\r\n")), true, ERR_URI_TOO_LONG);
    check(str_make(big, fill(0, 'a', 20000)), true, ERR_URI_TOO_LONG);
    check(str_make(big, fill(0, ' ', 20000)), true, ERR_BAD_REQUEST);
}

static void bounds_heads(void **state)
{
    size_t start = put(0, GET "Host: a\r\n"), n = start;
    while (HTTP_HEAD_MAX - n > 8100)
        n = put(fill(put(n, "X: "), 'a', 7000), "\r\n");
    size_t last = HTTP_HEAD_MAX - 4 - 3 - n;
    n = fill(put(n, "X: "), 'a', last);
    size_t end = put(n, "\r\n\r\n");
    assert_int_equal(end, HTTP_HEAD_MAX);
    size_t head_n;
    assert_int_equal(find_and_parse(str_make(big, end), true, &head_n), ERR_OK);
    assert_int_equal(head_n, HTTP_HEAD_MAX);
    n = fill(n, 'a', 1);
    end = put(n, "\r\n\r\n");
    assert_int_equal(find_and_parse(str_make(big, end), true, &head_n), ERR_HEAD_TOO_LARGE);
    assert_int_equal(find_and_parse(str_make(big, HTTP_HEAD_MAX), true, &head_n),
                     ERR_HEAD_TOO_LARGE);
    assert_int_equal(find_and_parse(str_make(big, HTTP_HEAD_MAX - 1), true, &head_n), ERR_AGAIN);
}

static void bounds_fields(void **state)
{
    size_t n = put(0, GET "Host: a\r\n");
    for (int i = 1; i < HTTP_FIELDS_MAX; i++)
        n = put(n, "X: y\r\n");
    check(str_make(big, put(n, "\r\n")), true, ERR_OK);
    assert_int_equal(h.n, HTTP_FIELDS_MAX);
    n = put(n, "X: y\r\n");
    check(str_make(big, put(n, "\r\n")), true, ERR_HEAD_TOO_LARGE);
}

/* ---- responses -------------------------------------------------------------------- */

static const struct {
    struct str head;
    enum err e;
    int status;
    enum http_framing framing;
    uint64_t length;
    bool keep;
} responses[] = {
    {STR("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), ERR_OK, 200, HTTP_BODY_LENGTH, 3, true},
    {STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ERR_OK, 200, HTTP_BODY_NONE, 0, true},
    {STR("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n"), ERR_OK, 200, HTTP_BODY_LENGTH, 3, true},
    {STR("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_OK, 200, HTTP_BODY_CHUNKED, 0,
     true},
    {STR("HTTP/1.1 200 Ja \xc3\xa4\r\n\r\n"), ERR_OK, 200, HTTP_BODY_EOF, 0, false},
    {STR("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n"), ERR_OK, 200, HTTP_BODY_LENGTH, 3, false},
    {STR("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n"), ERR_OK, 200,
     HTTP_BODY_LENGTH, 3, true},
    {STR("HTTP/1.1 204 No Content\r\n\r\n"), ERR_OK, 204, HTTP_BODY_NONE, 0, true},
    {STR("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"), ERR_OK, 304, HTTP_BODY_NONE, 7,
     true},
    {STR("HTTP/1.1 100 Continue\r\n\r\n"), ERR_OK, 100, HTTP_BODY_NONE, 0, true},
    {STR("HTTP/1.1 599 ?\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"), ERR_OK, 599,
     HTTP_BODY_LENGTH, 1, false},
    {STR("HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n\r\n"), ERR_OK, 200,
     HTTP_BODY_LENGTH, 1, true},
    {STR("HTTP/1.1 200 OK\r\n"), .e = ERR_AGAIN},
    {STR("HTTP/1.1 200 OK\n\n"), .e = ERR_BAD_REQUEST},
    {STR("\r\nHTTP/1.1 200 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 20 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 2000 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 099 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 2x0 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1  200 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/2 200\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("ICY 200 OK\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 OK\r\nX : y\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 O\x01K\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"),
     .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
     .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
     .e = ERR_UPSTREAM_PROTOCOL},
    {STR("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), .e = ERR_UPSTREAM_PROTOCOL},
};

static void judges_responses(void **state)
{
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        check(responses[i].head, false, responses[i].e);
        if (responses[i].e)
            continue;
        if (h.status != responses[i].status || h.framing != responses[i].framing ||
            h.length != responses[i].length || h.keep_alive != responses[i].keep)
            fail_msg("%.*s", STR_FMT(responses[i].head));
    }
}

static void knows_answers_to_head(void **state)
{
    struct err_info info;
    struct str s = STR("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(http_response_parse(&h, s, true, &info), ERR_OK);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    assert_true(h.keep_alive);
}

static void gives_reasons(void **state)
{
    for (int i = 0; i < ERR_COUNT; i++)
        if (i != ERR_CLIENT_GONE && !strcmp(http_reason(err_status((enum err)i)), "Status"))
            fail_msg("no reason phrase for %d", err_status((enum err)i));
    assert_string_equal(http_reason(431), "Request Header Fields Too Large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_requests),
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(takes_the_host_of_an_absolute_target),
        cmocka_unit_test(keeps_alive_unless_told),
        cmocka_unit_test(bounds_lines),
        cmocka_unit_test(bounds_heads),
        cmocka_unit_test(bounds_fields),
        cmocka_unit_test(judges_responses),
        cmocka_unit_test(knows_answers_to_head),
        cmocka_unit_test(gives_reasons),
    };
    return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
