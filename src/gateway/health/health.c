/* health: the checker's rounds, and the judgement of a channel. */
#include "gateway/health/health.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "gateway/health/probe.h"
#include "gateway/worker.h"

#define ROUND_MS         1000
#define INTERVAL_DEFAULT 60000
#define CALLS_ENOUGH     0.5 /* decayed calls that live traffic must have left to be believed */
#define HEALTHY          0.95
#define UNHEALTHY        0.8

/* ---- history and times ------------------------------------------------------------------ */

void health_history_add(struct health_history *h, const struct health_entry *e)
{
    uint32_t n = atomic_load_explicit(&h->n, memory_order_relaxed);
    uint64_t ms = e->ms < 0xFFFFFF ? e->ms : 0xFFFFFF;
    atomic_store_explicit(&h->entries[n % HEALTH_HISTORY],
                          (uint64_t)e->kind << 56 | ms << 32 | (uint32_t)e->wall_s,
                          memory_order_relaxed);
    atomic_store_explicit(&h->n, n + 1, memory_order_release);
}

bool health_history_get(const struct health_history *h, unsigned i, struct health_entry *out)
{
    struct health_history *m = (struct health_history *)(uintptr_t)h;
    uint32_t n = atomic_load_explicit(&m->n, memory_order_acquire);
    if (i >= n || i >= HEALTH_HISTORY)
        return false;
    uint64_t v =
        atomic_load_explicit(&m->entries[(n - 1 - i) % HEALTH_HISTORY], memory_order_relaxed);
    *out = (struct health_entry){(uint8_t)(v >> 56), v >> 32 & 0xFFFFFF, (int64_t)(uint32_t)v};
    return true;
}

static const uint64_t bounds_us[HEALTH_BUCKETS] = {
    10000,   25000,   50000,    100000,   250000,   500000,    1000000,
    2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 600000000};

void health_times_add(struct health_times *t, uint64_t us)
{
    unsigned i = 0;
    while (i < HEALTH_BUCKETS && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&t->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->sum_us, us, memory_order_relaxed);
}

void health_times_render(struct buf *b, const char *name, struct str channel,
                         const struct health_times *t)
{
    struct health_times *m = (struct health_times *)(uintptr_t)t;
    char line[96], le[24];
    uint64_t n = 0;
    snprintf(line, sizeof line, "%s_bucket", name);
    for (unsigned i = 0; i <= HEALTH_BUCKETS; i++) {
        n += atomic_load_explicit(&m->counts[i], memory_order_relaxed);
        if (i < HEALTH_BUCKETS)
            snprintf(le, sizeof le, "%g", (double)bounds_us[i] / 1e6);
        struct metrics_label l[] = {{"channel", channel},
                                    {"le", i < HEALTH_BUCKETS ? str_c(le) : STR("+Inf")}};
        metrics_text_u64(b, line, l, 2, n);
    }
    struct metrics_label l[] = {{"channel", channel}};
    snprintf(line, sizeof line, "%s_sum", name);
    metrics_text_f64(b, line, l, 1,
                     (double)atomic_load_explicit(&m->sum_us, memory_order_relaxed) / 1e6);
    snprintf(line, sizeof line, "%s_count", name);
    metrics_text_u64(b, line, l, 1, n);
}

/* ---- judgement ---------------------------------------------------------------------------- */

const char *health_name(enum health h)
{
    static const char *const names[] = {"none", "unknown", "healthy", "degraded", "unhealthy"};
    return names[h];
}

enum health health_of(const struct channel *ch, uint64_t now_ms, uint32_t interval_ms)
{
    uint64_t heard = 0, since = 2 * (uint64_t)(interval_ms ? interval_ms : INTERVAL_DEFAULT);
    unsigned shut = 0, failing = 0, checked = 0;
    for (unsigned i = 0; i < ch->credentials_n; i++) {
        struct credential_cell *c = ch->credentials[i].cell;
        uint64_t at = atomic_load_explicit(&c->heard_ms, memory_order_relaxed);
        uint32_t last = atomic_load_explicit(&c->last_check, memory_order_relaxed);
        heard = at > heard ? at : heard;
        shut += gate_shut(c, now_ms);
        checked += last > 0;
        failing += last > 0 && !probe_good((enum probe_kind)(last - 1));
    }
    if (!heard || now_ms - heard > since)
        return HEALTH_UNKNOWN;
    double success = vitals_success(&ch->cell->vitals, now_ms);
    if (checked && vitals_calls(&ch->cell->vitals, now_ms) < CALLS_ENOUGH)
        success = 1 - (double)failing / checked;
    if (success < UNHEALTHY || shut == ch->credentials_n)
        return HEALTH_UNHEALTHY;
    return success < HEALTHY || shut ? HEALTH_DEGRADED : HEALTH_HEALTHY;
}

/* ---- checks --------------------------------------------------------------------------------- */

struct check {
    struct probe probe; /* first */
    struct check *next, **prev;
    struct checker *checker;
    struct channel *channel; /* ref */
};

struct checker {
    struct worker *worker;
    struct deadline round;
    struct check *checks;
    unsigned n;
    uint32_t turn; /* tells the cells of channels that have gone */
};

static void check_free(struct check *c)
{
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->checker->n--;
    channel_unref(&c->channel);
    mem_free(c);
}

