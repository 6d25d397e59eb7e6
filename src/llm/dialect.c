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

void dialect_models_add(const struct dialect_row *d, struct buf *out, const struct model_entry *m,
                        bool any)
{
    if (any)
        buf_char(out, ',');
    d->model_one(out, m);
}

bool dialect_retryable(enum err e)
{
    enum err_class c = err_class(e);
    return c == CLASS_KEY || c == CLASS_THROTTLE || c == CLASS_SERVER;
}

void dialect_put_limit(struct json_writer *w, struct str name, uint32_t tokens)
{
    if (!tokens)
        return;
    json_key(w, name);
    json_put_u64(w, tokens);
}
