/* cmd_tenant: lyss tenant … */
#include "cli/group.h"

#include "ops/tenant.h"
#include "store/repo_tenant.h"

static enum err add(struct call *c)
{
    enum err e = group_take_name(c);
    if (!e)
        e = ops_tenant_add(&c->ops, &c->u.tenant_row, c->args.set, &c->args.arena, c->info);
    if (!e)
        group_done(c, &c->u, "added");
    return e;
}

/* The row that `set` changed, under the name that it has now. */
static enum err set(struct call *c)
{
    struct tenant_row row;
    enum err e = ops_tenant_set(&c->ops, c->name, &c->u.tenant_row, c->args.set, c->info);
    struct str now = c->u.tenant_row.slug.n ? c->u.tenant_row.slug : c->name;
    if (!e)
        e = ops_tenant_find(&c->ops, now, &c->args.arena, &row, c->info);
    if (!e)
        group_done(c, &row, "changed");
    return e;
}

static enum err list(struct call *c)
{
    struct tenant_row *rows;
    size_t n;
    enum err e = repo_tenant_list(c->ops.db, TENANT_ALL, &c->args.arena, &rows, &n, c->info);
    if (!e)
        group_list(c, rows, n);
    return e;
}

static enum err show(struct call *c)
{
    struct tenant_row row;
    enum err e = ops_tenant_find(&c->ops, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_tenant_remove(&c->ops, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

static const struct verb verbs[] = {
    {"add", "make a tenant", VERB_NAMED | VERB_COLUMNS | VERB_CREATES, add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_CHANGES, set},
    {"list", "list all tenants", 0, list},
    {"show", "print one in full", VERB_NAMED, show},
    {"rm", "remove one that has nothing left", VERB_NAMED, rm},
    {0}};

const struct group group_tenant = {
    .thing = &thing_tenant,
    .summary = "organizations and teams that are kept apart",
    .examples = "  lyss tenant add acme --title 'Acme Ltd' --time-zone Europe/Berlin\n"
                "  lyss tenant set acme --status suspended\n"
                "  lyss tenant list --json\n",
    .verbs = verbs,
    .table_columns = "slug name status time_zone unlimited"};
