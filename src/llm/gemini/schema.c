/* gemini/schema: a JSON schema as Gemini's Schema.
 *
 * Gemini knows a part of OpenAPI 3.0: no references, no allOf, one type to a
 * node, enums of strings only; what it does not know it refuses with a 400.  A
 * node is read as the sum of its parts: the object itself, what its $ref points
 * at, its allOf members, and the one branch of a union with null.  A keyword is
 * taken from the first part that has it, so nothing needs to be merged in
 * memory.  References may name each other: what is being written out already is
 * cut short, and length, depth and steps have bounds. */
#include "llm/gemini/gemini.h"

#define PARTS_MAX 16
#define CHAIN_MAX 64
/* What may be looked at for all schemas of a request, in members: a lookup passes the members
 * before it, a node is asked for each keyword in turn. References make a short schema long to write
 * out, so that many of them share what one may take, and a little for their own length. */
#define STEPS_MAX      400000
#define STEPS_PER_BYTE 2
#define NODE_STEPS     8

enum { T_STRING = 1, T_NUMBER = 2, T_INTEGER = 4, T_BOOLEAN = 8, T_ARRAY = 16, T_OBJECT = 32 };
#define T_NULL 64

static const struct {
    struct str lower, upper;
    unsigned bit;
} types[] = {
    {STR("string"), STR("STRING"), T_STRING},    {STR("number"), STR("NUMBER"), T_NUMBER},
    {STR("integer"), STR("INTEGER"), T_INTEGER}, {STR("boolean"), STR("BOOLEAN"), T_BOOLEAN},
    {STR("array"), STR("ARRAY"), T_ARRAY},       {STR("object"), STR("OBJECT"), T_OBJECT},
    {STR("null"), STR("NULL"), T_NULL},
};
#define TYPES (sizeof types / sizeof *types)

struct ctx {
    const struct json_doc *d;
    struct json_writer w;
    struct arena *a;
    uint32_t chain[CHAIN_MAX]; /* targets of references that are being written out */
    unsigned chain_n;
    size_t *steps; /* taken */
};

struct node {
    uint32_t part[PARTS_MAX];
    unsigned n;
    bool nullable, cut;
};

static bool spend(struct ctx *c, unsigned steps)
{
    if (*c->steps <= STEPS_MAX)
        *c->steps += steps;
    return *c->steps > STEPS_MAX || c->w.out->n > GEMINI_SCHEMA_MAX || buf_failed(c->w.out);
}

static bool spent(struct ctx *c)
{
    return spend(c, 1);
}

/* ---- collecting a node's parts ---- */

/* "#/$defs/a~1b" → the value there (RFC 6901 as a fragment). */
static uint32_t resolve(struct ctx *c, struct str ref)
{
    uint32_t at = json_root(c->d);
    struct str rest = ref, token;
    if (!ref.n || ref.p[0] != '#')
        return JSON_NONE;
    str_split(&rest, '/', &token);
    while (str_split(&rest, '/', &token) && !spend(c, json_size(c->d, at))) {
        char name[256];
        size_t n = 0;
        for (size_t i = 0; i < token.n && n < sizeof name; i++) {
            bool tilde = token.p[i] == '~' && i + 1 < token.n;
            name[n++] = !tilde ? token.p[i] : token.p[++i] == '1' ? '/' : '~';
        }
        uint64_t index;
        if (json_is(c->d, at, JSON_ARRAY) && str_u64(token, 1000, &index)) {
            uint32_t array = at;
            at = json_child(c->d, array);
            while (index-- && at != JSON_NONE)
                at = json_sibling(c->d, array, at);
        } else {
            at = json_get(c->d, at, str_make(name, n));
        }
    }
    return at;
}

static bool says_null(const struct ctx *c, uint32_t branch)
{
    const struct json_doc *d = c->d;
    uint32_t type = json_get(d, branch, STR("type")), values = json_get(d, branch, STR("enum"));
    return json_string_is(d, type, STR("null")) || json_string_is(d, type, STR("NULL")) ||
           json_is(d, json_get(d, branch, STR("const")), JSON_NULL) ||
           (json_size(d, values) == 1 && json_is(d, json_child(d, values), JSON_NULL));
}

static void add_part(struct ctx *c, struct node *n, uint32_t at);

