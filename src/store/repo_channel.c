/* repo_channel: channels, with their models and sealed credentials. */
#include "store/repo_channel.h"

#include "core/clock.h"
#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN SQL_OF_TENANT

enum err repo_channel_list(struct sql *db, int64_t tenant, struct arena *a,
                           struct channel_row **rows, size_t *n, struct err_info *info)
{
    struct sql_stmt *s = sql_query(
        db, SQL_SELECT_OF_TENANT("channels", CHANNEL_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_channel, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_channel_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                          struct channel_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_TENANT("channels", CHANNEL_COLUMNS) " WHERE" OWN " AND id = ?2", tenant,
        id);
    return repo_one(&thing_channel, s, a, row, info);
}

enum err repo_channel_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                           struct channel_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db, SQL_SELECT_OF_TENANT("channels", CHANNEL_COLUMNS) " WHERE" OWN " AND name = ?2", tenant,
        name);
    return repo_one(&thing_channel, s, a, row, info);
}

enum err repo_channel_add(struct sql *db, int64_t tenant, struct channel_row *row,
                          struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_insert(db, &thing_channel, SQL_INSERT_OF_TENANT("channels", CHANNEL_COLUMNS),
                       &row->row, info);
}

enum err repo_channel_save(struct sql *db, int64_t tenant, struct channel_row *row,
                           struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_update(db, &thing_channel, SQL_UPDATE_OF_TENANT("channels", CHANNEL_COLUMNS),
                       &row->row, info);
}

enum err repo_channel_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(
        db, repo_by_id(db, "DELETE FROM channels WHERE" OWN " AND id = ?2", tenant, id), info);
}

/* rows are in order of id, so each part finds its channel by bisection. */
static struct channel_row *find(struct channel_row *rows, size_t n, int64_t id)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (rows[mid].row.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && rows[lo].row.id == id ? &rows[lo] : NULL;
}

/* One channel asks for its own parts only, many for those of the tenant. */
static struct sql_stmt *parts_of(struct sql *db, const char *literal, int64_t tenant,
                                 const struct channel_row *rows, size_t n)
{
    return repo_by_id(db, literal, tenant, n == 1 ? rows[0].row.id : 0);
}

static enum err load_models(struct sql *db, int64_t tenant, struct arena *a,
                            struct channel_row *rows, size_t n, struct err_info *info)
{
    struct sql_stmt *s =
        parts_of(db,
                 "SELECT channel_id, pattern, upstream FROM channel_models WHERE" OWN
                 " AND (?2 = 0 OR channel_id = ?2) ORDER BY channel_id, id",
                 tenant, rows, n);
    while (sql_next(s)) {
        struct channel_row *row = find(rows, n, sql_i64(s, 0));
        if (!row)
            continue;
        void *items = row->models;
        struct channel_model *m = row_more(a, &items, &row->n_models, sizeof *m);
        if (!m)
            break;
        row->models = items;
        *m = (struct channel_model){arena_dup(a, sql_text(s, 1)), arena_dup(a, sql_text(s, 2))};
    }
    return sql_end(s, info);
}

static enum err load_credentials(struct sql *db, int64_t tenant, struct arena *a,
                                 struct channel_row *rows, size_t n, struct err_info *info)
{
    struct sql_stmt *s =
        parts_of(db,
                 "SELECT channel_id, id, version, sealed, fingerprint, last4, status"
                 " FROM channel_credentials WHERE" OWN
                 " AND (?2 = 0 OR channel_id = ?2) ORDER BY channel_id, id",
                 tenant, rows, n);
    while (sql_next(s)) {
        struct channel_row *row = find(rows, n, sql_i64(s, 0));
        if (!row)
            continue;
        void *items = row->credentials;
        struct channel_credential *c = row_more(a, &items, &row->n_credentials, sizeof *c);
        if (!c)
            break;
        row->credentials = items;
        *c = (struct channel_credential){.id = sql_i64(s, 1),
                                         .version = sql_i64(s, 2),
                                         .sealed = arena_dup(a, sql_blob(s, 3)),
                                         .fingerprint = arena_dup(a, sql_text(s, 4)),
                                         .last4 = arena_dup(a, sql_text(s, 5)),
                                         .status = arena_dup(a, sql_text(s, 6))};
    }
    return sql_end(s, info);
}

enum err repo_channel_load_parts(struct sql *db, int64_t tenant, struct arena *a,
                                 struct channel_row *rows, size_t n, struct err_info *info)
{
    for (size_t i = 0; i < n; i++) {
        rows[i].models = NULL;
        rows[i].credentials = NULL;
        rows[i].n_models = rows[i].n_credentials = 0;
    }
    enum err e = n ? load_models(db, tenant, a, rows, n, info) : ERR_OK;
    if (!e && n)
        e = load_credentials(db, tenant, a, rows, n, info);
    return e ? e : arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err repo_channel_set_models(struct sql *db, int64_t tenant, int64_t channel,
                                 const struct channel_model *models, size_t n,
                                 struct err_info *info)
{
    enum err e =
        sql_run(repo_by_id(db, "DELETE FROM channel_models WHERE" OWN " AND channel_id = ?2",
                           tenant, channel),
                info);
    for (size_t i = 0; !e && i < n; i++) {
        struct sql_stmt *s = repo_by_id(
            db,
            "INSERT INTO channel_models"
            " (tenant_id, channel_id, pattern, upstream) VALUES (nullif(?1, 0), ?2, ?3, ?4)",
            tenant, channel);
        sql_bind_text(s, 3, models[i].pattern);
        sql_bind_text(s, 4, models[i].upstream.p ? models[i].upstream : STR(""));
        e = sql_run(s, info);
    }
    return e;
}

enum err repo_channel_add_credential(struct sql *db, int64_t tenant, int64_t channel,
                                     struct channel_credential *c, struct err_info *info)
{
    struct sql_stmt *s =
        repo_by_id(db,
                   "INSERT INTO channel_credentials (tenant_id, channel_id, version,"
                   " sealed, fingerprint, last4, status, created_ms, updated_ms)"
                   " VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) RETURNING id",
                   tenant, channel);
    sql_bind_i64(s, 3, c->version);
    sql_bind_blob(s, 4, STR(""));
    sql_bind_text(s, 5, c->fingerprint);
    sql_bind_text(s, 6, c->last4);
    sql_bind_text(s, 7, c->status);
    sql_bind_i64(s, 8, clock_wall_ms());
    if (sql_next(s))
        c->id = sql_i64(s, 0);
    return sql_end(s, info);
}

enum err repo_channel_seal_credential(struct sql *db, int64_t tenant,
                                      const struct channel_credential *c, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, "UPDATE channel_credentials SET sealed = ?3 WHERE" OWN " AND id = ?2", tenant, c->id);
    sql_bind_blob(s, 3, c->sealed);
    return repo_change(db, s, info);
}

enum err repo_channel_remove_credentials(struct sql *db, int64_t tenant, int64_t channel,
                                         int64_t id, int64_t *removed, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(db,
                                    "DELETE FROM channel_credentials WHERE" OWN
                                    " AND channel_id = ?2 AND (?3 = 0 OR id = ?3)",
                                    tenant, channel);
    sql_bind_i64(s, 3, id);
    enum err e = sql_run(s, info);
    *removed = e ? 0 : sql_changes(db);
    return e;
}
