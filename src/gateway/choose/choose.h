/* choose: which channel and which of its credentials an attempt goes to.
 *
 * Worker threads; nothing is kept of the snapshot but what is copied out. */
#ifndef LYSS_GATEWAY_CHOOSE_H
#define LYSS_GATEWAY_CHOOSE_H

#include "gateway/choose/eligible.h"
#include "gateway/request.h"

struct choice {
    struct channel *channel; /* lent by the snapshot */
    const struct credential *credential;
    struct str upstream;
    const struct catalogue_entry *entry;       /* what is known of that model; never NULL */
    struct gate_pass pass;                     /* what the attempt holds; it must begin */
    struct str route;                          /* its name, lent by the snapshot */
    uint8_t hedge_percent, hedge_cost_percent; /* of the route; 0: no hedging */
    int64_t price_pusd;                        /* expected, or PRICE_UNKNOWN */
};

/* Picks among what this request has not tried, and takes the attempt's place there. stay: the
 * channel to stay with if it is still eligible; 0: none. False: none is left, *why counts the
 * reasons. */
bool choose(struct request *r, int64_t stay, struct choice *out, struct reasons *why);

/* A fault of these kinds (FAULT_CONTEXT, FAULT_POLICY) may go on with the model that the route
 * names for it: r->model becomes that one, nothing of it counts as tried. Once for each kind, and
 * only where the key may use that model. False: there is none. */
bool choose_fallback(struct request *r, unsigned kinds);

#endif
