/* worker: the threads of the data plane, and what is passed between them: connections, snapshots,
 * the word to stop. */
#include "gateway/worker.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "gateway/demo/demo.h"
#include "gateway/hedge.h"
#include "gateway/hold.h"
#include "gateway/local/local_server.h"
#include "gateway/memory/idempotency.h"
#include "gateway/memory/recall.h"
#include "gateway/request.h"
#include "net/scratch.h"

#define ORIGINS_MAX 4096
#define ROUTES_MAX  4096
#define EVICT       16

/* ---- connections: even between workers ------------------------------------------------ */

struct handover {
    struct message m;
    struct worker *to;
    int fd;
    struct addr peer;
};

static void take(struct worker *w, int fd, const struct addr *peer)
{
    counter_add(&w->metrics.accepted, 1);
    if (w->stopping)
        close(fd);
    else
        http_server_accept(&w->server, fd, peer);
    atomic_store_explicit(&w->connections, w->server.count, memory_order_relaxed);
}

static void on_handover(struct message *m)
{
    struct handover *h = (struct handover *)m;
    take(h->to, h->fd, &h->peer);
    mem_free(h);
}

static struct worker *least_loaded(struct worker *w)
{
    struct gateway *g = w->gateway;
    struct worker *best = w;
    unsigned least = w->server.count;
    for (unsigned i = 0; i < g->settings.workers; i++) {
        unsigned n = atomic_load_explicit(&g->workers[i]->connections, memory_order_relaxed);
        if (n + 2 <= w->server.count && n < least) {
            least = n;
            best = g->workers[i];
        }
    }
    return best;
}

static void on_accepted(struct tcp_listener *s, int fd, const struct addr *peer)
{
    struct worker *w = (struct worker *)((char *)s - offsetof(struct worker, listener));
    struct worker *to = least_loaded(w);
    struct handover *h = to == w ? NULL : mem_alloc(sizeof *h);
    if (!h) {
        take(w, fd, peer);
        return;
    }
    *h = (struct handover){.m.run = on_handover, .to = to, .fd = fd, .peer = *peer};
    loop_post(to->loop, &h->m);
}

/* Inbound and upstream share one budget of descriptors: an idle upstream connection goes before a
 * caller is kept waiting. */
static bool on_starved(struct tcp_listener *s)
{
    struct worker *w = (struct worker *)((char *)s - offsetof(struct worker, listener));
    return http_client_evict(&w->client, EVICT) > 0;
}

/* ---- origins and routes ------------------------------------------------------------------ */

struct origin_entry {
    struct http_origin origin; /* first */
    char key[];
};

struct http_origin *worker_origin(struct worker *w, struct channel *ch)
{
    struct http_origin *o = ch->origins[w->index];
    if (o) {
        o->connect_ms = ch->connect_ms;
        return o;
    }
    char key[URL_AUTHORITY_MAX + 64];
    int n = snprintf(key, sizeof key, "%s://%.*s#%s", ch->url.https ? "https" : "http",
                     STR_FMT(ch->authority), ch->provider->in_process ? ch->provider->name : "");
    o = map_get(&w->origins, str_make(key, (size_t)n));
    if (!o) {
        struct origin_entry *e = mem_zalloc(sizeof *e + (size_t)n + 1);
        if (!e)
            return NULL;
        memcpy(e->key, key, (size_t)n);
        e->origin.url = ch->url;
        e->origin.open_all = &ch->cell->upstream_open;
        if (map_put(&w->origins, str_make(e->key, (size_t)n), e)) {
            mem_free(e);
            return NULL;
        }
        o = &e->origin;
    }
    if (ch->url.https)
        o->tls = atomic_load_explicit(&w->gateway->client_tls, memory_order_acquire);
    if (ch->provider->in_process && w->gateway->demo_open) {
        o->open = w->gateway->demo_open;
        o->open_user = w;
    }
    o->connect_ms = ch->connect_ms;
    ch->origins[w->index] = o;
    return o;
}

struct route_entry {
    struct balance_state state;
    struct hedge_share share;
    char key[];
};

static struct route_entry *route_entry(struct worker *w, int64_t tenant_id, struct str model)
{
    char key[320];
    int n = snprintf(key, sizeof key, "%lld/%.*s", (long long)tenant_id, STR_FMT(model));
    if (n < 0 || (size_t)n >= sizeof key)
        return NULL;
    struct route_entry *e = map_get(&w->routes, str_make(key, (size_t)n));
    if (e)
        return e;
    e = mem_zalloc(sizeof *e + (size_t)n + 1);
    if (!e)
        return NULL;
    memcpy(e->key, key, (size_t)n);
    if (map_put(&w->routes, str_make(e->key, (size_t)n), e)) {
        mem_free(e);
        return NULL;
    }
    return e;
}