static void tell(const struct check *c, const struct probe_result *r)
{
    log_event(
        probe_good(r->kind) ? LOG_INFO : LOG_WARN, "health.check",
        LOG_STR("channel", c->channel->name), LOG_I64("credential_id", c->probe.credential->id),
        LOG_CSTR("result", probe_key(r->kind)), LOG_I64("status", r->status), LOG_I64("ms", r->ms),
        LOG_CSTR("reason", probe_good(r->kind) ? "" : r->fault.message));
}

/* What is held against the credential: that it may not see the list of models says nothing of
 * calls, which such a key may well be for. */
static enum probe_kind proves(const struct probe_result *r)
{
    return r->kind == PROBE_PERMISSION && !r->by_call ? PROBE_UNPROVED : r->kind;
}

static void on_done(struct probe *p, const struct probe_result *r)
{
    struct check *c = (struct check *)p;
    struct credential_cell *cell = p->credential->cell;
    uint64_t now_ms = loop_now_ms(p->loop);
    if (r->kind != PROBE_NOMEM) {
        enum probe_kind kind = proves(r);
        uint32_t was = atomic_exchange(&cell->last_check, (uint32_t)kind + 1);
        struct health_entry e = {(uint8_t)r->kind, r->ms, clock_wall_ms() / 1000};
        health_history_add(&c->channel->cell->history, &e);
        if (kind != (was ? (enum probe_kind)(was - 1) : PROBE_OK)) /* once, when it changes */
            tell(c, r);
        if (kind != PROBE_UNPROVED)
            gate_checked(cell, &r->fault, r->kind == PROBE_OK, now_ms);
    }
    check_free(c);
}

static void begin(struct checker *k, struct channel *ch, const struct credential *credential,
                  uint64_t now_ms)
{
    struct worker *w = k->worker;
    struct http_origin *o = worker_origin(w, ch);
    struct check *c = o ? mem_zalloc(sizeof *c) : NULL;
    if (!c)
        return; /* the next round tries again */
    atomic_store_explicit(&credential->cell->checked_ms, now_ms, memory_order_relaxed);
    c->checker = k;
    c->channel = channel_ref(ch);
    c->probe.loop = w->loop;
    c->probe.client = &w->client;
    c->probe.origin = o;
    c->probe.channel = ch;
    c->probe.credential = credential;
    c->probe.catalogue = atomic_load(&w->gateway->catalogue);
    c->probe.timeout_ms = w->settings.health_timeout_ms;
    c->probe.done = on_done;
    c->next = k->checks;
    c->prev = &k->checks;
    if (k->checks)
        k->checks->prev = &c->next;
    k->checks = c;
    k->n++;
    probe_start(&c->probe);
}

static bool is_due(struct credential_cell *c, uint64_t now_ms, uint32_t interval_ms)
{
    uint64_t proved = atomic_load_explicit(&c->proved_ms, memory_order_relaxed);
    uint64_t checked = atomic_load_explicit(&c->checked_ms, memory_order_relaxed);
    uint64_t last = proved > checked ? proved : checked;
    return (!last || now_ms >= last + interval_ms) &&
           now_ms >= atomic_load_explicit(&c->cool_until_ms, memory_order_relaxed);
}

static void judge(struct checker *k, struct channel *ch, uint64_t now_ms)
{
    struct channel_cell *cell = ch->cell;
    enum health h = health_of(ch, now_ms, k->worker->settings.health_interval_ms);
    enum health was = (enum health)atomic_exchange(&cell->health, (uint32_t)h);
    atomic_store_explicit(&cell->health_turn, k->turn, memory_order_relaxed);
    bool worse = h == HEALTH_DEGRADED || h == HEALTH_UNHEALTHY;
    if (was != h && (worse || was == HEALTH_DEGRADED || was == HEALTH_UNHEALTHY))
        log_event(worse ? LOG_WARN : LOG_INFO, "channel.health", LOG_STR("channel", ch->name),
                  LOG_CSTR("from", health_name(was)), LOG_CSTR("to", health_name(h)));
}

static void on_gone(struct channel_cell *cell, void *checker)
{
    struct checker *k = checker;
    if (atomic_load_explicit(&cell->health_turn, memory_order_relaxed) != k->turn)
        atomic_store(&cell->health, HEALTH_NONE);
}

static void on_round(struct deadline *d)
{
    struct checker *k = (struct checker *)((char *)d - offsetof(struct checker, round));
    struct worker *w = k->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    uint32_t interval_ms = w->settings.health_interval_ms;
    k->turn++;
    for (unsigned i = 0; i < w->snapshot->channels_n; i++) {
        struct channel *ch = w->snapshot->channels[i];
        judge(k, ch, now_ms);
        for (unsigned n = 0; n < ch->credentials_n && interval_ms && k->n < CHECKS_MAX; n++)
            if (!ch->provider->in_process && is_due(ch->credentials[n].cell, now_ms, interval_ms))
                begin(k, ch, &ch->credentials[n], now_ms);
    }
    cells_each_channel(w->gateway->cells, on_gone, k);
    deadline_set(w->loop, &k->round, now_ms + ROUND_MS, on_round);
}

struct checker *checker_new(struct worker *w)
{
    struct checker *k = mem_zalloc(sizeof *k);
    if (!k)
        return NULL;
    k->worker = w;
    deadline_set(w->loop, &k->round, loop_now_ms(w->loop), on_round);
    return k;
}

void checker_free(struct checker **kp)
{
    struct checker *k = *kp;
    *kp = NULL;
    if (!k)
        return;
    deadline_clear(&k->round);
    while (k->checks) {
        probe_cancel(&k->checks->probe);
        check_free(k->checks);
    }
    mem_free(k);
}
