/* balance: how one of several equal candidates is chosen. One const row an algorithm.
 *
 * The caller has filtered: every contender is eligible and of the same priority
 * tier.  A picker looks at what it is given and at the channels' vitals; its own
 * state, if any, belongs to the calling worker.  It never blocks. */
#ifndef LYSS_GATEWAY_BALANCE_H
#define LYSS_GATEWAY_BALANCE_H

#include "core/str.h"
#include "gateway/health/vitals.h"
#include "llm/price.h"

/* What of a channel counts when one is chosen. */
struct contender {
    int64_t id;            /* of the channel */
    double weight;         /* as configured, > 0 */
    double effective;      /* weight × success × slow start, > 0 */
    struct vitals *vitals; /* NULL: nothing is known of it */
    int64_t price_pusd;    /* expected of this request, in pico-USD; PRICE_UNKNOWN */
    double headroom;       /* share of its limits that is free, 0 … 1; 1 where nothing is known */
};

/* What `adaptive` weighs: exponents of the factors of its score; 0: it does not matter. */
struct balance_objective {
    float success, ttft, rate, price, headroom;
};
extern const struct balance_objective balance_objective_default;

/* What of the request counts. */
struct balance_ask {
    uint64_t now_ms;                           /* monotonic */
    uint64_t hash;                             /* of user, session or prompt prefix; 0: none */
    uint64_t affinity;                         /* of what is to stay together; 0: nothing */
    const struct balance_objective *objective; /* NULL: the default */
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
    bool priced; /* looks at price or headroom */
    bool hashed; /* looks at the hash */
    /* Index of the chosen one; n is 1 … BALANCE_MAX. state is NULL for stateless algorithms. */
    unsigned (*pick)(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n);
};

extern const struct balance balance_weighted_random, balance_round_robin, balance_least_connections,
    balance_best_performance, balance_adaptive, balance_lowest_cost, balance_consistent_hash;

const struct balance *balance_find(struct str name); /* NULL: no such algorithm */
const struct balance *balance_default(void);

/* A channel as it stands now, without a price and with full headroom. */
struct contender balance_contender(int64_t id, double weight, struct vitals *vitals,
                                   uint64_t now_ms);

/* The i-th algorithm; NULL past the last. */
const struct balance *balance_at(unsigned i);

/* Success × slow start, in (0, 1]. */
static inline double contender_fitness(const struct contender *c)
{
    return c->effective / c->weight;
}
/* Calls under way. */
static inline int32_t contender_load(const struct contender *c)
{
    return c->vitals ? vitals_in_flight(c->vitals) : 0;
}

/* A 64-bit hash that is the same in every process: of a text, of a number, of two hashes. */
uint64_t balance_hash(struct str s);
static inline uint64_t balance_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + b * 0x9e3779b97f4a7c15u; /* splitmix64's finisher */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
