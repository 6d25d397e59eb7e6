/* gate: looking is loads only; entering takes place after place and gives back what it has taken
 * when one is refused. */
#include "gateway/health/gate.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/rng.h"
#include "gateway/cells.h"
#include "gateway/channel.h"

#define MINUTE_MS    60000
#define PROBES_MAX   8 /* slots that a model is looked for in */
#define UNKNOWN_WAIT 1000

void gate_init(struct channel_gate *g, uint64_t now_ms)
{
    limit_init(&g->rpm, MINUTE_MS, now_ms);
    limit_init(&g->tpm, MINUTE_MS, now_ms);
}

uint64_t gate_model(struct str upstream_model)
{
    /* Candidates of a route mostly have one name for the model: then it is hashed once. */
    static __thread struct {
        char name[64];
        size_t n;
        uint64_t model;
    } last;
    if (last.model && last.n == upstream_model.n && !memcmp(last.name, upstream_model.p, last.n))
        return last.model;
    uint64_t model = hash_str(upstream_model) | 1;
    if (upstream_model.n && upstream_model.n <= sizeof last.name) {
        memcpy(last.name, upstream_model.p, upstream_model.n);
        last.n = upstream_model.n;
        last.model = model;
    }
    return model;
}

/* ---- cells of models ------------------------------------------------------------------ */

/* NULL: nothing is remembered of this model. */
static struct model_cell *known(struct credential_cell *c, uint64_t model)
{
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        struct model_cell *m =
            atomic_load_explicit(&c->models[(model + i) % GATE_MODELS], memory_order_acquire);
        if (!m)
            return NULL;
        if (atomic_load_explicit(&m->model, memory_order_relaxed) == model)
            return m;
    }
    return &c->rest;
}

/* Makes m the cell of another model; false: somebody else was first. */
static bool take_over(struct credential_cell *c, struct model_cell *m, uint64_t model,
                      uint64_t now_ms)
{
    uint64_t was = atomic_load(&m->model);
    if (!breaker_stale(&m->breaker, now_ms, GATE_MODEL_STALE_MS) ||
        !atomic_compare_exchange_strong(&m->model, &was, model))
        return false;
    if (breaker_look(&m->breaker, now_ms, NULL) != BREAKER_CLOSED)
        atomic_fetch_sub(&c->channel->gate.open, 1);
    breaker_clear(&m->breaker);
    atomic_store(&m->requests.until_ms, 0);
    atomic_store(&m->tokens.until_ms, 0);
    return true;
}

static struct model_cell *made(struct credential_cell *c, uint64_t model, uint64_t now_ms)
{
    struct model_cell *fresh = NULL, *hit = NULL;
    for (unsigned i = 0; i < PROBES_MAX && !hit; i++) {
        _Atomic(struct model_cell *) *slot = &c->models[(model + i) % GATE_MODELS];
        struct model_cell *m = atomic_load_explicit(slot, memory_order_acquire);
        if (!m && !fresh) {
            fresh = mem_zalloc(sizeof *fresh);
            if (fresh)
                atomic_init(&fresh->model, model);
        }
        if (!m && fresh &&
            atomic_compare_exchange_strong_explicit(slot, &m, fresh, memory_order_acq_rel,
                                                    memory_order_acquire))
            return fresh;
        if (m && atomic_load(&m->model) == model)
            hit = m;
    }
    mem_free(fresh);
    for (unsigned i = 0; i < PROBES_MAX && !hit; i++) {
        struct model_cell *m = atomic_load(&c->models[(model + i) % GATE_MODELS]);
        if (m && take_over(c, m, model, now_ms))
            hit = m;
    }
    return hit ? hit : &c->rest;
}

void gate_release(struct credential_cell *c)
{
    for (unsigned i = 0; i < GATE_MODELS; i++)
        mem_free(atomic_load(&c->models[i]));
}

/* ---- breakers --------------------------------------------------------------------------- */

