/* cmd_channel: lyss channel … with the models and credentials of a channel. */
#include "cli/group.h"

#include <stdio.h>

#include "cli/channel_test.h"
#include "cli/print.h"
#include "cli/secret_input.h"
#include "llm/provider.h"
#include "ops/channel.h"
#include "ops/column.h"
#include "ops/provider.h"

/* What the options say beside the columns. */
struct parts {
    struct channel_request req;
    struct secret credentials[CHANNEL_CREDENTIALS_MAX];
    int64_t remove[CHANNEL_CREDENTIALS_MAX];
};

static enum err take_models(struct call *c, struct channel_request *req)
{
    void *items = NULL;
    for (size_t i = 0; i < c->args.n_given; i++) {
        const struct given *g = &c->args.given[i];
        if (strcmp(g->option->flag, "model") != 0)
            continue;
        struct channel_model *m = row_more(&c->args.arena, &items, &req->n_models, sizeof *m);
        if (!m)
            return ERR_NOMEM;
        *m = channel_model_parse(g->value);
    }
    req->models = items;
    req->set_models = req->n_models > 0;
    return ERR_OK;
}

static enum err take_credentials(struct call *c, struct parts *p)
{
    enum err e = ERR_OK;
    bool stdin_read = false;
    for (size_t i = 0; !e && i < c->args.n_given; i++) {
        const struct given *g = &c->args.given[i];
        bool from_stdin = !strcmp(g->option->flag, "credential-stdin");
        if ((!from_stdin && strcmp(g->option->flag, "credential-file") != 0) ||
            (from_stdin && stdin_read))
            continue;
        stdin_read |= from_stdin;
        if (p->req.n_credentials == CHANNEL_CREDENTIALS_MAX)
            return field_set(c->info, "credential-file", ERR_INVALID, "at most %d credentials",
                             CHANNEL_CREDENTIALS_MAX);
        e = secret_read(from_stdin ? NULL : g->value.p, &p->credentials[p->req.n_credentials],
                        c->info);
        if (e)
            str_copy(c->info->field, sizeof c->info->field, str_c(g->option->flag));
        else
            p->req.n_credentials++;
    }
    p->req.keep_credentials = args_has(&c->args, "add-credential");
    if (!e && p->req.keep_credentials && !p->req.n_credentials)
        e = field_set(c->info, "add-credential", ERR_INVALID,
                      "say from where: --credential-stdin or --credential-file FILE");
    return e;
}

static enum err take_removals(struct call *c, struct parts *p)
{
    for (size_t i = 0; i < c->args.n_given; i++) {
        const struct given *g = &c->args.given[i];
        uint64_t id = 0;
        if (strcmp(g->option->flag, "rm-credential") != 0)
            continue;
        if (!str_u64(g->value, INT64_MAX, &id) || p->req.n_remove == CHANNEL_CREDENTIALS_MAX)
            return field_set(c->info, "rm-credential", ERR_INVALID,
                             "expected the id of a credential, as `lyss channel show` prints it");
        p->remove[p->req.n_remove++] = (int64_t)id;
    }
    p->req.remove = p->remove;
    return ERR_OK;
}

static enum err take_parts(struct call *c, struct parts *p)
{
    *p = (struct parts){.req = {.row = c->u.channel_row, .set = c->args.set}};
    p->req.credentials = p->credentials;
    enum err e = take_models(c, &p->req);
    if (!e)
        e = take_removals(c, p);
    return e ? e : take_credentials(c, p);
}

static void release_parts(struct parts *p)
{
    for (size_t i = 0; i < CHANNEL_CREDENTIALS_MAX; i++)
        secret_release(&p->credentials[i]);
}

/* A channel whose upstream wants a credential serves nothing without one. */
static void note_missing(struct call *c, const struct channel_row *row)
{
    struct provider_row provider;
    const struct provider *kind = NULL;
    if (row->n_credentials)
        return;
    if (!ops_provider_find(&c->ops, row->provider, &c->args.arena, &provider, NULL))
        kind = provider_find(provider.kind);
    if (kind && !kind->auth_optional)
        print_note("channel \"%.*s\" has no credential yet\n"
                   "      give it one: lyss channel set %.*s --credential-stdin",
                   STR_FMT(row->name), STR_FMT(row->name));
}

/* Prints the row as it is now. */
static enum err done(struct call *c, struct str name, const char *what)
{
    struct channel_row row;
    enum err e = ops_channel_find(&c->ops, c->tenant, name, &c->args.arena, &row, c->info);
    if (!e && !strcmp(what, "added"))
        note_missing(c, &row);
    if (!e)
        group_done(c, &row, what);
    return e;
}

static enum err add(struct call *c)
{
    struct parts p;
    enum err e = group_take_name(c);
    if (e)
        return e;
    e = take_parts(c, &p);
    if (!e)
        e = ops_channel_add(&c->ops, c->tenant, &p.req, &c->args.arena, c->info);
    release_parts(&p);
    return e ? e : done(c, c->name, "added");
}

