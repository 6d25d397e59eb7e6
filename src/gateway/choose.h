/* choose: which channel and which of its credentials an attempt goes to.
 *
 * Worker threads; nothing is kept of the snapshot but what is copied out. */
#ifndef LYSS_GATEWAY_CHOOSE_H
#define LYSS_GATEWAY_CHOOSE_H

#include "gateway/request.h"

struct choice {
    struct channel *channel; /* lent by the snapshot */
    const struct credential *credential;
    struct str upstream;
};

/* Why candidates were passed over, for the answer when none is left. */
struct reasons {
    unsigned tried, not_allowed, wrong_operation, no_credential, inactive;
};

/* Picks among what this request has not tried. stay: the channel to stay with if it is still
 * eligible; 0: none. False: none is left, *why counts the reasons. */
bool choose(struct request *r, int64_t stay, struct choice *out, struct reasons *why);
/* "2 inactive, 1 without a credential" */
const char *choose_reasons(const struct reasons *why, char out[256]);

#endif
