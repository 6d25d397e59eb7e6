/* chat_request_in: a caller's chat completion request, member by member. */
#include "llm/openai/openai.h"

/* ---- limits ---- */

static void in_max_tokens(struct openai_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v) || v < 1)
        openai_fail(in, i, NULL, "must be an integer of at least 1");
    else if (!in->max_tokens_new)
        in->r->max_tokens = json_raw(in->d, i);
}

static void in_max_completion_tokens(struct openai_in *in, uint32_t i)
{
    in->max_tokens_new = false;
    in_max_tokens(in, i);
    in->max_tokens_new = true;
}

/* ---- output ---- */

static void in_schema(struct openai_in *in, uint32_t format)
{
    struct neutral_request *r = in->r;
    uint32_t s, v;
    bool strict;
    if (!openai_member_object(in, format, "json_schema", true, &s))
        return;
    openai_member_string(in, s, "name", true, &r->schema_name);
    openai_member_string(in, s, "description", false, &r->schema_description);
    if ((v = openai_get(in, s, "strict")) != JSON_NONE) {
        if (json_bool(in->d, v, &strict))
            r->schema_strict = strict;
        else
            openai_fail(in, v, NULL, "must be true or false");
    }
    r->format = FORMAT_JSON; /* where there is no schema */
    if (openai_member_object(in, s, "schema", false, &v)) {
        r->format = FORMAT_SCHEMA;
        r->schema = json_raw(in->d, v);
    }
}

static void in_response_format(struct openai_in *in, uint32_t i)
{
    struct str type;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be an object");
        return;
    }
    if (!openai_member_string(in, i, "type", true, &type))
        return;
    if (str_eq(type, STR("text")))
        in->r->format = FORMAT_TEXT;
    else if (str_eq(type, STR("json_object")))
        in->r->format = FORMAT_JSON;
    else if (str_eq(type, STR("json_schema")))
        in_schema(in, i);
    else
        openai_fail(in, openai_get(in, i, "type"), NULL,
                    "must be text, json_object or json_schema");
}

static void in_verbosity(struct openai_in *in, uint32_t i)
{
    if (json_string_is(in->d, i, STR("low")) || json_string_is(in->d, i, STR("medium")) ||
        json_string_is(in->d, i, STR("high")))
        openai_string(in, i, &in->r->verbosity);
    else
        openai_fail(in, i, NULL, "must be low, medium or high");
}

static void in_safety_identifier(struct openai_in *in, uint32_t i)
{
    openai_string(in, i, &in->safety_identifier);
}

/* ---- thinking ---- */

static void in_effort(struct openai_in *in, uint32_t i)
{
    struct str name;
    if (!openai_string(in, i, &name))
        return;
    in->r->effort = (uint8_t)effort_find(name);
    if (in->r->effort == EFFORT_UNSET)
        openai_fail(in, i, NULL, "must be none, minimal, low, medium, high, xhigh or max");
}

static void in_budget(struct openai_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v) || v < 0)
        openai_fail(in, i, NULL, "must be an integer of at least 0");
    else
        in->r->thinking_budget = v;
}

static void think_off(struct neutral_request *r)
{
    r->effort = EFFORT_NONE;
    r->thinking_budget = 0;
}

/* DeepSeek and others: {"type": "enabled"}, with Anthropic's budget_tokens perhaps. */
static void in_thinking(struct openai_in *in, uint32_t i)
{
    struct neutral_request *r = in->r;
    struct str type;
    uint32_t budget = openai_get(in, i, "budget_tokens");
    if (!json_is(in->d, i, JSON_OBJECT))
        openai_fail(in, i, NULL, "must be an object");
    else if (!openai_member_string(in, i, "type", true, &type))
        return;
    else if (str_eq(type, STR("disabled")))
        think_off(r);
    else if (!str_eq(type, STR("enabled")) && !str_eq(type, STR("adaptive")))
        openai_fail(in, openai_get(in, i, "type"), NULL, "must be enabled, disabled or adaptive");
    else if (budget != JSON_NONE)
        in_budget(in, budget);
    else
        r->thinking_dynamic = true;
}

