/* cmd_provider: lyss provider … */
#include "cli/group.h"

#include "llm/provider.h"
#include "ops/provider.h"
#include "store/repo_provider.h"

static enum err add(struct call *c)
{
    enum err e = group_take_name(c);
    if (!e)
        e = ops_provider_add(&c->ops, &c->u.provider_row, c->args.set, &c->args.arena, c->info);
    if (!e)
        group_done(c, &c->u, "added");
    return e;
}

static enum err set(struct call *c)
{
    struct provider_row row;
    enum err e = ops_provider_set(&c->ops, c->name, &c->u.provider_row, c->args.set, c->info);
    struct str now = c->u.provider_row.name.n ? c->u.provider_row.name : c->name;
    if (!e)
        e = ops_provider_find(&c->ops, now, &c->args.arena, &row, c->info);
    if (!e)
        group_done(c, &row, "changed");
    return e;
}

static enum err list(struct call *c)
{
    struct provider_row *rows;
    size_t n;
    enum err e = repo_provider_list(c->ops.db, TENANT_ALL, &c->args.arena, &rows, &n, c->info);
    if (!e)
        group_list(c, rows, n);
    return e;
}

static enum err show(struct call *c)
{
    struct provider_row row;
    enum err e = ops_provider_find(&c->ops, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_provider_remove(&c->ops, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

/* The operations that a channel of the provider serves unless it says otherwise. */
static bool serves(const struct provider_row *row, int op)
{
    const struct provider *p = provider_find(row->kind);
    return p && op_row((enum llm_op)op)->has_body && provider_serves(p, (enum llm_op)op);
}

static void cell(struct call *c, struct str word, const void *row, struct buf *out)
{
    (void)c;
    for (int op = OP_NONE + 1; op < OP_COUNT && str_eq(word, STR("ops")); op++)
        if (serves(row, op))
            buf_printf(out, "%s%s", out->n ? " " : "", op_row((enum llm_op)op)->name);
}

static void json(struct call *c, const void *row, struct json_writer *w)
{
    (void)c;
    json_key(w, STR("ops"));
    json_open_array(w);
    for (int op = OP_NONE + 1; op < OP_COUNT; op++)
        if (serves(row, op))
            json_put_string(w, str_c(op_row((enum llm_op)op)->name));
    json_close_array(w);
}

static const struct verb verbs[] = {
    {"add", "name an upstream for channels to share", VERB_NAMED | VERB_COLUMNS | VERB_CREATES,
     add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_CHANGES, set},
    {"list", "list all providers", 0, list},
    {"show", "print one in full", VERB_NAMED, show},
    {"rm", "remove one that has no channels", VERB_NAMED, rm},
    {0}};

const struct group group_provider = {
    .thing = &thing_provider,
    .summary = "kinds of upstreams; the built-in ones are there from the start",
    .examples = "  lyss provider list\n"
                "  lyss provider add groq --kind openai-compatible --base-url "
                "https://api.groq.com/openai/v1\n"
                "  lyss provider set deepseek --status inactive\n",
    .verbs = verbs,
    .table_columns = "name kind base_url status managed_by ops",
    .cell = cell,
    .json = json};
