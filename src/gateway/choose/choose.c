/* choose: the eligible candidates of a route, the highest tier of them, and the algorithm's pick.
 * Between looking and taking another worker may have taken the last place: then that candidate is
 * out and the rest is picked from again. */
#include "gateway/choose/choose.h"

#include <limits.h>

#include "gateway/cells.h"
#include "gateway/translate.h"

#define TURNS_MAX 4
/* Without these an answer is still one, if a lesser one; the receipt names what it lacks. */
#define NEEDS_SOFT (NEED_JSON_SCHEMA | NEED_THINKING)

/* The candidates of the highest tier. */
struct tier {
    struct contender contenders[CANDIDATES_MAX];
    const struct candidate *candidates[CANDIDATES_MAX];
    const struct credential *credentials[CANDIDATES_MAX];
    const struct catalogue_entry *entries[CANDIDATES_MAX];
    unsigned n;
};

static struct str upstream_of(const struct request *r, const struct candidate *c)
{
    return c->upstream.n ? c->upstream : r->plan->model;
}

static const struct catalogue_entry *entry_of(const struct request *r, const struct candidate *c)
{
    return c->entry
               ? c->entry
               : model_resolve(r->worker->gateway->catalogue, str_c(c->channel->provider->name),
                               upstream_of(r, c), r->plan->model);
}

static void tier_add(const struct request *r, struct tier *t, const struct candidate *c,
                     const struct credential *k, const struct catalogue_entry *entry,
                     uint64_t now_ms)
{
    double weight = c->weight == ROW_NULL ? c->channel->weight : (double)c->weight;
    t->contenders[t->n] =
        balance_contender(c->channel->id, weight, &c->channel->cell->vitals, now_ms);
    t->contenders[t->n].price_pusd =
        price_expected_pusd(price_at(&entry->prices, r->started_wall_ms, r->estimate_in),
                            r->estimate_in, r->estimate_out);
    t->candidates[t->n] = c;
    t->entries[t->n] = entry;
    t->credentials[t->n++] = k;
}

static void tier_remove(struct tier *t, unsigned i)
{
    t->n--;
    for (; i < t->n; i++) {
        t->contenders[i] = t->contenders[i + 1];
        t->candidates[i] = t->candidates[i + 1];
        t->credentials[i] = t->credentials[i + 1];
        t->entries[i] = t->entries[i + 1];
    }
}

/* Fills t with what may be asked, of the highest priority, but for the channel to stay with, which
 * is then alone. */
static void fill(const struct request *r, const struct route *route, const struct eligible_ask *ask,
                 int64_t stay, struct tier *t, struct reasons *why)
{
    int priority = INT_MIN;
    t->n = 0;
    for (unsigned i = 0; i < route->n && i < CANDIDATES_MAX; i++) {
        const struct candidate *c = &route->candidates[i];
        int own = c->priority == ROW_NULL ? c->channel->priority : (int)c->priority;
        bool stays = c->channel->id == stay;
        const struct catalogue_entry *entry = entry_of(r, c);
        struct eligible e;
        eligible_look(ask, c->channel, upstream_of(r, c), &e);
        if (!e.why && translate_op(r, c->channel, &entry->caps) == OP_NONE)
            e.why = REASON_OPERATION;
        if (e.why)
            reasons_add(why, e.why, e.wait_ms);
        if (e.why || (own < priority && !stays))
            continue;
        if (own > priority || stays)
            t->n = 0;
        priority = own;
        tier_add(r, t, c, e.credential, entry, ask->now_ms);
        if (route->algorithm->priced)
            t->contenders[t->n - 1].headroom = appraise_headroom(c->channel, ask->now_ms);
        if (stays)
            return;
    }
}

