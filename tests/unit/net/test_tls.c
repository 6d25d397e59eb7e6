/* tls: both ends in one thread over a socketpair, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "net/tls.h"

/* ---- certificates --------------------------------------------------------- */

static char dir[] = "/tmp/lyss-tls-XXXXXX";
static char files[16][64];
static int file_count;

static const char *file_new(void)
{
    char *path = files[file_count];
    snprintf(path, sizeof files[0], "%s/%d.pem", dir, file_count++);
    return path;
}

static EVP_PKEY *key_new(void)
{
    return EVP_EC_gen("P-256");
}

static const char *write_key(EVP_PKEY *key, const char *password)
{
    const char *path = file_new();
    FILE *f = fopen(path, "w");
    PEM_write_PrivateKey(f, key, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                         (void *)(uintptr_t)password);
    fclose(f);
    return path;
}

static const char *write_cert(X509 *x)
{
    const char *path = file_new();
    FILE *f = fopen(path, "w");
    PEM_write_X509(f, x);
    fclose(f);
    return path;
}

static void extend(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* Signed by issuer, or by itself. Valid from an hour ago for the given seconds. */
static X509 *cert_new(EVP_PKEY *key, const char *cn, const char *san, X509 *issuer,
                      EVP_PKEY *issuer_key, long seconds)
{
    static long serial = 1;
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
    X509_set_pubkey(x, key);
    extend(x, NID_basic_constraints, san ? "CA:FALSE" : "critical,CA:TRUE");
    if (san)
        extend(x, NID_subject_alt_name, san);
    assert_true(X509_sign(x, issuer ? issuer_key : key, EVP_sha256()) > 0);
    return x;
}

static const char *ca_file, *good_cert, *good_key, *expired_cert, *self_cert, *self_key,
    *locked_key;

static int setup(void **state)
{
    assert_non_null(mkdtemp(dir));
    EVP_PKEY *ca_key = key_new(), *key = key_new(), *own = key_new();
    X509 *ca = cert_new(ca_key, "Test CA", NULL, NULL, NULL, 3600);
    const char *san = "DNS:api.example,DNS:*.wild.example,IP:127.0.0.1,IP:::1";
    X509 *good = cert_new(key, "api.example", san, ca, ca_key, 3600);
    X509 *expired = cert_new(key, "api.example", san, ca, ca_key, -60);
    X509 *self = cert_new(own, "api.example", san, NULL, NULL, 3600);
    ca_file = write_cert(ca);
    good_cert = write_cert(good);
    good_key = write_key(key, NULL);
    locked_key = write_key(key, "password");
    expired_cert = write_cert(expired);
    self_cert = write_cert(self);
    self_key = write_key(own, NULL);
    X509_free(ca);
    X509_free(good);
    X509_free(expired);
    X509_free(self);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(own);
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < file_count; i++)
        unlink(files[i]);
    return rmdir(dir);
}

static struct tls_context *server_context(const char *cert, const char *key)
{
    struct tls_context *c;
    struct err_info info = {0};
    if (tls_server_context_new(&c, cert, key, &info))
        fail_msg("%s", info.text);
    return c;
}

static struct tls_context *client_context(const char *ca, bool verify)
{
    struct tls_context *c;
    struct err_info info = {0};
    if (tls_client_context_new(&c, ca, verify, &info))
        fail_msg("%s", info.text);
    return c;
}

/* ---- a pair ----------------------------------------------------------------- */

struct pair {
    struct tls *client, *server;
    int fd[2];
    enum tls_io client_io, server_io;
};

static void pair_open(struct pair *p, struct tls_context *client, struct tls_context *server,
                      const char *host, struct tls_session_cache *cache)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    p->client = tls_new(client, p->fd[0], str_c(host), 443, cache);
    p->server = tls_new(server, p->fd[1], STR_NULL, 0, NULL);
    assert_non_null(p->client);
    assert_non_null(p->server);
    p->client_io = p->server_io = TLS_IO_WANT_READ;
}

