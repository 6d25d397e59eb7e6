/* request_in: a caller's Messages request. */
#include "llm/anthropic/request_in.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- where we are ---- */

unsigned request_in_push(struct request_in *in, const char *fmt, ...)
{
    unsigned at = in->path_n;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(in->path + at, sizeof in->path - at, fmt, ap);
    va_end(ap);
    in->path_n = n < 0 || at + (unsigned)n >= sizeof in->path ? (unsigned)sizeof in->path - 1
                                                              : at + (unsigned)n;
    return at;
}

void request_in_pop(struct request_in *in, unsigned to)
{
    in->path_n = to;
    in->path[to] = 0;
}

void request_in_fail(struct request_in *in, uint32_t i, const char *name, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    if (in->err)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    unsigned at = request_in_push(in, "%s%s", in->path_n && *name ? "." : "", name);
    in->err = err_set(in->info, ERR_INVALID, "%s: %s", in->path, text);
    if (in->info) {
        str_copy(in->info->field, sizeof in->info->field, str_c(in->path));
        in->info->offset = i < in->d->n ? (int64_t)in->d->e[i].off : -1;
    }
    request_in_pop(in, at);
}

/* ---- members ---- */

uint32_t request_in_get(struct request_in *in, uint32_t obj, const char *name)
{
    uint32_t i = json_get(in->d, obj, str_c(name));
    return json_is(in->d, i, JSON_NULL) ? JSON_NONE : i;
}

bool request_in_string(struct request_in *in, uint32_t obj, const char *name, bool needed,
                       struct str *out)
{
    uint32_t i = request_in_get(in, obj, name);
    if (i == JSON_NONE) {
        if (needed)
            request_in_fail(in, obj, name, "Field required");
        return false;
    }
    if (json_string(in->d, i, in->a, out))
        return true;
    request_in_fail(in, i, name, "Input should be a valid string");
    return false;
}

bool request_in_bool(struct request_in *in, uint32_t obj, const char *name, bool *out)
{
    uint32_t i = request_in_get(in, obj, name);
    if (i == JSON_NONE)
        return false;
    if (json_bool(in->d, i, out))
        return true;
    request_in_fail(in, i, name, "Input should be a valid boolean");
    return false;
}

bool request_in_is(struct request_in *in, uint32_t obj, const char *name, struct str value)
{
    return json_string_is(in->d, json_get(in->d, obj, str_c(name)), value);
}

enum cache_mark request_in_cache(struct request_in *in, uint32_t obj)
{
    uint32_t mark = request_in_get(in, obj, "cache_control");
    if (mark == JSON_NONE)
        return CACHE_NONE;
    if (!request_in_is(in, mark, "type", STR("ephemeral"))) {
        request_in_fail(in, mark, "cache_control.type", "Input should be 'ephemeral'");
        return CACHE_NONE;
    }
    if (request_in_get(in, mark, "ttl") == JSON_NONE || request_in_is(in, mark, "ttl", STR("5m")))
        return CACHE_5M;
    if (!request_in_is(in, mark, "ttl", STR("1h")))
        request_in_fail(in, mark, "cache_control.ttl", "Input should be '5m' or '1h'");
    return CACHE_1H;
}

/* ---- members of the request; i is the value, never null ---- */

static void read_model(struct request_in *in, uint32_t i)
{
    if (!in->r->model.n && !json_string(in->d, i, in->a, &in->r->model))
        request_in_fail(in, i, "model", "Input should be a valid string");
}

static void read_messages(struct request_in *in, uint32_t i)
{
    struct turn **end = &in->r->turns;
    unsigned n = 0;
    if (!json_is(in->d, i, JSON_ARRAY)) {
        request_in_fail(in, i, "messages", "Input should be a valid array");
        return;
    }
    for (uint32_t m = json_child(in->d, i); m != JSON_NONE && !in->err;
         m = json_sibling(in->d, i, m)) {
        unsigned at = request_in_push(in, "messages.%u", n++);
        uint32_t content = request_in_get(in, m, "content");
        bool user = request_in_is(in, m, "role", STR("user"));
        if (!json_is(in->d, m, JSON_OBJECT)) {
            request_in_fail(in, m, "", "Input should be an object");
        } else if (user || request_in_is(in, m, "role", STR("assistant"))) {
            struct turn *t = neutral_turn(in->a, user ? ROLE_USER : ROLE_ASSISTANT, end);
            if (!t)
                break;
            end = &t->next;
            if (content == JSON_NONE)
                request_in_fail(in, m, "content", "Field required");
            else
                request_in_content(in, content, user ? PLACE_USER : PLACE_ASSISTANT, &t->parts);
        } else if (request_in_is(in, m, "role", STR("system"))) {
            request_in_content(in, content, PLACE_SYSTEM, in->system_end);
        } else {
            uint32_t role = json_get(in->d, m, STR("role"));
            request_in_fail(in, role == JSON_NONE ? m : role, "role", "%s",
                            role == JSON_NONE ? "Field required"
                                              : "Input should be 'user' or 'assistant'");
        }
        request_in_pop(in, at);
    }
    if (!n)
        request_in_fail(in, i, "messages", "at least one message is required");
}