static unsigned pick(struct request *r, const struct route *route, const struct tier *t,
                     uint64_t now_ms)
{
    const struct balance *algorithm = route->algorithm;
    struct balance_state *state = NULL;
    struct balance_ask ask = {.now_ms = now_ms, .objective = route->objective};
    struct appraise_origin origin = {r->tenant_id, r->user_id, r->key_id, r->plan->session,
                                     route->name};
    if (algorithm->hashed)
        ask.hash = appraise_hash(AFFINITY_SESSION, &origin, &r->plan->body);
    if (route->affinity)
        ask.affinity = appraise_hash(route->affinity, &origin, &r->plan->body);
    if (algorithm->stateful &&
        !(state = worker_balance_state(r->worker, r->tenant_id, route->name)))
        algorithm = balance_default();
    return balance_pick(algorithm, state, &r->worker->gateway->affinity, &ask, t->contenders, t->n);
}

/* Takes a place with one of the tier. */
static bool take(struct request *r, const struct route *route, const struct eligible_ask *ask,
                 struct tier *t, struct choice *out, struct reasons *why)
{
    while (t->n) {
        unsigned i = pick(r, route, t, ask->now_ms);
        const struct candidate *c = t->candidates[i];
        out->channel = c->channel;
        out->credential = t->credentials[i];
        out->upstream = upstream_of(r, c);
        out->entry = t->entries[i];
        out->route = route->name;
        out->hedge_percent = route->hedge_percent;
        out->hedge_cost_percent = route->hedge_cost_percent;
        out->price_pusd = t->contenders[i].price_pusd;
        struct gate_ask gate = eligible_gate_ask(ask, out->upstream);
        enum reason no =
            gate_enter(c->channel, out->credential->cell, out->upstream, &gate, &out->pass);
        if (!no)
            return true;
        reasons_add(why, no, 0);
        tier_remove(t, i);
    }
    return false;
}

bool choose(struct request *r, int64_t stay, struct choice *out, struct reasons *why)
{
    struct worker *w = r->worker;
    const struct request_plan *p = r->plan;
    struct tier tier;
    *why = (struct reasons){0};
    const struct resolved *to = resolve(r);
    if (!to->found || p->tried_n == TRIED_MAX)
        return false;
    const struct route *route = &to->route;
    struct eligible_ask ask = {
        .key = to->key,
        .catalogue = w->gateway->catalogue,
        .op = r->op,
        .needs = p->body.needs,
        .estimate_in = r->estimate_in,
        .estimate_out = r->estimate_out,
        .again = r->attempts > p->unconnected,
        .pin_channel = p->pin_channel,
        .pin_credential = p->pin_credential,
        .tried = p->tried,
        .tried_n = p->tried_n,
        .now_ms = loop_now_ms(w->loop),
    };
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        *why = (struct reasons){.n[REASON_INACTIVE] = route->inactive};
        fill(r, route, &ask, stay, &tier, why);
        bool any = tier.n > 0;
        if (any && take(r, route, &ask, &tier, out, why))
            return true;
        if (any)
            continue; /* its places went to others just now; the next look sees that */
        if ((why->n[REASON_JSON_SCHEMA] || why->n[REASON_THINKING]) && (ask.needs & NEEDS_SOFT))
            ask.needs &= ~(unsigned)NEEDS_SOFT;
        else if (why->n[REASON_CONTEXT] && !ask.any_context)
            ask.any_context = true; /* an estimate refuses nobody: the upstream is to judge */
        else
            return false;
    }
    return false;
}

bool choose_fallback(struct request *r, unsigned kinds)
{
    struct request_plan *p = r->plan;
    unsigned kind = kinds & FAULT_CONTEXT ? FAULT_CONTEXT : kinds & FAULT_POLICY;
    struct str before = p->model, name;
    if (!kind || (p->fell_back & kind))
        return false;
    const struct resolved *to = resolve(r);
    if (!to->found)
        return false;
    name = kind == FAULT_CONTEXT ? to->route.context_fallback : to->route.policy_fallback;
    if (!name.n || !key_allows_model(to->key, name))
        return false;
    name = arena_dup(&r->arena, name);
    if (!name.n)
        return false;
    p->model = name;
    if (!resolve(r)->found) {
        p->model = before;
        return false;
    }
    p->fell_back |= (uint8_t)kind;
    p->tried_n = 0;
    return true;
}
