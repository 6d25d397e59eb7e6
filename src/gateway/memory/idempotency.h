/* idempotency: requests with an Idempotency-Key: the first one makes the call, and others with the
 * same key and body get its answer, while it is under way and for some time after.
 *
 * The worker's thread.  A request without the header pays one pointer. */
#ifndef LYSS_GATEWAY_IDEMPOTENCY_H
#define LYSS_GATEWAY_IDEMPOTENCY_H

#include "gateway/request.h"

/* Reads the head; r->idem is made where the header is given and the operation generates or embeds.
 * ERR_INVALID with info, ERR_NOMEM. */
enum err idempotency_read(struct request *r, const struct http_head *h,
                          struct err_info *info) MUST_CHECK;
/* The phase of the pipeline: the call is this one's to make, or it is another's. */
enum step idempotency_phase(struct request *r);
/* What the caller gets, in the order of bytes; the end of it with last. Also where nobody is there
 * to get it. Cheap where r->idem is NULL. */
void idempotency_take(struct request *r, int status, const char *type, struct str data, bool last);
/* Has a part of an answer been taken? */
bool idempotency_begun(const struct request *r);
/* Does anybody wait for the call that r makes? */
bool idempotency_wanted(const struct request *r);
/* The call has ended so. */
void idempotency_publish(struct request *r, enum ledger_state state, enum err e);
/* A stored answer goes on: the caller's socket is empty again. */
void idempotency_sent(struct request *r);
/* Ends it early: Lyss is being stopped. */
void idempotency_stop(struct request *r);
/* Another struct request goes on in its place. */
void idempotency_move(struct request *from, struct request *to);
/* The request ends; NULL afterwards. */
void idempotency_drop(struct request *r);
/* "replayed", "joined", "not-stored", for x-lyss-idempotency; NULL: nothing to say. */
const char *idempotency_word(const struct request *r);

/* A worker's table. NULL: no memory. */
struct idem_shard *idem_shard_new(struct worker *w);
void idem_shard_free(struct idem_shard **s);

#endif
