/* round_robin: smooth weighted round robin: each pick adds every contender's weight to its running
 * total, takes the highest and subtracts the sum of weights from it, so that over any W = sum of
 * weights picks of a worker each one gets its weight, evenly spread. */
#include "gateway/balance/balance.h"

/* The running total of a channel, most likely the at-th; a new one starts at 0. */
static double *total(struct balance_state *s, unsigned at, int64_t id)
{
    if (at < s->n && s->id[at] == id)
        return &s->current[at];
    for (unsigned i = 0; i < s->n; i++)
        if (s->id[i] == id)
            return &s->current[i];
    if (s->n == BALANCE_MAX)
        s->n = 0; /* membership has changed many times: begin anew */
    s->id[s->n] = id;
    s->current[s->n] = 0;
    return &s->current[s->n++];
}

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)ask;
    double sum = 0, *best = NULL;
    unsigned chosen = 0;
    for (unsigned i = 0; i < n; i++) {
        double *t = total(state, i, c[i].id);
        *t += c[i].weight;
        sum += c[i].weight;
        if (!best || *t > *best) {
            best = t;
            chosen = i;
        }
    }
    *best -= sum;
    return chosen;
}

const struct balance balance_round_robin = {.name = "round_robin", .stateful = true, .pick = pick};
