/* ops: one function per change: typed request → checks → rows → audit, in one transaction.
 *
 * Called alike by the command line and whatever else administers Lyss.  Each
 * call is a transaction of its own that also counts config_rev up, so that
 * serving processes see it.  Thread: that of the connection; it blocks.  What a
 * call returns in texts lies in o->arena.
 *
 * Errors: ERR_INVALID (what, where, how to mend), ERR_NOT_FOUND, ERR_EXISTS,
 * ERR_CONFLICT, and those of the store. */
#ifndef LYSS_OPS_OPS_H
#define LYSS_OPS_OPS_H

#include "store/rows.h"
#include "store/vault.h"

struct ops {
    struct sql *db;
    struct vault *vault;
    struct arena *arena;
    struct str actor; /* for the audit: "cli", a user's address */
};

#endif
