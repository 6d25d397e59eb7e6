/* limit: the cell that a limit counts in: a sliding window that many workers change without a lock.
 *
 * The window is 60 sub-buckets long.  What is in flight (reserved) and what has
 * settled inside the window count together against the limit, in one atomic, so
 * that no interleaving admits more than the limit.  Amounts are requests or
 * tokens; times are milliseconds of the monotonic clock.  Any thread. */
#ifndef LYSS_GATEWAY_LIMIT_H
#define LYSS_GATEWAY_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LIMIT_BUCKETS    60
#define LIMIT_SETTLE_MAX UINT32_MAX /* what one settlement counts at most */

struct limit_cell {
    _Atomic int64_t used;      /* settled in the window + in flight */
    _Atomic int64_t in_flight; /* of it */
    _Atomic uint64_t tick;     /* newest sub-bucket, counted from 0 of the clock */
    uint32_t bucket_ms;        /* window ÷ 60 */
    /* What settled in each: the low 16 bits of its tick, then 48 bits of amount. */
    _Atomic uint64_t buckets[LIMIT_BUCKETS];
};

/* window_ms: a multiple of 60 ms. */
void limit_init(struct limit_cell *c, uint32_t window_ms, uint64_t now_ms);
/* Adds ask if used + ask ≤ limit; all or nothing. */
bool limit_reserve(struct limit_cell *c, int64_t limit, int64_t ask, uint64_t now_ms);
/* Undoes a reservation. */
void limit_cancel(struct limit_cell *c, int64_t ask);
/* A reservation of ask became real (which may be more or less): it counts from now on for one
 * window. real ≥ 0. */
void limit_settle(struct limit_cell *c, int64_t ask, int64_t real, uint64_t now_ms);
/* What counts now. */
int64_t limit_used(struct limit_cell *c, uint64_t now_ms);
/* Milliseconds until at least `ask` more would fit, if nothing else changes; 0: now; -1: not within
 * the window (in flight, or more than the limit). */
int64_t limit_wait_ms(struct limit_cell *c, int64_t limit, int64_t ask, uint64_t now_ms);

#endif
