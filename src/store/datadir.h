/* datadir: the data directory and the databases in it.
 *
 * Start-up and command-line code; blocks.  Any thread. */
#ifndef LYSS_STORE_DATADIR_H
#define LYSS_STORE_DATADIR_H

#include "store/sql.h"

enum { DATADIR_PATH_MAX = 4096 };

/* dir/name into out. ERR_TOO_BIG. */
enum err datadir_path(const char *dir, const char *name, char out[DATADIR_PATH_MAX],
                      struct err_info *info) MUST_CHECK;
/* lyss.db, brought up to date. *out is the caller's. */
enum err datadir_open_config(const char *dir, struct sql **out, struct err_info *info) MUST_CHECK;
/* ledger.db, brought up to date. */
enum err datadir_open_ledger(const char *dir, struct sql **out, struct err_info *info) MUST_CHECK;

#endif
