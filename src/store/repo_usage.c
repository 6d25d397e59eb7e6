/* repo_usage: the usage table is in the order of ending and has no index: a list walks it from its
 * end and stops when it has enough; totals read it once. */
#include "store/repo_usage.h"

#define FILTER                                                                                     \
    " tenant_id = ?1 AND (?2 = 0 OR at_ms >= ?2) AND (?3 = 0 OR at_ms < ?3)"                       \
    " AND (?4 = 0 OR channel_id = ?4) AND (?5 IS NULL OR model = ?5)"                              \
    " AND (?6 IS NULL OR state = ?6)"

static void bind_filter(struct sql_stmt *q, int64_t tenant_id, const struct usage_filter *f)
{
    sql_bind_i64(q, 1, tenant_id);
    sql_bind_i64(q, 2, f->since_ms);
    sql_bind_i64(q, 3, f->until_ms);
    sql_bind_i64(q, 4, f->channel_id);
    if (f->model.n)
        sql_bind_text(q, 5, f->model);
    else
        sql_bind_null(q, 5);
    if (f->by_state)
        sql_bind_i64(q, 6, f->state);
    else
        sql_bind_null(q, 6);
}

static struct str text_of(struct sql_stmt *q, int column, struct arena *arena)
{
    struct str s = sql_text(q, column);
    return s.p ? arena_dup(arena, s) : s;
}

static void read_row(struct sql_stmt *q, struct arena *arena, struct usage_row *r)
{
    int at = 0;
    *r = (struct usage_row){0};
    r->id = sql_i64(q, at++);
    struct str id = sql_blob(q, at++);
    if (id.n == 16)
        memcpy(r->request_id, id.p, 16);
    int64_t *const numbers[] = {
        &r->user_id, &r->key_id,   &r->route_id, &r->channel_id, &r->credential_id,
        &r->at_ms,   &r->ended_ms, &r->dialect,  &r->op,         &r->stream,
        &r->status,  &r->attempts, &r->ttft_us,  &r->total_us,   &r->overhead_us,
        &r->est_in,  &r->est_out};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = sql_i64(q, at++);
    r->state = (enum ledger_state)sql_i64(q, at++);
    r->estimated = sql_i64(q, at++) != 0;
    r->has_cost = !sql_is_null(q, at);
    r->cost_nusd = sql_i64(q, at++);
#define X(field) r->c.field = sql_i64(q, at++);
    LEDGER_COUNTERS(X)
#undef X
    r->model = text_of(q, at++, arena);
    r->upstream_model = text_of(q, at++, arena);
    r->error = text_of(q, at++, arena);
    r->usage_json = text_of(q, at++, arena);
    r->price_id = sql_i64(q, at++);
}

enum err repo_usage_list(struct sql *ledger, int64_t tenant_id, const struct usage_filter *f,
                         int64_t before, size_t limit, struct arena *arena, struct usage_row **rows,
                         size_t *n, struct err_info *info)
{
    if (limit > USAGE_LIST_MAX)
        limit = USAGE_LIST_MAX;
    *n = 0;
    *rows = arena_alloc(arena, (limit ? limit : 1) * sizeof **rows);
    if (!*rows)
        return ERR_NOMEM;
    struct sql_stmt *q = sql_query(
        ledger, "SELECT id, request_id, user_id, key_id, route_id, channel_id, credential_id,"
                " at_ms, ended_ms, dialect, op, stream, status, attempts, ttft_us, total_us,"
                " overhead_us, est_in, est_out, state, estimated, cost_nusd, in_uncached,"
                " cache_read, cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in,"
                " audio_out, images, model, upstream_model, error, usage_json, price_id FROM usage"
                " WHERE" FILTER " AND id < ?7 ORDER BY id DESC LIMIT ?8");
    bind_filter(q, tenant_id, f);
    sql_bind_i64(q, 7, before > 0 ? before : INT64_MAX);
    sql_bind_i64(q, 8, (int64_t)limit);
    while (*n < limit && sql_next(q))
        read_row(q, arena, &(*rows)[(*n)++]);
    enum err e = sql_end(q, info);
    return e ? e : arena_failed(arena) ? ERR_NOMEM : ERR_OK;
}

enum err repo_usage_totals(struct sql *ledger, int64_t tenant_id, const struct usage_filter *f,
                           struct usage_totals *out, struct err_info *info)
{
    struct sql_stmt *q = sql_query(
        ledger, "SELECT count(*), sum(state <> 0), sum(estimated), sum(cost_nusd IS NULL),"
                " sum(cost_nusd), sum(in_uncached), sum(cache_read), sum(cache_write_5m),"
                " sum(cache_write_1h), sum(out_text), sum(out_reasoning), sum(audio_in),"
                " sum(audio_out), sum(images) FROM usage WHERE" FILTER);
    bind_filter(q, tenant_id, f);
    *out = (struct usage_totals){0};
    if (sql_next(q)) {
        int at = 5;
        out->requests = sql_i64(q, 0);
        out->failed = sql_i64(q, 1);
        out->estimated = sql_i64(q, 2);
        out->unpriced = sql_i64(q, 3);
        out->cost_nusd = sql_i64(q, 4);
#define X(field) out->c.field = sql_i64(q, at++);
        LEDGER_COUNTERS(X)
#undef X
    }
    return sql_end(q, info);
}
