/* cmd_usage: lyss usage: the rows of the ledger, newest first, or their totals. */
#include <stdio.h>
#include <unistd.h>

#include "cli/choose.h"
#include "cli/commands.h"
#include "cli/frame.h"
#include "cli/print.h"
#include "core/clock.h"
#include "core/rng.h"
#include "llm/op.h"
#include "llm/price.h"
#include "ops/channel.h"
#include "ops/column.h"
#include "ops/moment.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"
#include "store/repo_usage.h"

struct usage_call {
    struct frame *f;
    struct ops ops;
    struct sql *ledger; /* NULL: there is none yet */
    struct tenant_row tenant;
    struct usage_filter filter;
    size_t limit;
    int64_t before;
    struct channel_row *channels; /* for names */
    size_t n_channels;
    struct key_row *keys;
    size_t n_keys;
};

static const struct option options[] = {
    {"since", "TIME", "from this time on: 24h, 30d, 2027-01-31 or 2027-01-31T12:00:00Z (UTC)"},
    {"until", "TIME", "before this time"},
    {"model", "NAME", "of this model, as callers named it"},
    {"channel", "NAME", "that ended on this channel"},
    {"state", "STATE",
     "that ended so: completed, upstream_error, incomplete, timeout, client_gone, shutdown, limit "
     "or aborted"},
    {"limit", "N", "at most so many rows, up to 1000 (default 20)"},
    {"before", "ID", "rows before the one with this id, for the next page"},
    {"totals", NULL, "sums instead of rows"},
    {"tenant", "SLUG", "whose; not needed where there is one tenant, or one named demo"},
    {0}};

/* ---- what is asked for ------------------------------------------------------ */

/* A span means so long ago. */
static enum err take_time(struct usage_call *u, const char *flag, int64_t *out)
{
    struct str s = args_value(&u->f->args, flag);
    int64_t now = clock_wall_ms(), span;
    if (!s.p)
        return ERR_OK;
    if (moment_span(s, &span)) {
        *out = now > span ? now - span : 0;
        return ERR_OK;
    }
    if (moment_parse(s, now, out))
        return ERR_OK;
    return field_set(&u->f->info, flag, ERR_INVALID,
                     "expected a time ago like 24h or 30d, or a UTC time like 2027-01-31");
}

static enum err take_number(struct usage_call *u, const char *flag, uint64_t lo, uint64_t hi,
                            uint64_t *out)
{
    struct str s = args_value(&u->f->args, flag);
    if (!s.p || (str_u64(s, hi, out) && *out >= lo))
        return ERR_OK;
    return field_set(&u->f->info, flag, ERR_INVALID, "expected a number from %llu to %llu",
                     (unsigned long long)lo, (unsigned long long)hi);
}

static enum err take_channel(struct usage_call *u)
{
    struct str name = args_value(&u->f->args, "channel");
    for (size_t i = 0; name.p && i < u->n_channels; i++)
        if (str_eq(u->channels[i].name, name))
            u->filter.channel_id = u->channels[i].row.id;
    if (name.p && !u->filter.channel_id)
        return field_set(&u->f->info, "channel", ERR_NOT_FOUND, "there is no channel \"%.*s\"",
                         STR_FMT(name));
    return ERR_OK;
}

static enum err take_filter(struct usage_call *u)
{
    uint64_t limit = 20, before = 0;
    struct str state = args_value(&u->f->args, "state");
    u->filter.model = args_value(&u->f->args, "model");
    u->filter.by_state = state.p != NULL;
    enum err e = ERR_OK;
    if (state.p && !ledger_state_parse(state, &u->filter.state))
        e = field_set(&u->f->info, "state", ERR_INVALID, "\"%.*s\" is no state of a request",
                      (int)(state.n < 40 ? state.n : 40), state.p);
    if (!e)
        e = take_time(u, "since", &u->filter.since_ms);
    if (!e)
        e = take_time(u, "until", &u->filter.until_ms);
    if (!e)
        e = take_number(u, "limit", 1, USAGE_LIST_MAX, &limit);
    if (!e)
        e = take_number(u, "before", 1, INT64_MAX, &before);
    u->limit = (size_t)limit;
    u->before = (int64_t)before;
    return e ? e : take_channel(u);
}

/* ---- what is told ----------------------------------------------------------- */

/* The demo channel of `lyss dev` is no row; its id is negative. */
static struct str channel_name(const struct usage_call *u, int64_t id)
{
    if (id < 0)
        return STR("demo");
    for (size_t i = 0; i < u->n_channels; i++)
        if (u->channels[i].row.id == id)
            return u->channels[i].name;
    return STR("");
}

static struct str key_name(const struct usage_call *u, int64_t id)
{
    for (size_t i = 0; i < u->n_keys; i++)
        if (u->keys[i].row.id == id)
            return u->keys[i].name;
    return STR("");
}

