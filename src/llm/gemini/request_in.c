/* gemini/request_in: the body of generateContent and countTokens as a neutral request.
 *
 * Model and stream are in the path.  Members without a place in the neutral
 * form are kept as extras: "cachedContent", "generationConfig.speechConfig". */
#include "llm/gemini/gemini.h"

#include <stddef.h>

struct ctx {
    struct neutral_request *out;
    const struct json_doc *d;
    struct arena *a;
    struct err_info *info;
};

static enum err refuse(const struct ctx *c, uint32_t at, struct str field, const char *why)
{
    return gemini_refuse(c->d, at, c->info, field.p ? field.p : "", why);
}

static bool is_null(const struct ctx *c, uint32_t at)
{
    return at == JSON_NONE || json_is(c->d, at, JSON_NULL);
}

/* snake_case as camelCase; STR_NULL: a name that cannot stand in a header. */
static struct str camel(const struct ctx *c, uint32_t key)
{
    struct str s;
    if (!json_string(c->d, key, c->a, &s) || !s.n || s.n > 64)
        return STR_NULL;
    char *p = arena_alloc(c->a, s.n);
    size_t n = 0;
    bool up = false;
    for (size_t i = 0; i < s.n && p; i++) {
        char l = str_lower(s.p[i]);
        bool letter = l >= 'a' && l <= 'z';
        if (!letter && !(l >= '0' && l <= '9') && l != '_')
            return STR_NULL;
        if (l == '_' && i && i + 1 < s.n) {
            up = true;
            continue;
        }
        p[n++] = up && letter ? (char)(l & ~0x20) : s.p[i];
        up = false;
    }
    return p ? str_make(p, n) : STR_NULL;
}

/* ---- tools ---- */

static enum err read_declaration(struct ctx *c, uint32_t at, unsigned tool, unsigned n)
{
    const struct json_doc *d = c->d;
    struct str name, where = arena_printf(c->a, "tools[%u].functionDeclarations[%u]", tool, n);
    uint32_t named = json_get(d, at, STR("name"));
    if (!json_string(d, named, c->a, &name) || !name.n)
        return refuse(c, named == JSON_NONE ? at : named,
                      arena_printf(c->a, "%.*s.name", STR_FMT(where)), "a function needs a name");
    struct tool *t = neutral_tool(c->a, &c->out->tools);
    if (!t)
        return ERR_NOMEM;
    t->name = name;
    json_string(d, json_get(d, at, STR("description")), c->a, &t->description);
    uint32_t schema = gemini_get(d, at, "parametersJsonSchema");
    uint32_t params = json_get(d, at, STR("parameters"));
    if (!is_null(c, schema) && json_is(d, schema, JSON_OBJECT))
        t->schema = json_raw(d, schema);
    else if (!is_null(c, params) && json_is(d, params, JSON_OBJECT))
        t->schema = gemini_schema_read(d, params, c->a);
    else if (!is_null(c, schema) || !is_null(c, params))
        return refuse(c, is_null(c, schema) ? params : schema,
                      arena_printf(c->a, "%.*s.parameters", STR_FMT(where)),
                      "parameters must be a schema");
    return ERR_OK;
}

static enum err read_declarations(struct ctx *c, uint32_t list, unsigned tool)
{
    enum err e = ERR_OK;
    unsigned n = 0;
    if (json_is(c->d, list, JSON_OBJECT))
        return read_declaration(c, list, tool, 0);
    for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !e; i = json_sibling(c->d, list, i))
        e = read_declaration(c, i, tool, n++);
    return e;
}

/* One entry: functions, and tools of Google's own by the name of their member. */
static enum err read_tool(struct ctx *c, uint32_t at, unsigned index)
{
    const struct json_doc *d = c->d;
    enum err e = ERR_OK;
    if (!json_is(d, at, JSON_OBJECT))
        return refuse(c, at, arena_printf(c->a, "tools[%u]", index), "a tool must be an object");
    for (uint32_t k = json_child(d, at); k != JSON_NONE && !e; k = json_sibling(d, at, k + 1)) {
        struct str name = camel(c, k);
        if (is_null(c, k + 1))
            continue;
        if (str_eq(name, STR("functionDeclarations"))) {
            e = read_declarations(c, k + 1, index);
            continue;
        }
        struct tool *t = neutral_tool(c->a, &c->out->tools);
        if (!t)
            return ERR_NOMEM;
        t->kind = name.n ? name : STR("unknown");
        t->raw =
            arena_printf(c->a, "{%.*s:%.*s}", STR_FMT(json_raw(d, k)), STR_FMT(json_raw(d, k + 1)));
    }
    return e;
}

