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

/* A level that goes up and down; may be negative in one worker's cell. */
struct gauge {
    _Atomic int64_t v;
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

static inline void gauge_add(struct gauge *g, int64_t n)
{
    int64_t v = atomic_load_explicit(&g->v, memory_order_relaxed);
    atomic_store_explicit(&g->v, v + n, memory_order_relaxed);
}

static inline void gauge_set(struct gauge *g, int64_t v)
{
    atomic_store_explicit(&g->v, v, memory_order_relaxed);
}

static inline int64_t gauge_read(const struct gauge *g)
{
    return atomic_load_explicit(&((struct gauge *)(uintptr_t)g)->v, memory_order_relaxed);
}

/* Sum over n cells that lie stride bytes apart, as in an array of per-worker structs. */
uint64_t counter_sum(const struct counter *first, size_t n, size_t stride_bytes);
int64_t gauge_sum(const struct gauge *first, size_t n, size_t stride_bytes);

#endif
