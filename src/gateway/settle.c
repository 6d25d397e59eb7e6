/* settle: how a request ended, told once: to the ledger, the metrics and the log.
 *
 * Charging follows one rule for every end: what the upstream reported if it
 * did; else what was counted, marked as estimated; nothing where no byte of the
 * upstream came back.  What came of a stream behind its last report (Anthropic's
 * first event is one) and was cut is counted on top of it. */
#include <assert.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/rng.h"
#include "gateway/hedge.h"
#include "gateway/memory/idempotency.h"

#define PROGRESS_MS     1000
#define PROGRESS_TOKENS 1000

/* What the attempt under way, or just ended, has used. */
struct bill {
    struct ledger_counters c;
    bool estimated, has_cost;
    int64_t cost_nusd, price_id;
};

static uint32_t scaled(const struct request *r, uint32_t tokens)
{
    return provider_scale(r->channel->provider, &r->entry->caps, tokens);
}

struct usage settle_estimate(const struct request *r)
{
    return (struct usage){.in_uncached = scaled(r, r->estimate_in),
                          .out_text = scaled(r, estimate_tokens(&r->tap.out))};
}

static struct usage used(const struct request *r, bool *estimated)
{
    *estimated = !r->tap.has_usage && r->upstream_status >= 200 && r->upstream_status < 300;
    if (r->tap.has_usage) {
        struct usage u = r->tap.usage;
        uint32_t since = r->sse ? estimate_tokens(&r->tap.out) - r->tap.told_out : 0;
        *estimated = since > 0;
        since = scaled(r, since);
        u.out_text = u.out_text < UINT32_MAX - since ? u.out_text + since : UINT32_MAX;
        return u;
    }
    if (*estimated)
        return settle_estimate(r);
    return (struct usage){0};
}

