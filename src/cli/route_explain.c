/* route_explain: lyss route explain: asks the serving process, which knows the live state; where
 * none serves, the configuration is made into a snapshot as the server makes it, and each candidate
 * put before the filter that serves requests. */
#include "cli/route_explain.h"

#include <stdio.h>
#include <time.h>

#include "cli/print.h"
#include "core/clock.h"
#include "core/json_read.h"
#include "gateway/choose/explain_form.h"
#include "gateway/local/local_client.h"
#include "gateway/snapshot_build.h"
#include "llm/model_catalogue.h"
#include "llm/wire_openai_request.h"
#include "ops/channel.h"
#include "ops/key.h"
#include "ops/route.h"
#include "store/repo_meta.h"

#define QUERY_MAX     (64 << 10)
#define CATCH_UP_MS   2000 /* a change is served within a second */
#define LOOK_AGAIN_MS 50

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
    struct explain_query query;
    struct buf answer;   /* explain_form.h */
    struct json_doc doc; /* of it; nothing else is parsed while it is read */
    bool live;           /* the serving process has answered */
    char why_not[600];   /* it has not */
    int64_t rev;         /* of the configuration that the database holds */
    struct str route, algorithm;
    int64_t route_id;
    uint32_t candidates;
    /* Channels of the route that are not to be used at all. */
    const struct channel_row *idle[CANDIDATES_MAX];
    unsigned idle_n;
};

static enum err find_key(struct explaining *x, struct str name)
{
    struct call *c = x->call;
    struct key_row row;
    enum err e = ops_key_find(&c->ops, c->tenant, name, &c->args.arena, &row, c->info);
    if (e)
        return e;
    if (row.digest.n != sizeof x->query.digest)
        return err_set(c->info, ERR_CORRUPT, "the digest of the key has another length");
    memcpy(x->query.digest, row.digest.p, row.digest.n);
    x->query.by_key = true;
    return ERR_OK;
}

static enum err take_query(struct explaining *x)
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
    struct str key = args_value(a, "key");
    uint64_t n = 0;
    x->query.tenant_id = x->call->tenant;
    x->query.model = x->call->name;
    x->query.op = op.n ? op_find(op) : OP_CHAT;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (args_has(a, needs[i].flag))
            x->query.needs |= needs[i].need;
    if (x->query.op == OP_NONE)
        return err_set(x->call->info, ERR_INVALID, "--op: there is no operation '%.*s'",
                       STR_FMT(op));
    if (tokens.n && !str_u64(tokens, UINT32_MAX, &n))
        return err_set(x->call->info, ERR_INVALID, "--tokens: expected a number");
    x->query.estimate_in = (uint32_t)n;
    return key.n ? find_key(x, key) : ERR_OK;
}

/* ---- who answers ----------------------------------------------------------------------------- */

/* INT64_MAX: unknown. */
static int64_t served_rev(const struct explaining *x)
{
    int64_t rev = INT64_MAX;
    (void)!json_i64(&x->doc, json_get(&x->doc, json_root(&x->doc), STR("rev")), &rev);
    return rev;
}

/* Until it serves what the command line has just written. */
static enum err ask_server(struct explaining *x, int *status, struct err_info *info)
{
    struct call *c = x->call;
    char dir[4096];
    struct buf query;
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};
    str_copy(dir, sizeof dir, c->config.data_dir);
    buf_init(&query, QUERY_MAX);
    explain_query_put(&x->query, &query);
    enum err e = buf_failed(&query) ? ERR_NOMEM : repo_meta_config_rev(c->ops.db, &x->rev, info);
    for (int left_ms = CATCH_UP_MS; !e; left_ms -= LOOK_AGAIN_MS) {
        buf_reset(&x->answer);
        e = local_ask(dir, "/explain", buf_view(&query), status, &x->answer, info);
        if (!e && (json_parse(&x->doc, buf_view(&x->answer), NULL) ||
                   (*status != 200 && *status != 400 && *status != 404)))
            e = err_set(info, ERR_INTERNAL, "it answers with status %d", *status);
        if (e || left_ms <= 0 || served_rev(x) >= x->rev)
            break;
        nanosleep(&pause, NULL);
    }
    buf_release(&query);
    return e;
}

