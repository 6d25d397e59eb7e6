/* journal: what happened to each request, on its way into the ledger database.
 *
 * A worker appends records to a ring of its own in shared memory: no system
 * call, no lock, some 50 ns; what is in a ring outlives the process.  The
 * journal thread copies rings to segment files in <data_dir>/journal (write and
 * fdatasync at most every 50 ms).  The drain thread carries segments into the
 * database: usage and attempt rows, rollups and the journal position in one
 * transaction, so that each request has one row whatever is killed when.  A
 * database that is slow or gone stops the drain only: segments grow, up to
 * max_bytes.  At start what a dead process left behind is taken over first, and
 * requests that never ended become `aborted` rows. */
#ifndef LYSS_STORE_JOURNAL_H
#define LYSS_STORE_JOURNAL_H

#include "core/err.h"
#include "store/ledger.h"

struct journal;
struct journal_ring;
struct sql;

enum journal_sync {
    JOURNAL_SYNC_INTERVAL, /* fdatasync at most every 50 ms */
    JOURNAL_SYNC_ALWAYS,   /* each group at once */
};

enum journal_full {
    JOURNAL_CLOSED, /* a full journal refuses new requests */
    JOURNAL_OPEN,   /* a full journal lets them pass unrecorded, and counts them */
};

struct journal_options {
    const char *data_dir; /* must exist */
    const char *node;     /* this node's name in journal_pos; NULL: "local" */
    const char *ring_dir; /* NULL: /dev/shm, or the data directory where that is no tmpfs */
    unsigned workers;
    uint64_t max_bytes;     /* of all segments; 0: 1 GiB */
    uint64_t reserve_bytes; /* allocated ahead for a full disk; 0: 64 MiB; <= max_bytes / 4 */
    uint32_t segment_bytes; /* 0: 16 MiB; a multiple of 4 KiB, at most 16 MiB */
    uint32_t ring_bytes;    /* per worker; a power of two, at least 64 KiB; 0: 2 MiB, which is room
                             * for some 13 000 open requests */
    enum journal_sync sync;
    enum journal_full full;
    /* Opens the ledger database with its tables in place; called on the drain thread, again after
     * a second when it fails. NULL: nothing is drained (tests). */
    enum err (*open_sql)(void *ctx, struct sql **out, struct err_info *info);
    void *open_ctx;
};

struct journal_stats {
    uint64_t pending;    /* records appended and not yet in the database */
    uint64_t rows;       /* usage rows written by this process */
    uint64_t aborted;    /* of the requests taken over at start: ended by us */
    uint64_t unrecorded; /* requests let pass by JOURNAL_OPEN */
    uint64_t dropped;    /* attempt and progress records for which a ring had no room */
    uint64_t damaged;  /* places where a record was unreadable, and the rest of its page skipped */
    uint64_t orphans;  /* settled records whose admitted record was lost */
    uint64_t segments; /* files on disk */
    uint64_t write_errors, sql_errors;
    bool full;
};

/* Takes over what a dead process left, starts both threads. The caller holds the data directory's
 * lock. ERR_IO, ERR_INVALID (options), ERR_NOMEM. Start and stop on one thread. */
enum err journal_start(struct journal **out, const struct journal_options *o,
                       struct err_info *info) MUST_CHECK;
/* Flushes everything into the database (for at most 1 s, 0.4 s when that fails; the rest waits in
 * the segments for the next start), ends both threads, removes the rings. Workers must be done. */
void journal_stop(struct journal **j);

/* The ring of worker 0…workers-1; lent. Each ring is used by one thread. */
struct journal_ring *journal_ring(struct journal *j, unsigned worker);

/* ERR_OVERLOADED when the ring has no room (its settled record included) or the journal is full
 * and closed: the request must be refused. After ERR_OK exactly one journal_settled follows. */
enum err journal_admitted(struct journal_ring *r, const struct ledger_admitted *a) MUST_CHECK;
/* At the upstream's first byte, then each second or 1 000 tokens. */
void journal_progress(struct journal_ring *r, const struct ledger_progress *p);
void journal_attempt(struct journal_ring *r, const struct ledger_attempt *a);
/* Always finds room; where it is scarce, upstream_model and usage_json are left out. */
void journal_settled(struct journal_ring *r, const struct ledger_settled *s);

/* What the ring's worker appended last, and what of it is on the disk; both only grow. Its thread
 * only. */
uint64_t journal_mark(const struct journal_ring *r);
uint64_t journal_synced(const struct journal_ring *r);

/* Any thread. */
uint64_t journal_pending(struct journal *j);
void journal_set_full(struct journal *j, enum journal_full full);
bool journal_usable(struct journal *j); /* false: full and closed, or the disk refuses writes */
void journal_stats(struct journal *j, struct journal_stats *out);

#endif
