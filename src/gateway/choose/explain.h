/* explain: where a request for a model would go, candidate by candidate, by the filter that serves
 * requests (gateway/choose/eligible.h).
 *
 * Live state is what the snapshot's cells hold: all of it where requests are
 * served; of a snapshot that was built for the purpose breakers are closed and
 * caps untouched. */
#ifndef LYSS_GATEWAY_EXPLAIN_H
#define LYSS_GATEWAY_EXPLAIN_H

#include "gateway/choose/eligible.h"

struct explained {
    const struct channel *channel;
    struct str upstream; /* what the channel calls the model */
    int priority;
    double weight;
    enum reason why;  /* REASON_NONE: it may be asked */
    uint64_t wait_ms; /* how long until it may be, 0: unknown */
    bool first;       /* it is of the tier that is asked first */
    double share;     /* of that tier's weight, in [0, 1]; else 0 */
};

/* Fills out and *n, in the order of tiers. ask->key may be NULL. *route tells the rest. False: the
 * tenant has no such model. */
bool explain(const struct tenant *t, struct str model, const struct eligible_ask *ask,
             struct route *route, struct explained out[CANDIDATES_MAX], unsigned *n);

#endif