/* What it says is what holds, also where that is an error. */
static enum err take_error(struct explaining *x, int status)
{
    struct call *c = x->call;
    struct str text = STR_NULL;
    uint32_t root = json_root(&x->doc);
    enum err e = status == 404 ? ERR_MODEL_NOT_FOUND : status == 400 ? ERR_INVALID : ERR_INTERNAL;
    (void)!json_string(&x->doc, json_get(&x->doc, root, STR("error")), &c->args.arena, &text);
    return err_set(c->info, e, "%.*s", STR_FMT(text));
}

static enum err from_configuration(struct explaining *x)
{
    struct call *c = x->call;
    struct model_catalogue *own = NULL;
    struct snapshot *snapshot = NULL;
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
        e = snapshot_build(&from, &snapshot, c->info);
    buf_reset(&x->answer);
    if (!e)
        e = explain_answer(snapshot, from.catalogue, &x->query, clock_mono_ms(), &x->answer,
                           c->info);
    if (snapshot)
        snapshot_unref(&snapshot);
    cells_free(&cells);
    model_catalogue_free(&own);
    return e;
}

static enum err get_answer(struct explaining *x)
{
    struct err_info info;
    int status = 0;
    err_info_init(&info);
    enum err e = ask_server(x, &status, &info);
    x->live = !e;
    if (e == ERR_NOT_FOUND)
        snprintf(x->why_not, sizeof x->why_not, "no server runs on this data directory");
    else if (e)
        snprintf(x->why_not, sizeof x->why_not, "the server cannot be asked (%s)",
                 info.text[0] ? info.text : err_text(e));
    if (x->live)
        return status == 200 ? ERR_OK : take_error(x, status);
    e = from_configuration(x);
    return e ? e : json_parse(&x->doc, buf_view(&x->answer), x->call->info);
}

/* ---- what the answer leaves out -------------------------------------------------------------- */

static bool serves(const struct channel_row *row, struct str model)
{
    for (size_t i = 0; i < row->n_models; i++)
        if (str_glob(row->models[i].pattern, model))
            return true;
    return false;
}

static bool in_use(const struct explaining *x, int64_t id)
{
    int64_t one;
    uint32_t all = json_get(&x->doc, json_root(&x->doc), STR("in_use"));
    for (uint32_t i = json_child(&x->doc, all); i != JSON_NONE; i = json_sibling(&x->doc, all, i))
        if (json_i64(&x->doc, i, &one) && one == id)
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
    if (x->route_id &&
        ops_route_find(&c->ops, c->tenant, x->route, &c->args.arena, &route, c->info))
        route.n_candidates = 0; /* an alias */
    enum err e = ops_channel_list(&c->ops, c->tenant, &c->args.arena, &rows, &n, c->info);
    for (size_t i = 0; i < n && !e && x->idle_n < CANDIDATES_MAX; i++) {
        bool named = !x->route_id && serves(&rows[i], c->name);
        for (size_t k = 0; k < route.n_candidates; k++)
            named |= route.candidates[k].channel_id == rows[i].row.id;
        if (named && !in_use(x, rows[i].row.id))
            x->idle[x->idle_n++] = &rows[i];
    }
    return e;
}

/* ---- saying it ------------------------------------------------------------------------------- */

static struct str text_of(struct explaining *x, uint32_t object, struct str name)
{
    struct str out = STR_NULL;
    (void)!json_string(&x->doc, json_get(&x->doc, object, name), &x->call->args.arena, &out);
    return out;
}

static void read_answer(struct explaining *x)
{
    uint32_t root = json_root(&x->doc);
    x->route = text_of(x, root, STR("route"));
    x->algorithm = text_of(x, root, STR("algorithm"));
    (void)!json_i64(&x->doc, json_get(&x->doc, root, STR("route_id")), &x->route_id);
    x->candidates = json_get(&x->doc, root, STR("candidates"));
}

