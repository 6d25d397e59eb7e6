/* tls_context: one SSL_CTX with the house's rules: TLS 1.2 at least, forward secrecy and AEAD only,
 * verification on, HTTP/1.1 by ALPN, no renegotiation, no compression. Trust is read from a file
 * into memory here: a directory of hashed names would be read by handshakes, on a loop. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "net/tls_internal.h"

struct tls_context {
    SSL_CTX *ssl;
    uint64_t id;
    atomic_uint refs;
    bool client;
};

static void *take(size_t n, const char *file, int line)
{
    return mem_alloc(n);
}

static void *resize(void *old, size_t n, const char *file, int line)
{
    if (n)
        return mem_realloc(old, n);
    mem_free(old); /* OpenSSL means realloc(p, 0) so */
    return NULL;
}

static void give_back(void *p, const char *file, int line)
{
    mem_free(p);
}

bool tls_memory_init(void)
{
    return CRYPTO_set_mem_functions(take, resize, give_back) == 1;
}

static const unsigned char alpn[] = "\x08http/1.1";

SSL_CTX *tls_context_ssl(const struct tls_context *c)
{
    return c->ssl;
}

bool tls_context_is_client(const struct tls_context *c)
{
    return c->client;
}

uint64_t tls_context_id(const struct tls_context *c)
{
    return c->id;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_context_unref(struct tls_context **c)
{
    struct tls_context *old = *c;
    *c = NULL;
    if (!old || atomic_fetch_sub_explicit(&old->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(old->ssl);
    mem_free(old);
}

/* The reason of OpenSSL's first queued error, which is the one nearest to the cause. */
static const char *why(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerrordesc_np(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    return reason ? reason : "not understood";
}

/* Keys are read without a terminal: an encrypted one is an error. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    return -1;
}

static struct tls_context *context_new(bool client)
{
    static atomic_uint_fast64_t ids;
    struct tls_context *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    ERR_clear_error();
    c->id = atomic_fetch_add(&ids, 1) + 1;
    c->client = client;
    atomic_init(&c->refs, 1);
    c->ssl = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (!tls_prepare() || !c->ssl || !SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(c->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20")) {
        tls_context_unref(&c);
        return NULL;
    }
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c->ssl, 1);
    SSL_CTX_set_default_passwd_cb(c->ssl, no_password);
    return c;
}

/* ---- server ------------------------------------------------------------- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *arg)
{
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_n, alpn, sizeof alpn - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

enum err tls_server_context_new(struct tls_context **out, const char *cert_file,
                                const char *key_file, struct err_info *info)
{
    struct tls_context *c = *out = context_new(false);
    enum err e = ERR_OK;
    if (!c)
        return err_set(info, ERR_NOMEM, "no memory for a TLS context");
    /* Sessions live in tickets only, under keys that all workers share through this context. */
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(c->ssl, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(c->ssl, cert_file) != 1)
        e = err_set(info, ERR_INVALID, "TLS certificate file %s: %s", cert_file, why());
    else if (SSL_CTX_use_PrivateKey_file(c->ssl, key_file, SSL_FILETYPE_PEM) != 1)
        e = err_set(info, ERR_INVALID, "TLS key file %s: %s", key_file, why());
    else if (SSL_CTX_check_private_key(c->ssl) != 1)
        e = err_set(info, ERR_INVALID, "TLS key file %s does not belong to certificate file %s",
                    key_file, cert_file);
    ERR_clear_error();
    if (e)
        tls_context_unref(out);
    return e;
}

/* ---- client ------------------------------------------------------------- */

static int on_new_session(SSL *ssl, SSL_SESSION *s)
{
    struct tls *t = SSL_get_app_data(ssl);
    tls_keep_session(t, s);
    return 0; /* OpenSSL keeps its reference */
}

static const char *system_bundle(void)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem",                  /* BSD, macOS */
    };
    const char *chosen = getenv("SSL_CERT_FILE");
    if (chosen && *chosen)
        return chosen;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

static enum err load_trust(struct tls_context *c, const char *ca_file, struct err_info *info)
{
    const char *file = ca_file ? ca_file : system_bundle();
    if (!file)
        return err_set(info, ERR_INVALID,
                       "no bundle of trusted certificates was found; install ca-certificates or "
                       "name a PEM file in SSL_CERT_FILE");
    if (SSL_CTX_load_verify_file(c->ssl, file) != 1)
        return err_set(info, ERR_INVALID, "trusted certificates file %s: %s", file, why());
    if (ca_file) /* what the operator names is trusted, root or not */
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return ERR_OK;
}

enum err tls_client_context_new(struct tls_context **out, const char *ca_file, bool verify,
                                struct err_info *info)
{
    struct tls_context *c = *out = context_new(true);
    if (!c || SSL_CTX_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1) != 0) {
        tls_context_unref(out);
        return err_set(info, ERR_NOMEM, "no memory for a TLS context");
    }
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ssl, on_new_session);
    SSL_CTX_set_verify(c->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    enum err e = verify ? load_trust(c, ca_file, info) : ERR_OK;
    ERR_clear_error();
    if (e)
        tls_context_unref(out);
    return e;
}
