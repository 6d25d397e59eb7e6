/* responses/request_in: the members of a Responses request, one row each. What is not known goes
 * into the extras, raw. */
#include "llm/responses/responses.h"

#include <stddef.h>

/* ---- tools ---- */

static enum err read_function(struct responses_in *in, uint32_t i, struct tool *t)
{
    enum err e = responses_in_string(in, i, STR("name"), true, &t->name);
    if (!e)
        e = responses_in_string(in, i, STR("description"), false, &t->description);
    if (e)
        return e;
    uint32_t schema = json_get(in->d, i, STR("parameters"));
    if (json_is(in->d, schema, JSON_OBJECT))
        t->schema = json_raw(in->d, schema);
    else if (schema != JSON_NONE && !json_is(in->d, schema, JSON_NULL)) {
        responses_in_push(in, ".parameters");
        return responses_in_bad(in, schema, "parameters must be an object");
    }
    bool strict;
    uint32_t said = json_get(in->d, i, STR("strict"));
    if (json_bool(in->d, said, &strict))
        t->strict = strict;
    return ERR_OK;
}

static enum err read_tools(struct responses_in *in, uint32_t list)
{
    struct tool **end = &in->r->tools;
    struct str type;
    unsigned n = 0;
    if (!json_is(in->d, list, JSON_ARRAY))
        return responses_in_bad(in, list, "tools must be a list");
    for (uint32_t i = json_child(in->d, list); i != JSON_NONE; i = json_sibling(in->d, list, i)) {
        unsigned before = responses_in_push(in, "[%u]", n++);
        if (!json_is(in->d, i, JSON_OBJECT))
            return responses_in_bad(in, i, "a tool must be an object");
        enum err e = responses_in_string(in, i, STR("type"), true, &type);
        if (e)
            return e;
        struct tool *t = neutral_tool(in->a, end);
        if (!t)
            return ERR_NOMEM;
        end = &t->next;
        if (str_eq(type, STR("function"))) {
            e = read_function(in, i, t);
        } else {
            t->kind = type;
            t->raw = json_raw(in->d, i);
            e = responses_in_string(in, i, STR("name"), false, &t->name);
        }
        if (e)
            return e;
        in->path[in->path_n = before] = 0;
    }
    return ERR_OK;
}

static enum err choose_word(struct responses_in *in, uint32_t i)
{
    static const struct {
        struct str word;
        enum tool_choice choice;
    } words[] = {
        {STR("auto"), CHOICE_AUTO}, {STR("none"), CHOICE_NONE}, {STR("required"), CHOICE_REQUIRED}};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (json_string_is(in->d, i, words[k].word)) {
            in->r->choice = words[k].choice;
            return ERR_OK;
        }
    return responses_in_bad(in, i, "tool_choice must be none, auto, required or an object");
}

/* A set of tools to choose from: of one function that must be called it is that one, else its mode,
 * and the set is lost. */
static enum err choose_allowed(struct responses_in *in, uint32_t i)
{
    uint32_t tools = json_get(in->d, i, STR("tools")), one = json_child(in->d, tools);
    bool required = json_string_is(in->d, json_get(in->d, i, STR("mode")), STR("required"));
    if (!json_is(in->d, tools, JSON_ARRAY)) {
        responses_in_push(in, ".tools");
        return responses_in_bad(in, i, "tools must be a list");
    }
    if (required && json_size(in->d, tools) == 1 &&
        json_string_is(in->d, json_get(in->d, one, STR("type")), STR("function"))) {
        responses_in_push(in, ".tools[0]");
        in->r->choice = CHOICE_NAMED;
        return responses_in_string(in, one, STR("name"), true, &in->r->choice_name);
    }
    in->r->choice = required ? CHOICE_REQUIRED : CHOICE_AUTO;
    neutral_extra(in->a, &in->r->extras, STR("tool_choice.allowed_tools"), json_raw(in->d, i));
    return ERR_OK;
}

static enum err read_choice(struct responses_in *in, uint32_t i)
{
    struct str type;
    if (!json_is(in->d, i, JSON_OBJECT))
        return choose_word(in, i);
    enum err e = responses_in_string(in, i, STR("type"), true, &type);
    if (e)
        return e;
    if (str_eq(type, STR("allowed_tools")))
        return choose_allowed(in, i);
    if (str_eq(type, STR("function"))) {
        in->r->choice = CHOICE_NAMED;
        return responses_in_string(in, i, STR("name"), true, &in->r->choice_name);
    }
    /* A tool that runs at OpenAI. */
    neutral_extra(in->a, &in->r->extras, STR("tool_choice"), json_raw(in->d, i));
    return ERR_OK;
}