static bool going(enum tls_io io)
{
    return io == TLS_IO_WANT_READ || io == TLS_IO_WANT_WRITE;
}

static bool pair_handshake(struct pair *p)
{
    for (int i = 0; i < 20 && (going(p->client_io) || going(p->server_io)); i++) {
        if (going(p->client_io))
            p->client_io = tls_handshake(p->client);
        if (going(p->server_io))
            p->server_io = tls_handshake(p->server);
    }
    return p->client_io == TLS_IO_OK && p->server_io == TLS_IO_OK;
}

static void pair_close(struct pair *p)
{
    tls_free(&p->client);
    tls_free(&p->server);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void send_text(struct tls *t, const char *text)
{
    struct iovec v = {(void *)(uintptr_t)text, strlen(text)};
    size_t n;
    assert_int_equal(tls_writev(t, &v, 1, &n), TLS_IO_OK);
    assert_int_equal(n, strlen(text));
}

static void expect_text(struct tls *t, const char *text)
{
    char got[256] = "";
    size_t n;
    assert_int_equal(tls_read(t, got, sizeof got - 1, &n), TLS_IO_OK);
    assert_string_equal(got, text);
}

/* Handshakes, and returns the client's reason when it does not succeed. */
static const char *try_host(const char *cert, const char *key, const char *ca, bool verify,
                            const char *host)
{
    static char text[256];
    struct tls_context *s = server_context(cert, key), *c = client_context(ca, verify);
    struct pair p;
    pair_open(&p, c, s, host, NULL);
    bool ok = pair_handshake(&p);
    tls_error_text(p.client, text, sizeof text);
    if (!ok) {
        size_t n;
        assert_int_equal(p.client_io, TLS_IO_ERROR);
        assert_int_equal(tls_read(p.client, text, 0, &n), TLS_IO_ERROR);
        struct iovec v = {text, 1};
        assert_int_equal(tls_writev(p.client, &v, 1, &n), TLS_IO_ERROR);
    }
    pair_close(&p);
    tls_context_unref(&s);
    tls_context_unref(&c);
    return ok ? NULL : text;
}

/* ---- tests ------------------------------------------------------------------ */

static void names_and_addresses_are_checked(void **state)
{
    static const struct {
        const char *host;
        bool accepted;
    } hosts[] = {{"api.example", true},
                 {"API.example", true},
                 {"a.wild.example", true},
                 {"127.0.0.1", true},
                 {"::1", true},
                 {"other.example", false},
                 {"wild.example", false},
                 {"a.b.wild.example", false},
                 {"x.api.example", false},
                 {"127.0.0.2", false},
                 {"::2", false}};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        const char *why = try_host(good_cert, good_key, ca_file, true, hosts[i].host);
        if (!why != hosts[i].accepted)
            fail_msg("%s: %s", hosts[i].host, why ? why : "accepted");
        if (why)
            assert_non_null(strstr(why, "mismatch"));
    }
}

static void only_trusted_and_valid_certificates_pass(void **state)
{
    const char *why = try_host(expired_cert, good_key, ca_file, true, "api.example");
    assert_non_null(why);
    assert_non_null(strstr(why, "expired"));
    why = try_host(self_cert, self_key, ca_file, true, "api.example");
    assert_non_null(why);
    assert_non_null(strstr(why, "self-signed"));
    why = try_host(good_cert, good_key, self_cert, true, "api.example");
    assert_non_null(why);
    assert_non_null(strstr(why, "the certificate is not accepted"));
    /* named by the operator: trusted; verification turned off: everything is */
    assert_null(try_host(self_cert, self_key, self_cert, true, "api.example"));
    assert_null(try_host(good_cert, good_key, good_cert, true, "api.example"));
    assert_null(try_host(expired_cert, good_key, NULL, false, "other.example"));
}

