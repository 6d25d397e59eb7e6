/* rows: what the configuration is made of, each thing in one table of columns.
 *
 * A *_COLUMNS list yields the C struct, the SQL texts of its repository, the
 * const struct thing that the command line and the management API read (flag,
 * default, check, help), and its JSON.  A new column is one line here plus one
 * in a migration; a test compares the two.
 *
 * X(type, name, flag, default, check, lo, hi, words, doc)
 *   type    TEXT (struct str, never NULL in SQL), LIST (struct str, one word a line),
 *           INT, OPT (int64_t, ROW_NULL when unset), BOOL (int64_t 0 or 1), BLOB,
 *           TIME (as OPT, milliseconds since 1970)
 *   flag    on the command line, and field of the API; "" for what nobody sets by hand
 *   default as one would type it; NULL: it must be given
 *   check   a CHECK_*, with lo and hi (range of a number, length of a text), words (allowed ones)
 *
 * Rows are plain data; their texts live in the arena that they were read into. */
#ifndef LYSS_STORE_ROWS_H
#define LYSS_STORE_ROWS_H

#include "core/arena.h"
#include "store/sql.h"

/* The tenants of no tenant: platform rows, and, for readers that build snapshots, all rows. */
#define TENANT_PLATFORM 0
#define TENANT_ALL      (-1)

#define ROW_NULL INT64_MIN

enum column_type {
    COLUMN_TEXT,
    COLUMN_LIST,
    COLUMN_INT,
    COLUMN_OPT,
    COLUMN_BOOL,
    COLUMN_BLOB,
    COLUMN_TIME
};

enum column_check {
    CHECK_NONE,
    CHECK_LENGTH, /* UTF-8 without control characters, lo..hi bytes */
    CHECK_NAME,   /* [A-Za-z0-9._-]+ */
    CHECK_SLUG,   /* [a-z0-9-]+ */
    CHECK_EMAIL,
    CHECK_URL,   /* http or https, no user-info, query or fragment; empty where lo is 0 */
    CHECK_MODEL, /* a model id or glob (each one of a list) */
    CHECK_WORDS, /* one of words (each one of a list) */
    CHECK_RANGE,
    CHECK_OBJECT, /* a JSON object, or nothing */
    CHECK_TIME
};

#define TENANT_COLUMNS(X)                                                                          \
    X(TEXT, slug, "slug", NULL, SLUG, 1, 63, NULL, "short name, used in addresses and commands")   \
    X(TEXT, name, "title", "", LENGTH, 0, 200, NULL, "name for people")                            \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|suspended",                           \
      "a suspended tenant is answered 403 everywhere")                                             \
    X(TEXT, time_zone, "time-zone", "UTC", LENGTH, 1, 64, NULL,                                    \
      "IANA name; days and months of quotas begin by it")                                          \
    X(BOOL, unlimited, "unlimited", "off", NONE, 0, 0, NULL, "no plan limits apply")

#define USER_COLUMNS(X)                                                                            \
    X(TEXT, email, "email", NULL, EMAIL, 3, 254, NULL, "address, unique in the tenant")            \
    X(TEXT, name, "title", "", LENGTH, 0, 200, NULL, "name for people")                            \
    X(TEXT, role, "role", "end_user", WORDS, 0, 0, "super_admin|tenant_admin|end_user|auditor",    \
      "what the user may do")                                                                      \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|suspended",                           \
      "keys of a suspended user are refused")

#define KEY_COLUMNS(X)                                                                             \
    X(INT, user_id, "", "", NONE, 0, 0, NULL, "whose key it is")                                   \
    X(TEXT, name, "name", NULL, NAME, 1, 100, NULL, "unique among the tenant's live keys")         \
    X(TEXT, last4, "", "", NONE, 0, 0, NULL, "last four characters, for recognising it")           \
    X(BLOB, digest, "", "", NONE, 0, 0, NULL, "HMAC-SHA-256 under the server's pepper")            \
    X(LIST, scopes, "scope", "", NAME, 1, 64, NULL,                                                \
      "right of the key; none given: all of its user; inference: calls of models")                 \
    X(LIST, allowed_models, "models", "", MODEL, 1, 256, NULL,                                     \
      "model or glob that the key may use; none given: all")                                       \
    X(LIST, allowed_channels, "channels", "", NAME, 1, 100, NULL,                                  \
      "channel that the key may use; none given: all")                                             \
    X(BOOL, ping, "ping", "on", NONE, 0, 0, NULL, "comments keep a silent stream alive")           \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|inactive", "inactive: refused")       \
    X(TIME, expires_ms, "expires", "never", TIME, 0, 0, NULL, "when it stops working")             \
    X(TIME, last_used_ms, "", "never", NONE, 0, 0, NULL, "when it last worked")                    \
    X(TIME, revoked_ms, "", "never", NONE, 0, 0, NULL, "when it was revoked")