/* ---- how to answer ---- */

/* Members of obj that are not among the known ones: into the extras as "prefix.name". */
static void extras_of(struct responses_in *in, uint32_t obj, const char *prefix,
                      const struct str *known, size_t known_n)
{
    for (uint32_t k = json_child(in->d, obj); k != JSON_NONE; k = json_sibling(in->d, obj, k + 1)) {
        struct str name;
        size_t i = 0;
        if (json_is(in->d, k + 1, JSON_NULL) || !json_string(in->d, k, in->a, &name))
            continue;
        while (i < known_n && !str_eq(known[i], name))
            i++;
        if (i == known_n)
            neutral_extra(in->a, &in->r->extras,
                          arena_printf(in->a, "%s.%.*s", prefix, STR_FMT(name)),
                          json_raw(in->d, k + 1));
    }
}

static enum err read_thinking(struct responses_in *in, uint32_t i)
{
    static const struct str known[] = {STR("effort"), STR("summary"), STR("generate_summary")};
    struct str effort, summary, older;
    if (!json_is(in->d, i, JSON_OBJECT))
        return responses_in_bad(in, i, "reasoning must be an object");
    enum err e = responses_in_string(in, i, known[0], false, &effort);
    if (!e)
        e = responses_in_string(in, i, known[1], false, &summary);
    if (!e)
        e = responses_in_string(in, i, known[2], false, &older);
    if (e)
        return e;
    in->r->effort = effort_find(effort);
    if (effort.n && in->r->effort == EFFORT_UNSET) {
        responses_in_push(in, ".effort");
        return responses_in_bad(in, json_get(in->d, i, known[0]),
                                "effort must be none, minimal, low, medium, high, xhigh or max");
    }
    if (summary.n || older.n)
        in->r->thinking_visible = 1;
    extras_of(in, i, "reasoning", known, sizeof known / sizeof *known);
    return ERR_OK;
}

static enum err read_schema(struct responses_in *in, uint32_t i)
{
    bool strict;
    struct neutral_request *r = in->r;
    enum err e = responses_in_string(in, i, STR("name"), true, &r->schema_name);
    if (!e)
        e = responses_in_string(in, i, STR("description"), false, &r->schema_description);
    if (e)
        return e;
    uint32_t schema = json_get(in->d, i, STR("schema"));
    if (!json_is(in->d, schema, JSON_OBJECT)) {
        responses_in_push(in, ".schema");
        return responses_in_bad(in, schema == JSON_NONE ? i : schema, "schema must be an object");
    }
    r->schema = json_raw(in->d, schema);
    if (json_bool(in->d, json_get(in->d, i, STR("strict")), &strict))
        r->schema_strict = strict;
    r->format = FORMAT_SCHEMA;
    return ERR_OK;
}

static enum err read_format(struct responses_in *in, uint32_t i)
{
    struct str type;
    responses_in_push(in, ".format");
    if (!json_is(in->d, i, JSON_OBJECT))
        return responses_in_bad(in, i, "format must be an object");
    enum err e = responses_in_string(in, i, STR("type"), true, &type);
    if (e)
        return e;
    if (str_eq(type, STR("json_schema")))
        return read_schema(in, i);
    in->r->format = str_eq(type, STR("text"))          ? FORMAT_TEXT
                    : str_eq(type, STR("json_object")) ? FORMAT_JSON
                                                       : FORMAT_UNSET;
    if (in->r->format != FORMAT_UNSET)
        return ERR_OK;
    responses_in_push(in, ".type");
    return responses_in_bad(in, json_get(in->d, i, STR("type")),
                            "type must be text, json_object or json_schema");
}

static enum err read_output_text(struct responses_in *in, uint32_t i)
{
    static const struct str known[] = {STR("format"), STR("verbosity")};
    if (!json_is(in->d, i, JSON_OBJECT))
        return responses_in_bad(in, i, "text must be an object");
    enum err e = responses_in_string(in, i, known[1], false, &in->r->verbosity);
    if (e)
        return e;
    extras_of(in, i, "text", known, sizeof known / sizeof *known);
    uint32_t format = json_get(in->d, i, known[0]);
    return format == JSON_NONE || json_is(in->d, format, JSON_NULL) ? ERR_OK
                                                                    : read_format(in, format);
}

