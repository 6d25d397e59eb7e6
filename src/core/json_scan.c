/* json_scan: the hot loops of JSON.  Three forms of the same search: byte by byte anywhere,
 * 16 bytes at a time with SSE2, 32 with AVX2 where the processor says at run time that it has it.
 * Only the last also checks UTF-8 in wide steps; the others do that a character at a time. */
#include "core/json_scan.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

const bool json_escape_letters[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                       ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t json_utf8_len(const char *at, const char *end)
{
    const unsigned char *p = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || left < 2 || !is_tail(p[1]))
        return 0;
    if (c < 0xe0)
        return 2;
    if (left < 3 || !is_tail(p[2]))
        return 0;
    if (c < 0xf0) /* neither overlong nor a surrogate */
        return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ? 0 : 3;
    if (c > 0xf4 || left < 4 || !is_tail(p[3]))
        return 0;
    return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

static const char *scan_bytes(const char *p, const char *end)
{
    while (p < end) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\' || c < 0x20)
            return p;
        if (c < 0x80) {
            p++;
            continue;
        }
        size_t n = json_utf8_len(p, end);
        if (!n)
            return p;
        p += n;
    }
    return p;
}

#ifdef __SSE2__
static const char *scan_sse2(const char *p, const char *end)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  blank = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i odd = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmplt_epi8(v, blank));
        unsigned mask = (unsigned)_mm_movemask_epi8(odd);
        if (!mask) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(mask);
        while (p < end && (signed char)*p < 0) {
            size_t n = json_utf8_len(p, end);
            if (!n)
                return p;
            p += n;
        }
        if (p < end && (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20))
            return p;
    }
    return scan_bytes(p, end);
}
#endif

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

/* What can be wrong with two adjacent bytes: each table below says, for one nibble, which faults
 * are possible; a fault is real where all three agree. (The method of Keiser and Lemire,
 * "Validating UTF-8 in less than one instruction per byte", 2021.) */
enum {
    CUT = 1,         /* a lead byte, then no continuation */
    STRAY = 2,       /* ASCII, then a continuation */
    OVERLONG_3 = 4,  /* E0 80..9F */
    ABOVE = 8,       /* past U+10FFFF: F4 90.., F5.. 90.. */
    SURROGATE = 16,  /* ED A0..BF */
    OVERLONG_2 = 32, /* C0, C1 */
    OVERLONG_4 = 64, /* F0 80..8F, and F5.. 80..8F */
    TWO_TAILS = 128, /* two continuations: right after a lead of 3 or 4 bytes, and only there */
    ANY_LOW = CUT | STRAY | TWO_TAILS
};
#define ABOVE_LOW (char)(ANY_LOW | ABOVE | OVERLONG_4)
#define TAIL_ANY  (STRAY | OVERLONG_2 | TWO_TAILS)

AVX2 static inline __m256i lookup(__m256i nibbles, __m128i table)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), nibbles);
}

/* v moved up by n bytes, its front filled from the end of the block before it. */
#define SHIFT_IN(v, before, n)                                                                     \
    _mm256_alignr_epi8(v, _mm256_permute2x128_si256(before, v, 0x21), 16 - (n))

