/* quirk: names of the fields that quirks speak of, and lists that channels choose. */
#include "llm/quirk.h"

const struct quirk quirks_max_tokens_only[] = {
    {QUIRK_RENAME, FIELD_MAX_COMPLETION_TOKENS, FIELD_MAX_TOKENS},
    {QUIRK_END},
};

const char *openai_field_name(enum openai_field f)
{
    static const char *const names[FIELD_COUNT] = {
#define X(field, name) [FIELD_##field] = name,
        OPENAI_FIELDS(X)
#undef X
    };
    return names[f];
}
