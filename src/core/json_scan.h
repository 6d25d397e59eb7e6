/* json_scan: finds the end of the plain part of a JSON string, as wide as the processor allows.
 *
 * Shared by the reader (what follows is a quote, an escape or an error) and
 * the writer (what follows must be escaped).  Pure; any thread; never reads
 * outside [p, end). */
#ifndef LYSS_CORE_JSON_SCAN_H
#define LYSS_CORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Ways to scan; json_scan_long takes the best that this machine has. */
enum json_scan_way { JSON_SCAN_BYTES, JSON_SCAN_SSE2, JSON_SCAN_AVX2, JSON_SCAN_WAYS };

/* First byte from p on that is '"', '\\', below 0x20, or starts an invalid or cut UTF-8 sequence;
 * end when there is none.  p is at the start of a character. */
const char *json_scan_long(const char *p, const char *end);

/* The same by a chosen way, for tests. False: this machine lacks it. */
bool json_scan_by(enum json_scan_way way, const char *p, const char *end, const char **out);

/* What json_skip came past. */
enum { JSON_SEEN_ESCAPE = 1, JSON_SEEN_WIDE = 2 /* a byte from 0xE0 on */ };

/* From inside a string (p at the start of a character or an escape) over characters and escapes of
 * one letter, in wide steps. Stops wherever those end, before `end` at the latest, again at the
 * start of a character or an escape: at a quote, \u, what may be wrong, or too near to the end;
 * what stands there is for json_scan to say. Everything before is valid, unless it returns p: then
 * nothing was skipped, as always where the processor has no AVX2. *seen is added to. */
const char *json_skip(const char *p, const char *end, unsigned *seen);

/* Length of the UTF-8 sequence at p (RFC 3629), 0 when it is invalid or cut; p < end. */
size_t json_utf8_len(const char *p, const char *end);

/* May this follow a backslash by itself? */
extern const bool json_escape_letters[256];
static inline bool json_is_escape(char c)
{
    return json_escape_letters[(unsigned char)c];
}

/* The first of 16 bytes that is not plain ASCII; 16: none. */
#ifdef __SSE2__
static inline unsigned json_plain_16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* The comparison is signed: it finds control characters and non-ASCII at once. */
    __m128i odd = _mm_or_si128(
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
        _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(odd) | 1u << 16);
}
#endif

/* A string of less than 16 bytes, all of them ASCII and none escaped, that begins at p: its closing
 * quote; else NULL. */
static inline const char *json_scan_short(const char *p, const char *end)
{
#ifdef __SSE2__
    if (end - p >= 16) {
        unsigned n = json_plain_16(p);
        if (n < 16 && p[n] == '"')
            return p + n;
    }
#endif
    return NULL;
}

/* json_scan_long, with the first 16 bytes inline: most strings are short. */
static inline const char *json_scan(const char *p, const char *end)
{
#ifdef __SSE2__
    if (end - p >= 16) {
        unsigned n = json_plain_16(p);
        p += n;
        if (n < 16 && (signed char)*p >= 0)
            return p;
    }
#endif
    return json_scan_long(p, end);
}

#endif
