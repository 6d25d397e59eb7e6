/* cells: live state that outlives snapshots, in registries keyed by id.
 *
 * A cell is found (or made) when a snapshot is built and lives as long as the
 * process; its members are atomics that any worker changes without a lock. */
#ifndef LYSS_GATEWAY_CELLS_H
#define LYSS_GATEWAY_CELLS_H

#include <stdatomic.h>

#include "core/err.h"
#include "gateway/vitals.h"

/* What a channel is doing and has done. */
struct channel_cell {
    int64_t id;
    char name[64]; /* the latest, for metrics; written by the builder only before publication */
    struct vitals vitals; /* for balancing and health */
    _Atomic uint64_t requests, errors, in_tokens, out_tokens;
    _Atomic uint64_t last_ok_ms, last_error_ms; /* monotonic; 0: never */
};

/* Number of channels that a process may ever meet. */
#define CELLS_MAX 65536

struct cells;

struct cells *cells_new(void);
void cells_free(struct cells **c);
/* Finds or makes. Builder's thread only (one at a time); NULL: no memory, or CELLS_MAX. */
struct channel_cell *cells_channel(struct cells *c, int64_t id, struct str name);
/* Any thread: calls f for every channel cell. */
void cells_each_channel(struct cells *c, void (*f)(struct channel_cell *, void *ctx), void *ctx);

#endif
