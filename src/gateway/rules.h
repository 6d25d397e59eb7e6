/* rules: what the data plane goes by: the settings of the process in the form in which it reads
 * them.
 *
 * Made at start and by each reload, on a thread that may wait (it reads certificates); then
 * immutable, counted by reference, any thread. */
#ifndef LYSS_GATEWAY_RULES_H
#define LYSS_GATEWAY_RULES_H

#include <stdatomic.h>

#include "core/config.h"
#include "gateway/browser.h"
#include "net/guard.h"
#include "net/tls.h"

struct gateway_settings {
    unsigned workers;
    uint64_t max_body_bytes, max_held_bytes, memory_budget_bytes;
    uint32_t head_ms, idle_ms, body_stall_ms, body_min_bytes_per_s, write_stall_ms, linger_ms;
    uint32_t dns_ms, connect_ms, ttft_ms, chunk_ms, total_ms, ping_ms, pool_idle_ms;
    uint32_t upstream_warm;
    bool sync_always;
    uint32_t attempts_max, retry_wall_ms, retry_backoff_ms, drain_ms, stop_ms;
    uint32_t health_interval_ms, health_timeout_ms; /* interval 0: no checks */
    uint32_t reserve_output_default;
    bool log_requests, log_errors;      /* a line for each request, or for each failed one */
    uint32_t idempotency_ms, recall_ms; /* what is kept is kept so long */
    bool demo;                          /* the built-in demo upstream is to be had */
    const char *environment;
};

struct rules {
    _Atomic unsigned refs;
    struct config config; /* browser lends from it */
    struct gateway_settings settings;
    struct guard guard; /* for upstreams */
    struct cidr_list metrics_allow;
    struct browser_rules browser;
    struct tls_context *server_tls; /* NULL: plain HTTP */
};

/* Takes the config (also on failure, when it is released). ERR_INVALID and info: which setting or
 * file is wrong, and how. */
enum err rules_new(struct rules **out, struct config *config, struct err_info *info) MUST_CHECK;
struct rules *rules_ref(struct rules *r);
void rules_unref(struct rules **r);

#endif
