/* consistent_hash: weighted rendezvous hashing (Wang and Ravishankar; weights by Schindelhauer and
 * Schomaker): each channel draws a number from its id and the request's hash, the highest wins, so
 * that a channel that comes or goes moves only its own share. Loads are bounded (Mirrokni, Thorup
 * and Zadimoghaddam): a channel with more than 1.25 of its share of what is in flight is passed
 * over. Weights are as configured: what went well or badly lately must not move anyone. */
#include <float.h>
#include <math.h>

#include "core/rng.h"
#include "gateway/balance/balance.h"

#define BOUND 1.25

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    uint64_t hash = ask->hash ? ask->hash : rng_u64();
    double in_flight = 1, weights = 0;
    float best = FLT_MAX;
    unsigned chosen = 0;
    for (unsigned i = 0; i < n; i++) {
        in_flight += contender_load(&c[i]);
        weights += c[i].weight;
    }
    for (unsigned i = 0; i < n; i++) {
        double room = ceil(BOUND * in_flight * c[i].weight / weights);
        if (contender_load(&c[i]) + 1 > room)
            continue;
        /* In (0, 1); -ln of it over the weight is exponential, and the least of those wins. */
        float unit = ((float)(balance_mix(hash, (uint64_t)c[i].id) >> 41) + 0.5f) * 0x1p-23f;
        float score = -logf(unit) / (float)c[i].weight;
        if (score < best) {
            best = score;
            chosen = i;
        }
    }
    return chosen;
}

const struct balance balance_consistent_hash = {
    .name = "consistent_hash", .hashed = true, .pick = pick};
