/* tls: TLS 1.2 and 1.3 over a non-blocking descriptor, both sides, by OpenSSL.
 *
 * A context holds what many connections share (certificates, trust, ticket
 * keys): made on a control thread, because making it reads files; then
 * immutable, refcounted, used by all threads.  A struct tls and a session cache
 * belong to one thread.  The descriptor stays the caller's.  Nothing here
 * blocks or waits; what to wait for is the return value. */
#ifndef LYSS_NET_TLS_H
#define LYSS_NET_TLS_H

#include <sys/uio.h>

#include "core/err.h"

struct tls_context;
struct tls_session_cache;
struct tls;

/* First thing in main, before anything else uses OpenSSL: its memory comes through core/alloc from
 * then on, so that tests can make it fail. False when it is too late. */
bool tls_memory_init(void);

/* ---- contexts --------------------------------------------------------- */

/* PEM files: the certificate with its chain, and its key (not encrypted). ERR_INVALID tells which
 * file is wrong and how. */
enum err tls_server_context_new(struct tls_context **out, const char *cert_file,
                                const char *key_file, struct err_info *info) MUST_CHECK;
/* ca_file: PEM file of trusted certificates; NULL: SSL_CERT_FILE, else the system's bundle. With
 * verify off any certificate is accepted. ERR_INVALID when there is nothing to trust. */
enum err tls_client_context_new(struct tls_context **out, const char *ca_file, bool verify,
                                struct err_info *info) MUST_CHECK;
/* Any thread. */
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context **c);

/* ---- sessions of a client, so that a second handshake is short ---------- */

enum { TLS_SESSIONS_MAX = 1024 };
/* Keeps the last session of each context, host and port; the least recently used goes when it is
 * full. It must outlive every struct tls that was given it. NULL on lack of memory. */
struct tls_session_cache *tls_session_cache_new(void);
void tls_session_cache_free(struct tls_session_cache **c);

/* ---- connections -------------------------------------------------------- */

enum tls_io {
    TLS_IO_OK,
    TLS_IO_WANT_READ,  /* call again when the descriptor is readable */
    TLS_IO_WANT_WRITE, /* call again when it is writable */
    TLS_IO_EOF,        /* the peer has ended; see tls_truncated */
    TLS_IO_ERROR       /* over; see tls_error_text */
};

/* Takes a ref of the context. Client: host is the name (sent as SNI) or IP address that the
 * certificate must be for; cache may be NULL. Server: STR_NULL, 0, NULL. NULL on lack of memory or
 * for a host over 253 bytes. */
struct tls *tls_new(struct tls_context *c, int fd, struct str host, uint16_t port,
                    struct tls_session_cache *cache);
/* The caller closes the descriptor. */
void tls_free(struct tls **t);

/* One step of the handshake; TLS_IO_OK once it is done, never TLS_IO_EOF. The peer's first data may
 * have come with its last step: look at tls_pending before waiting for the descriptor. */
enum tls_io tls_handshake(struct tls *t) MUST_CHECK;
/* Fills buf as far as what has arrived goes, over several records; *n > 0 with TLS_IO_OK. Unless
 * tls_pending says otherwise, wait for the descriptor before the next call. */
enum tls_io tls_read(struct tls *t, void *buf, size_t cap, size_t *n) MUST_CHECK;
/* Something may be left that tls_read gives without the descriptor becoming readable. */
bool tls_pending(const struct tls *t);
/* Gathers at most 16 KiB into one record and one write(2); *n is how much was taken, with
 * TLS_IO_OK only. After WANT_READ or WANT_WRITE the next call must begin with the same bytes (more
 * may follow them, and they may have moved). */
enum tls_io tls_writev(struct tls *t, const struct iovec *iov, int count, size_t *n) MUST_CHECK;
/* Sends close_notify if that is possible at once; nothing may be written after it. */
void tls_shutdown(struct tls *t);

/* The stream ended without close_notify: what was read may not be all that was sent. */
bool tls_truncated(const struct tls *t);
/* The handshake used a session of the cache. */
bool tls_resumed(const struct tls *t);
/* "TLSv1.3" */
const char *tls_version(const struct tls *t);
/* Why TLS_IO_ERROR; written to out, which it returns. */
char *tls_error_text(const struct tls *t, char *out, size_t cap);

#endif