static enum err read_tools(struct ctx *c, uint32_t at)
{
    enum err e = ERR_OK;
    unsigned n = 0;
    if (is_null(c, at))
        return ERR_OK;
    if (json_is(c->d, at, JSON_OBJECT))
        return read_tool(c, at, 0);
    if (!json_is(c->d, at, JSON_ARRAY))
        return refuse(c, at, STR("tools"), "tools must be an array");
    for (uint32_t i = json_child(c->d, at); i != JSON_NONE && !e; i = json_sibling(c->d, at, i))
        e = read_tool(c, i, n++);
    return e;
}

/* allowedFunctionNames: of one, that tool is meant; of several, the others are not offered. */
static void allow_only(struct ctx *c, uint32_t names)
{
    struct neutral_request *r = c->out;
    if (json_size(c->d, names) == 1) {
        if (json_string(c->d, json_child(c->d, names), c->a, &r->choice_name))
            r->choice = CHOICE_NAMED;
        return;
    }
    for (struct tool **t = &r->tools; *t;) {
        bool named = (*t)->kind.n > 0;
        for (uint32_t i = json_child(c->d, names); i != JSON_NONE && !named;
             i = json_sibling(c->d, names, i))
            named = json_string_is(c->d, i, (*t)->name);
        if (named)
            t = &(*t)->next;
        else
            *t = (*t)->next;
    }
}

static enum err read_choice(struct ctx *c, uint32_t at)
{
    static const struct {
        struct str name;
        enum tool_choice choice;
    } modes[] = {{STR("AUTO"), CHOICE_AUTO},
                 {STR("NONE"), CHOICE_NONE},
                 {STR("ANY"), CHOICE_REQUIRED},
                 {STR("VALIDATED"), CHOICE_AUTO},
                 {STR("MODE_UNSPECIFIED"), CHOICE_UNSET}};
    uint32_t config = gemini_get(c->d, at, "functionCallingConfig");
    uint32_t mode = json_get(c->d, config, STR("mode"));
    uint32_t names = gemini_get(c->d, config, "allowedFunctionNames");
    struct str s;
    if (!is_null(c, mode)) {
        size_t i = 0, n = sizeof modes / sizeof *modes;
        if (!json_string(c->d, mode, c->a, &s))
            s = STR_NULL;
        while (i < n && !str_ieq(s, modes[i].name))
            i++;
        if (i == n)
            return refuse(c, mode, STR("toolConfig.functionCallingConfig.mode"),
                          "mode must be AUTO, ANY, NONE or VALIDATED");
        c->out->choice = (uint8_t)modes[i].choice;
    }
    if (json_is(c->d, names, JSON_ARRAY) && json_size(c->d, names) &&
        c->out->choice == CHOICE_REQUIRED)
        allow_only(c, names);
    uint32_t retrieval = gemini_get(c->d, at, "retrievalConfig");
    if (!is_null(c, retrieval))
        neutral_extra(c->a, &c->out->extras, STR("toolConfig.retrievalConfig"),
                      json_raw(c->d, retrieval));
    return ERR_OK;
}

/* ---- generationConfig ---- */

#define NUMBER(name, field)                                                                        \
    {                                                                                              \
        STR(name), offsetof(struct neutral_request, field)                                         \
    }
static const struct {
    struct str name;
    size_t at;
} numbers[] = {
    NUMBER("temperature", temperature),
    NUMBER("topP", top_p),
    NUMBER("topK", top_k),
    NUMBER("candidateCount", n),
    NUMBER("maxOutputTokens", max_tokens),
    NUMBER("seed", seed),
    NUMBER("presencePenalty", presence_penalty),
    NUMBER("frequencyPenalty", frequency_penalty),
    NUMBER("logprobs", top_logprobs),
};

