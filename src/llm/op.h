/* op: what a caller can ask for, the dialects it can ask in, and the wires upstreams speak.
 *
 * Constant tables and pure functions; any thread. */
#ifndef LYSS_LLM_OP_H
#define LYSS_LLM_OP_H

#include "core/str.h"

enum llm_op {
    OP_NONE,
    OP_CHAT,        /* POST chat/completions */
    OP_COMPLETIONS, /* POST completions */
    OP_EMBEDDINGS,  /* POST embeddings */
    OP_RESPONSES,   /* POST responses */
    OP_MODELS,      /* GET models */
    OP_MODEL,       /* GET models/{id} */
    OP_COUNT
};

/* A set of operations is a bit mask of these. */
#define OP_BIT(op) (1u << (op))

/* What a caller speaks to Lyss. */
enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_GEMINI, DIALECT_COUNT };

/* What an upstream speaks. */
enum wire { WIRE_OPENAI, WIRE_COUNT };

struct op_row {
    const char *name; /* for rows, metrics and the CLI: "chat" */
    const char *path; /* below the surface's prefix: "/chat/completions" */
    bool has_body;    /* POST with a JSON object that names a model */
    bool may_stream;  /* the body's `stream` is meant */
    bool generates;   /* has output tokens: max_tokens and its kin are meant */
};

const struct op_row *op_row(enum llm_op op);
/* By row name; OP_NONE when there is none. */
enum llm_op op_find(struct str name);
const char *dialect_name(enum dialect d);
const char *wire_name(enum wire w);

#endif
