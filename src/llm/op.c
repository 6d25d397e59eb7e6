/* op: the tables of operations, dialects and wires. */
#include "llm/op.h"

static const struct op_row rows[OP_COUNT] = {
    [OP_NONE] = {"none", "", false, false, false},
    [OP_CHAT] = {"chat", "/chat/completions", true, true, true},
    [OP_COMPLETIONS] = {"completions", "/completions", true, true, true},
    [OP_EMBEDDINGS] = {"embeddings", "/embeddings", true, false, false},
    [OP_RESPONSES] = {"responses", "/responses", true, true, true},
    [OP_MODELS] = {"models", "/models", false, false, false},
    [OP_MODEL] = {"model", "/models/", false, false, false},
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

const char *dialect_name(enum dialect d)
{
    static const char *const names[DIALECT_COUNT] = {"openai", "anthropic", "gemini"};
    return names[d];
}

const char *wire_name(enum wire w)
{
    static const char *const names[WIRE_COUNT] = {"openai"};
    return names[w];
}