static enum err set(struct call *c)
{
    struct parts p;
    int64_t cleared = 0;
    enum err e = take_parts(c, &p);
    if (!e)
        e = ops_channel_set(&c->ops, c->tenant, c->name, &p.req, &cleared, c->info);
    release_parts(&p);
    if (!e && cleared && !p.req.n_credentials)
        print_note("channel \"%.*s\" has a new address, so its stored credentials were removed\n"
                   "      give them anew: lyss channel set %.*s --credential-stdin",
                   STR_FMT(c->name), STR_FMT(c->name));
    struct str now = c->u.channel_row.name.n ? c->u.channel_row.name : c->name;
    return e ? e : done(c, now, "changed");
}

static enum err list(struct call *c)
{
    struct channel_row *rows;
    size_t n;
    enum err e = ops_channel_list(&c->ops, c->tenant, &c->args.arena, &rows, &n, c->info);
    if (!e)
        group_list(c, rows, n);
    return e;
}

static enum err show(struct call *c)
{
    struct channel_row row;
    enum err e = ops_channel_find(&c->ops, c->tenant, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_channel_remove(&c->ops, c->tenant, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

static void cell(struct call *c, struct str word, const void *row, struct buf *out)
{
    const struct channel_row *r = row;
    (void)c;
    for (size_t i = 0; i < r->n_models && str_eq(word, STR("models")); i++)
        buf_printf(out, "%s%.*s%s%.*s", i ? " " : "", STR_FMT(r->models[i].pattern),
                   r->models[i].upstream.n ? "=" : "", STR_FMT(r->models[i].upstream));
    for (size_t i = 0; i < r->n_credentials && str_eq(word, STR("credentials")); i++)
        buf_printf(out, "%s%lld:%s%.*s", i ? " " : "", (long long)r->credentials[i].id,
                   r->credentials[i].last4.n ? "…" : "set", STR_FMT(r->credentials[i].last4));
}

static void json(struct call *c, const void *row, struct json_writer *w)
{
    const struct channel_row *r = row;
    (void)c;
    json_key(w, STR("models"));
    json_open_array(w);
    for (size_t i = 0; i < r->n_models; i++) {
        json_open_object(w);
        json_field_string(w, "name", r->models[i].pattern);
        json_field_string(w, "upstream",
                          r->models[i].upstream.n ? r->models[i].upstream : r->models[i].pattern);
        json_close_object(w);
    }
    json_close_array(w);
    json_key(w, STR("credentials"));
    json_open_array(w);
    for (size_t i = 0; i < r->n_credentials; i++) {
        json_open_object(w);
        json_field_i64(w, "id", r->credentials[i].id);
        json_field_string(w, "fingerprint", r->credentials[i].fingerprint);
        json_field_string(w, "last4", r->credentials[i].last4);
        json_field_string(w, "status", r->credentials[i].status);
        json_close_object(w);
    }
    json_close_array(w);
}

static const struct option options[] = {
    {"model", "NAME[=UPSTREAM]",
     "model that it serves, and what the upstream calls it; NAME may be a glob like gpt-* (needed; "
     "may be repeated; with `set` these replace the old ones)"},
    {"credential-stdin", NULL, "read the upstream's API key from stdin"},
    {"credential-file", "FILE",
     "read the upstream's API key from a file; may be repeated: calls take them in turn"},
    {"add-credential", NULL, "set: keep the stored credentials beside the new one"},
    {"rm-credential", "ID", "set: remove a stored credential; may be repeated"},
    {0}};

static const struct verb verbs[] = {
    {"add", "make a channel", VERB_NAMED | VERB_COLUMNS | VERB_OPTIONS | VERB_CREATES, add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_OPTIONS | VERB_CHANGES,
     set},
    {"list", "list the tenant's channels", 0, list},
    {"show", "print one in full", VERB_NAMED, show},
    {"test", "ask its upstream for a sign of life, with each credential; exit status 1: it failed",
     VERB_NAMED | VERB_OPTIONS, channel_test, channel_test_options},
    {"rm", "remove a channel and its credentials", VERB_NAMED, rm},
    {0}};

const struct group group_channel = {
    .thing = &thing_channel,
    .summary = "ways to upstreams: address, credentials, models, share of the traffic",
    .examples =
        "  lyss channel add main --provider openai --model 'gpt-*' --credential-stdin <key.txt\n"
        "  lyss channel add local --provider openai-compatible --base-url http://127.0.0.1:8080/v1 "
        "\\\n      --model 'gpt-4o=qwen2.5' --model 'qwen*'\n"
        "  lyss channel set main --priority 5 --weight 300 --ttft-timeout 20000\n"
        "  lyss channel set main --add-credential --credential-file second.key\n"
        "  lyss channel set main --status maintenance\n"
        "  lyss channel list --json\n"
        "  lyss channel test main\n"
        "  lyss channel test main --model gpt-4o\n",
    .of_tenant = true,
    .options = options,
    .verbs = verbs,
    .table_columns = "name provider base_url models priority weight status credentials",
    .cell = cell,
    .json = json};
