/* http_client and http_server with each other over TLS: what one side of it holds back must never
 * be forgotten, however the calls are paused and the bytes cut into records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "http_harness.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/scratch.h"

static struct http_server server;
static struct tcp_listener listener;
static struct http_client client;
static struct http_origin origin;
static struct guard guard;
static struct tls_context *server_tls, *client_tls;
static struct arena arena;
static char big[1000000];

/* ---- one certificate, which vouches for itself ------------------------------------ */

static void write_pem(char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fdopen(mkstemp(path), "w");
    assert_non_null(f);
    assert_true(cert ? PEM_write_X509(f, cert)
                     : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    fclose(f);
}

static void make_contexts(void)
{
    char cert_file[] = "/tmp/lyss-cert-XXXXXX", key_file[] = "/tmp/lyss-key-XXXXXX";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x, san, -1);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    write_pem(cert_file, x, NULL);
    write_pem(key_file, NULL, key);
    assert_int_equal(tls_server_context_new(&server_tls, cert_file, key_file, NULL), ERR_OK);
    assert_int_equal(tls_client_context_new(&client_tls, cert_file, true, NULL), ERR_OK);
    unlink(cert_file);
    unlink(key_file);
    X509_EXTENSION_free(san);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* ---- the server: echoes the body, as a reply or as a stream ---------------------------- */

static struct http_conn *streaming;
static size_t streamed;
static bool as_stream;
static int failures;

static void on_head(struct http_conn *c, const struct http_head *h)
{
    arena_release(&arena);
    arena_init(&arena, 4 << 20);
    as_stream = str_eq(h->path, STR("/stream"));
    http_accept(c, &arena);
}

static void stream_on(struct http_conn *c)
{
    while (streamed < sizeof big && !tcp_queued(&c->tcp)) {
        size_t n = sizeof big - streamed < 50000 ? sizeof big - streamed : 50000;
        streamed += n;
        if (!http_stream_write(c, str_make(big + streamed - n, n)))
            return;
    }
    if (streamed < sizeof big)
        return;
    streaming = NULL;
    http_stream_finish(c);
}

static void on_body(struct http_conn *c, struct str body)
{
    if (!as_stream) {
        http_reply(c, 200, STR_NULL, body);
        return;
    }
    streamed = 0;
    streaming = c;
    if (http_stream_start(c, 200, STR_NULL, STR_NULL))
        stream_on(c);
}

static void on_failed(struct http_conn *c, enum err e, const struct err_info *info)
{
    assert_int_equal(e, ERR_CLIENT_GONE);
    streaming = NULL;
    failures++;
}

static void on_malformed(struct http_conn *c, enum err e, const struct err_info *info)
{
    fail_msg("%s", info->text);
}

static void on_sent(struct http_conn *c)
{
    if (streaming == c)
        stream_on(c);
}

static const struct http_service service = {on_head, on_body, on_failed, on_malformed, on_sent};

static void accepted(struct tcp_listener *s, int fd, const struct addr *peer)
{
    int small = 65536; /* else the kernel might take all that is sent */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    http_server_accept(&server, fd, peer);
}

/* ---- the client -------------------------------------------------------------------------- */

static struct http_call call;
static struct iovec iov[2], work[2];
static char head[128];
static size_t got;
static bool pausing, ended, failed;

static void take_head(struct http_call *c, const struct http_head *h)
{
    assert_int_equal(h->status, 200);
}

static void take_body(struct http_call *c, char *p, size_t n)
{
    assert_true(got + n <= sizeof big);
    assert_memory_equal(p, big + got, n);
    got += n;
    if (pausing)
        http_call_pause(c);
}

static void take_end(struct http_call *c)
{
    ended = true;
}

static void take_fail(struct http_call *c, enum err e, const struct err_info *info)
{
    failed = true;
}

static const struct http_call_events call_events = {take_head, take_body, take_end, take_fail};

static void start(const char *path, size_t body_n)
{
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", path, body_n);
    iov[0] = (struct iovec){head, (size_t)n};
    iov[1] = (struct iovec){big, body_n};
    call = (struct http_call){.on = &call_events, .iov = iov, .work = work, .iov_n = 2};
    got = 0;
    ended = failed = false;
    assert_int_equal(http_call_start(&client, &origin, &call), ERR_OK);
}

static void finish(size_t expected)
{
    for (int i = 0; i < 5000 && !ended && !failed; i++) {
        turn();
        if (pausing)
            http_call_resume(&call);
    }
    assert_false(failed);
    assert_true(ended);
    assert_int_equal(got, expected);
}

/* ---- fixture --------------------------------------------------------------------------- */

static int setup(void **state)
{
    static char url[64];
    struct addr at;
    loop = loop_new("test");
    make_contexts();
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 2654435761u >> 13);
    server = (struct http_server){
        .loop = loop,
        .service = &service,
        .limits = {.body_max_bytes = sizeof big,
                   .head_ms = 10000,
                   .idle_ms = 75000,
                   .body_stall_ms = 30000,
                   .write_stall_ms = 60000,
                   .linger_ms = 1000},
        .tls = server_tls,
    };
    failures = 0;
    pausing = false;
    assert_true(addr_parse(STR("127.0.0.1"), 0, &at));
    int fd = tcp_bind(&at, false, NULL);
    assert_int_equal(tcp_bound(fd, &at), ERR_OK);
    assert_int_equal(tcp_listen(&listener, loop, fd, accepted), ERR_OK);
    assert_int_equal(cidr_list_parse(STR("127.0.0.0/8"), &guard.allow, NULL), ERR_OK);
    http_client_init(&client, loop, NULL, &guard, 50000);
    origin = (struct http_origin){.connect_ms = 5000, .tls = client_tls};
    snprintf(url, sizeof url, "https://127.0.0.1:%u", at.port);
    assert_int_equal(url_parse(str_c(url), &origin.url, NULL), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    http_call_cancel(&call);
    http_client_release(&client);
    settle();
    http_server_release(&server);
    tcp_listener_close(&listener);
    loop_free(&loop);
    tls_context_unref(&server_tls);
    tls_context_unref(&client_tls);
    arena_release(&arena);
    scratch_release();
    return 0;
}

static void carries_much_and_little(void **state)
{
    static const size_t sizes[] = {0, 1, 16384, 16385, 65536, 70000, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        start("/x", sizes[i]);
        finish(sizes[i]);
        start("/stream", 1);
        finish(sizeof big);
    }
    assert_int_equal(origin.connects, 1);
    assert_int_equal(origin.idle_n, 1);
    assert_int_equal(failures, 0);
}

static void pauses_at_every_piece(void **state)
{
    pausing = true;
    for (int i = 0; i < 3; i++) {
        start("/stream", 100);
        finish(sizeof big);
        start("/x", 300000);
        finish(300000);
    }
    assert_int_equal(origin.connects, 1);
}

static void tells_of_a_cancel(void **state)
{
    pausing = true;
    start("/stream", 1);
    for (int i = 0; i < 5000 && !got; i++)
        turn();
    assert_true(got > 0);
    settle();
    assert_ptr_not_equal(streaming, NULL);
    http_call_cancel(&call);
    settle();
    assert_int_equal(failures, 1);
    assert_int_equal(server.count, 0);
}

static void closes_what_only_connects(void **state)
{
    struct sockaddr_storage ss;
    struct addr at = origin.url.ip;
    socklen_t n = addr_to_sockaddr(&at, &ss);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, n), 0);
    settle();
    assert_int_equal(server.count, 1);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18); /* not a handshake */
    settle();
    assert_int_equal(server.count, 0);
    close(fd);
}

