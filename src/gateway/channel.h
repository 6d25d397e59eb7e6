/* channel: one way to a provider, as the data plane sees it: immutable, refcounted, shared.
 *
 * Built on a store thread from rows; successive snapshots share an object whose
 * row has not changed.  A request takes a ref on the channel that it uses, for
 * as long as it waits. */
#ifndef LYSS_GATEWAY_CHANNEL_H
#define LYSS_GATEWAY_CHANNEL_H

#include <stdatomic.h>

#include "core/arena.h"
#include "llm/override.h"
#include "llm/provider.h"
#include "net/url.h"

#define WORKERS_MAX 64

struct channel_cell;
struct credential_cell;
struct http_origin;

struct credential {
    int64_t id;
    struct secret header;         /* complete header line with CR LF; empty: none needed */
    struct credential_cell *cell; /* live state; outlives the channel */
};

struct model_map {
    struct str pattern, upstream; /* upstream empty: the name that the caller gave */
    bool glob;
};

struct channel {
    _Atomic unsigned refs;
    int64_t id, tenant_id; /* tenant 0: platform */
    int64_t rev;           /* of its rows: tells whether a snapshot may share it */
    int64_t created_ms;    /* 0: it has no row */
    struct str name;
    const struct provider *provider;
    struct url url;
    struct str authority; /* Host header's value */
    struct endpoint at;
    unsigned ops;
    int priority, weight;
    int64_t rpm, tpm, concurrency; /* caps; 0: none */
    uint32_t connect_ms, ttft_ms, chunk_ms, total_ms;
    bool drain; /* on_disconnect: read on for the usage when the caller has gone */
    uint32_t drain_ms, drain_tokens; /* at most so long, so much; 0: no limit of its own */
    bool mark_cache;                 /* prompts are marked for the upstream's cache */
    uint32_t min_tps;                /* output tokens a second of a stream; 0: any */
    struct credential *credentials;
    unsigned credentials_n;
    struct model_map *models;
    unsigned models_n;
    struct overrides params;   /* of a body that generates, in the upstream's form */
    struct overrides headers;  /* of each head */
    struct str reply_headers;  /* x-lyss-channel and its kin, for each reply */
    struct channel_cell *cell; /* live state; outlives the channel */
    /* Each worker's origin for this channel, filled at its first call; slot i is worker i's. */
    struct http_origin *origins[WORKERS_MAX];
    struct arena arena; /* holds all of the above */
};

/* Refs 1, everything else zero; memory for its strings comes from ch->arena. NULL: no memory. */
struct channel *channel_new(void);
/* Derives authority and reply_headers from the rest. ERR_NOMEM. */
enum err channel_seal(struct channel *ch) MUST_CHECK;
/* Any thread. */
struct channel *channel_ref(struct channel *ch);
/* Wipes the credentials with the last ref. */
void channel_unref(struct channel **ch);
/* The row that a model's name falls under, exact before glob; NULL: none. */
const struct model_map *model_map_find(const struct model_map *m, unsigned n, struct str model);
/* How this channel calls `model`; false: it does not serve it. Exact before glob. */
bool channel_serves(const struct channel *ch, struct str model, struct str *upstream);

#endif
