/* balance: the table of algorithms. */
#include "gateway/balance/balance.h"

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