/* Not zero in each byte at which a fault shows. */
AVX2 static inline __m256i utf8_faults(__m256i v, __m256i before)
{
    const __m128i lead_high =
        _mm_setr_epi8(STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, (char)TWO_TAILS,
                      (char)TWO_TAILS, (char)TWO_TAILS, (char)TWO_TAILS, CUT | OVERLONG_2, CUT,
                      CUT | OVERLONG_3 | SURROGATE, CUT | ABOVE | OVERLONG_4);
    const __m128i lead_low = _mm_setr_epi8(
        (char)(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(ANY_LOW | OVERLONG_2),
        (char)ANY_LOW, (char)ANY_LOW, (char)(ANY_LOW | ABOVE), ABOVE_LOW, ABOVE_LOW, ABOVE_LOW,
        ABOVE_LOW, ABOVE_LOW, ABOVE_LOW, ABOVE_LOW, ABOVE_LOW, (char)(ABOVE_LOW | SURROGATE),
        ABOVE_LOW, ABOVE_LOW);
    const __m128i second_high = _mm_setr_epi8(
        CUT, CUT, CUT, CUT, CUT, CUT, CUT, CUT, (char)(TAIL_ANY | OVERLONG_3 | OVERLONG_4),
        (char)(TAIL_ANY | OVERLONG_3 | ABOVE), (char)(TAIL_ANY | SURROGATE | ABOVE),
        (char)(TAIL_ANY | SURROGATE | ABOVE), CUT, CUT, CUT, CUT);
    const __m256i low4 = _mm256_set1_epi8(0x0f);
    __m256i one = SHIFT_IN(v, before, 1), two = SHIFT_IN(v, before, 2),
            three = SHIFT_IN(v, before, 3);
    __m256i pair = _mm256_and_si256(
        _mm256_and_si256(lookup(_mm256_and_si256(_mm256_srli_epi16(one, 4), low4), lead_high),
                         lookup(_mm256_and_si256(one, low4), lead_low)),
        lookup(_mm256_and_si256(_mm256_srli_epi16(v, 4), low4), second_high));
    /* Here a third or fourth byte is due: bit 7 set where two back is E0.. or three back F0.. */
    __m256i due = _mm256_or_si256(_mm256_subs_epu8(two, _mm256_set1_epi8((char)(0xe0 - 0x80))),
                                  _mm256_subs_epu8(three, _mm256_set1_epi8((char)(0xf0 - 0x80))));
    return _mm256_xor_si256(pair, _mm256_and_si256(due, _mm256_set1_epi8((char)0x80)));
}

/* Start of the character that the byte before p belongs to, or p itself when it is complete;
 * from is a character's start. */
static const char *char_start(const char *from, const char *p)
{
    for (int back = 1; back <= 3 && p - back >= from; back++) {
        unsigned char c = (unsigned char)p[-back];
        if (c >= 0xc0)
            return p - back;
        if (c < 0x80)
            return p;
    }
    return p;
}

/* A string that holds non-ASCII, from the start of a character on. */
AVX2 static const char *scan_utf8_avx2(const char *p, const char *end)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\'),
                  control = _mm256_set1_epi8(0x1f);
    const char *from = p;
    __m256i before = _mm256_setzero_si256();
    while (end - p >= 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i odd = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, slash)),
            _mm256_cmpeq_epi8(_mm256_min_epu8(v, control), v));
        uint32_t stops = (uint32_t)_mm256_movemask_epi8(odd), faults = 0;
        if (_mm256_movemask_epi8(_mm256_or_si256(v, before)))
            faults = ~(uint32_t)_mm256_movemask_epi8(
                _mm256_cmpeq_epi8(utf8_faults(v, before), _mm256_setzero_si256()));
        /* A fault counts up to the first stop: a cut sequence shows at the stop itself. */
        if (faults & (stops ^ (stops - 1)))
            return scan_bytes(char_start(from, p), end);
        if (stops)
            return p + __builtin_ctz(stops);
        before = v;
        p += 32;
    }
    return scan_bytes(char_start(from, p), end);
}

AVX2 static const char *scan_avx2(const char *p, const char *end)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\'),
                  blank = _mm256_set1_epi8(0x20);
    while (end - p >= 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i odd = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, slash)),
            _mm256_cmpgt_epi8(blank, v));
        uint32_t mask = (uint32_t)_mm256_movemask_epi8(odd);
        if (mask) {
            p += __builtin_ctz(mask);
            return (signed char)*p >= 0 ? p : scan_utf8_avx2(p, end);
        }
        p += 32;
    }
    return scan_sse2(p, end);
}

#define MASK(v)      ((uint32_t)_mm256_movemask_epi8(v))
#define MASK_2(a, b) ((uint64_t)MASK(b) << 32 | MASK(a))

/* Blocks are of 64 bytes, in two halves. What goes on from one block into the next: */
enum {
    IN_ESCAPE = 1, /* an escape, whose letter has been looked at: the block's lowest bit */
    IN_PAIR = 2,   /* a character of two bytes, the first of which is past */
    IN_WIDE = 4    /* perhaps one of more */
};

struct skipping {
    const char *from;
    unsigned into, seen;
    bool stopped;
};

#define FEW 8 /* bytes of a block */

/* Where few bytes are not ASCII, and those in pairs: one pair after the other, which is less work
 * than the whole block. False: that is for has_faults to say. */
AVX2 static inline bool few_pairs(const char *p, uint64_t high, unsigned *into)
{
    if (*into & IN_WIDE || __builtin_popcountll(high) > FEW)
        return false;
    if (*into & IN_PAIR) {
        if (!is_tail((unsigned char)*p))
            return false;
        high &= ~UINT64_C(1);
    }
    unsigned at = 0;
    for (; high; high &= ~(UINT64_C(3) << at)) {
        at = (unsigned)__builtin_ctzll(high);
        if ((unsigned char)p[at] - 0xc2u > 0xdf - 0xc2 || !is_tail((unsigned char)p[at + 1]))
            return false;
    }
    *into = at == 63 ? IN_PAIR : 0;
    return true;
}

