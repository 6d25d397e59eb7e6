/* resolve: where the model that a request names leads, by the snapshot of now.
 *
 * Several phases of a turn ask for it; the worker keeps the last answer, and gives it again as long
 * as neither the request, nor its model, nor the snapshot is another.  Worker threads. */
#ifndef LYSS_GATEWAY_RESOLVE_H
#define LYSS_GATEWAY_RESOLVE_H

#include "gateway/snapshot.h"

struct request;
struct worker;

struct resolved {
    uint8_t request_id[16];
    const struct snapshot *in; /* NULL: nothing is kept */
    struct str model;
    const struct api_key *key; /* NULL: it is no longer valid; nothing else holds then */
    bool found;                /* route is one */
    struct route route;
    struct candidate scratch[CANDIDATES_MAX];
};

/* Lent until the worker resolves something else, at the latest to the end of the turn. */
const struct resolved *resolve(struct request *r);
/* The worker has another snapshot. */
void resolve_forget(struct worker *w);

#endif
