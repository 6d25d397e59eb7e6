/* explain: the filter's word on each candidate, and the shares of the first tier. */
#include "gateway/choose/explain.h"

#include <limits.h>
#include <stdlib.h>

static int by_tier(const void *a, const void *b)
{
    const struct explained *x = a, *y = b;
    if ((x->why == REASON_NONE) != (y->why == REASON_NONE))
        return x->why == REASON_NONE ? -1 : 1;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return str_cmp(x->channel->name, y->channel->name);
}

static void share_out(struct explained *all, unsigned n)
{
    double sum = 0;
    int priority = INT_MIN;
    for (unsigned i = 0; i < n; i++)
        if (!all[i].why && all[i].priority > priority)
            priority = all[i].priority;
    for (unsigned i = 0; i < n; i++) {
        all[i].first = !all[i].why && all[i].priority == priority;
        sum += all[i].first ? all[i].weight : 0;
    }
    for (unsigned i = 0; i < n; i++)
        all[i].share = all[i].first ? all[i].weight / sum : 0;
}

bool explain(const struct tenant *t, struct str model, const struct eligible_ask *ask,
             struct route *route, struct explained out[CANDIDATES_MAX], unsigned *n)
{
    struct candidate scratch[CANDIDATES_MAX];
    *n = 0;
    if (!snapshot_route(t, model, route, scratch))
        return false;
    for (unsigned i = 0; i < route->n && i < CANDIDATES_MAX; i++) {
        const struct candidate *c = &route->candidates[i];
        struct explained *x = &out[(*n)++];
        struct eligible e;
        *x = (struct explained){
            .channel = c->channel,
            .upstream = c->upstream.n ? c->upstream : model,
            .priority = c->priority == ROW_NULL ? c->channel->priority : (int)c->priority,
            .weight = c->weight == ROW_NULL ? c->channel->weight : (double)c->weight};
        eligible_look(ask, c->channel, x->upstream, &e);
        x->why = e.why;
        x->wait_ms = e.wait_ms;
        if (ask->key && !key_allows_model(ask->key, model)) {
            x->why = REASON_NOT_ALLOWED;
            x->wait_ms = 0;
        }
    }
    route->candidates = NULL; /* they may have been in scratch */
    share_out(out, *n);
    qsort(out, *n, sizeof *out, by_tier);
    return true;
}
