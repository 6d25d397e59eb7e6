/* tally: counting is a compare-and-swap on one word; reading skips what is too old. */
#include "gateway/health/tally.h"

#define COUNT_BITS 20
#define COUNT_MAX  ((1 << COUNT_BITS) - 1)
#define TICK_MASK  0xFFFFFFu

static uint64_t pack(uint64_t tick, uint32_t all, uint32_t marked)
{
    return (tick & TICK_MASK) << 2 * COUNT_BITS | (uint64_t)all << COUNT_BITS | marked;
}

static uint32_t moved(uint32_t n, int by)
{
    int64_t sum = (int64_t)n + by;
    return sum < 0 ? 0 : sum > COUNT_MAX ? COUNT_MAX : (uint32_t)sum;
}

static struct tally_sum unpack(uint64_t word)
{
    return (struct tally_sum){word >> COUNT_BITS & COUNT_MAX, word & COUNT_MAX};
}

void tally_add(struct tally *t, uint32_t bucket_ms, uint64_t now_ms, int all, int marked)
{
    uint64_t tick = now_ms / bucket_ms, next;
    _Atomic uint64_t *b = &t->buckets[tick % TALLY_BUCKETS];
    uint64_t word = atomic_load_explicit(b, memory_order_relaxed);
    do {
        uint64_t of = word >> 2 * COUNT_BITS;
        struct tally_sum s = {0};
        if (!word || of == (tick & TICK_MASK))
            s = unpack(word);
        else if (((of - tick) & TICK_MASK) <= TICK_MASK / 2)
            return; /* this thread is late by a window: the sub-bucket has been given away */
        next = pack(tick, moved(s.all, all), moved(s.marked, marked));
    } while (!atomic_compare_exchange_weak_explicit(b, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

struct tally_sum tally_sum(struct tally *t, uint32_t bucket_ms, uint64_t now_ms)
{
    uint64_t tick = now_ms / bucket_ms;
    struct tally_sum sum = {0};
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        uint64_t word = atomic_load_explicit(&t->buckets[i], memory_order_relaxed);
        if (((tick - (word >> 2 * COUNT_BITS)) & TICK_MASK) >= TALLY_BUCKETS)
            continue;
        struct tally_sum s = unpack(word);
        sum.all += s.all;
        sum.marked += s.marked;
    }
    return sum;
}

void tally_clear(struct tally *t)
{
    for (int i = 0; i < TALLY_BUCKETS; i++)
        atomic_store_explicit(&t->buckets[i], 0, memory_order_relaxed);
}
