/* lowest_cost: the least expected price of this request among channels whose calls succeed well
 * enough; of equal prices one at random, in proportion to effective weight. A price that is not
 * known counts as the highest. */
#include "core/rng.h"
#include "gateway/balance/balance.h"

#define SUCCESS_MIN 0.8

static int64_t price(const struct contender *c)
{
    return c->price_pusd < 0 ? INT64_MAX : c->price_pusd;
}

static unsigned pick(struct balance_state *state, const struct balance_ask *ask,
                     const struct contender *c, unsigned n)
{
    (void)state;
    double success[BALANCE_MAX], bar = 0, sum = 0;
    int64_t least = INT64_MAX;
    unsigned chosen = 0;
    for (unsigned i = 0; i < n; i++) {
        success[i] = c[i].vitals ? vitals_success(c[i].vitals, ask->now_ms) : 1;
        if (success[i] > bar)
            bar = success[i];
    }
    if (bar > SUCCESS_MIN)
        bar = SUCCESS_MIN; /* else only the best will do */
    for (unsigned i = 0; i < n; i++) {
        if (success[i] < bar || price(&c[i]) > least)
            continue;
        if (price(&c[i]) < least)
            sum = 0;
        least = price(&c[i]);
        sum += c[i].effective;
        if (rng_unit() * sum < c[i].effective)
            chosen = i;
    }
    return chosen;
}

const struct balance balance_lowest_cost = {.name = "lowest_cost", .priced = true, .pick = pick};
