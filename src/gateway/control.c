/* control: puts the process together and takes it apart. The store thread watches the
 * configuration's revision and builds snapshots; the main thread waits for signals and looks after
 * the loops. */
#include "gateway/control.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "gateway/demo.h"
#include "gateway/snapshot_build.h"
#include "store/datadir.h"
#include "store/repo_price.h"
#include "store/store.h"

#define WATCH_MS      250
#define SILENT_MS     2000
#define DRAIN_LOOK_MS 20
#define HEAP_MMAP_MIN (4 << 20)
#define HEAP_TRIM_MIN (16 << 20)

struct beat {
    struct message m;
    _Atomic bool answered;
    uint64_t sent_ms;
};

struct control {
    struct gateway gateway;
    struct store *store;
    struct vault *vault;
    struct snapshot *snapshot;      /* the newest built; the store thread's */
    struct model_catalogue *models; /* with models_file; NULL: only what is built in */
    const struct config *config;
    int lock_fd;
    char data_dir[DATADIR_PATH_MAX], url[300], dns_servers[1024];
    struct beat beats[WORKERS_MAX];
};

/* ---- settings --------------------------------------------------------------------- */

static void take_settings(struct gateway_settings *s, const struct config *c)
{
    static const char *const environments[] = {"development", "staging", "production"};
    *s = (struct gateway_settings){
        .workers = config_workers(c),
        .max_body_bytes = (uint64_t)c->max_body_bytes,
        .max_held_bytes = (uint64_t)c->max_held_response_bytes,
        .memory_budget_bytes = (uint64_t)config_memory_budget_bytes(c),
        .head_ms = (uint32_t)c->head_timeout_ms,
        .idle_ms = (uint32_t)c->keepalive_idle_ms,
        .body_stall_ms = (uint32_t)c->body_stall_ms,
        .body_min_bytes_per_s = (uint32_t)c->body_min_bytes_per_s,
        .write_stall_ms = (uint32_t)c->write_stall_ms,
        .linger_ms = (uint32_t)c->linger_ms,
        .dns_ms = (uint32_t)c->dns_timeout_ms,
        .connect_ms = (uint32_t)c->connect_timeout_ms,
        .ttft_ms = (uint32_t)c->ttft_timeout_ms,
        .chunk_ms = (uint32_t)c->chunk_timeout_ms,
        .total_ms = (uint32_t)c->total_timeout_ms,
        .ping_ms = (uint32_t)c->ping_ms,
        .pool_idle_ms = (uint32_t)c->pool_idle_ms,
        .attempts_max = (uint32_t)c->attempts_max,
        .retry_wall_ms = (uint32_t)c->retry_wall_ms,
        .retry_backoff_ms = (uint32_t)c->retry_backoff_ms,
        .idempotency_ms = (uint32_t)c->idempotency_ms,
        .health_interval_ms = (uint32_t)c->health_interval_ms,
        .health_timeout_ms = (uint32_t)c->health_timeout_ms,
        .stop_ms = (uint32_t)c->stop_timeout_ms,
        .reserve_output_default = (uint32_t)c->reserve_output_default,
        .log_requests = c->log_requests == LOG_REQUESTS_ALL,
        .log_errors = c->log_requests == LOG_REQUESTS_ERRORS,
        .environment = environments[c->environment],
    };
    if (s->workers > WORKERS_MAX)
        s->workers = WORKERS_MAX;
}

static enum err take_networks(const struct config_list *list, struct cidr_list *out,
                              struct err_info *info)
{
    char text[4096];
    return cidr_list_parse(config_join(list, text, sizeof text), out, info);
}

/* Inbound and upstream connections share one budget of descriptors: all there are. */
static void raise_limits(void)
{
    struct rlimit r;
    if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    /* Bodies come and go at every request: keep their memory rather than give it back each time. */
    mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_MIN);
    mallopt(M_TRIM_THRESHOLD, HEAP_TRIM_MIN);
}

/* ---- the data directory --------------------------------------------------------------- */

