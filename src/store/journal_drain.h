/* journal_drain: from segments into the ledger database. Owned by the drain thread. */
#ifndef LYSS_STORE_JOURNAL_DRAIN_H
#define LYSS_STORE_JOURNAL_DRAIN_H

#include "store/journal.h"
#include "store/journal_rollup.h"
#include "store/journal_segment.h"

struct drain {
    /* Set by the journal before the thread starts. */
    struct segment_dir *dir;
    const _Atomic uint64_t *synced; /* the writer's position */
    const char *node;
    enum err (*open_sql)(void *ctx, struct sql **out, struct err_info *info);
    void *open_ctx;
    uint64_t epoch;   /* segments before this one are complete */
    uint64_t segment; /* where to read on; its carry file holds what is open there */
    uint64_t oldest;  /* the first segment not yet removed */
    /* The drain's own. */
    struct sql *db;
    bool positioned, reading, in_transaction;
    struct segment_reader reader;
    struct open_table open;
    struct rollup rollup;
    uint64_t pos;                    /* in the database */
    uint64_t base;                   /* records before segment */
    uint64_t records, rows, orphans; /* of this batch */
    /* For other threads. */
    _Atomic uint64_t done, all_rows, all_orphans, damaged;
};

void drain_init(struct drain *d);
void drain_release(struct drain *d);
/* Carries over what is there, at most a batch; *more: there may be more at once. On failure all is
 * as it was before the batch, and the next call begins by opening the database anew. */
enum err drain_batch(struct drain *d, bool *more, struct err_info *info) MUST_CHECK;

#endif
