/* request_out_tools: tools and the choice among them, and answers by a JSON schema where the model
 * has no field for one. */
#include "llm/anthropic/anthropic.h"

#include "core/map.h"

#define STUBS_MAX 512

bool request_out_has_tool(const struct request_out *o, const struct tool *t)
{
    return !t->kind.n || op_row(o->r->op)->dialect == DIALECT_ANTHROPIC;
}

static bool any_tool(const struct request_out *o)
{
    for (const struct tool *t = o->r->tools; t; t = t->next)
        if (request_out_has_tool(o, t))
            return true;
    return false;
}

static bool history_has_tools(const struct neutral_request *r)
{
    for (const struct turn *t = r->turns; t; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (p->type == PART_TOOL_USE || p->type == PART_TOOL_RESULT)
                return true;
    return false;
}

/* ---- schemas ---- */

/* What a JSON text is: an object of type "object" or without a type, or something else. */
enum shape { SHAPE_OBJECT, SHAPE_UNTYPED, SHAPE_OTHER };

static enum shape shape_of(struct str schema)
{
    struct json_doc d;
    if (json_parse(&d, schema, NULL) || !json_is(&d, json_root(&d), JSON_OBJECT))
        return SHAPE_OTHER;
    uint32_t type = json_get(&d, json_root(&d), STR("type"));
    if (type == JSON_NONE)
        return SHAPE_UNTYPED;
    return json_string_is(&d, type, STR("object")) ? SHAPE_OBJECT : SHAPE_OTHER;
}

/* The wire wants `type` to be there. */
static void put_schema(struct request_out *o, struct str schema)
{
    json_key(&o->w, STR("input_schema"));
    if (!schema.n) {
        json_put_raw(&o->w, STR("{\"type\":\"object\",\"properties\":{}}"));
        return;
    }
    switch (shape_of(schema)) {
    case SHAPE_OBJECT:
        json_put_raw(&o->w, schema);
        return;
    case SHAPE_UNTYPED:
        break;
    default:
        request_out_refuse(o, F_TOOLS, "a tool's parameters must be a schema of type object");
        json_put_null(&o->w);
        return;
    }
    struct str rest = str_trim(str_from(str_trim(schema), 1));
    bool empty = str_starts(rest, STR("}"));
    json_put_raw(&o->w,
                 arena_printf(o->a, "{\"type\":\"object\"%s%.*s", empty ? "" : ",", STR_FMT(rest)));
}

/* ---- the plan ---- */

static bool can_force(const struct request_out *o)
{
    return !model_caps_rule(o->t->caps, RULE_THINKING_CANNOT_BE_OFF);
}

static void plan_schema(struct request_out *o)
{
    if (o->r->format != FORMAT_SCHEMA)
        return;
    if (model_caps_rule(o->t->caps, RULE_JSON_SCHEMA_NATIVE)) {
        o->schema = SCHEMA_NATIVE;
    } else if (o->r->choice != CHOICE_NAMED && can_force(o) &&
               shape_of(o->r->schema) != SHAPE_OTHER) {
        o->schema = SCHEMA_AS_TOOL;
        o->link->schema_tool = true;
    } else {
        o->schema = SCHEMA_IN_WORDS;
        request_out_drop(o, F_FORMAT);
    }
}

void request_out_plan_tools(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    bool any = any_tool(o);
    plan_schema(o);
    for (const struct tool *t = r->tools; t; t = t->next)
        if (!request_out_has_tool(o, t))
            request_out_drop(o, F_TOOLS);
    o->stubs = !any && history_has_tools(r);
    o->choice = any ? (enum tool_choice)r->choice : o->stubs ? CHOICE_NONE : CHOICE_UNSET;
    bool forced = o->choice == CHOICE_REQUIRED || o->choice == CHOICE_NAMED;
    if (!any && (r->choice == CHOICE_REQUIRED || r->choice == CHOICE_NAMED))
        request_out_drop(o, F_CHOICE);
    if (forced && !can_force(o)) {
        o->choice = CHOICE_AUTO;
        request_out_drop(o, F_CHOICE);
    }
    if (o->schema == SCHEMA_AS_TOOL) /* with tools of the caller's own, those or the answer */
        o->choice = any && r->choice != CHOICE_NONE ? CHOICE_REQUIRED : CHOICE_NAMED;
    if (r->parallel != 0 || !any)
        return;
    if (model_caps_rule(o->t->caps, RULE_NO_PARALLEL_SWITCH))
        request_out_drop(o, F_PARALLEL);
    else if (o->choice == CHOICE_UNSET)
        o->choice = CHOICE_AUTO;
}

/* ---- writing ---- */

static void put_name(struct request_out *o, struct str name)
{
    struct str fit = anthropic_name_fit(name, o->a);
    if (!fit.n)
        request_out_refuse(o, F_TOOLS,
                           "the tool name \"%.60s\" is empty or too long for this provider",
                           arena_dup(o->a, name).p ? arena_dup(o->a, name).p : "");
    json_field_string(&o->w, "name", fit);
}

static void put_tool(struct request_out *o, const struct tool *t)
{
    if (t->kind.n) {
        json_put_raw(&o->w, t->raw);
        return;
    }
    json_open_object(&o->w);
    put_name(o, t->name);
    if (t->description.n)
        json_field_string(&o->w, "description", t->description);
    put_schema(o, t->schema);
    if (t->strict > 0 && model_caps_rule(o->t->caps, RULE_JSON_SCHEMA_NATIVE))
        json_field_bool(&o->w, "strict", true);
    request_out_mark(o, o->mark_tool == t ? CACHE_5M : (enum cache_mark)t->cache);
    json_close_object(&o->w);
}

static void put_stub(struct request_out *o, struct str name)
{
    json_open_object(&o->w);
    put_name(o, name);
    json_field_string(&o->w, "description", STR("A tool used earlier in the conversation."));
    put_schema(o, STR_NULL);
    json_close_object(&o->w);
}

/* One for each name that the history calls. */
static void put_stubs(struct request_out *o)
{
    struct map seen;
    map_init(&seen, STUBS_MAX);
    for (const struct turn *t = o->r->turns; t; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (p->type == PART_TOOL_USE && !map_get(&seen, p->name) &&
                map_put(&seen, p->name, &seen) == ERR_OK)
                put_stub(o, p->name);
    if (!seen.count)
        put_stub(o, STR("tool"));
    map_release(&seen);
}

static void put_schema_tool(struct request_out *o)
{
    struct str what = o->r->schema_description;
    json_open_object(&o->w);
    json_field_string(&o->w, "name", STR(SCHEMA_TOOL));
    json_field_string(&o->w, "description",
                      what.n ? what
                             : STR("Gives the answer. Call it once, with the whole answer."));
    put_schema(o, o->r->schema);
    json_close_object(&o->w);
}

static void put_choice(struct request_out *o)
{
    static const char *const types[] = {[CHOICE_AUTO] = "auto",
                                        [CHOICE_NONE] = "none",
                                        [CHOICE_REQUIRED] = "any",
                                        [CHOICE_NAMED] = "tool"};
    if (o->choice == CHOICE_UNSET)
        return;
    json_key(&o->w, STR("tool_choice"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type", str_c(types[o->choice]));
    if (o->choice == CHOICE_NAMED && o->schema == SCHEMA_AS_TOOL)
        json_field_string(&o->w, "name", STR(SCHEMA_TOOL));
    else if (o->choice == CHOICE_NAMED)
        put_name(o, o->r->choice_name);
    if (o->r->parallel == 0 && o->choice != CHOICE_NONE &&
        !model_caps_rule(o->t->caps, RULE_NO_PARALLEL_SWITCH))
        json_field_bool(&o->w, "disable_parallel_tool_use", true);
    json_close_object(&o->w);
}

void request_out_tools(struct request_out *o)
{
    if (!o->stubs && o->schema != SCHEMA_AS_TOOL && !any_tool(o))
        return;
    json_key(&o->w, STR("tools"));
    json_open_array(&o->w);
    for (const struct tool *t = o->r->tools; t; t = t->next)
        if (request_out_has_tool(o, t))
            put_tool(o, t);
    if (o->stubs)
        put_stubs(o);
    if (o->schema == SCHEMA_AS_TOOL)
        put_schema_tool(o);
    json_close_array(&o->w);
    put_choice(o);
}