static enum err read_include(struct responses_in *in, uint32_t list)
{
    bool other = false;
    if (!json_is(in->d, list, JSON_ARRAY))
        return responses_in_bad(in, list, "include must be a list");
    for (uint32_t i = json_child(in->d, list); i != JSON_NONE; i = json_sibling(in->d, list, i)) {
        if (!json_is(in->d, i, JSON_STRING))
            return responses_in_bad(in, i, "include must be a list of strings");
        if (json_string_is(in->d, i, STR("message.output_text.logprobs")))
            in->r->logprobs = 1;
        else if (!json_string_is(in->d, i, STR("reasoning.encrypted_content")))
            other = true;
    }
    if (other)
        neutral_extra(in->a, &in->r->extras, STR("include"), json_raw(in->d, list));
    return ERR_OK;
}

/* ---- the rest ---- */

static enum err read_instructions(struct responses_in *in, uint32_t i)
{
    struct part *p = neutral_part(in->a, PART_TEXT, &in->r->system);
    if (!p)
        return ERR_NOMEM;
    if (!json_is(in->d, i, JSON_STRING))
        return responses_in_bad(in, i, "instructions must be a string");
    in->system_end = &p->next;
    return neutral_read_text(p, in->d, i, in->a) ? ERR_OK : ERR_NOMEM;
}

static enum err read_metadata(struct responses_in *in, uint32_t i)
{
    if (!json_is(in->d, i, JSON_OBJECT))
        return responses_in_bad(in, i, "metadata must be an object");
    in->r->metadata = json_raw(in->d, i);
    return ERR_OK;
}

static enum err read_stream(struct responses_in *in, uint32_t i)
{
    if (!json_bool(in->d, i, &in->r->stream))
        return responses_in_bad(in, i, "stream must be true or false");
    return ERR_OK;
}

static enum err read_background(struct responses_in *in, uint32_t i)
{
    bool on;
    if (!json_bool(in->d, i, &on))
        return responses_in_bad(in, i, "background must be true or false");
    return on ? responses_in_bad(in, i, "background responses are not served for this model")
              : ERR_OK;
}

static enum err read_truncation(struct responses_in *in, uint32_t i)
{
    if (!json_string_is(in->d, i, STR("disabled")))
        neutral_extra(in->a, &in->r->extras, STR("truncation"), json_raw(in->d, i));
    return ERR_OK;
}

static enum err refuse_stored(struct responses_in *in, uint32_t i)
{
    return responses_in_bad(
        in, i,
        "%s refers to what OpenAI stores, which this model cannot see: send the "
        "whole conversation as input",
        in->path);
}

static enum err skip(struct responses_in *in, uint32_t i)
{
    (void)in, (void)i;
    return ERR_OK;
}

/* ---- the table ---- */

enum kind { BY_FUNCTION, NUMBER, COUNT, STRING, BOOL };

static const struct field_row {
    struct str name;
    enum kind kind;
    enum err (*read)(struct responses_in *in, uint32_t i);
    size_t at; /* offset in struct neutral_request */
} fields[] = {
#define AT(member) NULL, offsetof(struct neutral_request, member)
    {STR("model"), STRING, AT(model)},
    /* before input: they come first in the system's parts */
    {STR("instructions"), BY_FUNCTION, read_instructions, 0},
    {STR("input"), BY_FUNCTION, skip, 0}, /* read last */
    {STR("tools"), BY_FUNCTION, read_tools, 0},
    {STR("tool_choice"), BY_FUNCTION, read_choice, 0},
    {STR("parallel_tool_calls"), BOOL, AT(parallel)},
    {STR("reasoning"), BY_FUNCTION, read_thinking, 0},
    {STR("text"), BY_FUNCTION, read_output_text, 0},
    {STR("max_output_tokens"), COUNT, AT(max_tokens)},
    {STR("temperature"), NUMBER, AT(temperature)},
    {STR("top_p"), NUMBER, AT(top_p)},
    {STR("top_logprobs"), COUNT, AT(top_logprobs)},
    {STR("include"), BY_FUNCTION, read_include, 0},
    {STR("metadata"), BY_FUNCTION, read_metadata, 0},
    {STR("user"), STRING, AT(user)},
    {STR("safety_identifier"), STRING, AT(user)}, /* its successor: wins, as it comes later */
    {STR("prompt_cache_key"), STRING, AT(prompt_cache_key)},
    {STR("service_tier"), STRING, AT(service_tier)},
    {STR("store"), BOOL, AT(store)},
    {STR("stream"), BY_FUNCTION, read_stream, 0},
    {STR("stream_options"), BY_FUNCTION, skip, 0}, /* obfuscation, which is never added */
    {STR("background"), BY_FUNCTION, read_background, 0},
    {STR("truncation"), BY_FUNCTION, read_truncation, 0},
    {STR("previous_response_id"), BY_FUNCTION, refuse_stored, 0},
    {STR("conversation"), BY_FUNCTION, refuse_stored, 0},
    {STR("prompt"), BY_FUNCTION, refuse_stored, 0},
#undef AT
};
#define FIELDS (sizeof fields / sizeof *fields)

