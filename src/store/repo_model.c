/* repo_model: the catalogue of models; it is the platform's, every tenant reads it. */
#include "store/repo_model.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN " ?1 IS NOT NULL"

enum err repo_model_list(struct sql *db, int64_t tenant, struct arena *a, struct model_row **rows,
                         size_t *n, struct err_info *info)
{
    struct sql_stmt *s =
        sql_query(db, SQL_SELECT_OF_PLATFORM("models", MODEL_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_model, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_model_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                        struct model_row *row, struct err_info *info)
{
    struct sql_stmt *s =
        repo_by_id(db, SQL_SELECT_OF_PLATFORM("models", MODEL_COLUMNS) " WHERE" OWN " AND id = ?2",
                   tenant, id);
    return repo_one(&thing_model, s, a, row, info);
}

enum err repo_model_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                         struct model_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db, SQL_SELECT_OF_PLATFORM("models", MODEL_COLUMNS) " WHERE" OWN " AND name = ?2", tenant,
        name);
    return repo_one(&thing_model, s, a, row, info);
}

enum err repo_model_add(struct sql *db, int64_t tenant, struct model_row *row,
                        struct err_info *info)
{
    return repo_insert(db, &thing_model, SQL_INSERT_OF_PLATFORM("models", MODEL_COLUMNS), &row->row,
                       info);
}

enum err repo_model_save(struct sql *db, int64_t tenant, struct model_row *row,
                         struct err_info *info)
{
    return repo_update(db, &thing_model, SQL_UPDATE_OF_PLATFORM("models", MODEL_COLUMNS), &row->row,
                       info);
}

enum err repo_model_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(
        db, repo_by_id(db, "DELETE FROM models WHERE" OWN " AND id = ?2", tenant, id), info);
}
