/* demo_plan: from a request to the answer that will be given, before any of it is written. */
#include "core/clock.h"
#include "core/hash.h"
#include "core/rng.h"
#include "gateway/demo/demo_parts.h"

static uint32_t member(const struct json_doc *d, uint32_t obj, struct str name)
{
    return json_is(d, obj, JSON_OBJECT) ? json_get(d, obj, name) : JSON_NONE;
}

static uint32_t top(const struct json_doc *d, struct str name)
{
    return member(d, json_root(d), name);
}

/* What the answer depends on. */
static uint32_t prompt_of(const struct json_doc *d, enum llm_op op)
{
    return top(d, op == OP_CHAT          ? STR("messages")
                  : op == OP_COMPLETIONS ? STR("prompt")
                                         : STR("input"));
}

static void stop_at(struct str *text, const struct json_doc *d, uint32_t stop, struct arena *arena)
{
    struct str s;
    ptrdiff_t at;
    if (json_string(d, stop, arena, &s) && s.n && (at = str_find(*text, s)) >= 0)
        text->n = (size_t)at;
}

static void heed_stops(struct str *text, const struct json_doc *d, struct arena *arena)
{
    enum { STOPS_MAX = 4 };
    uint32_t stop = top(d, STR("stop"));
    stop_at(text, d, stop, arena);
    if (!json_is(d, stop, JSON_ARRAY))
        return;
    unsigned n = 0;
    for (uint32_t i = json_child(d, stop); i != JSON_NONE && n < STOPS_MAX;
         i = json_sibling(d, stop, i), n++)
        stop_at(text, d, i, arena);
}

/* ---- tools -------------------------------------------------------------------- */

/* Has a tool answered since the user last spoke? */
static bool tool_has_answered(const struct json_doc *d, enum llm_op op)
{
    uint32_t list = prompt_of(d, op);
    bool answered = false;
    if (!json_is(d, list, JSON_ARRAY))
        return false;
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i)) {
        uint32_t role = member(d, i, STR("role"));
        if (json_string_is(d, role, STR("user")))
            answered = false;
        else if (json_string_is(d, role, STR("tool")) ||
                 json_string_is(d, member(d, i, STR("type")), STR("function_call_output")))
            answered = true;
    }
    return answered;
}

/* The object that holds a function tool's name and parameters; Chat has it one level deeper. */
static uint32_t function_of(const struct json_doc *d, enum llm_op op, uint32_t tool)
{
    if (!json_string_is(d, member(d, tool, STR("type")), STR("function")))
        return JSON_NONE;
    return op == OP_CHAT ? member(d, tool, STR("function")) : tool;
}

static enum err make_json(const struct json_doc *d, uint32_t schema, struct arena *arena,
                          struct str *out, struct err_info *info)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, DEMO_JSON_MAX_BYTES);
    if (!buf_reserve(&b, DEMO_JSON_MAX_BYTES)) /* from here on it fails by its maximum alone */
        return ERR_NOMEM;
    json_writer_init(&w, &b);
    demo_json_example(&w, d, schema, arena);
    enum err e = ERR_OK;
    if (buf_failed(&b))
        e = err_set(info, ERR_INVALID, "an example for this schema is too long for the demo model");
    else
        *out = arena_dup(arena, buf_view(&b));
    buf_release(&b);
    return e;
}

static enum err plan_call(struct demo_answer *a, const struct json_doc *d, uint32_t function,
                          struct arena *arena, struct err_info *info)
{
    struct demo_part *p = &a->part[a->n];
    uint32_t schema = member(d, function, STR("parameters"));
    *p = (struct demo_part){.call = true, .text = STR("{}")};
    if (!json_string(d, member(d, function, STR("name")), arena, &p->name))
        return err_set(info, ERR_INVALID, "a tool has no name");
    p->id = arena_printf(arena, "fc_%.*s%u", STR_FMT(a->id), a->n);
    p->call_id = arena_printf(arena, "call_%.*s%u", STR_FMT(a->id), a->n);
    a->n++;
    return json_is(d, schema, JSON_OBJECT) ? make_json(d, schema, arena, &p->text, info) : ERR_OK;
}

