/* counter: the reader's side, summing the cells of all workers. */
#include "core/counter.h"

uint64_t counter_sum(const struct counter *first, size_t n, size_t stride_bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += counter_read((const void *)((const char *)first + i * stride_bytes));
    return sum;
}
