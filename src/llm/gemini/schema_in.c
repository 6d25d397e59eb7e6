/* gemini/schema_in: Gemini's Schema as a JSON schema.
 *
 * The other way round of schema.c, and much less to do: types in lower case,
 * nullable as a union with null, names in camelCase, Google's own hints left
 * out.  Unknown members stay as they are. */
#include "llm/gemini/gemini.h"

static void put_schema(struct json_writer *w, const struct json_doc *d, uint32_t at,
                       struct arena *a);

static void put_lower(struct json_writer *w, const struct json_doc *d, uint32_t at, struct arena *a)
{
    struct str s;
    if (!json_string(d, at, a, &s))
        s = STR("");
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; p && i < s.n; i++)
        p[i] = str_lower(s.p[i]);
    json_put_string(w, p ? str_make(p, s.n) : STR_NULL);
}

/* {"type":"STRING","nullable":true} → "type":["string","null"] */
static void put_type(struct json_writer *w, const struct json_doc *d, uint32_t at, bool nullable,
                     struct arena *a)
{
    bool list = json_is(d, at, JSON_ARRAY);
    if (json_string_is(d, at, STR("TYPE_UNSPECIFIED")) || (!list && !json_is(d, at, JSON_STRING)))
        return;
    json_key(w, STR("type"));
    if (list || nullable)
        json_open_array(w);
    for (uint32_t i = list ? json_child(d, at) : at; i != JSON_NONE;
         i = list ? json_sibling(d, at, i) : JSON_NONE)
        put_lower(w, d, i, a);
    if (nullable)
        json_put_string(w, STR("null"));
    if (list || nullable)
        json_close_array(w);
}

static void put_list(struct json_writer *w, const struct json_doc *d, uint32_t at, bool schemas,
                     bool null_too, struct arena *a)
{
    json_open_array(w);
    for (uint32_t i = json_child(d, at); i != JSON_NONE; i = json_sibling(d, at, i)) {
        if (schemas)
            put_schema(w, d, i, a);
        else
            json_put_raw(w, json_raw(d, i));
    }
    if (null_too && schemas) {
        json_open_object(w);
        json_field_string(w, "type", STR("null"));
        json_close_object(w);
    } else if (null_too) {
        json_put_null(w);
    }
    json_close_array(w);
}

static void put_map(struct json_writer *w, const struct json_doc *d, uint32_t at, struct arena *a)
{
    struct str name;
    json_open_object(w);
    for (uint32_t k = json_child(d, at); k != JSON_NONE; k = json_sibling(d, at, k + 1)) {
        if (!json_string(d, k, a, &name))
            continue;
        json_key(w, name);
        put_schema(w, d, k + 1, a);
    }
    json_close_object(w);
}

enum how { RAW, DROP, WHOLE, SCHEMA, LIST, MAP, ENUM, ANY_OF, TYPE, FORMAT, REF };

static const struct {
    struct str name, out;
    enum how how;
} members[] = {
    {STR("type"), STR("type"), TYPE},
    {STR("format"), STR("format"), FORMAT},
    {STR("nullable"), STR(""), DROP},
    {STR("propertyOrdering"), STR(""), DROP},
    {STR("property_ordering"), STR(""), DROP},
    {STR("example"), STR(""), DROP},
    {STR("enum"), STR("enum"), ENUM},
    {STR("items"), STR("items"), SCHEMA},
    {STR("prefixItems"), STR("prefixItems"), LIST},
    {STR("properties"), STR("properties"), MAP},
    {STR("anyOf"), STR("anyOf"), ANY_OF},
    {STR("any_of"), STR("anyOf"), ANY_OF},
    {STR("defs"), STR("$defs"), MAP},
    {STR("ref"), STR("$ref"), REF},
    {STR("additionalProperties"), STR("additionalProperties"), SCHEMA},
    {STR("additional_properties"), STR("additionalProperties"), SCHEMA},
    {STR("minItems"), STR("minItems"), WHOLE},
    {STR("min_items"), STR("minItems"), WHOLE},
    {STR("maxItems"), STR("maxItems"), WHOLE},
    {STR("max_items"), STR("maxItems"), WHOLE},
    {STR("minLength"), STR("minLength"), WHOLE},
    {STR("min_length"), STR("minLength"), WHOLE},
    {STR("maxLength"), STR("maxLength"), WHOLE},
    {STR("max_length"), STR("maxLength"), WHOLE},
    {STR("minProperties"), STR("minProperties"), WHOLE},
    {STR("min_properties"), STR("minProperties"), WHOLE},
    {STR("maxProperties"), STR("maxProperties"), WHOLE},
    {STR("max_properties"), STR("maxProperties"), WHOLE},
};
#define MEMBERS (sizeof members / sizeof *members)

