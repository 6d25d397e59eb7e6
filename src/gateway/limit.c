/* limit: whoever first sees a new sub-bucket's time empties those that have left the window. Others
 * may meanwhile still see the old sum, which only ever refuses what could have been admitted a
 * moment later: never the reverse. */
#include "gateway/limit.h"

void limit_init(struct limit_cell *c, uint32_t window_ms, uint64_t now_ms)
{
    c->bucket_ms = window_ms / LIMIT_BUCKETS;
    atomic_init(&c->used, 0);
    atomic_init(&c->in_flight, 0);
    atomic_init(&c->tick, now_ms / c->bucket_ms);
    for (int i = 0; i < LIMIT_BUCKETS; i++)
        atomic_init(&c->buckets[i], 0);
}

/* Moves the window to now_ms. */
static void roll(struct limit_cell *c, uint64_t now_ms)
{
    uint64_t to = now_ms / c->bucket_ms, from = atomic_load(&c->tick);
    while (from < to) {
        /* One sub-bucket at a time, so that each is emptied by exactly one thread. */
        uint64_t next = to - from > LIMIT_BUCKETS ? to - LIMIT_BUCKETS : from + 1;
        if (!atomic_compare_exchange_weak(&c->tick, &from, next))
            continue;
        if (next == from + 1) {
            int64_t gone = atomic_exchange(&c->buckets[next % LIMIT_BUCKETS], 0);
            atomic_fetch_sub(&c->used, gone);
        }
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
    atomic_fetch_add(&c->used, real - ask);
    atomic_fetch_add(&c->buckets[atomic_load(&c->tick) % LIMIT_BUCKETS], real);
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
        over -= atomic_load(&c->buckets[(tick + i) % LIMIT_BUCKETS]);
        if (over <= 0)
            return (int64_t)((tick + i) * c->bucket_ms - now_ms);
    }
    return -1;
}
