/* histogram: the bucket of a value is its power of two and where its mantissa falls among the eight
 * powers of the eighth root of two; a bucket stands for its geometric middle, 4.43 % from its
 * edges. */
#include "core/histogram.h"

#include <math.h>

/* 2^(k/8), k = 1 to 7, as fractions of 2^31. */
static const uint32_t eighths[7] = {2341847524u, 2553802834u, 2784941738u, 3037000500u,
                                    3311872529u, 3611622603u, 3938502376u};

static unsigned bucket_of(uint64_t value)
{
    if (!value)
        return 0;
    if (value >> 31)
        return HISTOGRAM_BUCKETS - 1;
    unsigned shift = (unsigned)__builtin_clz((uint32_t)value), k = 0;
    uint32_t mantissa = (uint32_t)value << shift;
    for (unsigned i = 0; i < 7; i++)
        k += mantissa >= eighths[i];
    return 1 + (31 - shift) * 8 + k;
}

static double middle_of(unsigned bucket)
{
    return bucket ? exp2(((double)bucket - 0.5) / 8) : 0;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    counter_add(&h->buckets[bucket_of(value)], 1);
    counter_add(&h->sum, value);
}

void histogram_merge(struct histogram *dst, const struct histogram *src)
{
    counter_add(&dst->sum, counter_read(&src->sum));
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        counter_add(&dst->buckets[i], counter_read(&src->buckets[i]));
}

uint64_t histogram_count(const struct histogram *h)
{
    return counter_sum(h->buckets, HISTOGRAM_BUCKETS, sizeof *h->buckets);
}

double histogram_quantile(const struct histogram *h, double q)
{
    uint64_t count = histogram_count(h), seen = 0;
    if (!count)
        return 0;
    uint64_t rank = (uint64_t)ceil(q * (double)count);
    if (rank < 1)
        rank = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += counter_read(&h->buckets[i]);
        if (seen >= rank)
            return i > 24 ? middle_of(i) : nearbyint(middle_of(i));
    }
    return middle_of(HISTOGRAM_BUCKETS - 1);
}

uint64_t histogram_count_below(const struct histogram *h, double bound)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && middle_of(i) <= bound; i++)
        n += counter_read(&h->buckets[i]);
    return n;
}
