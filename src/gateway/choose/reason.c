/* reason: the table. */
#include "gateway/choose/reason.h"

static const struct {
    const char *key, *words;
    enum reason_kind kind;
} rows[] = {
#define X(name, key, words, kind) {key, words, REASON_##kind},
    REASONS(X)
#undef X
};

const char *reason_key(enum reason r)
{
    return rows[r].key;
}

const char *reason_words(enum reason r)
{
    return rows[r].words;
}

enum reason_kind reason_kind(enum reason r)
{
    return rows[r].kind;
}
