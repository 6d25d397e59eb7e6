/* weighted_random: drawn in proportion to effective weight; no memory, so no two workers or nodes
 * can fall into step. */
#include "core/rng.h"
#include "gateway/balance/balance.h"

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    (void)ask;
    if (n == 1)
        return 0;
    double sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += c[i].effective;
    double at = rng_unit() * sum;
    for (unsigned i = 0; i + 1 < n; i++) {
        at -= c[i].effective;
        if (at < 0)
            return i;
    }
    return n - 1;
}

const struct balance balance_weighted_random = {.name = "weighted_random", .pick = pick};
