/* repo_provider: the providers; they are the platform's, every tenant reads them. */
#include "store/repo_provider.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN " ?1 IS NOT NULL"

enum err repo_provider_list(struct sql *db, int64_t tenant, struct arena *a,
                            struct provider_row **rows, size_t *n, struct err_info *info)
{
    struct sql_stmt *s = sql_query(
        db, SQL_SELECT_OF_PLATFORM("providers", PROVIDER_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_provider, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_provider_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                           struct provider_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_PLATFORM("providers", PROVIDER_COLUMNS) " WHERE" OWN " AND id = ?2",
        tenant, id);
    return repo_one(&thing_provider, s, a, row, info);
}

enum err repo_provider_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                            struct provider_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db, SQL_SELECT_OF_PLATFORM("providers", PROVIDER_COLUMNS) " WHERE" OWN " AND name = ?2",
        tenant, name);
    return repo_one(&thing_provider, s, a, row, info);
}

enum err repo_provider_add(struct sql *db, int64_t tenant, struct provider_row *row,
                           struct err_info *info)
{
    return repo_insert(db, &thing_provider, SQL_INSERT_OF_PLATFORM("providers", PROVIDER_COLUMNS),
                       &row->row, info);
}

enum err repo_provider_save(struct sql *db, int64_t tenant, struct provider_row *row,
                            struct err_info *info)
{
    return repo_update(db, &thing_provider, SQL_UPDATE_OF_PLATFORM("providers", PROVIDER_COLUMNS),
                       &row->row, info);
}

enum err repo_provider_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(
        db, repo_by_id(db, "DELETE FROM providers WHERE" OWN " AND id = ?2", tenant, id), info);
}
