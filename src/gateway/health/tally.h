/* tally: how many of how many, over the last few seconds: a sliding window of two counts that many
 * threads change without a lock.
 *
 * Ten sub-buckets, each one atomic word that carries its own tick, so that
 * emptying an old one and counting in it are one step and no count is lost or
 * comes back.  Times are milliseconds of the monotonic clock.  All zero is
 * empty.  Any thread. */
#ifndef LYSS_GATEWAY_TALLY_H
#define LYSS_GATEWAY_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#define TALLY_BUCKETS 10

struct tally {
    _Atomic uint64_t buckets[TALLY_BUCKETS]; /* tick (24 bits), all (20 bits), marked (20 bits) */
};

struct tally_sum {
    uint32_t all, marked;
};

/* Counts all and marked (small, each bucket holds up to 2^20 - 1 of each and stays there) at
 * now_ms. A negative number takes back what was just counted. bucket_ms: a tenth of the window;
 * always the same for one tally. */
void tally_add(struct tally *t, uint32_t bucket_ms, uint64_t now_ms, int all, int marked);
struct tally_sum tally_sum(struct tally *t, uint32_t bucket_ms, uint64_t now_ms);
void tally_clear(struct tally *t);

#endif