static enum err read_field(struct responses_in *in, const struct field_row *f, uint32_t i)
{
    void *at = (char *)in->r + f->at;
    int64_t n;
    bool yes;
    switch (f->kind) {
    case NUMBER:
        if (!json_is(in->d, i, JSON_NUMBER))
            return responses_in_bad(in, i, "%.*s must be a number", STR_FMT(f->name));
        *(struct str *)at = json_raw(in->d, i);
        return ERR_OK;
    case COUNT:
        if (!json_i64(in->d, i, &n) || n < 0)
            return responses_in_bad(in, i, "%.*s must be a whole number", STR_FMT(f->name));
        *(struct str *)at = json_raw(in->d, i);
        return ERR_OK;
    case STRING:
        if (!json_is(in->d, i, JSON_STRING))
            return responses_in_bad(in, i, "%.*s must be a string", STR_FMT(f->name));
        return json_string(in->d, i, in->a, at) ? ERR_OK : ERR_NOMEM;
    case BOOL:
        if (!json_bool(in->d, i, &yes))
            return responses_in_bad(in, i, "%.*s must be true or false", STR_FMT(f->name));
        *(int8_t *)at = yes;
        return ERR_OK;
    default:
        return f->read(in, i);
    }
}

static enum err read_fields(struct responses_in *in, uint32_t root)
{
    for (size_t k = 0; k < FIELDS; k++) {
        uint32_t i = json_get(in->d, root, fields[k].name);
        if (i == JSON_NONE || json_is(in->d, i, JSON_NULL))
            continue;
        responses_in_push(in, "%.*s", STR_FMT(fields[k].name));
        if (json_count(in->d, root, fields[k].name) > 1)
            return responses_in_bad(in, i, "%.*s is given twice", STR_FMT(fields[k].name));
        enum err e = read_field(in, &fields[k], i);
        if (e)
            return e;
        in->path[in->path_n = 0] = 0;
    }
    return ERR_OK;
}

static void read_extras(struct responses_in *in, uint32_t root)
{
    for (uint32_t k = json_child(in->d, root); k != JSON_NONE;
         k = json_sibling(in->d, root, k + 1)) {
        struct str name;
        size_t i = 0;
        while (i < FIELDS && !json_string_is(in->d, k, fields[i].name))
            i++;
        if (i == FIELDS && !json_is(in->d, k + 1, JSON_NULL) && json_string(in->d, k, in->a, &name))
            neutral_extra(in->a, &in->r->extras, name, json_raw(in->d, k + 1));
    }
}

enum err responses_read_request(struct neutral_request *out, const struct json_doc *d,
                                struct str model, struct arena *a, struct err_info *info)
{
    uint32_t root = json_root(d);
    struct responses_in in = {.d = d, .a = a, .r = out, .info = info, .system_end = &out->system};
    neutral_request_init(out, OP_RESPONSES);
    if (!json_is(d, root, JSON_OBJECT))
        return responses_in_bad(&in, root, "the body must be a JSON object");
    enum err e = read_fields(&in, root);
    if (e)
        return e;
    if (model.n)
        out->model = model;
    if (!out->model.n) {
        responses_in_push(&in, "model");
        return responses_in_bad(&in, root, "model is required");
    }
    uint32_t input = json_get(d, root, STR("input"));
    if (input == JSON_NONE || json_is(d, input, JSON_NULL)) {
        responses_in_push(&in, "input");
        return responses_in_bad(&in, root, "input is required");
    }
    e = responses_in_input(&in, input);
    if (e)
        return e;
    read_extras(&in, root);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}
