/* rules: settings as an operator writes them made into what a worker looks at. */
#include "gateway/rules.h"

#include "core/alloc.h"
#include "gateway/channel.h"

static void take_settings(struct gateway_settings *s, const struct config *c)
{
    static const char *const environments[] = {"development", "staging", "production"};
    *s = (struct gateway_settings){
        .workers = config_workers(c),
        .max_body_bytes = (uint64_t)c->max_body_bytes,
        .max_held_bytes = (uint64_t)c->max_held_response_bytes,
        .memory_budget_bytes = (uint64_t)config_memory_budget_bytes(c),
        .head_ms = (uint32_t)c->head_timeout_ms,
        .idle_ms = (uint32_t)c->keepalive_idle_ms,
        .body_stall_ms = (uint32_t)c->body_stall_ms,
        .body_min_bytes_per_s = (uint32_t)c->body_min_bytes_per_s,
        .write_stall_ms = (uint32_t)c->write_stall_ms,
        .linger_ms = (uint32_t)c->linger_ms,
        .dns_ms = (uint32_t)c->dns_timeout_ms,
        .connect_ms = (uint32_t)c->connect_timeout_ms,
        .ttft_ms = (uint32_t)c->ttft_timeout_ms,
        .chunk_ms = (uint32_t)c->chunk_timeout_ms,
        .total_ms = (uint32_t)c->total_timeout_ms,
        .ping_ms = (uint32_t)c->ping_ms,
        .pool_idle_ms = (uint32_t)c->pool_idle_ms,
        .upstream_warm = (uint32_t)c->upstream_warm,
        .sync_always = c->journal_sync == CONFIG_JOURNAL_SYNC_ALWAYS,
        .attempts_max = (uint32_t)c->attempts_max,
        .retry_wall_ms = (uint32_t)c->retry_wall_ms,
        .retry_backoff_ms = (uint32_t)c->retry_backoff_ms,
        .idempotency_ms = (uint32_t)c->idempotency_ms,
        .recall_ms = (uint32_t)c->recall_ms,
        .health_interval_ms = (uint32_t)c->health_interval_ms,
        .health_timeout_ms = (uint32_t)c->health_timeout_ms,
        .drain_ms = (uint32_t)c->drain_timeout_ms,
        .stop_ms = (uint32_t)c->stop_timeout_ms,
        .reserve_output_default = (uint32_t)c->reserve_output_default,
        .log_requests = c->log_requests == LOG_REQUESTS_ALL,
        .log_errors = c->log_requests == LOG_REQUESTS_ERRORS,
        .environment = environments[c->environment],
    };
    if (s->workers > WORKERS_MAX)
        s->workers = WORKERS_MAX;
}

static enum err take_networks(const struct config_list *list, struct cidr_list *out,
                              struct err_info *info)
{
    char text[4096];
    return cidr_list_parse(config_join(list, text, sizeof text), out, info);
}

static enum err fill(struct rules *r, struct err_info *info)
{
    const struct config *c = &r->config;
    take_settings(&r->settings, c);
    r->browser = (struct browser_rules){.hosts = c->trusted_hosts.items,
                                        .hosts_n = c->trusted_hosts.n,
                                        .origins = c->cors_origins.items,
                                        .origins_n = c->cors_origins.n,
                                        .any_localhost = c->environment == ENVIRONMENT_DEVELOPMENT};
    enum err e = take_networks(&c->upstream_allow, &r->guard.allow, info);
    if (!e)
        e = take_networks(&c->metrics_allow, &r->metrics_allow, info);
    if (!e && c->tls_cert_file.n)
        e = tls_server_context_new(&r->server_tls, c->tls_cert_file.p, c->tls_key_file.p, info);
    return e;
}

enum err rules_new(struct rules **out, struct config *config, struct err_info *info)
{
    struct rules *r = mem_zalloc(sizeof *r);
    *out = NULL;
    if (!r) {
        config_release(config);
        return ERR_NOMEM;
    }
    atomic_init(&r->refs, 1);
    r->config = *config;
    *config = (struct config){0};
    enum err e = fill(r, info);
    if (e)
        rules_unref(&r);
    *out = r;
    return e;
}

struct rules *rules_ref(struct rules *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void rules_unref(struct rules **rp)
{
    struct rules *r = *rp;
    *rp = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    tls_context_unref(&r->server_tls);
    config_release(&r->config);
    mem_free(r);
}
