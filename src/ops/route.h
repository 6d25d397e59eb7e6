/* route: the routes of a tenant: a model name, and the channels that may answer for it.
 * Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, and the store's. */
#ifndef LYSS_OPS_ROUTE_H
#define LYSS_OPS_ROUTE_H

#include "ops/ops.h"

enum { ROUTE_CANDIDATES_MAX = 64 };

/* What of a route is given. Lent for the call. */
struct route_request {
    struct route_row row; /* candidates of it are not looked at */
    uint64_t set;
    const struct route_candidate *candidates; /* by the channel's name; replace those there */
    size_t n_candidates;
    bool set_candidates;
};

/* Completes req->row. At least one candidate. */
enum err ops_route_add(struct ops *o, int64_t tenant, struct route_request *req, struct arena *a,
                       struct err_info *info) MUST_CHECK;
enum err ops_route_set(struct ops *o, int64_t tenant, struct str name,
                       const struct route_request *req, struct err_info *info) MUST_CHECK;
enum err ops_route_remove(struct ops *o, int64_t tenant, struct str name,
                          struct err_info *info) MUST_CHECK;
/* With candidates. */
enum err ops_route_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                        struct route_row *row, struct err_info *info) MUST_CHECK;
enum err ops_route_list(struct ops *o, int64_t tenant, struct arena *a, struct route_row **rows,
                        size_t *n, struct err_info *info) MUST_CHECK;
/* "west", "west=gpt-4o-2024", "west=gpt-4o,priority=5,weight=10": how a candidate is typed. Lends
 * from text. ERR_INVALID. */
enum err route_candidate_parse(struct str text, struct route_candidate *out,
                               struct err_info *info) MUST_CHECK;

#endif
