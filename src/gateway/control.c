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
#include "gateway/catalogues.h"
#include "gateway/demo/demo.h"
#include "gateway/local/local_server.h"
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
    struct snapshot *snapshot; /* the newest built; the store thread's */
    struct catalogues models;
    struct rules *first; /* of the start: workers lend from them until they get others */
    struct rules *rules; /* the newest; the store thread's once it runs */
    struct settings_source source;
    struct store_job reload;
    _Atomic bool reload_asked;
    _Atomic uint32_t drain_ms;
    int lock_fd;
    char data_dir[DATADIR_PATH_MAX], url[300], dns_servers[1024];
    struct beat beats[WORKERS_MAX];
};

/* ---- settings --------------------------------------------------------------------- */

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

static enum journal_full journal_policy(const struct config *c)
{
    return c->journal_full == CONFIG_JOURNAL_FULL_OPEN ? JOURNAL_OPEN : JOURNAL_CLOSED;
}

static enum err start_journal(struct control *c, struct err_info *info)
{
    const struct config *config = &c->rules->config;
    struct journal_options o = {
        .data_dir = c->data_dir,
        .workers = c->gateway.settings.workers,
        .max_bytes = (uint64_t)config->journal_max_bytes,
        .sync = config->journal_sync == CONFIG_JOURNAL_SYNC_ALWAYS ? JOURNAL_SYNC_ALWAYS
                                                                   : JOURNAL_SYNC_INTERVAL,
        .full = journal_policy(config),
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
    str_copy(file, sizeof file, c->rules->config.upstream_ca_file);
    enum err e = tls_client_context_new(&t, file[0] ? file : NULL,
                                        c->rules->config.upstream_tls_verify, info);
    if (!e)
        atomic_store_explicit(&g->client_tls, t, memory_order_release);
    return e;
}

static bool same_timers(const struct gateway_settings *a, const struct gateway_settings *b)
{
    return a->connect_ms == b->connect_ms && a->ttft_ms == b->ttft_ms &&
           a->chunk_ms == b->chunk_ms && a->total_ms == b->total_ms;
}

/* By these rules, which may be the next ones. */
static enum err build(struct control *c, const struct rules *rules,
                      const struct model_catalogue *catalogue, struct sql *db,
                      struct snapshot **out, struct err_info *info)
{
    const struct gateway_settings *s = &rules->settings;
    struct snapshot_source from = {
        .db = db,
        .vault = c->vault,
        .cells = c->gateway.cells,
        .connect_ms = s->connect_ms,
        .ttft_ms = s->ttft_ms,
        .chunk_ms = s->chunk_ms,
        .total_ms = s->total_ms,
        .demo = c->gateway.settings.demo,
        .catalogue = catalogue,
        .last = same_timers(s, &c->rules->settings) ? c->snapshot : NULL,
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
    enum err e = build(c, c->rules, c->gateway.catalogue, db, &next, &info);
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

static enum err load_models(struct control *c, const struct rules *rules,
                            const struct model_catalogue **out, struct err_info *info)
{
    char path[4096];
    str_copy(path, sizeof path, rules->config.models_file);
    return catalogues_open(&c->models, path, out, info);
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
    struct str listen = c->rules->config.listen;
    if (!config_split_address(listen, &ip, &port) || !addr_parse(ip, port, &at))
        return err_set(info, ERR_INVALID, "listen: '%.*s' is not an address and a port",
                       STR_FMT(listen));
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
    if (!e)
        g->workers[0]->local = local_server_new(g->workers[0], c->data_dir);
    for (unsigned i = 0; i < g->settings.workers && !e; i++)
        e = worker_start(g->workers[i], fds[i], info);
    return e;
}

/* The rules of the start. */
static void take_rules(struct control *c, bool demo)
{
    struct gateway *g = &c->gateway;
    c->rules->settings.demo = demo; /* nobody else has them yet */
    g->settings = c->rules->settings;
    g->guard = c->rules->guard;
    g->metrics_allow = c->rules->metrics_allow;
    g->browser = c->rules->browser;
    g->server_tls = c->rules->server_tls;
    c->first = rules_ref(c->rules);
    atomic_store(&c->drain_ms, g->settings.drain_ms);
}

static enum err start_all(struct control *c, const struct control_options *o, struct err_info *info)
{
    struct gateway *g = &c->gateway;
    struct snapshot *first;
    take_rules(c, o->demo);
    g->idem_budget.max_bytes = (uint64_t)c->rules->config.idempotency_bytes;
    g->recall_budget.max_bytes = (uint64_t)c->rules->config.recall_bytes;
    g->demo_open = o->demo ? open_demo : NULL;
    g->pepper = vault_pepper(o->vault);
    g->started_ms = clock_wall_ms();
    g->hosts = dns_hosts_new("/etc/hosts");
    config_join(&c->rules->config.dns_servers, c->dns_servers, sizeof c->dns_servers);
    g->dns_servers = c->dns_servers[0] ? c->dns_servers : NULL;
    g->cells = cells_new();
    enum err e = g->cells && g->hosts ? ERR_OK : ERR_NOMEM;
    const struct model_catalogue *models = NULL;
    if (!e)
        e = load_models(c, c->rules, &models, info);
    g->catalogue = models;
    if (!e)
        e = build(c, c->rules, c->gateway.catalogue, o->db, &first, info);
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

static void on_minute(void *arg, struct sql *db)
{
    cells_write_keys(((struct control *)arg)->gateway.cells, db);
}

static enum err start_store(struct control *c, struct sql *db, struct err_info *info)
{
    struct store_options o = {
        .watch_ms = WATCH_MS,
        .changed = on_changed,
        .health = on_health,
        .each_minute = on_minute,
        .arg = c,
    };
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
    c->lock_fd = -1;
    *out = c;
    str_copy(c->data_dir, sizeof c->data_dir, config->data_dir);
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
    c->source = o->source;
    enum err e = rules_new(&c->rules, o->config, info);
    if (!e)
        e = start_all(c, o, info);
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

/* ---- reload ------------------------------------------------------------------------------- */

/* Settings that take a restart stay what they were. */
static enum err keep_fixed(const struct config *old, struct config *next, struct err_info *info)
{
    struct buf was, is;
    enum err e = ERR_OK;
    buf_init(&was, 65536);
    buf_init(&is, 65536);
    for (int i = 0; i < CONFIG_COUNT && !e; i++) {
        const struct config_setting *s = &config_settings[i];
        if (s->flags & CONFIG_RELOAD || s->type == CONFIG_SECRET)
            continue;
        buf_reset(&was);
        buf_reset(&is);
        config_show(old, (enum config_id)i, &was);
        config_show(next, (enum config_id)i, &is);
        if (str_eq(buf_view(&was), buf_view(&is)))
            continue;
        log_event(LOG_WARN, "settings.restart_needed", LOG_CSTR("setting", s->name),
                  LOG_STR("stays", buf_view(&was)));
        e = config_set(next, (enum config_id)i, buf_view(&was), SOURCE_DEFAULT, "reload", info);
    }
    buf_release(&was);
    buf_release(&is);
    return e;
}

static enum err next_rules(struct control *c, struct rules **out, struct err_info *info)
{
    const struct gateway_settings *start = &c->gateway.settings;
    struct config next;
    enum err e = c->source.load(c->source.arg, &next, info);
    if (e)
        return e;
    e = keep_fixed(&c->rules->config, &next, info);
    if (e) {
        config_release(&next);
        return e;
    }
    e = rules_new(out, &next, info);
    if (e)
        return e;
    (*out)->settings.workers = start->workers;
    (*out)->settings.demo = start->demo;
    if (!(*out)->server_tls == !c->rules->server_tls)
        return ERR_OK;
    rules_unref(out);
    return err_set(info, ERR_INVALID,
                   "tls_cert_file: HTTPS cannot be turned on or off while Lyss serves; restart it");
}

/* Prices are in the ledger before the first row that was costed by them. */
static enum err next_models(struct control *c, const struct rules *rules,
                            const struct model_catalogue **out, struct err_info *info)
{
    struct sql *ledger;
    enum err e = load_models(c, rules, out, info);
    if (e || *out == c->gateway.catalogue)
        return e;
    e = datadir_open_ledger(c->data_dir, &ledger, info);
    if (e)
        return e;
    e = repo_price_keep(ledger, *out, info);
    sql_close(&ledger);
    return e;
}

/* On the store thread. Everything is made before anything is changed. */
static void on_reload(struct store_job *job, struct sql *db)
{
    struct control *c = (struct control *)((char *)job - offsetof(struct control, reload));
    struct err_info info;
    struct rules *rules = NULL;
    struct snapshot *snapshot;
    const struct model_catalogue *models;
    err_info_init(&info);
    atomic_store(&c->reload_asked, false);
    enum err e = next_rules(c, &rules, &info);
    if (!e)
        e = next_models(c, rules, &models, &info);
    if (!e)
        e = build(c, rules, models, db, &snapshot, &info);
    if (e) {
        rules_unref(&rules);
        log_event(LOG_ERROR, "settings.refused",
                  LOG_CSTR("reason", info.text[0] ? info.text : err_text(e)));
        return;
    }
    const struct config *config = &rules->config;
    log_set_level((enum log_level)config->log_level);
    atomic_store(&c->drain_ms, rules->settings.drain_ms);
    journal_set_full(c->gateway.journal, journal_policy(config));
    rules_unref(&c->rules);
    c->rules = rules_ref(rules);
    atomic_store(&c->gateway.catalogue, models);
    gateway_reload(&c->gateway, rules);
    gateway_publish(&c->gateway, snapshot);
    log_event(LOG_INFO, "settings.reloaded", LOG_I64("rev", c->snapshot->rev));
}

static void ask_reload(struct control *c)
{
    c->reload.run = on_reload;
    if (atomic_exchange(&c->reload_asked, true))
        return; /* it has not been looked at yet */
    if (store_submit(c->store, &c->reload)) {
        atomic_store(&c->reload_asked, false);
        log_event(LOG_ERROR, "settings.refused",
                  LOG_CSTR("reason", "the store is busy; try again"));
    }
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
    uint32_t timeout_ms = atomic_load(&c->drain_ms);
    struct drain d;
    atomic_store(&c->gateway.ready, false);
    if (!timeout_ms)
        return;
    drain_start(&d, &c->gateway, clock_mono_ms(), timeout_ms);
    while (!drain_step(&d, clock_mono_ms()))
        if (is_end(next_signal(DRAIN_LOOK_MS))) {
            log_event(LOG_WARN, "server.stopping_at_once");
            return;
        }
}

void control_run(struct control *c)
{
    int got = 0;
    while (!is_end(got)) {
        look_at_loops(c);
        got = next_signal(WATCH_MS);
        if (got == SIGHUP)
            ask_reload(c);
    }
    log_event(LOG_INFO, "server.stopping", LOG_CSTR("signal", strsignal(got)),
              LOG_I64("drain_timeout_ms", atomic_load(&c->drain_ms)));
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
    catalogues_release(&c->models);
    cells_free(&c->gateway.cells);
    dns_hosts_free(&c->gateway.hosts);
    struct tls_context *t = atomic_load(&c->gateway.client_tls);
    tls_context_unref(&t);
    rules_unref(&c->rules);
    rules_unref(&c->first);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    mem_free(c);
}
