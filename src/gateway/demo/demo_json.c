/* demo_json: a believable value for a JSON schema: arguments of tool calls, structured output.
 *
 * Schemas come from callers, so the walk is bounded thrice: by the schema's
 * size, by the depth, and by the number of values written. */
#include "gateway/demo/demo_parts.h"

#include <math.h>

enum { SCHEMA_MAX_BYTES = 32768, DEPTH_FULL = 4, DEPTH_MAX = 16, VALUES_MAX = 256, ITEMS_MAX = 8 };

struct walk {
    struct json_writer *w;
    const struct json_doc *d;
    struct arena *arena; /* for names that are written with escapes */
    uint32_t root;
    unsigned left; /* values that may still be written */
};

/* What a string of that name may well hold; the first word found in the name decides. */
static const struct {
    struct str word, value;
} strings[] = {
    {{"city", 4}, {"Lisbon", 6}},
    {{"location", 8}, {"Lisbon, Portugal", 16}},
    {{"country", 7}, {"Portugal", 8}},
    {{"address", 7}, {"1 Harbour Street", 16}},
    {{"email", 5}, {"demo@example.com", 16}},
    {{"phone", 5}, {"+1 555 0100", 11}},
    {{"url", 3}, {"https://example.com/", 20}},
    {{"name", 4}, {"Ada", 3}},
    {{"date", 4}, {"2026-01-15", 10}},
    {{"time", 4}, {"12:00", 5}},
    {{"zone", 4}, {"UTC", 3}},
    {{"lang", 4}, {"en", 2}},
    {{"currency", 8}, {"EUR", 3}},
    {{"color", 5}, {"blue", 4}},
    {{"query", 5}, {"what is an AI gateway", 21}},
    {{"title", 5}, {"A demo", 6}},
    {{"path", 4}, {"README.md", 9}},
    {{"command", 7}, {"true", 4}},
    {{"expression", 10}, {"6 * 7", 5}},
};

static const struct {
    struct str format, value;
} formats[] = {
    {{"date-time", 9}, {"2026-01-15T12:00:00Z", 20}},
    {{"date", 4}, {"2026-01-15", 10}},
    {{"time", 4}, {"12:00:00Z", 9}},
    {{"duration", 8}, {"PT1H", 4}},
    {{"email", 5}, {"demo@example.com", 16}},
    {{"hostname", 8}, {"example.com", 11}},
    {{"ipv4", 4}, {"192.0.2.1", 9}},
    {{"ipv6", 4}, {"2001:db8::1", 11}},
    {{"uri", 3}, {"https://example.com/", 20}},
    {{"uuid", 4}, {"00000000-0000-4000-8000-000000000000", 36}},
};

static void put(struct walk *k, uint32_t schema, struct str name, unsigned depth);

static uint32_t member(const struct walk *k, uint32_t obj, struct str name)
{
    return json_is(k->d, obj, JSON_OBJECT) ? json_get(k->d, obj, name) : JSON_NONE;
}

static bool number_of(const struct walk *k, uint32_t schema, struct str name, double *out)
{
    uint32_t i = member(k, schema, name);
    return i != JSON_NONE && json_double(k->d, i, out);
}

static bool is_type(const struct walk *k, uint32_t schema, struct str name)
{
    uint32_t t = member(k, schema, STR("type"));
    if (json_is(k->d, t, JSON_ARRAY)) /* ["string","null"]: the first one counts */
        t = json_child(k->d, t);
    return json_string_is(k->d, t, name);
}

/* ---- strings and numbers ---------------------------------------------------- */

static struct str string_for(const struct walk *k, uint32_t schema, struct str name)
{
    uint32_t format = member(k, schema, STR("format"));
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (json_string_is(k->d, format, formats[i].format))
            return formats[i].value;
    char lower[64];
    str_copy(lower, sizeof lower, name);
    for (char *p = lower; *p; p++)
        *p = str_lower(*p);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (str_find(str_c(lower), strings[i].word) >= 0)
            return strings[i].value;
    return STR("demo");
}

