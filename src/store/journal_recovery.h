/* journal_recovery: what a dead process left in segments and rings, brought into order. */
#ifndef LYSS_STORE_JOURNAL_RECOVERY_H
#define LYSS_STORE_JOURNAL_RECOVERY_H

#include "store/journal_segment.h"

struct recovery {
    struct segment_dir *dir;
    const char *data_dir; /* absolute */
    const char *ring_dirs[2];
    uint32_t epoch;                     /* out: of this start; no record at hand has it */
    uint64_t first, oldest;             /* out: its first segment; the one from which to read */
    uint64_t records, aborted, damaged; /* out */
};

/* Reads all segments, appends what the rings still hold and an aborted settlement for every request
 * without one, syncs, and removes the rings of this directory and of directories that are gone.
 * May be cut off anywhere and run again. *w is left open for the journal thread. Start-up only. */
enum err recovery_run(struct recovery *rc, struct segment_writer *w,
                      struct err_info *info) MUST_CHECK;

#endif
