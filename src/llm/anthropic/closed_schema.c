/* closed_schema: a JSON schema as the Messages form takes it for an answer's format.
 *
 * Anthropic wants every object closed and refuses a schema where
 * additionalProperties is not said
 * (https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs).
 * So it is said where the caller did not; what the caller did say stays, byte
 * for byte.  Only where a schema can stand is one looked for: a property may be
 * called "type", and an enum may hold anything. */
#include "llm/anthropic/anthropic.h"

#define CLOSED STR("\"additionalProperties\":false")

struct walk {
    const struct json_doc *d;
    struct buf *out;
    size_t done; /* bytes of the text that have been copied */
};

/* What stands in a member of a schema. */
enum holds { HOLDS_OTHER, HOLDS_SCHEMA, HOLDS_NAMED /* schemas by name */ };

static enum holds holds(const struct json_doc *d, uint32_t key)
{
    static const struct {
        struct str keyword;
        enum holds holds;
    } rows[] = {
        {STR("properties"), HOLDS_NAMED},  {STR("$defs"), HOLDS_NAMED},
        {STR("definitions"), HOLDS_NAMED}, {STR("items"), HOLDS_SCHEMA},
        {STR("anyOf"), HOLDS_SCHEMA},      {STR("allOf"), HOLDS_SCHEMA},
        {STR("oneOf"), HOLDS_SCHEMA},      {STR("prefixItems"), HOLDS_SCHEMA},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_string_is(d, key, rows[i].keyword))
            return rows[i].holds;
    return HOLDS_OTHER;
}

static bool is_object_type(const struct json_doc *d, uint32_t type)
{
    if (!json_is(d, type, JSON_ARRAY))
        return json_string_is(d, type, STR("object"));
    for (uint32_t i = json_child(d, type); i != JSON_NONE; i = json_sibling(d, type, i))
        if (json_string_is(d, i, STR("object")))
            return true;
    return false;
}

static void copy_to(struct walk *w, size_t at)
{
    buf_add(w->out, w->d->text.p + w->done, at - w->done);
    w->done = at;
}

static void close_schema(struct walk *w, uint32_t at);

/* A schema, or an array of some. */
static void close_each(struct walk *w, uint32_t at)
{
    if (!json_is(w->d, at, JSON_ARRAY)) {
        close_schema(w, at);
        return;
    }
    for (uint32_t i = json_child(w->d, at); i != JSON_NONE; i = json_sibling(w->d, at, i))
        close_schema(w, i);
}

static void close_named(struct walk *w, uint32_t map)
{
    const struct json_doc *d = w->d;
    if (!json_is(d, map, JSON_OBJECT))
        return;
    for (uint32_t k = json_child(d, map); k != JSON_NONE; k = json_sibling(d, map, k + 1))
        close_schema(w, k + 1);
}

/* As deep as a JSON text may be. */
static void close_schema(struct walk *w, uint32_t at)
{
    const struct json_doc *d = w->d;
    if (!json_is(d, at, JSON_OBJECT))
        return;
    for (uint32_t k = json_child(d, at); k != JSON_NONE; k = json_sibling(d, at, k + 1)) {
        enum holds h = holds(d, k);
        if (h == HOLDS_SCHEMA)
            close_each(w, k + 1);
        else if (h == HOLDS_NAMED)
            close_named(w, k + 1);
    }
    bool object = is_object_type(d, json_get(d, at, STR("type"))) ||
                  json_get(d, at, STR("properties")) != JSON_NONE;
    if (!object || json_get(d, at, STR("additionalProperties")) != JSON_NONE)
        return;
    copy_to(w, d->e[at].end - 1);
    buf_char(w->out, ',');
    buf_str(w->out, CLOSED);
}

void anthropic_close_schema(struct str schema, struct buf *out)
{
    struct json_doc d;
    struct walk w = {.d = &d, .out = out};
    if (json_parse(&d, schema, NULL)) { /* it came out of a text that was parsed */
        buf_str(out, schema);
        return;
    }
    close_schema(&w, json_root(&d));
    copy_to(&w, schema.n);
}
