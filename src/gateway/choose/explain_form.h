/* explain_form: the question where a request would go and its answer, as JSON.
 *
 * Whoever has a snapshot answers: the serving process (gateway/local), whose cells hold the live
 * state, or a command that has built one of the configuration alone.  Any thread that the snapshot
 * may be read on. */
#ifndef LYSS_GATEWAY_EXPLAIN_FORM_H
#define LYSS_GATEWAY_EXPLAIN_FORM_H

#include "core/buf.h"
#include "gateway/choose/explain.h"

struct explain_query {
    int64_t tenant_id;
    struct str model;
    bool by_key; /* else it is one that may use everything */
    uint8_t digest[32];
    enum llm_op op;
    unsigned needs;       /* NEED_TOOLS, _VISION, _JSON_SCHEMA, _THINKING */
    uint32_t estimate_in; /* tokens */
};

void explain_query_put(const struct explain_query *q, struct buf *out);
/* Strictly: a member that is missing, unknown or twice is ERR_INVALID. Strings lie in the text or
 * in the arena. ERR_BAD_JSON, ERR_NOMEM. */
enum err explain_query_get(struct explain_query *q, struct str text, struct arena *a,
                           struct err_info *info) MUST_CHECK;

/* Appends
 * {"rev", "route_id", "route", "algorithm", "in_use": [ids of the tenant's channels that are],
 *  "candidates": [{"channel", "channel_id", "upstream_model", "priority", "weight", "eligible",
 *                  "first", "reason", "text", "wait_ms", "credentials": [{"id", "reason",
 *                  "wait_ms"}]}]}
 * wait_ms: when it may be asked again, 0: unknown, or now. On failure nothing is appended:
 * ERR_NOT_FOUND (tenant), ERR_MODEL_NOT_FOUND, ERR_INVALID (key). */
enum err explain_answer(const struct snapshot *s, const struct model_catalogue *catalogue,
                        const struct explain_query *q, uint64_t now_ms, struct buf *out,
                        struct err_info *info) MUST_CHECK;

#endif
