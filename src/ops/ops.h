/* ops: the changes of the configuration, one function each, for the command line, the management
 * API and files alike.
 *
 * Every change is: a typed request, its checks, the repository, an audit row and
 * a new config_rev, in one transaction; when it fails nothing has happened, and
 * info says what (text), where (field, a column's name) and how to mend it.
 *
 * A struct ops belongs to one thread at a time.  Rows that functions return have
 * their texts in the caller's arena or in what the caller passed. */
#ifndef LYSS_OPS_OPS_H
#define LYSS_OPS_OPS_H

#include "core/config.h"
#include "store/datadir.h"
#include "store/migrate.h"
#include "store/rows.h"
#include "store/vault.h"

enum { OPS_ARENA_BYTES = 64 << 20, OPS_PATH_MAX = DATADIR_PATH_MAX };

struct ops {
    struct sql *db;
    struct vault *vault;
    struct str actor; /* who, for the audit: "cli:root", "dev" …; lent */
};

/* What the command line and the server do first: the data directory (made with mode 0700 when it is
 * not there), lyss.db in it, its migrations, the vault. On failure everything is closed again.
 * ERR_IO, ERR_CONFLICT (schema), ERR_KEY_MISMATCH, ERR_INVALID, ERR_STORE. */
enum err ops_open(struct ops *o, const struct config *c, struct str actor,
                  struct err_info *info) MUST_CHECK;
void ops_close(struct ops *o);

/* The steps of ops_open, for who wants to look before. The directory, made when it is not there. */
enum err ops_data_dir(const struct config *c, struct err_info *info) MUST_CHECK;
/* lyss.db as it is, not brought up to date; ERR_NOT_FOUND when there is none. */
enum err ops_open_db(const struct config *c, struct sql **db, struct err_info *info) MUST_CHECK;
enum err ops_open_vault(const struct config *c, struct sql *db, struct vault **v,
                        struct err_info *info) MUST_CHECK;
/* Path of a file in the data directory, NUL-terminated. ERR_TOO_BIG. */
enum err ops_path(const struct config *c, const char *file, char out[OPS_PATH_MAX],
                  struct err_info *info) MUST_CHECK;

#endif
