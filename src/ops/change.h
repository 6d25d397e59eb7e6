/* change: what all changes share: the transaction, the audit row, the new revision.
 *
 * Used by src/ops only. A change lives on the stack of the function that makes it. */
#ifndef LYSS_OPS_CHANGE_H
#define LYSS_OPS_CHANGE_H

#include "ops/column.h"
#include "ops/ops.h"

struct change {
    struct ops *ops;
    const struct thing *thing;
    int64_t tenant;
    struct arena arena; /* for what the change reads */
    struct buf before;  /* the row as it was, JSON */
    struct err_info *info;
    bool begun;
};

/* Takes the write lock. change_end must follow, also after a failure. tenant: whose audit it is. */
enum err change_begin(struct change *c, struct ops *o, const struct thing *t, int64_t tenant,
                      struct err_info *info) MUST_CHECK;
/* Writes the row down as it is before the change. */
void change_before(struct change *c, const void *row);
/* One audit row for a part of a change that touches several things. after may be NULL. */
enum err change_audit(struct change *c, const struct thing *t, const char *action, int64_t id,
                      const void *after) MUST_CHECK;
/* With e ERR_OK: audit of the thing (after NULL: it is gone), new revision, commit; else a roll
 * back. Returns e or what failed. */
enum err change_end(struct change *c, enum err e, const char *action, int64_t id,
                    const void *after) MUST_CHECK;

/* "there is no channel "x"", field: the column of its name. */
enum err change_missing(const struct thing *t, struct str name, enum err e, struct err_info *info);
/* "there is already a channel "x"" when e is ERR_EXISTS. */
enum err change_exists(const struct thing *t, const void *row, enum err e, struct err_info *info);

#endif
