/* counter: numbers that one thread writes and any thread reads.
 *
 * Each worker has cells of its own, so adding is a plain load, add and store
 * (relaxed, without a lock prefix); a reader sums the cells of all workers and
 * sees each of them a little late at most.  Only the owner adds. */
#ifndef LYSS_CORE_COUNTER_H
#define LYSS_CORE_COUNTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t v; /* only ever grows */
};

static inline void counter_add(struct counter *c, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);
    atomic_store_explicit(&c->v, v + n, memory_order_relaxed);
}

static inline uint64_t counter_read(const struct counter *c)
{
    return atomic_load_explicit(&((struct counter *)(uintptr_t)c)->v, memory_order_relaxed);
}

/* Sum over n cells that lie stride bytes apart, as in an array of per-worker structs. */
uint64_t counter_sum(const struct counter *first, size_t n, size_t stride_bytes);

#endif