static void add_ref(struct ctx *c, struct node *n, uint32_t ref)
{
    struct str s;
    if (!json_string(c->d, ref, c->a, &s))
        return;
    uint32_t to = resolve(c, s);
    for (unsigned i = 0; i < c->chain_n; i++)
        if (c->chain[i] == to)
            to = JSON_NONE, n->cut = true;
    if (to == JSON_NONE || c->chain_n == CHAIN_MAX) {
        n->cut = true;
        return;
    }
    c->chain[c->chain_n++] = to;
    add_part(c, n, to);
}

/* A union with one branch beside null is that branch. */
static void add_union(struct ctx *c, struct node *n, uint32_t list)
{
    uint32_t only = JSON_NONE;
    unsigned others = 0;
    for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !spent(c);
         i = json_sibling(c->d, list, i)) {
        if (says_null(c, i)) {
            n->nullable = true;
        } else {
            only = i;
            others++;
        }
    }
    if (others == 1)
        add_part(c, n, only);
}

static void add_part(struct ctx *c, struct node *n, uint32_t at)
{
    const struct json_doc *d = c->d;
    if (n->n == PARTS_MAX || !json_is(d, at, JSON_OBJECT) ||
        spend(c, 1 + NODE_STEPS * json_size(d, at)))
        return;
    n->part[n->n++] = at;
    bool nullable;
    if (json_bool(d, json_get(d, at, STR("nullable")), &nullable) && nullable)
        n->nullable = true;
    add_ref(c, n, json_get(d, at, STR("$ref")));
    uint32_t all = json_get(d, at, STR("allOf"));
    if (json_is(d, all, JSON_ARRAY))
        for (uint32_t i = json_child(d, all); i != JSON_NONE && !spent(c);
             i = json_sibling(d, all, i))
            add_part(c, n, i);
    static const struct str unions[] = {STR("anyOf"), STR("oneOf")};
    for (int i = 0; i < 2; i++) {
        uint32_t list = json_get(d, at, unions[i]);
        if (json_is(d, list, JSON_ARRAY))
            add_union(c, n, list);
    }
}

static uint32_t find(const struct ctx *c, const struct node *n, struct str name)
{
    uint32_t at = JSON_NONE;
    for (unsigned i = 0; i < n->n && at == JSON_NONE; i++)
        at = json_get(c->d, n->part[i], name);
    return at;
}

static bool has(const struct ctx *c, const struct node *n, struct str name)
{
    return find(c, n, name) != JSON_NONE;
}

/* ---- which type ---- */

static unsigned type_bit(const struct ctx *c, uint32_t at)
{
    for (size_t i = 0; i < TYPES; i++)
        if (json_string_is(c->d, at, types[i].lower) || json_string_is(c->d, at, types[i].upper))
            return types[i].bit;
    return 0;
}

static unsigned value_bit(const struct ctx *c, uint32_t at)
{
    static const unsigned bits[] = {
        [JSON_NULL] = T_NULL,     [JSON_FALSE] = T_BOOLEAN, [JSON_TRUE] = T_BOOLEAN,
        [JSON_NUMBER] = T_NUMBER, [JSON_STRING] = T_STRING, [JSON_ARRAY] = T_ARRAY,
        [JSON_OBJECT] = T_OBJECT};
    return at == JSON_NONE ? 0 : bits[json_type(c->d, at)];
}

/* Types of the values of enum and const. */
static unsigned value_bits(struct ctx *c, const struct node *n)
{
    uint32_t values = find(c, n, STR("enum"));
    unsigned bits = value_bit(c, find(c, n, STR("const")));
    if (json_is(c->d, values, JSON_ARRAY))
        for (uint32_t i = json_child(c->d, values); i != JSON_NONE && !spent(c);
             i = json_sibling(c->d, values, i))
            bits |= value_bit(c, i);
    return bits;
}

