/* journal_ring: a worker's records in shared memory, and what recovery finds there.
 *
 * One producer (the worker), one consumer (the journal thread), no lock.  A
 * record becomes visible by the release store of its len; its room becomes free
 * by the release store of tail.  The file begins with a page of struct
 * ring_head; positions count bytes since the ring was made and never wrap. */
#ifndef LYSS_STORE_JOURNAL_RING_H
#define LYSS_STORE_JOURNAL_RING_H

#include <stdatomic.h>

#include "core/buf.h"
#include "store/journal.h"
#include "store/journal_open.h"
#include "store/journal_record.h"

#define RING_DIR_MAX 1024

struct ring_head {
    char magic[8]; /* "LYSSRNG1" */
    uint32_t bytes, epoch;
    uint16_t worker, spare[3];
    uint8_t uuid[16];
    char data_dir[RING_DIR_MAX];
    _Alignas(64) _Atomic uint64_t tail; /* up to here copied to a segment */
    _Atomic uint64_t tail_seq;          /* …and up to this record; never behind tail */
};
static_assert(sizeof(struct ring_head) <= JOURNAL_PAGE, "a page");

/* What all rings of a journal share; the journal thread writes it, but for the policy. */
struct ring_shared {
    _Atomic bool full; /* no new requests */
    _Atomic(enum journal_full) policy;
};

struct journal_ring {
    struct ring_head *head; /* the mapping */
    unsigned char *data;
    uint64_t size;
    uint64_t at, tail_seen; /* worker: next record, last known tail */
    uint64_t seq, open;     /* worker: records so far, requests admitted and not settled */
    uint32_t epoch;
    uint16_t worker;
    const struct ring_shared *shared;
    struct open_table unrecorded; /* worker: let pass by JOURNAL_OPEN */
    int fd;                       /* holds the lock that marks the ring as alive */
    char path[RING_DIR_MAX + 128];
    _Atomic uint64_t appended; /* seq for other threads */
    _Atomic uint64_t dropped, passed;
    char apart[64];          /* what follows is written by the journal thread */
    _Atomic uint64_t copied; /* seq that is in a segment */
    _Atomic uint64_t synced; /* seq that is on the disk */
    uint64_t cursor;         /* behind the last staged record */
    uint64_t staged;         /* its seq */
};

struct ring_options {
    const char *ring_dir, *data_dir;
    const uint8_t *uuid;
    uint32_t bytes, epoch;
    uint16_t worker;
    const struct ring_shared *shared;
};

/* Makes the file, mapped and prefaulted. ERR_IO, ERR_NOMEM. */
enum err ring_new(struct journal_ring **out, const struct ring_options *o,
                  struct err_info *info) MUST_CHECK;
/* Unmaps, and removes the file, unless it is to be kept for recovery. */
void ring_free(struct journal_ring **r, bool keep_file);

/* Journal thread: the next published record, or NULL; ring_stage goes behind it; its room becomes
 * free once ring_release_staged says that all that was staged is written. */
const struct record *ring_peek(struct journal_ring *r);
void ring_stage(struct journal_ring *r, const struct record *rec);
void ring_release_staged(struct journal_ring *r);

/* Recovery: calls each(ctx, record) for every whole record that the dead ring of this file still
 * holds, in order, those with seq ≤ after(ctx, epoch, worker) left out. ERR_CORRUPT: not a ring. */
struct ring_recovery {
    void *ctx;
    uint64_t (*after)(void *ctx, uint32_t epoch, uint16_t worker);
    enum err (*each)(void *ctx, const struct record *r);
    uint64_t damaged;
};
enum err ring_recover(const char *path, struct ring_recovery *rec,
                      struct err_info *info) MUST_CHECK;

/* Whose ring is it? */
enum ring_owner {
    RING_FOREIGN, /* alive, or another living directory's, or unreadable: hands off */
    RING_OURS,    /* this directory's, or of its former place */
    RING_DEAD,    /* its directory is gone, or it was never finished */
};
enum ring_owner ring_owner(const char *path, const char *data_dir, const uint8_t uuid[16]);

#endif
