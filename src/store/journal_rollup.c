/* journal_rollup: thousands of rows of a batch fall into a few cells, so three upserts a cell cost
 * little a row. */
#include "store/journal_rollup.h"

#define CELLS_MAX 16384
#define BYTES_MAX (16u << 20)

static const int64_t minute_ms = 60000, hour_ms = 3600000, day_ms = 86400000;

/* X(column) in the order of the tables, then the counters. */
#define SUMS(X)                                                                                    \
    X(requests)                                                                                    \
    X(errors_request)                                                                              \
    X(errors_key)                                                                                  \
    X(errors_throttle)                                                                             \
    X(errors_server)                                                                               \
    X(errors_client)                                                                               \
    X(estimated)                                                                                   \
    X(unpriced)                                                                                    \
    X(cost_nusd)                                                                                   \
    LEDGER_COUNTERS(X)

/* The map's key is the bytes from tenant_id to the model's end. */
struct cell {
#define X(column) int64_t column;
    SUMS(X)
#undef X
    int64_t tenant_id, at_ms, user_id, key_id, channel_id;
    char model[];
};

#define KEY_AT offsetof(struct cell, tenant_id)

void rollup_init(struct rollup *r)
{
    arena_init(&r->arena, BYTES_MAX);
    map_init(&r->minutes, CELLS_MAX);
}

void rollup_release(struct rollup *r)
{
    map_release(&r->minutes);
    arena_release(&r->arena);
}

static struct str key_of(const struct cell *c, size_t model_n)
{
    return str_make((const char *)c + KEY_AT, offsetof(struct cell, model) - KEY_AT + model_n);
}

/* The cell of that key (its sums empty when it is new), or NULL when there is no room. */
static struct cell *cell_for(struct map *m, struct arena *arena, const struct cell *want,
                             size_t model_n)
{
    struct cell *c = map_get(m, key_of(want, model_n));
    if (c)
        return c;
    c = arena_alloc(arena, sizeof *c + model_n);
    if (!c)
        return NULL;
    memcpy(c, want, sizeof *c + model_n);
    memset(c, 0, KEY_AT);
    return map_put(m, key_of(c, model_n), c) == ERR_OK ? c : NULL;
}

static int64_t *errors_of(struct cell *c, enum err_class cls)
{
    switch (cls) {
    case CLASS_REQUEST:
        return &c->errors_request;
    case CLASS_KEY:
        return &c->errors_key;
    case CLASS_THROTTLE:
        return &c->errors_throttle;
    case CLASS_SERVER:
        return &c->errors_server;
    case CLASS_CLIENT:
        return &c->errors_client;
    case CLASS_NONE:
        break;
    }
    return NULL;
}

enum err rollup_add(struct rollup *r, const struct ledger_admitted *a,
                    const struct ledger_settled *s)
{
    char room[sizeof(struct cell) + 256] __attribute__((aligned(8)));
    struct cell *want = (struct cell *)room;
    want->tenant_id = a->tenant_id;
    want->at_ms = a->at_ms - a->at_ms % minute_ms;
    want->user_id = a->user_id;
    want->key_id = a->key_id;
    want->channel_id = s->channel_id;
    size_t model_n = a->model.n < 256 ? a->model.n : 256;
    if (model_n)
        memcpy(want->model, a->model.p, model_n);
    struct cell *c = cell_for(&r->minutes, &r->arena, want, model_n);
    if (!c)
        return ERR_TOO_BIG;
    c->requests++;
    int64_t *errors = errors_of(c, err_class((enum err)s->err));
    if (errors)
        ++*errors;
    c->estimated += s->estimated != 0;
    c->unpriced += !s->has_cost;
    c->cost_nusd += s->has_cost ? s->cost_nusd : 0;
#define X(field) c->field += s->c.field;
    LEDGER_COUNTERS(X)
#undef X
    return ERR_OK;
}

