/* alloc: malloc behind one door, with a counter that tests can make fail. */
#include "core/alloc.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef LYSS_DEBUG
struct outside {
    _Atomic uint64_t fail_at, seen;
};

static __thread uint64_t t_count, t_fail_at;
static __thread struct outside *t_outside;

static int must_fail(void)
{
    uint64_t at = t_outside ? atomic_load_explicit(&t_outside->fail_at, memory_order_relaxed) : 0;
    if (at && atomic_fetch_add_explicit(&t_outside->seen, 1, memory_order_relaxed) + 1 == at)
        return 1;
    return ++t_count == t_fail_at;
}

void mem_fail_listen(void)
{
    const char *path = getenv("LYSS_TEST_ALLOC");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *p = fd < 0 ? MAP_FAILED
                     : mmap(NULL, sizeof *t_outside, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "lyss: LYSS_TEST_ALLOC=%s cannot be mapped\n", path);
        exit(1);
    }
    close(fd);
    t_outside = p;
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

void mem_fail_listen(void)
{
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

bool mem_room(char **p, uint32_t *cap, size_t n)
{
    if (n <= *cap)
        return true;
    uint32_t more = *cap ? *cap : 256;
    while (more < n)
        more *= 2;
    char *room = mem_realloc(*p, more);
    if (!room)
        return false;
    *p = room;
    *cap = more;
    return true;
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
