/* cells: live state that outlives snapshots, in registries keyed by id.
 *
 * A cell is found (or made) when a snapshot is built and lives as long as the
 * process; its members are atomics that any worker changes without a lock. */
#ifndef LYSS_GATEWAY_CELLS_H
#define LYSS_GATEWAY_CELLS_H

#include <stdatomic.h>

#include "core/err.h"
#include "gateway/health/gate.h"
#include "gateway/health/health.h"
#include "gateway/health/vitals.h"

struct sql;

/* What a channel is doing and has done. */
struct channel_cell {
    int64_t id;
    char name[64]; /* the latest, for metrics; written by the builder only before publication */
    struct vitals vitals; /* for balancing and health */
    struct channel_gate gate;
    _Atomic(struct credential_cell *) credentials; /* all that it has ever had */
    _Atomic uint32_t health, health_turn;          /* enum health; the checker's round */
    struct health_history history;
    struct health_times ttft, total;
    _Atomic int64_t upstream_open; /* connections */
    _Atomic uint64_t requests, errors, in_tokens, out_tokens;
    _Atomic uint64_t last_ok_ms, last_error_ms; /* monotonic; 0: never */
};

/* Of an API key. */
struct key_cell {
    int64_t id, tenant_id;
    _Atomic int64_t used_ms; /* wall clock; 0: not since the start */
    int64_t written_ms;      /* what the database has; the builder's thread only */
};

/* Number of channels and credentials that a process may ever meet. */
#define CELLS_MAX 65536

struct cells;

struct cells *cells_new(void);
void cells_free(struct cells **c);
/* Finds or makes. Builder's thread only (one at a time); NULL: no memory, or CELLS_MAX. */
struct channel_cell *cells_channel(struct cells *c, int64_t id, struct str name);
/* The same for a credential of it; the builder's thread only. */
struct credential_cell *cells_credential(struct cells *c, struct channel_cell *channel, int64_t id);
/* The same for an API key; the builder's thread only. */
struct key_cell *cells_key(struct cells *c, int64_t tenant_id, int64_t id);
/* Any thread; now and then, since all workers write there: the key has just worked. */
static inline void key_cell_used(struct key_cell *k, int64_t now_ms)
{
    if (k && now_ms - atomic_load_explicit(&k->used_ms, memory_order_relaxed) >= 1000)
        atomic_store_explicit(&k->used_ms, now_ms, memory_order_relaxed);
}
/* Writes when keys were last used, where that is news. The builder's thread only; what cannot be
 * written now is written the next time. */
void cells_write_keys(struct cells *c, struct sql *db);
/* Any thread: calls f for every channel cell. */
void cells_each_channel(struct cells *c, void (*f)(struct channel_cell *, void *ctx), void *ctx);

#endif
