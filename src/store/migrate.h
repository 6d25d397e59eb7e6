/* migrate: the schema of a database, brought up to date by numbered SQL files.
 *
 * The files of migrations/<database>/NNNN_name.sql are embedded at build, each
 * with its SHA-256.  What was applied is written down in schema_migrations; a
 * file that changed after it was applied, a gap, and a schema newer than this
 * binary are refused, and nothing is touched then.  All steps run in one
 * transaction under the exclusive lock, so two starters cannot meet. */
#ifndef LYSS_STORE_MIGRATE_H
#define LYSS_STORE_MIGRATE_H

#include "store/sql.h"

struct migration {
    int64_t number;
    const char *name;   /* "0001_config" */
    const char *script; /* NUL-terminated */
    const char *sha256; /* of the script, 64 hex digits */
};

struct migration_set {
    const char *database; /* "lyss" or "ledger" */
    const struct migration *steps;
    size_t n;
};

extern const struct migration_set migrations_lyss, migrations_ledger;

/* Brings db up to date; *applied (may be NULL) counts the steps taken. ERR_CONFLICT: the schema is
 * newer, or an applied file has changed. */
enum err migrate_run(struct sql *db, const struct migration_set *set, size_t *applied,
                     struct err_info *info) MUST_CHECK;
/* What migrate_run would do: *from is how many steps are in; those from steps[*from] are to come.
 * Changes nothing. Errors as migrate_run. */
enum err migrate_plan(struct sql *db, const struct migration_set *set, size_t *from,
                      struct err_info *info) MUST_CHECK;

#endif