uint32_t settle_output(const struct request *r)
{
    bool estimated;
    struct usage u = used(r, &estimated);
    uint64_t n = usage_output_tokens(&u);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static struct bill bill_of(const struct request *r)
{
    struct bill b = {0};
    struct usage u = used(r, &b.estimated);
#define X(field) b.c.field = u.field;
    LEDGER_COUNTERS(X)
#undef X
    const struct price *p =
        r->entry ? price_at(&r->entry->prices, r->started_wall_ms, usage_input_tokens(&u)) : NULL;
    b.has_cost = price_cost_nusd(p, &u, &b.cost_nusd);
    b.price_id = p ? p->id : 0;
    return b;
}

static struct str upstream_model(const struct request *r)
{
    if (r->upstream_model)
        return str_c(r->upstream_model);
    return r->plan && r->channel ? r->plan->model : STR_NULL;
}

static int64_t ttft_us(const struct request *r)
{
    return r->first_content_ns ? (int64_t)(r->first_content_ns - r->started_ns) / 1000 : 0;
}

void settle_attempt(struct request *r, enum err outcome)
{
    struct bill b = bill_of(r);
    uint64_t now_ns = clock_mono_ns();
    struct ledger_attempt a = {
        .number = r->attempts,
        .channel_id = r->channel ? r->channel->id : 0,
        .credential_id = r->credential_id,
        .status = r->upstream_status,
        .outcome = (uint16_t)outcome,
        .start_ms = r->started_wall_ms + (int64_t)(r->attempt_ns - r->started_ns) / 1000000,
        .ttft_us = outcome ? 0 : ttft_us(r),
        .total_us = (int64_t)(now_ns - r->attempt_ns) / 1000,
        .upstream_model = upstream_model(r),
        .c = b.c,
        .estimated = b.estimated,
        .cost_nusd = b.cost_nusd,
        .has_cost = b.has_cost,
        .price_id = b.price_id,
    };
    memcpy(a.request_id, r->id, 16);
    journal_attempt(r->worker->ring, &a);
    struct spent *s = r->spent;
#define X(field) s->c.field += a.c.field;
    LEDGER_COUNTERS(X)
#undef X
    s->estimated |= b.estimated;
    s->unpriced |= !b.has_cost || __builtin_add_overflow(s->nusd, b.cost_nusd, &s->nusd);
    counter_add(&r->worker->metrics.retries, outcome != ERR_OK);
}

void settle_progress(struct request *r)
{
    if (r->progressed && r->last_up_ms - r->progress_ms < PROGRESS_MS &&
        estimate_tokens(&r->tap.out) - r->progress_tokens < PROGRESS_TOKENS)
        return;
    struct bill b = bill_of(r);
    struct ledger_progress p = {
        .so_far = b.c,
        .channel_id = r->channel->id,
        .credential_id = r->credential_id,
        .cost_nusd = b.cost_nusd,
        .has_cost = b.has_cost,
        .price_id = b.price_id,
    };
    memcpy(p.request_id, r->id, 16);
    journal_progress(r->worker->ring, &p);
    r->progressed = 1;
    r->progress_ms = loop_now_ms(r->worker->loop);
    r->progress_tokens = estimate_tokens(&r->tap.out);
}

static void count(struct request *r, const struct ledger_settled *s)
{
    struct worker_metrics *m = &r->worker->metrics;
    counter_add(&m->requests[r->op][s->state], 1);
    counter_add(&m->statuses[s->status / 100 % STATUS_CLASSES], 1);
    counter_add(&m->attempts, r->attempts);
    unsigned i = 0;
#define X(field) counter_add(&m->tokens[i++], (uint64_t)s->c.field);
    LEDGER_COUNTERS(X)
#undef X
    histogram_record(&m->total_us, (uint64_t)s->total_us);
    if (s->ttft_us > 0)
        histogram_record(&m->ttft_us, (uint64_t)s->ttft_us);
    histogram_record(&m->overhead_us, r->overhead_us);
    if (!r->channel)
        return;
    struct channel_cell *cell = r->channel->cell;
    atomic_fetch_add_explicit(&cell->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->in_tokens, (uint64_t)s->c.in_uncached, memory_order_relaxed);
    atomic_fetch_add_explicit(&cell->out_tokens, (uint64_t)s->c.out_text, memory_order_relaxed);
}

static void write_log(const struct request *r, const struct ledger_settled *s)
{
    const struct gateway_settings *set = &r->worker->settings;
    if (!set->log_requests && !(set->log_errors && s->state != LEDGER_COMPLETED))
        return;
    char id[37];
    uuid_format(r->id, id);
    const struct caller_ids *ids = r->ids;
    struct str trace = ids && ids->traceparent[0] ? str_make(ids->traceparent + 3, 32) : STR_NULL;
    log_event(
        s->state == LEDGER_COMPLETED ? LOG_INFO : LOG_WARN, "request.end",
        LOG_STR("request_id", str_c(id)),
        LOG_STR("client_request_id", str_c(ids ? ids->request_id : "")), LOG_STR("trace_id", trace),
        LOG_I64("tenant_id", r->tenant_id), LOG_I64("user_id", r->user_id),
        LOG_I64("key_id", r->key_id), LOG_STR("op", str_c(op_row(r->op)->name)),
        LOG_STR("channel", r->channel ? r->channel->name : STR_NULL),
        LOG_I64("attempts", r->attempts), LOG_I64("status", s->status),
        LOG_STR("state", str_c(ledger_state_name(s->state))),
        LOG_STR("error", str_c(s->err ? err_name(s->err) : "")), LOG_I64("ttft_us", s->ttft_us),
        LOG_I64("total_us", s->total_us), LOG_I64("overhead_us", s->overhead_us),
        LOG_I64("input_tokens", s->c.in_uncached), LOG_I64("output_tokens", s->c.out_text));
}

void settle_first(struct request *r)
{
    if (r->call_live && r->first_content_ns > r->attempt_ns)
        vitals_first(&r->channel->cell->vitals, loop_now_ms(r->worker->loop),
                     (r->first_content_ns - r->attempt_ns) / 1000000);
}

void settle_vitals(struct request *r, enum vitals_end end)
{
    if (!r->call_live)
        return;
    r->call_live = 0;
    bool estimated;
    struct usage u = used(r, &estimated);
    uint64_t out = usage_output_tokens(&u), first = 0, now = 0;
    if (r->sse && r->first_content_ns > r->attempt_ns) {
        first = r->first_content_ns;
        now = request_now_ns(r, first);
    }
    vitals_finished(&r->channel->cell->vitals, loop_now_ms(r->worker->loop), end,
                    u.in_uncached + out, out, now > first ? (now - first) / 1000000 : 0);
    if (r->first_content_ns > r->attempt_ns)
        health_times_add(&r->channel->cell->ttft, (r->first_content_ns - r->attempt_ns) / 1000);
    if (end == VITALS_OK)
        health_times_add(&r->channel->cell->total,
                         (request_now_ns(r, r->attempt_ns) - r->attempt_ns) / 1000);
    int64_t tokens = 0;
#define X(field) tokens += u.field;
    LEDGER_COUNTERS(X)
#undef X
    int verdict = end == VITALS_OK ? 1 : end == VITALS_FAILED ? -1 : 0;
    gate_leave(&r->pass, verdict, tokens, loop_now_ms(r->worker->loop));
}

/* What an end says of the channel. */
static enum vitals_end vitals_end_of(enum ledger_state state, enum err e)
{
    switch (state) {
    case LEDGER_COMPLETED:
        return VITALS_OK;
    case LEDGER_UPSTREAM_ERROR:
    case LEDGER_INCOMPLETE:
    case LEDGER_TIMEOUT:
        return e == ERR_NOMEM || err_class(e) == CLASS_REQUEST ? VITALS_NEUTRAL : VITALS_FAILED;
    default:
        return VITALS_NEUTRAL;
    }
}

/* A request's row holds the sums of its attempts; one unknown cost makes the sum unknown. */
static void put_bill(const struct request *r, struct ledger_settled *s)
{
    const struct spent *all = r->spent;
    struct bill b = all ? (struct bill){.c = all->c,
                                        .estimated = all->estimated,
                                        .has_cost = !all->unpriced,
                                        .cost_nusd = all->nusd}
                        : bill_of(r);
    s->c = b.c;
    s->estimated = b.estimated;
    s->has_cost = b.has_cost;
    s->cost_nusd = b.cost_nusd;
    s->price_id = b.price_id;
}

/* The last moment that was noted. */
static uint64_t latest_ns(const struct request *r)
{
    const uint64_t noted[] = {r->attempt_ns, r->head_ns, r->first_content_ns};
    uint64_t latest = r->started_ns;
    for (size_t i = 0; i < 3; i++)
        latest = noted[i] > latest ? noted[i] : latest;
    return latest;
}

void request_settle(struct request *r, enum ledger_state state, int status, enum err e)
{
    assert(r->admitted && !r->settled);
    hedge_won(r);
    r->settled = 1;
    idempotency_publish(r, state, e);
    if (r->orphan) { /* however the answer ended, nobody was there to get it */
        state = LEDGER_CLIENT_GONE;
        status = r->head_sent ? 200 : 0;
        e = ERR_CLIENT_GONE;
    }
    uint64_t took_ns = request_now_ns(r, latest_ns(r)) - r->started_ns;
    struct ledger_settled s = {
        .state = (uint8_t)state,
        .attempts = r->attempts,
        .status = status,
        .err = (uint16_t)e,
        .ended_ms = r->started_wall_ms + (int64_t)(took_ns / 1000000),
        .ttft_us = ttft_us(r),
        .total_us = (int64_t)(took_ns / 1000),
        .overhead_us = r->overhead_us,
        .channel_id = r->channel ? r->channel->id : 0,
        .credential_id = r->credential_id,
        .upstream_model = upstream_model(r),
        .usage_json = r->usage_raw,
    };
    memcpy(s.request_id, r->id, 16);
    if (r->spent)
        settle_attempt(r, e);
    put_bill(r, &s);
    journal_settled(r->worker->ring, &s);
    count(r, &s);
    write_log(r, &s);
    settle_vitals(r, vitals_end_of(state, e));
}
