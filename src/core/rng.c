/* rng: kernel randomness for secrets, xoshiro256++ for choices, UUIDv7 for request ids. */
#include "core/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static __thread uint64_t s[4];
static __thread int seeded;

void rng_bytes(void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t k = getrandom(at, n, 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            fputs("lyss: no randomness from the kernel\n", stderr);
            abort();
        }
        at += k;
        n -= (size_t)k;
    }
}

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        s[i] = splitmix(&seed);
    seeded = 1;
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(void)
{
    if (!seeded) {
        uint64_t seed;
        rng_bytes(&seed, sizeof seed);
        rng_seed(seed);
    }
    uint64_t r = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return r;
}

uint64_t rng_below(uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, r;
    do
        r = rng_u64();
    while (r >= limit);
    return r % n;
}

double rng_unit(void)
{
    return (double)(rng_u64() >> 11) * 0x1p-53;
}

void rng_uuid7(int64_t wall_ms, uint8_t out[16])
{
    static __thread int64_t last_ms;
    static __thread uint64_t last_rand;
    uint64_t hi = rng_u64(), lo = rng_u64();
    if (wall_ms > last_ms) {
        last_ms = wall_ms;
        last_rand = hi & 0x7ff; /* upper bit clear: room to count up */
    } else {
        last_rand += 1 + (hi & 1);
        if (last_rand > 0xfff) {
            last_ms++;
            last_rand = hi & 0x7ff;
        }
    }
    uint64_t ms = (uint64_t)last_ms;
    for (int i = 0; i < 6; i++)
        out[i] = (uint8_t)(ms >> (40 - 8 * i));
    out[6] = (uint8_t)(0x70 | (last_rand >> 8));
    out[7] = (uint8_t)last_rand;
    memcpy(out + 8, &lo, 8);
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

void uuid_format(const uint8_t id[16], char out[37])
{
    static const char hex[] = "0123456789abcdef";
    char *o = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *o++ = '-';
        *o++ = hex[id[i] >> 4];
        *o++ = hex[id[i] & 15];
    }
    *o = 0;
}
