/* repo_meta: single values of the installation, the count of configuration changes, the audit.
 *
 * Thread: that of the connection. */
#ifndef LYSS_STORE_REPO_META_H
#define LYSS_STORE_REPO_META_H

#include "core/arena.h"
#include "store/sql.h"

/* {NULL, 0} in *value when it was never set. */
enum err repo_meta_get(struct sql *db, const char *name, struct arena *a, struct str *value,
                       struct err_info *info) MUST_CHECK;
enum err repo_meta_set(struct sql *db, const char *name, struct str value,
                       struct err_info *info) MUST_CHECK;

/* Every configuration write bumps the revision in its own transaction; whoever holds a snapshot
 * compares. */
enum err repo_meta_config_rev(struct sql *db, int64_t *rev, struct err_info *info) MUST_CHECK;
enum err repo_meta_bump_config_rev(struct sql *db, struct err_info *info) MUST_CHECK;

/* Who did what to which thing; before and after hold no secret, at most its fingerprint. */
struct audit_entry {
    struct str actor, action, thing, before, after;
    int64_t thing_id;
};
enum err repo_audit_add(struct sql *db, int64_t tenant, const struct audit_entry *entry,
                        struct err_info *info) MUST_CHECK;

#endif
