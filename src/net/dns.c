/* dns: c-ares, its sockets and timers on the loop, behind a cache of names. An entry of the cache
 * is a name that is being asked for, or was; queries hang on the entry until its answer comes, then
 * move to the ready list, which one deferred message serves: so no callback runs inside c-ares, nor
 * before dns_resolve has returned. c-ares keeps real time for its retries; how long a query may
 * take is the loop's to say. */
#include "net/dns.h"

#include <ares.h>
#include <assert.h>
#include <pthread.h>

#include "core/alloc.h"
#include "core/map.h"

enum { NAME_MAX_BYTES = 253 };

struct dns_answer {
    size_t refs, n;
    struct addr addrs[]; /* without a port */
};

struct entry {
    struct entry *next, *prev; /* a ring through the root: last used first */
    struct dns *dns;
    struct dns_query *waiting;
    struct dns_answer *answer; /* NULL: err */
    enum err err;
    bool pending;
    uint64_t expires_ms;
    struct str name; /* behind the entry, NUL-terminated */
};

struct sock {
    struct io io;
    struct sock *next;
    struct dns *dns;
};

struct dns {
    struct loop *loop;
    ares_channel channel;
    const struct dns_hosts *hosts;
    struct map names;
    struct entry root;
    struct dns_query *ready;
    struct message deliver;
    struct deadline timer; /* of c-ares */
    struct sock *socks;
    uint32_t timeout_ms;
    uint32_t holds; /* what still needs the memory after dns_close: closing sockets, the message */
    bool delivery_due, delivering, closing;
};

/* ---- answers and lists ---------------------------------------------------- */

static void answer_unref(struct dns_answer **a)
{
    if (*a && --(*a)->refs == 0)
        mem_free(*a);
    *a = NULL;
}

/* One ref, the caller's. NULL on lack of memory. */
static struct dns_answer *answer_new(const struct addr *addrs, size_t n)
{
    struct dns_answer *a = mem_alloc(sizeof *a + n * sizeof *addrs);
    if (!a)
        return NULL;
    a->refs = 1;
    a->n = n;
    memcpy(a->addrs, addrs, n * sizeof *addrs);
    return a;
}

static void query_link(struct dns_query **list, struct dns_query *q)
{
    q->next = *list;
    q->prev = list;
    if (*list)
        (*list)->prev = &q->next;
    *list = q;
}

static void query_unlink(struct dns_query *q)
{
    if (!q->prev)
        return;
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->next = NULL;
    q->prev = NULL;
}

void dns_cancel(struct dns_query *q)
{
    query_unlink(q);
    deadline_clear(&q->timeout);
    answer_unref(&q->answer);
}

/* The query's last act: after it the memory is its owner's. */
static void query_finish(struct dns_query *q)
{
    struct addr addrs[DNS_ADDRS_MAX];
    size_t n = q->answer ? q->answer->n : 0;
    for (size_t i = 0; i < n; i++) {
        addrs[i] = q->answer->addrs[i];
        addrs[i].port = q->port;
    }
    dns_cancel(q);
    q->done(q, q->err, addrs, n);
}

/* ---- delivery --------------------------------------------------------------- */

static void unhold(struct dns *d)
{
    if (--d->holds == 0)
        mem_free(d);
}

static void on_deliver(struct message *m)
{
    struct dns *d = (struct dns *)((char *)m - offsetof(struct dns, deliver));
    d->delivery_due = false;
    d->delivering = true;
    /* What callbacks add to d->ready is for the next message. */
    struct dns_query *list = d->ready;
    d->ready = NULL;
    if (list)
        list->prev = &list;
    while (list)
        query_finish(list);
    d->delivering = false;
    unhold(d);
}

/* Takes over the caller's ref of answer, which is NULL unless e is ERR_OK. */
static void query_ready(struct dns_query *q, enum err e, struct dns_answer *answer)
{
    struct dns *d = q->dns;
    query_unlink(q);
    deadline_clear(&q->timeout);
    q->err = e;
    q->answer = answer;
    query_link(&d->ready, q);
    if (!d->delivery_due) {
        d->delivery_due = true;
        d->holds++;
        loop_defer(d->loop, &d->deliver);
    }
}