/* Leaves a->n at 0 when no tool is to be called. */
static enum err plan_calls(struct demo_answer *a, const struct json_doc *d, struct arena *arena,
                           struct err_info *info)
{
    uint32_t tools = top(d, STR("tools")), choice = top(d, STR("tool_choice"));
    if (a->op == OP_COMPLETIONS || !json_is(d, tools, JSON_ARRAY) ||
        json_string_is(d, choice, STR("none")) || tool_has_answered(d, a->op))
        return ERR_OK;
    struct str wanted = STR_NULL;
    (void)json_string(d, member(d, function_of(d, a->op, choice), STR("name")), arena, &wanted);
    bool parallel = true;
    (void)json_bool(d, top(d, STR("parallel_tool_calls")), &parallel);
    unsigned most = parallel && !wanted.p && str_eq(a->model, STR("demo-parallel")) ? 2 : 1;
    for (uint32_t i = json_child(d, tools); i != JSON_NONE && a->n < most;
         i = json_sibling(d, tools, i)) {
        uint32_t f = function_of(d, a->op, i);
        if (f == JSON_NONE)
            continue;
        if (wanted.p && !json_string_is(d, member(d, f, STR("name")), wanted))
            continue;
        enum err e = plan_call(a, d, f, arena, info);
        if (e)
            return e;
    }
    return ERR_OK;
}

/* ---- texts -------------------------------------------------------------------- */

/* response_format of Chat, text.format of Responses. */
static uint32_t format_of(const struct json_doc *d, enum llm_op op)
{
    return op == OP_CHAT        ? top(d, STR("response_format"))
           : op == OP_RESPONSES ? member(d, top(d, STR("text")), STR("format"))
                                : JSON_NONE;
}

static enum err plan_text(struct demo_answer *a, const struct json_doc *d, struct arena *arena,
                          struct err_info *info)
{
    struct demo_part *p = &a->part[0];
    uint32_t format = format_of(d, a->op), kind = member(d, format, STR("type"));
    struct str prompt = json_raw(d, prompt_of(d, a->op));
    *p = (struct demo_part){.id = arena_printf(arena, "msg_%.*s", STR_FMT(a->id))};
    a->n = 1;
    if (json_string_is(d, kind, STR("json_object")))
        return make_json(d, JSON_NONE, arena, &p->text, info);
    if (json_string_is(d, kind, STR("json_schema"))) {
        uint32_t holder = a->op == OP_CHAT ? member(d, format, STR("json_schema")) : format;
        return make_json(d, member(d, holder, STR("schema")), arena, &p->text, info);
    }
    p->text = demo_text(hash_crc32c(0, prompt.p ? prompt.p : "", prompt.n));
    heed_stops(&p->text, d, arena);
    return ERR_OK;
}

/* Counts the pieces and cuts the parts where the caller's limit is reached. */
static void heed_limit(struct demo_answer *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        struct str rest = a->part[i].text;
        while (rest.n && !(a->max_output && a->tokens_out == a->max_output)) {
            (void)demo_piece(&rest);
            a->tokens_out++;
        }
        a->part[i].text.n -= rest.n;
        if (rest.n) {
            a->truncated = true;
            a->n = i + 1;
        }
    }
}

static struct str echo(const struct json_doc *d, struct str name)
{
    struct str raw = json_raw(d, top(d, name));
    return raw.n <= DEMO_ECHO_MAX_BYTES ? raw : STR_NULL;
}

enum err demo_plan(struct demo_answer *a, const struct openai_request *r, const struct json_doc *d,
                   struct arena *arena, struct err_info *info)
{
    *a = (struct demo_answer){.op = r->op,
                              .asks_usage = r->asks_usage,
                              .model = r->model,
                              .created_s = clock_wall_ms() / 1000,
                              .tokens_in = r->estimate_in,
                              .max_output = r->max_output};
    if (r->n > 1)
        return err_set(info, ERR_INVALID, "the demo model gives one answer at a time (n = 1)");
    a->id = arena_printf(arena, "demo%016llx", (unsigned long long)rng_u64());
    enum err e = plan_calls(a, d, arena, info);
    if (!e && !a->n)
        e = plan_text(a, d, arena, info);
    if (e)
        return e;
    heed_limit(a);
    if (r->op == OP_RESPONSES) {
        a->tools = echo(d, STR("tools"));
        a->tool_choice = echo(d, STR("tool_choice"));
        a->instructions = echo(d, STR("instructions"));
        struct str format = json_raw(d, format_of(d, r->op));
        a->text_format = format.n <= DEMO_ECHO_MAX_BYTES ? format : STR_NULL;
    }
    return arena_failed(arena) ? ERR_NOMEM : ERR_OK;
}
