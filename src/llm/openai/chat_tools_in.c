/* chat_tools_in: tools, the choice among them, and the functions that came before tools. */
#include "llm/openai/openai.h"

/* More of them than a provider takes; the tools are compared with each. */
#define ALLOWED_MAX 256

enum cache_mark chat_in_cache(struct openai_in *in, uint32_t obj)
{
    uint32_t mark;
    struct str ttl = STR_NULL;
    if (!openai_member_object(in, obj, "cache_control", false, &mark))
        return CACHE_NONE;
    if (!json_string_is(in->d, json_get(in->d, mark, STR("type")), STR("ephemeral")))
        openai_fail(in, mark, "type", "must be ephemeral");
    openai_member_string(in, mark, "ttl", false, &ttl);
    if (ttl.n && !str_eq(ttl, STR("5m")) && !str_eq(ttl, STR("1h")))
        openai_fail(in, openai_get(in, mark, "ttl"), NULL, "must be 5m or 1h");
    return str_eq(ttl, STR("1h")) ? CACHE_1H : CACHE_5M;
}

static struct tool *add_tool(struct openai_in *in)
{
    struct tool *t = neutral_tool(in->a, in->tool_end);
    if (t)
        in->tool_end = &t->next;
    else
        in->err = in->err ? in->err : ERR_NOMEM;
    return t;
}

/* Of {"name", "description", "parameters", "strict"}. */
static void in_function(struct openai_in *in, uint32_t f, struct tool *t)
{
    uint32_t v;
    bool strict;
    openai_member_string(in, f, "name", true, &t->name);
    openai_member_string(in, f, "description", false, &t->description);
    if (openai_member_object(in, f, "parameters", false, &v))
        t->schema = json_raw(in->d, v);
    if ((v = openai_get(in, f, "strict")) == JSON_NONE)
        return;
    if (json_bool(in->d, v, &strict))
        t->strict = strict;
    else
        openai_fail(in, v, NULL, "must be true or false");
}

static void in_tool(struct openai_in *in, uint32_t i)
{
    struct str type = STR("function");
    uint32_t f;
    struct tool *t;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be an object");
        return;
    }
    openai_member_string(in, i, "type", openai_get(in, i, "function") == JSON_NONE, &type);
    if (in->err || !(t = add_tool(in)))
        return;
    t->cache = (uint8_t)chat_in_cache(in, i);
    if (!str_eq(type, STR("function"))) {
        t->kind = type;
        t->raw = json_raw(in->d, i);
        if (str_eq(type, STR("custom")) && openai_member_object(in, i, "custom", true, &f))
            openai_member_string(in, f, "name", true, &t->name);
        return;
    }
    if (!openai_member_object(in, i, "function", true, &f))
        return;
    in_function(in, f, t);
    if (t->cache == CACHE_NONE)
        t->cache = (uint8_t)chat_in_cache(in, f);
}

void chat_in_tools(struct openai_in *in, uint32_t i)
{
    if (!json_is(in->d, i, JSON_ARRAY))
        openai_fail(in, i, NULL, "must be an array");
    OPENAI_EACH(in->d, t, i)
    {
        if (in->err)
            return;
        in_tool(in, t);
    }
}

void chat_in_functions(struct openai_in *in, uint32_t i)
{
    if (!json_is(in->d, i, JSON_ARRAY))
        openai_fail(in, i, NULL, "must be an array");
    OPENAI_EACH(in->d, f, i)
    {
        struct tool *t;
        if (!json_is(in->d, f, JSON_OBJECT))
            openai_fail(in, f, NULL, "must be an object");
        if (in->err || !(t = add_tool(in)))
            return;
        in_function(in, f, t);
    }
}

/* ---- the choice ---- */

static const struct {
    struct str name;
    enum tool_choice choice;
} choices[] = {
    {STR("auto"), CHOICE_AUTO}, {STR("none"), CHOICE_NONE}, {STR("required"), CHOICE_REQUIRED}};

