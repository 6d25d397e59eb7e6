/* repo_route: routes, with their candidates.
 *
 * Thread: that of the connection. Rows lie in the caller's arena. Writes belong
 * into a transaction of src/ops, which also counts the change. */
#ifndef LYSS_STORE_REPO_ROUTE_H
#define LYSS_STORE_REPO_ROUTE_H

#include "store/rows.h"

/* In order of id. */
enum err repo_route_list(struct sql *db, int64_t tenant, struct arena *a, struct route_row **rows,
                         size_t *n, struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND also for another tenant's. */
enum err repo_route_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                        struct route_row *row, struct err_info *info) MUST_CHECK;
enum err repo_route_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                         struct route_row *row, struct err_info *info) MUST_CHECK;
/* Sets id and times. ERR_EXISTS. */
enum err repo_route_add(struct sql *db, int64_t tenant, struct route_row *row,
                        struct err_info *info) MUST_CHECK;
/* Writes every column of the row with this id. ERR_NOT_FOUND, ERR_EXISTS. */
enum err repo_route_save(struct sql *db, int64_t tenant, struct route_row *row,
                         struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_CONFLICT while something refers to it. */
enum err repo_route_remove(struct sql *db, int64_t tenant, int64_t id,
                           struct err_info *info) MUST_CHECK;

/* Fills the candidates of n rows, which are in order of id. */
enum err repo_route_load_candidates(struct sql *db, int64_t tenant, struct arena *a,
                                    struct route_row *rows, size_t n,
                                    struct err_info *info) MUST_CHECK;
/* Replaces the route's candidates; channel_id must be one that the tenant may use. */
enum err repo_route_set_candidates(struct sql *db, int64_t tenant, int64_t route,
                                   const struct route_candidate *candidates, size_t n,
                                   struct err_info *info) MUST_CHECK;

#endif
