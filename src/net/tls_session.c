/* tls_session: the sessions that a worker's upstream connections have been given, by context, host
 * and port; a map and a list in order of use. */
#include <openssl/ssl.h>

#include "core/alloc.h"
#include "core/map.h"
#include "net/tls_internal.h"

struct entry {
    struct entry *next, *prev; /* a ring through the cache's root: newest first */
    SSL_SESSION *session;
    struct str key; /* behind the entry */
};

struct tls_session_cache {
    struct map map;
    struct entry root;
};

struct tls_session_cache *tls_session_cache_new(void)
{
    struct tls_session_cache *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    map_init(&c->map, TLS_SESSIONS_MAX);
    c->root.next = c->root.prev = &c->root;
    return c;
}

static void unlink_entry(struct entry *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
}

static void push_front(struct tls_session_cache *c, struct entry *e)
{
    e->next = c->root.next;
    e->prev = &c->root;
    e->next->prev = c->root.next = e;
}

static void drop(struct tls_session_cache *c, struct entry *e)
{
    map_remove(&c->map, e->key);
    unlink_entry(e);
    SSL_SESSION_free(e->session);
    mem_free(e);
}

void tls_session_cache_free(struct tls_session_cache **c)
{
    struct tls_session_cache *old = *c;
    *c = NULL;
    if (!old)
        return;
    while (old->root.next != &old->root)
        drop(old, old->root.next);
    map_release(&old->map);
    mem_free(old);
}

SSL_SESSION *tls_session_find(struct tls_session_cache *c, struct str key)
{
    struct entry *e = map_get(&c->map, key);
    if (!e)
        return NULL;
    if (!SSL_SESSION_is_resumable(e->session)) {
        drop(c, e);
        return NULL;
    }
    unlink_entry(e);
    push_front(c, e);
    return e->session;
}

void tls_session_store(struct tls_session_cache *c, struct str key, SSL_SESSION *s)
{
    struct entry *e = map_get(&c->map, key);
    if (!e) {
        if (c->map.count >= TLS_SESSIONS_MAX)
            drop(c, c->root.prev);
        e = mem_zalloc(sizeof *e + key.n);
        if (!e)
            return;
        e->key = str_make(memcpy(e + 1, key.p, key.n), key.n);
        if (map_put(&c->map, e->key, e)) {
            mem_free(e);
            return;
        }
        push_front(c, e);
    }
    if (SSL_SESSION_up_ref(s)) {
        SSL_SESSION_free(e->session); /* NULL in a new entry */
        e->session = s;
    }
}