/* ---- many at once ------------------------------------------------------------------------ */

enum { MANY = 24, LEAVING = 6 };
static unsigned served, ended_n;

static void count_body(struct http_call *c, char *p, size_t n)
{
    served += n == 100;
}

static void count_end(struct http_call *c)
{
    ended_n++;
}

/* More handshakes than a turn makes steps of, on both sides; some callers leave while theirs wait.
 */
static void many_at_once(void **state)
{
    static const struct http_call_events counting = {take_head, count_body, count_end, take_fail};
    static struct http_call calls[MANY];
    static struct iovec works[MANY][2];
    start("/x", 100);
    served = ended_n = 0;
    for (unsigned i = 0; i < MANY; i++) {
        calls[i] =
            (struct http_call){.on = &counting, .iov = iov, .work = works[i], .iov_n = call.iov_n};
        assert_int_equal(http_call_start(&client, &origin, &calls[i]), ERR_OK);
    }
    while (server.count < MANY)
        turn();
    for (unsigned i = 0; i < LEAVING; i++)
        http_call_cancel(&calls[i * MANY / LEAVING]);
    for (int i = 0; i < 20000 && ended_n < MANY - LEAVING; i++)
        turn();
    assert_int_equal(ended_n, MANY - LEAVING);
    assert_int_equal(served, MANY - LEAVING);
    assert_false(failed);
    settle();
    assert_int_equal(server.count, MANY - LEAVING + 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(carries_much_and_little),   T(pauses_at_every_piece), T(tells_of_a_cancel),
        T(closes_what_only_connects), T(many_at_once),
    };
    return cmocka_run_group_tests_name("https", tests, NULL, NULL);
}
