/* journal_open: the requests that are admitted and not yet settled, by request id.
 *
 * Owned by one thread.  Open addressing on the id itself: request ids are
 * UUIDv7, whose last 8 bytes are random.  Entries own copies of the records. */
#ifndef LYSS_STORE_JOURNAL_OPEN_H
#define LYSS_STORE_JOURNAL_OPEN_H

#include "core/err.h"
#include "store/journal_record.h"

struct open_attempt {
    struct open_attempt *next; /* in the order of appending */
    struct record_attempt r;   /* its text follows */
};

/* As the records have it: there is one for each stream under way. */
struct open_progress {
    int64_t channel_id, credential_id, cost_nusd /* INT64_MIN: unpriced */, price_id;
    struct record_counters c;
    bool has_progress;
};

struct open_request {
    struct open_attempt *attempts;
    struct open_progress so_far; /* of the last progress */
    struct record_admitted r;    /* its text follows; of a bare id only the id counts */
};

struct open_table {
    struct open_request **slots;
    size_t count, cap, max;
};

void open_init(struct open_table *t, size_t max);
void open_release(struct open_table *t);
struct open_request *open_find(const struct open_table *t, const uint8_t id[16]);
/* Takes an admitted, progress or attempt record in; a repeated admitted or progress replaces.
 * Progress and attempts of unknown requests are left. ERR_NOMEM, ERR_TOO_BIG. */
enum err open_add(struct open_table *t, const struct record *r) MUST_CHECK;
/* Remembers a bare id. ERR_NOMEM, ERR_TOO_BIG. */
enum err open_add_id(struct open_table *t, const uint8_t id[16]) MUST_CHECK;
/* Takes it out; the caller frees it by open_request_free. NULL: unknown. */
struct open_request *open_take(struct open_table *t, const uint8_t id[16]);
/* What the last progress said; zero where there was none. */
void open_request_progress(const struct open_request *o, struct ledger_progress *out);
void open_request_free(struct open_request **o);
/* Iterates: start with *at = 0; NULL at the end. */
struct open_request *open_next(const struct open_table *t, size_t *at);

#endif
