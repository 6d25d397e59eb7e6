/* datadir: where things lie, and opening them in the one right way. */
#include "store/datadir.h"

#include <stdio.h>

#include "store/migrate.h"

enum err datadir_path(const char *dir, const char *name, char out[DATADIR_PATH_MAX],
                      struct err_info *info)
{
    int n = snprintf(out, DATADIR_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < DATADIR_PATH_MAX
               ? ERR_OK
               : err_set(info, ERR_TOO_BIG, "the path of the data directory is too long");
}

static enum err open_one(const char *dir, const char *name, enum sql_role role,
                         const struct migration_set *set, struct sql **out, struct err_info *info)
{
    char path[DATADIR_PATH_MAX];
    *out = NULL;
    enum err e = datadir_path(dir, name, path, info);
    if (!e)
        e = sql_open(&sql_sqlite, path, role, out, info);
    if (!e)
        e = migrate_run(*out, set, NULL, info);
    if (e)
        sql_close(out);
    return e;
}

enum err datadir_open_config(const char *dir, struct sql **out, struct err_info *info)
{
    return open_one(dir, "lyss.db", SQL_CONFIG, &migrations_lyss, out, info);
}

enum err datadir_open_ledger(const char *dir, struct sql **out, struct err_info *info)
{
    return open_one(dir, "ledger.db", SQL_LEDGER, &migrations_ledger, out, info);
}