static void put_json(struct explaining *x)
{
    struct json_writer w;
    struct buf *out = &x->call->out;
    const struct json_doc *d = &x->doc;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "model", x->call->name);
    json_field_string(&w, "route", x->route);
    json_field_string(&w, "algorithm", x->algorithm);
    json_field_bool(&w, "live", x->live);
    if (!x->live)
        json_field_string(&w, "not_live_because", str_c(x->why_not));
    json_field_i64(&w, "rev", served_rev(x));
    json_field_i64(&w, "config_rev", x->rev);
    json_key(&w, STR("candidates"));
    json_open_array(&w);
    for (uint32_t i = json_child(d, x->candidates); i != JSON_NONE;
         i = json_sibling(d, x->candidates, i))
        json_put_raw(&w, json_raw(d, i));
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

static void put_note(struct explaining *x)
{
    struct buf *out = &x->call->out;
    int64_t rev = served_rev(x);
    if (!x->live)
        buf_printf(out,
                   "\nNot live: %s. Breakers, cooling, caps and upstream limits are not known "
                   "here.\n",
                   x->why_not);
    else
        buf_printf(out, "\nLive: the word of the server that runs, at revision %lld.\n",
                   (long long)rev);
    if (rev < x->rev)
        buf_printf(out,
                   "It has not taken up revision %lld of the configuration; its log says why "
                   "(config.refused).\n",
                   (long long)x->rev);
}

static void put_table(struct explaining *x)
{
    static const char *const fields[] = {"channel", "upstream_model", "priority", "weight", "text"};
    static const char *const heads[] = {"channel", "upstream model", "priority", "weight", "why"};
    struct table t;
    struct buf *out = &x->call->out;
    char text[64];
    buf_printf(out, "%.*s: %s, %.*s\n\n", STR_FMT(x->call->name),
               x->route_id ? "a route" : "no route: every channel that serves it",
               STR_FMT(x->algorithm));
    table_init(&t, 5);
    t.right[2] = t.right[3] = true;
    for (size_t i = 0; i < 5; i++)
        table_cell(&t, str_c(heads[i]));
    for (uint32_t i = json_child(&x->doc, x->candidates); i != JSON_NONE;
         i = json_sibling(&x->doc, x->candidates, i))
        for (size_t k = 0; k < 5; k++)
            table_cell(&t, t.right[k] ? json_raw(&x->doc, json_get(&x->doc, i, str_c(fields[k])))
                                      : text_of(x, i, str_c(fields[k])));
    for (unsigned i = 0; i < x->idle_n; i++) {
        table_cell(&t, x->idle[i]->name);
        for (int k = 0; k < 3; k++)
            table_cell(&t, STR_NULL);
        snprintf(text, sizeof text, "not in use (%.*s)", STR_FMT(x->idle[i]->status));
        table_cell(&t, str_c(text));
    }
    table_end(&t, out);
    put_note(x);
}

static enum err explain_all(struct explaining *x)
{
    struct call *c = x->call;
    enum err e = take_query(x);
    if (!e)
        e = get_answer(x);
    if (e == ERR_MODEL_NOT_FOUND) {
        x->doc.n = 0;
        e = find_idle(x);
        return e               ? e
               : x->idle_n > 0 ? err_set(c->info, ERR_MODEL_NOT_FOUND,
                                         "'%.*s' is served only by channels that are not in use "
                                         "(%.*s and %u more)",
                                         STR_FMT(c->name), STR_FMT(x->idle[0]->name), x->idle_n - 1)
                               : ERR_MODEL_NOT_FOUND;
    }
    if (e)
        return e;
    read_answer(x);
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
    buf_init(&x.answer, PRINT_BYTES_MAX);
    enum err e = explain_all(&x);
    buf_release(&x.answer);
    return e;
}
