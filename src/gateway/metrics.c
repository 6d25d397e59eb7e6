/* metrics: the process's numbers in the Prometheus text format. */
#include "gateway/metrics.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics_text.h"
#include "gateway/worker.h"

#define LABEL(n, v)                                                                                \
    {                                                                                              \
        n, v                                                                                       \
    }

static uint64_t sum(const struct gateway *g, size_t offset)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < g->settings.workers; i++)
        n += counter_read(
            (const struct counter *)(const void *)((const char *)&g->workers[i]->metrics + offset));
    return n;
}

#define SUM(g, member) sum((g), offsetof(struct worker_metrics, member))

static void put_requests(struct gateway *g, struct buf *b)
{
    metrics_text_family(b, "lyss_requests_total", "counter",
                        "Requests that ended, by operation and terminal state.");
    for (int op = OP_NONE + 1; op < OP_COUNT; op++)
        for (int s = 0; s < LEDGER_STATES; s++) {
            uint64_t n = SUM(g, requests[op][s]);
            struct metrics_label l[] = {LABEL("op", str_c(op_row(op)->name)),
                                        LABEL("state", str_c(ledger_state_name(s)))};
            if (n || s == LEDGER_COMPLETED)
                metrics_text_u64(b, "lyss_requests_total", l, 2, n);
        }
    metrics_text_family(b, "lyss_replies_total", "counter",
                        "Replies by first digit of the status.");
    for (int i = 1; i < STATUS_CLASSES; i++) {
        char digit = (char)('0' + i);
        struct metrics_label l[] = {LABEL("class", str_make(&digit, 1))};
        metrics_text_u64(b, "lyss_replies_total", l, 1, SUM(g, statuses[i]));
    }
    metrics_text_family(b, "lyss_refused_total", "counter", "Requests refused before admission.");
    metrics_text_u64(b, "lyss_refused_total", NULL, 0, SUM(g, refused));
    metrics_text_family(b, "lyss_attempts_total", "counter", "Calls to upstreams.");
    metrics_text_u64(b, "lyss_attempts_total", NULL, 0, SUM(g, attempts));
    metrics_text_family(b, "lyss_retries_total", "counter", "Calls that followed a failed one.");
    metrics_text_u64(b, "lyss_retries_total", NULL, 0, SUM(g, retries));
    metrics_text_family(b, "lyss_hedges_total", "counter", "Calls beside one that was slow.");
    metrics_text_u64(b, "lyss_hedges_total", NULL, 0, SUM(g, hedges));
    metrics_text_family(b, "lyss_hedges_won_total", "counter", "Those that were first.");
    metrics_text_u64(b, "lyss_hedges_won_total", NULL, 0, SUM(g, hedges_won));
}

static void put_idempotency(struct gateway *g, struct buf *b)
{
    static const struct {
        const char *result;
        size_t offset;
    } rows[] = {
        {"replayed", offsetof(struct worker_metrics, idem_replayed)},
        {"joined", offsetof(struct worker_metrics, idem_joined)},
        {"conflict", offsetof(struct worker_metrics, idem_conflicts)},
        {"not_stored", offsetof(struct worker_metrics, idem_not_stored)},
    };
    metrics_text_family(b, "lyss_idempotency_total", "counter",
                        "Requests with an Idempotency-Key that made no call, or whose answer could "
                        "not be kept.");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metrics_label l[] = {LABEL("result", str_c(rows[i].result))};
        metrics_text_u64(b, "lyss_idempotency_total", l, 1, sum(g, rows[i].offset));
    }
    metrics_text_family(b, "lyss_idempotency_bytes", "gauge", "Memory of answers that are kept.");
    metrics_text_u64(b, "lyss_idempotency_bytes", NULL, 0, atomic_load(&g->idem_budget.used_bytes));
}

static void put_recall(struct gateway *g, struct buf *b)
{
    struct metrics_label hit = LABEL("result", STR("hit")), miss = LABEL("result", STR("miss"));
    metrics_text_family(b, "lyss_recall_total", "counter",
                        "What requests needed of earlier answers.");
    metrics_text_u64(b, "lyss_recall_total", &hit, 1, SUM(g, recall_hits));
    metrics_text_u64(b, "lyss_recall_total", &miss, 1, SUM(g, recall_misses));
    metrics_text_family(b, "lyss_recall_bytes", "gauge", "Memory of what is remembered.");
    metrics_text_u64(b, "lyss_recall_bytes", NULL, 0, atomic_load(&g->recall_budget.used_bytes));
}

