/* best_performance: the least peak TTFT × (in flight + 1) / success. What is not known yet counts
 * as the best that is. Two picks of a hundred go anywhere, so that a channel that has recovered is
 * measured again. */
#include <float.h>

#include "core/rng.h"
#include "gateway/balance/balance.h"

#define EXPLORE 0.02

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    double ttft[BALANCE_MAX], least = DBL_MAX, best = DBL_MAX;
    unsigned chosen = 0;
    if (rng_unit() < EXPLORE)
        return (unsigned)rng_below(n);
    for (unsigned i = 0; i < n; i++) {
        ttft[i] = c[i].vitals ? vitals_ttft_peak(c[i].vitals, ask->now_ms) : 0;
        if (ttft[i] > 0 && ttft[i] < least)
            least = ttft[i];
    }
    if (least == DBL_MAX)
        least = 1;
    unsigned from = (unsigned)rng_below(n); /* ties must not always go to the first */
    for (unsigned k = 0; k < n; k++) {
        unsigned i = from + k < n ? from + k : from + k - n;
        double score = (ttft[i] > 0 ? ttft[i] : least) * (contender_load(&c[i]) + 1) /
                       contender_fitness(&c[i]);
        if (score < best) {
            best = score;
            chosen = i;
        }
    }
    return chosen;
}

const struct balance balance_best_performance = {.name = "best_performance", .pick = pick};
