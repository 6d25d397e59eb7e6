/* balance: how one of several equal candidates is chosen. One const row an algorithm.
 *
 * The caller has filtered: every contender is eligible and of the same priority
 * tier.  A picker is pure but for its state, which belongs to the calling
 * worker, and never blocks. */
#ifndef LYSS_GATEWAY_BALANCE_H
#define LYSS_GATEWAY_BALANCE_H

#include "core/str.h"

struct contender {
    int64_t id;    /* of the channel */
    double weight; /* effective, > 0 */
};

/* What an algorithm remembers of one route, on one worker. Zero to begin. */
#define BALANCE_MAX 64
struct balance_state {
    unsigned n;
    int64_t id[BALANCE_MAX];
    double current[BALANCE_MAX];
};

struct balance {
    const char *name;
    bool stateful;
    /* Index of the chosen one; n >= 1. state is NULL for stateless algorithms. */
    unsigned (*pick)(struct balance_state *state, const struct contender *c, unsigned n);
};

extern const struct balance balance_weighted_random, balance_round_robin;

const struct balance *balance_find(struct str name); /* NULL: no such algorithm */
const struct balance *balance_default(void);

#endif
