/* snapshot: the configuration that requests are served by: immutable, swapped whole.
 *
 * Built on a store thread; every worker holds one ref to the newest it has been
 * given and drops it for the next.  A request keeps no pointer into a snapshot
 * across a wait: it takes a ref on the channel it uses and looks the rest up
 * again. */
#ifndef LYSS_GATEWAY_SNAPSHOT_H
#define LYSS_GATEWAY_SNAPSHOT_H

#include "core/map.h"
#include "gateway/choose/appraise.h"
#include "gateway/balance/balance.h"
#include "gateway/channel.h"
#include "llm/model_catalogue.h"
#include "store/rows.h"

#define SNAPSHOT_KEYS_MAX   (1u << 20)
#define SNAPSHOT_MODELS_MAX (1u << 16)

/* A channel that serves a model, and how it calls it. */
struct candidate {
    struct channel *channel;
    struct str upstream;      /* empty: the caller's name */
    int64_t priority, weight; /* ROW_NULL: the channel's */
    const struct catalogue_entry
        *entry; /* of the upstream's model; NULL: depends on the name asked */
};

/* Where a model name leads. */
struct route {
    int64_t id;         /* 0: implicit */
    int64_t created_ms; /* 0: implicit: as old as its channels */
    struct str name;
    bool glob;
    const struct balance *algorithm;
    enum affinity_kind affinity;
    const struct balance_objective *objective; /* NULL: the default */
    struct candidate *candidates;
    unsigned n;
    unsigned inactive; /* channels that serve it, too, but are not to be used now */
    uint8_t hedge_percent, hedge_cost_percent;    /* 0: no hedging */
    struct str context_fallback, policy_fallback; /* models; empty: none */
};

/* A channel that is not to be used now: what it would serve. */
struct dormant {
    int64_t tenant_id;
    struct model_map *models;
    unsigned models_n;
};

struct tenant {
    int64_t id;
    struct str slug;
    bool suspended;
    struct map exact;    /* model name → struct route */
    struct route *globs; /* route rows with patterns, in order */
    unsigned globs_n;
    struct channel **channels; /* that it may use */
    unsigned channels_n;
    const struct snapshot *of;
};

struct api_key {
    uint8_t digest[32];
    int64_t id, user_id, expires_ms; /* expires 0: never */
    struct tenant *tenant;
    bool user_suspended, ping_off;
    bool no_inference;     /* its scopes are others */
    struct key_cell *cell; /* live state; may be NULL */
    struct str *models;    /* globs; n 0: all */
    unsigned models_n;
    int64_t *channels; /* n 0: all */
    unsigned channels_n;
};

struct snapshot {
    _Atomic unsigned refs;
    int64_t rev;
    struct arena arena;
    struct map keys; /* digest → struct api_key */
    struct tenant *tenants;
    unsigned tenants_n;
    struct channel **channels; /* each holds a ref */
    unsigned channels_n;
    struct dormant *dormant;
    unsigned dormant_n;
};

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot **s);

const struct api_key *snapshot_key(const struct snapshot *s, const uint8_t digest[32]);

/* A model's candidates. scratch is used where no exact name is on record (room for
 * CANDIDATES_MAX). A model that only inactive channels serve has a route without candidates.
 * False: no such model for this tenant. */
#define CANDIDATES_MAX 64
bool snapshot_route(const struct tenant *t, struct str model, struct route *out,
                    struct candidate scratch[CANDIDATES_MAX]);
bool key_allows_model(const struct api_key *k, struct str model);
bool key_allows_channel(const struct api_key *k, int64_t channel_id);

#endif
