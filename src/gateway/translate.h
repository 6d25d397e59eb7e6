/* translate: a request and its answer between the caller's form and the upstream's, and a look at
 * answers that pass in a form of their own.
 *
 * Joins the codecs of src/llm to a request.  The worker's thread. */
#ifndef LYSS_GATEWAY_TRANSLATE_H
#define LYSS_GATEWAY_TRANSLATE_H

#include "gateway/choose/choose.h"
#include "llm/codec.h"
#include "net/sse.h"

/* Of a translated answer; longer events are an error of the upstream's. */
#define TRANSLATE_EVENT_MAX (4u << 20)
#define TRANSLATE_BODY_MAX  (16u << 20)

/* The operation to ask of a channel for this request; OP_NONE: it cannot serve it. */
enum llm_op translate_op(const struct request *r, const struct channel *ch,
                         const struct model_caps *caps);
/* Must r's answer be read by a codec rather than by llm/wire_openai_response? */
bool translate_needed(const struct request *r);
/* Reads the caller's body into plan->neutral, once. ERR_INVALID, ERR_BAD_JSON, ERR_NOMEM;
 * ERR_BODY_TOO_LARGE: it would take too much memory. */
enum err translate_read(struct request *r, struct err_info *info) MUST_CHECK;
/* Keeps what parsing.steps has made of the body for translate_read, unless it is large against the
 * body: they are r->plan->tape then. */
void translate_keep_tape(struct request *r, const struct json_doc *doc);
/* Frees what translations have made of the body. */
void translate_release(struct request_plan *p);
/* What the writer of a stream keeps of it. */
uint64_t translate_held_bytes(const struct request *r);
/* Writes the body for c->channel into plan->translated, with what it borrows of the caller's body
 * and of plan->meaning in plan->loans; the receipt into plan->edits.dropped.
 * ERR_INVALID with info in the caller's terms; ERR_NOMEM. */
enum err translate_request(struct request *r, const struct choice *c,
                           struct err_info *info) MUST_CHECK;
/* A streamed answer begins: makes r->translation. ERR_NOMEM. */
enum err translate_stream(struct request *r) MUST_CHECK;
/* One event with data: what it means as EV_… flags (ev->fault with EV_ERROR), r->tap brought up to
 * date, and what the caller gets appended to out where the forms differ. */
unsigned translate_event(struct request *r, const struct sse_event *in, struct buf *out,
                         struct openai_event *ev);
/* The stream's body has ended after whole events. True: that is its own end, and out has what the
 * caller's form writes for it. */
bool translate_ends(struct request *r, struct buf *out) MUST_CHECK;
/* A whole 2xx answer, which is an object: r->tap and r->usage_raw from it; the caller's body in out
 * where the forms differ. ERR_NOMEM, or the fault's error. */
enum err translate_reply(struct request *r, const struct json_doc *d, struct buf *out,
                         struct fault *f) MUST_CHECK;
/* sequence_number for an in-band error. */
uint32_t translate_sequence(const struct request *r);
/* Answers a request to count tokens by the estimate. */
void translate_count(struct request *r);
void translation_free(struct translation **t);

#endif