#define PROVIDER_COLUMNS(X)                                                                        \
    X(TEXT, name, "name", NULL, NAME, 1, 100, NULL, "unique name")                                 \
    X(TEXT, kind, "kind", "openai-compatible", NAME, 1, 100, NULL,                                 \
      "built-in provider that it behaves like")                                                    \
    X(TEXT, base_url, "base-url", "", URL, 0, 2048, NULL, "address for channels that give none")   \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|inactive",                            \
      "inactive: its channels are not used")                                                       \
    X(TEXT, managed_by, "", "api", NONE, 0, 0, NULL, "builtin, api or file")

#define MODEL_COLUMNS(X)                                                                           \
    X(TEXT, name, "name", NULL, MODEL, 1, 256, NULL, "model id")                                   \
    X(TEXT, provider, "provider", NULL, NAME, 1, 100, NULL, "whose model it is")                   \
    X(OPT, context_tokens, "context", "none", RANGE, 1, 100000000, NULL,                           \
      "context limit in tokens")                                                                   \
    X(OPT, output_tokens, "output", "none", RANGE, 1, 100000000, NULL, "output limit in tokens")   \
    X(LIST, capabilities, "capability", "", NAME, 1, 64, NULL, "tools, vision, json_schema …")

#define CHANNEL_COLUMNS(X)                                                                         \
    X(TEXT, name, "name", NULL, NAME, 1, 100, NULL, "unique in the tenant")                        \
    X(TEXT, provider, "provider", NULL, NAME, 1, 100, NULL, "provider that the channel leads to")  \
    X(TEXT, base_url, "base-url", "", URL, 0, 2048, NULL,                                          \
      "upstream address; empty: the provider's. Changing it removes the stored credentials, "      \
      "unless they are given anew in the same command")                                            \
    X(TEXT, api_version, "api-version", "", NAME, 0, 64, NULL, "Azure: value of api-version")      \
    X(LIST, ops, "op", "", WORDS, 0, 0,                                                            \
      "chat|completions|embeddings|responses|messages|count_tokens|"                               \
      "generate_content|gemini_count_tokens|embed_content|batch_embed_contents",                   \
      "operation that the upstream serves; none given: the provider's")                            \
    X(INT, priority, "priority", "1", RANGE, 0, 100, NULL, "higher is tried first")                \
    X(INT, weight, "weight", "100", RANGE, 1, 1000, NULL, "share among channels of one priority")  \
    X(OPT, rpm, "rpm", "none", RANGE, 1, 1000000000, NULL, "cap: requests a minute")               \
    X(OPT, tpm, "tpm", "none", RANGE, 1, 1000000000000, NULL, "cap: tokens a minute")              \
    X(OPT, concurrency, "concurrency", "none", RANGE, 1, 1000000, NULL, "cap: requests in flight") \
    X(OPT, connect_timeout_ms, "connect-timeout", "none", RANGE, 1, 600000, NULL,                  \
      "ms for DNS and connect; none: the process default")                                         \
    X(OPT, ttft_timeout_ms, "ttft-timeout", "none", RANGE, 1, 3600000, NULL,                       \
      "ms to the first byte of the answer; none: the process default")                             \
    X(OPT, chunk_timeout_ms, "chunk-timeout", "none", RANGE, 1, 3600000, NULL,                     \
      "ms between two chunks; none: the process default")                                          \
    X(OPT, total_timeout_ms, "total-timeout", "none", RANGE, 1, 86400000, NULL,                    \
      "ms for the whole; none: the process default")                                               \
    X(TEXT, on_disconnect, "on-disconnect", "cancel", WORDS, 0, 0, "cancel|drain",                 \
      "caller gone: cancel the upstream, or drain it and settle on real usage")                    \
    X(OPT, drain_max_s, "drain-max-s", "none", RANGE, 1, 3600, NULL, "longest drain in seconds")   \
    X(OPT, drain_max_tokens, "drain-max-tokens", "none", RANGE, 1, 10000000, NULL,                 \
      "most output tokens of a drain")                                                             \
    X(OPT, min_output_tps, "min-output-tps", "none", RANGE, 1, 100000, NULL,                       \
      "output tokens a second; a stream that is slower for 30 s ends")                             \
    X(TEXT, cache_marks, "cache-marks", "caller", WORDS, 0, 0, "caller|auto",                      \
      "auto: a prompt that its caller has not marked for Anthropic's cache is marked on its way")  \
    X(LIST, tags, "tag", "", NAME, 1, 64, NULL, "free word")                                       \
    X(TEXT, param_overrides, "param-overrides", "", OBJECT, 0, 16384, NULL,                        \
      "JSON object: parameters in the upstream's form; they replace the caller's, null removes")   \
    X(TEXT, header_overrides, "header-overrides", "", OBJECT, 0, 16384, NULL,                      \
      "JSON object: header fields for the upstream")                                               \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|inactive|disabled|maintenance",       \
      "only active channels are picked; maintenance is still probed")