static void read_system(struct request_in *in, uint32_t i)
{
    unsigned at = request_in_push(in, "system");
    request_in_content(in, i, PLACE_SYSTEM, in->system_end);
    request_in_pop(in, at);
}

static void read_max_tokens(struct request_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v))
        request_in_fail(in, i, "max_tokens", "Input should be a valid integer");
    else if (v < 1)
        request_in_fail(in, i, "max_tokens", "Input should be greater than or equal to 1");
    in->r->max_tokens = json_raw(in->d, i);
}

static void read_stream(struct request_in *in, uint32_t i)
{
    if (!json_bool(in->d, i, &in->r->stream))
        request_in_fail(in, i, "stream", "Input should be a valid boolean");
}

static void read_fraction(struct request_in *in, uint32_t i, const char *name, struct str *out)
{
    double v;
    if (!json_double(in->d, i, &v))
        request_in_fail(in, i, name, "Input should be a valid number");
    else if (v < 0 || v > 1)
        request_in_fail(in, i, name, "range: 0..1");
    *out = json_raw(in->d, i);
}

static void read_temperature(struct request_in *in, uint32_t i)
{
    read_fraction(in, i, "temperature", &in->r->temperature);
}

static void read_top_p(struct request_in *in, uint32_t i)
{
    read_fraction(in, i, "top_p", &in->r->top_p);
}

static void read_top_k(struct request_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v) || v < 0)
        request_in_fail(in, i, "top_k", "Input should be a valid integer, 0 or more");
    in->r->top_k = json_raw(in->d, i);
}

static void read_stop(struct request_in *in, uint32_t i)
{
    struct text_list **end = &in->r->stop;
    unsigned n = 0;
    if (!json_is(in->d, i, JSON_ARRAY))
        request_in_fail(in, i, "stop_sequences", "Input should be a valid array");
    for (uint32_t s = json_child(in->d, i); s != JSON_NONE && !in->err;
         s = json_sibling(in->d, i, s), n++) {
        struct str text = STR_NULL;
        unsigned at = request_in_push(in, "stop_sequences.%u", n);
        if (!json_string(in->d, s, in->a, &text))
            request_in_fail(in, s, "", "Input should be a valid string");
        else if (anthropic_blank(text))
            request_in_fail(in, s, "", "each stop sequence must contain non-whitespace");
        request_in_pop(in, at);
        neutral_text(in->a, end, text);
        if (*end)
            end = &(*end)->next;
    }
}

/* ---- tools ---- */

static void read_tool(struct request_in *in, uint32_t i, struct tool *t)
{
    uint32_t schema = request_in_get(in, i, "input_schema");
    bool strict;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        request_in_fail(in, i, "", "Input should be an object");
        return;
    }
    request_in_string(in, i, "name", false, &t->name);
    if (request_in_string(in, i, "type", false, &t->kind) && !str_eq(t->kind, STR("custom"))) {
        t->raw = json_raw(in->d, i);
        t->cache = (uint8_t)request_in_cache(in, i);
        return;
    }
    t->kind = STR_NULL;
    if (!t->name.n)
        request_in_fail(in, i, "name", "Field required");
    request_in_string(in, i, "description", false, &t->description);
    if (!json_is(in->d, schema, JSON_OBJECT))
        request_in_fail(in, schema == JSON_NONE ? i : schema, "input_schema", "%s",
                        schema == JSON_NONE ? "Field required" : "Input should be an object");
    t->schema = json_raw(in->d, schema);
    if (request_in_bool(in, i, "strict", &strict))
        t->strict = strict;
    t->cache = (uint8_t)request_in_cache(in, i);
}

static void read_tools(struct request_in *in, uint32_t i)
{
    struct tool **end = &in->r->tools;
    unsigned n = 0;
    if (!json_is(in->d, i, JSON_ARRAY))
        request_in_fail(in, i, "tools", "Input should be a valid array");
    for (uint32_t e = json_child(in->d, i); e != JSON_NONE && !in->err;
         e = json_sibling(in->d, i, e)) {
        struct tool *t = neutral_tool(in->a, end);
        if (!t)
            return;
        end = &t->next;
        unsigned at = request_in_push(in, "tools.%u", n++);
        read_tool(in, e, t);
        request_in_pop(in, at);
    }
}

