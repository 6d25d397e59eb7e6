/* ratelimit: what an upstream's answer says of its limits, from its header fields.
 *
 * OpenAI (platform.openai.com/docs/guides/rate-limits), Azure and many that
 * follow it send x-ratelimit-{limit,remaining,reset}-{requests,tokens}, the
 * reset as a span such as "6m0s" or "17ms"; Anthropic
 * (docs.claude.com/en/api/rate-limits) anthropic-ratelimit-{requests,tokens}-
 * {limit,remaining,reset}, the reset as a time of RFC 3339.  Pure; any thread. */
#ifndef LYSS_LLM_RATELIMIT_H
#define LYSS_LLM_RATELIMIT_H

#include "core/str.h"

/* -1: not said. reset_ms: from now on until nothing is used. */
struct ratelimit_one {
    int64_t limit, left, reset_ms;
};

struct ratelimit {
    struct ratelimit_one requests, tokens;
};

void ratelimit_init(struct ratelimit *r);
/* One header field; others than the above, and values that cannot be read, change nothing.
 * wall_ms: now, since 1970. */
void ratelimit_take(struct ratelimit *r, struct str name, struct str value, int64_t wall_ms);
/* "6m0s", "1h2m3.5s", "17ms", "1.5" (seconds): milliseconds, -1: not a span. At most a day. */
int64_t ratelimit_span_ms(struct str s);

#endif
