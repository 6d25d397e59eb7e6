/* tcp: what TLS has read already is given after a pause, though the descriptor stays silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"

static struct loop *loop;
static struct tcp tcp;
static struct tls *client;
static struct io client_io;
static char got[64];
static size_t got_n;
static bool sent;

static void make_files(char *cert, char *key)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, k);
    assert_true(X509_sign(x, k, EVP_sha256()) > 0);
    FILE *f = fdopen(mkstemp(cert), "w"), *g = fdopen(mkstemp(key), "w");
    PEM_write_X509(f, x);
    PEM_write_PrivateKey(g, k, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    fclose(g);
    X509_free(x);
    EVP_PKEY_free(k);
}

static void on_pause_over(struct deadline *d)
{
    tcp_resume(&tcp);
}

/* Takes four bytes a turn, with a pause after each. */
static void on_readable(struct tcp *t)
{
    static struct deadline pause;
    size_t n;
    if (tcp_read(t, got + got_n, 4, &n) != TCP_OK)
        return;
    got_n += n;
    tcp_pause(t);
    if (got_n < 12)
        deadline_set(loop, &pause, loop_now_ms(loop) + 20, on_pause_over);
    else
        loop_stop(loop);
}

static void on_sent(struct tcp *t)
{
}

static void on_connected(struct tcp *t, enum err e)
{
    assert_int_equal(e, ERR_OK);
    if (tcp_has_more(t))
        on_readable(t);
}

static void on_client(struct io *io, int events)
{
    char text[64];
    size_t n;
    struct iovec v = {(void *)(uintptr_t) "abcdefghijkl", 12};
    enum tls_io r = sent ? tls_read(client, text, sizeof text, &n) : tls_handshake(client);
    if (!sent && r == TLS_IO_OK) {
        assert_int_equal(tls_writev(client, &v, 1, &n), TLS_IO_OK);
        sent = true;
    }
    assert_true(r == TLS_IO_OK || r == TLS_IO_WANT_READ);
    io_want(io, IO_READ);
}

static void a_pause_loses_nothing_that_tls_holds(void **state)
{
    static const struct tcp_events events = {on_readable, on_sent, on_connected};
    char cert[] = "/tmp/lyss-tcp-cert-XXXXXX", key[] = "/tmp/lyss-tcp-key-XXXXXX";
    struct tls_context *s, *c;
    int fd[2];
    make_files(cert, key);
    assert_int_equal(tls_server_context_new(&s, cert, key, NULL), ERR_OK);
    assert_int_equal(tls_client_context_new(&c, NULL, false, NULL), ERR_OK);
    unlink(cert);
    unlink(key);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    loop = loop_new("test");
    assert_int_equal(tcp_open(&tcp, loop, fd[0], &events, s), ERR_OK);
    client = tls_new(c, fd[1], STR("api.example"), 443, NULL);
    assert_int_equal(io_open(&client_io, loop, fd[1], IO_WRITE, on_client), ERR_OK);
    loop_run(loop);
    assert_int_equal(got_n, 12);
    assert_memory_equal(got, "abcdefghijkl", 12);
    tcp_close(&tcp, NULL);
    io_close(&client_io, NULL);
    tls_free(&client);
    close(fd[1]);
    loop_free(&loop);
    tls_context_unref(&s);
    tls_context_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_pause_loses_nothing_that_tls_holds)};
    return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