static void read_choice(struct request_in *in, uint32_t i)
{
    static const struct {
        struct str type;
        enum tool_choice choice;
    } types[] = {{STR("auto"), CHOICE_AUTO},
                 {STR("any"), CHOICE_REQUIRED},
                 {STR("tool"), CHOICE_NAMED},
                 {STR("none"), CHOICE_NONE}};
    unsigned at = request_in_push(in, "tool_choice");
    bool alone;
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        if (request_in_is(in, i, "type", types[k].type))
            in->r->choice = (uint8_t)types[k].choice;
    if (in->r->choice == CHOICE_UNSET)
        request_in_fail(in, i, "type", "Input should be 'auto', 'any', 'tool' or 'none'");
    if (in->r->choice == CHOICE_NAMED)
        request_in_string(in, i, "name", true, &in->r->choice_name);
    if (request_in_bool(in, i, "disable_parallel_tool_use", &alone) && alone)
        in->r->parallel = 0;
    request_in_pop(in, at);
}

/* ---- thinking and the answer's form ---- */

static void read_budget(struct request_in *in, uint32_t i)
{
    uint32_t budget = request_in_get(in, i, "budget_tokens");
    int64_t v;
    if (budget == JSON_NONE)
        request_in_fail(in, i, "budget_tokens", "Field required");
    else if (!json_i64(in->d, budget, &v))
        request_in_fail(in, budget, "budget_tokens", "Input should be a valid integer");
    else if (v < ANTHROPIC_BUDGET_MIN)
        request_in_fail(in, budget, "budget_tokens",
                        "Input should be greater than or equal to 1024");
    else
        in->r->thinking_budget = v;
}

static void read_thinking(struct request_in *in, uint32_t i)
{
    unsigned at = request_in_push(in, "thinking");
    if (request_in_is(in, i, "type", STR("enabled"))) {
        in->r->thinking_visible = 1;
        read_budget(in, i);
    } else if (request_in_is(in, i, "type", STR("disabled"))) {
        in->r->thinking_budget = 0;
    } else if (request_in_is(in, i, "type", STR("adaptive")) ||
               request_in_is(in, i, "type", STR("between_tools"))) {
        in->r->thinking_dynamic = true;
    } else {
        request_in_fail(in, i, "type", "Input should be 'enabled', 'disabled' or 'adaptive'");
    }
    if (request_in_is(in, i, "display", STR("summarized")))
        in->r->thinking_visible = 1;
    else if (request_in_is(in, i, "display", STR("omitted")))
        in->r->thinking_visible = 0;
    request_in_pop(in, at);
}

static void read_format(struct request_in *in, uint32_t i)
{
    uint32_t schema = request_in_get(in, i, "schema");
    if (!request_in_is(in, i, "type", STR("json_schema"))) {
        request_in_fail(in, i, "type", "Input should be 'json_schema'");
        return;
    }
    if (!json_is(in->d, schema, JSON_OBJECT))
        request_in_fail(in, i, "schema", "Input should be an object");
    in->r->format = FORMAT_SCHEMA;
    in->r->schema = json_raw(in->d, schema);
    request_in_string(in, i, "name", false, &in->r->schema_name);
}

static void read_output_format(struct request_in *in, uint32_t i)
{
    unsigned at = request_in_push(in, "output_format");
    read_format(in, i);
    request_in_pop(in, at);
}

static void read_output_config(struct request_in *in, uint32_t i)
{
    unsigned at = request_in_push(in, "output_config");
    struct str effort = STR_NULL;
    uint32_t format = request_in_get(in, i, "format");
    if (request_in_string(in, i, "effort", false, &effort)) {
        in->r->effort = (uint8_t)effort_find(effort);
        if (in->r->effort < EFFORT_LOW)
            request_in_fail(in, request_in_get(in, i, "effort"), "effort",
                            "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'");
    }
    if (format != JSON_NONE) {
        unsigned inner = request_in_push(in, ".format");
        read_format(in, format);
        request_in_pop(in, inner);
    }
    request_in_pop(in, at);
}

/* ---- the rest ---- */

static void read_metadata(struct request_in *in, uint32_t i)
{
    unsigned at = request_in_push(in, "metadata");
    request_in_string(in, i, "user_id", false, &in->r->user);
    request_in_pop(in, at);
}

