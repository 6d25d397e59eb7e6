/* dialect_openai: what Lyss itself says to callers that speak OpenAI: errors, pings, model lists.
 *
 * Everything appends to a buf, whose latch tells of failure.  Any thread. */
#ifndef LYSS_LLM_DIALECT_OPENAI_H
#define LYSS_LLM_DIALECT_OPENAI_H

#include "core/buf.h"
#include "llm/classify.h"
#include "llm/op.h"

/* {"error":{"message","type","param","code",…}} for an error of ours; its status is err_status(e).
 * info and request_id may be NULL / empty. */
void openai_error_body(struct buf *out, enum err e, const struct err_info *info,
                       struct str request_id);
/* The same for an upstream's fault; its status is f->status. */
void openai_fault_body(struct buf *out, const struct fault *f, struct str request_id);

/* The last event of a stream that failed after its head was sent. tokens: output so far. sequence:
 * openai_stream.next_sequence (Responses only). */
void openai_fault_event(struct buf *out, enum llm_op op, const struct fault *f, uint64_t tokens,
                        uint32_t sequence);
void openai_error_event(struct buf *out, enum llm_op op, enum err e, const struct err_info *info,
                        uint64_t tokens, uint32_t sequence);

/* An SSE comment. */
#define OPENAI_PING STR(": ping\n\n")

/* GET models: begin, add each, end. begin returns what add needs. */
struct openai_models {
    struct buf *out;
    bool any;
};
void openai_models_begin(struct openai_models *m, struct buf *out);
void openai_models_add(struct openai_models *m, struct str name, int64_t created_s,
                       struct str owned_by);
void openai_models_end(struct openai_models *m);
/* GET models/{id}. */
void openai_model_one(struct buf *out, struct str name, int64_t created_s, struct str owned_by);

#endif