#define ROUTE_ALGORITHMS                                                                           \
    "weighted_random|round_robin|least_connections|best_performance|adaptive|lowest_cost|"         \
    "consistent_hash"
#define ROUTE_COLUMNS(X)                                                                           \
    X(TEXT, name, "name", NULL, MODEL, 1, 256, NULL, "model name or glob that callers ask for")    \
    X(LIST, aliases, "alias", "", MODEL, 1, 256, NULL, "other name for it")                        \
    X(TEXT, algorithm, "algorithm", "weighted_random", WORDS, 0, 0, ROUTE_ALGORITHMS,              \
      "how one of several channels is chosen")                                                     \
    X(TEXT, affinity, "affinity", "none", WORDS, 0, 0, "none|session|prefix",                      \
      "what goes where it went before, if that will do: a caller's conversation, or prompts "      \
      "that begin alike")                                                                          \
    X(INT, weigh_success, "weigh-success", "100", RANGE, 0, 1000, NULL,                            \
      "how much calls that fail count to `adaptive`, in percent")                                  \
    X(INT, weigh_ttft, "weigh-ttft", "100", RANGE, 0, 1000, NULL,                                  \
      "the same of the time to the first token")                                                   \
    X(INT, weigh_rate, "weigh-rate", "50", RANGE, 0, 1000, NULL, "… of the output rate")           \
    X(INT, weigh_price, "weigh-price", "100", RANGE, 0, 1000, NULL, "… of the price")              \
    X(INT, weigh_headroom, "weigh-headroom", "100", RANGE, 0, 1000, NULL,                          \
      "… of what the channel's limits leave")                                                      \
    X(INT, hedge, "hedge", "0", RANGE, 0, 1, NULL,                                                 \
      "1: a call that is slower to begin than usual gets a second one beside it")                  \
    X(INT, hedge_percent, "hedge-percent", "10", RANGE, 1, 100, NULL,                              \
      "largest share of the requests that get one")                                                \
    X(INT, hedge_cost_percent, "hedge-cost-percent", "10", RANGE, 1, 100, NULL,                    \
      "the same of what the requests cost")                                                        \
    X(TEXT, context_fallback, "context-fallback", "", MODEL, 0, 256, NULL,                         \
      "model that a request goes on with whose prompt is too long for this one")                   \
    X(TEXT, policy_fallback, "policy-fallback", "", MODEL, 0, 256, NULL,                           \
      "model that a request goes on with which this one refuses for its content")                  \
    X(TEXT, status, "status", "active", WORDS, 0, 0, "active|inactive", "inactive: as if not there")

/* ---- the structs --------------------------------------------------------- */
#define ROW_C_TEXT                                                   struct str
#define ROW_C_LIST                                                   struct str
#define ROW_C_BLOB                                                   struct str
#define ROW_C_INT                                                    int64_t
#define ROW_C_OPT                                                    int64_t
#define ROW_C_BOOL                                                   int64_t
#define ROW_C_TIME                                                   int64_t
#define ROW_FIELD(type, name, flag, dflt, check, lo, hi, words, doc) ROW_C_##type name;

/* Every thing begins so. tenant_id is TENANT_PLATFORM for rows of the platform. */
struct row {
    int64_t id, tenant_id, created_ms, updated_ms;
};

struct tenant_row {
    struct row row;
    TENANT_COLUMNS(ROW_FIELD)
};
struct user_row {
    struct row row;
    USER_COLUMNS(ROW_FIELD)
};
struct key_row {
    struct row row;
    KEY_COLUMNS(ROW_FIELD)
};
struct provider_row {
    struct row row;
    PROVIDER_COLUMNS(ROW_FIELD)
};
struct model_row {
    struct row row;
    MODEL_COLUMNS(ROW_FIELD)
};
struct channel_model {
    struct str pattern, upstream; /* upstream empty: the name as asked */
};
struct channel_credential {
    int64_t id, version;
    struct str sealed, fingerprint, last4, status;
};
struct channel_row {
    struct row row;
    CHANNEL_COLUMNS(ROW_FIELD)
    /* Filled by the list and get functions; in order of id. */
    struct channel_model *models;
    size_t n_models;
    struct channel_credential *credentials;
    size_t n_credentials;
};
struct route_candidate {
    int64_t channel_id;
    struct str channel, upstream; /* name of the channel; upstream empty: the channel's mapping */
    int64_t priority, weight;     /* ROW_NULL: the channel's */
};
struct route_row {
    struct row row;
    ROUTE_COLUMNS(ROW_FIELD)
    struct route_candidate *candidates;
    size_t n_candidates;
};

