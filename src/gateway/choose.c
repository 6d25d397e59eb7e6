/* choose: the eligible candidates of a route, the highest tier of them, and the algorithm's pick.
 */
#include "gateway/choose.h"

#include <limits.h>
#include <stdio.h>

#include "core/rng.h"
#include "gateway/cells.h"
#include "gateway/translate.h"

static bool tried(const struct request_plan *p, int64_t channel_id, int64_t credential_id)
{
    for (unsigned i = 0; i < p->tried_n; i++)
        if (p->tried[i].channel_id == channel_id && p->tried[i].credential_id == credential_id)
            return true;
    return false;
}

/* After a failure that is the channel's and not the credential's all its credentials are out. */
static bool channel_out(const struct request_plan *p, int64_t channel_id)
{
    return tried(p, channel_id, -1);
}

static const struct credential *untried(const struct request_plan *p, const struct channel *ch)
{
    unsigned from = ch->credentials_n > 1 ? (unsigned)rng_below(ch->credentials_n) : 0;
    for (unsigned i = 0; i < ch->credentials_n; i++) {
        const struct credential *c = &ch->credentials[(from + i) % ch->credentials_n];
        if (!tried(p, ch->id, c->id))
            return c;
    }
    return NULL;
}

static bool eligible(const struct request *r, const struct api_key *k, const struct candidate *c,
                     struct reasons *why)
{
    const struct channel *ch = c->channel;
    if (!key_allows_channel(k, ch->id))
        why->not_allowed++;
    else if (translate_op(r, ch, c->upstream.n ? c->upstream : r->model) == OP_NONE)
        why->wrong_operation++;
    else if (!ch->credentials_n)
        why->no_credential++;
    else if (channel_out(r->plan, ch->id) || !untried(r->plan, ch))
        why->tried++;
    else
        return true;
    return false;
}

bool choose(struct request *r, int64_t stay, struct choice *out, struct reasons *why)
{
    struct worker *w = r->worker;
    struct candidate scratch[CANDIDATES_MAX];
    struct contender tier[CANDIDATES_MAX];
    unsigned index[CANDIDATES_MAX], n = 0;
    struct route route;
    struct balance_ask ask = {.now_ms = loop_now_ms(w->loop), .est_in = r->estimate_in};
    int priority = INT_MIN;
    *why = (struct reasons){0};
    const struct api_key *k = snapshot_key(w->snapshot, r->plan->key_digest);
    if (!k || r->plan->tried_n == TRIED_MAX ||
        !snapshot_route(k->tenant, r->model, &route, scratch))
        return false;
    why->inactive = route.inactive;
    for (unsigned i = 0; i < route.n && i < CANDIDATES_MAX; i++) {
        const struct candidate *c = &route.candidates[i];
        int own = c->priority == ROW_NULL ? c->channel->priority : (int)c->priority;
        if (!eligible(r, k, c, why) || (own < priority && c->channel->id != stay))
            continue;
        if (c->channel->id == stay) {
            out->channel = c->channel;
            out->credential = untried(r->plan, c->channel);
            out->upstream = c->upstream.n ? c->upstream : r->model;
            return true;
        }
        if (own > priority) {
            priority = own;
            n = 0;
        }
        index[n] = i;
        tier[n++] = balance_contender(
            c->channel->id, c->weight == ROW_NULL ? c->channel->weight : (double)c->weight,
            &c->channel->cell->vitals, ask.now_ms);
    }
    if (!n)
        return false;
    struct balance_state *state = NULL;
    const struct balance *algorithm = route.algorithm;
    if (algorithm->stateful && !(state = worker_balance_state(w, r->tenant_id, route.name)))
        algorithm = balance_default();
    const struct candidate *c = &route.candidates[index[algorithm->pick(state, &ask, tier, n)]];
    out->channel = c->channel;
    out->credential = untried(r->plan, c->channel);
    out->upstream = c->upstream.n ? c->upstream : r->model;
    return true;
}

const char *choose_reasons(const struct reasons *why, char out[256])
{
    const struct {
        unsigned n;
        const char *what;
    } all[] = {{why->inactive, "inactive"},
               {why->not_allowed, "not allowed to this key"},
               {why->wrong_operation, "without this operation"},
               {why->no_credential, "without a credential"},
               {why->tried, "tried already"}};
    size_t n = 0;
    str_copy(out, 256, STR("it has none"));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].n && n < 200)
            n +=
                (size_t)snprintf(out + n, 256 - n, "%s%u %s", n ? ", " : "", all[i].n, all[i].what);
    return out;
}
