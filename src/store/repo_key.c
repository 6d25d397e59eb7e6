/* repo_key: API keys; only digests of them. A revoked key stays as a row, its name is free again.
 */
#include "store/repo_key.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN SQL_OF_TENANT

enum err repo_key_list(struct sql *db, int64_t tenant, struct arena *a, struct key_row **rows,
                       size_t *n, struct err_info *info)
{
    struct sql_stmt *s =
        sql_query(db, SQL_SELECT_OF_TENANT("api_keys", KEY_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_key, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_key_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                      struct key_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_TENANT("api_keys", KEY_COLUMNS) " WHERE" OWN " AND id = ?2", tenant, id);
    return repo_one(&thing_key, s, a, row, info);
}

enum err repo_key_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                       struct key_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db,
        SQL_SELECT_OF_TENANT("api_keys", KEY_COLUMNS) " WHERE" OWN
                                                      " AND name = ?2 AND revoked_ms IS NULL",
        tenant, name);
    return repo_one(&thing_key, s, a, row, info);
}

enum err repo_key_add(struct sql *db, int64_t tenant, struct key_row *row, struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_insert(db, &thing_key, SQL_INSERT_OF_TENANT("api_keys", KEY_COLUMNS), &row->row,
                       info);
}

enum err repo_key_save(struct sql *db, int64_t tenant, struct key_row *row, struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_update(db, &thing_key, SQL_UPDATE_OF_TENANT("api_keys", KEY_COLUMNS), &row->row,
                       info);
}

enum err repo_key_list_live(struct sql *db, int64_t tenant, int64_t now_ms, struct arena *a,
                            struct key_row **rows, size_t *n, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db,
        SQL_SELECT_OF_TENANT(
            "api_keys", KEY_COLUMNS) " WHERE" OWN " AND status = 'active' AND revoked_ms IS NULL "
                                     "AND (expires_ms IS NULL OR expires_ms > ?2)"
                                     " ORDER BY id",
        tenant, now_ms);
    void *items;
    enum err e = repo_all(&thing_key, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_key_revoke(struct sql *db, int64_t tenant, int64_t id, int64_t now_ms,
                         struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(db,
                                    "UPDATE api_keys SET revoked_ms = ?3, updated_ms = ?3 WHERE" OWN
                                    " AND id = ?2 AND revoked_ms IS NULL",
                                    tenant, id);
    sql_bind_i64(s, 3, now_ms);
    return repo_change(db, s, info);
}

enum err repo_key_used(struct sql *db, int64_t tenant, int64_t id, int64_t used_ms,
                       struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(db,
                                    "UPDATE api_keys SET last_used_ms = ?3 WHERE" OWN
                                    " AND id = ?2 AND (last_used_ms IS NULL OR last_used_ms < ?3)",
                                    tenant, id);
    sql_bind_i64(s, 3, used_ms);
    return sql_run(s, info);
}
