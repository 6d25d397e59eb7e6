/* balance: the table of algorithms. */
#include "gateway/balance/balance.h"

const struct balance_objective balance_objective_default = {1, 1, 0, 1, 1};

static const struct balance *const table[] = {&balance_weighted_random, &balance_round_robin};

const struct balance *balance_find(struct str name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
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
