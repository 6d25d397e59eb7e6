/* appraise: what of a request and of a channel goes into the choice: what the request belongs to,
 * as a hash, and what the channel's limits leave.
 *
 * Pure; any thread. */
#ifndef LYSS_GATEWAY_APPRAISE_H
#define LYSS_GATEWAY_APPRAISE_H

#include "gateway/channel.h"
#include "llm/wire_openai_request.h"

/* How a route keeps requests together. */
enum affinity_kind {
    AFFINITY_NONE,
    AFFINITY_SESSION, /* one caller's conversation */
    AFFINITY_PREFIX   /* prompts that begin alike, of a whole tenant: the upstream's prompt cache */
};
/* "none", "session", "prefix"; anything else is AFFINITY_NONE. */
enum affinity_kind affinity_parse(struct str s);

#define APPRAISE_PREFIX_BYTES  1024
#define APPRAISE_SESSION_BYTES 256 /* of x-lyss-session that count */

/* Where a request comes from. */
struct appraise_origin {
    int64_t tenant_id, user_id, key_id;
    struct str session; /* x-lyss-session; empty: not sent */
    struct str route;
};
/* The same in every process, never 0. Session: by x-lyss-session, prompt_cache_key, user, metadata
 * (the first that is there), else by how the prompt begins. Prefix: by prompt_cache_key, else by
 * how the prompt begins: APPRAISE_PREFIX_BYTES of instructions and messages. */
uint64_t appraise_hash(enum affinity_kind kind, const struct appraise_origin *o,
                       const struct openai_request *r);

/* The share of the channel's own limits (RPM, TPM, concurrency) that is free, the tightest of them:
 * 0 … 1; 1 where it has none. */
double appraise_headroom(const struct channel *ch, uint64_t now_ms);

#endif
