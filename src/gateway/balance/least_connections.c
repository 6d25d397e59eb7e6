/* least_connections: the least (in flight + 1) / effective weight; ties at random, so that workers
 * that look at the same moment do not all go to the first. */
#include "core/rng.h"
#include "gateway/balance/balance.h"

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    (void)ask;
    uint64_t seed = rng_u64();
    double best = 0;
    unsigned chosen = 0, ties = 0;
    for (unsigned i = 0; i < n; i++) {
        double load = (contender_load(&c[i]) + 1) / c[i].effective;
        if (!ties || load < best) {
            best = load;
            chosen = i;
            ties = 1;
        } else if (load <= best && !((balance_mix(seed, i) >> 32) * ++ties >> 32)) {
            chosen = i;
        }
    }
    return chosen;
}

const struct balance balance_least_connections = {.name = "least_connections", .pick = pick};
