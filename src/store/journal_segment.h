/* journal_segment: the journal's files: segments, carry files, spares.
 *
 * <data_dir>/journal holds, beside `instance` (the journal's UUID):
 *   0000000007.segment  64 bytes of header, then records, zeroes behind them
 *   0000000007.carry    the requests open where segment 7 begins: so that an
 *                       older segment may go, however long a stream lasts
 *   N.spare             allocated ahead, for a full disk
 * A position (seq in journal_pos) is segment number << 24 | offset. */
#ifndef LYSS_STORE_JOURNAL_SEGMENT_H
#define LYSS_STORE_JOURNAL_SEGMENT_H

#include <stdatomic.h>

#include "store/journal_open.h"

#define SEGMENT_BYTES_MAX (1u << 24)
#define SEGMENT_HEAD      64u
#define SEGMENT_PATH_MAX  1152
#define SEGMENT_STAGE     65536u

#define SEGMENT_POS(number, at) (((uint64_t)(number) << 24) + (uint64_t)(at))

struct segment_dir {
    char path[SEGMENT_PATH_MAX];
    int fd;
    uint8_t uuid[16];
    uint32_t segment_bytes;
    uint64_t max_segments, max_spares;
    _Atomic uint64_t live; /* segment files there are */
};

/* Makes or opens the directory and its identity. ERR_IO. */
enum err segment_dir_open(struct segment_dir *d, const char *data_dir,
                          struct err_info *info) MUST_CHECK;
void segment_dir_close(struct segment_dir *d);
/* The numbers of all segments, rising; *numbers is the caller's (mem_free). *next is above all that
 * were ever used: a segment that was drained and removed leaves a carry file behind for the next.
 * ERR_IO, ERR_NOMEM. */
enum err segment_list(struct segment_dir *d, uint64_t **numbers, size_t *n,
                      uint64_t *next) MUST_CHECK;
/* Removes a segment and its carry file. The carry file of the newest segment must be there. */
void segment_remove(struct segment_dir *d, uint64_t number);

/* ---- writing: journal thread (recovery before it starts) --------------- */
struct segment_writer {
    struct segment_dir *dir;
    int fd; /* -1: none open */
    uint64_t number;
    uint32_t at, flushed; /* offsets; what lies between is in stage */
    bool dirty;           /* written and not synced */
    uint64_t spares;
    /* Position: what readers may see. Not what is merely written: a row must not survive a loss of
     * power that its record does not, or recovery would end the request again. */
    _Atomic uint64_t synced;
    unsigned char stage[SEGMENT_STAGE];
};

/* The first segment will be number. No file is touched yet. */
void segment_writer_init(struct segment_writer *w, struct segment_dir *d, uint64_t number);
/* Stages a record; writes and begins the next segment as needed. On failure the record is not
 * taken; call again later. ERR_TOO_BIG: max_segments are there. ERR_IO. */
enum err segment_add(struct segment_writer *w, const struct record *r) MUST_CHECK;
/* Writes what is staged; after it a killed process loses nothing of it. ERR_IO: try again. */
enum err segment_flush(struct segment_writer *w) MUST_CHECK;
/* …nor does a machine without power. */
enum err segment_sync(struct segment_writer *w) MUST_CHECK;
/* Allocates missing spares. ERR_IO when the disk does not give them. */
enum err segment_fill_spares(struct segment_writer *w) MUST_CHECK;
/* Gives the unused end of the last segment back, and the spares. */
void segment_writer_close(struct segment_writer *w);

/* ---- reading: drain thread, recovery ----------------------------------- */
struct segment_reader {
    struct segment_dir *dir;
    int fd;
    uint64_t number;
    uint64_t at, size; /* next offset; the file's size */
    struct record_walk walk;
    uint64_t chunk; /* where walk.base lies in the file */
    unsigned char *buf;
};

/* ERR_NOMEM. */
enum err segment_reader_init(struct segment_reader *r, struct segment_dir *d) MUST_CHECK;
void segment_reader_release(struct segment_reader *r);
/* Opens a segment at its begin. ERR_IO, ERR_NOT_FOUND (made, and nothing written yet), ERR_CORRUPT
 * (no segment of this journal). */
enum err segment_reader_open(struct segment_reader *r, uint64_t number) MUST_CHECK;
/* The next record before offset limit, lent until the next call; NULL: none. r->at is behind it. */
const struct record *segment_read(struct segment_reader *r, uint64_t limit);

/* ---- carry files -------------------------------------------------------- */
enum err segment_carry_write(struct segment_dir *d, uint64_t number,
                             const struct open_table *open) MUST_CHECK;
/* Adds the carried requests to open; ERR_OK when there is no such file. */
enum err segment_carry_load(struct segment_dir *d, uint64_t number,
                            struct open_table *open) MUST_CHECK;

#endif