/* Anthropic's names for what OpenAI calls auto and default. */
static void read_service_tier(struct request_in *in, uint32_t i)
{
    if (!json_string(in->d, i, in->a, &in->r->service_tier))
        request_in_fail(in, i, "service_tier", "Input should be a valid string");
    if (str_eq(in->r->service_tier, STR("standard_only")))
        in->r->service_tier = STR("default");
}

static const struct {
    struct str name;
    void (*read)(struct request_in *in, uint32_t value);
} members[] = {
    {STR("model"), read_model},
    {STR("system"), read_system},
    {STR("messages"), read_messages},
    {STR("max_tokens"), read_max_tokens},
    {STR("stream"), read_stream},
    {STR("temperature"), read_temperature},
    {STR("top_p"), read_top_p},
    {STR("top_k"), read_top_k},
    {STR("stop_sequences"), read_stop},
    {STR("tools"), read_tools},
    {STR("tool_choice"), read_choice},
    {STR("thinking"), read_thinking},
    {STR("output_format"), read_output_format},
    {STR("output_config"), read_output_config},
    {STR("metadata"), read_metadata},
    {STR("service_tier"), read_service_tier},
    {STR("cache_control"), NULL},
};
#define MEMBERS (sizeof members / sizeof *members)

static void read_extras(struct request_in *in)
{
    uint32_t root = json_root(in->d);
    for (uint32_t key = json_child(in->d, root); key != JSON_NONE;
         key = json_sibling(in->d, root, key + 1)) {
        struct str name = STR_NULL;
        bool known = json_is(in->d, key + 1, JSON_NULL);
        for (size_t i = 0; i < MEMBERS && !known; i++)
            known = json_string_is(in->d, key, members[i].name);
        if (!known && json_string(in->d, key, in->a, &name))
            neutral_extra(in->a, &in->r->extras, name, json_raw(in->d, key + 1));
    }
}

/* A mark on the whole request is one on its last block. */
static void mark_last(struct request_in *in)
{
    enum cache_mark mark = request_in_cache(in, json_root(in->d));
    struct part *last = NULL;
    for (struct turn *t = in->r->turns; t && mark; t = t->next)
        for (struct part *p = t->parts; p; p = p->next)
            if (p->type != PART_REASONING)
                last = p;
    if (last && !last->cache)
        last->cache = (uint8_t)mark;
}

static void check_whole(struct request_in *in)
{
    const struct neutral_request *r = in->r;
    uint32_t root = json_root(in->d);
    double limit;
    if (!r->model.n)
        request_in_fail(in, root, "model", "Field required");
    if (request_in_get(in, root, "messages") == JSON_NONE)
        request_in_fail(in, root, "messages", "Field required");
    if (r->op != OP_COUNT_TOKENS && !r->max_tokens.n)
        request_in_fail(in, root, "max_tokens", "Field required");
    if (r->op != OP_COUNT_TOKENS && r->thinking_budget > 0 &&
        neutral_number(r->max_tokens, &limit) && (double)r->thinking_budget >= limit)
        request_in_fail(in, request_in_get(in, root, "max_tokens"), "max_tokens",
                        "`max_tokens` must be greater than `thinking.budget_tokens`");
}

static enum err read_body(struct neutral_request *out, enum llm_op op, const struct json_doc *d,
                          struct str model, struct arena *a, struct err_info *info)
{
    neutral_request_init(out, op);
    out->model = model;
    struct request_in in = {.d = d, .a = a, .r = out, .info = info, .system_end = &out->system};
    uint32_t root = json_root(d);
    if (!json_is(d, root, JSON_OBJECT))
        return err_set(info, ERR_INVALID, "the request body must be a JSON object");
    for (size_t i = 0; i < MEMBERS && !in.err; i++) {
        uint32_t value = json_get(d, root, members[i].name);
        if (members[i].read && value != JSON_NONE && !json_is(d, value, JSON_NULL))
            members[i].read(&in, value);
    }
    if (!in.err) {
        read_extras(&in);
        mark_last(&in);
        check_whole(&in);
    }
    if (out->thinking_budget == 0)
        out->effort = EFFORT_NONE;
    if (in.err)
        return in.err;
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err anthropic_read_request(struct neutral_request *out, const struct json_doc *d,
                                struct str model, struct arena *a, struct err_info *info)
{
    return read_body(out, OP_MESSAGES, d, model, a, info);
}

enum err anthropic_read_count(struct neutral_request *out, const struct json_doc *d,
                              struct str model, struct arena *a, struct err_info *info)
{
    return read_body(out, OP_COUNT_TOKENS, d, model, a, info);
}