static enum err read_stop(struct ctx *c, uint32_t at)
{
    struct str s;
    if (!json_is(c->d, at, JSON_ARRAY))
        return refuse(c, at, STR("generationConfig.stopSequences"),
                      "stopSequences must be an array of strings");
    for (uint32_t i = json_child(c->d, at); i != JSON_NONE; i = json_sibling(c->d, at, i)) {
        if (!json_string(c->d, i, c->a, &s))
            return refuse(c, i, STR("generationConfig.stopSequences"),
                          "stopSequences must be an array of strings");
        neutral_text(c->a, &c->out->stop, s);
    }
    return ERR_OK;
}

static enum err read_level(struct ctx *c, uint32_t level)
{
    char lower[32] = "";
    struct str s;
    if (json_string(c->d, level, c->a, &s))
        str_copy(lower, sizeof lower, s);
    for (char *p = lower; *p; p++)
        *p = str_lower(*p);
    if (str_eq(str_c(lower), STR("thinking_level_unspecified")))
        return ERR_OK;
    enum effort e = effort_find(str_c(lower));
    if (e == EFFORT_UNSET)
        return refuse(c, level, STR("generationConfig.thinkingConfig.thinkingLevel"),
                      "thinkingLevel must be MINIMAL, LOW, MEDIUM or HIGH");
    c->out->effort = (uint8_t)e;
    return ERR_OK;
}

static enum err read_thinking(struct ctx *c, uint32_t at)
{
    struct neutral_request *r = c->out;
    uint32_t budget = gemini_get(c->d, at, "thinkingBudget");
    uint32_t level = gemini_get(c->d, at, "thinkingLevel");
    bool visible;
    int64_t n;
    if (!json_is(c->d, at, JSON_OBJECT))
        return refuse(c, at, STR("generationConfig.thinkingConfig"),
                      "thinkingConfig must be an object");
    if (json_bool(c->d, gemini_get(c->d, at, "includeThoughts"), &visible))
        r->thinking_visible = visible;
    if (!is_null(c, budget) && !is_null(c, level))
        return refuse(c, level, STR("generationConfig.thinkingConfig"),
                      "thinkingBudget and thinkingLevel exclude each other");
    if (!is_null(c, level))
        return read_level(c, level);
    if (is_null(c, budget))
        return ERR_OK;
    if (!json_i64(c->d, budget, &n) || n < -1 || n > INT32_MAX)
        return refuse(c, budget, STR("generationConfig.thinkingConfig.thinkingBudget"),
                      "thinkingBudget must be a number of tokens, 0 or -1");
    r->thinking_dynamic = n < 0;
    r->thinking_budget = n;
    if (n == 0)
        r->effort = EFFORT_NONE;
    return ERR_OK;
}

static enum err read_schema(struct ctx *c, uint32_t at, bool raw)
{
    struct neutral_request *r = c->out;
    if (!json_is(c->d, at, JSON_OBJECT))
        return refuse(c, at,
                      raw ? STR("generationConfig.responseJsonSchema")
                          : STR("generationConfig.responseSchema"),
                      "a schema must be an object");
    r->schema = raw ? json_raw(c->d, at) : gemini_schema_read(c->d, at, c->a);
    r->schema_name = STR("response");
    r->format = FORMAT_SCHEMA;
    return ERR_OK;
}

static void keep_config(struct ctx *c, struct str name, uint32_t at)
{
    neutral_extra(c->a, &c->out->extras, arena_printf(c->a, "generationConfig.%.*s", STR_FMT(name)),
                  json_raw(c->d, at));
}

/* application/json: a schema beside it says more; others are of Google's own. */
static void read_mime(struct ctx *c, struct str name, uint32_t at)
{
    struct neutral_request *r = c->out;
    if (json_string_is(c->d, at, STR("text/plain")))
        r->format = FORMAT_TEXT;
    else if (!json_string_is(c->d, at, STR("application/json")))
        keep_config(c, name, at);
    else if (r->format != FORMAT_SCHEMA)
        r->format = FORMAT_JSON;
}

