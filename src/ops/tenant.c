/* tenant: changes to tenants. */
#include "ops/tenant.h"

#include "ops/field.h"
#include "ops/step.h"
#include "store/repo_tenant.h"

enum err ops_tenant_add(struct ops *o, int64_t tenant, struct tenant_row *row,
                        struct err_info *info)
{
    enum err e = field_check_all(&thing_tenant, row, info);
    if (!e)
        e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_tenant_add(o->db, tenant, row, info);
    if (e)
        ops_explain(&thing_tenant, row->slug, e, info);
    return ops_end(
        o, e, &(struct ops_step){&thing_tenant, "add", row->row.id, row->row.id, NULL, row}, info);
}

enum err ops_tenant_set(struct ops *o, int64_t tenant, struct str slug, struct tenant_row *row,
                        uint64_t given, struct err_info *info)
{
    struct tenant_row before, after;
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_tenant_find(o->db, tenant, slug, o->arena, &before, info);
    if (e)
        ops_explain(&thing_tenant, slug, e, info);
    after = before;
    if (!e) {
        field_merge(&thing_tenant, &after, row, given);
        e = field_check_all(&thing_tenant, &after, info);
    }
    if (!e) {
        e = repo_tenant_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_tenant, after.slug, e, info);
    }
    *row = after;
    return ops_end(
        o, e, &(struct ops_step){&thing_tenant, "set", row->row.id, after.row.id, &before, &after},
        info);
}

enum err ops_tenant_remove(struct ops *o, int64_t tenant, struct str slug, struct err_info *info)
{
    struct tenant_row before = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_tenant_find(o->db, tenant, slug, o->arena, &before, info);
    if (!e)
        e = repo_tenant_remove(o->db, tenant, before.row.id, info);
    if (e)
        ops_explain(&thing_tenant, slug, e, info);
    return ops_end(
        o, e,
        &(struct ops_step){&thing_tenant, "remove", before.row.id, before.row.id, &before, NULL},
        info);
}
