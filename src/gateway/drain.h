/* drain: the gentle half of a stop: everything under way is finished, and what comes late is still
 * served.
 *
 * First every reply says that its connection closes, while listeners stay open: whoever sends us
 * callers needs a moment to see that we are no longer ready. Once none has come for half a second,
 * or after five, the listeners close, then the connections that ask nothing. The rest is waiting.
 * The control thread steps it; each worker does its part on its own thread. */
#ifndef LYSS_GATEWAY_DRAIN_H
#define LYSS_GATEWAY_DRAIN_H

#include <stdatomic.h>

#include "net/loop.h"

struct gateway;
struct worker;

enum drain_stage {
    DRAIN_NONE,
    DRAIN_ANNOUNCE, /* connections close behind their next reply */
    DRAIN_REFUSE,   /* the listeners are closed */
    DRAIN_FINISH    /* only what is under way is left */
};

/* A worker's place in it; in struct worker. */
struct drain_seat {
    struct message m;
    struct worker *worker;
    _Atomic uint8_t wanted, reached; /* enum drain_stage */
    _Atomic bool asked;              /* the message is on its way */
    _Atomic unsigned left;           /* connections and requests, when it answered last */
};

struct drain {
    struct gateway *gateway;
    enum drain_stage stage;
    uint64_t began_ms, until_ms, stage_ms, quiet_ms, accepted;
};

/* Control thread, with all workers running; readiness is off already. */
void drain_start(struct drain *d, struct gateway *g, uint64_t now_ms, uint64_t timeout_ms);
/* To be called every few hundredths of a second. True: nothing is left, or the time is up. */
bool drain_step(struct drain *d, uint64_t now_ms);

#endif