/* What a node without a type must be by its other keywords. */
static unsigned guess(struct ctx *c, const struct node *n)
{
    static const struct {
        struct str name;
        unsigned bit;
    } signs[] = {
        {STR("properties"), T_OBJECT}, {STR("additionalProperties"), T_OBJECT},
        {STR("items"), T_ARRAY},       {STR("prefixItems"), T_ARRAY},
        {STR("pattern"), T_STRING},    {STR("minLength"), T_STRING},
        {STR("maxLength"), T_STRING},  {STR("minimum"), T_NUMBER},
        {STR("maximum"), T_NUMBER},    {STR("multipleOf"), T_NUMBER},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (has(c, n, signs[i].name))
            return signs[i].bit;
    return value_bits(c, n) & ~(unsigned)T_NULL;
}

/* The types that a node may have, null apart (n->nullable); 0: it does not say. */
static unsigned types_of(struct ctx *c, struct node *n)
{
    uint32_t type = find(c, n, STR("type"));
    unsigned bits = 0;
    if (json_is(c->d, type, JSON_ARRAY))
        for (uint32_t i = json_child(c->d, type); i != JSON_NONE && !spent(c);
             i = json_sibling(c->d, type, i))
            bits |= type_bit(c, i);
    else
        bits = type_bit(c, type);
    if (bits == T_NULL)
        return T_NULL;
    if (bits & T_NULL || value_bits(c, n) & T_NULL)
        n->nullable = true;
    bits &= ~(unsigned)T_NULL;
    if (bits & T_NUMBER) /* every integer is a number */
        bits &= ~(unsigned)T_INTEGER;
    return bits ? bits : guess(c, n);
}

/* ---- writing ---- */

static void put_node(struct ctx *c, uint32_t at);

static void put_cut(struct ctx *c, struct str type)
{
    json_open_object(&c->w);
    json_field_string(&c->w, "type", type);
    json_close_object(&c->w);
}

static void put_about(struct ctx *c, const struct node *n)
{
    struct str text;
    if (json_string(c->d, find(c, n, STR("description")), c->a, &text) && text.n)
        json_field_string(&c->w, "description", text);
    if (n->nullable)
        json_field_bool(&c->w, "nullable", true);
}

static void put_format(struct ctx *c, const struct node *n, unsigned type)
{
    static const struct {
        struct str name;
        unsigned types;
    } formats[] = {{STR("enum"), T_STRING},   {STR("date-time"), T_STRING},
                   {STR("int32"), T_INTEGER}, {STR("int64"), T_INTEGER},
                   {STR("float"), T_NUMBER},  {STR("double"), T_NUMBER}};
    uint32_t format = find(c, n, STR("format"));
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].types & type && json_string_is(c->d, format, formats[i].name))
            json_field_string(&c->w, "format", formats[i].name);
}

static void put_enum_value(struct ctx *c, uint32_t at, bool *open)
{
    struct str s;
    if (!json_string(c->d, at, c->a, &s) || !s.n) /* an empty value is refused */
        return;
    if (!*open) {
        json_key(&c->w, STR("enum"));
        json_open_array(&c->w);
        *open = true;
    }
    json_put_string(&c->w, s);
}

static void put_enum(struct ctx *c, const struct node *n)
{
    bool open = false;
    uint32_t values = find(c, n, STR("enum"));
    put_enum_value(c, find(c, n, STR("const")), &open);
    if (!open && json_is(c->d, values, JSON_ARRAY))
        for (uint32_t i = json_child(c->d, values); i != JSON_NONE && !spent(c);
             i = json_sibling(c->d, values, i))
            put_enum_value(c, i, &open);
    if (open)
        json_close_array(&c->w);
}

/* Bounds are numbers and a pattern is a string: both stay as they stand. */
static void put_limits(struct ctx *c, const struct node *n, unsigned type)
{
    static const struct {
        struct str name;
        unsigned types;
        enum json_type kind;
        bool whole;
    } limits[] = {
        {STR("minimum"), T_NUMBER | T_INTEGER, JSON_NUMBER, false},
        {STR("maximum"), T_NUMBER | T_INTEGER, JSON_NUMBER, false},
        {STR("minLength"), T_STRING, JSON_NUMBER, true},
        {STR("maxLength"), T_STRING, JSON_NUMBER, true},
        {STR("pattern"), T_STRING, JSON_STRING, false},
        {STR("minItems"), T_ARRAY, JSON_NUMBER, true},
        {STR("maxItems"), T_ARRAY, JSON_NUMBER, true},
        {STR("minProperties"), T_OBJECT, JSON_NUMBER, true},
        {STR("maxProperties"), T_OBJECT, JSON_NUMBER, true},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        uint32_t at = limits[i].types & type ? find(c, n, limits[i].name) : JSON_NONE;
        int64_t whole;
        if (!json_is(c->d, at, limits[i].kind) || (limits[i].whole && !json_i64(c->d, at, &whole)))
            continue;
        json_key(&c->w, limits[i].name);
        json_put_raw(&c->w, json_raw(c->d, at));
    }
}