static void on_timeout(struct deadline *t)
{
    struct dns_query *q = (struct dns_query *)((char *)t - offsetof(struct dns_query, timeout));
    q->err = ERR_DNS_TIMEOUT;
    query_finish(q);
}

/* ---- c-ares on the loop ------------------------------------------------------ */

static void on_timer(struct deadline *t);

static void rearm(struct dns *d)
{
    struct timeval tv;
    if (d->closing)
        return;
    if (ares_timeout(d->channel, NULL, &tv))
        deadline_set(d->loop, &d->timer,
                     loop_now_ms(d->loop) + (uint64_t)tv.tv_sec * 1000 +
                         (uint64_t)tv.tv_usec / 1000 + 1,
                     on_timer);
    else
        deadline_clear(&d->timer);
}

static void on_timer(struct deadline *t)
{
    struct dns *d = (struct dns *)((char *)t - offsetof(struct dns, timer));
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(d);
}

static void on_socket_ready(struct io *io, int events)
{
    struct dns *d = ((struct sock *)io)->dns;
    int fd = io->fd; /* c-ares may close it in between */
    ares_process_fd(d->channel, events & IO_READ ? fd : ARES_SOCKET_BAD,
                    events & IO_WRITE ? fd : ARES_SOCKET_BAD);
    rearm(d);
}

static void on_socket_closed(struct io *io)
{
    struct sock *s = (struct sock *)io;
    struct dns *d = s->dns;
    mem_free(s);
    unhold(d);
}

/* c-ares has opened, or is about to close, a socket, or wants other events of it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = arg;
    int events = (readable ? IO_READ : 0) | (writable ? IO_WRITE : 0);
    struct sock **at = &d->socks;
    while (*at && (*at)->io.fd != fd)
        at = &(*at)->next;
    struct sock *s = *at;
    if (s && events) {
        io_want(&s->io, events);
    } else if (s) {
        *at = s->next;
        io_close(&s->io, on_socket_closed);
    } else if (events) {
        s = mem_zalloc(sizeof *s);
        if (!s || io_open(&s->io, d->loop, fd, events, on_socket_ready)) {
            mem_free(s); /* nobody hears the answer: the query times out */
            return;
        }
        s->dns = d;
        s->next = d->socks;
        d->socks = s;
        d->holds++;
    }
}

/* ---- lookups ------------------------------------------------------------------ */

static void entry_done(struct entry *e, enum err err, struct dns_answer *answer, uint64_t ttl_s)
{
    answer_unref(&e->answer);
    e->answer = answer;
    e->err = err;
    e->pending = false;
    e->expires_ms = loop_now_ms(e->dns->loop) + ttl_s * 1000;
    while (e->waiting) {
        if (answer)
            answer->refs++;
        query_ready(e->waiting, err, answer);
    }
}

/* Addresses of one family, behind those that are there. */
static size_t collect(const struct ares_addrinfo_node *node, int family, struct addr *out, size_t n)
{
    for (; node && n < DNS_ADDRS_MAX; node = node->ai_next)
        if (node->ai_family == family && addr_from_sockaddr(node->ai_addr, &out[n]))
            n++;
    return n;
}

