/* word: eight bytes of a text looked at together, as one unsigned word.
 *
 * Pure. The results have the top bit of each byte that matches set, or of bytes above the lowest
 * that does: so whether there is one is exact, and which ones are not. */
#ifndef LYSS_CORE_WORD_H
#define LYSS_CORE_WORD_H

#include <stdint.h>
#include <string.h>

#define WORD_EACH(c)  (UINT64_C(0x0101010101010101) * (c))
#define WORD_TOP_BITS WORD_EACH(0x80)

static inline uint64_t word_at(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Not 0: a byte is below c, which is 128 at most. */
static inline uint64_t word_below(uint64_t w, unsigned c)
{
    return (w - WORD_EACH(c)) & ~w & WORD_TOP_BITS;
}

/* Not 0: a byte is c. */
static inline uint64_t word_has(uint64_t w, unsigned c)
{
    return word_below(w ^ WORD_EACH(c), 1);
}

#endif
