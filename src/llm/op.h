/* op: what a caller can ask for, the dialects it can ask in, and the wires upstreams speak.
 *
 * Constant tables and pure functions; any thread. */
#ifndef LYSS_LLM_OP_H
#define LYSS_LLM_OP_H

#include "core/str.h"

enum llm_op {
    OP_NONE,
    OP_CHAT,          /* POST chat/completions */
    OP_COMPLETIONS,   /* POST completions */
    OP_EMBEDDINGS,    /* POST embeddings */
    OP_RESPONSES,     /* POST responses */
    OP_MODELS,        /* GET models */
    OP_MODEL,         /* GET models/{id} */
    OP_MESSAGES,      /* Anthropic: POST messages */
    OP_COUNT_TOKENS,  /* Anthropic: POST messages/count_tokens */
    OP_GENERATE,      /* Gemini: POST models/{m}:generateContent, :streamGenerateContent */
    OP_GEMINI_COUNT,  /* POST models/{m}:countTokens */
    OP_GEMINI_EMBED,  /* POST models/{m}:embedContent */
    OP_GEMINI_EMBEDS, /* POST models/{m}:batchEmbedContents */
    OP_PASSTHROUGH,   /* any method, /passthrough/{channel}/…: not understood */
    OP_COUNT
};

/* A set of operations is a bit mask of these. */
#define OP_BIT(op) (1u << (op))

/* What a caller speaks to Lyss. */
enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_GEMINI, DIALECT_COUNT };

/* What an operation does: those of one kind can stand for each other through a translation. */
enum op_kind { KIND_NONE, KIND_GENERATE, KIND_EMBED, KIND_COUNT_TOKENS, KIND_LIST };

struct op_row {
    const char *name; /* for rows, metrics and the CLI: "chat" */
    const char *path; /* below the surface's prefix: "/chat/completions"; of Gemini what follows the
                         model: ":generateContent" */
    enum dialect dialect;
    enum op_kind kind;
    bool has_body;   /* POST with a JSON object that names a model */
    bool may_stream; /* the body's `stream` is meant */
    bool generates;  /* has output tokens: max_tokens and its kin are meant */
};

const struct op_row *op_row(enum llm_op op);
static inline bool op_by_path(enum llm_op op) /* Gemini: the path names model and stream */
{
    return op >= OP_GENERATE && op <= OP_GEMINI_EMBEDS;
}
/* By row name; OP_NONE when there is none. */
enum llm_op op_find(struct str name);
const char *dialect_name(enum dialect d);
/* The operation to ask an upstream for that serves those in the mask `serves`: op itself where it
 * can, else the one it is best translated to; OP_NONE: it cannot serve op. */
enum llm_op op_serve(enum llm_op op, unsigned serves);

#endif