static uint64_t lifetime_s(const struct ares_addrinfo *info)
{
    int ttl = DNS_TTL_MAX_S;
    for (const struct ares_addrinfo_node *a = info->nodes; a; a = a->ai_next)
        ttl = a->ai_ttl < ttl ? a->ai_ttl : ttl;
    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
        ttl = c->ttl < ttl ? c->ttl : ttl;
    return ttl < DNS_TTL_MIN_S ? DNS_TTL_MIN_S : (uint64_t)ttl;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct entry *e = arg;
    struct addr addrs[DNS_ADDRS_MAX];
    size_t n = 0;
    if (info) {
        n = collect(info->nodes, AF_INET, addrs, 0);
        n = collect(info->nodes, AF_INET6, addrs, n);
    }
    if (e->dns->closing) {
        /* its queries are cancelled, it goes soon */
    } else if (status == ARES_SUCCESS && n > 0) {
        struct dns_answer *answer = answer_new(addrs, n);
        entry_done(e, answer ? ERR_OK : ERR_NOMEM, answer, answer ? lifetime_s(info) : 0);
    } else if (status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA) {
        entry_done(e, ERR_DNS, NULL, DNS_NO_NAME_TTL_S);
    } else if (status == ARES_ENOMEM) {
        entry_done(e, ERR_NOMEM, NULL, 0);
    } else {
        entry_done(e, status == ARES_ETIMEOUT ? ERR_DNS_TIMEOUT : ERR_DNS, NULL,
                   DNS_NO_ANSWER_TTL_S);
    }
    ares_freeaddrinfo(info);
}

static void entry_free(struct entry *e)
{
    map_remove(&e->dns->names, e->name);
    e->prev->next = e->next;
    e->next->prev = e->prev;
    answer_unref(&e->answer);
    mem_free(e);
}

static void entry_used(struct entry *e)
{
    struct entry *root = &e->dns->root;
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = root->next;
    e->prev = root;
    e->next->prev = root->next = e;
}

/* The longest unused name makes room; those that are being asked for stay. */
static bool make_room(struct dns *d)
{
    struct entry *e = d->root.prev;
    if (d->names.count < DNS_CACHE_MAX)
        return true;
    while (e != &d->root && e->pending)
        e = e->prev;
    if (e == &d->root)
        return false;
    entry_free(e);
    return true;
}

static enum err entry_new(struct dns *d, struct str name, struct entry **out)
{
    if (!make_room(d))
        return ERR_OVERLOADED;
    struct entry *e = mem_zalloc(sizeof *e + name.n + 1);
    if (!e)
        return ERR_NOMEM;
    e->name = str_make(memcpy(e + 1, name.p, name.n), name.n);
    e->dns = d;
    e->next = e->prev = e;
    if (map_put(&d->names, e->name, e)) {
        mem_free(e);
        return ERR_NOMEM;
    }
    entry_used(e);
    *out = e;
    return ERR_OK;
}

/* host in lower case; false when it cannot be a name. */
static bool name_of(struct str host, char text[NAME_MAX_BYTES], struct str *name)
{
    if (host.n == 0 || host.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f || host.p[i] == '\\')
            return false;
        text[i] = str_lower(host.p[i]);
    }
    *name = str_make(text, host.n);
    return true;
}

enum err dns_lookup_cached(struct dns *d, struct str host, uint16_t port,
                           struct addr out[DNS_ADDRS_MAX], size_t *n)
{
    char text[NAME_MAX_BYTES];
    struct str name;
    *n = 0;
    if (addr_parse(host, port, &out[0])) {
        *n = 1;
        return ERR_OK;
    }
    if (!name_of(host, text, &name))
        return ERR_DNS;
    if (str_eq(name, STR("localhost")) || str_ends(name, STR(".localhost"))) { /* RFC 6761, 6.3 */
        out[0] = (struct addr){.bytes = {127, 0, 0, 1}, .family = AF_INET, .port = port};
        *n = 1;
        return ERR_OK;
    }
    if ((*n = dns_hosts_find(d->hosts, name, port, out, DNS_ADDRS_MAX)) > 0)
        return ERR_OK;
    struct entry *e = map_get(&d->names, name);
    if (!e || e->pending || e->expires_ms <= loop_now_ms(d->loop))
        return ERR_AGAIN;
    entry_used(e);
    for (; e->answer && *n < e->answer->n; ++*n) {
        out[*n] = e->answer->addrs[*n];
        out[*n].port = port;
    }
    return e->err;
}

