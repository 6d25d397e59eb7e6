/* choose: which tenant a command is about. Main thread. */
#ifndef LYSS_CLI_CHOOSE_H
#define LYSS_CLI_CHOOSE_H

#include "ops/ops.h"

/* The one with this slug; with an empty one: the only tenant, or the one named demo. Texts in the
 * arena. ERR_NOT_FOUND, ERR_INVALID (several: the message lists them). */
enum err choose_tenant(struct ops *o, struct str slug, struct arena *a, struct tenant_row *out,
                       struct err_info *info) MUST_CHECK;

#endif
