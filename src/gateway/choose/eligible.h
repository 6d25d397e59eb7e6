/* eligible: may a candidate be asked now, and with which of its credentials; if not, why.
 *
 * One filter for the data plane (gateway/choose/choose.c) and for `lyss route explain`.
 * Pure but for the gate's cells that it looks at.  Any thread. */
#ifndef LYSS_GATEWAY_ELIGIBLE_H
#define LYSS_GATEWAY_ELIGIBLE_H

#include "gateway/health/gate.h"
#include "gateway/snapshot.h"
#include "llm/model_caps.h"

/* What a request has tried; credential_id -1: the whole channel. */
struct tried {
    int64_t channel_id, credential_id;
};

struct eligible_ask {
    const struct api_key *key; /* NULL: any channel is allowed */
    const struct model_catalogue *catalogue;
    enum llm_op op;
    unsigned needs; /* NEED_… (llm/wire_openai_request.h) */
    uint32_t estimate_in, estimate_out;
    bool any_context;                    /* let the upstream judge whether the prompt is too long */
    bool again;                          /* it follows one that an upstream was asked in */
    int64_t pin_channel, pin_credential; /* the only ones; 0: any */
    const struct tried *tried;
    unsigned tried_n;
    uint64_t now_ms;
};

struct eligible {
    enum reason why; /* REASON_NONE: it may be asked */
    const struct credential *credential;
    uint64_t wait_ms; /* how long until it may be, 0: unknown */
};

/* upstream: what the channel calls the model. */
void eligible_look(const struct eligible_ask *ask, const struct channel *ch, struct str upstream,
                   struct eligible *out);
/* What the gate is asked for. */
struct gate_ask eligible_gate_ask(const struct eligible_ask *ask, struct str upstream);

/* Why candidates were passed over, counted. */
struct reasons {
    unsigned n[REASON_COUNT];
    uint64_t wait_ms; /* until the first of them recovers, 0: unknown */
};
void reasons_add(struct reasons *r, enum reason why, uint64_t wait_ms);
/* "2 inactive, 1 without a credential" */
const char *reasons_text(const struct reasons *r, char out[256]);
/* Is a limit all that is in the way? */
bool reasons_throttled(const struct reasons *r);

#endif
