/* tls: OpenSSL on a BIO of our own. The BIO is there for three things that the library's socket BIO
 * lacks: it never raises SIGPIPE; it remembers that the peer's FIN came, so that an end without
 * close_notify is told from one with it (and costs no session); and after a short read it does not
 * ask the kernel again in the same call, so that a record costs one recv. Idle connections hold no
 * buffers (SSL_MODE_RELEASE_BUFFERS). */
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "net/tls_internal.h"

enum { RECORD_MAX = 16384 };

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct tls_session_cache *cache;
    int fd, sys_errno;
    unsigned long reason; /* of OpenSSL's error queue */
    uint16_t retry_n;     /* bytes of a write that must be repeated */
    bool drained;         /* the last recv of this call was short */
    bool starved;         /* the last read had to wait */
    bool eof;             /* FIN seen */
    bool ready;           /* handshake done */
    bool failed;
    uint8_t host_n;
    uint16_t key_n;
    char key[]; /* of the session cache; begins with the host */
};

/* ---- BIO -------------------------------------------------------------- */

static bool would_block(int e)
{
    return e == EAGAIN || e == EWOULDBLOCK || e == EINTR;
}

static int bio_read(BIO *bio, char *buf, size_t cap, size_t *n)
{
    struct tls *t = BIO_get_data(bio);
    *n = 0;
    BIO_clear_retry_flags(bio);
    if (t->drained) {
        BIO_set_retry_read(bio);
        return 0;
    }
    ssize_t r = recv(t->fd, buf, cap, 0);
    if (r < 0 && would_block(errno))
        BIO_set_retry_read(bio);
    else if (r < 0)
        t->sys_errno = errno;
    else if (r == 0)
        t->eof = true;
    else
        *n = (size_t)r;
    t->drained = r > 0 && (size_t)r < cap;
    return r > 0;
}

static int bio_write(BIO *bio, const char *buf, size_t len, size_t *n)
{
    struct tls *t = BIO_get_data(bio);
    *n = 0;
    BIO_clear_retry_flags(bio);
    ssize_t r = send(t->fd, buf, len, MSG_NOSIGNAL);
    if (r < 0 && would_block(errno))
        BIO_set_retry_write(bio);
    else if (r < 0)
        t->sys_errno = errno;
    else
        *n = (size_t)r;
    return r > 0;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const struct tls *t = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_EOF:
        return t->eof;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lyss");
    if (bio_method) {
        BIO_meth_set_read_ex(bio_method, bio_read);
        BIO_meth_set_write_ex(bio_method, bio_write);
        BIO_meth_set_ctrl(bio_method, bio_ctrl);
    }
}

bool tls_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    return bio_method != NULL;
}

/* ---- connections -------------------------------------------------------- */

static bool expect_peer(struct tls *t, struct str host)
{
    char name[254];
    struct addr ip;
    str_copy(name, sizeof name, host);
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    if (addr_parse(host, 0, &ip))
        return X509_VERIFY_PARAM_set1_ip(param, ip.bytes, ip.family == AF_INET ? 4 : 16);
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(t->ssl, name) && SSL_set1_host(t->ssl, name);
}

static bool attach(struct tls *t, struct str host)
{
    BIO *bio = BIO_new(bio_method);
    if (!bio)
        return false;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    if (!SSL_set_app_data(t->ssl, t))
        return false;
    if (!tls_context_is_client(t->context)) {
        SSL_set_accept_state(t->ssl);
        return true;
    }
    SSL_set_connect_state(t->ssl);
    if (!expect_peer(t, host))
        return false;
    SSL_SESSION *s = t->cache ? tls_session_find(t->cache, str_make(t->key, t->key_n)) : NULL;
    if (s)
        SSL_set_session(t->ssl, s); /* best effort: without it the handshake is a full one */
    return true;
}

struct tls *tls_new(struct tls_context *c, int fd, struct str host, uint16_t port,
                    struct tls_session_cache *cache)
{
    char key[320];
    assert((host.n > 0) == tls_context_is_client(c));
    if (host.n > 253 || memchr(host.n ? host.p : "x", 0, host.n))
        return NULL;
    int key_n = snprintf(key, sizeof key, "%.*s:%u/%llu", STR_FMT(host), port,
                         (unsigned long long)tls_context_id(c));
    struct tls *t = mem_zalloc(sizeof *t + (size_t)key_n + 1);
    if (!t)
        return NULL;
    memcpy(t->key, key, (size_t)key_n + 1);
    t->key_n = (uint16_t)key_n;
    t->host_n = (uint8_t)host.n;
    t->fd = fd;
    t->cache = cache;
    t->context = tls_context_ref(c);
    ERR_clear_error();
    t->ssl = SSL_new(tls_context_ssl(c));
    if (!t->ssl || !attach(t, host))
        tls_free(&t);
    return t;
}

void tls_free(struct tls **t)
{
    struct tls *old = *t;
    *t = NULL;
    if (!old)
        return;
    if (old->ssl) {
        /* Else OpenSSL takes the session for broken and our cache holds a useless one. */
        SSL_set_shutdown(old->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(old->ssl);
    }
    tls_context_unref(&old->context);
    mem_free(old);
}

void tls_keep_session(struct tls *t, SSL_SESSION *s)
{
    if (t->cache && SSL_SESSION_is_resumable(s))
        tls_session_store(t->cache, str_make(t->key, t->key_n), s);
}

/* What a call that did not succeed asks of its caller. */
static enum tls_io outcome(struct tls *t, int ret)
{
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return TLS_IO_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_IO_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        if (t->ready)
            return TLS_IO_EOF;
        break;
    default:
        t->reason = ERR_peek_error();
        break;
    }
    t->failed = true;
    ERR_clear_error();
    return TLS_IO_ERROR;
}

