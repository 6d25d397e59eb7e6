/* repo_route: routes, with their candidates. */
#include "store/repo_route.h"

#include "store/repo.h"

/* The rows that the tenant ?1 may see. */
#define OWN SQL_OF_TENANT

enum err repo_route_list(struct sql *db, int64_t tenant, struct arena *a, struct route_row **rows,
                         size_t *n, struct err_info *info)
{
    struct sql_stmt *s =
        sql_query(db, SQL_SELECT_OF_TENANT("routes", ROUTE_COLUMNS) " WHERE" OWN " ORDER BY id");
    sql_bind_i64(s, 1, tenant);
    void *items;
    enum err e = repo_all(&thing_route, s, a, &items, n, info);
    *rows = items;
    return e;
}

enum err repo_route_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                        struct route_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_id(
        db, SQL_SELECT_OF_TENANT("routes", ROUTE_COLUMNS) " WHERE" OWN " AND id = ?2", tenant, id);
    return repo_one(&thing_route, s, a, row, info);
}

enum err repo_route_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                         struct route_row *row, struct err_info *info)
{
    struct sql_stmt *s = repo_by_name(
        db, SQL_SELECT_OF_TENANT("routes", ROUTE_COLUMNS) " WHERE" OWN " AND name = ?2", tenant,
        name);
    return repo_one(&thing_route, s, a, row, info);
}

enum err repo_route_add(struct sql *db, int64_t tenant, struct route_row *row,
                        struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_insert(db, &thing_route, SQL_INSERT_OF_TENANT("routes", ROUTE_COLUMNS), &row->row,
                       info);
}

enum err repo_route_save(struct sql *db, int64_t tenant, struct route_row *row,
                         struct err_info *info)
{
    row->row.tenant_id = tenant;
    return repo_update(db, &thing_route, SQL_UPDATE_OF_TENANT("routes", ROUTE_COLUMNS), &row->row,
                       info);
}

enum err repo_route_remove(struct sql *db, int64_t tenant, int64_t id, struct err_info *info)
{
    return repo_change(
        db, repo_by_id(db, "DELETE FROM routes WHERE" OWN " AND id = ?2", tenant, id), info);
}

enum err repo_route_load_candidates(struct sql *db, int64_t tenant, struct arena *a,
                                    struct route_row *rows, size_t n, struct err_info *info)
{
    for (size_t i = 0; i < n; i++) {
        rows[i].candidates = NULL;
        rows[i].n_candidates = 0;
    }
    struct sql_stmt *s =
        repo_by_id(db,
                   "SELECT r.route_id, r.channel_id, c.name, r.upstream, r.priority, r.weight"
                   " FROM route_candidates r JOIN channels c ON c.id = r.channel_id"
                   " WHERE (?1 = -1 OR r.tenant_id = ?1) AND (?2 = 0 OR r.route_id = ?2) ORDER BY "
                   "r.route_id, r.id",
                   tenant, n == 1 ? rows[0].row.id : 0);
    size_t at = 0;
    while (sql_next(s)) {
        int64_t id = sql_i64(s, 0);
        while (at < n && rows[at].row.id < id) /* both are in order of the route */
            at++;
        if (at == n || rows[at].row.id != id)
            continue;
        void *items = rows[at].candidates;
        struct route_candidate *c = row_more(a, &items, &rows[at].n_candidates, sizeof *c);
        if (!c)
            break;
        rows[at].candidates = items;
        *c = (struct route_candidate){.channel_id = sql_i64(s, 1),
                                      .channel = arena_dup(a, sql_text(s, 2)),
                                      .upstream = arena_dup(a, sql_text(s, 3)),
                                      .priority = sql_is_null(s, 4) ? ROW_NULL : sql_i64(s, 4),
                                      .weight = sql_is_null(s, 5) ? ROW_NULL : sql_i64(s, 5)};
    }
    enum err e = sql_end(s, info);
    return e ? e : arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

static void bind_opt(struct sql_stmt *s, int at, int64_t v)
{
    if (v == ROW_NULL)
        sql_bind_null(s, at);
    else
        sql_bind_i64(s, at, v);
}

enum err repo_route_set_candidates(struct sql *db, int64_t tenant, int64_t route,
                                   const struct route_candidate *candidates, size_t n,
                                   struct err_info *info)
{
    enum err e =
        sql_run(repo_by_id(db, "DELETE FROM route_candidates WHERE" OWN " AND route_id = ?2",
                           tenant, route),
                info);
    for (size_t i = 0; !e && i < n; i++) {
        struct sql_stmt *s = repo_by_id(db,
                                        "INSERT INTO route_candidates"
                                        " (tenant_id, route_id, channel_id, upstream, priority, "
                                        "weight) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                                        tenant, route);
        sql_bind_i64(s, 3, candidates[i].channel_id);
        sql_bind_text(s, 4, candidates[i].upstream.p ? candidates[i].upstream : STR(""));
        bind_opt(s, 5, candidates[i].priority);
        bind_opt(s, 6, candidates[i].weight);
        e = sql_run(s, info);
    }
    return e;
}
