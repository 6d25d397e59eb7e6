/* simulate: a discrete-event model: requests arrive at random, an algorithm picks, the channel
 * answers or fails as its row says, and what failed goes on to another channel, as attempts do. */
#include "gateway/simulate/simulate.h"

#include <math.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/rng.h"

#define ATTEMPTS   3
#define BEGIN_MS   1000000 /* the clock is not new */
#define REFUSED_MS 40      /* until a 429 is there */
#define TOKENS     200     /* of an answer, on the average */
#define KEYS       97      /* callers, for hashing */
#define COLD_MS    15000   /* after so long a cold channel is half warm */

enum event_kind { EVENT_FIRST, EVENT_END, EVENT_FAILED, EVENT_REFUSED };

struct event {
    double at_ms;
    uint32_t request;
    uint8_t kind, channel;
};

struct call {
    double at_ms, noise, luck[ATTEMPTS]; /* drawn before any algorithm runs */
    uint32_t tokens, key;
    double began_ms;           /* of the latest attempt */
    double ttft_ms, cost_nusd; /* ttft 0: no answer */
    uint8_t attempts, tried;   /* a bit for each channel */
};

struct place {
    struct vitals vitals;
    double joined_ms;          /* 0: not yet */
    double bucket, bucket_ms;  /* requests left under the rpm, when */
    double seen_left, seen_ms; /* what the last answer told of it */
    double cool_ms;            /* until then a 429 keeps it out */
};

struct run {
    const struct simulate_scenario *s;
    const struct balance *algorithm;
    const struct simulate_options *o;
    struct simulate_result *out;
    struct balance_state state;
    struct place places[SIMULATE_CHANNELS_MAX];
    struct call *calls;
    struct event *heap; /* the earliest first */
    size_t heap_n;
    double end_ms;
    unsigned counted; /* attempts after the warm-up */
};

/* ---- the queue of events ------------------------------------------------------------------ */

