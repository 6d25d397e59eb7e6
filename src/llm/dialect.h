/* dialect: what Lyss itself says to a caller, in the caller's own form: errors, pings, lists.
 *
 * One const row a dialect.  Everything appends to a buf, whose latch tells of
 * failure.  Any thread. */
#ifndef LYSS_LLM_DIALECT_H
#define LYSS_LLM_DIALECT_H

#include "core/buf.h"
#include "core/json_write.h"
#include "llm/classify.h"
#include "llm/op.h"

struct model_entry {
    struct str name, owned_by;
    int64_t created_s;
    uint32_t context_tokens, output_tokens; /* 0: unknown */
    unsigned serves; /* OP_BIT(…) of what it can be asked for, translated or not */
};

struct dialect_row {
    /* Status of an answer that the attempts ended with; e.g. 529 is Anthropic's only. */
    int (*fault_status)(const struct fault *f);
    /* The whole body of an error answer. Errors of ours come as faults too (fault_from_err). */
    void (*fault_body)(struct buf *out, const struct fault *f, struct str request_id);
    /* The last event of a stream that failed after its head was sent. tokens: output so far.
     * sequence: codec's writer_sequence (Responses only). */
    void (*fault_event)(struct buf *out, enum llm_op op, const struct fault *f, uint64_t tokens,
                        uint32_t sequence, struct str request_id);
    struct str ping; /* a sign of life between events */
    /* A list of models: begin, each by dialect_models_add, end. */
    void (*models_begin)(struct buf *out);
    void (*models_end)(struct buf *out, struct str first, struct str last);
    void (*model_one)(struct buf *out, const struct model_entry *m);
};

extern const struct dialect_row dialect_openai, dialect_anthropic, dialect_gemini;
const struct dialect_row *dialect_of(enum dialect d);

/* An error of ours. info and request_id may be NULL / empty. */
void dialect_error_body(const struct dialect_row *d, struct buf *out, enum err e,
                        const struct err_info *info, struct str request_id);
/* Adds one to a list of models; any: whether one has been added before. */
void dialect_models_add(const struct dialect_row *d, struct buf *out, const struct model_entry *m,
                        bool any);
/* What an error of each dialect tells: may the call be tried again? */
bool dialect_retryable(enum err e);
/* A member that is left out where the number is unknown (0). */
void dialect_put_limit(struct json_writer *w, struct str name, uint32_t tokens);

#endif
