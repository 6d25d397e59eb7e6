/* pace: is a stream too slow to go on with?
 *
 * It keeps the last moment at which all was well.  All is well again when what
 * has come since then is, on the average, as much as it should be; a stream
 * for which that does not happen in PACE_MS is too slow.  Pure; times are
 * milliseconds of the loop's clock. */
#ifndef LYSS_GATEWAY_PACE_H
#define LYSS_GATEWAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_MS 30000

struct pace {
    uint64_t well_ms;     /* the last moment at which all was well, … */
    uint32_t well_tokens; /* … and the output tokens until then */
    uint32_t min_tps;     /* tokens a second */
};

/* From now on time counts, whatever was before. */
static inline void pace_restart(struct pace *p, uint32_t tokens, uint64_t now_ms)
{
    p->well_ms = now_ms;
    p->well_tokens = tokens;
}

/* So many tokens have come by now. */
static inline void pace_look(struct pace *p, uint32_t tokens, uint64_t now_ms)
{
    uint64_t came = tokens - p->well_tokens;
    if (came * 1000 >= (uint64_t)p->min_tps * (now_ms - p->well_ms))
        pace_restart(p, tokens, now_ms);
}

/* When it will have been too slow. */
static inline uint64_t pace_due_ms(const struct pace *p)
{
    return p->well_ms + PACE_MS;
}

#endif
