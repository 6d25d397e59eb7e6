/* provider: changes to providers. */
#include "ops/provider.h"

#include "llm/provider.h"
#include "ops/field.h"
#include "ops/step.h"
#include "store/repo_provider.h"

static enum err check(struct ops *o, const struct provider_row *row, struct err_info *info)
{
    enum err e = field_check_all(&thing_provider, row, info);
    if (e || provider_find(row->kind))
        return e;
    struct buf known;
    buf_init(&known, 400);
    for (size_t i = 0; provider_at(i); i++)
        buf_printf(&known, "%s%s", i ? ", " : "", provider_at(i)->name);
    e = err_set(info, ERR_INVALID, "--kind '%.*s': want one of %s", STR_FMT(row->kind), known.p);
    buf_release(&known);
    return e;
}

enum err ops_provider_add(struct ops *o, int64_t tenant, struct provider_row *row,
                          struct err_info *info)
{
    enum err e = check(o, row, info);
    if (!e)
        e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_provider_add(o->db, tenant, row, info);
    if (e)
        ops_explain(&thing_provider, row->name, e, info);
    return ops_end(
        o, e, &(struct ops_step){&thing_provider, "add", TENANT_PLATFORM, row->row.id, NULL, row},
        info);
}

enum err ops_provider_set(struct ops *o, int64_t tenant, struct str name, struct provider_row *row,
                          uint64_t given, struct err_info *info)
{
    struct provider_row before, after;
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_provider_find(o->db, tenant, name, o->arena, &before, info);
    if (e)
        ops_explain(&thing_provider, name, e, info);
    after = before;
    if (!e) {
        field_merge(&thing_provider, &after, row, given);
        e = check(o, &after, info);
    }
    if (!e) {
        e = repo_provider_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_provider, after.name, e, info);
    }
    *row = after;
    return ops_end(
        o, e,
        &(struct ops_step){&thing_provider, "set", TENANT_PLATFORM, after.row.id, &before, &after},
        info);
}

enum err ops_provider_remove(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct provider_row before = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_provider_find(o->db, tenant, name, o->arena, &before, info);
    if (!e && str_eq(before.managed_by, STR("builtin")))
        e = ERR_CONFLICT;
    if (!e)
        e = repo_provider_remove(o->db, tenant, before.row.id, info);
    if (e)
        ops_explain(&thing_provider, name, e, info);
    return ops_end(o, e,
                   &(struct ops_step){&thing_provider, "remove", TENANT_PLATFORM, before.row.id,
                                      &before, NULL},
                   info);
}