static int64_t tokens_in(const struct ledger_counters *c)
{
    return c->in_uncached + c->cache_read + c->cache_write_5m + c->cache_write_1h + c->audio_in;
}

static int64_t tokens_out(const struct ledger_counters *c)
{
    return c->out_text + c->out_reasoning + c->audio_out;
}

static void put_counters(struct json_writer *w, const struct ledger_counters *c)
{
    json_key(w, STR("tokens"));
    json_open_object(w);
#define X(field) json_field_i64(w, #field, c->field);
    LEDGER_COUNTERS(X)
#undef X
    json_close_object(w);
}

static void put_text(struct json_writer *w, const char *name, struct str s)
{
    json_key(w, str_c(name));
    if (s.n)
        json_put_string(w, s);
    else
        json_put_null(w);
}

static void put_duration(struct json_writer *w, const char *name, int64_t us)
{
    json_key(w, str_c(name));
    if (us > 0)
        json_put_double(w, (double)us / 1000);
    else
        json_put_null(w);
}

static const char *op_name(int64_t op)
{
    return op > OP_NONE && op < OP_COUNT ? op_row((enum llm_op)op)->name : "";
}

static void put_row(struct usage_call *u, const struct usage_row *r, struct json_writer *w)
{
    char id[37], iso[25];
    json_open_object(w);
    json_field_i64(w, "id", r->id);
    uuid_format(r->request_id, id);
    json_field_string(w, "request_id", str_c(id));
    clock_iso(r->at_ms, iso);
    json_field_string(w, "at", str_c(iso));
    clock_iso(r->ended_ms, iso);
    json_field_string(w, "ended", str_c(iso));
    json_field_string(w, "op", str_c(op_name(r->op)));
    json_field_bool(w, "stream", r->stream != 0);
    json_field_string(w, "model", r->model);
    put_text(w, "upstream_model", r->upstream_model);
    json_field_i64(w, "channel_id", r->channel_id);
    put_text(w, "channel", channel_name(u, r->channel_id));
    json_field_i64(w, "user_id", r->user_id);
    json_field_i64(w, "key_id", r->key_id);
    put_text(w, "key", key_name(u, r->key_id));
    json_field_i64(w, "route_id", r->route_id);
    json_field_string(w, "state", str_c(ledger_state_name(r->state)));
    json_field_i64(w, "status", r->status);
    put_text(w, "error", r->error);
    json_field_i64(w, "attempts", r->attempts);
    json_field_bool(w, "estimated", r->estimated);
    put_duration(w, "ttft_ms", r->ttft_us);
    put_duration(w, "total_ms", r->total_us);
    put_duration(w, "overhead_ms", r->overhead_us);
    put_counters(w, &r->c);
    json_key(w, STR("cost_usd"));
    if (r->has_cost)
        json_put_double(w, (double)r->cost_nusd / 1e9);
    else
        json_put_null(w);
    json_key(w, STR("cost_nusd"));
    if (r->has_cost)
        json_put_i64(w, r->cost_nusd);
    else
        json_put_null(w);
    char price[24] = "";
    if (r->price_id)
        snprintf(price, sizeof price, "%lld", (long long)r->price_id);
    put_text(w, "price_id", str_c(price));
    json_close_object(w);
}

static void cell_i64(struct table *t, int64_t v, int64_t divide)
{
    char text[24] = "";
    if (v > 0 || divide == 1)
        snprintf(text, sizeof text, "%lld", (long long)((v + divide / 2) / divide));
    table_cell(t, str_c(text));
}