struct balance_state *worker_balance_state(struct worker *w, int64_t tenant_id, struct str model)
{
    struct route_entry *e = route_entry(w, tenant_id, model);
    return e ? &e->state : NULL;
}

struct hedge_share *worker_hedge_share(struct worker *w, int64_t tenant_id, struct str model)
{
    struct route_entry *e = route_entry(w, tenant_id, model);
    return e ? &e->share : NULL;
}

static void release_map(struct map *m)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value))
        mem_free(value);
    map_release(m);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

struct publish {
    struct message m;
    struct worker *to;
    struct snapshot *snapshot;
};

static void on_publish(struct message *m)
{
    struct publish *p = (struct publish *)m;
    snapshot_unref(&p->to->snapshot);
    p->to->snapshot = p->snapshot;
    resolve_forget(p->to);
    mem_free(p);
}

void gateway_publish(struct gateway *g, struct snapshot *snapshot)
{
    for (unsigned i = 0; i < g->settings.workers; i++) {
        struct publish *p = mem_must(sizeof *p);
        *p = (struct publish){.m.run = on_publish, .to = g->workers[i]};
        p->snapshot = snapshot_ref(snapshot);
        loop_post(g->workers[i]->loop, &p->m);
    }
    snapshot_unref(&snapshot);
}

/* ---- rules ---------------------------------------------------------------------------------- */

static struct http_server_limits server_limits(const struct gateway_settings *s)
{
    return (struct http_server_limits){.body_max_bytes = s->max_body_bytes,
                                       .head_ms = s->head_ms,
                                       .idle_ms = s->idle_ms,
                                       .body_stall_ms = s->body_stall_ms,
                                       .body_min_bytes_per_s = s->body_min_bytes_per_s,
                                       .write_stall_ms = s->write_stall_ms,
                                       .linger_ms = s->linger_ms};
}

struct renew {
    struct message m;
    struct worker *to;
    struct rules *rules;
};

/* Connections that are open keep the certificate that they were opened with. */
static void on_renew(struct message *m)
{
    struct renew *n = (struct renew *)m;
    struct worker *w = n->to;
    rules_unref(&w->rules);
    w->rules = n->rules;
    w->settings = n->rules->settings;
    w->guard = n->rules->guard;
    w->metrics_allow = n->rules->metrics_allow;
    w->browser = n->rules->browser;
    w->server.limits = server_limits(&w->settings);
    w->server.tls = n->rules->server_tls;
    w->client.pool_idle_ms = w->settings.pool_idle_ms;
    w->client.warm_n = w->settings.upstream_warm;
    mem_free(n);
}

void gateway_reload(struct gateway *g, struct rules *rules)
{
    for (unsigned i = 0; i < g->settings.workers; i++) {
        struct renew *n = mem_must(sizeof *n);
        *n = (struct renew){.m.run = on_renew, .to = g->workers[i], .rules = rules_ref(rules)};
        loop_post(g->workers[i]->loop, &n->m);
    }
    rules_unref(&rules);
}

/* ---- start ------------------------------------------------------------------------------------
 */

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    log_thread_init(loop_name(w->loop));
    pthread_setname_np(pthread_self(), loop_name(w->loop));
    mem_fail_listen();
    loop_run(w->loop);
    scratch_release();
    arena_release_spares();
    log_thread_release();
    return NULL;
}

uint64_t gateway_memory_used(const struct gateway *g)
{
    uint64_t used = 0;
    for (unsigned i = 0; i < g->settings.workers; i++)
        used += atomic_load_explicit(&g->workers[i]->body_bytes, memory_order_relaxed) +
                atomic_load_explicit(&g->workers[i]->unsent_bytes, memory_order_relaxed);
    return used;
}

bool gateway_memory_full(const struct gateway *g)
{
    return gateway_memory_used(g) > g->settings.memory_budget_bytes;
}

/* All of the budget is taken: one who is slow to take an answer does not get the rest of it. */
static bool is_full(struct http_server *s)
{
    struct worker *w = s->user;
    if (!gateway_memory_full(w->gateway))
        return false;
    counter_add(&w->metrics.unsent_dropped, 1);
    return true;
}

static void init_server(struct worker *w)
{
    w->server = (struct http_server){
        .loop = w->loop,
        .service = &gateway_service,
        .limits = server_limits(&w->settings),
        .tls = w->gateway->server_tls,
        .connections = &w->connections,
        .unsent_bytes = &w->unsent_bytes,
        .full = is_full,
        .user = w,
    };
}

