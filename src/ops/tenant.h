/* tenant: changes of tenants. `set` masks the columns that the request gives (ops/column.h).
 * Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, ERR_CONFLICT, and the store's. */
#ifndef LYSS_OPS_TENANT_H
#define LYSS_OPS_TENANT_H

#include "ops/ops.h"

/* Completes *row with defaults, id and times. */
enum err ops_tenant_add(struct ops *o, struct tenant_row *row, uint64_t set, struct arena *a,
                        struct err_info *info) MUST_CHECK;
/* Changes what set names of the tenant with this slug. */
enum err ops_tenant_set(struct ops *o, struct str slug, const struct tenant_row *to, uint64_t set,
                        struct err_info *info) MUST_CHECK;
/* Only a tenant that has nothing left. */
enum err ops_tenant_remove(struct ops *o, struct str slug, struct err_info *info) MUST_CHECK;
enum err ops_tenant_find(struct ops *o, struct str slug, struct arena *a, struct tenant_row *row,
                         struct err_info *info) MUST_CHECK;

#endif
