/* user: changes of the users of a tenant. `set` masks the columns that the request gives
 * (ops/column.h). Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, ERR_CONFLICT, and the store's. */
#ifndef LYSS_OPS_USER_H
#define LYSS_OPS_USER_H

#include "ops/ops.h"

/* Completes *row with defaults, id and times. */
enum err ops_user_add(struct ops *o, int64_t tenant, struct user_row *row, uint64_t set,
                      struct arena *a, struct err_info *info) MUST_CHECK;
enum err ops_user_set(struct ops *o, int64_t tenant, struct str email, const struct user_row *to,
                      uint64_t set, struct err_info *info) MUST_CHECK;
/* Only one that never had a key. */
enum err ops_user_remove(struct ops *o, int64_t tenant, struct str email,
                         struct err_info *info) MUST_CHECK;
/* By e-mail; an empty one stands for the tenant's only user. */
enum err ops_user_find(struct ops *o, int64_t tenant, struct str email, struct arena *a,
                       struct user_row *row, struct err_info *info) MUST_CHECK;

#endif