static void put_text(struct walk *k, uint32_t schema, struct str name)
{
    enum { LENGTH_MAX = 256 };
    char text[LENGTH_MAX];
    struct str s = string_for(k, schema, name);
    double least = 0, most = LENGTH_MAX;
    (void)number_of(k, schema, STR("minLength"), &least);
    (void)number_of(k, schema, STR("maxLength"), &most);
    if (least > LENGTH_MAX)
        least = LENGTH_MAX;
    size_t n = s.n;
    if ((double)n > most && most >= 0)
        n = (size_t)most;
    memcpy(text, s.p, n);
    while ((double)n < least)
        text[n++] = 'x';
    json_put_string(k->w, str_make(text, n));
}

static void put_number(struct walk *k, uint32_t schema, bool integer)
{
    double v = integer ? 3 : 1.5, low = -INFINITY, high = INFINITY, x, step = integer ? 1 : 0.5;
    if (number_of(k, schema, STR("minimum"), &x))
        low = x;
    if (number_of(k, schema, STR("exclusiveMinimum"), &x))
        low = fmax(low, integer ? floor(x) + 1 : x + step);
    if (number_of(k, schema, STR("maximum"), &x))
        high = x;
    if (number_of(k, schema, STR("exclusiveMaximum"), &x))
        high = fmin(high, integer ? ceil(x) - 1 : x - step);
    if (low > v || high < v)
        v = low > v ? low : high;
    if (number_of(k, schema, STR("multipleOf"), &x) && x > 0)
        v = low > -INFINITY ? ceil(low / x) * x : floor(v / x) * x;
    if (integer)
        v = low > -INFINITY ? ceil(v) : floor(v);
    if (integer && fabs(v) < 9e15)
        json_put_i64(k->w, (int64_t)v);
    else
        json_put_double(k->w, v);
}

/* ---- containers ------------------------------------------------------------- */

static bool is_required(const struct walk *k, uint32_t schema, struct str name)
{
    uint32_t list = member(k, schema, STR("required"));
    if (!json_is(k->d, list, JSON_ARRAY))
        return false;
    for (uint32_t i = json_child(k->d, list); i != JSON_NONE; i = json_sibling(k->d, list, i))
        if (json_string_is(k->d, i, name))
            return true;
    return false;
}

static void put_object(struct walk *k, uint32_t schema, unsigned depth)
{
    uint32_t all = member(k, schema, STR("properties"));
    json_open_object(k->w);
    for (uint32_t key = json_is(k->d, all, JSON_OBJECT) ? json_child(k->d, all) : JSON_NONE;
         key != JSON_NONE && k->left; key = json_sibling(k->d, all, key + 1)) {
        struct str name;
        if (!json_string(k->d, key, k->arena, &name))
            break;
        /* Far down only what must be: a schema may refer to itself. */
        if (depth >= DEPTH_FULL && !is_required(k, schema, name))
            continue;
        json_key(k->w, name);
        put(k, key + 1, name, depth + 1);
    }
    json_close_object(k->w);
}

static void put_array(struct walk *k, uint32_t schema, struct str name, unsigned depth)
{
    double least = depth < DEPTH_FULL ? 1 : 0, most = ITEMS_MAX;
    (void)number_of(k, schema, STR("minItems"), &least);
    (void)number_of(k, schema, STR("maxItems"), &most);
    uint32_t items = member(k, schema, STR("items"));
    uint32_t first = member(k, schema, STR("prefixItems"));
    uint32_t own = json_is(k->d, first, JSON_ARRAY) ? json_child(k->d, first) : JSON_NONE;
    json_open_array(k->w);
    for (int i = 0; i < least && i < most && i < ITEMS_MAX && k->left; i++) {
        put(k, own != JSON_NONE ? own : items, name, depth + 1);
        if (own != JSON_NONE)
            own = json_sibling(k->d, first, own);
    }
    json_close_array(k->w);
}

/* ---- choice ----------------------------------------------------------------- */