/* "auto", "none", "required": by value i. */
static bool in_mode(struct openai_in *in, uint32_t i)
{
    for (size_t c = 0; c < sizeof choices / sizeof *choices; c++)
        if (json_string_is(in->d, i, choices[c].name)) {
            in->r->choice = (uint8_t)choices[c].choice;
            return true;
        }
    return false;
}

/* {"type": "allowed_tools", "allowed_tools": {"mode": …, "tools": […]}} */
static void in_allowed(struct openai_in *in, uint32_t i)
{
    uint32_t allowed;
    if (!openai_member_object(in, i, "allowed_tools", true, &allowed))
        return;
    if (!in_mode(in, openai_get(in, allowed, "mode")) || in->r->choice == CHOICE_NONE)
        openai_fail(in, allowed, "mode", "must be auto or required");
    in->allowed = openai_get(in, allowed, "tools");
    if (!json_is(in->d, in->allowed, JSON_ARRAY))
        openai_fail(in, allowed, "tools", "must be an array");
    else if (json_size(in->d, in->allowed) > ALLOWED_MAX)
        openai_fail(in, in->allowed, NULL, "must not have more than %d tools", ALLOWED_MAX);
}

void chat_in_tool_choice(struct openai_in *in, uint32_t i)
{
    struct str type = STR("");
    uint32_t f;
    in->choice = i;
    if (in_mode(in, i))
        return;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be auto, none, required or an object that names a tool");
        return;
    }
    openai_member_string(in, i, "type", true, &type);
    if (str_eq(type, STR("allowed_tools"))) {
        in_allowed(in, i);
    } else if (str_eq(type, STR("function")) || str_eq(type, STR("custom"))) {
        in->r->choice = CHOICE_NAMED;
        if (openai_member_object(in, i, type.n == 6 ? "custom" : "function", true, &f))
            openai_member_string(in, f, "name", true, &in->r->choice_name);
    } else {
        openai_fail(in, openai_get(in, i, "type"), NULL,
                    "must be function, custom or allowed_tools");
    }
}

void chat_in_function_call(struct openai_in *in, uint32_t i)
{
    if (in->choice != JSON_NONE)
        return; /* tool_choice wins */
    in->choice = i;
    if (json_is(in->d, i, JSON_OBJECT)) {
        in->r->choice = CHOICE_NAMED;
        openai_member_string(in, i, "name", true, &in->r->choice_name);
    } else if (!in_mode(in, i) || in->r->choice == CHOICE_REQUIRED) {
        openai_fail(in, i, NULL, "must be auto, none or an object that names a function");
    }
}

/* ---- once both are read ---- */

static bool is_allowed(const struct openai_in *in, struct str name)
{
    OPENAI_EACH(in->d, e, in->allowed)
    {
        uint32_t f = openai_get(in, e, "function");
        if (f == JSON_NONE)
            f = openai_get(in, e, "custom");
        if (json_string_is(in->d, json_get(in->d, f, STR("name")), name))
            return true;
    }
    return false;
}

/* To allow some is to offer no others. */
static void keep_allowed(struct openai_in *in)
{
    for (struct tool **t = &in->r->tools; *t;) {
        if (is_allowed(in, (*t)->name))
            t = &(*t)->next;
        else
            *t = (*t)->next;
    }
}

void chat_in_check_tools(struct openai_in *in)
{
    struct neutral_request *r = in->r;
    if (in->allowed != JSON_NONE)
        keep_allowed(in);
    if (r->choice != CHOICE_REQUIRED && r->choice != CHOICE_NAMED)
        return;
    bool found = r->choice == CHOICE_REQUIRED && r->tools;
    for (const struct tool *t = r->tools; t && !found; t = t->next)
        found = str_eq(t->name, r->choice_name);
    if (!found && r->choice == CHOICE_REQUIRED)
        openai_fail(in, in->choice, NULL, "asks for a tool, but there are none");
    else if (!found)
        openai_fail(in, in->choice, NULL, "names \"%.*s\", which is not among the tools",
                    r->choice_name.n > 64 ? 64 : (int)r->choice_name.n, r->choice_name.p);
}
