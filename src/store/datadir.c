/* datadir: where things lie, and opening them in the one right way. */
#include "store/datadir.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/migrate.h"

enum err datadir_prepare(const char *dir, struct err_info *info)
{
    struct stat st;
    if (mkdir(dir, 0700) == 0)
        return ERR_OK;
    if (errno != EEXIST)
        return err_set(info, ERR_IO, "the data directory %s cannot be made: %s", dir,
                       strerror(errno));
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(info, ERR_IO, "%s is not a directory; give another with --data DIR", dir);
    return ERR_OK;
}

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

enum err datadir_open_vault(const char *dir, struct str key, struct str key_file, struct sql *db,
                            struct vault **out, struct err_info *info)
{
    char path[DATADIR_PATH_MAX];
    *out = NULL;
    if (key_file.n >= sizeof path)
        return err_set(info, ERR_TOO_BIG, "the path of the encryption key file is too long");
    enum err e = ERR_OK;
    if (key_file.n)
        str_copy(path, sizeof path, key_file);
    else
        e = datadir_path(dir, "encryption.key", path, info);
    struct vault_options o = {.key = key, .key_file = path, .key_file_required = key_file.n > 0};
    return e ? e : vault_open(&o, db, out, info);
}
