/* step: the frame of every change: a transaction, an audit row, one more config_rev. */
#ifndef LYSS_OPS_STEP_H
#define LYSS_OPS_STEP_H

#include "ops/ops.h"

/* What a change did; rows may be NULL (added: no before; removed: no after). */
struct ops_step {
    const struct thing *thing;
    const char *action; /* "add", "set", "remove", "revoke" … */
    int64_t tenant, id;
    const void *before, *after;
};

enum err ops_begin(struct ops *o, struct err_info *info) MUST_CHECK;
/* e: how the change went so far. Writes the audit row, counts config_rev up and commits; or, when
 * anything failed, rolls everything back and returns the failure. */
enum err ops_end(struct ops *o, enum err e, const struct ops_step *step,
                 struct err_info *info) MUST_CHECK;
/* Gives a failure of the store its words: "there is no channel 'x'; see lyss channel list". */
enum err ops_explain(const struct thing *t, struct str name, enum err e, struct err_info *info);

#endif
