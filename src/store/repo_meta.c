/* repo_meta: the table of single values, and the audit that rows are only added to. */
#include "store/repo_meta.h"

#include "core/clock.h"

enum err repo_meta_get(struct sql *db, const char *name, struct arena *a, struct str *value,
                       struct err_info *info)
{
    *value = STR_NULL;
    struct sql_stmt *s = sql_query(db, "SELECT value FROM meta WHERE name = ?1");
    sql_bind_text(s, 1, str_c(name));
    if (sql_next(s))
        *value = arena_dup(a, sql_text(s, 0));
    enum err e = sql_end(s, info);
    return e ? e : arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err repo_meta_set(struct sql *db, const char *name, struct str value, struct err_info *info)
{
    struct sql_stmt *s = sql_query(db, "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                                       " ON CONFLICT (name) DO UPDATE SET value = excluded.value");
    sql_bind_text(s, 1, str_c(name));
    sql_bind_text(s, 2, value);
    return sql_run(s, info);
}

enum err repo_meta_config_rev(struct sql *db, int64_t *rev, struct err_info *info)
{
    *rev = 0;
    struct sql_stmt *s =
        sql_query(db, "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'config_rev'");
    if (sql_next(s))
        *rev = sql_i64(s, 0);
    return sql_end(s, info);
}

enum err repo_meta_bump_config_rev(struct sql *db, struct err_info *info)
{
    return sql_run(sql_query(db, "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)"
                                 " WHERE name = 'config_rev'"),
                   info);
}

enum err repo_audit_add(struct sql *db, int64_t tenant, const struct audit_entry *entry,
                        struct err_info *info)
{
    struct sql_stmt *s =
        sql_query(db, "INSERT INTO audit (tenant_id, at_ms, actor, action, thing, thing_id, before,"
                      " after) VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    sql_bind_i64(s, 1, tenant);
    sql_bind_i64(s, 2, clock_wall_ms());
    sql_bind_text(s, 3, entry->actor);
    sql_bind_text(s, 4, entry->action);
    sql_bind_text(s, 5, entry->thing);
    sql_bind_i64(s, 6, entry->thing_id);
    sql_bind_text(s, 7, entry->before.p ? entry->before : STR(""));
    sql_bind_text(s, 8, entry->after.p ? entry->after : STR(""));
    return sql_run(s, info);
}