/* ---- the tables that the generic code reads ------------------------------ */
struct column {
    const char *name, *flag, *dflt, *words, *doc;
    int64_t lo, hi;
    uint16_t offset;
    uint8_t type, check; /* enum column_type, enum column_check */
};

struct thing {
    const char *name, *table;
    const struct column *columns;
    size_t n, row_bytes;
    bool of_tenant; /* its rows carry a tenant */
};

extern const struct thing thing_tenant, thing_user, thing_key, thing_provider, thing_model,
    thing_channel, thing_route;

/* NULL when there is none. Columns without a flag are found by name only. */
const struct column *thing_column(const struct thing *t, struct str flag_or_name);

static inline struct str *row_text(const void *row, const struct column *c)
{
    return (struct str *)((char *)(uintptr_t)row + c->offset);
}
static inline int64_t *row_int(const void *row, const struct column *c)
{
    return (int64_t *)((char *)(uintptr_t)row + c->offset);
}
static inline bool column_is_text(const struct column *c)
{
    return c->type == COLUMN_TEXT || c->type == COLUMN_LIST || c->type == COLUMN_BLOB;
}

/* Binds the columns in order to parameters first, first + 1 …; returns the next free one. */
int row_bind(const struct thing *t, const void *row, struct sql_stmt *s, int first);
/* Reads id, tenant_id, created_ms, updated_ms and then the columns from result columns 0, 1 …;
 * texts are copied into the arena (its latch tells lack of memory). */
void row_load(const struct thing *t, void *row, struct sql_stmt *s, struct arena *a);

/* A row list grown in an arena: room for one more of row_bytes at the end (zeroed), NULL once the
 * arena has latched. *items may move. */
void *row_more(struct arena *a, void **items, size_t *n, size_t row_bytes);

/* How often a word stands in a LIST column, and the walk over it. */
bool list_next(struct str *rest, struct str *word);

/* ---- the SQL texts ------------------------------------------------------- */
#define ROW_SQL_NAME(type, name, flag, dflt, check, lo, hi, words, doc) ", " #name
#define ROW_SQL_MARK(type, name, flag, dflt, check, lo, hi, words, doc) ", ?"
#define ROW_SQL_SET(type, name, flag, dflt, check, lo, hi, words, doc)  ", " #name " = ?"

/* Result columns in the order of row_load. */
#define SQL_SELECT_OF_TENANT(table, COLUMNS)                                                       \
    "SELECT id, coalesce(tenant_id, 0), created_ms, updated_ms" COLUMNS(ROW_SQL_NAME) " FROM"      \
                                                                                      " " table
#define SQL_SELECT_OF_PLATFORM(table, COLUMNS)                                                     \
    "SELECT id, 0, created_ms, updated_ms" COLUMNS(ROW_SQL_NAME) " FROM " table
/* Parameters: tenant (0 becomes NULL), created_ms = updated_ms, then the columns. */
#define SQL_INSERT_OF_TENANT(table, COLUMNS)                                                       \
    "INSERT INTO " table " (tenant_id, created_ms, updated_ms" COLUMNS(                            \
        ROW_SQL_NAME) ") VALUES (nullif(?1, 0), ?2, ?2" COLUMNS(ROW_SQL_MARK) ") RETURNING id"
/* Parameters: none at 1 (bound to 0), then as above. */
#define SQL_INSERT_OF_PLATFORM(table, COLUMNS)                                                     \
    "INSERT INTO " table " (created_ms, updated_ms" COLUMNS(                                       \
        ROW_SQL_NAME) ") VALUES (?1, ?1" COLUMNS(ROW_SQL_MARK) ") RETURNING id"
/* Parameters: id, tenant, updated_ms, then the columns. */
#define SQL_UPDATE_OF_TENANT(table, COLUMNS)                                                       \
    "UPDATE " table " SET id = ?1, tenant_id = nullif(?2, 0), updated_ms = ?3" COLUMNS(            \
        ROW_SQL_SET) " WHERE id = ?1 AND coalesce(tenant_id, 0) = ?2"
/* Parameters: id, updated_ms, then the columns. */
#define SQL_UPDATE_OF_PLATFORM(table, COLUMNS)                                                     \
    "UPDATE " table " SET id = ?1, updated_ms = ?2" COLUMNS(ROW_SQL_SET) " WHERE id = ?1"
/* The rows that a tenant reads; TENANT_ALL reads all. */
#define SQL_OF_TENANT " (?1 = -1 OR coalesce(tenant_id, 0) = ?1)"

#endif
