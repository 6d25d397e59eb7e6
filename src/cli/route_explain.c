/* route_explain: lyss route explain: the configuration made into a snapshot as the server makes it,
 * and each candidate put before the filter that serves requests. */
#include "cli/route_explain.h"

#include <stdio.h>

#include "cli/print.h"
#include "core/clock.h"
#include "gateway/choose/explain.h"
#include "gateway/snapshot_build.h"
#include "llm/model_catalogue.h"
#include "llm/wire_openai_request.h"
#include "ops/channel.h"
#include "ops/key.h"
#include "ops/route.h"

#define LIVE_NOTE                                                                                  \
    "Breakers, cooling, caps and upstream limits live in the serving process and are not known "   \
    "here; /metrics tells them.\n"

const struct option route_explain_options[] = {
    {"key", "NAME", "API key that asks; none given: one that may use everything"},
    {"op", "NAME", "operation: chat (the default), responses, embeddings, messages …"},
    {"tools", NULL, "the request has tools"},
    {"vision", NULL, "it has images"},
    {"json-schema", NULL, "it wants output by a schema"},
    {"thinking", NULL, "it asks for thinking or effort"},
    {"tokens", "N", "its prompt has about so many tokens"},
    {0}};

struct explaining {
    struct call *call;
    struct snapshot *snapshot;
    const struct tenant *tenant;
    struct eligible_ask ask;
    struct route route;
    struct explained all[CANDIDATES_MAX];
    unsigned n;
    /* Channels of the route that are not to be used at all. */
    const struct channel_row *idle[CANDIDATES_MAX];
    unsigned idle_n;
};

static enum err take_ask(struct explaining *x)
{
    static const struct {
        const char *flag;
        unsigned need;
    } needs[] = {{"tools", NEED_TOOLS},
                 {"vision", NEED_VISION},
                 {"json-schema", NEED_JSON_SCHEMA},
                 {"thinking", NEED_THINKING}};
    const struct args *a = &x->call->args;
    struct str op = args_value(a, "op"), tokens = args_value(a, "tokens");
    uint64_t n = 0;
    x->ask.op = op.n ? op_find(op) : OP_CHAT;
    x->ask.now_ms = clock_mono_ms();
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (args_has(a, needs[i].flag))
            x->ask.needs |= needs[i].need;
    if (x->ask.op == OP_NONE)
        return err_set(x->call->info, ERR_INVALID, "--op: there is no operation '%.*s'",
                       STR_FMT(op));
    if (tokens.n && !str_u64(tokens, UINT32_MAX, &n))
        return err_set(x->call->info, ERR_INVALID, "--tokens: expected a number");
    x->ask.estimate_in = (uint32_t)n;
    return ERR_OK;
}

static enum err find_key(struct explaining *x)
{
    struct call *c = x->call;
    struct key_row row;
    struct str name = args_value(&c->args, "key");
    if (!name.n)
        return ERR_OK;
    enum err e = ops_key_find(&c->ops, c->tenant, name, &c->args.arena, &row, c->info);
    if (e)
        return e;
    x->ask.key = snapshot_key(x->snapshot, (const uint8_t *)row.digest.p);
    return x->ask.key
               ? ERR_OK
               : err_set(c->info, ERR_INVALID, "--key: '%.*s' is not in force", STR_FMT(name));
}

static bool serves(const struct channel_row *row, struct str model)
{
    for (size_t i = 0; i < row->n_models; i++)
        if (str_glob(row->models[i].pattern, model))
            return true;
    return false;
}

static bool in_use(const struct explaining *x, int64_t id)
{
    for (unsigned i = 0; i < x->tenant->channels_n; i++)
        if (x->tenant->channels[i]->id == id)
            return true;
    return false;
}

/* Channels that the route names, or that serve the model where there is no route, but that the
 * snapshot left out. */
static enum err find_idle(struct explaining *x)
{
    struct call *c = x->call;
    struct channel_row *rows;
    struct route_row route = {0};
    size_t n;
    if (x->route.id &&
        ops_route_find(&c->ops, c->tenant, x->route.name, &c->args.arena, &route, c->info))
        route.n_candidates = 0; /* an alias */
    enum err e = ops_channel_list(&c->ops, c->tenant, &c->args.arena, &rows, &n, c->info);
    for (size_t i = 0; i < n && !e && x->idle_n < CANDIDATES_MAX; i++) {
        bool named = !x->route.id && serves(&rows[i], c->name);
        for (size_t k = 0; k < route.n_candidates; k++)
            named |= route.candidates[k].channel_id == rows[i].row.id;
        if (named && !in_use(x, rows[i].row.id))
            x->idle[x->idle_n++] = &rows[i];
    }
    return e;
}

/* ---- saying it ------------------------------------------------------------------------------- */

static const char *verdict(const struct explained *e, char out[64])
{
    if (e->why)
        return reason_words(e->why);
    if (!e->first)
        return "eligible; asked when no higher priority is left";
    snprintf(out, 64, "eligible; %.0f %% of the tier by weight", e->share * 100);
    return out;
}