/* "#/$defs/name": a path of plain names from the schema's root. */
static uint32_t resolve(const struct walk *k, uint32_t ref)
{
    struct str path = json_raw(k->d, ref), part;
    if (path.n < 3 || path.p[1] != '#')
        return JSON_NONE;
    uint32_t at = k->root;
    path = str_make(path.p + 2, path.n - 3);
    while (str_split(&path, '/', &part))
        if (part.n)
            at = member(k, at, part);
    return at;
}

/* The schema that stands for this one: behind a reference, or the first of several (far down: the
 * one that is null, which ends a schema that refers to itself). JSON_NONE: it stands for itself. */
static uint32_t stands_for(const struct walk *k, uint32_t schema, unsigned depth)
{
    static const struct str unions[] = {{"anyOf", 5}, {"oneOf", 5}, {"allOf", 5}};
    uint32_t ref = member(k, schema, STR("$ref"));
    if (json_is(k->d, ref, JSON_STRING))
        return resolve(k, ref);
    for (size_t u = 0; u < sizeof unions / sizeof *unions; u++) {
        uint32_t list = member(k, schema, unions[u]);
        if (!json_is(k->d, list, JSON_ARRAY) || json_child(k->d, list) == JSON_NONE)
            continue;
        for (uint32_t i = json_child(k->d, list); i != JSON_NONE && depth >= DEPTH_FULL;
             i = json_sibling(k->d, list, i))
            if (is_type(k, i, STR("null")))
                return i;
        return json_child(k->d, list);
    }
    return JSON_NONE;
}

static void put_typed(struct walk *k, uint32_t schema, struct str name, unsigned depth)
{
    bool untyped = depth == 0 && member(k, schema, STR("type")) == JSON_NONE;
    if (untyped || is_type(k, schema, STR("object")) ||
        member(k, schema, STR("properties")) != JSON_NONE)
        put_object(k, schema, depth);
    else if (is_type(k, schema, STR("array")))
        put_array(k, schema, name, depth);
    else if (is_type(k, schema, STR("integer")))
        put_number(k, schema, true);
    else if (is_type(k, schema, STR("number")))
        put_number(k, schema, false);
    else if (is_type(k, schema, STR("boolean")))
        json_put_bool(k->w, true);
    else if (is_type(k, schema, STR("null")))
        json_put_null(k->w);
    else
        put_text(k, schema, name);
}

static void put(struct walk *k, uint32_t schema, struct str name, unsigned depth)
{
    if (!k->left || depth > DEPTH_MAX) {
        json_put_null(k->w);
        return;
    }
    k->left--;
    uint32_t fixed = member(k, schema, STR("const"));
    uint32_t list = member(k, schema, STR("enum"));
    if (fixed == JSON_NONE && json_is(k->d, list, JSON_ARRAY))
        fixed = json_child(k->d, list);
    if (fixed != JSON_NONE) {
        json_put_raw(k->w, json_raw(k->d, fixed));
        return;
    }
    uint32_t other = stands_for(k, schema, depth);
    if (other != JSON_NONE)
        put(k, other, name, depth + 1);
    else
        put_typed(k, schema, name, depth);
}

static void put_any_object(struct json_writer *w)
{
    json_open_object(w);
    json_field_string(w, "model", STR("the demo model of Lyss"));
    json_field_string(w, "message", STR("This object was made up; no model stands behind it."));
    json_field_bool(w, "demo", true);
    json_close_object(w);
}

void demo_json_example(struct json_writer *w, const struct json_doc *d, uint32_t schema,
                       struct arena *arena)
{
    struct walk k = {.w = w, .d = d, .arena = arena, .root = schema, .left = VALUES_MAX};
    if (!json_is(d, schema, JSON_OBJECT))
        put_any_object(w);
    else if (json_raw(d, schema).n > SCHEMA_MAX_BYTES) {
        json_open_object(w);
        json_close_object(w);
    } else
        put(&k, schema, STR_NULL, 0);
}
