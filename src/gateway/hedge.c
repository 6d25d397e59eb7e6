/* hedge: when a second leg begins, and how one of the two goes. */
#include "gateway/hedge.h"

#include <math.h>

#include "core/alloc.h"
#include "gateway/cells.h"
#include "gateway/memory/idempotency.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"

#define P95_SIGMAS 1.645 /* of a normal distribution */

/* The two legs of a request; both point to it. */
struct race {
    struct request *first, *second; /* NULL, both: it is over */
    struct arena body; /* the first's, when the second goes on: it still sends the caller's body */
};

/* ---- shares ---------------------------------------------------------------------------- */

static void fade(struct hedge_share *s, uint64_t now_ms)
{
    for (; now_ms - s->at_ms >= HEDGE_WINDOW_MS; s->at_ms += HEDGE_WINDOW_MS) {
        if (s->requests < 0.01) { /* long ago, or never */
            *s = (struct hedge_share){.at_ms = now_ms};
            return;
        }
        s->requests /= 2;
        s->hedges /= 2;
        s->cost /= 2;
        s->hedged_cost /= 2;
    }
}

void hedge_share_add(struct hedge_share *s, double cost, uint64_t now_ms)
{
    fade(s, now_ms);
    s->requests++;
    s->cost += cost;
}

bool hedge_share_take(struct hedge_share *s, unsigned percent, unsigned cost_percent, double cost,
                      uint64_t now_ms)
{
    fade(s, now_ms);
    if ((s->hedges + 1) * 100 > percent * s->requests ||
        (s->hedged_cost + cost) * 100 > cost_percent * s->cost)
        return false;
    s->hedges++;
    s->hedged_cost += cost;
    return true;
}

/* ---- when -------------------------------------------------------------------------------- */

static double cost_of(const struct choice *c)
{
    return c->price_pusd == PRICE_UNKNOWN ? 0 : (double)c->price_pusd;
}

/* The time within which 95 of 100 answers of late began; 0: not known. */
static uint64_t usual_ms(struct vitals *v, uint64_t now_ms)
{
    struct vitals_view view;
    vitals_look(v, now_ms, &view);
    if (view.samples < HEDGE_SAMPLES)
        return 0;
    double mean = view.ttft / view.samples, square = view.square / view.samples;
    double sigma = square > mean * mean ? sqrt(square - mean * mean) : 0;
    uint64_t ms = (uint64_t)(mean + P95_SIGMAS * sigma);
    return ms > HEDGE_MIN_MS ? ms : HEDGE_MIN_MS;
}

void hedge_arm(struct request *r, const struct choice *c)
{
    struct request_plan *p = r->plan;
    uint64_t now_ms = loop_now_ms(r->worker->loop);
    p->hedge = (struct hedge_plan){0};
    if (p->passthrough || !c->hedge_percent || r->attempts > 1 || p->lacks_thoughts ||
        (p->body.needs & NEED_PINNED) || !op_row((enum llm_op)r->op)->generates)
        return;
    struct hedge_share *s = worker_hedge_share(r->worker, r->tenant_id, c->route);
    uint64_t usual = usual_ms(&c->channel->cell->vitals, now_ms);
    if (s)
        hedge_share_add(s, cost_of(c), now_ms);
    if (s && usual)
        p->hedge = (struct hedge_plan){s, now_ms + usual, c->hedge_percent, c->hedge_cost_percent};
}

uint64_t hedge_due_ms(const struct request *r)
{
    bool waits = r->phase == PHASE_ATTEMPT && r->plan && r->plan->hedge.due_ms && !r->orphan;
    return waits ? r->plan->hedge.due_ms : UINT64_MAX;
}

/* ---- the second leg ------------------------------------------------------------------------ */

/* A copy without what belongs to r alone. */
static struct request *second_leg(struct request *r)
{
    struct request *s = mem_alloc(sizeof *s);
    if (!s)
        return NULL;
    *s = *r;
    arena_init(&s->arena, r->arena.max_bytes);
    s->plan = arena_alloc(&s->arena, sizeof *s->plan);
    if (!s->plan) {
        mem_free(s);
        return NULL;
    }
    *s->plan = *r->plan;
    s->plan->neutral = NULL; /* its parts may have been joined for the first leg */
    s->plan->meaning = (struct arena){0};
    s->plan->tape = NULL;
    s->plan->parsing = (struct parsing){0};
    s->plan->doc = (struct json_doc){0};
    s->plan->recall = NULL;
    s->plan->translated = s->plan->overridden = (struct buf){0};
    s->plan->loans = (struct buf_loans){0};
    s->plan->head = STR_NULL;
    s->plan->hold = NULL;
    s->plan->hold_n = s->plan->hold_cap = s->plan->hold_events = 0;
    s->plan->hedge.due_ms = 0;
    s->next = NULL;
    s->prev = &s->next;
    s->conn = NULL;
    s->call = (struct http_call){.on = r->call.on};
    s->channel = NULL;
    s->pass = (struct gate_pass){0};
    s->deadline = (struct deadline){0};
    s->gunzip = NULL;
    s->call_live = 0;
    s->body_bytes = 0;
    s->head_ns = s->first_content_ns = 0;
    s->upstream_model = s->tail = NULL;
    s->tail_n = s->tail_cap = 0;
    s->translation = NULL;
    s->idem = NULL;
    s->pace = NULL;
    s->recall = NULL;
    s->worker->requests_n++;
    return s;
}

