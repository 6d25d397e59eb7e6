/* channel_test: lyss channel test: what the upstream says to a probe, and how to mend it. */
#include "cli/channel_test.h"

#include <stdio.h>

#include "gateway/health/trial.h"
#include "ops/channel.h"
#include "ops/provider.h"

const struct option channel_test_options[] = {
    {"model", "NAME", "ask for one token of this model rather than for the list of models"}, {0}};

struct output {
    struct call *call;
    const struct channel_row *row;
    struct json_writer json;
    unsigned good, bad;
};

static void put_json(struct output *o, int64_t credential_id, const struct probe_result *r)
{
    struct json_writer *w = &o->json;
    bool good = probe_good(r->kind);
    json_open_object(w);
    json_field_i64(w, "credential", credential_id);
    json_field_string(w, "result", str_c(probe_key(r->kind)));
    json_field_string(w, "failure", str_c(probe_failure(r->kind)));
    json_field_string(w, "text", str_c(probe_what(r->kind)));
    json_field_string(w, "mend", str_c(probe_mend(r->kind)));
    json_field_string(w, "upstream_says", str_c(good ? "" : r->fault.message));
    json_field_i64(w, "status", r->status);
    json_field_i64(w, "ms", r->ms);
    json_field_string(w, "by", r->by_call ? STR("token") : STR("models"));
    json_close_object(w);
}

static void put_text(struct output *o, int64_t credential_id, const struct probe_result *r)
{
    struct buf *b = &o->call->out;
    buf_printf(b, "channel \"%.*s\"", STR_FMT(o->row->name));
    if (credential_id)
        buf_printf(b, ", credential %lld", (long long)credential_id);
    buf_printf(b, ": %s (%s", probe_what(r->kind), probe_key(r->kind));
    if (r->status)
        buf_printf(b, ", status %d", r->status);
    buf_printf(b, ", %u ms)\n", r->ms);
    if (!probe_good(r->kind) && r->fault.message[0])
        buf_printf(b, "      it says: %s\n", r->fault.message);
    if (probe_mend(r->kind)[0])
        buf_printf(b, "      %s\n", probe_mend(r->kind));
}

static void told(void *arg, int64_t credential_id, const struct probe_result *r)
{
    struct output *o = arg;
    if (probe_good(r->kind))
        o->good++;
    else
        o->bad++;
    if (o->call->args.json)
        put_json(o, credential_id, r);
    else
        put_text(o, credential_id, r);
}

enum err channel_test(struct call *c)
{
    struct channel_row row;
    struct provider_row provider;
    struct output o = {.call = c, .row = &row};
    enum err e = ops_channel_find(&c->ops, c->tenant, c->name, &c->args.arena, &row, c->info);
    if (!e)
        e = ops_provider_find(&c->ops, row.provider, &c->args.arena, &provider, c->info);
    if (e)
        return e;
    struct trial t = {.config = &c->config,
                      .db = c->ops.db,
                      .vault = c->ops.vault,
                      .row = &row,
                      .provider = &provider,
                      .model = args_value(&c->args, "model")};
    json_writer_init(&o.json, &c->out);
    if (c->args.json) {
        json_open_object(&o.json);
        json_field_string(&o.json, "channel", row.name);
        json_key(&o.json, STR("results"));
        json_open_array(&o.json);
    }
    e = trial_run(&t, told, &o, c->info);
    if (c->args.json) {
        json_close_array(&o.json);
        json_key(&o.json, STR("ok"));
        json_put_bool(&o.json, !o.bad);
        json_close_object(&o.json);
        buf_char(&c->out, '\n');
    }
    c->status = o.bad > 0;
    return e;
}