static void put_json(struct explaining *x)
{
    struct json_writer w;
    struct buf *out = &x->call->out;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "model", x->call->name);
    json_field_string(&w, "route", x->route.id ? x->route.name : STR(""));
    json_field_string(&w, "algorithm", str_c(x->route.algorithm->name));
    json_field_string(&w, "live_state", STR("unknown"));
    json_key(&w, STR("candidates"));
    json_open_array(&w);
    for (unsigned i = 0; i < x->n; i++) {
        const struct explained *e = &x->all[i];
        char text[64];
        json_open_object(&w);
        json_field_string(&w, "channel", e->channel->name);
        json_field_string(&w, "upstream_model", e->upstream);
        json_field_i64(&w, "priority", e->priority);
        json_field_i64(&w, "weight", (int64_t)e->weight);
        json_field_bool(&w, "eligible", !e->why);
        json_field_bool(&w, "first", e->first);
        json_field_string(&w, "reason", str_c(reason_key(e->why)));
        json_field_string(&w, "text", str_c(verdict(e, text)));
        json_close_object(&w);
    }
    for (unsigned i = 0; i < x->idle_n; i++) {
        json_open_object(&w);
        json_field_string(&w, "channel", x->idle[i]->name);
        json_field_bool(&w, "eligible", false);
        json_field_string(&w, "reason", str_c(reason_key(REASON_INACTIVE)));
        json_field_string(&w, "text", x->idle[i]->status);
        json_close_object(&w);
    }
    json_close_array(&w);
    json_close_object(&w);
    buf_char(out, '\n');
}

static void put_table(struct explaining *x)
{
    struct table t;
    struct buf *out = &x->call->out;
    char text[64];
    buf_printf(out, "%.*s: %s, %s\n\n", STR_FMT(x->call->name),
               x->route.id ? "a route" : "no route: every channel that serves it",
               x->route.algorithm->name);
    table_init(&t, 5);
    t.right[2] = t.right[3] = true;
    static const char *const heads[] = {"channel", "upstream model", "priority", "weight", "why"};
    for (size_t i = 0; i < 5; i++)
        table_cell(&t, str_c(heads[i]));
    for (unsigned i = 0; i < x->n; i++) {
        const struct explained *e = &x->all[i];
        table_cell(&t, e->channel->name);
        table_cell(&t, e->upstream);
        snprintf(text, sizeof text, "%d", e->priority);
        table_cell(&t, str_c(text));
        snprintf(text, sizeof text, "%.0f", e->weight);
        table_cell(&t, str_c(text));
        table_cell(&t, str_c(verdict(e, text)));
    }
    for (unsigned i = 0; i < x->idle_n; i++) {
        table_cell(&t, x->idle[i]->name);
        for (int k = 0; k < 3; k++)
            table_cell(&t, STR_NULL);
        snprintf(text, sizeof text, "not in use (%.*s)", STR_FMT(x->idle[i]->status));
        table_cell(&t, str_c(text));
    }
    table_end(&t, out);
    buf_lit(out, "\n" LIVE_NOTE);
}

static enum err explain_all(struct explaining *x)
{
    struct call *c = x->call;
    enum err e = take_ask(x);
    for (unsigned i = 0; i < x->snapshot->tenants_n; i++)
        if (x->snapshot->tenants[i].id == c->tenant)
            x->tenant = &x->snapshot->tenants[i];
    if (!e && !x->tenant)
        e = err_set(c->info, ERR_NOT_FOUND, "there is no such tenant");
    if (!e)
        e = find_key(x);
    if (e)
        return e;
    if (!explain(x->tenant, c->name, &x->ask, &x->route, x->all, &x->n)) {
        e = find_idle(x);
        return e               ? e
               : x->idle_n > 0 ? err_set(c->info, ERR_MODEL_NOT_FOUND,
                                         "'%.*s' is served only by channels that are not in use "
                                         "(%.*s and %u more)",
                                         STR_FMT(c->name), STR_FMT(x->idle[0]->name), x->idle_n - 1)
                               : err_set(c->info, ERR_MODEL_NOT_FOUND,
                                         "no route and no channel serves '%.*s'", STR_FMT(c->name));
    }
    e = find_idle(x);
    if (!e && c->args.json)
        put_json(x);
    else if (!e)
        put_table(x);
    return e;
}

enum err route_explain(struct call *c)
{
    struct explaining x = {.call = c};
    struct model_catalogue *own = NULL;
    char path[4096];
    struct cells *cells = cells_new();
    str_copy(path, sizeof path, c->config.models_file);
    enum err e = cells ? ERR_OK : ERR_NOMEM;
    if (!e && path[0])
        e = model_catalogue_open(&own, path, c->info);
    struct snapshot_source from = {.db = c->ops.db,
                                   .vault = c->ops.vault,
                                   .cells = cells,
                                   .catalogue = own ? own : model_catalogue_builtin()};
    if (!e)
        e = snapshot_build(&from, &x.snapshot, c->info);
    x.ask.catalogue = from.catalogue;
    if (!e) {
        e = explain_all(&x);
        snapshot_unref(&x.snapshot);
    }
    cells_free(&cells);
    model_catalogue_free(&own);
    return e;
}