static void put_format(struct json_writer *w, const struct json_doc *d, uint32_t at)
{
    if (json_string_is(d, at, STR("enum")) || !json_is(d, at, JSON_STRING))
        return;
    json_key(w, STR("format"));
    json_put_raw(w, json_raw(d, at));
}

/* Counts are int64, which Google's JSON may write as strings. */
static void put_whole(struct json_writer *w, const struct json_doc *d, uint32_t at, struct str name,
                      struct arena *a)
{
    struct str s = json_raw(d, at);
    uint64_t n;
    if (json_is(d, at, JSON_STRING) && (!json_string(d, at, a, &s) || !str_u64(s, INT64_MAX, &n)))
        return;
    json_key(w, name);
    json_put_raw(w, s);
}

/* "#/defs/Pet" → "#/$defs/Pet" */
static void put_ref(struct json_writer *w, const struct json_doc *d, uint32_t at, struct arena *a)
{
    struct str s;
    if (!json_string(d, at, a, &s))
        return;
    if (str_starts(s, STR("#/defs/")))
        s = arena_printf(a, "#/$defs/%.*s", STR_FMT(str_from(s, 7)));
    json_key(w, STR("$ref"));
    json_put_string(w, s);
}

static void put_member(struct json_writer *w, const struct json_doc *d, uint32_t key, bool nullable,
                       struct arena *a)
{
    uint32_t at = key + 1;
    struct str name;
    size_t i = 0;
    if (!json_string(d, key, a, &name) || json_is(d, at, JSON_NULL))
        return;
    while (i < MEMBERS && !str_eq(members[i].name, name))
        i++;
    enum how how = i < MEMBERS ? members[i].how : RAW;
    struct str out = i < MEMBERS ? members[i].out : name;
    bool list = json_is(d, at, JSON_ARRAY);
    if (how == DROP)
        return;
    if (how == TYPE || how == FORMAT || how == REF || how == WHOLE) {
        if (how == TYPE)
            put_type(w, d, at, nullable, a);
        else if (how == FORMAT)
            put_format(w, d, at);
        else if (how == REF)
            put_ref(w, d, at, a);
        else
            put_whole(w, d, at, out, a);
        return;
    }
    json_key(w, out);
    if (how == SCHEMA)
        put_schema(w, d, at, a);
    else if (how == MAP && json_is(d, at, JSON_OBJECT))
        put_map(w, d, at, a);
    else if (list && (how == LIST || how == ANY_OF))
        put_list(w, d, at, true, nullable && how == ANY_OF, a);
    else if (list && how == ENUM)
        put_list(w, d, at, false, nullable, a);
    else
        json_put_raw(w, json_raw(d, at));
}

static void put_schema(struct json_writer *w, const struct json_doc *d, uint32_t at,
                       struct arena *a)
{
    bool nullable = false;
    if (!json_is(d, at, JSON_OBJECT)) {
        json_put_raw(w, json_raw(d, at));
        return;
    }
    json_bool(d, json_get(d, at, STR("nullable")), &nullable);
    json_open_object(w);
    for (uint32_t k = json_child(d, at); k != JSON_NONE; k = json_sibling(d, at, k + 1))
        put_member(w, d, k, nullable, a);
    json_close_object(w);
}

struct str gemini_schema_read(const struct json_doc *d, uint32_t schema, struct arena *a)
{
    struct json_writer w;
    struct buf b;
    struct str raw = json_raw(d, schema);
    buf_init(&b, raw.n * 8 + 1024);
    json_writer_init(&w, &b);
    put_schema(&w, d, schema, a);
    if (buf_failed(&b))
        a->failed = true;
    struct str out = arena_dup(a, buf_view(&b));
    buf_release(&b);
    return out;
}