static void push(struct run *r, struct event e)
{
    size_t i = r->heap_n++;
    while (i && r->heap[(i - 1) / 2].at_ms > e.at_ms) {
        r->heap[i] = r->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    r->heap[i] = e;
}

static struct event pop(struct run *r)
{
    struct event top = r->heap[0], last = r->heap[--r->heap_n];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < r->heap_n) {
        if (child + 1 < r->heap_n && r->heap[child + 1].at_ms < r->heap[child].at_ms)
            child++;
        if (r->heap[child].at_ms >= last.at_ms)
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return top;
}

/* ---- how a channel answers ------------------------------------------------------------------ */

static double refill(const struct simulate_channel *c, double left, double since_ms, double now_ms)
{
    return fmin(c->rpm, left + c->rpm * (now_ms - since_ms) / 60000);
}

/* Takes one request from what the limit leaves. */
static bool admitted(const struct simulate_channel *c, struct place *p, double now_ms)
{
    if (!c->rpm)
        return true;
    p->bucket = refill(c, p->bucket, p->bucket_ms, now_ms);
    p->bucket_ms = now_ms;
    bool ok = p->bucket >= 1;
    p->bucket -= ok;
    return ok;
}

static bool is_down(const struct simulate_channel *c, double now_ms)
{
    double at_s = c->flap_s > 0 ? fmod((now_ms - BEGIN_MS) / 1000, c->flap_s) : 0;
    return c->flap_s > 0 && at_s >= c->up_s && at_s < c->up_s + c->down_s;
}

static double ttft(const struct simulate_channel *c, const struct place *p, double now_ms,
                   double noise)
{
    double ms = c->ttft_ms * exp(c->spread * noise);
    if (c->swing_s > 0)
        ms *=
            1 + c->swing * sin(2 * M_PI * ((now_ms - BEGIN_MS) / 1000 / c->swing_s + c->swing_at));
    if (c->crowd)
        ms *= 1 + (double)(vitals_in_flight(&p->vitals) - 1) / c->crowd;
    return ms * (1 + c->cold * exp2(-(now_ms - p->joined_ms) / COLD_MS));
}

static void serve(struct run *r, uint32_t request, uint8_t channel, double now_ms)
{
    const struct simulate_channel *c = &r->s->channels[channel];
    struct place *p = &r->places[channel];
    struct call *call = &r->calls[request];
    struct event e = {now_ms, request, EVENT_FIRST, channel};
    double luck = call->luck[call->attempts];
    vitals_started(&p->vitals, (uint64_t)now_ms);
    call->began_ms = now_ms;
    call->attempts++;
    call->tried |= (uint8_t)(1 << channel);
    if (!admitted(c, p, now_ms)) {
        e.kind = EVENT_REFUSED;
        e.at_ms += REFUSED_MS;
    } else if (is_down(c, now_ms) || luck < c->failing) {
        e.kind = EVENT_FAILED;
        e.at_ms += c->failing_ms;
    } else {
        e.at_ms += ttft(c, p, now_ms, call->noise);
    }
    push(r, e);
}

/* ---- a request's way ------------------------------------------------------------------------ */

static void join(struct run *r, unsigned i, double now_ms)
{
    const struct simulate_channel *c = &r->s->channels[i];
    struct place *p = &r->places[i];
    if (p->joined_ms > 0 || now_ms < BEGIN_MS + c->joins_s * 1000)
        return;
    p->joined_ms = now_ms;
    p->bucket = p->seen_left = c->rpm;
    p->bucket_ms = p->seen_ms = now_ms;
    vitals_init(&p->vitals, (uint64_t)now_ms);
    if (c->joins_s > 0)
        vitals_recovering(&p->vitals, (uint64_t)now_ms);
}

static void count(struct run *r, uint32_t request, unsigned channel, double now_ms)
{
    size_t slot = (size_t)((now_ms - BEGIN_MS) / (r->end_ms - BEGIN_MS) * SIMULATE_SLOTS);
    r->out->history[slot < SIMULATE_SLOTS ? slot : SIMULATE_SLOTS - 1][channel]++;
    r->out->attempts++;
    if (request < SIMULATE_WARM_UP)
        return;
    r->out->share[channel]++;
    r->counted++;
}

/* Picks among what is there and has not been tried; false: nothing is left. */
static bool attempt(struct run *r, uint32_t request, double now_ms)
{
    struct call *call = &r->calls[request];
    struct contender all[SIMULATE_CHANNELS_MAX];
    uint8_t index[SIMULATE_CHANNELS_MAX];
    unsigned n = 0;
    if (call->attempts == ATTEMPTS)
        return false;
    for (unsigned i = 0; i < r->s->n; i++) {
        const struct simulate_channel *c = &r->s->channels[i];
        struct place *p = &r->places[i];
        join(r, i, now_ms);
        if (p->joined_ms <= 0 || call->tried & 1 << i || now_ms < p->cool_ms)
            continue;
        index[n] = (uint8_t)i;
        all[n] = balance_contender((int64_t)i + 1, c->weight, &p->vitals, (uint64_t)now_ms);
        all[n].price_pusd = (int64_t)(c->price_nusd * 1000 * TOKENS);
        if (c->rpm)
            all[n].headroom = refill(c, p->seen_left, p->seen_ms, now_ms) / c->rpm;
        n++;
    }
    struct balance_ask ask = {.now_ms = (uint64_t)now_ms,
                              .hash = balance_mix(call->key, 1),
                              .objective = r->o->objective};
    if (!n)
        return false;
    uint8_t channel = index[r->algorithm->pick(&r->state, &ask, all, n)];
    count(r, request, channel, now_ms);
    serve(r, request, channel, now_ms);
    return true;
}

static void happen(struct run *r, const struct event *e)
{
    const struct simulate_channel *c = &r->s->channels[e->channel];
    struct place *p = &r->places[e->channel];
    struct call *call = &r->calls[e->request];
    struct event end = {e->at_ms, e->request, EVENT_END, e->channel};
    uint64_t now_ms = (uint64_t)e->at_ms;
    double flow_ms = call->tokens / c->tokens_per_s * 1000;
    p->seen_left = p->bucket;
    p->seen_ms = p->bucket_ms;
    switch (e->kind) {
    case EVENT_FIRST:
        call->ttft_ms = e->at_ms - call->at_ms;
        call->cost_nusd = call->tokens * c->price_nusd;
        vitals_first(&p->vitals, now_ms, (uint64_t)(e->at_ms - call->began_ms));
        end.at_ms += flow_ms;
        push(r, end);
        return;
    case EVENT_END:
        vitals_finished(&p->vitals, now_ms, VITALS_OK, call->tokens, call->tokens,
                        (uint64_t)flow_ms);
        return;
    case EVENT_REFUSED: /* Retry-After: whole seconds */
        p->cool_ms = e->at_ms + 1000 * ceil((1 - p->bucket) * 60 / c->rpm);
        break;
    default:
        break;
    }
    vitals_finished(&p->vitals, now_ms, VITALS_FAILED, 0, 0, 0);
    (void)attempt(r, e->request, e->at_ms);
}

/* ---- the whole run ----------------------------------------------------------------------------
 */

/* Sum of 12 even numbers: near enough to normal, and never far out. */
static double normal(void)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += rng_unit();
    return sum;
}