static void begin(struct tls *t)
{
    ERR_clear_error(); /* of others on this thread: SSL_get_error looks there */
    t->drained = false;
}

/* OpenSSL copies the expected name for its own check and does not look whether the copy was made:
 * on lack of memory any certificate of a trusted issuer would do. So the name is checked once more.
 */
static bool peer_is_expected(const struct tls *t)
{
    struct addr ip;
    if (!(SSL_get_verify_mode(t->ssl) & SSL_VERIFY_PEER))
        return true;
    X509 *peer = SSL_get0_peer_certificate(t->ssl);
    if (!peer || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return false;
    if (addr_parse(str_make(t->key, t->host_n), 0, &ip))
        return X509_check_ip(peer, ip.bytes, ip.family == AF_INET ? 4 : 16, 0) == 1;
    return X509_check_host(peer, t->key, t->host_n, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) ==
           1;
}

enum tls_io tls_handshake(struct tls *t)
{
    if (t->failed)
        return TLS_IO_ERROR;
    begin(t);
    int ret = SSL_do_handshake(t->ssl);
    if (ret != 1)
        return outcome(t, ret);
    t->failed = !peer_is_expected(t);
    t->ready = !t->failed;
    return t->ready ? TLS_IO_OK : TLS_IO_ERROR;
}

enum tls_io tls_read(struct tls *t, void *buf, size_t cap, size_t *n)
{
    *n = 0;
    if (t->failed)
        return TLS_IO_ERROR;
    begin(t);
    t->starved = false;
    while (*n < cap) {
        size_t got = 0;
        int ret = SSL_read_ex(t->ssl, (char *)buf + *n, cap - *n, &got);
        if (ret == 1) {
            *n += got;
            if (t->drained && !SSL_has_pending(t->ssl)) { /* spares a call that finds nothing */
                t->starved = true;
                break;
            }
            continue;
        }
        enum tls_io io = outcome(t, ret);
        t->starved = io == TLS_IO_WANT_READ;
        if (*n == 0)
            return io;
        break; /* an end or error is told again by the next call */
    }
    return TLS_IO_OK;
}

bool tls_pending(const struct tls *t)
{
    /* An end that the last read met is told without the descriptor, too. */
    bool ended = t->failed || (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN);
    return ended || (!t->starved && SSL_has_pending(t->ssl));
}

/* The bytes of the next record: in place when the first piece is enough, else gathered. */
static const char *gather(const struct iovec *iov, int count, size_t max, size_t *n)
{
    static __thread char scratch[RECORD_MAX];
    while (count > 0 && iov->iov_len == 0) {
        iov++;
        count--;
    }
    if (count > 0 && (count == 1 || iov->iov_len >= max)) {
        *n = iov->iov_len < max ? iov->iov_len : max;
        return iov->iov_base;
    }
    for (*n = 0; count > 0 && *n < max; iov++, count--) {
        size_t part = iov->iov_len < max - *n ? iov->iov_len : max - *n;
        if (part)
            memcpy(scratch + *n, iov->iov_base, part);
        *n += part;
    }
    return scratch;
}

enum tls_io tls_writev(struct tls *t, const struct iovec *iov, int count, size_t *n)
{
    size_t len, max = t->retry_n ? t->retry_n : RECORD_MAX;
    *n = 0;
    if (t->failed)
        return TLS_IO_ERROR;
    const char *p = gather(iov, count, max, &len);
    assert(len >= t->retry_n);
    if (len == 0)
        return TLS_IO_OK;
    begin(t);
    int ret = SSL_write_ex(t->ssl, p, len, n);
    t->retry_n = 0;
    if (ret == 1)
        return TLS_IO_OK;
    *n = 0;
    enum tls_io io = outcome(t, ret);
    if (io == TLS_IO_WANT_READ || io == TLS_IO_WANT_WRITE)
        t->retry_n = (uint16_t)len;
    return io;
}

void tls_shutdown(struct tls *t)
{
    if (!t->ready || t->failed || t->retry_n)
        return;
    begin(t);
    if (SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
}

bool tls_truncated(const struct tls *t)
{
    return t->eof;
}

bool tls_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl);
}

const char *tls_version(const struct tls *t)
{
    return SSL_get_version(t->ssl);
}

char *tls_error_text(const struct tls *t, char *out, size_t cap)
{
    long verify = SSL_get_verify_result(t->ssl);
    const char *reason = t->reason ? ERR_reason_error_string(t->reason) : NULL;
    if (!t->ready && verify != X509_V_OK &&
        ERR_GET_REASON(t->reason) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(out, cap, "the certificate is not accepted: %s",
                 X509_verify_cert_error_string(verify));
    else if (t->eof && !t->ready)
        snprintf(out, cap, "the peer closed the connection during the handshake");
    else if (t->sys_errno)
        snprintf(out, cap, "%s", strerrordesc_np(t->sys_errno));
    else
        snprintf(out, cap, "%s",
                 reason     ? reason
                 : t->ready ? "no reason given"
                            : "the peer could not be verified");
    return out;
}
