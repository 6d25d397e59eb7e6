/* tls_internal: what net/tls.c, tls_context.c and tls_session.c share; for no one else. */
#ifndef LYSS_NET_TLS_INTERNAL_H
#define LYSS_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/addr.h"
#include "net/tls.h"

SSL_CTX *tls_context_ssl(const struct tls_context *c);
bool tls_context_is_client(const struct tls_context *c);
/* Unique in this process: sessions of one context are never resumed under another, which may trust
 * less. */
uint64_t tls_context_id(const struct tls_context *c);

/* Any thread, before the first connection: context creation calls it. False on lack of memory. */
bool tls_prepare(void);

/* Lends the session, or NULL. */
SSL_SESSION *tls_session_find(struct tls_session_cache *c, struct str key);
/* Takes a reference of its own; does nothing on lack of memory. */
void tls_session_store(struct tls_session_cache *c, struct str key, SSL_SESSION *s);
/* A client connection has been given a session by its server. */
void tls_keep_session(struct tls *t, SSL_SESSION *s);

#endif