/* Hangs q on its name's entry, and asks unless somebody has. */
static enum err wait_for_answer(struct dns *d, struct dns_query *q, struct str host)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char text[NAME_MAX_BYTES];
    struct str name;
    if (!name_of(host, text, &name))
        return ERR_DNS;
    struct entry *e = map_get(&d->names, name);
    enum err err = e ? ERR_OK : entry_new(d, name, &e);
    if (err)
        return err;
    entry_used(e);
    query_link(&e->waiting, q);
    deadline_set(d->loop, &q->timeout, loop_now_ms(d->loop) + d->timeout_ms, on_timeout);
    if (!e->pending) {
        e->pending = true;
        ares_getaddrinfo(d->channel, e->name.p, NULL, &hints, on_answer, e);
        rearm(d);
    }
    return ERR_OK;
}

void dns_resolve(struct dns *d, struct dns_query *q, struct str host, uint16_t port,
                 void (*done)(struct dns_query *q, enum err e, const struct addr *addrs, size_t n))
{
    struct addr addrs[DNS_ADDRS_MAX];
    struct dns_answer *answer = NULL;
    size_t n;
    *q = (struct dns_query){.dns = d, .port = port, .done = done};
    enum err e = dns_lookup_cached(d, host, port, addrs, &n);
    if (e == ERR_AGAIN && (e = wait_for_answer(d, q, host)) == ERR_OK)
        return;
    if (e == ERR_OK && !(answer = answer_new(addrs, n)))
        e = ERR_NOMEM;
    query_ready(q, e, answer);
}

/* ---- life ---------------------------------------------------------------------- */

static void init_library(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

static enum err channel_new(struct dns *d, const char *servers, struct err_info *info)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static char lookups[] = "b"; /* servers only: the hosts file is ours */
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
    /* The second try doubles the time: both end well before the whole, so that a server which is
     * silent about one family does not cost the other's answer. */
    struct ares_options o = {.sock_state_cb = on_socket_state,
                             .sock_state_cb_data = d,
                             .lookups = lookups,
                             .timeout = (int)(d->timeout_ms / 5 + 1),
                             .tries = 2};
    pthread_once(&once, init_library);
    if (servers)
        mask |= ARES_OPT_DOMAINS; /* none */
    int status = ares_init_options(&d->channel, &o, mask);
    if (status != ARES_SUCCESS)
        return err_set(info, ERR_DNS, "the resolver cannot start: %s", ares_strerror(status));
    if (servers && ares_set_servers_ports_csv(d->channel, servers) != ARES_SUCCESS) {
        ares_destroy(d->channel);
        return err_set(info, ERR_INVALID,
                       "DNS servers '%s' are not addresses such as 127.0.0.1:53,[::1]:53", servers);
    }
    return ERR_OK;
}

enum err dns_new(struct dns **out, struct loop *l, const struct dns_options *o,
                 struct err_info *info)
{
    struct dns *d = *out = mem_zalloc(sizeof *d);
    if (!d)
        return err_set(info, ERR_NOMEM, "no memory for the resolver");
    d->loop = l;
    d->hosts = o->hosts;
    d->timeout_ms = o->timeout_ms ? o->timeout_ms : 5000;
    d->deliver.run = on_deliver;
    d->root.next = d->root.prev = &d->root;
    d->holds = 1; /* dns_close's own */
    map_init(&d->names, DNS_CACHE_MAX);
    enum err e = channel_new(d, o->servers, info);
    if (e) {
        mem_free(d);
        *out = NULL;
    }
    return e;
}

void dns_close(struct dns **dp)
{
    struct dns *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    assert(!d->delivering);
    d->closing = true;
    while (d->ready)
        dns_cancel(d->ready);
    for (struct entry *e = d->root.next; e != &d->root; e = e->next)
        while (e->waiting)
            dns_cancel(e->waiting);
    deadline_clear(&d->timer);
    ares_destroy(d->channel);
    while (d->root.next != &d->root)
        entry_free(d->root.next);
    map_release(&d->names);
    unhold(d);
}