static enum err read_field(struct ctx *c, struct str name, uint32_t at)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!str_eq(name, numbers[i].name))
            continue;
        if (!json_is(c->d, at, JSON_NUMBER))
            return refuse(c, at, arena_printf(c->a, "generationConfig.%.*s", STR_FMT(name)),
                          "must be a number");
        *(struct str *)(void *)((char *)c->out + numbers[i].at) = json_raw(c->d, at);
        return ERR_OK;
    }
    bool flag;
    if (str_eq(name, STR("stopSequences")))
        return read_stop(c, at);
    if (str_eq(name, STR("thinkingConfig")))
        return read_thinking(c, at);
    if (str_eq(name, STR("responseSchema")))
        return read_schema(c, at, false);
    if (str_eq(name, STR("responseJsonSchema")) || str_eq(name, STR("_responseJsonSchema")))
        return read_schema(c, at, true);
    if (str_eq(name, STR("responseMimeType")))
        read_mime(c, name, at);
    else if (str_eq(name, STR("responseLogprobs")) && json_bool(c->d, at, &flag))
        c->out->logprobs = flag;
    else
        keep_config(c, name, at);
    return ERR_OK;
}

static enum err read_config(struct ctx *c, uint32_t at)
{
    enum err e = ERR_OK;
    if (is_null(c, at))
        return ERR_OK;
    if (!json_is(c->d, at, JSON_OBJECT))
        return refuse(c, at, STR("generationConfig"), "generationConfig must be an object");
    for (uint32_t k = json_child(c->d, at); k != JSON_NONE && !e;
         k = json_sibling(c->d, at, k + 1)) {
        struct str name = camel(c, k);
        if (!is_null(c, k + 1))
            e = read_field(c, name.n ? name : STR("unknown"), k + 1);
    }
    return e;
}

/* ---- the whole ---- */

static void read_rest(struct ctx *c, uint32_t root)
{
    static const struct str known[] = {
        STR("contents"),         STR("systemInstruction"), STR("tools"), STR("toolConfig"),
        STR("generationConfig"), STR("safetySettings"),    STR("model")};
    for (uint32_t k = json_child(c->d, root); k != JSON_NONE; k = json_sibling(c->d, root, k + 1)) {
        struct str name = camel(c, k);
        bool is_known = is_null(c, k + 1);
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            is_known = is_known || str_eq(name, known[i]);
        if (!is_known)
            neutral_extra(c->a, &c->out->extras, name.n ? name : STR("unknown"),
                          json_raw(c->d, k + 1));
    }
}

static enum err read_body(struct ctx *c, uint32_t root, struct str model)
{
    const struct json_doc *d = c->d;
    if (!json_is(d, root, JSON_OBJECT))
        return refuse(c, root, STR(""), "the request must be a JSON object");
    c->out->model = model;
    enum err e =
        gemini_read_system(c->out, d, gemini_get(d, root, "systemInstruction"), c->a, c->info);
    if (!e)
        e = gemini_read_contents(c->out, d, json_get(d, root, STR("contents")), c->a, c->info);
    if (!e)
        e = read_tools(c, json_get(d, root, STR("tools")));
    if (!e)
        e = read_choice(c, gemini_get(d, root, "toolConfig"));
    if (!e)
        e = read_config(c, gemini_get(d, root, "generationConfig"));
    uint32_t safety = gemini_get(d, root, "safetySettings");
    if (json_is(d, safety, JSON_ARRAY))
        c->out->safety = json_raw(d, safety);
    read_rest(c, root);
    return !e && arena_failed(c->a) ? ERR_NOMEM : e;
}

enum err gemini_read_request(struct neutral_request *out, const struct json_doc *d,
                             struct str model, struct arena *a, struct err_info *info)
{
    struct ctx c = {out, d, a, info};
    neutral_request_init(out, OP_GENERATE);
    return read_body(&c, json_root(d), model);
}

enum err gemini_read_count(struct neutral_request *out, const struct json_doc *d, struct str model,
                           struct arena *a, struct err_info *info)
{
    struct ctx c = {out, d, a, info};
    uint32_t inner = gemini_get(d, json_root(d), "generateContentRequest");
    neutral_request_init(out, OP_GEMINI_COUNT);
    return read_body(&c, json_is(d, inner, JSON_OBJECT) ? inner : json_root(d), model);
}
