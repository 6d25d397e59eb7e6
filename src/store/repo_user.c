/* repo_user: the users of a tenant. */
#include "store/repo_user.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN SQL_OF_TENANT

enum err repo_user_list(struct sql *db, int64_t tenant, struct arena *a, struct user_row **rows,
                        size_t *n, struct err_info *info)
{
    struct sql_stmt *s =
        sql_query(db, SQL_SELECT_OF_TENANT("users", USER_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_user, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_user_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                       struct user_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_TENANT("users", USER_COLUMNS) " WHERE" OWN " AND id = ?2", tenant, id);
    return repo_one(&thing_user, s, a, row, info);
}

enum err repo_user_find(struct sql *db, int64_t tenant, struct str email, struct arena *a,
                        struct user_row *row, struct err_info *info)
{
    struct sql_stmt *s =
        repo_by_name(db, SQL_SELECT_OF_TENANT("users", USER_COLUMNS) " WHERE" OWN " AND email = ?2",
                     tenant, email);
    return repo_one(&thing_user, s, a, row, info);
}

enum err repo_user_add(struct sql *db, int64_t tenant, struct user_row *row, struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_insert(db, &thing_user, SQL_INSERT_OF_TENANT("users", USER_COLUMNS), &row->row,
                       info);
}

enum err repo_user_save(struct sql *db, int64_t tenant, struct user_row *row, struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_update(db, &thing_user, SQL_UPDATE_OF_TENANT("users", USER_COLUMNS), &row->row,
                       info);
}

enum err repo_user_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(db, repo_by_id(db, "DELETE FROM users WHERE" OWN " AND id = ?2", tenant, id),
                       info);
}