#define UPSERT(t)                                                                                  \
    "INSERT INTO " t " (tenant_id, at_ms, user_id, key_id, channel_id, model, requests,"           \
    " errors_request, errors_key, errors_throttle, errors_server, errors_client, estimated,"       \
    " unpriced, cost_nusd, in_uncached, cache_read, cache_write_5m, cache_write_1h, out_text,"     \
    " out_reasoning, audio_in, audio_out, images)"                                                 \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"    \
    " ?19, ?20, ?21, ?22, ?23, ?24)"                                                               \
    " ON CONFLICT (tenant_id, at_ms, user_id, key_id, channel_id, model) DO UPDATE SET"            \
    " requests = " t ".requests + excluded.requests,"                                              \
    " errors_request = " t ".errors_request + excluded.errors_request,"                            \
    " errors_key = " t ".errors_key + excluded.errors_key,"                                        \
    " errors_throttle = " t ".errors_throttle + excluded.errors_throttle,"                         \
    " errors_server = " t ".errors_server + excluded.errors_server,"                               \
    " errors_client = " t ".errors_client + excluded.errors_client,"                               \
    " estimated = " t ".estimated + excluded.estimated,"                                           \
    " unpriced = " t ".unpriced + excluded.unpriced,"                                              \
    " cost_nusd = " t ".cost_nusd + excluded.cost_nusd,"                                           \
    " in_uncached = " t ".in_uncached + excluded.in_uncached,"                                     \
    " cache_read = " t ".cache_read + excluded.cache_read,"                                        \
    " cache_write_5m = " t ".cache_write_5m + excluded.cache_write_5m,"                            \
    " cache_write_1h = " t ".cache_write_1h + excluded.cache_write_1h,"                            \
    " out_text = " t ".out_text + excluded.out_text,"                                              \
    " out_reasoning = " t ".out_reasoning + excluded.out_reasoning,"                               \
    " audio_in = " t ".audio_in + excluded.audio_in,"                                              \
    " audio_out = " t ".audio_out + excluded.audio_out,"                                           \
    " images = " t ".images + excluded.images"

/* One text each: statements are found again by the address of their text. */
static const char minute_sql[] = UPSERT("rollup_minute");
static const char hour_sql[] = UPSERT("rollup_hour");
static const char day_sql[] = UPSERT("rollup_day");

static enum err upsert(struct sql *db, const char *text, const struct cell *c, size_t model_n,
                       struct err_info *info)
{
    struct sql_stmt *q = sql_query(db, text);
    int at = 7;
    sql_bind_i64(q, 1, c->tenant_id);
    sql_bind_i64(q, 2, c->at_ms);
    sql_bind_i64(q, 3, c->user_id);
    sql_bind_i64(q, 4, c->key_id);
    sql_bind_i64(q, 5, c->channel_id);
    sql_bind_text(q, 6, str_make(c->model, model_n));
#define X(column) sql_bind_i64(q, at++, c->column);
    SUMS(X)
#undef X
    return sql_run(q, info);
}

/* Sums the cells of from into cells of span. */
static enum err coarser(struct rollup *r, const struct map *from, struct map *to, int64_t span_ms)
{
    char room[sizeof(struct cell) + 256] __attribute__((aligned(8)));
    struct cell *want = (struct cell *)room;
    struct str key;
    void *value;
    for (size_t at = 0; map_next(from, &at, &key, &value);) {
        const struct cell *c = value;
        size_t model_n = key.n - (offsetof(struct cell, model) - KEY_AT);
        memcpy(want, c, sizeof *c + model_n);
        want->at_ms -= want->at_ms % span_ms;
        struct cell *sum = cell_for(to, &r->arena, want, model_n);
        if (!sum)
            return ERR_NOMEM;
#define X(column) sum->column += c->column;
        SUMS(X)
#undef X
    }
    return ERR_OK;
}

static enum err write_map(const struct map *m, struct sql *db, const char *text,
                          struct err_info *info)
{
    struct str key;
    void *value;
    enum err e = ERR_OK;
    for (size_t at = 0; !e && map_next(m, &at, &key, &value);)
        e = upsert(db, text, value, key.n - (offsetof(struct cell, model) - KEY_AT), info);
    return e;
}

enum err rollup_write(struct rollup *r, struct sql *db, struct err_info *info)
{
    struct map hours, days;
    map_init(&hours, CELLS_MAX);
    map_init(&days, CELLS_MAX);
    enum err e = coarser(r, &r->minutes, &hours, hour_ms);
    e = e ? e : coarser(r, &hours, &days, day_ms);
    e = e ? e : write_map(&r->minutes, db, minute_sql, info);
    e = e ? e : write_map(&hours, db, hour_sql, info);
    e = e ? e : write_map(&days, db, day_sql, info);
    map_release(&hours);
    map_release(&days);
    return e;
}
