/* user: changes to users. */
#include "ops/user.h"

#include "ops/field.h"
#include "ops/step.h"
#include "store/repo_user.h"

enum err ops_user_add(struct ops *o, int64_t tenant, struct user_row *row, struct err_info *info)
{
    enum err e = field_check_all(&thing_user, row, info);
    if (!e)
        e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_user_add(o->db, tenant, row, info);
    if (e)
        ops_explain(&thing_user, row->email, e, info);
    return ops_end(o, e, &(struct ops_step){&thing_user, "add", tenant, row->row.id, NULL, row},
                   info);
}

enum err ops_user_set(struct ops *o, int64_t tenant, struct str email, struct user_row *row,
                      uint64_t given, struct err_info *info)
{
    struct user_row before, after;
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_user_find(o->db, tenant, email, o->arena, &before, info);
    if (e)
        ops_explain(&thing_user, email, e, info);
    after = before;
    if (!e) {
        field_merge(&thing_user, &after, row, given);
        e = field_check_all(&thing_user, &after, info);
    }
    if (!e) {
        e = repo_user_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_user, after.email, e, info);
    }
    *row = after;
    return ops_end(
        o, e, &(struct ops_step){&thing_user, "set", tenant, after.row.id, &before, &after}, info);
}

enum err ops_user_remove(struct ops *o, int64_t tenant, struct str email, struct err_info *info)
{
    struct user_row before = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_user_find(o->db, tenant, email, o->arena, &before, info);
    if (!e)
        e = repo_user_remove(o->db, tenant, before.row.id, info);
    if (e)
        ops_explain(&thing_user, email, e, info);
    return ops_end(o, e,
                   &(struct ops_step){&thing_user, "remove", tenant, before.row.id, &before, NULL},
                   info);
}
