/* price: choosing the price in force and the dot product with what was used. */
#include "llm/price.h"

#include <stdio.h>

#define USD_MAX 1000000

__extension__ typedef unsigned __int128 wide;

const struct price *price_at(const struct price_list *l, int64_t at_ms, uint64_t input_tokens)
{
    const struct price *best = NULL;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct price *p = &l->rows[i];
        if (p->from_ms > at_ms)
            break;
        if (best && p->from_ms > best->from_ms)
            best = NULL;
        if (!p->above_tokens || input_tokens > p->above_tokens)
            best = p;
    }
    return best;
}

bool price_cost_nusd(const struct price *p, const struct usage *u, int64_t *out)
{
    wide sum = 0;
#define X(name, input)                                                                             \
    if (u->name) {                                                                                 \
        if (!p || p->rates.name < 0)                                                               \
            return false;                                                                          \
        sum += (wide)(uint64_t)p->rates.name * u->name;                                            \
    }
    USAGE_COUNTERS(X)
#undef X
    sum = (sum + 500) / 1000;
    if (sum > INT64_MAX)
        return false;
    *out = (int64_t)sum;
    return true;
}

int64_t price_expected_pusd(const struct price *p, uint64_t input_tokens, uint64_t output_tokens)
{
    if (!p || (input_tokens && p->rates.in_uncached < 0) ||
        (output_tokens && p->rates.out_text < 0))
        return PRICE_UNKNOWN;
    wide sum = 0;
    if (input_tokens)
        sum += (wide)input_tokens * (uint64_t)p->rates.in_uncached;
    if (output_tokens)
        sum += (wide)output_tokens * (uint64_t)p->rates.out_text;
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

bool price_parse(struct str s, int64_t *out)
{
    ptrdiff_t dot = str_chr(s, '.');
    struct str whole = dot < 0 ? s : str_make(s.p, (size_t)dot);
    struct str part = dot < 0 ? STR_NULL : str_from(s, (size_t)dot + 1);
    uint64_t usd, micro = 0;
    if (!str_u64(whole, USD_MAX, &usd) || (dot >= 0 && (!part.n || part.n > 6)))
        return false;
    if (part.n && !str_u64(part, 999999, &micro))
        return false;
    for (size_t i = part.n; i < 6; i++)
        micro *= 10;
    if (usd == USD_MAX && micro)
        return false;
    *out = (int64_t)(usd * 1000000 + micro);
    return true;
}

char *price_format(int64_t pusd, char out[32])
{
    int n =
        snprintf(out, 32, "%lld.%06lld", (long long)(pusd / 1000000), (long long)(pusd % 1000000));
    while (out[n - 1] == '0' && out[n - 3] != '.')
        out[--n] = 0;
    return out;
}

char *price_format_cost(int64_t nusd, char out[32])
{
    uint64_t v = nusd < 0 ? 0 - (uint64_t)nusd : (uint64_t)nusd;
    snprintf(out, 32, "%s%llu.%09llu", nusd < 0 ? "-" : "", (unsigned long long)(v / 1000000000),
             (unsigned long long)(v % 1000000000));
    return out;
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits: the id must be the same in every process. */
static void mix(uint64_t *h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *h = (*h ^ ((const unsigned char *)p)[i]) * UINT64_C(0x100000001b3);
}

void price_seal(struct price *p, struct str provider, struct str pattern)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    mix(&h, provider.p, provider.n);
    mix(&h, "", 1);
    mix(&h, pattern.p, pattern.n);
    mix(&h, "", 1);
    mix(&h, &p->from_ms, sizeof p->from_ms);
    mix(&h, &p->above_tokens, sizeof p->above_tokens);
    mix(&h, &p->rates, sizeof p->rates);
    p->id = (int64_t)(h & INT64_MAX);
    if (!p->id)
        p->id = 1;
}