/* {"anyOf":[…]} of a list's members that are not null. */
static void put_any_of(struct ctx *c, uint32_t list)
{
    json_key(&c->w, STR("anyOf"));
    json_open_array(&c->w);
    for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !spent(c);
         i = json_sibling(c->d, list, i))
        if (!says_null(c, i))
            put_node(c, i);
    json_close_array(&c->w);
}

static void put_items(struct ctx *c, const struct node *n)
{
    uint32_t items = find(c, n, STR("prefixItems"));
    if (!json_size(c->d, items))
        items = find(c, n, STR("items"));
    json_key(&c->w, STR("items"));
    if (!json_is(c->d, items, JSON_ARRAY)) {
        put_node(c, items);
    } else if (json_size(c->d, items) <= 1) {
        put_node(c, json_child(c->d, items));
    } else { /* a tuple: any of its members' types */
        json_open_object(&c->w);
        put_any_of(c, items);
        json_close_object(&c->w);
    }
}

/* Is `name` a property in one of the first n parts? */
static bool is_property(struct ctx *c, const struct node *n, unsigned parts, struct str name)
{
    for (unsigned i = 0; i < parts; i++) {
        uint32_t props = json_get(c->d, n->part[i], STR("properties"));
        if (!spend(c, json_size(c->d, props) / 4) && json_get(c->d, props, name) != JSON_NONE)
            return true;
    }
    return false;
}

static bool has_properties(const struct ctx *c, const struct node *n)
{
    for (unsigned i = 0; i < n->n; i++) {
        uint32_t at = json_get(c->d, n->part[i], STR("properties"));
        if (json_is(c->d, at, JSON_OBJECT) && json_size(c->d, at))
            return true;
    }
    return false;
}

/* Strings of every part's array that are properties. */
static void put_names(struct ctx *c, const struct node *n, struct str member)
{
    bool open = false;
    struct str name;
    for (unsigned p = 0; p < n->n; p++) {
        uint32_t list = json_get(c->d, n->part[p], member);
        if (!json_is(c->d, list, JSON_ARRAY))
            continue;
        for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !spent(c);
             i = json_sibling(c->d, list, i)) {
            if (!json_string(c->d, i, c->a, &name) || !is_property(c, n, n->n, name))
                continue;
            if (!open) {
                json_key(&c->w, member);
                json_open_array(&c->w);
                open = true;
            }
            json_put_string(&c->w, name);
        }
    }
    if (open)
        json_close_array(&c->w);
}

static void put_properties(struct ctx *c, const struct node *n)
{
    struct str name;
    if (!has_properties(c, n))
        return;
    json_key(&c->w, STR("properties"));
    json_open_object(&c->w);
    for (unsigned p = 0; p < n->n; p++) {
        uint32_t props = json_get(c->d, n->part[p], STR("properties"));
        if (!json_is(c->d, props, JSON_OBJECT))
            continue;
        for (uint32_t key = json_child(c->d, props); key != JSON_NONE && !spent(c);
             key = json_sibling(c->d, props, key + 1)) {
            if (!json_string(c->d, key, c->a, &name) || is_property(c, n, p, name))
                continue;
            json_key(&c->w, name);
            put_node(c, key + 1);
        }
    }
    json_close_object(&c->w);
    put_names(c, n, STR("required"));
    put_names(c, n, STR("propertyOrdering"));
}

/* One type and what belongs to it. inner: a branch of a split, whose parent says the rest. */
static void put_typed(struct ctx *c, const struct node *n, unsigned type, bool inner)
{
    json_open_object(&c->w);
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].bit == type)
            json_field_string(&c->w, "type", types[i].upper);
    if (!inner)
        put_about(c, n);
    put_format(c, n, type);
    if (type == T_STRING)
        put_enum(c, n);
    put_limits(c, n, type);
    if (type == T_ARRAY)
        put_items(c, n);
    if (type == T_OBJECT)
        put_properties(c, n);
    json_close_object(&c->w);
}

