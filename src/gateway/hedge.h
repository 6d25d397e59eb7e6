/* hedge: a second attempt beside one that is slower than its channel usually is. Whichever has
 * content first goes on; the other is cancelled, and has its attempt row and its cost.
 *
 * The second leg is a struct request of its own that is not in the worker's
 * list and has no caller; when it wins, or the first one fails, it takes over
 * the caller and all that belongs to the request.  A request that is not hedged
 * pays one pointer.  The worker's thread. */
#ifndef LYSS_GATEWAY_HEDGE_H
#define LYSS_GATEWAY_HEDGE_H

#include "gateway/choose/choose.h"

#define HEDGE_MIN_MS    200   /* no hedge before so long */
#define HEDGE_SAMPLES   5     /* answers of late that the usual time is known from */
#define HEDGE_WINDOW_MS 60000 /* of the shares; what is older counts half, a quarter, … */

/* What a route's requests and their hedges came to, by this worker. */
struct hedge_share {
    uint64_t at_ms;
    double requests, hedges, cost, hedged_cost;
};
/* A request that may be hedged, by what it is expected to cost. */
void hedge_share_add(struct hedge_share *s, double cost, uint64_t now_ms);
/* May one more be hedged? Then it counts. */
bool hedge_share_take(struct hedge_share *s, unsigned percent, unsigned cost_percent, double cost,
                      uint64_t now_ms);

/* The first attempt begins: when is it slower than usual? Sets plan->hedge. */
void hedge_arm(struct request *r, const struct choice *c);
/* When a second attempt is due; UINT64_MAX: never. */
uint64_t hedge_due_ms(const struct request *r);
/* It is due. r stays. */
COLD void hedge_start(struct request *r);
/* r has content: the other leg, if any, has lost. */
COLD void hedge_won(struct request *r);
/* r's attempt has failed so; sent: it was one. True: the other leg goes on, and r is gone. */
COLD bool hedge_lost(struct request *r, enum err e, bool sent);
/* What r holds for the caller's body since it took over from the first leg. */
size_t hedge_body_bytes(const struct request *r);
/* r's memory of before the commit goes, or all of it. */
COLD void hedge_shed(struct request *r);

#endif
