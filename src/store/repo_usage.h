/* repo_usage: reading the ledger. A reader's own connection, one thread. */
#ifndef LYSS_STORE_REPO_USAGE_H
#define LYSS_STORE_REPO_USAGE_H

#include "core/arena.h"
#include "store/ledger.h"
#include "store/sql.h"

#define USAGE_LIST_MAX 1000

/* Zero or empty: not filtered by. */
struct usage_filter {
    int64_t since_ms, until_ms; /* by admission: since <= at < until */
    int64_t channel_id;
    struct str model; /* as the caller named it */
    bool by_state;
    enum ledger_state state;
};

struct usage_row {
    int64_t id; /* the cursor */
    uint8_t request_id[16];
    int64_t user_id, key_id, route_id, channel_id, credential_id;
    int64_t at_ms, ended_ms;
    int64_t dialect, op, stream;
    enum ledger_state state;
    int64_t status, attempts;
    bool estimated, has_cost;
    int64_t ttft_us, total_us, overhead_us; /* 0: not known */
    int64_t est_in, est_out;
    struct ledger_counters c;
    int64_t cost_nusd;
    int64_t price_id; /* in the table price; 0: none was known, or its attempts have their own */
    struct str model, upstream_model, error, usage_json;
};

struct usage_totals {
    int64_t requests, failed; /* failed: in any state but completed */
    int64_t estimated, unpriced;
    struct ledger_counters c;
    int64_t cost_nusd;
};

/* The tenant's rows, newest first, at most limit (≤ USAGE_LIST_MAX), those before the row with the
 * id `before` (0: from the newest). Rows and texts are in the arena. */
enum err repo_usage_list(struct sql *ledger, int64_t tenant_id, const struct usage_filter *f,
                         int64_t before, size_t limit, struct arena *arena, struct usage_row **rows,
                         size_t *n, struct err_info *info) MUST_CHECK;
enum err repo_usage_totals(struct sql *ledger, int64_t tenant_id, const struct usage_filter *f,
                           struct usage_totals *out, struct err_info *info) MUST_CHECK;

#endif
