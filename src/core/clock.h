/* clock: the one seam for time. Any thread.
 *
 * Debug builds add an offset that a test writes (8 bytes, little-endian
 * nanoseconds) into the file named by LYSS_TEST_CLOCK, which is mapped shared:
 * so minutes pass in the real binary without waiting for them. */
#ifndef LYSS_CORE_CLOCK_H
#define LYSS_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC (plus the test offset). */
uint64_t clock_mono_ns(void);
static inline uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}
/* Milliseconds and nanoseconds since 1970 UTC (plus the test offset). */
int64_t clock_wall_ms(void);
int64_t clock_wall_ns(void);
/* When a wait of ms that begins now ends, for pthread_cond_timedwait with CLOCK_MONOTONIC: the real
 * clock, so that a test that moves time does not make a thread spin. */
struct timespec clock_wait_until(int64_t ms);
/* Debug builds: maps the file of LYSS_TEST_CLOCK, if set. Call once at start. */
void clock_init(void);
/* The test offset; 0 in release builds. */
int64_t clock_offset_ns(void);
/* Debug builds, unit tests: sets the offset directly. */
void clock_test_offset_ns(int64_t ns);
/* "2026-11-23T10:00:00.123Z" into out[25]. */
void clock_iso(int64_t wall_ms, char out[25]);

#endif
