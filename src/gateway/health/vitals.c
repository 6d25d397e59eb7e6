/* vitals: pairs of decaying sums. A mean is the quotient of a pair, so time alone does not move it;
 * the success rate has VITALS_PRIOR added to both of its sums, so that it comes back to 1 as its
 * evidence fades. */
#include "gateway/health/vitals.h"

#include <math.h>
#include <string.h>

struct pair {
    float a, b;
};

static uint64_t pack(struct pair p)
{
    uint64_t word;
    memcpy(&word, &p, sizeof word);
    return word;
}

static struct pair load(_Atomic uint64_t *at)
{
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    struct pair p;
    memcpy(&p, &word, sizeof p);
    return p;
}

static void store(_Atomic uint64_t *at, float a)
{
    atomic_store_explicit(at, pack((struct pair){a, 0}), memory_order_relaxed);
}

/* *at = *at × factor + (a, b) */
static void update(_Atomic uint64_t *at, float factor, float a, float b)
{
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    struct pair p;
    do {
        memcpy(&p, &word, sizeof p);
        p = (struct pair){p.a * factor + a, p.b * factor + b};
    } while (!atomic_compare_exchange_weak_explicit(at, &word, pack(p), memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* Brings the sums up to now_ms. */
static void decay(struct vitals *v, uint64_t now_ms, uint64_t at_ms)
{
    if (!atomic_compare_exchange_strong(&v->at_ms, &at_ms, now_ms))
        return; /* another thread does */
    float factor = exp2f(-(float)(now_ms - at_ms) / VITALS_HALF_LIFE_MS);
    _Atomic uint64_t *const all[] = {&v->outcome, &v->ttft, &v->ttft_sq,
                                     &v->load,    &v->rate, &v->peak};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        update(all[i], factor, 0, 0);
    update(&v->trouble, exp2f(-(float)(now_ms - at_ms) / VITALS_TROUBLE_MS), 0, 0);
}

static inline void touch(struct vitals *v, uint64_t now_ms)
{
    uint64_t at_ms = atomic_load_explicit(&v->at_ms, memory_order_relaxed);
    if (now_ms >= at_ms + VITALS_TICK_MS)
        decay(v, now_ms, at_ms);
}

static float quotient(struct pair p)
{
    return p.b > 1e-6f ? p.a / p.b : 0;
}

void vitals_init(struct vitals *v, uint64_t now_ms)
{
    memset(v, 0, sizeof *v);
    atomic_init(&v->at_ms, now_ms);
    limit_init(&v->requests, 60000, now_ms);
    limit_init(&v->tokens, 60000, now_ms);
}

void vitals_started(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    int32_t others = atomic_fetch_add_explicit(&v->in_flight, 1, memory_order_relaxed);
    update(&v->load, 1, (float)others, 1);
    limit_settle(&v->requests, 0, 1, now_ms);
}

void vitals_first(struct vitals *v, uint64_t now_ms, uint64_t ttft_ms)
{
    touch(v, now_ms);
    float ms = ttft_ms ? (float)ttft_ms : 1, mean = quotient(load(&v->ttft));
    update(&v->ttft, 1, ms, 1);
    update(&v->ttft_sq, 1, ms * ms, 1);
    if (mean > 0 && ms - mean > load(&v->peak).a) /* of two peaks at once either may stay */
        store(&v->peak, ms - mean);
}

void vitals_finished(struct vitals *v, uint64_t now_ms, enum vitals_end end, uint64_t tokens,
                     uint64_t out_tokens, uint64_t flow_ms)
{
    atomic_fetch_sub_explicit(&v->in_flight, 1, memory_order_relaxed);
    touch(v, now_ms);
    if (end != VITALS_NEUTRAL)
        update(&v->outcome, 1, end == VITALS_OK, 1);
    if (end == VITALS_FAILED)
        update(&v->trouble, 1, 1, 0);
    else if (end == VITALS_OK && load(&v->trouble).a > 0)
        store(&v->trouble, 0);
    if (out_tokens > 1 && flow_ms)
        update(&v->rate, 1, (float)(out_tokens - 1), (float)flow_ms / 1000);
    if (tokens)
        limit_settle(&v->tokens, 0, tokens < INT32_MAX ? (int64_t)tokens : INT32_MAX, now_ms);
}

void vitals_recovering(struct vitals *v, uint64_t now_ms)
{
    atomic_store_explicit(&v->recovered_ms, now_ms ? now_ms : 1, memory_order_relaxed);
    store(&v->outcome, 0);
    store(&v->trouble, 0);
    store(&v->peak, 0);
}

double vitals_success(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    struct pair p = load(&v->outcome);
    return (double)((p.a + VITALS_PRIOR) / (p.b + VITALS_PRIOR));
}

double vitals_calls(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    return (double)load(&v->outcome).b;
}

double vitals_ttft(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    return (double)quotient(load(&v->ttft));
}

double vitals_ttft_peak(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    return (double)(quotient(load(&v->ttft)) + load(&v->peak).a);
}

void vitals_look(struct vitals *v, uint64_t now_ms, struct vitals_view *out)
{
    touch(v, now_ms);
    struct pair ttft = load(&v->ttft), busy = load(&v->load), rate = load(&v->rate);
    *out = (struct vitals_view){
        .trouble = load(&v->trouble).a,
        .ttft = ttft.a,
        .square = load(&v->ttft_sq).a,
        .samples = ttft.b,
        .load = busy.a,
        .calls = busy.b,
        .tokens = rate.a,
        .seconds = rate.b,
        .in_flight = vitals_in_flight(v),
    };
}

double vitals_rate(struct vitals *v, uint64_t now_ms)
{
    touch(v, now_ms);
    return (double)quotient(load(&v->rate));
}

double vitals_slow_start(struct vitals *v, uint64_t now_ms)
{
    uint64_t since = atomic_load_explicit(&v->recovered_ms, memory_order_relaxed);
    if (!since || now_ms >= since + VITALS_SLOW_START_MS)
        return 1;
    return 0.1 + 0.9 * (now_ms > since ? (double)(now_ms - since) / VITALS_SLOW_START_MS : 0);
}

double vitals_weight(struct vitals *v, double weight, uint64_t now_ms)
{
    return weight * vitals_success(v, now_ms) * vitals_slow_start(v, now_ms);
}

int64_t vitals_requests_per_minute(struct vitals *v, uint64_t now_ms)
{
    return limit_used(&v->requests, now_ms);
}

int64_t vitals_tokens_per_minute(struct vitals *v, uint64_t now_ms)
{
    return limit_used(&v->tokens, now_ms);
}
