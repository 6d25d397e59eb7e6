/* scratch: per-thread areas for reading and for putting messages together. */
#include "net/scratch.h"

#include "core/alloc.h"

static __thread char *area;
static __thread struct buf bufs[SCRATCH_BUFS];

static char *get(void)
{
    if (!area)
        area = mem_must(2 * SCRATCH_BYTES);
    return area;
}

char *scratch_read(void)
{
    return get();
}

char *scratch_write(void)
{
    return get() + SCRATCH_BYTES;
}

struct buf *scratch_buf(enum scratch_buf which, size_t max_bytes)
{
    struct buf *b = &bufs[which];
    b->max = max_bytes;
    buf_reset(b);
    return b;
}

void scratch_release(void)
{
    for (int i = 0; i < SCRATCH_BUFS; i++)
        buf_release(&bufs[i]);
    mem_free(area);
    area = 0;
}
