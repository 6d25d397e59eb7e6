/* balance: the table of algorithms, and what several of them need. */
#include "gateway/balance/balance.h"

const struct balance_objective balance_objective_default = {
    .success = 1, .ttft = 1, .rate = 0.5f, .price = 1, .headroom = 1};

static const struct balance *const table[] = {&balance_weighted_random,   &balance_round_robin,
                                              &balance_least_connections, &balance_best_performance,
                                              &balance_adaptive,          &balance_lowest_cost,
                                              &balance_consistent_hash};

#define TABLE (sizeof table / sizeof *table)

const struct balance *balance_at(unsigned i)
{
    return i < TABLE ? table[i] : NULL;
}

const struct balance *balance_find(struct str name)
{
    for (size_t i = 0; i < TABLE; i++)
        if (str_eq(name, str_c(table[i]->name)))
            return table[i];
    return NULL;
}

const struct balance *balance_default(void)
{
    return &balance_weighted_random;
}

struct contender balance_contender(int64_t id, double weight, struct vitals *vitals,
                                   uint64_t now_ms)
{
    return (struct contender){
        .id = id,
        .weight = weight,
        .effective = vitals ? vitals_weight(vitals, weight, now_ms) : weight,
        .vitals = vitals,
        .price_pusd = PRICE_UNKNOWN,
        .headroom = 1,
    };
}

uint64_t balance_hash(struct str s)
{
    uint64_t h = s.n;
    for (; s.n >= 8; s = str_from(s, 8)) {
        uint64_t word;
        memcpy(&word, s.p, 8);
        h = balance_mix(h, word + 1);
    }
    uint64_t rest = 0;
    if (s.n)
        memcpy(&rest, s.p, s.n);
    h = balance_mix(h, rest + 1);
    return h ? h : 1;
}
