/* journal_record: the form of a record in rings, segments and carry files.
 *
 * Native little-endian.  A record starts at a multiple of 8 bytes and never
 * crosses a 4 KiB page, so a reader that meets damage goes on at the next page.
 * (epoch, worker, seq) names a record for ever: the epoch is one start of the
 * process, seq counts within a worker's ring.  Where the rest of a page is too
 * small, its first word is JOURNAL_PAD | bytes.
 *
 * Version 1 knew no price_id; a bare settled record still has that form.  Both
 * are read, since a binary takes over what an older one left. */
#ifndef LYSS_STORE_JOURNAL_RECORD_H
#define LYSS_STORE_JOURNAL_RECORD_H

#include <assert.h>

#include "core/hash.h"
#include "store/ledger.h"

#define JOURNAL_PAGE      4096u
#define JOURNAL_PAD       0x80000000u
#define JOURNAL_NAME_MAX  256u
#define JOURNAL_USAGE_MAX 2048u
#define JOURNAL_VERSION   2u
#define JOURNAL_ALIGN(n)  (((n) + 7u) & ~(size_t)7)
/* The worker number of records that recovery writes itself. */
#define JOURNAL_RECOVERY 0xffffu

enum journal_type { JOURNAL_ADMITTED = 1, JOURNAL_PROGRESS, JOURNAL_ATTEMPT, JOURNAL_SETTLED };

struct record {
    uint32_t len; /* header and payload; 0: nothing here yet */
    uint32_t crc; /* CRC-32C of what follows, seeded with len */
    uint64_t seq;
    uint32_t epoch;
    uint16_t worker;
    uint8_t type, version;
};
static_assert(sizeof(struct record) == 24, "stored");

struct record_counters {
#define X(field) uint32_t field;
    LEDGER_COUNTERS(X)
#undef X
};

struct record_admitted {
    struct record h;
    uint8_t id[16];
    int64_t tenant_id, user_id, key_id, route_id, at_ms;
    uint32_t est_in, est_out;
    uint16_t model_len;
    uint8_t dialect, op, stream, spare[3];
    char model[];
};
static_assert(sizeof(struct record_admitted) == 96, "stored");

struct record_progress {
    struct record h;
    uint8_t id[16];
    int64_t channel_id, credential_id;
    struct record_counters c;
    uint32_t spare;
    int64_t cost_nusd, price_id; /* from version 2 on; INT64_MIN: unpriced */
};
static_assert(sizeof(struct record_progress) == 112, "stored");

struct record_attempt {
    struct record h;
    uint8_t id[16];
    int64_t channel_id, credential_id, start_ms, total_us;
    struct record_counters c;
    uint32_t ttft_us;
    int16_t status;
    uint16_t outcome, model_len;
    uint8_t number, estimated;
    int64_t cost_nusd; /* INT64_MIN: unpriced */
    char model[];      /* behind it, from version 2 on: int64_t price_id */
};
static_assert(sizeof(struct record_attempt) == 128, "stored");

struct record_settled {
    struct record h;
    uint8_t id[16];
    int64_t ended_ms, total_us, cost_nusd, channel_id, credential_id;
    struct record_counters c;
    uint32_t ttft_us, overhead_us;
    int16_t status;
    uint16_t err, model_len, usage_len;
    uint8_t state, estimated, attempts, has_cost;
    char text[]; /* model, then usage; then, from version 2 on: int64_t price_id */
};
static_assert(sizeof(struct record_settled) == 136, "stored");

/* The size that pack needs, never above a page. The texts are cut to their maxima. */
size_t record_admitted_size(const struct ledger_admitted *a);
size_t record_attempt_size(const struct ledger_attempt *a);
size_t record_settled_size(const struct ledger_settled *s);
/* Fill a record but for h. bare: in version 1 and without its texts (sizeof(struct record_settled)
 * bytes). */
void record_pack_admitted(struct record_admitted *r, const struct ledger_admitted *a);
void record_pack_progress(struct record_progress *r, const struct ledger_progress *p);
void record_pack_attempt(struct record_attempt *r, const struct ledger_attempt *a);
void record_pack_settled(struct record_settled *r, const struct ledger_settled *s, bool bare);
/* The texts point into the record; its version counts. */
void record_unpack_admitted(const struct record_admitted *r, struct ledger_admitted *a);
void record_unpack_counters(const struct record_counters *r, struct ledger_counters *c);
void record_unpack_progress(const struct record_progress *r, struct ledger_progress *p);
void record_unpack_attempt(const struct record_attempt *r, struct ledger_attempt *a);
void record_unpack_settled(const struct record_settled *r, struct ledger_settled *s);

static inline uint32_t record_crc(const struct record *r, uint32_t len)
{
    return hash_crc32c(len, &r->seq, len - offsetof(struct record, seq));
}

/* Is there a whole record of a known type in these n bytes (n ≤ a page), by its form and sum? */
bool record_valid(const struct record *r, size_t n);

/* Walks a run of whole pages (the last may be short). Damage and empty places lead to the next
 * page. */
struct record_walk {
    const unsigned char *base;
    size_t at, end;
    uint64_t damaged; /* places that held something unreadable */
};
/* The next valid record, or NULL at the end; walk->at is then behind it. */
const struct record *record_next(struct record_walk *w);

#endif