static void data_goes_both_ways(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct pair p;
    char buf[64];
    size_t n;
    pair_open(&p, c, s, "api.example", NULL);
    assert_true(pair_handshake(&p));
    assert_string_equal(tls_version(p.client), "TLSv1.3");
    send_text(p.client, "hello");
    expect_text(p.server, "hello");
    assert_int_equal(tls_read(p.server, buf, sizeof buf, &n), TLS_IO_WANT_READ);
    assert_false(tls_pending(p.server));
    /* records that arrived together are read together */
    send_text(p.server, "one ");
    send_text(p.server, "two ");
    send_text(p.server, "three");
    expect_text(p.client, "one two three");
    assert_false(tls_pending(p.client));
    /* a small buffer leaves the rest pending */
    send_text(p.server, "abcdef");
    assert_int_equal(tls_read(p.client, buf, 4, &n), TLS_IO_OK);
    assert_int_equal(n, 4);
    assert_true(tls_pending(p.client));
    expect_text(p.client, "ef");
    tls_shutdown(p.client);
    assert_int_equal(tls_read(p.server, buf, sizeof buf, &n), TLS_IO_EOF);
    assert_false(tls_truncated(p.server));
    pair_close(&p);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

/* A record of TLS 1.3 adds 5 bytes of header, 1 of type and 16 of tag to what it holds. */
static void pieces_leave_as_one_record(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct pair p;
    static char big[20000], wire[40000];
    size_t n;
    pair_open(&p, c, s, "api.example", NULL);
    assert_true(pair_handshake(&p));
    struct iovec v[4] = {{big, 0}, {big, 100}, {NULL, 0}, {big, 1000}};
    assert_int_equal(tls_writev(p.client, v, 4, &n), TLS_IO_OK);
    assert_int_equal(n, 1100);
    assert_int_equal(recv(p.fd[1], wire, sizeof wire, 0), 1100 + 22);
    struct iovec w[3] = {{big, 10}, {big, sizeof big}, {big, 1}};
    assert_int_equal(tls_writev(p.client, w, 3, &n), TLS_IO_OK);
    assert_int_equal(n, 16384);
    assert_int_equal(recv(p.fd[1], wire, sizeof wire, 0), 16384 + 22);
    assert_int_equal(tls_writev(p.client, w + 1, 2, &n), TLS_IO_OK);
    assert_int_equal(n, 16384);
    assert_int_equal(tls_writev(p.client, v, 1, &n), TLS_IO_OK);
    assert_int_equal(n, 0);
    pair_close(&p);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

/* Moves up to max bytes from one descriptor to another; false when there are none. */
static bool carry(int from, int to, size_t max)
{
    char buf[4096];
    ssize_t n = recv(from, buf, max < sizeof buf ? max : sizeof buf, 0);
    if (n > 0)
        assert_int_equal(send(to, buf, (size_t)n, 0), n);
    return n > 0;
}

static void works_byte_by_byte(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    struct tls *client = tls_new(c, a[0], STR("api.example"), 443, NULL);
    struct tls *server = tls_new(s, b[0], STR_NULL, 0, NULL);
    enum tls_io ci, si;
    int steps = 0;
    do {
        ci = tls_handshake(client);
        si = tls_handshake(server);
        bool up = carry(a[1], b[1], 1), down = carry(b[1], a[1], 1);
        assert_true(up || down || (ci == TLS_IO_OK && si == TLS_IO_OK));
        steps++;
    } while (ci != TLS_IO_OK || si != TLS_IO_OK);
    assert_true(steps > 1000);
    while (carry(b[1], a[1], 4096)) /* session tickets */
        ;
    send_text(client, "a question");
    char got[32] = "";
    size_t n = 0;
    for (enum tls_io io = TLS_IO_WANT_READ; io != TLS_IO_OK; io = tls_read(server, got, 31, &n)) {
        assert_int_equal(io, TLS_IO_WANT_READ);
        assert_false(tls_pending(server));
        assert_true(carry(a[1], b[1], 1));
    }
    assert_string_equal(got, "a question");
    tls_free(&client);
    tls_free(&server);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    tls_context_unref(&s);
    tls_context_unref(&c);
}

/* A full socket: what was refused is written again from another place, and nothing is lost. */
static void a_full_socket_loses_nothing(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct pair p;
    enum { TOTAL = 3000000 };
    unsigned char *out = test_malloc(TOTAL), *in = test_malloc(TOTAL), *moved = NULL;
    size_t sent = 0, got = 0, n, waits = 0;
    for (size_t i = 0; i < TOTAL; i++)
        out[i] = (unsigned char)(i * 31 + i / 997);
    pair_open(&p, c, s, "api.example", NULL);
    assert_true(pair_handshake(&p));
    while (got < TOTAL) {
        enum tls_io io = TLS_IO_OK;
        while (sent < TOTAL && io == TLS_IO_OK) {
            struct iovec v[2] = {{out + sent, TOTAL - sent < 3000 ? TOTAL - sent : 3000}};
            v[1] = (struct iovec){out + sent + v[0].iov_len, TOTAL - sent - v[0].iov_len};
            io = tls_writev(p.server, v, 2, &n);
            sent += n;
        }
        if (io != TLS_IO_OK) {
            assert_int_equal(io, TLS_IO_WANT_WRITE);
            waits++;
            test_free(moved);
            moved = test_malloc(TOTAL);
            memcpy(moved, out, TOTAL);
            unsigned char *swap = out;
            out = moved;
            moved = swap;
            memset(moved, 0xee, TOTAL);
        }
        while ((io = tls_read(p.client, in + got, 5000 < TOTAL - got ? 5000 : TOTAL - got, &n)) ==
               TLS_IO_OK) {
            got += n;
            if (got == TOTAL)
                break;
        }
    }
    assert_true(waits > 1);
    assert_memory_equal(in, out, TOTAL);
    pair_close(&p);
    test_free(out);
    test_free(in);
    test_free(moved);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

static bool resumes(struct tls_context *c, struct tls_context *s, const char *host,
                    struct tls_session_cache *cache)
{
    struct pair p;
    pair_open(&p, c, s, host, cache);
    assert_true(pair_handshake(&p));
    bool resumed = tls_resumed(p.client);
    send_text(p.server, "x");
    expect_text(p.client, "x"); /* the tickets come before it */
    pair_close(&p);             /* without close_notify */
    return resumed;
}

static void a_second_handshake_is_short(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true),
                       *d = client_context(ca_file, true);
    struct tls_session_cache *cache = tls_session_cache_new();
    assert_false(resumes(c, s, "api.example", cache));
    for (int i = 0; i < 5; i++)
        assert_true(resumes(c, s, "api.example", cache));
    assert_false(resumes(c, s, "a.wild.example", cache)); /* another name */
    assert_false(resumes(d, s, "api.example", cache));    /* another context */
    assert_false(resumes(c, s, "api.example", NULL));
    struct tls_context *t = server_context(good_cert, good_key);
    assert_false(resumes(c, t, "api.example", cache)); /* other ticket keys: a full one succeeds */
    tls_context_unref(&t);
    tls_session_cache_free(&cache);
    tls_context_unref(&s);
    tls_context_unref(&c);
    tls_context_unref(&d);
}

/* Most upstreams speak TLS 1.3; the others keep the session itself where 1.3 makes a new one. */
static void sessions_of_tls_1_2_are_kept_too(void **state)
{
    SSL_CTX *old = SSL_CTX_new(TLS_server_method());
    struct tls_context *c = client_context(ca_file, true);
    struct tls_session_cache *cache = tls_session_cache_new();
    SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(old, good_cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(old, good_key, SSL_FILETYPE_PEM), 1);
    for (int round = 0; round < 3; round++) {
        int fd[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
        struct tls *client = tls_new(c, fd[0], STR("api.example"), 443, cache);
        SSL *ssl = SSL_new(old);
        SSL_set_fd(ssl, fd[1]);
        enum tls_io io = TLS_IO_WANT_READ;
        for (int i = 0; i < 10 && going(io); i++) {
            io = tls_handshake(client);
            SSL_accept(ssl);
        }
        assert_int_equal(io, TLS_IO_OK);
        assert_string_equal(tls_version(client), "TLSv1.2");
        assert_int_equal(tls_resumed(client), round > 0);
        SSL_free(ssl);
        tls_free(&client);
        close(fd[0]);
        close(fd[1]);
    }
    ERR_clear_error();
    SSL_CTX_free(old);
    tls_session_cache_free(&cache);
    tls_context_unref(&c);
}

/* A client's request may come together with the end of its handshake. */
static void data_that_came_with_the_handshake_is_pending(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct pair p;
    pair_open(&p, c, s, "api.example", NULL);
    assert_int_equal(tls_handshake(p.client), TLS_IO_WANT_READ);
    assert_int_equal(tls_handshake(p.server), TLS_IO_WANT_READ);
    assert_int_equal(tls_handshake(p.client), TLS_IO_OK);
    send_text(p.client, "GET");
    assert_int_equal(tls_handshake(p.server), TLS_IO_OK);
    assert_true(tls_pending(p.server));
    expect_text(p.server, "GET");
    assert_false(tls_pending(p.server));
    pair_close(&p);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

static void an_end_without_close_notify_is_flagged(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct tls_session_cache *cache = tls_session_cache_new();
    struct pair p;
    char buf[64], text[128];
    size_t n;
    pair_open(&p, c, s, "api.example", cache);
    assert_true(pair_handshake(&p));
    send_text(p.server, "half of it");
    shutdown(p.fd[1], SHUT_WR);
    expect_text(p.client, "half of it");
    assert_int_equal(tls_read(p.client, buf, sizeof buf, &n), TLS_IO_EOF);
    assert_true(tls_truncated(p.client));
    pair_close(&p);
    assert_true(resumes(c, s, "api.example", cache)); /* the session is none the worse */

    /* in the middle of a record */
    pair_open(&p, c, s, "api.example", NULL);
    assert_true(pair_handshake(&p));
    assert_int_equal(send(p.fd[1], "\x17\x03\x03\x00\x20garbage", 12, 0), 12);
    shutdown(p.fd[1], SHUT_WR);
    enum tls_io io;
    while ((io = tls_read(p.client, buf, sizeof buf, &n)) == TLS_IO_WANT_READ)
        ;
    assert_int_equal(io, TLS_IO_EOF);
    assert_true(tls_truncated(p.client));
    pair_close(&p);

    /* in the handshake: an error, never an end */
    pair_open(&p, c, s, "api.example", NULL);
    assert_int_equal(tls_handshake(p.client), TLS_IO_WANT_READ);
    shutdown(p.fd[1], SHUT_WR);
    assert_int_equal(tls_handshake(p.client), TLS_IO_ERROR);
    assert_non_null(strstr(tls_error_text(p.client, text, sizeof text), "during the handshake"));
    pair_close(&p);

    /* not TLS at all */
    pair_open(&p, c, s, "api.example", NULL);
    assert_int_equal(send(p.fd[0], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_int_equal(tls_handshake(p.server), TLS_IO_ERROR);
    assert_true(strlen(tls_error_text(p.server, text, sizeof text)) > 0);
    tls_shutdown(p.server);
    pair_close(&p);
    tls_session_cache_free(&cache);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

/* The peer is gone: an error, not a signal that ends the process. */
static void a_dead_peer_is_an_error(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct pair p;
    char text[128];
    size_t n;
    pair_open(&p, c, s, "api.example", NULL);
    assert_true(pair_handshake(&p));
    close(p.fd[1]);
    struct iovec v = {text, sizeof text};
    memset(text, 'x', sizeof text);
    assert_int_equal(tls_writev(p.client, &v, 1, &n), TLS_IO_ERROR);
    assert_string_equal(tls_error_text(p.client, text, sizeof text), "Broken pipe");
    p.fd[1] = dup(p.fd[0]);
    pair_close(&p);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

static bool offers(struct tls_context *s, const unsigned char *alpn, unsigned n, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    int fd[2];
    enum tls_io io = TLS_IO_WANT_READ;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    struct tls *server = tls_new(s, fd[1], STR_NULL, 0, NULL);
    if (n)
        SSL_set_alpn_protos(ssl, alpn, n);
    SSL_set_security_level(ssl, 0);
    SSL_set_min_proto_version(ssl, version);
    SSL_set_max_proto_version(ssl, version);
    SSL_set_fd(ssl, fd[0]);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 10 && going(io); i++) {
        SSL_do_handshake(ssl);
        io = tls_handshake(server);
    }
    const unsigned char *chosen;
    unsigned chosen_n;
    SSL_get0_alpn_selected(ssl, &chosen, &chosen_n);
    if (io == TLS_IO_OK && n)
        assert_true(chosen_n == 8 && memcmp(chosen, "http/1.1", 8) == 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    tls_free(&server);
    close(fd[0]);
    close(fd[1]);
    return io == TLS_IO_OK;
}

static void protocols_and_versions_are_ours(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key);
    static const unsigned char both[] = "\x02h2\x08http/1.1", h2[] = "\x02h2";
    assert_true(offers(s, NULL, 0, TLS1_2_VERSION));
    assert_true(offers(s, NULL, 0, TLS1_3_VERSION));
    assert_true(offers(s, both, sizeof both - 1, TLS1_3_VERSION));
    assert_false(offers(s, h2, sizeof h2 - 1, TLS1_3_VERSION));
    assert_false(offers(s, NULL, 0, TLS1_1_VERSION));
    tls_context_unref(&s);
}

static void wrong_files_are_named(void **state)
{
    struct tls_context *c;
    struct err_info info;
    static const char *const nowhere = "/nonexistent/x.pem";
    assert_int_equal(tls_server_context_new(&c, nowhere, good_key, &info), ERR_INVALID);
    assert_null(c);
    assert_non_null(strstr(info.text, nowhere));
    assert_int_equal(tls_server_context_new(&c, good_cert, self_key, &info), ERR_INVALID);
    assert_int_equal(tls_server_context_new(&c, good_cert, locked_key, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, locked_key));
    assert_int_equal(tls_server_context_new(&c, good_key, good_key, &info), ERR_INVALID);
    assert_int_equal(tls_client_context_new(&c, nowhere, true, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "No such file"));
    assert_int_equal(tls_client_context_new(&c, good_key, true, &info), ERR_INVALID);
    assert_null(c);
    assert_int_equal(ERR_peek_error(), 0);
}

/* Not a limit on speed or on another allocator, but on what is held by design: no buffers, no chain
 * a second time. */
static void an_idle_pair_is_small(void **state)
{
#if !defined(__SANITIZE_ADDRESS__)
    enum { PAIRS = 200 };
    static struct pair p[PAIRS];
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct tls_session_cache *cache = tls_session_cache_new();
    resumes(c, s, "api.example", cache);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < PAIRS; i++) {
        pair_open(&p[i], c, s, "api.example", cache);
        assert_true(pair_handshake(&p[i]));
        send_text(p[i].server, "x");
        expect_text(p[i].client, "x");
        send_text(p[i].client, "y");
        expect_text(p[i].server, "y");
    }
    size_t each = (mallinfo2().uordblks - before) / PAIRS;
    print_message("an idle client and server pair holds %zu bytes\n", each);
    assert_true(each < 30 * 1024);
    for (int i = 0; i < PAIRS; i++)
        pair_close(&p[i]);
    tls_session_cache_free(&cache);
    tls_context_unref(&s);
    tls_context_unref(&c);
#endif
}

/* A connection of which the nth allocation fails; false when it ended by that. */
static bool works_without(uint64_t nth, struct tls_context *c, struct tls_context *s,
                          const char *host, bool *reached)
{
    struct pair p = {.client_io = TLS_IO_WANT_READ, .server_io = TLS_IO_WANT_READ};
    struct tls_session_cache *cache = tls_session_cache_new();
    char text[200] = "";
    struct iovec v = {text, 100};
    size_t n;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p.fd), 0);
    mem_fail_at(nth);
    p.client = tls_new(c, p.fd[0], str_c(host), 443, cache);
    p.server = tls_new(s, p.fd[1], STR_NULL, 0, NULL);
    bool ok = p.client && p.server && pair_handshake(&p) &&
              tls_writev(p.client, &v, 1, &n) == TLS_IO_OK &&
              tls_read(p.server, text, sizeof text, &n) == TLS_IO_OK && n == 100 &&
              tls_writev(p.server, &v, 1, &n) == TLS_IO_OK &&
              tls_read(p.client, text, sizeof text, &n) == TLS_IO_OK && n == 100;
    if (p.client && !ok)
        tls_error_text(p.client, text, sizeof text);
    *reached = mem_fail_at(0) >= nth;
    pair_close(&p);
    tls_session_cache_free(&cache);
    return ok;
}

/* Every allocation fails once, OpenSSL's among them: that connection may end, the next one works,
 * and none is accepted that should not be. */
static void a_failing_allocation_ends_one_connection_at_most(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(ca_file, true);
    struct tls_context *none;
    uint64_t nth = 1, ended = 0;
    for (bool reached = true; reached; nth++)
        ended += !works_without(nth, c, s, "api.example", &reached);
    assert_true(nth > 50 && ended > 50);
    nth = 1;
    for (bool reached = true; reached; nth++)
        assert_false(works_without(nth, c, s, "other.example", &reached));
    assert_true(nth > 50);
    assert_false(resumes(c, s, "api.example", NULL));
    mem_fail_at(1);
    assert_int_equal(tls_client_context_new(&none, ca_file, true, NULL), ERR_NOMEM);
    mem_fail_at(0);
    assert_null(none);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

static void the_cache_stays_within_its_bound(void **state)
{
    struct tls_context *s = server_context(good_cert, good_key), *c = client_context(NULL, false);
    struct tls_session_cache *cache = tls_session_cache_new();
    char host[32];
    for (int i = 0; i <= TLS_SESSIONS_MAX; i++) {
        snprintf(host, sizeof host, "h%d.example", i);
        assert_false(resumes(c, s, host, cache));
        if (i == 1)
            assert_true(resumes(c, s, "h0.example", cache)); /* now h1 is the oldest */
    }
    assert_true(resumes(c, s, "h0.example", cache));
    assert_true(resumes(c, s, host, cache));
    assert_false(resumes(c, s, "h1.example", cache));
    tls_session_cache_free(&cache);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_addresses_are_checked),
        cmocka_unit_test(only_trusted_and_valid_certificates_pass),
        cmocka_unit_test(data_goes_both_ways),
        cmocka_unit_test(pieces_leave_as_one_record),
        cmocka_unit_test(works_byte_by_byte),
        cmocka_unit_test(a_full_socket_loses_nothing),
        cmocka_unit_test(a_second_handshake_is_short),
        cmocka_unit_test(sessions_of_tls_1_2_are_kept_too),
        cmocka_unit_test(data_that_came_with_the_handshake_is_pending),
        cmocka_unit_test(an_end_without_close_notify_is_flagged),
        cmocka_unit_test(a_dead_peer_is_an_error),
        cmocka_unit_test(protocols_and_versions_are_ours),
        cmocka_unit_test(wrong_files_are_named),
        cmocka_unit_test(an_idle_pair_is_small),
        cmocka_unit_test(a_failing_allocation_ends_one_connection_at_most),
        cmocka_unit_test(the_cache_stays_within_its_bound),
    };
    if (!tls_memory_init())
        return 1;
    return cmocka_run_group_tests_name("tls", tests, setup, teardown);
}