static void told(struct credential_cell *c, const char *model, const struct breaker_change *ch)
{
    if (ch->from == ch->to)
        return;
    struct channel_gate *g = &c->channel->gate;
    atomic_fetch_add(&g->changes[ch->to], 1);
    if (ch->from == BREAKER_CLOSED)
        atomic_fetch_add(&g->open, 1);
    if (ch->to == BREAKER_CLOSED)
        atomic_fetch_sub(&g->open, 1);
    log_event(ch->to == BREAKER_OPEN ? LOG_WARN : LOG_INFO, "breaker.state",
              LOG_CSTR("channel", c->channel->name), LOG_I64("credential_id", c->id),
              LOG_CSTR("model", model), LOG_CSTR("from", breaker_state_name(ch->from)),
              LOG_CSTR("to", breaker_state_name(ch->to)), LOG_I64("open_ms", ch->open_ms));
}

static void outcome(struct gate_pass *p, bool ok, uint64_t now_ms)
{
    struct credential_cell *c = p->credential;
    struct model_cell *m = ok ? known(c, p->model) : made(c, p->model, now_ms);
    struct breaker_change change;
    if (!m)
        return;
    breaker_report(&m->breaker, p->ticket, ok, now_ms, &change);
    told(c, p->name, &change);
    if (change.from != change.to && change.to == BREAKER_CLOSED)
        vitals_recovering(&c->channel->vitals, now_ms);
}

static void forget(struct gate_pass *p, uint64_t now_ms)
{
    struct model_cell *m = known(p->credential, p->model);
    if (m)
        breaker_forget(&m->breaker, p->ticket, now_ms);
}

/* ---- what the upstream has left --------------------------------------------------------- */

static bool quota_has(struct gate_quota *q, int64_t need, uint64_t now_ms, uint64_t *wait_ms)
{
    uint64_t until = atomic_load(&q->until_ms), at = atomic_load(&q->at_ms);
    uint64_t unit_us = atomic_load(&q->unit_us);
    if (now_ms >= until)
        return true;
    int64_t back = unit_us && now_ms > at ? (int64_t)((now_ms - at) * 1000 / unit_us) : 0;
    int64_t lack = need - atomic_load(&q->left) - back;
    if (lack <= 0)
        return true;
    uint64_t wait = until - now_ms;
    if (unit_us && (uint64_t)lack * unit_us / 1000 + 1 < wait)
        wait = (uint64_t)lack * unit_us / 1000 + 1;
    *wait_ms = wait;
    return false;
}

/* A limit that refills as it goes (a token bucket, a minute for all of it) says a reset in
 * proportion to what is used; one that begins anew at a fixed time does not. */
static uint64_t unit_us(const struct ratelimit_one *r)
{
    if (r->limit <= 0 || r->left >= r->limit)
        return 0;
    int64_t by_minute = (r->limit - r->left) * MINUTE_MS / r->limit;
    int64_t off = r->reset_ms > by_minute ? r->reset_ms - by_minute : by_minute - r->reset_ms;
    return off <= by_minute / 5 ? (uint64_t)(MINUTE_MS * INT64_C(1000) / r->limit) : 0;
}

static void quota_set(struct gate_quota *q, const struct ratelimit_one *r, uint64_t now_ms)
{
    if (r->left < 0 || r->reset_ms < 0)
        return;
    atomic_store(&q->left, r->left);
    atomic_store(&q->at_ms, now_ms);
    atomic_store(&q->unit_us, unit_us(r));
    /* All of it is there: more than that nobody can ask for. */
    bool whole = r->limit > 0 && r->left >= r->limit;
    atomic_store(&q->until_ms, whole ? 0 : now_ms + (uint64_t)r->reset_ms);
}

void gate_limits(struct gate_pass *p, const struct ratelimit *r, uint64_t now_ms)
{
    if (!p->credential || (r->requests.left < 0 && r->tokens.left < 0))
        return;
    struct model_cell *m = made(p->credential, p->model, now_ms);
    if (m == &p->credential->rest)
        return; /* of several models: it would fit none */
    quota_set(&m->requests, &r->requests, now_ms);
    quota_set(&m->tokens, &r->tokens, now_ms);
}

/* ---- looking and entering --------------------------------------------------------------- */

