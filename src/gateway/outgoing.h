/* outgoing: the body that an attempt sends.
 *
 * The worker's thread. */
#ifndef LYSS_GATEWAY_OUTGOING_H
#define LYSS_GATEWAY_OUTGOING_H

#include "gateway/request.h"

/* A text with what stands between its pieces; of the plan and the arena. */
struct outgoing {
    struct str text;
    const struct edit *e;
    unsigned n;
};

/* Makes the body for the choice, and in plan->edits what follows from it for the answer.
 * ERR_INVALID with a sentence: the channel cannot be asked this; ERR_BAD_JSON, ERR_BODY_TOO_LARGE,
 * ERR_NOMEM. */
enum err outgoing_make(struct request *r, const struct choice *c, struct outgoing *out,
                       struct err_info *info) MUST_CHECK;

#endif
