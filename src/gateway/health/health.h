/* health: how each channel is, by what live calls and its own checks say.
 *
 *   healthy    success >= 0.95
 *   degraded   less, or a breaker or a credential of it is shut
 *   unhealthy  success < 0.8, or all its credentials are shut
 *   unknown    nothing was heard of it in two intervals
 *
 * A checker lives on one worker's loop.  Each second it looks at every channel
 * of the worker's snapshot, and probes (gateway/health/probe.h) each credential that
 * neither a live call nor a check has proved within the interval: at most
 * CHECKS_MAX at a time, outside of every quota and ledger.  What a check finds
 * goes to the gate and into the channel's history. */
#ifndef LYSS_GATEWAY_HEALTH_H
#define LYSS_GATEWAY_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/metrics_text.h"

#define CHECKS_MAX     8
#define HEALTH_HISTORY 60

enum health { HEALTH_NONE, HEALTH_UNKNOWN, HEALTH_HEALTHY, HEALTH_DEGRADED, HEALTH_UNHEALTHY };

/* Results of the last checks of a channel, oldest overwritten. Written by the checker's thread,
 * read by any. */
struct health_history {
    _Atomic uint32_t n;                       /* ever */
    _Atomic uint64_t entries[HEALTH_HISTORY]; /* packed, see health_entry */
};

struct health_entry {
    uint8_t kind;   /* enum probe_kind */
    uint32_t ms;    /* how long it took */
    int64_t wall_s; /* when, since 1970 */
};

void health_history_add(struct health_history *h, const struct health_entry *e);
/* The i-th newest, from 0; false: there is none. */
bool health_history_get(const struct health_history *h, unsigned i, struct health_entry *out);

/* Seconds of a channel's calls, in fixed buckets that any thread may count in. */
#define HEALTH_BUCKETS 14
struct health_times {
    _Atomic uint64_t sum_us, counts[HEALTH_BUCKETS + 1];
};
void health_times_add(struct health_times *t, uint64_t us);
/* _bucket, _sum and _count lines. */
void health_times_render(struct buf *b, const char *name, struct str channel,
                         const struct health_times *t);

struct channel;
struct worker;
struct checker;

const char *health_name(enum health h);
/* As of now. interval_ms: of the checks; 0: there are none, and a minute is meant. */
enum health health_of(const struct channel *ch, uint64_t now_ms, uint32_t interval_ms);

/* On a worker whose thread does not run yet, or on its loop. NULL: no memory. */
struct checker *checker_new(struct worker *w);
/* Cancels what is under way; on the worker's loop, before its client goes. */
void checker_free(struct checker **c);

#endif