static void draw_calls(struct run *r)
{
    double at_ms = BEGIN_MS;
    rng_seed(r->o->seed);
    for (unsigned i = 0; i < r->o->picks; i++) {
        struct call *c = &r->calls[i];
        at_ms += -log(1 - rng_unit()) * 1000 / r->s->per_s;
        *c = (struct call){.at_ms = at_ms, .noise = normal(), .key = (uint32_t)rng_below(KEYS)};
        c->tokens = (uint32_t)(TOKENS * (0.25 + 1.5 * rng_unit()));
        for (int k = 0; k < ATTEMPTS; k++)
            c->luck[k] = rng_unit();
    }
    r->end_ms = at_ms + 1;
    rng_seed(~r->o->seed); /* the algorithms' own */
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct simulate_score rate(const struct run *r, unsigned from, double *scratch)
{
    struct simulate_score s = {0};
    unsigned n = 0, all = r->o->picks - from;
    for (unsigned i = from; i < r->o->picks; i++) {
        const struct call *c = &r->calls[i];
        if (c->ttft_ms > 0) {
            scratch[n++] = c->ttft_ms;
            s.mean_ttft_ms += c->ttft_ms;
            s.cost_nusd += c->cost_nusd;
        }
    }
    qsort(scratch, n, sizeof *scratch, ascending);
    s.errors = all ? (double)(all - n) / all : 0;
    if (n) {
        s.p95_ttft_ms = scratch[(size_t)(0.95 * (n - 1))];
        s.mean_ttft_ms /= n;
        s.cost_nusd /= n;
    }
    s.objective = s.p95_ttft_ms * (1 + 10 * s.errors) * (r->s->prices ? s.cost_nusd : 1);
    return s;
}

static void play(struct run *r)
{
    unsigned next = 0;
    draw_calls(r);
    while (next < r->o->picks || r->heap_n) {
        if (next < r->o->picks && (!r->heap_n || r->calls[next].at_ms <= r->heap[0].at_ms)) {
            (void)attempt(r, next, r->calls[next].at_ms);
            next++;
        } else {
            struct event e = pop(r);
            happen(r, &e);
        }
    }
}

enum err simulate_run(const struct simulate_scenario *s, const struct balance *algorithm,
                      const struct simulate_options *o, struct simulate_result *out)
{
    struct run *r = mem_zalloc(sizeof *r);
    struct call *calls = mem_alloc(o->picks * sizeof *calls);
    struct event *heap = mem_alloc(o->picks * sizeof *heap); /* a call has one event at a time */
    double *scratch = mem_alloc(o->picks * sizeof *scratch);
    bool ok = r && calls && heap && scratch;
    if (ok) {
        *out = (struct simulate_result){.scenario = s, .algorithm = algorithm};
        *r = (struct run){
            .s = s, .algorithm = algorithm, .o = o, .out = out, .calls = calls, .heap = heap};
        play(r);
        out->requests = o->picks;
        out->seconds = (r->end_ms - BEGIN_MS) / 1000;
        out->all = rate(r, 0, scratch);
        out->warm = rate(r, o->picks > SIMULATE_WARM_UP ? SIMULATE_WARM_UP : 0, scratch);
        for (unsigned i = 0; i < s->n; i++)
            out->share[i] /= r->counted ? r->counted : 1;
    }
    mem_free(scratch);
    mem_free(heap);
    mem_free(calls);
    mem_free(r);
    return ok ? ERR_OK : ERR_NOMEM;
}
