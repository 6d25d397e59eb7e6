/* open: from settings to an open, migrated database with its vault. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/ops.h"

enum err ops_path(const struct config *c, const char *file, char out[OPS_PATH_MAX],
                  struct err_info *info)
{
    return datadir_path(c->data_dir.p, file, out, info);
}

/* Each missing directory of the path, mode 0700. */
static int make_path(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        int failed = mkdir(path, 0700) != 0 && errno != EEXIST;
        *p = '/';
        if (failed)
            return -1;
    }
    return mkdir(path, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

enum err ops_data_dir(const struct config *c, struct err_info *info)
{
    char path[OPS_PATH_MAX];
    struct stat st;
    if (!c->data_dir.n || c->data_dir.n >= sizeof path)
        return err_set(info, ERR_INVALID, "data_dir: a path of 1 to %d bytes is needed",
                       OPS_PATH_MAX - 1);
    str_copy(path, sizeof path, c->data_dir);
    if (make_path(path) || stat(path, &st))
        return err_set(info, ERR_IO, "data_dir: %s cannot be made: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(info, ERR_IO, "data_dir: %s is not a directory", path);
    if (st.st_mode & 0022)
        return err_set(info, ERR_IO, "data_dir: others can write to %s: chmod 700 it", path);
    if (access(path, R_OK | W_OK | X_OK))
        return err_set(info, ERR_IO, "data_dir: %s cannot be written to: %s", path,
                       strerror(errno));
    return ERR_OK;
}

enum err ops_open_db(const struct config *c, struct sql **db, struct err_info *info)
{
    char path[OPS_PATH_MAX];
    enum err e = ops_path(c, "lyss.db", path, info);
    if (!e && access(path, F_OK))
        e = err_set(info, ERR_NOT_FOUND, "there is no %s", path);
    return e ? e : sql_open(&sql_sqlite, path, SQL_CONFIG, db, info);
}

enum err ops_open_vault(const struct config *c, struct sql *db, struct vault **v,
                        struct err_info *info)
{
    char path[OPS_PATH_MAX];
    struct vault_options o = {.key = secret_expose(&c->encryption_key),
                              .key_file = path,
                              .key_file_required = c->encryption_key_file.n > 0};
    enum err e = ERR_OK;
    if (o.key_file_required)
        str_copy(path, sizeof path, c->encryption_key_file);
    else
        e = ops_path(c, "encryption.key", path, info);
    return e ? e : vault_open(&o, db, v, info);
}

enum err ops_open(struct ops *o, const struct config *c, struct str actor, struct err_info *info)
{
    *o = (struct ops){.actor = actor};
    enum err e = ops_data_dir(c, info);
    if (!e)
        e = datadir_open_config(c->data_dir.p, &o->db, info);
    if (!e)
        e = ops_open_vault(c, o->db, &o->vault, info);
    if (e)
        ops_close(o);
    return e;
}

void ops_close(struct ops *o)
{
    if (o->vault)
        vault_close(&o->vault);
    if (o->db)
        sql_close(&o->db);
}
