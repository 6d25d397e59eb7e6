/* choose: whoever has one tenant never types its name. */
#include "cli/choose.h"

#include "ops/column.h"
#include "ops/tenant.h"
#include "store/repo_tenant.h"

enum err choose_tenant(struct ops *o, struct str slug, struct arena *a, struct tenant_row *out,
                       struct err_info *info)
{
    struct tenant_row *rows;
    size_t n = 0;
    enum err e;
    if (slug.n) {
        e = ops_tenant_find(o, slug, a, out, info);
        if (e && info)
            str_copy(info->field, sizeof info->field, STR("tenant"));
        return e;
    }
    e = repo_tenant_list(o->db, TENANT_ALL, a, &rows, &n, info);
    if (e)
        return e;
    if (!n)
        return field_set(info, "tenant", ERR_NOT_FOUND,
                         "there is no tenant yet; make one: lyss tenant add NAME");
    const struct tenant_row *found = n == 1 ? &rows[0] : NULL;
    for (size_t i = 0; i < n && !found; i++)
        if (str_eq(rows[i].slug, STR("demo")))
            found = &rows[i];
    if (found) {
        *out = *found;
        return ERR_OK;
    }
    struct str names = rows[0].slug;
    for (size_t i = 1; i < n && i < 8; i++)
        names = arena_printf(a, "%.*s, %.*s", STR_FMT(names), STR_FMT(rows[i].slug));
    return field_set(info, "tenant", ERR_INVALID, "there are several tenants, say which: %.*s%s",
                     STR_FMT(names), n > 8 ? " …" : "");
}
