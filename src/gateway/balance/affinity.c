/* affinity: a table without locks: one atomic word a slot, found by the hash, holding the channel,
 * a tag that tells whose it is, and when. What collides is overwritten; what is wrong by a chance
 * of 1 in 65 536 costs a cold cache once. */
#include "gateway/balance/affinity.h"

#define ID_BITS 40
#define ID_MAX  ((1ll << ID_BITS) - 1)
#define UNIT_MS 8192 /* of the time in a slot, which has 8 bits: 35 minutes around */
#define BOUND   2.0
#define WEAK    0.8

struct slot {
    uint64_t tag;
    int64_t id;
    uint8_t time;
};

static struct slot unpack(uint64_t word)
{
    return (struct slot){word >> 48, (int64_t)(word & (uint64_t)ID_MAX),
                         (uint8_t)(word >> ID_BITS)};
}

static _Atomic uint64_t *slot_of(struct affinity *a, uint64_t hash)
{
    return &a->slots[hash % AFFINITY_SLOTS];
}

/* A channel that is overloaded or fails is left, however warm its cache. */
static bool fit(const struct contender *all, unsigned n, unsigned at)
{
    double load = 1, weights = 0;
    for (unsigned i = 0; i < n; i++) {
        load += contender_load(&all[i]);
        weights += all[i].weight;
    }
    double room = BOUND * load * all[at].weight / weights + 1;
    return contender_load(&all[at]) <= room && contender_fitness(&all[at]) >= WEAK &&
           all[at].headroom > 0;
}

bool affinity_find(struct affinity *a, const struct balance_ask *ask, const struct contender *c,
                   unsigned n, unsigned *out)
{
    if (!a || !ask->affinity)
        return false;
    uint64_t word = atomic_load_explicit(slot_of(a, ask->affinity), memory_order_relaxed);
    struct slot s = unpack(word);
    uint8_t age = (uint8_t)(ask->now_ms / UNIT_MS - s.time);
    if (!word || s.tag != ask->affinity >> 48 || age > AFFINITY_MS / UNIT_MS)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (c[i].id == s.id) {
            *out = i;
            return fit(c, n, i);
        }
    return false;
}

void affinity_keep(struct affinity *a, const struct balance_ask *ask, int64_t id)
{
    if (!a || !ask->affinity || id <= 0 || id > ID_MAX)
        return;
    uint64_t time = (uint8_t)(ask->now_ms / UNIT_MS);
    uint64_t word = ask->affinity >> 48 << 48 | time << ID_BITS | (uint64_t)id;
    atomic_store_explicit(slot_of(a, ask->affinity), word, memory_order_relaxed);
}

unsigned balance_pick(const struct balance *algorithm, struct balance_state *state,
                      struct affinity *a, const struct balance_ask *ask, const struct contender *c,
                      unsigned n)
{
    unsigned chosen;
    if (!affinity_find(a, ask, c, n, &chosen))
        chosen = algorithm->pick(state, ask, c, n);
    affinity_keep(a, ask, c[chosen].id);
    return chosen;
}
