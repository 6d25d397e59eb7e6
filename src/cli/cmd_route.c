/* cmd_route: lyss route … with the channels that a route chooses from. */
#include "cli/group.h"

#include "cli/route_explain.h"
#include "ops/route.h"

static enum err take_request(struct call *c, struct route_request *req)
{
    void *items = NULL;
    *req = (struct route_request){.row = c->u.route_row, .set = c->args.set};
    for (size_t i = 0; i < c->args.n_given; i++) {
        struct route_candidate *k = row_more(&c->args.arena, &items, &req->n_candidates, sizeof *k);
        if (!k)
            return ERR_NOMEM;
        enum err e = route_candidate_parse(c->args.given[i].value, k, c->info);
        if (e)
            return e;
    }
    req->candidates = items;
    req->set_candidates = req->n_candidates > 0;
    return ERR_OK;
}

static enum err done(struct call *c, struct str name, const char *what)
{
    struct route_row row;
    enum err e = ops_route_find(&c->ops, c->tenant, name, &c->args.arena, &row, c->info);
    if (!e)
        group_done(c, &row, what);
    return e;
}

static enum err add(struct call *c)
{
    struct route_request req;
    enum err e = group_take_name(c);
    if (!e)
        e = take_request(c, &req);
    if (!e)
        e = ops_route_add(&c->ops, c->tenant, &req, &c->args.arena, c->info);
    return e ? e : done(c, c->name, "added");
}

static enum err set(struct call *c)
{
    struct route_request req;
    enum err e = take_request(c, &req);
    if (!e)
        e = ops_route_set(&c->ops, c->tenant, c->name, &req, c->info);
    struct str now = c->u.route_row.name.n ? c->u.route_row.name : c->name;
    return e ? e : done(c, now, "changed");
}

static enum err list(struct call *c)
{
    struct route_row *rows;
    size_t n;
    enum err e = ops_route_list(&c->ops, c->tenant, &c->args.arena, &rows, &n, c->info);
    if (!e)
        group_list(c, rows, n);
    return e;
}

static enum err show(struct call *c)
{
    struct route_row row;
    enum err e = ops_route_find(&c->ops, c->tenant, c->name, &c->args.arena, &row, c->info);
    if (!e)
        group_show(c, &row);
    return e;
}

static enum err rm(struct call *c)
{
    enum err e = ops_route_remove(&c->ops, c->tenant, c->name, c->info);
    if (!e)
        group_removed(c);
    return e;
}

static void cell(struct call *c, struct str word, const void *row, struct buf *out)
{
    const struct route_row *r = row;
    (void)c;
    for (size_t i = 0; i < r->n_candidates && str_eq(word, STR("channels")); i++) {
        const struct route_candidate *k = &r->candidates[i];
        buf_printf(out, "%s%.*s%s%.*s", i ? " " : "", STR_FMT(k->channel), k->upstream.n ? "=" : "",
                   STR_FMT(k->upstream));
        if (k->priority != ROW_NULL)
            buf_printf(out, ",priority=%lld", (long long)k->priority);
        if (k->weight != ROW_NULL)
            buf_printf(out, ",weight=%lld", (long long)k->weight);
    }
}

static void put_number(struct json_writer *w, struct str name, int64_t v)
{
    json_key(w, name);
    if (v == ROW_NULL)
        json_put_null(w);
    else
        json_put_i64(w, v);
}

static void json(struct call *c, const void *row, struct json_writer *w)
{
    const struct route_row *r = row;
    (void)c;
    json_key(w, STR("channels"));
    json_open_array(w);
    for (size_t i = 0; i < r->n_candidates; i++) {
        json_open_object(w);
        json_field_string(w, "channel", r->candidates[i].channel);
        json_field_string(w, "upstream", r->candidates[i].upstream);
        put_number(w, STR("priority"), r->candidates[i].priority);
        put_number(w, STR("weight"), r->candidates[i].weight);
        json_close_object(w);
    }
    json_close_array(w);
}

static const struct option options[] = {
    {"channel", "NAME[=UPSTREAM][,priority=N][,weight=N]",
     "channel to choose from, and what differs from the channel's own (needed; may be repeated; "
     "with `set` these replace the old ones)"},
    {0}};

static const struct verb verbs[] = {
    {"add", "make a route", VERB_NAMED | VERB_COLUMNS | VERB_OPTIONS | VERB_CREATES, add},
    {"set", "change what the flags name", VERB_NAMED | VERB_COLUMNS | VERB_OPTIONS | VERB_CHANGES,
     set},
    {"list", "list the tenant's routes", 0, list},
    {"show", "print one in full", VERB_NAMED, show},
    {"explain", "say of each candidate for a model why it would or would not be taken",
     VERB_NAMED | VERB_OPTIONS, route_explain, route_explain_options},
    {"rm", "remove a route; channels stay", VERB_NAMED, rm},
    {0}};

const struct group group_route = {
    .thing = &thing_route,
    .summary = "which channels answer for a model name; without one, all that serve it",
    .examples = "  lyss route add gpt-4o --channel east --channel west --algorithm round_robin\n"
                "  lyss route add fast --channel 'east=gpt-4o-mini,priority=5' --channel "
                "'west=qwen,weight=10'\n"
                "  lyss route set fast --alias quick --status inactive\n"
                "  lyss route list\n"
                "  lyss route explain gpt-4o --key app --tools\n",
    .of_tenant = true,
    .options = options,
    .verbs = verbs,
    .table_columns = "name aliases algorithm status channels",
    .cell = cell,
    .json = json};
