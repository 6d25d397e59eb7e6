/* hash: SipHash-1-3 and CRC-32C; the latter by the SSE4.2 instruction where the CPU has it. */
#include "core/hash.h"

#include <pthread.h>

#include "core/rng.h"

static uint64_t k0, k1;
static uint32_t crc_table[256];
static bool crc_hw;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void setup(void)
{
    rng_bytes(&k0, 8);
    rng_bytes(&k1, 8);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int j = 0; j < 8; j++)
            c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
        crc_table[i] = c;
    }
#ifdef __x86_64__
    crc_hw = __builtin_cpu_supports("sse4.2");
#endif
}

__attribute__((constructor)) static void setup_early(void)
{
    pthread_once(&once, setup);
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define ROUND                                                                                      \
    do {                                                                                           \
        v0 += v1, v1 = ROTL(v1, 13) ^ v0, v0 = ROTL(v0, 32);                                       \
        v2 += v3, v3 = ROTL(v3, 16) ^ v2;                                                          \
        v0 += v3, v3 = ROTL(v3, 21) ^ v0;                                                          \
        v2 += v1, v1 = ROTL(v1, 17) ^ v2, v2 = ROTL(v2, 32);                                       \
    } while (0)

uint64_t hash_str(struct str s)
{
    uint64_t v0 = k0 ^ 0x736f6d6570736575u, v1 = k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = k0 ^ 0x6c7967656e657261u, v3 = k1 ^ 0x7465646279746573u;
    const char *p = s.p;
    size_t left = s.n;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        v3 ^= m;
        ROUND;
        v0 ^= m;
    }
    uint64_t m = 0;
    if (left)
        memcpy(&m, p, left);
    m |= (uint64_t)s.n << 56;
    v3 ^= m;
    ROUND;
    v0 ^= m;
    v2 ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p,
                                                            size_t n)
{
    uint64_t c = crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        c = __builtin_ia32_crc32di(c, m);
    }
    uint32_t r = (uint32_t)c;
    while (n--)
        r = __builtin_ia32_crc32qi(r, *p++);
    return r;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    crc = ~crc;
#ifdef __x86_64__
    if (crc_hw)
        return ~crc_sse42(crc, p, n);
#endif
    while (n--)
        crc = crc_table[(crc ^ *p++) & 255] ^ (crc >> 8);
    return ~crc;
}
