/* affinity: a request goes where its session, or its prompt's prefix, went before, so that it meets
 * the upstream's prompt cache warm: a preference laid over any algorithm, never a veto.
 *
 * It holds while the channel is among the contenders, has no more than about
 * twice its share of what is in flight, succeeds in 4 of 5 calls and has
 * headroom, and for AFFINITY_MS after the last such request.  Otherwise the
 * algorithm chooses, and that choice is remembered.  One table for all workers;
 * any thread.  Zero to begin. */
#ifndef LYSS_GATEWAY_AFFINITY_H
#define LYSS_GATEWAY_AFFINITY_H

#include "gateway/balance/balance.h"

#define AFFINITY_SLOTS 16384
#define AFFINITY_MS    600000

struct affinity {
    _Atomic uint64_t slots[AFFINITY_SLOTS];
};

/* Where ask->affinity went before, if that will do. */
bool affinity_find(struct affinity *a, const struct balance_ask *ask, const struct contender *c,
                   unsigned n, unsigned *out);
void affinity_keep(struct affinity *a, const struct balance_ask *ask, int64_t id);

/* The algorithm with affinity laid over it; a may be NULL. Index of the chosen one. */
unsigned balance_pick(const struct balance *algorithm, struct balance_state *state,
                      struct affinity *a, const struct balance_ask *ask, const struct contender *c,
                      unsigned n);

#endif