static bool over_budget(struct channel_gate *g, unsigned more, uint64_t now_ms)
{
    struct tally_sum s = tally_sum(&g->tries, GATE_BUDGET_TICK_MS, now_ms);
    uint64_t most = (uint64_t)s.all * GATE_BUDGET_PERCENT / 100;
    return s.marked + more > (most > GATE_BUDGET_MIN ? most : GATE_BUDGET_MIN);
}

static bool until(_Atomic uint64_t *when, uint64_t now_ms, uint64_t *wait_ms)
{
    uint64_t at = atomic_load_explicit(when, memory_order_relaxed);
    *wait_ms = at > now_ms ? at - now_ms : 0;
    return at > now_ms;
}

static uint64_t limit_wait(struct limit_cell *l, int64_t cap, int64_t ask, uint64_t now_ms)
{
    int64_t ms = limit_wait_ms(l, cap, ask, now_ms);
    return ms > 0 ? (uint64_t)ms : UNKNOWN_WAIT;
}

/* What no cap of the channel's is asked for more than it could ever give. */
static int64_t tokens_of(const struct channel *ch, const struct gate_ask *ask)
{
    return ask->tokens > ch->tpm ? ch->tpm : ask->tokens;
}

static enum reason look_at_credential(struct credential_cell *c, const struct gate_ask *ask,
                                      uint64_t *wait_ms)
{
    if (until(&c->aside_until_ms, ask->now_ms, wait_ms))
        return REASON_ASIDE;
    if (until(&c->cool_until_ms, ask->now_ms, wait_ms))
        return REASON_COOLING;
    struct model_cell *m = known(c, ask->model);
    if (!m)
        return REASON_NONE;
    enum breaker_state s = breaker_look(&m->breaker, ask->now_ms, wait_ms);
    if (*wait_ms) {
        if (s == BREAKER_HALF_OPEN)
            *wait_ms = UNKNOWN_WAIT; /* until its probe has come back */
        return REASON_BREAKER;
    }
    if (!quota_has(&m->requests, 1, ask->now_ms, wait_ms) ||
        !quota_has(&m->tokens, ask->tokens, ask->now_ms, wait_ms))
        return REASON_HEADROOM;
    return REASON_NONE;
}

enum reason gate_look(const struct channel *ch, struct credential_cell *c,
                      const struct gate_ask *ask, uint64_t *wait_ms)
{
    uint64_t none;
    uint64_t *wait = wait_ms ? wait_ms : &none;
    struct channel_gate *g = &ch->cell->gate;
    enum reason why = look_at_credential(c, ask, wait);
    if (why)
        return why;
    *wait = UNKNOWN_WAIT;
    if (ch->concurrency && atomic_load(&g->under_way) >= ch->concurrency)
        return REASON_CONCURRENCY;
    if (ask->again && over_budget(g, 1, ask->now_ms))
        return REASON_BUDGET;
    if (ch->rpm && limit_used(&g->rpm, ask->now_ms) >= ch->rpm) {
        *wait = limit_wait(&g->rpm, ch->rpm, 1, ask->now_ms);
        return REASON_RPM;
    }
    int64_t tokens = tokens_of(ch, ask);
    if (ch->tpm && limit_used(&g->tpm, ask->now_ms) + tokens > ch->tpm) {
        *wait = limit_wait(&g->tpm, ch->tpm, tokens, ask->now_ms);
        return REASON_TPM;
    }
    *wait = 0;
    return REASON_NONE;
}

/* The channel's places, one after the other. */
static enum reason take_places(const struct channel *ch, const struct gate_ask *ask,
                               struct gate_pass *pass)
{
    struct channel_gate *g = &ch->cell->gate;
    if (atomic_fetch_add(&g->under_way, 1) >= ch->concurrency && ch->concurrency) {
        atomic_fetch_sub(&g->under_way, 1);
        return REASON_CONCURRENCY;
    }
    tally_add(&g->tries, GATE_BUDGET_TICK_MS, ask->now_ms, !ask->again, ask->again);
    if (ask->again && over_budget(g, 0, ask->now_ms)) {
        tally_add(&g->tries, GATE_BUDGET_TICK_MS, ask->now_ms, 0, -1);
        atomic_fetch_sub(&g->under_way, 1);
        return REASON_BUDGET;
    }
    if (ch->rpm && !limit_reserve(&g->rpm, ch->rpm, 1, ask->now_ms)) {
        atomic_fetch_sub(&g->under_way, 1);
        return REASON_RPM;
    }
    pass->tokens = tokens_of(ch, ask);
    if (ch->tpm && !limit_reserve(&g->tpm, ch->tpm, pass->tokens, ask->now_ms)) {
        if (ch->rpm)
            limit_cancel(&g->rpm, 1);
        atomic_fetch_sub(&g->under_way, 1);
        return REASON_TPM;
    }
    pass->tpm = ch->tpm > 0;
    return REASON_NONE;
}

