/* dialect: the table of dialects. */
#include "llm/dialect.h"

const struct dialect_row *dialect_of(enum dialect d)
{
    static const struct dialect_row *const table[DIALECT_COUNT] = {
        [DIALECT_OPENAI] = &dialect_openai,
        [DIALECT_ANTHROPIC] = &dialect_anthropic,
        [DIALECT_GEMINI] = &dialect_gemini,
    };
    return table[d];
}

void dialect_error_body(const struct dialect_row *d, struct buf *out, enum err e,
                        const struct err_info *info, struct str request_id)
{
    struct fault f;
    fault_from_err(&f, e, info);
    d->fault_body(out, &f, request_id);
}