static void put_split(struct ctx *c, const struct node *n, unsigned bits)
{
    json_open_object(&c->w);
    put_about(c, n);
    json_key(&c->w, STR("anyOf"));
    json_open_array(&c->w);
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].bit & bits)
            put_typed(c, n, types[i].bit, true);
    json_close_array(&c->w);
    json_close_object(&c->w);
}

/* The first union of a node with something to choose from. */
static uint32_t union_of(struct ctx *c, const struct node *n)
{
    static const struct str unions[] = {STR("anyOf"), STR("oneOf")};
    for (unsigned p = 0; p < n->n; p++)
        for (int u = 0; u < 2; u++) {
            uint32_t list = json_get(c->d, n->part[p], unions[u]);
            unsigned branches = 0;
            if (json_is(c->d, list, JSON_ARRAY))
                for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !spent(c);
                     i = json_sibling(c->d, list, i))
                    branches += !says_null(c, i);
            if (branches > 1)
                return list;
        }
    return JSON_NONE;
}

static void put_gathered(struct ctx *c, struct node *n)
{
    unsigned bits = types_of(c, n);
    uint32_t list = bits ? JSON_NONE : union_of(c, n);
    if (list != JSON_NONE) {
        json_open_object(&c->w);
        put_about(c, n);
        put_any_of(c, list);
        json_close_object(&c->w);
    } else if (bits & (bits - 1)) {
        put_split(c, n, bits);
    } else {
        put_typed(c, n, bits ? bits : n->cut ? T_OBJECT : T_STRING, false);
    }
}

static void put_node(struct ctx *c, uint32_t at)
{
    struct node n = {.n = 0};
    unsigned mark = c->chain_n;
    if (c->w.depth + 6 > GEMINI_SCHEMA_DEPTH || spent(c)) {
        put_cut(c, STR("OBJECT"));
        return;
    }
    add_part(c, &n, at);
    put_gathered(c, &n);
    c->chain_n = mark;
}

static bool is_empty_object(struct ctx *c, uint32_t root)
{
    struct node n = {.n = 0};
    unsigned mark = c->chain_n;
    add_part(c, &n, root);
    unsigned bits = types_of(c, &n);
    bool empty = bits == T_OBJECT || (!bits && union_of(c, &n) == JSON_NONE);
    c->chain_n = mark;
    return empty && !has_properties(c, &n);
}

bool gemini_schema_is_empty(struct str schema, struct arena *a)
{
    struct json_doc d;
    struct buf none;
    enum err e = json_parse(&d, schema, NULL);
    if (e == ERR_NOMEM)
        a->failed = true;
    if (e)
        return false;
    buf_init(&none, 1);
    size_t steps = 0;
    struct ctx c = {
        .d = &d, .a = a, .chain = {json_root(&d)}, .chain_n = 1, .steps = &steps, .w.out = &none};
    bool empty = is_empty_object(&c, json_root(&d));
    buf_release(&none);
    return empty;
}

enum err gemini_schema_write(struct str schema, bool params, size_t *steps, struct arena *a,
                             struct buf *out, struct err_info *info)
{
    struct json_doc d;
    struct buf b;
    enum err e = json_parse(&d, schema, info);
    if (e == ERR_NOMEM)
        return e;
    if (e || !json_is(&d, json_root(&d), JSON_OBJECT))
        return err_set(info, ERR_INVALID, "a schema must be a JSON object");
    buf_init(&b, GEMINI_SCHEMA_MAX * 2 + schema.n * 6);
    size_t own = schema.n * STEPS_PER_BYTE;
    *steps = *steps > own ? *steps - own : 0;
    struct ctx c = {.d = &d, .a = a, .chain = {json_root(&d)}, .chain_n = 1, .steps = steps};
    json_writer_init(&c.w, &b);
    if (!params || !is_empty_object(&c, json_root(&d)))
        put_node(&c, json_root(&d));
    if (arena_failed(a) || buf_failed(&b))
        e = ERR_NOMEM;
    else if (*steps > STEPS_MAX || b.n > GEMINI_SCHEMA_MAX)
        e = err_set(info, ERR_INVALID, "the schema is too large with its references written out");
    else
        buf_str(out, buf_view(&b));
    buf_release(&b);
    return e;
}