enum reason gate_enter(const struct channel *ch, struct credential_cell *c, struct str model,
                       const struct gate_ask *ask, struct gate_pass *pass)
{
    struct channel_gate *g = &ch->cell->gate;
    struct breaker_change change;
    uint64_t wait;
    *pass = (struct gate_pass){.model = ask->model, .name = ""};
    enum reason why = look_at_credential(c, ask, &wait);
    if (!why)
        why = take_places(ch, ask, pass);
    if (why)
        return why;
    struct model_cell *m = known(c, ask->model);
    if (m && !breaker_enter(&m->breaker, ask->now_ms, &pass->ticket, &change)) {
        if (ch->rpm)
            limit_cancel(&g->rpm, 1);
        if (ch->tpm)
            limit_cancel(&g->tpm, pass->tokens);
        atomic_fetch_sub(&g->under_way, 1);
        return REASON_BREAKER;
    }
    if (m) {
        char name[64];
        told(c, str_copy(name, sizeof name, model), &change);
    }
    pass->rpm = ch->rpm > 0;
    pass->asked = ask->tokens;
    pass->credential = c;
    return REASON_NONE;
}

void gate_sent(struct gate_pass *p, uint64_t now_ms)
{
    struct credential_cell *c = p->credential;
    if (!c)
        return;
    if (p->rpm)
        limit_settle(&c->channel->gate.rpm, 1, 1, now_ms);
    p->rpm = false;
    struct model_cell *m = known(c, p->model);
    if (m) {
        atomic_fetch_sub(&m->requests.left, 1);
        atomic_fetch_sub(&m->tokens.left, p->asked);
    }
}

/* ---- what an end teaches ----------------------------------------------------------------- */

static uint64_t grown(uint64_t ms, unsigned times, uint64_t most)
{
    for (; times > 0 && ms < most; times--)
        ms *= 2;
    return ms < most ? ms : most;
}

/* Moves the end of a pause on, never back. */
static void extend(_Atomic uint64_t *when, uint64_t to)
{
    uint64_t now = atomic_load(when);
    while (now < to && !atomic_compare_exchange_weak(when, &now, to))
        ;
}

static void cool(struct credential_cell *c, int64_t told_ms, uint64_t now_ms)
{
    uint64_t wait, ms = (uint64_t)told_ms;
    bool already = until(&c->cool_until_ms, now_ms, &wait);
    if (!told_ms) /* many are refused at once: they count as one */
        ms =
            grown(GATE_COOL_MS, already ? 0 : atomic_fetch_add(&c->throttled, 1), GATE_COOL_MAX_MS);
    if (ms > GATE_COOL_TOLD_MS)
        ms = GATE_COOL_TOLD_MS;
    if (told_ms || !already)
        extend(&c->cool_until_ms, now_ms + ms);
    if (!already)
        log_event(LOG_INFO, "credential.cooling", LOG_CSTR("channel", c->channel->name),
                  LOG_I64("credential_id", c->id), LOG_I64("ms", ms));
}

static void put_aside(struct credential_cell *c, const struct fault *f, uint64_t now_ms)
{
    uint64_t wait;
    if (until(&c->aside_until_ms, now_ms, &wait))
        return; /* calls that were under way say nothing new */
    uint64_t ms = grown(GATE_ASIDE_MS, atomic_fetch_add(&c->refused, 1), GATE_ASIDE_MAX_MS);
    extend(&c->aside_until_ms, now_ms + ms);
    log_event(LOG_WARN, "credential.aside", LOG_CSTR("channel", c->channel->name),
              LOG_I64("credential_id", c->id), LOG_I64("ms", ms),
              LOG_BOOL("no_credit", f->kind & FAULT_NO_CREDIT), LOG_CSTR("reason", f->message));
}

