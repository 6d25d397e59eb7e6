/* breaker: stops asking what fails, and finds out by one call at a time whether it works again.
 *
 * closed: calls pass and their outcomes are counted; BREAKER_STREAK failures in a row, or half of
 * at least BREAKER_CALLS in 30 s, open it.  open: no call passes for BREAKER_OPEN_MS, which doubles
 * each time it opens again soon, up to BREAKER_OPEN_MAX_MS.  half-open: one call passes as a probe;
 * its success closes the breaker, its failure opens it again.  (After M. Nygard, "Release It!".)
 *
 * A call gets a ticket when it passes and hands it back with its outcome; what
 * began under an earlier state says nothing of this one and is ignored.  A
 * probe that never comes back lets the next one pass after BREAKER_PROBE_MS.
 * Pure but for its atomics: no clock (times are milliseconds of the monotonic
 * clock), no log.  All zero is closed.  Any thread. */
#ifndef LYSS_GATEWAY_BREAKER_H
#define LYSS_GATEWAY_BREAKER_H

#include <stdbool.h>

#include "gateway/health/tally.h"

#define BREAKER_STREAK      5
#define BREAKER_CALLS       20
#define BREAKER_BUCKET_MS   3000 /* a tenth of the window */
#define BREAKER_OPEN_MS     5000
#define BREAKER_OPEN_MAX_MS 60000
#define BREAKER_CALM_MS     60000 /* closed so long, it begins again with BREAKER_OPEN_MS */
#define BREAKER_PROBE_MS    120000

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
    _Atomic uint64_t word;   /* state, times opened in a row, and until (or since) when */
    _Atomic uint32_t streak; /* failures in a row while closed */
    struct tally calls;      /* and failures among them, while closed */
};

/* A change of state, for the log; from == to: none. */
struct breaker_change {
    enum breaker_state from, to;
    uint64_t open_ms; /* to == BREAKER_OPEN: for how long */
};

const char *breaker_state_name(enum breaker_state s); /* "closed", "open", "half_open" */
/* Where it stands. *wait_ms (may be NULL): how long until a call may pass; 0: now. */
enum breaker_state breaker_look(struct breaker *b, uint64_t now_ms, uint64_t *wait_ms);
/* Is it closed, or was a call free to pass for at least ms already? */
bool breaker_stale(struct breaker *b, uint64_t now_ms, uint64_t ms);
/* May a call pass now? Then *ticket is for breaker_report or breaker_forget. */
bool breaker_enter(struct breaker *b, uint64_t now_ms, uint64_t *ticket,
                   struct breaker_change *change);
/* The call's outcome. */
void breaker_report(struct breaker *b, uint64_t ticket, bool ok, uint64_t now_ms,
                    struct breaker_change *change);
/* The call has ended without saying anything of the upstream: the next probe may pass at once. */
void breaker_forget(struct breaker *b, uint64_t ticket, uint64_t now_ms);
/* Opens it (or keeps it open) whatever was counted: one failure was proof enough. */
void breaker_trip(struct breaker *b, uint64_t now_ms, struct breaker_change *change);

/* As new. */
void breaker_clear(struct breaker *b);

#endif
