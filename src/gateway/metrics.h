/* metrics: counters of a worker: written by it alone, read by whoever renders /metrics
 * (core/counter.h). */
#ifndef LYSS_GATEWAY_METRICS_H
#define LYSS_GATEWAY_METRICS_H

#include "core/buf.h"
#include "core/histogram.h"
#include "llm/op.h"
#include "store/ledger.h"

struct gateway;

enum { STATUS_CLASSES = 6 }; /* 1xx … 5xx by first digit; 0: none was sent */

struct worker_metrics {
    struct counter requests[OP_COUNT][LEDGER_STATES];
    struct counter statuses[STATUS_CLASSES];
    struct counter refused;        /* before admission */
    struct counter unsent_dropped; /* answers cut short for want of memory */
    struct counter tokens[9];      /* by ledger counter */
    struct counter attempts, retries;
    struct counter accepted;
    struct counter idem_replayed, idem_joined, idem_conflicts, idem_not_stored;
    struct counter hedges, hedges_won;
    struct counter recall_hits, recall_misses;
    struct histogram ttft_us, total_us, overhead_us;
};

/* Prometheus text of the whole process. Any thread. */
void metrics_render(struct gateway *g, struct buf *out);

#endif
