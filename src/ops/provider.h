/* provider: providers, the platform's. Built-in rows keep their name and kind. Conventions in
 * ops.h. */
#ifndef LYSS_OPS_PROVIDER_H
#define LYSS_OPS_PROVIDER_H

#include "ops/ops.h"

/* row: all columns, from field_defaults and what was given. Sets its id. */
enum err ops_provider_add(struct ops *o, int64_t tenant, struct provider_row *row,
                          struct err_info *info) MUST_CHECK;
/* Changes the columns whose bit is in given; *row becomes the whole row. */
enum err ops_provider_set(struct ops *o, int64_t tenant, struct str name, struct provider_row *row,
                          uint64_t given, struct err_info *info) MUST_CHECK;
/* ERR_CONFLICT for built-in ones and while channels use it. */
enum err ops_provider_remove(struct ops *o, int64_t tenant, struct str name,
                             struct err_info *info) MUST_CHECK;

#endif
