/* scratch: per-thread areas for reading and for putting messages together. */
#include "net/scratch.h"

#include "core/alloc.h"

static __thread char *area;

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

void scratch_release(void)
{
    mem_free(area);
    area = 0;
}
