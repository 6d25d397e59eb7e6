/* alloc: malloc behind one door, with a counter that tests can make fail. */
#include "core/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef LYSS_DEBUG
static __thread uint64_t t_count, t_fail_at;

static int must_fail(void)
{
    return ++t_count == t_fail_at;
}

uint64_t mem_fail_at(uint64_t n)
{
    uint64_t seen = t_count;
    t_count = 0;
    t_fail_at = n;
    return seen;
}
#else
#define must_fail() 0
uint64_t mem_fail_at(uint64_t n)
{
    return 0;
}
#endif

void *mem_alloc(size_t bytes)
{
    return must_fail() ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t bytes)
{
    return must_fail() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *mem_realloc(void *old, size_t bytes)
{
    return must_fail() ? NULL : realloc(old, bytes ? bytes : 1);
}

void mem_free(void *p)
{
    free(p);
}

void *mem_must(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) {
        fputs("lyss: out of memory\n", stderr);
        abort();
    }
    return p;
}

char *mem_strdup(const char *z)
{
    size_t n = strlen(z) + 1;
    return memcpy(mem_must(n), z, n);
}
