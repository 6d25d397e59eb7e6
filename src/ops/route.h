/* route: routes with their candidates, known by their name. Conventions in ops.h. */
#ifndef LYSS_OPS_ROUTE_H
#define LYSS_OPS_ROUTE_H

#include "ops/ops.h"

/* Borrowed. A candidate names its channel; channel_id is found here. */
struct route_change {
    struct route_row row;
    uint64_t given;
    struct route_candidate *candidates; /* replace those that are there */
    size_t n_candidates;
    bool candidates_given;
};

enum err ops_route_add(struct ops *o, int64_t tenant, struct route_change *change,
                       struct err_info *info) MUST_CHECK;
/* change->row becomes the whole row. */
enum err ops_route_set(struct ops *o, int64_t tenant, struct str name, struct route_change *change,
                       struct err_info *info) MUST_CHECK;
enum err ops_route_remove(struct ops *o, int64_t tenant, struct str name,
                          struct err_info *info) MUST_CHECK;

#endif
