/* demo_parts: what the files of the demo provider share, and nobody else.
 *
 * A request is first planned into a struct demo_answer, whose strings lie in the
 * request's arena or are constant; a wire then writes it, whole or in pieces.
 * All on the worker's thread. */
#ifndef LYSS_GATEWAY_DEMO_PARTS_H
#define LYSS_GATEWAY_DEMO_PARTS_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/json_read.h"
#include "core/json_write.h"
#include "llm/wire_openai_request.h"

#define DEMO_FINGERPRINT    STR("lyss-demo")
#define DEMO_PARTS_MAX      2
#define DEMO_JSON_MAX_BYTES 8192
#define DEMO_ECHO_MAX_BYTES 32768

/* One text, or one call of a tool. */
struct demo_part {
    bool call;
    struct str id, call_id, name; /* the latter two of calls */
    struct str text;              /* of a call: its arguments, JSON */
};

struct demo_answer {
    enum llm_op op;
    bool asks_usage, truncated;
    struct str model, id; /* id without the wire's prefix */
    int64_t created_s;
    struct demo_part part[DEMO_PARTS_MAX];
    unsigned n;
    uint32_t tokens_in, tokens_out; /* tokens_out: pieces of all parts */
    uint32_t max_output;            /* 0: none given */
    uint32_t sequence;              /* Responses: the next event's number */
    /* Responses: members that the answer repeats, as they stood; STR_NULL: absent. */
    struct str tools, tool_choice, instructions, text_format;
};

/* What the answer to r will be. d: r's body, parsed. ERR_NOMEM; ERR_INVALID. */
enum err demo_plan(struct demo_answer *a, const struct openai_request *r, const struct json_doc *d,
                   struct arena *arena, struct err_info *info) MUST_CHECK;

/* How an operation that generates is written. */
struct demo_wire {
    void (*whole)(struct demo_answer *a, struct buf *out);
    /* Of a stream, in this order; part_begin to part_end for each part. */
    void (*begin)(struct demo_answer *a, struct buf *out);
    void (*part_begin)(struct demo_answer *a, unsigned part, struct buf *out);
    void (*piece)(struct demo_answer *a, unsigned part, struct str piece, struct buf *out);
    void (*part_end)(struct demo_answer *a, unsigned part, struct buf *out);
    void (*end)(struct demo_answer *a, struct buf *out);
};

extern const struct demo_wire demo_chat, demo_completions, demo_responses;

/* The answer to an embeddings request: vectors that depend on the input alone and mean nothing.
 * ERR_INVALID, ERR_NOMEM. */
enum err demo_embeddings(struct buf *out, const struct openai_request *r, const struct json_doc *d,
                         struct err_info *info) MUST_CHECK;

/* A paragraph of the demo model about itself. */
struct str demo_text(uint32_t seed);
/* Cuts the next token-like piece off *rest: a word with the blanks before it, 12 bytes at most
 * after them, never within a character. Empty only when rest is. */
struct str demo_piece(struct str *rest);
unsigned demo_pieces(struct str text);

/* Appends a value that a JSON schema (JSON_NONE: any object) allows, as far as the keywords that
 * tools use go. Pattern and the like are not looked at, of allOf only the first. Schemas over 32
 * KiB count as {}. */
void demo_json_example(struct json_writer *w, const struct json_doc *d, uint32_t schema,
                       struct arena *arena);

#endif
