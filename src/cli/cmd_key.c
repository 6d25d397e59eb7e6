/* cmd_key: lyss key … The text of a key goes to stdout once, when it is made. */
#include "cli/group.h"

#include "cli/print.h"
#include "ops/column.h"
#include "ops/key.h"
#include "store/repo_key.h"
#include "store/repo_user.h"

/* The new key: the one line of stdout, or the member api_key of the JSON object. */
static void put_new(struct call *c, const struct key_row *row, const char *text)
{
    struct json_writer w;
    if (!c->args.json) {
        buf_printf(&c->out, "%s\n", text);
        print_note("keep the key \"%.*s\": it is shown this once", STR_FMT(row->name));
        return;
    }
    json_writer_init(&w, &c->out);
    json_open_object(&w);
    json_field_string(&w, "api_key", str_c(text));
    row_json(&thing_key, row, &w);
    json_close_object(&w);
    buf_char(&c->out, '\n');
}

static enum err add(struct call *c)
{
    char text[APIKEY_TEXT_MAX];
    struct key_row *row = &c->u.key_row;
    enum err e = group_take_name(c);
    if (!e)
        e = ops_key_add(&c->ops, c->tenant, args_value(&c->args, "user"), row, c->args.set,
                        &c->args.arena, text, c->info);
    if (!e)
        put_new(c, row, text);
    explicit_bzero(text, sizeof text);
    return e;
}

static enum err rotate(struct call *c)
{
    char text[APIKEY_TEXT_MAX];
    struct key_row row;
    enum err e = ops_key_rotate(&c->ops, c->tenant, c->name, &c->args.arena, &row, text, c->info);
    if (!e)
        put_new(c, &row, text);
    explicit_bzero(text, sizeof text);
    return e;
}

static enum err set(struct call *c)
{
    struct key_row row;
    enum err e = ops_key_set(&c->ops, c->tenant, c->name, &c->u.key_row, c->args.set, c->info);
    struct str now = c->u.key_row.name.n ? c->u.key_row.name : c->name;
    if (!e)
        e = ops_key_find(&c->ops, c->tenant, now, &c->args.arena, &row, c->info);
    if (!e)
        group_done(c, &row, "changed");
    return e;
}

static enum err list(struct call *c)
{
    struct key_row *rows;
    size_t n, kept = 0;
    bool all = args_has(&c->args, "all");
    enum err e = repo_key_list(c->ops.db, c->tenant, &c->args.arena, &rows, &n, c->info);
    if (e)
        return e;
    for (size_t i = 0; i < n; i++)
        if (all || rows[i].revoked_ms == ROW_NULL)
            rows[kept++] = rows[i];
    group_list(c, rows, kept);
    return ERR_OK;
}

static enum err show(struct call *c)
{
    struct key_row row;
    enum err e = ops_key_find(&c->ops, c->tenant, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_key_revoke(&c->ops, c->tenant, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

static struct str owner(struct call *c, const struct key_row *row)
{
    struct user_row user;
    enum err e = repo_user_get(c->ops.db, c->tenant, row->user_id, &c->args.arena, &user, NULL);
    return e ? STR("") : user.email;
}

static void cell(struct call *c, struct str word, const void *row, struct buf *out)
{
    if (str_eq(word, STR("user")))
        buf_str(out, owner(c, row));
}

static void json(struct call *c, const void *row, struct json_writer *w)
{
    json_field_string(w, "user", owner(c, row));
}

static const struct option add_options[] = {
    {"user", "EMAIL", "add: whose key; not needed where the tenant has one user"},
    {"all", NULL, "list: revoked keys, too"},
    {0}};

static const struct verb verbs[] = {
    {"add", "make a key and print it, once",
     VERB_NAMED | VERB_COLUMNS | VERB_OPTIONS | VERB_CREATES, add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_CHANGES, set},
    {"list", "list the tenant's keys", VERB_OPTIONS, list},
    {"show", "print one in full, but for the key itself", VERB_NAMED, show},
    {"rotate", "revoke the key and print a new one", VERB_NAMED, rotate},
    {"rm", "revoke the key; in force within a second", VERB_NAMED, rm},
    {0}};

const struct group group_key = {
    .thing = &thing_key,
    .summary = "API keys that callers send; only their digests are stored",
    .examples = "  lyss key add ci --user ann@example.com --expires 90d --models 'gpt-*'\n"
                "  KEY=$(lyss key add notebook)\n"
                "  lyss key set ci --ping off\n"
                "  lyss key rotate ci --json\n"
                "  lyss key rm ci\n",
    .of_tenant = true,
    .options = add_options,
    .verbs = verbs,
    .table_columns = "name user last4 status allowed_models expires_ms last_used_ms revoked_ms",
    .cell = cell,
    .json = json};
