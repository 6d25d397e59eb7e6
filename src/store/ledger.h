/* ledger: what the gateway tells about a request, in plain structs.
 *
 * The structs own nothing: their strings are borrowed for the call.  Counters
 * are disjoint: no token is in two of them.  Times are milliseconds since 1970
 * UTC (_ms) or microseconds of duration (_us; <= 0: not known).  Ids are row
 * ids, 0: none.  Money is nano-USD. */
#ifndef LYSS_STORE_LEDGER_H
#define LYSS_STORE_LEDGER_H

#include "core/str.h"

/* X(field): the counters, in the order in which records and tables hold them. */
#define LEDGER_COUNTERS(X)                                                                         \
    X(in_uncached)                                                                                 \
    X(cache_read)                                                                                  \
    X(cache_write_5m)                                                                              \
    X(cache_write_1h)                                                                              \
    X(out_text)                                                                                    \
    X(out_reasoning)                                                                               \
    X(audio_in)                                                                                    \
    X(audio_out)                                                                                   \
    X(images)

struct ledger_counters {
#define X(field) int64_t field;
    LEDGER_COUNTERS(X)
#undef X
};

/* How a request ended. The numbers are stored: never renumber, only append. */
enum ledger_state {
    LEDGER_COMPLETED,
    LEDGER_UPSTREAM_ERROR,
    LEDGER_INCOMPLETE,
    LEDGER_TIMEOUT,
    LEDGER_CLIENT_GONE,
    LEDGER_SHUTDOWN,
    LEDGER_LIMIT,
    LEDGER_ABORTED,
    LEDGER_STATES
};

/* "completed", "upstream_error", … */
const char *ledger_state_name(enum ledger_state s);
/* False when no state has that name. */
bool ledger_state_parse(struct str name, enum ledger_state *out);

struct ledger_admitted {
    uint8_t request_id[16];
    int64_t tenant_id, user_id, key_id, route_id;
    int64_t at_ms;
    uint8_t dialect, op, stream;
    int64_t est_in, est_out; /* tokens reserved */
    struct str model;        /* as the caller named it; cut at 256 bytes */
};

/* Of the try under way: what came in earlier tries is in their attempt records. */
struct ledger_progress {
    uint8_t request_id[16];
    struct ledger_counters so_far;
    int64_t channel_id, credential_id;
    int64_t cost_nusd; /* of so_far */
    bool has_cost;
    int64_t price_id;
};

/* One try of a request; written only for requests that had more than one. */
struct ledger_attempt {
    uint8_t request_id[16];
    uint8_t number; /* from 1 */
    int64_t channel_id, credential_id;
    int32_t status;   /* HTTP status of the upstream, 0: none came */
    uint16_t outcome; /* enum err */
    int64_t start_ms, ttft_us, total_us;
    struct ledger_counters c;
    uint8_t estimated;
    int64_t cost_nusd;
    bool has_cost;             /* false: unpriced */
    int64_t price_id;          /* the row of the table price that was used; 0: none */
    struct str upstream_model; /* cut at 256 bytes */
};

struct ledger_settled {
    uint8_t request_id[16];
    uint8_t state; /* enum ledger_state */
    uint8_t estimated, attempts;
    int32_t status; /* HTTP status that the caller got */
    uint16_t err;   /* enum err */
    int64_t ended_ms, ttft_us, total_us, overhead_us;
    int64_t channel_id, credential_id;
    struct ledger_counters c;
    int64_t cost_nusd;
    bool has_cost;                         /* false: unpriced, stored as NULL */
    int64_t price_id;                      /* 0: none, or its attempts have their own */
    struct str upstream_model, usage_json; /* cut at 256 bytes and at 2 KiB */
};

#endif
