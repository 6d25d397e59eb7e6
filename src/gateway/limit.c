/* limit: whoever first sees a new sub-bucket's time empties those that have left the window. Others
 * may meanwhile still see the old sum, which only ever refuses what could have been admitted a
 * moment later: never the reverse. A sub-bucket says which tick it counts for, in the word that
 * holds its amount: a thread that comes late to a new tick, or to its emptying, can neither add to
 * what is being thrown away nor throw away what was just added. */
#include "gateway/limit.h"

#define AMOUNT_BITS 48
#define TICK_MASK   0xffff

static uint64_t word(uint64_t tick, int64_t amount)
{
    return (tick & TICK_MASK) << AMOUNT_BITS | (uint64_t)amount;
}

static int64_t amount_of(uint64_t bucket)
{
    return (int64_t)(bucket & (((uint64_t)1 << AMOUNT_BITS) - 1));
}

void limit_init(struct limit_cell *c, uint32_t window_ms, uint64_t now_ms)
{
    c->bucket_ms = window_ms / LIMIT_BUCKETS;
    atomic_init(&c->used, 0);
    atomic_init(&c->in_flight, 0);
    atomic_init(&c->tick, now_ms / c->bucket_ms);
    for (uint64_t i = 0; i < LIMIT_BUCKETS; i++)
        atomic_init(&c->buckets[i], word(i, 0));
}

/* Adds to the sub-bucket of a tick, which is emptied first where it still holds an older one's.
 * False: the window has moved past that tick, nothing was done. */
static bool enter(struct limit_cell *c, uint64_t tick, int64_t amount)
{
    _Atomic uint64_t *bucket = &c->buckets[tick % LIMIT_BUCKETS];
    uint64_t old = atomic_load(bucket), new;
    int64_t gone;
    do {
        bool same = old >> AMOUNT_BITS == (tick & TICK_MASK);
        if (!same && atomic_load(&c->tick) >= tick + LIMIT_BUCKETS)
            return false;
        gone = same ? 0 : amount_of(old);
        new = word(tick, amount + (same ? amount_of(old) : 0));
    } while (!atomic_compare_exchange_weak(bucket, &old, new));
    if (gone)
        atomic_fetch_sub(&c->used, gone);
    return true;
}

/* Moves the window to now_ms. */
static void roll(struct limit_cell *c, uint64_t now_ms)
{
    uint64_t to = now_ms / c->bucket_ms, from = atomic_load(&c->tick);
    while (from < to) {
        uint64_t next = to - from > LIMIT_BUCKETS ? to - LIMIT_BUCKETS : from + 1;
        if (!atomic_compare_exchange_weak(&c->tick, &from, next))
            continue;
        if (next == from + 1)
            (void)enter(c, next, 0); /* false: who moved it on has emptied it */
        from = next;
    }
}

bool limit_reserve(struct limit_cell *c, int64_t limit, int64_t ask, uint64_t now_ms)
{
    roll(c, now_ms);
    int64_t used = atomic_load(&c->used);
    do {
        if (ask > limit - used)
            return false;
    } while (!atomic_compare_exchange_weak(&c->used, &used, used + ask));
    atomic_fetch_add(&c->in_flight, ask);
    return true;
}

void limit_cancel(struct limit_cell *c, int64_t ask)
{
    atomic_fetch_sub(&c->in_flight, ask);
    atomic_fetch_sub(&c->used, ask);
}

void limit_settle(struct limit_cell *c, int64_t ask, int64_t real, uint64_t now_ms)
{
    roll(c, now_ms);
    if (real > LIMIT_SETTLE_MAX)
        real = LIMIT_SETTLE_MAX;
    atomic_fetch_add(&c->used, real - ask);
    while (!enter(c, atomic_load(&c->tick), real))
        ;
    atomic_fetch_sub(&c->in_flight, ask);
}

int64_t limit_used(struct limit_cell *c, uint64_t now_ms)
{
    roll(c, now_ms);
    return atomic_load(&c->used);
}

int64_t limit_wait_ms(struct limit_cell *c, int64_t limit, int64_t ask, uint64_t now_ms)
{
    int64_t over = limit_used(c, now_ms) + ask - limit;
    if (over <= 0)
        return 0;
    uint64_t tick = atomic_load(&c->tick);
    for (uint64_t i = 1; i <= LIMIT_BUCKETS; i++) {
        over -= amount_of(atomic_load(&c->buckets[(tick + i) % LIMIT_BUCKETS]));
        if (over <= 0)
            return (int64_t)((tick + i) * c->bucket_ms - now_ms);
    }
    return -1;
}
