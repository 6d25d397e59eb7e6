/* price: what tokens cost, and what an answer did.
 *
 * Money is integer: a price is pico-USD a token (one USD a million tokens is
 * 1 000 000), a cost is nano-USD, a sum has 128 bits before it is rounded half
 * up, once.  What is not known stays unknown and is never 0.  Plain data and
 * pure functions; any thread. */
#ifndef LYSS_LLM_PRICE_H
#define LYSS_LLM_PRICE_H

#include "llm/usage.h"

#define PRICE_UNKNOWN INT64_C(-1)

/* Pico-USD for one of each counter, or PRICE_UNKNOWN. */
struct price_rates {
#define X(name, input) int64_t name;
    USAGE_COUNTERS(X)
#undef X
};

struct price {
    int64_t id;            /* names provider, pattern, moment and rates for ever; above 0 */
    int64_t from_ms;       /* in force from this moment (1970 UTC) until a later one is */
    uint32_t above_tokens; /* for requests that read more than so many tokens; 0: for all */
    struct price_rates rates;
    struct str source; /* the page that says so */
};

/* In order of from_ms, then of above_tokens. */
struct price_list {
    const struct price *rows;
    uint32_t n;
};

/* The price in force at a moment for a request that read so many tokens; NULL: none is known. */
const struct price *price_at(const struct price_list *l, int64_t at_ms, uint64_t input_tokens);

/* The cost of u. A counter that is zero costs nothing, whatever its price; so p may be NULL for a
 * usage of nothing. False, *out untouched: the price of a counter that is not zero is unknown, or
 * int64 cannot hold the sum. */
bool price_cost_nusd(const struct price *p, const struct usage *u, int64_t *out) MUST_CHECK;

/* What so many tokens of input and output would cost, in pico-USD, for comparing; PRICE_UNKNOWN. */
int64_t price_expected_pusd(const struct price *p, uint64_t input_tokens, uint64_t output_tokens);

/* USD a million as a decimal string ("2.50", at most 1000000, at most six decimals) to pico-USD
 * each. False: it is none. */
bool price_parse(struct str usd_per_million, int64_t *out);
/* And back, with at least two decimals; returns out. */
char *price_format(int64_t pusd, char out[32]);
/* Nano-USD as USD with nine decimals, a minus sign where due. */
char *price_format_cost(int64_t nusd, char out[32]);

/* Fills p->id from everything else and the names that the price is of. */
void price_seal(struct price *p, struct str provider, struct str pattern);

#endif
