/* snapshot_build: rows of the database made into a snapshot.
 *
 * Runs on a store thread (or, at start, on the main thread), never on a loop. */
#ifndef LYSS_GATEWAY_SNAPSHOT_BUILD_H
#define LYSS_GATEWAY_SNAPSHOT_BUILD_H

#include "gateway/cells.h"
#include "gateway/snapshot.h"
#include "store/sql.h"
#include "store/vault.h"

struct snapshot_source {
    struct sql *db;
    struct vault *vault;
    struct cells *cells;
    uint32_t connect_ms, ttft_ms, chunk_ms, total_ms; /* for channels that set none */
    bool demo;                                        /* add the built-in demo channel */
    const struct model_catalogue *catalogue;          /* outlives every snapshot */
    const struct snapshot *last; /* unchanged channels are shared with it; may be NULL */
};

/* A snapshot with one ref. On failure nothing is made and the last one stays good. A channel whose
 * row cannot be used (its provider is gone, its credential does not open) is left out and logged.
 */
enum err snapshot_build(const struct snapshot_source *from, struct snapshot **out,
                        struct err_info *info) MUST_CHECK;

/* One channel alone, active or not, with its credentials opened; a ref for the caller. from->last
 * and the defaults of its timeouts are used. ERR_INVALID and info: it cannot be used. */
enum err snapshot_channel(const struct snapshot_source *from, const struct channel_row *row,
                          const struct provider_row *provider, struct channel **out,
                          struct err_info *info) MUST_CHECK;

#endif
