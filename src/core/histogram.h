/* histogram: a distribution in 2 KB, for quantiles that can be merged.
 *
 * Eight buckets to each doubling (relative error ≤ 4.5 %), for values from 0 to
 * 2^31 − 1; larger ones count in the last bucket.  The unit is the caller's:
 * microseconds reach 35 minutes, milliseconds 24 days.  One thread records; any
 * thread reads or merges from it (relaxed atomics, so a reader may be a few
 * records behind). */
#ifndef LYSS_CORE_HISTOGRAM_H
#define LYSS_CORE_HISTOGRAM_H

#include "core/counter.h"

#define HISTOGRAM_BUCKETS 249 /* 0, then 31 doublings of 8 */

/* All zero is empty. */
struct histogram {
    struct counter sum;
    struct counter buckets[HISTOGRAM_BUCKETS];
};
_Static_assert(sizeof(struct histogram) <= 2048, "the size that the store plans with");

void histogram_record(struct histogram *h, uint64_t value);
/* Adds src to dst; the caller owns dst. */
void histogram_merge(struct histogram *dst, const struct histogram *src);
uint64_t histogram_count(const struct histogram *h);
/* The value below which a share q of [0, 1] lies; 0 when empty. */
double histogram_quantile(const struct histogram *h, double q);
/* How many values are ≤ bound, exact where bound is an edge, else to the nearest bucket. */
uint64_t histogram_count_below(const struct histogram *h, double bound);

#endif