static void refused(struct gate_pass *p, const struct fault *f, uint64_t now_ms)
{
    struct breaker_change change;
    if (f->kind & FAULT_MAPPING) {
        breaker_trip(&made(p->credential, p->model, now_ms)->breaker, now_ms, &change);
        told(p->credential, p->name, &change);
    } else {
        put_aside(p->credential, f, now_ms);
    }
}

void gate_fault(struct gate_pass *p, const struct fault *f, uint64_t now_ms)
{
    bool ours = f->err == ERR_SHUTDOWN || f->err == ERR_NOMEM || f->err == ERR_OVERLOADED;
    enum err_class cls = err_class(f->err);
    if (!p->credential || p->taught)
        return;
    p->taught = true;
    if (cls == CLASS_SERVER && !ours) {
        outcome(p, false, now_ms);
        return;
    }
    forget(p, now_ms);
    if (cls == CLASS_THROTTLE)
        cool(p->credential, f->retry_ms, now_ms);
    else if (cls == CLASS_KEY)
        refused(p, f, now_ms);
}

static void proved(struct credential_cell *c, uint64_t now_ms)
{
    atomic_store_explicit(&c->proved_ms, now_ms, memory_order_relaxed);
    if (atomic_load_explicit(&c->throttled, memory_order_relaxed))
        atomic_store(&c->throttled, 0);
    if (atomic_load_explicit(&c->refused, memory_order_relaxed))
        atomic_store(&c->refused, 0);
}

void gate_leave(struct gate_pass *p, int verdict, int64_t tokens, uint64_t now_ms)
{
    struct credential_cell *c = p->credential;
    if (!c)
        return;
    struct channel_gate *g = &c->channel->gate;
    p->credential = NULL;
    atomic_fetch_sub(&g->under_way, 1);
    if (p->tpm)
        limit_settle(&g->tpm, p->tokens, tokens, now_ms);
    if (p->rpm)
        limit_cancel(&g->rpm, 1);
    if (verdict)
        atomic_store_explicit(&c->heard_ms, now_ms, memory_order_relaxed);
    if (verdict > 0)
        proved(c, now_ms);
    if (p->taught)
        return;
    p->credential = c;
    if (verdict)
        outcome(p, verdict > 0, now_ms);
    else
        forget(p, now_ms);
    p->credential = NULL;
}

void gate_checked(struct credential_cell *c, const struct fault *f, bool ok, uint64_t now_ms)
{
    struct breaker_change change;
    atomic_store_explicit(&c->heard_ms, now_ms, memory_order_relaxed);
    if (ok) {
        proved(c, now_ms);
        atomic_store(&c->aside_until_ms, 0);
        return;
    }
    if (err_class(f->err) == CLASS_KEY && !(f->kind & FAULT_MAPPING)) /* else it was good */
        put_aside(c, f, now_ms);
    else if (err_class(f->err) == CLASS_THROTTLE)
        cool(c, f->retry_ms, now_ms);
    for (unsigned i = 0; i < GATE_MODELS && err_class(f->err) == CLASS_SERVER; i++) {
        struct model_cell *m = atomic_load(&c->models[i]);
        if (!m || breaker_look(&m->breaker, now_ms, NULL) != BREAKER_CLOSED)
            continue;
        breaker_report(&m->breaker, atomic_load(&m->breaker.word), false, now_ms, &change);
        told(c, "", &change);
    }
}

bool gate_shut(struct credential_cell *c, uint64_t now_ms)
{
    uint64_t wait;
    if (until(&c->aside_until_ms, now_ms, &wait) ||
        !breaker_stale(&c->rest.breaker, now_ms, GATE_MODEL_STALE_MS))
        return true;
    for (unsigned i = 0; i < GATE_MODELS; i++) {
        struct model_cell *m = atomic_load_explicit(&c->models[i], memory_order_acquire);
        if (m && !breaker_stale(&m->breaker, now_ms, GATE_MODEL_STALE_MS))
            return true;
    }
    return false;
}
