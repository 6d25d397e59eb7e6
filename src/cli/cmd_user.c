/* cmd_user: lyss user … */
#include "cli/group.h"

#include "ops/user.h"
#include "store/repo_user.h"

static enum err add(struct call *c)
{
    enum err e = group_take_name(c);
    if (!e)
        e = ops_user_add(&c->ops, c->tenant, &c->u.user_row, c->args.set, &c->args.arena, c->info);
    if (!e)
        group_done(c, &c->u, "added");
    return e;
}

static enum err set(struct call *c)
{
    struct user_row row;
    enum err e = ops_user_set(&c->ops, c->tenant, c->name, &c->u.user_row, c->args.set, c->info);
    struct str now = c->u.user_row.email.n ? c->u.user_row.email : c->name;
    if (!e)
        e = ops_user_find(&c->ops, c->tenant, now, &c->args.arena, &row, c->info);
    if (!e)
        group_done(c, &row, "changed");
    return e;
}

static enum err list(struct call *c)
{
    struct user_row *rows;
    size_t n;
    enum err e = repo_user_list(c->ops.db, c->tenant, &c->args.arena, &rows, &n, c->info);
    if (!e)
        group_list(c, rows, n);
    return e;
}

static enum err show(struct call *c)
{
    struct user_row row;
    enum err e = ops_user_find(&c->ops, c->tenant, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_user_remove(&c->ops, c->tenant, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

static const struct verb verbs[] = {
    {"add", "make a user", VERB_NAMED | VERB_COLUMNS | VERB_CREATES, add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_CHANGES, set},
    {"list", "list the tenant's users", 0, list},
    {"show", "print one in full", VERB_NAMED, show},
    {"rm", "remove one that never had a key", VERB_NAMED, rm},
    {0}};

const struct group group_user = {
    .thing = &thing_user,
    .summary = "people and programs of a tenant; API keys belong to them",
    .examples = "  lyss user add ann@example.com --title Ann --role tenant_admin\n"
                "  lyss user set ann@example.com --status suspended --tenant acme\n"
                "  lyss user list\n",
    .of_tenant = true,
    .verbs = verbs,
    .table_columns = "email name role status"};
