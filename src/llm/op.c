/* op: the tables of operations and dialects. */
#include "llm/op.h"

#define O DIALECT_OPENAI
#define A DIALECT_ANTHROPIC
#define G DIALECT_GEMINI

static const struct op_row rows[OP_COUNT] = {
    [OP_NONE] = {"none", "", O, KIND_NONE, false, false, false},
    [OP_CHAT] = {"chat", "/chat/completions", O, KIND_GENERATE, true, true, true},
    [OP_COMPLETIONS] = {"completions", "/completions", O, KIND_GENERATE, true, true, true},
    [OP_EMBEDDINGS] = {"embeddings", "/embeddings", O, KIND_EMBED, true, false, false},
    [OP_RESPONSES] = {"responses", "/responses", O, KIND_GENERATE, true, true, true},
    [OP_MODELS] = {"models", "/models", O, KIND_LIST, false, false, false},
    [OP_MODEL] = {"model", "/models/", O, KIND_LIST, false, false, false},
    [OP_MESSAGES] = {"messages", "/messages", A, KIND_GENERATE, true, true, true},
    [OP_COUNT_TOKENS] = {"count_tokens", "/messages/count_tokens", A, KIND_COUNT_TOKENS, true,
                         false, false},
    [OP_GENERATE] = {"generate_content", ":generateContent", G, KIND_GENERATE, true, true, true},
    [OP_GEMINI_COUNT] = {"gemini_count_tokens", ":countTokens", G, KIND_COUNT_TOKENS, true, false,
                         false},
    [OP_GEMINI_EMBED] = {"embed_content", ":embedContent", G, KIND_EMBED, true, false, false},
    [OP_GEMINI_EMBEDS] = {"batch_embed_contents", ":batchEmbedContents", G, KIND_EMBED, true, false,
                          false},
    [OP_PASSTHROUGH] = {"passthrough", "/passthrough", O, KIND_NONE, true, false, false},
};

const struct op_row *op_row(enum llm_op op)
{
    return &rows[op];
}

enum llm_op op_find(struct str name)
{
    for (int i = OP_NONE + 1; i < OP_COUNT; i++)
        if (str_eq(name, str_c(rows[i].name)))
            return (enum llm_op)i;
    return OP_NONE;
}

enum llm_op op_serve(enum llm_op op, unsigned serves)
{
    /* Of each kind, what others are translated to, the best carrier of meaning first. */
    static const enum llm_op best[] = {OP_CHAT,         OP_RESPONSES,   OP_MESSAGES,
                                       OP_GENERATE,     OP_EMBEDDINGS,  OP_GEMINI_EMBEDS,
                                       OP_COUNT_TOKENS, OP_GEMINI_COUNT};
    if (serves & OP_BIT(op))
        return op;
    if (rows[op].kind == KIND_LIST)
        return OP_NONE;
    for (size_t i = 0; i < sizeof best / sizeof *best; i++)
        if (rows[best[i]].kind == rows[op].kind && serves & OP_BIT(best[i]))
            return best[i];
    return OP_NONE;
}

const char *dialect_name(enum dialect d)
{
    static const char *const names[DIALECT_COUNT] = {"openai", "anthropic", "gemini"};
    return names[d];
}