enum err worker_new(struct gateway *g, unsigned index, struct snapshot *snapshot,
                    struct err_info *info)
{
    char name[16];
    struct worker *w = mem_zalloc(sizeof *w);
    if (!w)
        return ERR_NOMEM;
    snprintf(name, sizeof name, "lyss-w%u", index);
    w->gateway = g;
    w->index = index;
    w->settings = g->settings;
    w->guard = g->guard;
    w->metrics_allow = g->metrics_allow;
    w->browser = g->browser;
    w->loop = loop_new(name);
    map_init(&w->origins, ORIGINS_MAX);
    map_init(&w->routes, ROUTES_MAX);
    w->snapshot = snapshot_ref(snapshot);
    w->ring = journal_ring(g->journal, index);
    apikey_hasher_init(&w->hasher, g->pepper);
    g->workers[index] = w;
    struct dns_options o = {
        .servers = g->dns_servers, .timeout_ms = g->settings.dns_ms, .hosts = g->hosts};
    w->idem = idem_shard_new(w);
    w->recall = recall_shard_new(w);
    enum err e = w->loop && w->idem && w->recall ? dns_new(&w->dns, w->loop, &o, info) : ERR_NOMEM;
    if (e)
        return e;
    init_server(w);
    hold_init(w);
    http_client_init(&w->client, w->loop, w->dns, &w->guard, g->settings.pool_idle_ms);
    w->client.warm_n = g->settings.upstream_warm;
    w->client.open_all = &g->upstream_open;
    w->client.connects_all = &g->upstream_connects;
    return ERR_OK;
}

enum err worker_start(struct worker *w, int listen_fd, struct err_info *info)
{
    w->listener.starved = on_starved;
    enum err e = tcp_listen(&w->listener, w->loop, listen_fd, on_accepted);
    if (e)
        return err_set(info, e, "the listener cannot be watched");
    if (pthread_create(&w->thread, NULL, worker_main, w))
        return err_set(info, ERR_NOMEM, "no thread for worker %u", w->index);
    return ERR_OK;
}

/* ---- stop ---------------------------------------------------------------------------------------
 */

struct stop {
    struct message m;
    struct worker *worker;
};

/* One whose body is being parsed stays, to be freed by the step that is on its way. */
static void end_requests(struct worker *w)
{
    for (struct request *r = w->requests, *next; r; r = next) {
        next = r->next;
        relay_shutdown(r);
    }
}

static void finish_stop(struct worker *w)
{
    end_requests(w);
    checker_free(&w->checker);
    hold_stop(w);
    http_client_release(&w->client);
    dns_close(&w->dns);
    loop_stop(w->loop);
}

static void on_stop_deadline(struct deadline *d)
{
    finish_stop((struct worker *)((char *)d - offsetof(struct worker, stop_deadline)));
}

#define STOP_LOOK_MS 20

static void on_stop_look(struct deadline *d)
{
    struct worker *w = (struct worker *)((char *)d - offsetof(struct worker, stop_deadline));
    uint64_t now_ms = loop_now_ms(w->loop);
    if (!w->server.count || now_ms >= w->stop_by_ms)
        on_stop_deadline(d);
    else
        deadline_set(w->loop, d, now_ms + STOP_LOOK_MS, on_stop_look);
}

static void on_stop(struct message *m)
{
    struct worker *w = ((struct stop *)m)->worker;
    mem_free(m);
    w->stopping = true;
    tcp_listener_close(&w->listener);
    http_server_close_unserved(&w->server);
    if (w->local)
        local_server_stop(w->local);
    end_requests(w);
    w->stop_by_ms = loop_now_ms(w->loop) + w->settings.stop_ms;
    deadline_set(w->loop, &w->stop_deadline, loop_now_ms(w->loop) + STOP_LOOK_MS, on_stop_look);
}

/* Runs what is in its mailbox, too. */
static void worker_close(struct worker *w)
{
    http_server_release(&w->server);
    local_server_free(&w->local);
    if (w->demo)
        demo_close(&w->demo);
    loop_free(&w->loop);
}

static void worker_free(struct worker *w)
{
    idem_shard_free(&w->idem);
    recall_shard_free(&w->recall);
    snapshot_unref(&w->snapshot);
    rules_unref(&w->rules);
    release_map(&w->origins);
    release_map(&w->routes);
    request_release_spares(w);
    mem_free(w);
}

void gateway_stop(struct gateway *g)
{
    atomic_store(&g->ready, false);
    for (unsigned i = 0; i < g->settings.workers; i++) {
        struct stop *s = mem_must(sizeof *s);
        *s = (struct stop){.m.run = on_stop, .worker = g->workers[i]};
        loop_post(g->workers[i]->loop, &s->m);
    }
    for (unsigned i = 0; i < g->settings.workers; i++)
        pthread_join(g->workers[i]->thread, NULL);
    g->stopped = true;
    for (unsigned i = 0; i < g->settings.workers; i++)
        worker_close(g->workers[i]);
    for (unsigned i = 0; i < g->settings.workers; i++)
        worker_free(g->workers[i]);
}
