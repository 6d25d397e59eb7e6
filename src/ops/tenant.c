/* tenant: add, set and remove tenants. They are the platform's: whoever calls may act on all. */
#include "ops/tenant.h"

#include "ops/change.h"
#include "store/repo_tenant.h"

enum err ops_tenant_find(struct ops *o, struct str slug, struct arena *a, struct tenant_row *row,
                         struct err_info *info)
{
    return change_missing(&thing_tenant, slug,
                          repo_tenant_find(o->db, TENANT_ALL, slug, a, row, info), info);
}

enum err ops_tenant_add(struct ops *o, struct tenant_row *row, uint64_t set, struct arena *a,
                        struct err_info *info)
{
    enum err e = row_complete(&thing_tenant, row, set, 0, a, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_tenant, 0, info);
    if (!e)
        e = change_exists(&thing_tenant, row, repo_tenant_add(o->db, TENANT_ALL, row, info), info);
    c.tenant = row->row.id;
    return change_end(&c, e, "add", row->row.id, row);
}

enum err ops_tenant_set(struct ops *o, struct str slug, const struct tenant_row *to, uint64_t set,
                        struct err_info *info)
{
    struct change c;
    struct tenant_row row = {0};
    enum err e = change_begin(&c, o, &thing_tenant, 0, info);
    if (!e)
        e = ops_tenant_find(o, slug, &c.arena, &row, info);
    if (!e) {
        c.tenant = row.row.id;
        change_before(&c, &row);
        e = row_merge(&thing_tenant, &row, to, set, info);
    }
    if (!e)
        e = change_exists(&thing_tenant, &row, repo_tenant_save(o->db, TENANT_ALL, &row, info),
                          info);
    return change_end(&c, e, "set", row.row.id, &row);
}

enum err ops_tenant_remove(struct ops *o, struct str slug, struct err_info *info)
{
    struct change c;
    struct tenant_row row = {0};
    enum err e = change_begin(&c, o, &thing_tenant, 0, info);
    if (!e)
        e = ops_tenant_find(o, slug, &c.arena, &row, info);
    if (!e) {
        c.tenant = row.row.id;
        change_before(&c, &row);
        e = repo_tenant_remove(o->db, TENANT_ALL, row.row.id, info);
    }
    if (e == ERR_CONFLICT)
        field_set(info, "slug", e,
                  "tenant \"%.*s\" still has users, keys, channels or routes; set its status to "
                  "suspended, or remove them first",
                  STR_FMT(slug));
    return change_end(&c, e, "rm", row.row.id, NULL);
}
