/* budget: what things that are kept may take in all, counted by many threads without a lock. */
#ifndef LYSS_GATEWAY_BUDGET_H
#define LYSS_GATEWAY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    uint64_t max_bytes;
    _Atomic uint64_t used_bytes;
};

static inline void budget_give(struct budget *b, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&b->used_bytes, bytes, memory_order_relaxed);
}

/* False: it would pass the maximum; nothing is taken. */
static inline bool budget_take(struct budget *b, uint64_t bytes)
{
    uint64_t used = atomic_fetch_add_explicit(&b->used_bytes, bytes, memory_order_relaxed);
    if (used + bytes <= b->max_bytes)
        return true;
    budget_give(b, bytes);
    return false;
}

#endif
