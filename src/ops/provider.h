/* provider: the providers of the platform. Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS,
 * ERR_CONFLICT, and the store's. */
#ifndef LYSS_OPS_PROVIDER_H
#define LYSS_OPS_PROVIDER_H

#include "ops/ops.h"

/* Completes *row. kind must be a built-in provider that is reached by address. */
enum err ops_provider_add(struct ops *o, struct provider_row *row, uint64_t set, struct arena *a,
                          struct err_info *info) MUST_CHECK;
/* Of a built-in one only the status changes. base_url is refused while channels that take their
 * address from it hold credentials: these would go to the new place. */
enum err ops_provider_set(struct ops *o, struct str name, const struct provider_row *to,
                          uint64_t set, struct err_info *info) MUST_CHECK;
/* Neither a built-in one nor one that has channels. */
enum err ops_provider_remove(struct ops *o, struct str name, struct err_info *info) MUST_CHECK;
enum err ops_provider_find(struct ops *o, struct str name, struct arena *a,
                           struct provider_row *row, struct err_info *info) MUST_CHECK;

#endif
