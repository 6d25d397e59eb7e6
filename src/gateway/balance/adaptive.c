/* adaptive: a bandit by Thompson sampling. For each channel it draws the TTFT that the evidence
 * allows: near the mean where there is much, anywhere around the pool's best where there is little;
 * and as evidence fades with its half-life, a channel that was left alone is tried again by itself.
 * The draw is scaled by how much busier the channel is now than it was in what was measured, and
 * by failures, price, headroom and output rate, each to the power that the route's objective gives
 * it. The least wins. */
#include <float.h>
#include <math.h>

#include "core/rng.h"
#include "gateway/balance/balance.h"

#define DOUBT      2.0f /* samples that the guess for an unknown channel is worth */
#define RETRY_COST 5.0f /* a call that fails costs as much as so many that do not */
#define TIGHT      0.2f /* headroom below which a channel is spared */

struct pool {
    float ttft, rate, weight;
    int64_t dearest;
};

/* Mean 0, deviation 1, nearly normal: the sum of four even draws of 16 bits. */
static float draw(uint64_t bits)
{
    uint32_t sum = (uint32_t)(bits & 0xffff) + (uint32_t)(bits >> 16 & 0xffff) +
                   (uint32_t)(bits >> 32 & 0xffff) + (uint32_t)(bits >> 48);
    return ((float)sum - 131070) * (1.7320508f / 65536);
}

static float power(float x, float exponent)
{
    return exponent == 1 ? x : exponent == 0.5f ? sqrtf(x) : exponent == 0 ? 1 : powf(x, exponent);
}

static void look(const struct contender *c, uint64_t now_ms, struct vitals_view *v, struct pool *p)
{
    *v = (struct vitals_view){0};
    if (c->vitals)
        vitals_look(c->vitals, now_ms, v);
    if (v->ttft > 0 && v->ttft < p->ttft * v->samples)
        p->ttft = v->ttft / v->samples;
    if (v->tokens > p->rate * v->seconds)
        p->rate = v->tokens / v->seconds;
    if ((float)c->weight > p->weight)
        p->weight = (float)c->weight;
    if (c->price_pusd > p->dearest)
        p->dearest = c->price_pusd;
}

static float score(const struct contender *c, const struct vitals_view *v, const struct pool *p,
                   const struct balance_objective *o, uint64_t bits, float best)
{
    float guess = p->ttft, n = 1 / (v->samples + DOUBT);
    float mean = (v->ttft + DOUBT * guess) * n;
    float variance = (v->square + DOUBT * 2 * guess * guess) * n - mean * mean;
    float ttft = mean + (variance > 0 ? sqrtf(variance * n) : 0) * draw(bits);
    if (ttft < guess / 4)
        ttft = guess / 4;
    float usual = v->load + v->calls + DOUBT * (float)c->weight / p->weight;
    ttft *= sqrtf((float)(v->in_flight + 1) * (v->calls + DOUBT) / usual);
    float s = power(ttft, o->ttft);
    if (p->dearest > 0) {
        float price = (float)(c->price_pusd >= 0 ? c->price_pusd : p->dearest);
        s *= power(price + 1, o->price);
    }
    if (s >= best)
        return s; /* what follows only adds */
    float failing = 1 - (float)c->effective / ((float)c->weight * (1 + v->trouble));
    s *= power(1 + RETRY_COST * failing, o->success);
    float headroom = (float)c->headroom;
    if (headroom < TIGHT)
        s *= power(TIGHT / (headroom + 0.001f), o->headroom);
    if (v->tokens > 0)
        s *= power(p->rate * v->seconds / v->tokens, o->rate);
    return s;
}

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    const struct balance_objective *o =
        ask->objective ? ask->objective : &balance_objective_default;
    struct vitals_view v[BALANCE_MAX];
    uint64_t seed = rng_u64();
    struct pool p = {.ttft = FLT_MAX};
    float best = FLT_MAX;
    unsigned chosen = 0;
    for (unsigned i = 0; i < n; i++)
        look(&c[i], ask->now_ms, &v[i], &p);
    if (p.ttft == FLT_MAX)
        p.ttft = 1;
    for (unsigned i = 0; i < n; i++) {
        float s = score(&c[i], &v[i], &p, o, balance_mix(seed, i), best);
        if (s < best) {
            best = s;
            chosen = i;
        }
    }
    return chosen;
}

const struct balance balance_adaptive = {.name = "adaptive", .priced = true, .pick = pick};