static enum err lock_directory(struct control *c, struct err_info *info)
{
    char path[DATADIR_PATH_MAX];
    str_copy(c->data_dir, sizeof c->data_dir, c->config->data_dir);
    enum err e = datadir_path(c->data_dir, "serve.lock", path, info);
    if (e)
        return e;
    c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock_fd < 0)
        return err_set(info, ERR_IO, "%s: %s", path, strerror(errno));
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB))
        return err_set(info, ERR_CONFLICT,
                       "another lyss serves this data directory (%s is locked); stop it first, or "
                       "give another --data",
                       path);
    return ERR_OK;
}

/* The prices that rows refer to are there before the rows. */
static enum err open_ledger(void *ctx, struct sql **out, struct err_info *info)
{
    struct control *c = ctx;
    enum err e = datadir_open_ledger(c->data_dir, out, info);
    if (!e && (e = repo_price_keep(*out, c->gateway.catalogue, info)))
        sql_close(out);
    return e;
}

static enum err start_journal(struct control *c, struct err_info *info)
{
    struct journal_options o = {
        .data_dir = c->data_dir,
        .workers = c->gateway.settings.workers,
        .max_bytes = (uint64_t)c->config->journal_max_bytes,
        .sync = c->config->journal_sync == CONFIG_JOURNAL_SYNC_ALWAYS ? JOURNAL_SYNC_ALWAYS
                                                                      : JOURNAL_SYNC_INTERVAL,
        .full = c->config->journal_full == CONFIG_JOURNAL_FULL_OPEN ? JOURNAL_OPEN : JOURNAL_CLOSED,
        .open_sql = open_ledger,
        .open_ctx = c,
    };
    return journal_start(&c->gateway.journal, &o, info);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

/* Trust is loaded when the first https channel appears, here, because it reads files. */
static enum err load_trust(struct control *c, const struct snapshot *s, struct err_info *info)
{
    struct gateway *g = &c->gateway;
    bool https = false;
    for (unsigned i = 0; i < s->channels_n; i++)
        https |= s->channels[i]->url.https;
    if (!https || atomic_load(&g->client_tls))
        return ERR_OK;
    struct tls_context *t;
    char file[4096];
    str_copy(file, sizeof file, c->config->upstream_ca_file);
    enum err e =
        tls_client_context_new(&t, file[0] ? file : NULL, c->config->upstream_tls_verify, info);
    if (!e)
        atomic_store_explicit(&g->client_tls, t, memory_order_release);
    return e;
}

static enum err build(struct control *c, struct sql *db, struct snapshot **out,
                      struct err_info *info)
{
    const struct gateway_settings *s = &c->gateway.settings;
    struct snapshot_source from = {
        .db = db,
        .vault = c->vault,
        .cells = c->gateway.cells,
        .connect_ms = s->connect_ms,
        .ttft_ms = s->ttft_ms,
        .chunk_ms = s->chunk_ms,
        .total_ms = s->total_ms,
        .demo = s->demo,
        .catalogue = c->gateway.catalogue,
        .last = c->snapshot,
    };
    struct snapshot *next;
    enum err e = snapshot_build(&from, &next, info);
    if (!e && (e = load_trust(c, next, info)))
        snapshot_unref(&next);
    if (e)
        return e;
    snapshot_unref(&c->snapshot);
    c->snapshot = next;
    *out = snapshot_ref(next);
    return ERR_OK;
}

/* On the store thread. */
static void on_changed(void *arg, struct sql *db, int64_t rev)
{
    struct control *c = arg;
    struct err_info info;
    struct snapshot *next;
    err_info_init(&info);
    if (rev == c->snapshot->rev)
        return;
    enum err e = build(c, db, &next, &info);
    if (!e) {
        gateway_publish(&c->gateway, next);
        log_event(LOG_INFO, "config.applied", LOG_I64("rev", rev));
    } else {
        log_event(LOG_ERROR, "config.refused", LOG_I64("rev", rev),
                  LOG_CSTR("reason", info.text[0] ? info.text : err_text(e)));
    }
}

static void on_health(void *arg, enum err e)
{
    struct control *c = arg;
    atomic_store(&c->gateway.database_ok, !e);
    log_event(e ? LOG_ERROR : LOG_INFO, "database.health", LOG_BOOL("ok", !e));
}

/* ---- looking after the loops
 * --------------------------------------------------------------------- */

static void on_beat(struct message *m)
{
    atomic_store(&((struct beat *)m)->answered, true);
}

static void look_at_loops(struct control *c)
{
    uint64_t now_ms = clock_mono_ms();
    bool all = true;
    for (unsigned i = 0; i < c->gateway.settings.workers; i++) {
        struct beat *b = &c->beats[i];
        if (!atomic_load(&b->answered)) {
            if (now_ms - b->sent_ms > SILENT_MS) {
                all = false;
                if (atomic_load(&c->gateway.ready))
                    log_event(LOG_ERROR, "loop.silent", LOG_I64("worker", i));
            }
            continue;
        }
        atomic_store(&b->answered, false);
        b->sent_ms = now_ms;
        b->m.run = on_beat;
        loop_post(c->gateway.workers[i]->loop, &b->m);
    }
    atomic_store(&c->gateway.ready, all);
}

static enum err load_models(struct control *c, struct err_info *info)
{
    char path[4096];
    str_copy(path, sizeof path, c->config->models_file);
    enum err e = path[0] ? model_catalogue_open(&c->models, path, info) : ERR_OK;
    c->gateway.catalogue = c->models ? c->models : model_catalogue_builtin();
    return e;
}

/* ---- start
 * ------------------------------------------------------------------------------------------ */

static enum err listen_all(struct control *c, int fds[], struct err_info *info)
{
    struct addr at;
    char text[ADDR_TEXT_MAX];
    struct gateway *g = &c->gateway;
    struct str ip;
    uint16_t port;
    if (!config_split_address(c->config->listen, &ip, &port) || !addr_parse(ip, port, &at))
        return err_set(info, ERR_INVALID, "listen: '%.*s' is not an address and a port",
                       STR_FMT(c->config->listen));
    /* Without SO_REUSEPORT first: a second process would otherwise take half the calls in silence.
     */
    int probe = at.port ? tcp_bind(&at, false, info) : -1;
    if (at.port && probe < 0) {
        char why[200];
        str_copy(why, sizeof why, str_c(info->text));
        return err_set(info, ERR_IO, "cannot listen on %s: %s", addr_format(&at, text), why);
    }
    if (probe >= 0)
        close(probe);
    for (unsigned i = 0; i < g->settings.workers; i++) {
        fds[i] = tcp_bind(&at, true, info);
        if (fds[i] < 0)
            return ERR_IO;
        if (i == 0 && tcp_bound(fds[0], &at))
            return err_set(info, ERR_IO, "the listening address cannot be read");
    }
    snprintf(c->url, sizeof c->url, "%s://%s", g->server_tls ? "https" : "http",
             addr_format(&at, text));
    return ERR_OK;
}

static int open_demo(void *worker)
{
    struct worker *w = worker;
    return demo_open(w->demo);
}

static enum err start_workers(struct control *c, struct err_info *info)
{
    struct gateway *g = &c->gateway;
    int fds[WORKERS_MAX];
    enum err e = listen_all(c, fds, info);
    for (unsigned i = 0; i < g->settings.workers && !e; i++) {
        e = worker_new(g, i, c->snapshot, info);
        if (!e && g->settings.demo)
            e = demo_new(&g->workers[i]->demo, g->workers[i]->loop);
        atomic_init(&c->beats[i].answered, true);
    }
    if (!e && !(g->workers[0]->checker = checker_new(g->workers[0])))
        e = ERR_NOMEM;
    for (unsigned i = 0; i < g->settings.workers && !e; i++)
        e = worker_start(g->workers[i], fds[i], info);
    return e;
}

static enum err start_all(struct control *c, const struct control_options *o, struct err_info *info)
{
    struct gateway *g = &c->gateway;
    const struct config *cfg = c->config;
    struct snapshot *first;
    take_settings(&g->settings, cfg);
    g->idem_budget.max_bytes = (uint64_t)cfg->idempotency_bytes;
    g->settings.demo = o->demo;
    g->demo_open = o->demo ? open_demo : NULL;
    g->browser =
        (struct browser_rules){.hosts = cfg->trusted_hosts.items,
                               .hosts_n = cfg->trusted_hosts.n,
                               .origins = cfg->cors_origins.items,
                               .origins_n = cfg->cors_origins.n,
                               .any_localhost = cfg->environment == ENVIRONMENT_DEVELOPMENT};
    g->pepper = vault_pepper(o->vault);
    g->started_ms = clock_wall_ms();
    g->hosts = dns_hosts_new("/etc/hosts");
    config_join(&cfg->dns_servers, c->dns_servers, sizeof c->dns_servers);
    g->dns_servers = c->dns_servers[0] ? c->dns_servers : NULL;
    g->cells = cells_new();
    enum err e = g->cells && g->hosts ? ERR_OK : ERR_NOMEM;
    if (!e)
        e = load_models(c, info);
    if (!e)
        e = take_networks(&cfg->upstream_allow, &g->guard.allow, info);
    if (!e)
        e = take_networks(&cfg->metrics_allow, &g->metrics_allow, info);
    if (!e && cfg->tls_cert_file.n)
        e = tls_server_context_new(&g->server_tls, cfg->tls_cert_file.p, cfg->tls_key_file.p, info);
    if (!e)
        e = build(c, o->db, &first, info);
    if (e)
        return e;
    snapshot_unref(&first);
    e = start_journal(c, info);
    if (!e)
        e = start_workers(c, info);
    if (e)
        return e;
    atomic_store(&g->ready, true);
    atomic_store(&g->database_ok, true);
    return ERR_OK;
}

static enum err start_store(struct control *c, struct sql *db, struct err_info *info)
{
    struct store_options o = {
        .watch_ms = WATCH_MS, .changed = on_changed, .health = on_health, .arg = c};
    return store_open(&c->store, db, &o, info);
}

static void signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

enum err control_new(struct control **out, const struct config *config, struct err_info *info)
{
    struct control *c = mem_must(sizeof *c);
    c->config = config;
    c->lock_fd = -1;
    *out = c;
    return lock_directory(c, info);
}

enum err control_start(struct control *c, const struct control_options *o, struct err_info *info)
{
    sigset_t set;
    signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the first thread, so that all inherit it */
    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    c->vault = o->vault;
    struct sql *db = o->db;
    enum err e = start_all(c, o, info);
    if (e)
        sql_close(&db);
    else
        e = start_store(c, db, info);
    return e;
}

const char *control_url(const struct control *c)
{
    return c->url;
}

/* ---- stop
 * -------------------------------------------------------------------------------------------- */

/* The signal that came within the time; 0: none. */
static int next_signal(unsigned ms)
{
    sigset_t set;
    struct timespec wait = {.tv_nsec = ms * 1000000L};
    signals(&set);
    int got = sigtimedwait(&set, NULL, &wait);
    return got < 0 ? 0 : got;
}

static bool is_end(int signal)
{
    return signal == SIGTERM || signal == SIGINT;
}

/* What is under way gets its time, unless somebody asks a second time. */
static void drain(struct control *c)
{
    int64_t timeout_ms = c->config->drain_timeout_ms;
    struct drain d;
    atomic_store(&c->gateway.ready, false);
    if (!timeout_ms)
        return;
    drain_start(&d, &c->gateway, clock_mono_ms(), (uint64_t)timeout_ms);
    while (!drain_step(&d, clock_mono_ms()))
        if (is_end(next_signal(DRAIN_LOOK_MS))) {
            log_event(LOG_WARN, "server.stopping_at_once");
            return;
        }
}

void control_run(struct control *c)
{
    int got;
    do
        look_at_loops(c);
    while (!is_end(got = next_signal(WATCH_MS)));
    log_event(LOG_INFO, "server.stopping", LOG_CSTR("signal", strsignal(got)),
              LOG_I64("drain_timeout_ms", c->config->drain_timeout_ms));
    drain(c);
    sql_hurry(true);
    store_close(&c->store);
    gateway_stop(&c->gateway);
    journal_stop(&c->gateway.journal);
    log_event(LOG_INFO, "server.stopped");
}

void control_free(struct control **cp)
{
    struct control *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    if (c->gateway.journal)
        journal_stop(&c->gateway.journal);
    snapshot_unref(&c->snapshot);
    model_catalogue_free(&c->models);
    cells_free(&c->gateway.cells);
    dns_hosts_free(&c->gateway.hosts);
    struct tls_context *t = atomic_load(&c->gateway.client_tls);
    tls_context_unref(&t);
    tls_context_unref(&c->gateway.server_tls);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    mem_free(c);
}
