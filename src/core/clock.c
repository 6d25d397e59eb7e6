/* clock: clock_gettime, plus an offset that only debug builds have. */
#include "core/clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#ifdef LYSS_DEBUG
static _Atomic int64_t own_offset;
static _Atomic int64_t *offset = &own_offset;

void clock_init(void)
{
    const char *path = getenv("LYSS_TEST_CLOCK");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "lyss: LYSS_TEST_CLOCK=%s cannot be mapped\n", path);
        exit(1);
    }
    close(fd);
    offset = p;
}

void clock_test_offset_ns(int64_t ns)
{
    atomic_store(offset, ns);
}

int64_t clock_offset_ns(void)
{
    return atomic_load_explicit(offset, memory_order_relaxed);
}
#else
void clock_init(void)
{
}

void clock_test_offset_ns(int64_t ns)
{
}

int64_t clock_offset_ns(void)
{
    return 0;
}
#endif

struct timespec clock_wait_until(int64_t ms)
{
    int64_t ns = read_clock(CLOCK_MONOTONIC) + ms * 1000000;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

uint64_t clock_mono_ns(void)
{
    return (uint64_t)(read_clock(CLOCK_MONOTONIC) + clock_offset_ns());
}

int64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME) + clock_offset_ns();
}

int64_t clock_wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

void clock_iso(int64_t wall_ms, char out[25])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char t[48];
    snprintf(t, sizeof t, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
    for (int i = 0; i < 24; i++)
        out[i] = t[i];
    out[24] = 0;
}