static void put_tokens(struct gateway *g, struct buf *b)
{
    static const char *const names[] = {
#define X(field) #field,
        LEDGER_COUNTERS(X)
#undef X
    };
    metrics_text_family(b, "lyss_tokens_total", "counter",
                        "Tokens by counter; no token is in two.");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct metrics_label l[] = {LABEL("counter", str_c(names[i]))};
        metrics_text_u64(b, "lyss_tokens_total", l, 1, SUM(g, tokens[i]));
    }
}

static void put_times(struct gateway *g, struct buf *b)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"lyss_ttft_seconds", "Time to the first token.", offsetof(struct worker_metrics, ttft_us)},
        {"lyss_request_seconds", "Whole time of a request.",
         offsetof(struct worker_metrics, total_us)},
        {"lyss_overhead_seconds", "Time spent in Lyss itself.",
         offsetof(struct worker_metrics, overhead_us)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct histogram h = {0};
        for (unsigned w = 0; w < g->settings.workers; w++)
            histogram_merge(
                &h, (const struct histogram *)(const void *)((const char *)&g->workers[w]->metrics +
                                                             rows[i].offset));
        metrics_text_family(b, rows[i].name, "histogram", rows[i].help);
        metrics_text_seconds(b, rows[i].name, NULL, 0, &h);
    }
}

struct channel_pass {
    struct buf *b;
    const char *name;
    size_t offset;
};

static void put_channel(struct channel_cell *cell, void *ctx)
{
    struct channel_pass *p = ctx;
    struct metrics_label l[] = {LABEL("channel", str_c(cell->name))};
    if (p->offset == offsetof(struct channel_cell, vitals.in_flight)) {
        metrics_text_i64(p->b, p->name, l, 1, vitals_in_flight(&cell->vitals));
        return;
    }
    const _Atomic uint64_t *v = (const void *)((const char *)cell + p->offset);
    metrics_text_u64(p->b, p->name, l, 1, atomic_load(v));
}

/* Of channels that are to be used; unknown counts as healthy. */
static void put_health(struct channel_cell *cell, void *ctx)
{
    static const double values[] = {0, 1, 1, 0.5, 0};
    struct channel_pass *p = ctx;
    struct metrics_label l[] = {LABEL("channel", str_c(cell->name))};
    uint32_t h = atomic_load(&cell->health);
    if (h != HEALTH_NONE)
        metrics_text_f64(p->b, p->name, l, 1, values[h]);
}

static void put_success(struct channel_cell *cell, void *ctx)
{
    struct channel_pass *p = ctx;
    struct metrics_label l[] = {LABEL("channel", str_c(cell->name))};
    metrics_text_f64(p->b, p->name, l, 1, vitals_success(&cell->vitals, clock_mono_ms()));
}

static void put_changes(struct channel_cell *cell, void *ctx)
{
    struct channel_pass *p = ctx;
    for (int i = 0; i < 3; i++) {
        struct metrics_label l[] = {
            LABEL("channel", str_c(cell->name)),
            LABEL("state", str_c(breaker_state_name((enum breaker_state)i)))};
        metrics_text_u64(p->b, p->name, l, 2, atomic_load(&cell->gate.changes[i]));
    }
}

static void put_channel_times(struct channel_cell *cell, void *ctx)
{
    struct channel_pass *p = ctx;
    health_times_render(p->b, p->name, str_c(cell->name),
                        (const void *)((const char *)cell + p->offset));
}

static void put_channels(struct gateway *g, struct buf *b)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } rows[] = {
        {"lyss_channel_in_flight", "gauge", "Calls under way.",
         offsetof(struct channel_cell, vitals.in_flight)},
        {"lyss_channel_requests_total", "counter", "Requests that a channel ended.",
         offsetof(struct channel_cell, requests)},
        {"lyss_channel_errors_total", "counter", "Calls that failed.",
         offsetof(struct channel_cell, errors)},
        {"lyss_channel_input_tokens_total", "counter", "Uncached input tokens.",
         offsetof(struct channel_cell, in_tokens)},
        {"lyss_channel_output_tokens_total", "counter", "Output text tokens.",
         offsetof(struct channel_cell, out_tokens)},
        {"lyss_channel_breakers_open", "gauge", "Breakers that are not closed.",
         offsetof(struct channel_cell, gate.open)},
        {"lyss_channel_upstream_connections", "gauge",
         "Open connections; of channels with one address, with the first that used it.",
         offsetof(struct channel_cell, upstream_open)},
    };
    static const struct {
        const char *name, *type, *help;
        size_t offset;
        void (*put)(struct channel_cell *cell, void *pass);
    } others[] = {
        {"lyss_channel_health", "gauge", "1 healthy or unknown, 0.5 degraded, 0 unhealthy.", 0,
         put_health},
        {"lyss_channel_success_ratio", "gauge", "Share of late calls that succeeded.", 0,
         put_success},
        {"lyss_breaker_changes_total", "counter", "Breakers that went to this state.", 0,
         put_changes},
        {"lyss_channel_ttft_seconds", "histogram", "Time to the first token.",
         offsetof(struct channel_cell, ttft), put_channel_times},
        {"lyss_channel_call_seconds", "histogram", "Whole time of a call that succeeded.",
         offsetof(struct channel_cell, total), put_channel_times},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct channel_pass p = {b, rows[i].name, rows[i].offset};
        metrics_text_family(b, rows[i].name, rows[i].type, rows[i].help);
        cells_each_channel(g->cells, put_channel, &p);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct channel_pass p = {b, others[i].name, others[i].offset};
        metrics_text_family(b, others[i].name, others[i].type, others[i].help);
        cells_each_channel(g->cells, others[i].put, &p);
    }
}