/* OpenRouter: {"effort": …, "max_tokens": …, "enabled": …, "exclude": …}. */
static void in_reasoning(struct openai_in *in, uint32_t i)
{
    struct neutral_request *r = in->r;
    uint32_t v;
    bool on;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be an object");
        return;
    }
    if ((v = openai_get(in, i, "effort")) != JSON_NONE)
        in_effort(in, v);
    if ((v = openai_get(in, i, "max_tokens")) != JSON_NONE)
        in_budget(in, v);
    if ((v = openai_get(in, i, "exclude")) != JSON_NONE) {
        if (json_bool(in->d, v, &on))
            r->thinking_visible = !on;
        else
            openai_fail(in, v, NULL, "must be true or false");
    }
    if ((v = openai_get(in, i, "enabled")) != JSON_NONE) {
        if (!json_bool(in->d, v, &on))
            openai_fail(in, v, NULL, "must be true or false");
        else if (!on)
            think_off(r);
        else if (r->effort == EFFORT_UNSET && r->thinking_budget < 0)
            r->thinking_dynamic = true;
    }
}

/* ---- the table ---- */

static void skip(struct openai_in *in, uint32_t i)
{
    /* the model: read apart, since the path may name it */
}

#define AT(member) offsetof(struct neutral_request, member)
#define FN(f)      IN_FN, 0, 0, 0, f

static const struct openai_field fields[] = {
    {STR("model"), FN(skip)},
    {STR("messages"), FN(chat_in_messages)},
    {STR("stream"), IN_FLAG, AT(stream)},
    {STR("stream_options"), FN(openai_in_stream_options)},
    {STR("tools"), FN(chat_in_tools)},
    {STR("functions"), FN(chat_in_functions)},
    {STR("tool_choice"), FN(chat_in_tool_choice)},
    {STR("function_call"), FN(chat_in_function_call)},
    {STR("parallel_tool_calls"), IN_SWITCH, AT(parallel)},
    {STR("temperature"), IN_NUMBER, AT(temperature), 0, 2},
    {STR("top_p"), IN_NUMBER, AT(top_p), 0, 1},
    {STR("top_k"), IN_NUMBER, AT(top_k)},
    {STR("frequency_penalty"), IN_NUMBER, AT(frequency_penalty), -2, 2},
    {STR("presence_penalty"), IN_NUMBER, AT(presence_penalty), -2, 2},
    {STR("seed"), IN_INTEGER, AT(seed)},
    {STR("n"), IN_INTEGER, AT(n), 1, CHAT_CHOICES_MAX},
    {STR("max_tokens"), FN(in_max_tokens)},
    {STR("max_completion_tokens"), FN(in_max_completion_tokens)},
    {STR("logprobs"), IN_SWITCH, AT(logprobs)},
    {STR("top_logprobs"), IN_INTEGER, AT(top_logprobs), 0, 20},
    {STR("logit_bias"), IN_OBJECT, AT(logit_bias)},
    {STR("stop"), FN(openai_in_stop)},
    {STR("response_format"), FN(in_response_format)},
    {STR("reasoning_effort"), FN(in_effort)},
    {STR("reasoning"), FN(in_reasoning)},
    {STR("thinking"), FN(in_thinking)},
    {STR("verbosity"), FN(in_verbosity)},
    {STR("user"), IN_TEXT, AT(user)},
    {STR("safety_identifier"), FN(in_safety_identifier)},
    {STR("metadata"), IN_OBJECT, AT(metadata)},
    {STR("service_tier"), IN_TEXT, AT(service_tier)},
    {STR("prompt_cache_key"), IN_TEXT, AT(prompt_cache_key)},
    {STR("store"), IN_SWITCH, AT(store)},
    {STR("modalities"), IN_ARRAY, AT(modalities)},
};

enum err chat_read_request(struct neutral_request *out, const struct json_doc *d, struct str model,
                           struct arena *a, struct err_info *info)
{
    struct openai_in in = {.d = d, .a = a, .r = out, .info = info};
    neutral_request_init(out, OP_CHAT);
    in.system_end = &out->system;
    in.turn_end = &out->turns;
    in.tool_end = &out->tools;
    in.allowed = in.choice = JSON_NONE;
    openai_read_fields(&in, fields, sizeof fields / sizeof *fields);
    openai_read_model(&in, model);
    if (!in.err && openai_get(&in, 0, "messages") == JSON_NONE)
        openai_fail(&in, 0, "messages", "is missing: it must be an array of messages");
    if (!in.err)
        chat_in_check_tools(&in);
    if (in.safety_identifier.n)
        out->user = in.safety_identifier; /* what OpenAI has in place of user */
    return openai_in_end(&in);
}
