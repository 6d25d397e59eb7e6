/* user: users of a tenant, known by their address. Conventions in ops.h. */
#ifndef LYSS_OPS_USER_H
#define LYSS_OPS_USER_H

#include "ops/ops.h"

/* row: all columns, from field_defaults and what was given. Sets its id. */
enum err ops_user_add(struct ops *o, int64_t tenant, struct user_row *row,
                      struct err_info *info) MUST_CHECK;
/* Changes the columns whose bit is in given; *row becomes the whole row. */
enum err ops_user_set(struct ops *o, int64_t tenant, struct str email, struct user_row *row,
                      uint64_t given, struct err_info *info) MUST_CHECK;
/* ERR_CONFLICT while it has keys. */
enum err ops_user_remove(struct ops *o, int64_t tenant, struct str email,
                         struct err_info *info) MUST_CHECK;

#endif