static void put_table(struct usage_call *u, const struct usage_row *rows, size_t n)
{
    static const char *const heads[] = {"id",       "at",      "key",      "model", "channel",
                                        "state",    "status",  "attempts", "in",    "out",
                                        "cost_usd", "ttft_ms", "total_ms"};
    const size_t columns = sizeof heads / sizeof *heads;
    struct table t;
    table_init(&t, columns);
    for (size_t i = 0; i < columns; i++) {
        t.right[i] = i == 0 || i >= 6;
        table_cell(&t, str_c(heads[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const struct usage_row *r = &rows[i];
        char iso[25], cost[32];
        clock_iso(r->at_ms, iso);
        cell_i64(&t, r->id, 1);
        table_cell(&t, str_c(iso));
        table_cell(&t, key_name(u, r->key_id));
        table_cell(&t, r->model);
        table_cell(&t, channel_name(u, r->channel_id));
        table_cell(&t, str_c(ledger_state_name(r->state)));
        cell_i64(&t, r->status, 1);
        cell_i64(&t, r->attempts, 1);
        cell_i64(&t, tokens_in(&r->c), 1);
        cell_i64(&t, tokens_out(&r->c), 1);
        table_cell(&t, r->has_cost ? str_c(price_format_cost(r->cost_nusd, cost)) : STR(""));
        cell_i64(&t, r->ttft_us, 1000);
        cell_i64(&t, r->total_us, 1000);
    }
    table_end(&t, &u->f->out);
}

static enum err put_totals(struct usage_call *u)
{
    struct usage_totals t = {0};
    struct json_writer w;
    enum err e = u->ledger
                     ? repo_usage_totals(u->ledger, u->tenant.row.id, &u->filter, &t, &u->f->info)
                     : ERR_OK;
    if (e)
        return e;
    if (!u->f->args.json) {
        char cost[32];
        buf_printf(&u->f->out,
                   "%lld requests, %lld of them not completed; %lld tokens in, %lld out; %s USD, "
                   "%lld requests unpriced\n",
                   (long long)t.requests, (long long)t.failed, (long long)tokens_in(&t.c),
                   (long long)tokens_out(&t.c), price_format_cost(t.cost_nusd, cost),
                   (long long)t.unpriced);
        return ERR_OK;
    }
    json_writer_init(&w, &u->f->out);
    json_open_object(&w);
    json_field_i64(&w, "requests", t.requests);
    json_field_i64(&w, "failed", t.failed);
    json_field_i64(&w, "estimated", t.estimated);
    json_field_i64(&w, "unpriced", t.unpriced);
    put_counters(&w, &t.c);
    json_key(&w, STR("cost_usd"));
    json_put_double(&w, (double)t.cost_nusd / 1e9);
    json_field_i64(&w, "cost_nusd", t.cost_nusd);
    json_close_object(&w);
    buf_char(&u->f->out, '\n');
    return ERR_OK;
}

static enum err put_rows(struct usage_call *u)
{
    struct usage_row *rows = NULL;
    size_t n = 0;
    struct json_writer w;
    enum err e = ERR_OK;
    if (u->ledger)
        e = repo_usage_list(u->ledger, u->tenant.row.id, &u->filter, u->before, u->limit,
                            &u->f->args.arena, &rows, &n, &u->f->info);
    if (e)
        return e;
    if (!u->f->args.json) {
        put_table(u, rows, n);
        return put_totals(u);
    }
    json_writer_init(&w, &u->f->out);
    json_open_array(&w);
    for (size_t i = 0; i < n; i++)
        put_row(u, &rows[i], &w);
    json_close_array(&w);
    buf_char(&u->f->out, '\n');
    return ERR_OK;
}

/* ---- the way ---------------------------------------------------------------- */

/* The ledger as the server left it; one that was never written is as good as empty. */
static enum err open_ledger(struct usage_call *u)
{
    char path[OPS_PATH_MAX];
    size_t from = 0;
    enum err e = ops_path(&u->f->config, "ledger.db", path, &u->f->info);
    if (e || access(path, F_OK))
        return e;
    e = sql_open(&sql_sqlite, path, SQL_LEDGER, &u->ledger, &u->f->info);
    if (!e)
        e = migrate_plan(u->ledger, &migrations_ledger, &from, &u->f->info);
    if (!e && from < migrations_ledger.n)
        sql_close(&u->ledger);
    return e;
}

static enum err answer(struct usage_call *u)
{
    char path[OPS_PATH_MAX];
    struct err_info *info = &u->f->info;
    struct arena *a = &u->f->args.arena;
    if (u->f->args.n_words)
        return err_set(info, ERR_INVALID, "usage takes no words");
    enum err e = ops_path(&u->f->config, "lyss.db", path, info);
    if (!e && access(path, F_OK))
        e = field_set(info, "data", ERR_NOT_FOUND, "there is no database in %.*s",
                      STR_FMT(u->f->config.data_dir));
    if (!e)
        e = ops_open(&u->ops, &u->f->config, STR("cli"), info);
    if (!e)
        e = choose_tenant(&u->ops, args_value(&u->f->args, "tenant"), a, &u->tenant, info);
    if (!e)
        e = repo_channel_list(u->ops.db, u->tenant.row.id, a, &u->channels, &u->n_channels, info);
    if (!e)
        e = repo_key_list(u->ops.db, u->tenant.row.id, a, &u->keys, &u->n_keys, info);
    if (!e)
        e = take_filter(u);
    if (!e)
        e = open_ledger(u);
    if (!e)
        e = args_has(&u->f->args, "totals") ? put_totals(u) : put_rows(u);
    return e;
}

static enum err run(struct frame *f)
{
    struct usage_call u = {.f = f};
    enum err e = answer(&u);
    if (u.ledger)
        sql_close(&u.ledger);
    ops_close(&u.ops);
    return e;
}

int cmd_usage(int argc, char **argv)
{
    static const struct command command = {
        .name = "usage",
        .usage = "lyss usage: what was asked and what it took, newest first\n\n"
                 "Usage:\n  lyss usage [flags]\n",
        .examples = "  lyss usage --since 24h --state upstream_error\n"
                    "  lyss usage --model gpt-4o --channel main --limit 100 --json\n"
                    "  lyss usage --since 2027-01-01 --totals\n",
        .options = options,
        .run = run,
    };
    return frame_run(&command, argc, argv);
}