/* Another channel than the first leg's, and its place there. */
static bool choose_other(struct request *r, struct choice *c)
{
    struct request_plan *p = r->plan;
    struct reasons why;
    if (!p->tried_n || p->tried_n + 1 >= TRIED_MAX)
        return false;
    int64_t credential_id = p->tried[p->tried_n - 1].credential_id;
    p->tried[p->tried_n - 1].credential_id = -1;
    bool found = choose(r, 0, c, &why);
    p->tried[p->tried_n - 1].credential_id = credential_id;
    return found;
}

void hedge_start(struct request *r)
{
    struct request_plan *p = r->plan;
    struct worker *w = r->worker;
    const struct hedge_plan h = p->hedge;
    uint64_t now_ms = loop_now_ms(w->loop);
    struct choice c;
    p->hedge.due_ms = 0;
    if (r->attempts >= w->settings.attempts_max || w->stopping ||
        (!r->spent && !(r->spent = mem_zalloc(sizeof *r->spent))) || !choose_other(r, &c))
        return;
    struct race *race = NULL;
    struct request *s = NULL;
    if (!hedge_share_take(h.share, h.percent, h.cost_percent, cost_of(&c), now_ms) ||
        !(race = mem_zalloc(sizeof *race)) || !(s = second_leg(r))) {
        gate_leave(&c.pass, 0, 0, now_ms);
        mem_free(race);
        return;
    }
    *race = (struct race){.first = r, .second = s};
    r->race = s->race = race;
    /* what it tries is out for the first leg, too, whose own stays last */
    p->tried[p->tried_n] = p->tried[p->tried_n - 1];
    p->tried[p->tried_n++ - 1] = (struct tried){c.channel->id, c.credential->id};
    counter_add(&w->metrics.hedges, 1);
    attempt_begin(s, &c);
}

/* ---- the end of a race ------------------------------------------------------------------------
 */

static bool racing(const struct request *r)
{
    return r->race && r->race->first;
}

/* The second leg becomes the request. */
static void take_over(struct request *s, struct request *first)
{
    struct http_conn *c = first->conn;
    s->conn = c;
    first->conn = NULL;
    if (c)
        c->user = s;
    idempotency_move(first, s);
    s->head_sent = first->head_sent;
    s->last_down_ms = first->last_down_ms;
    s->orphan = first->orphan;
    s->orphan_until_ms = first->orphan_until_ms;
    s->overhead_us += first->overhead_us;
    s->body_bytes += first->body_bytes;
    first->body_bytes = 0;
    s->next = first->next;
    s->prev = first->prev;
    *s->prev = s;
    if (s->next)
        s->next->prev = &s->next;
    first->next = NULL;
    first->prev = &first->next;
    attempt_wipe_head(first);
    relay_drop_reading(first);
    translate_release(first->plan);
    mem_free(first->plan->hold);
    first->plan = NULL; /* it lies in the arena, which stays */
    first->upstream_model = NULL;
    s->race->body = first->arena;
    arena_init(&first->arena, 0);
    weigh_request(s);
}

/* Accounts for a leg and frees it; the other is the request now. */
static void drop(struct request *loser, struct request *winner, enum err outcome, bool sent)
{
    struct race *race = winner->race;
    struct worker *w = winner->worker;
    uint64_t now_ns = clock_mono_ns();
    uint8_t last = winner->attempts > loser->attempts ? winner->attempts : loser->attempts;
    if (sent) {
        loser->attempts = (uint8_t)(last - 1);
        winner->attempts = last;
    }
    http_call_cancel(&loser->call);
    if (loser->call_live && !loser->first_content_ns) /* it takes at least so long */
        vitals_first(&loser->channel->cell->vitals, loop_now_ms(w->loop),
                     (now_ns - loser->attempt_ns) / 1000000);
    if (sent) {
        settle_attempt(loser, outcome);
        winner->progressed = 0; /* the loser's record stands behind it */
    }
    settle_vitals(loser, VITALS_NEUTRAL);
    if (race->first == loser)
        take_over(winner, loser);
    else
        winner->plan->hedge.due_ms = 0;
    race->first = race->second = NULL;
    loser->race = NULL;
    loser->spent = NULL; /* the winner's, and so are these */
    loser->ids = NULL;
    request_free(loser);
}

void hedge_won(struct request *r)
{
    if (!racing(r))
        return;
    bool second = r->race->second == r;
    counter_add(&r->worker->metrics.hedges_won, second);
    drop(second ? r->race->first : r->race->second, r, ERR_HEDGED, true);
}

bool hedge_lost(struct request *r, enum err e, bool sent)
{
    if (!racing(r))
        return false;
    struct request *other = r->race->first == r ? r->race->second : r->race->first;
    drop(r, other, e, sent);
    relay_set_deadline(other);
    return true;
}

size_t hedge_body_bytes(const struct request *r)
{
    return r->race ? r->race->body.used_bytes : 0;
}

void hedge_shed(struct request *r)
{
    struct race *race = r->race;
    if (!race || race->first)
        return;
    r->race = NULL;
    arena_release(&race->body);
    mem_free(race);
}
