/* tenant: tenants, known by their slug. Conventions in ops.h. */
#ifndef LYSS_OPS_TENANT_H
#define LYSS_OPS_TENANT_H

#include "ops/ops.h"

/* row: all columns, from field_defaults and what was given. Sets its id. */
enum err ops_tenant_add(struct ops *o, int64_t tenant, struct tenant_row *row,
                        struct err_info *info) MUST_CHECK;
/* Changes the columns whose bit is in given; *row becomes the whole row. */
enum err ops_tenant_set(struct ops *o, int64_t tenant, struct str slug, struct tenant_row *row,
                        uint64_t given, struct err_info *info) MUST_CHECK;
/* ERR_CONFLICT while it has users, keys, channels or routes: suspend it instead. */
enum err ops_tenant_remove(struct ops *o, int64_t tenant, struct str slug,
                           struct err_info *info) MUST_CHECK;

#endif