static void put_process(struct gateway *g, struct buf *b)
{
    uint64_t connections = 0, bodies = 0, unsent = 0;
    for (unsigned i = 0; i < g->settings.workers; i++) {
        connections += atomic_load(&g->workers[i]->connections);
        bodies += atomic_load(&g->workers[i]->body_bytes);
        unsent += atomic_load(&g->workers[i]->unsent_bytes);
    }
    metrics_text_family(b, "lyss_connections", "gauge", "Open inbound connections.");
    metrics_text_u64(b, "lyss_connections", NULL, 0, connections);
    metrics_text_family(b, "lyss_connections_accepted_total", "counter", "Inbound connections.");
    metrics_text_u64(b, "lyss_connections_accepted_total", NULL, 0, SUM(g, accepted));
    metrics_text_family(b, "lyss_upstream_connections", "gauge", "Open upstream connections.");
    metrics_text_i64(b, "lyss_upstream_connections", NULL, 0, atomic_load(&g->upstream_open));
    metrics_text_family(b, "lyss_upstream_connects_total", "counter",
                        "Upstream connections that were made.");
    metrics_text_i64(b, "lyss_upstream_connects_total", NULL, 0,
                     atomic_load(&g->upstream_connects));
    metrics_text_family(b, "lyss_large_body_bytes", "gauge",
                        "Memory of requests with bodies over 64 KiB, and of answers held.");
    metrics_text_u64(b, "lyss_large_body_bytes", NULL, 0, bodies);
    metrics_text_family(b, "lyss_unsent_bytes", "gauge",
                        "Answers that callers have not taken, beyond 64 KiB each.");
    metrics_text_u64(b, "lyss_unsent_bytes", NULL, 0, unsent);
    metrics_text_family(b, "lyss_unsent_dropped_total", "counter",
                        "Answers cut short since all of memory_budget was taken.");
    metrics_text_u64(b, "lyss_unsent_dropped_total", NULL, 0, SUM(g, unsent_dropped));
    struct journal_stats s;
    journal_stats(g->journal, &s);
    metrics_text_family(b, "lyss_journal_pending_records", "gauge",
                        "Ledger records that are not in the database yet.");
    metrics_text_u64(b, "lyss_journal_pending_records", NULL, 0, s.pending);
    metrics_text_family(b, "lyss_journal_unrecorded_total", "counter",
                        "Requests let pass by a full journal.");
    metrics_text_u64(b, "lyss_journal_unrecorded_total", NULL, 0, s.unrecorded);
    metrics_text_family(b, "lyss_log_dropped_total", "counter", "Log lines lost.");
    metrics_text_u64(b, "lyss_log_dropped_total", NULL, 0, log_dropped());
    metrics_text_family(b, "lyss_loop_stall_seconds", "gauge",
                        "Longest turn of a worker's loop since the last scrape.");
    for (unsigned i = 0; i < g->settings.workers; i++) {
        struct loop *l = g->workers[i]->loop;
        struct metrics_label name[] = {LABEL("worker", str_c(loop_name(l)))};
        metrics_text_f64(b, "lyss_loop_stall_seconds", name, 1,
                         (double)loop_stall_max_ms(l) / 1000);
    }
}

void metrics_render(struct gateway *g, struct buf *out)
{
    put_requests(g, out);
    put_idempotency(g, out);
    put_recall(g, out);
    put_tokens(g, out);
    put_times(g, out);
    put_channels(g, out);
    put_process(g, out);
}
