/* provider: add, set and remove providers beside the built-in ones. */
#include "ops/provider.h"

#include "ops/change.h"
#include "ops/endpoint.h"
#include "store/repo_channel.h"
#include "store/repo_provider.h"

enum err ops_provider_find(struct ops *o, struct str name, struct arena *a,
                           struct provider_row *row, struct err_info *info)
{
    return change_missing(&thing_provider, name,
                          repo_provider_find(o->db, TENANT_ALL, name, a, row, info), info);
}

static enum err check(struct provider_row *row, struct err_info *info)
{
    const struct provider *kind;
    enum err e = endpoint_kind(row->kind, &kind, info);
    if (!e && provider_find(row->name) && !str_eq(row->managed_by, STR("builtin")))
        e = field_set(info, "name", ERR_EXISTS, "\"%.*s\" is the name of a built-in provider",
                      STR_FMT(row->name));
    row->base_url = endpoint_trim(row->base_url);
    return e ? e : endpoint_check(kind, row->base_url, STR_NULL, info);
}

enum err ops_provider_add(struct ops *o, struct provider_row *row, uint64_t set, struct arena *a,
                          struct err_info *info)
{
    enum err e = row_complete(&thing_provider, row, set, 0, a, info);
    if (!e)
        e = check(row, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_provider, 0, info);
    if (!e)
        e = change_exists(&thing_provider, row, repo_provider_add(o->db, TENANT_ALL, row, info),
                          info);
    return change_end(&c, e, "add", row->row.id, row);
}

/* Channels of any tenant that would follow a change of the provider's address or name. */
static enum err check_followers(struct change *c, const struct provider_row *row,
                                const struct provider_row *old)
{
    struct channel_row *rows = NULL;
    size_t n = 0, all = 0, holding = 0;
    enum err e = repo_channel_list(c->ops->db, TENANT_ALL, &c->arena, &rows, &n, c->info);
    if (!e)
        e = repo_channel_load_parts(c->ops->db, TENANT_ALL, &c->arena, rows, n, c->info);
    for (size_t i = 0; !e && i < n; i++) {
        if (!str_eq(rows[i].provider, old->name))
            continue;
        all++;
        holding += !rows[i].base_url.n && rows[i].n_credentials;
    }
    if (!e && all && !str_eq(row->name, old->name))
        e = field_set(c->info, "name", ERR_CONFLICT, "%zu channels lead to it by this name", all);
    if (!e && all && !str_eq(row->kind, old->kind))
        e = field_set(c->info, "kind", ERR_CONFLICT, "%zu channels lead to it as it is", all);
    if (!e && holding && !str_eq(row->base_url, old->base_url))
        e = field_set(c->info, "base_url", ERR_CONFLICT,
                      "%zu channels take their address from it and hold credentials, which would "
                      "go to the new place; give them a base_url of their own first, or remove "
                      "their credentials",
                      holding);
    return e;
}

enum err ops_provider_set(struct ops *o, struct str name, const struct provider_row *to,
                          uint64_t set, struct err_info *info)
{
    struct change c;
    struct provider_row row = {0}, old = {0};
    enum err e = change_begin(&c, o, &thing_provider, 0, info);
    if (!e)
        e = ops_provider_find(o, name, &c.arena, &old, info);
    if (!e) {
        row = old;
        change_before(&c, &row);
        e = row_merge(&thing_provider, &row, to, set, info);
    }
    if (!e && str_eq(old.managed_by, STR("builtin")) &&
        (set & ~column_bits(&thing_provider, "status")))
        e = field_set(info, "name", ERR_CONFLICT,
                      "\"%.*s\" is built in; only its status can be changed", STR_FMT(name));
    if (!e)
        e = check(&row, info);
    if (!e)
        e = check_followers(&c, &row, &old);
    if (!e)
        e = change_exists(&thing_provider, &row, repo_provider_save(o->db, TENANT_ALL, &row, info),
                          info);
    return change_end(&c, e, "set", row.row.id, &row);
}

enum err ops_provider_remove(struct ops *o, struct str name, struct err_info *info)
{
    struct change c;
    struct provider_row row = {0};
    enum err e = change_begin(&c, o, &thing_provider, 0, info);
    if (!e)
        e = ops_provider_find(o, name, &c.arena, &row, info);
    if (!e && str_eq(row.managed_by, STR("builtin")))
        e = field_set(info, "name", ERR_CONFLICT,
                      "\"%.*s\" is built in; set its status to inactive instead", STR_FMT(name));
    if (!e) {
        change_before(&c, &row);
        e = repo_provider_remove(o->db, TENANT_ALL, row.row.id, info);
        if (e == ERR_CONFLICT)
            field_set(info, "name", e, "channels still lead to provider \"%.*s\"", STR_FMT(name));
    }
    return change_end(&c, e, "rm", row.row.id, NULL);
}
