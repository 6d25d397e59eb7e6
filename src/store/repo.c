/* repo: rows into statements and out of them, once for all things. */
#include "store/repo.h"

#include "core/clock.h"

struct sql_stmt *repo_by_id(struct sql *db, const char *literal, int64_t tenant, int64_t id)
{
    struct sql_stmt *s = sql_query(db, literal);
    sql_bind_i64(s, 1, tenant);
    sql_bind_i64(s, 2, id);
    return s;
}

struct sql_stmt *repo_by_name(struct sql *db, const char *literal, int64_t tenant, struct str name)
{
    struct sql_stmt *s = sql_query(db, literal);
    sql_bind_i64(s, 1, tenant);
    sql_bind_text(s, 2, name);
    return s;
}

enum err repo_one(const struct thing *t, struct sql_stmt *s, struct arena *a, void *row,
                  struct err_info *info)
{
    bool found = sql_next(s);
    if (found)
        row_load(t, row, s, a);
    enum err e = sql_end(s, info);
    if (!e && arena_failed(a))
        e = ERR_NOMEM;
    if (!e && !found)
        e = err_set(info, ERR_NOT_FOUND, "there is no such %s", t->name);
    return e;
}

enum err repo_all(const struct thing *t, struct sql_stmt *s, struct arena *a, void **items,
                  size_t *n, struct err_info *info)
{
    *items = NULL;
    *n = 0;
    while (sql_next(s)) {
        void *row = row_more(a, items, n, t->row_bytes);
        if (!row)
            break;
        row_load(t, row, s, a);
    }
    enum err e = sql_end(s, info);
    return e ? e : arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err repo_insert(struct sql *db, const struct thing *t, const char *literal, struct row *row,
                     struct err_info *info)
{
    row->created_ms = row->updated_ms = clock_wall_ms();
    struct sql_stmt *s = sql_query(db, literal);
    int at = 1;
    if (t->of_tenant)
        sql_bind_i64(s, at++, row->tenant_id);
    sql_bind_i64(s, at++, row->created_ms);
    row_bind(t, row, s, at);
    if (sql_next(s))
        row->id = sql_i64(s, 0);
    return sql_end(s, info);
}

enum err repo_update(struct sql *db, const struct thing *t, const char *literal, struct row *row,
                     struct err_info *info)
{
    row->updated_ms = clock_wall_ms();
    struct sql_stmt *s = sql_query(db, literal);
    int at = 1;
    sql_bind_i64(s, at++, row->id);
    if (t->of_tenant)
        sql_bind_i64(s, at++, row->tenant_id);
    sql_bind_i64(s, at++, row->updated_ms);
    row_bind(t, row, s, at);
    return repo_change(db, s, info);
}

enum err repo_change(struct sql *db, struct sql_stmt *s, struct err_info *info)
{
    enum err e = sql_run(s, info);
    if (!e && sql_changes(db) == 0)
        e = err_set(info, ERR_NOT_FOUND, "there is no such row");
    return e;
}
