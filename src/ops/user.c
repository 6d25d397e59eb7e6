/* user: add, set and remove the users of a tenant. */
#include "ops/user.h"

#include "ops/change.h"
#include "store/repo_user.h"

/* The only user, or a message that lists the choice. */
static enum err only_user(struct ops *o, int64_t tenant, struct arena *a, struct user_row *row,
                          struct err_info *info)
{
    struct user_row *rows;
    size_t n;
    enum err e = repo_user_list(o->db, tenant, a, &rows, &n, info);
    if (e)
        return e;
    if (n == 1) {
        *row = rows[0];
        return ERR_OK;
    }
    if (!n)
        return field_set(info, "user", ERR_NOT_FOUND, "the tenant has no user yet; add one first");
    struct buf names;
    buf_init(&names, 256);
    for (size_t i = 0; i < n && i < 5; i++)
        buf_printf(&names, "%s%.*s", i ? ", " : "", STR_FMT(rows[i].email));
    field_set(info, "user", ERR_INVALID, "the tenant has several users, say which: %s%s",
              buf_failed(&names) ? "" : names.p, n > 5 ? " …" : "");
    buf_release(&names);
    return ERR_INVALID;
}

enum err ops_user_find(struct ops *o, int64_t tenant, struct str email, struct arena *a,
                       struct user_row *row, struct err_info *info)
{
    if (!email.n)
        return only_user(o, tenant, a, row, info);
    return change_missing(&thing_user, email, repo_user_find(o->db, tenant, email, a, row, info),
                          info);
}

enum err ops_user_add(struct ops *o, int64_t tenant, struct user_row *row, uint64_t set,
                      struct arena *a, struct err_info *info)
{
    enum err e = row_complete(&thing_user, row, set, 0, a, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_user, tenant, info);
    if (!e)
        e = change_exists(&thing_user, row, repo_user_add(o->db, tenant, row, info), info);
    return change_end(&c, e, "add", row->row.id, row);
}

enum err ops_user_set(struct ops *o, int64_t tenant, struct str email, const struct user_row *to,
                      uint64_t set, struct err_info *info)
{
    struct change c;
    struct user_row row = {0};
    enum err e = change_begin(&c, o, &thing_user, tenant, info);
    if (!e)
        e = ops_user_find(o, tenant, email, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = row_merge(&thing_user, &row, to, set, info);
    }
    if (!e)
        e = change_exists(&thing_user, &row, repo_user_save(o->db, tenant, &row, info), info);
    return change_end(&c, e, "set", row.row.id, &row);
}

enum err ops_user_remove(struct ops *o, int64_t tenant, struct str email, struct err_info *info)
{
    struct change c;
    struct user_row row = {0};
    enum err e = change_begin(&c, o, &thing_user, tenant, info);
    if (!e)
        e = ops_user_find(o, tenant, email, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = repo_user_remove(o->db, tenant, row.row.id, info);
    }
    if (e == ERR_CONFLICT)
        field_set(info, "email", e,
                  "\"%.*s\" has or had keys, which usage refers to; set the status to suspended "
                  "instead",
                  STR_FMT(email));
    return change_end(&c, e, "rm", row.row.id, NULL);
}
