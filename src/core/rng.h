/* rng: randomness. rng_bytes is fit for secrets (getrandom); rng_u64 is fast and not.
 * Any thread; rng_u64 has a state per thread. */
#ifndef LYSS_CORE_RNG_H
#define LYSS_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Fills p from the kernel; ends the process if it cannot. */
void rng_bytes(void *p, size_t n);
/* xoshiro256++ (Blackman and Vigna), seeded per thread from the kernel. */
uint64_t rng_u64(void);
/* Even in [0, n), n > 0. */
uint64_t rng_below(uint64_t n);
/* In [0, 1). */
double rng_unit(void);
/* Tests: makes this thread's rng_u64 repeatable. */
void rng_seed(uint64_t seed);
/* UUIDv7 (RFC 9562, 5.7): 48 bits of wall milliseconds, then random bits; never falls within a
 * thread. */
void rng_uuid7(int64_t wall_ms, uint8_t out[16]);
/* Lower-case text form, 36 characters and NUL. */
void uuid_format(const uint8_t id[16], char out[37]);

#endif