/* Does a fault of UTF-8 show in the block at p? high: bits of its bytes from 0x80 on. */
AVX2 static inline bool has_faults(const char *p, bool first, __m256i a, __m256i b, uint64_t high,
                                   unsigned *into, unsigned *seen)
{
    const __m256i two = _mm256_set1_epi8((char)0xc2), wide = _mm256_set1_epi8((char)0xe0),
                  past = _mm256_set1_epi8((char)0xc0);
    bool is_wide = MASK(_mm256_or_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(a, wide), a),
                                        _mm256_cmpeq_epi8(_mm256_max_epu8(b, wide), b)));
    if (is_wide)
        *seen |= JSON_SEEN_WIDE;
    if (is_wide || *into & IN_WIDE) {
        __m256i before = _mm256_setzero_si256();
        if (!first)
            before = _mm256_loadu_si256((const __m256i *)(const void *)(p - 32));
        __m256i faults = _mm256_or_si256(utf8_faults(a, before), utf8_faults(b, a));
        *into = high >> 61 ? IN_WIDE : 0;
        return !_mm256_testz_si256(faults, faults);
    }
    /* Of two bytes at most: each lead has its tail, and each tail its lead. */
    uint64_t leads = MASK_2(_mm256_cmpeq_epi8(_mm256_max_epu8(a, two), a),
                            _mm256_cmpeq_epi8(_mm256_max_epu8(b, two), b)),
             tails = MASK_2(_mm256_cmpgt_epi8(past, a), _mm256_cmpgt_epi8(past, b));
    uint64_t due = leads << 1 | (*into & IN_PAIR) / IN_PAIR;
    *into = leads >> 63 ? IN_PAIR : 0;
    return (high ^ (leads | tails)) | (tails ^ due);
}

/* The blocks that begin before `last`; behind each is at least one byte more, for its last one may
 * be a backslash. */
AVX2 static const char *skip_blocks(struct skipping *s, const char *p, const char *last)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\'),
                  blank = _mm256_set1_epi8(0x20);
    unsigned into = s->into, seen = s->seen;
    for (; p < last; p += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p),
                b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
        /* Signed: blank finds control characters and non-ASCII at once. */
        __m256i odd_a = _mm256_or_si256(
                    _mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(a, slash)),
                    _mm256_cmpgt_epi8(blank, a)),
                odd_b = _mm256_or_si256(
                    _mm256_or_si256(_mm256_cmpeq_epi8(b, quote), _mm256_cmpeq_epi8(b, slash)),
                    _mm256_cmpgt_epi8(blank, b));
        if (!MASK(_mm256_or_si256(odd_a, odd_b)) && !into)
            continue;
        uint64_t high = MASK_2(a, b),
                 stops = MASK_2(odd_a, odd_b) & ~high & ~(uint64_t)(into & IN_ESCAPE);
        if (high || into > IN_ESCAPE) {
            bool escaped = into & IN_ESCAPE;
            if (!few_pairs(p, high, &into) &&
                has_faults(p, p == s->from, a, b, high, &into, &seen)) {
                p = escaped ? p - 1 : char_start(s->from, p);
                goto stopped;
            }
        } else {
            into = 0;
        }
        while (stops) {
            unsigned at = (unsigned)__builtin_ctzll(stops);
            if (p[at] != '\\' || !json_is_escape(p[at + 1])) {
                p += at;
                goto stopped;
            }
            seen |= JSON_SEEN_ESCAPE;
            stops &= ~(UINT64_C(3) << at);
            if (at == 63)
                into = IN_ESCAPE;
        }
    }
    s->into = into;
    s->seen = seen;
    return p;
stopped:
    s->seen = seen;
    s->stopped = true;
    return p;
}

AVX2 static const char *skip_avx2(const char *p, const char *end, unsigned *seen)
{
    struct skipping s = {.from = p};
    p = skip_blocks(&s, p, end - p > 64 ? end - 64 : p);
    if (!s.stopped) { /* the rest, at most a block: copied, so that something stops it */
        char copy[32 + 128 + 1] = {0}, *rest = copy + 32;
        size_t left = (size_t)(end - p), before = p == s.from ? 0 : 32;
        memcpy(rest - before, p - before, before + left);
        s.from = rest - before;
        p += skip_blocks(&s, rest, rest + 128) - rest;
    }
    *seen |= s.seen;
    return p;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#endif

const char *json_scan_long(const char *p, const char *end)
{
#if defined(__x86_64__)
    return has_avx2() ? scan_avx2(p, end) : scan_sse2(p, end);
#elif defined(__SSE2__)
    return scan_sse2(p, end);
#else
    return scan_bytes(p, end);
#endif
}

const char *json_skip(const char *p, const char *end, unsigned *seen)
{
#if defined(__x86_64__)
    if (has_avx2())
        return skip_avx2(p, end, seen);
#endif
    return p;
}

bool json_scan_by(enum json_scan_way way, const char *p, const char *end, const char **out)
{
    switch (way) {
    case JSON_SCAN_BYTES:
        *out = scan_bytes(p, end);
        return true;
#ifdef __SSE2__
    case JSON_SCAN_SSE2:
        *out = scan_sse2(p, end);
        return true;
#endif
#if defined(__x86_64__)
    case JSON_SCAN_AVX2:
        if (!has_avx2())
            return false;
        *out = scan_avx2(p, end);
        return true;
#endif
    default:
        return false;
    }
}
