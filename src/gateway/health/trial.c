/* trial: what a worker has (loop, resolver, client, origin), for one channel and for a moment. */
#include "gateway/health/trial.h"

#include "gateway/cells.h"
#include "gateway/snapshot_build.h"
#include "llm/model_catalogue.h"

struct run {
    struct probe probe; /* first */
    struct message finish;
    struct loop *loop;
    struct dns *dns;
    struct dns_hosts *hosts;
    struct guard guard;
    struct http_client client;
    struct http_origin origin;
    struct tls_context *tls;
    struct model_catalogue *own; /* NULL: the built-in one is in force */
    char dns_servers[1024];
    struct channel *channel;
    struct str model;
    unsigned at; /* credential */
    void (*told)(void *arg, int64_t credential_id, const struct probe_result *r);
    void *arg;
};

static void on_finish(struct message *m)
{
    struct run *r = (struct run *)((char *)m - offsetof(struct run, finish));
    http_client_release(&r->client);
    dns_close(&r->dns);
    loop_stop(r->loop);
}

static void on_done(struct probe *p, const struct probe_result *result)
{
    struct run *r = (struct run *)p;
    r->told(r->arg, p->credential ? p->credential->id : 0, result);
    if (++r->at >= r->channel->credentials_n) {
        r->finish.run = on_finish; /* not within the call of whoever has ended */
        loop_post(r->loop, &r->finish);
        return;
    }
    p->credential = &r->channel->credentials[r->at];
    p->model = r->model;
    probe_start(p);
}

static enum err build(const struct trial *t, struct cells *cells, struct run *r,
                      struct err_info *info)
{
    const struct config *c = t->config;
    struct snapshot_source from = {
        .db = t->db,
        .vault = t->vault,
        .cells = cells,
        .connect_ms = (uint32_t)c->connect_timeout_ms,
        .ttft_ms = (uint32_t)c->ttft_timeout_ms,
        .chunk_ms = (uint32_t)c->chunk_timeout_ms,
        .total_ms = (uint32_t)c->total_timeout_ms,
    };
    enum err e = snapshot_channel(&from, t->row, t->provider, &r->channel, info);
    if (!e && r->channel->provider->in_process)
        e = err_set(info, ERR_INVALID, "the demo has no upstream to test");
    if (!e && t->model.n && !channel_serves(r->channel, t->model, &r->model))
        e = err_set(info, ERR_INVALID, "the channel does not serve the model '%.*s'",
                    STR_FMT(t->model));
    return e;
}

static enum err equip(const struct config *c, struct run *r, struct err_info *info)
{
    char text[4096];
    struct channel *ch = r->channel;
    enum err e =
        cidr_list_parse(config_join(&c->upstream_allow, text, sizeof text), &r->guard.allow, info);
    if (e)
        return e;
    r->loop = loop_new("lyss-test");
    r->hosts = dns_hosts_new("/etc/hosts");
    if (!r->loop || !r->hosts)
        return ERR_NOMEM;
    config_join(&c->dns_servers, r->dns_servers, sizeof r->dns_servers);
    struct dns_options o = {.servers = r->dns_servers[0] ? r->dns_servers : NULL,
                            .timeout_ms = (uint32_t)c->dns_timeout_ms,
                            .hosts = r->hosts};
    str_copy(text, sizeof text, c->models_file);
    if (text[0] && (e = model_catalogue_open(&r->own, text, info)))
        return e;
    str_copy(text, sizeof text, c->upstream_ca_file);
    if (ch->url.https)
        e = tls_client_context_new(&r->tls, text[0] ? text : NULL, c->upstream_tls_verify, info);
    if (!e)
        e = dns_new(&r->dns, r->loop, &o, info);
    if (e)
        return e;
    http_client_init(&r->client, r->loop, r->dns, &r->guard, 0);
    r->origin = (struct http_origin){.url = ch->url, .tls = r->tls, .connect_ms = ch->connect_ms};
    return ERR_OK;
}

enum err trial_run(const struct trial *t,
                   void (*told)(void *arg, int64_t credential_id, const struct probe_result *r),
                   void *arg, struct err_info *info)
{
    struct run r = {.told = told, .arg = arg};
    struct cells *cells = cells_new();
    enum err e = cells ? build(t, cells, &r, info) : ERR_NOMEM;
    if (!e)
        e = equip(t->config, &r, info);
    if (!e) {
        r.probe = (struct probe){.loop = r.loop,
                                 .client = &r.client,
                                 .origin = &r.origin,
                                 .channel = r.channel,
                                 .catalogue = r.own ? r.own : model_catalogue_builtin(),
                                 .model = r.model,
                                 .timeout_ms = (uint32_t)t->config->health_timeout_ms,
                                 .done = on_done};
        r.probe.credential = r.channel->credentials_n ? &r.channel->credentials[0] : NULL;
        probe_start(&r.probe);
        loop_run(r.loop);
    }
    if (r.loop)
        loop_free(&r.loop);
    dns_hosts_free(&r.hosts);
    tls_context_unref(&r.tls);
    model_catalogue_free(&r.own);
    channel_unref(&r.channel);
    cells_free(&cells);
    return e;
}
