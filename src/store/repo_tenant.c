/* repo_tenant: tenants; the tenant argument is the reader, not part of the row. */
#include "store/repo_tenant.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN " (?1 = -1 OR id = ?1)"

enum err repo_tenant_list(struct sql *db, int64_t tenant, struct arena *a, struct tenant_row **rows,
                          size_t *n, struct err_info *info)
{
    struct sql_stmt *s = sql_query(
        db, SQL_SELECT_OF_PLATFORM("tenants", TENANT_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_tenant, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_tenant_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                         struct tenant_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_PLATFORM("tenants", TENANT_COLUMNS) " WHERE" OWN " AND id = ?2", tenant,
        id);
    return repo_one(&thing_tenant, s, a, row, info);
}

enum err repo_tenant_find(struct sql *db, int64_t tenant, struct str slug, struct arena *a,
                          struct tenant_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db, SQL_SELECT_OF_PLATFORM("tenants", TENANT_COLUMNS) " WHERE" OWN " AND slug = ?2", tenant,
        slug);
    return repo_one(&thing_tenant, s, a, row, info);
}

enum err repo_tenant_add(struct sql *db, int64_t tenant, struct tenant_row *row,
                         struct err_info *info)
{
    return repo_insert(db, &thing_tenant, SQL_INSERT_OF_PLATFORM("tenants", TENANT_COLUMNS),
                       &row->row, info);
}

enum err repo_tenant_save(struct sql *db, int64_t tenant, struct tenant_row *row,
                          struct err_info *info)
{
    return repo_update(db, &thing_tenant, SQL_UPDATE_OF_PLATFORM("tenants", TENANT_COLUMNS),
                       &row->row, info);
}

enum err repo_tenant_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(
        db, repo_by_id(db, "DELETE FROM tenants WHERE" OWN " AND id = ?2", tenant, id), info);
}
