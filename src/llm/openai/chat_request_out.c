/* chat_request_out: a request to an upstream that speaks chat completions: OpenAI, DeepSeek, Azure
 * and the many servers that are like them.
 *
 * What such a server does not know is left out and named in the receipt.  A
 * member at its default value is left out without a word. */
#include "llm/openai/openai.h"

#define STOP_MAX          4
#define STOP_MAX_DEEPSEEK 16
#define USER_MAX          64 /* OpenAI refuses a longer one */

void openai_receipt(struct receipt *r, struct str name)
{
    char z[64];
    receipt_add(r, str_copy(z, sizeof z, name));
}

static bool rule(const struct chat_out *o, uint32_t bit)
{
    return model_caps_rule(o->t->caps, bit);
}

static bool can(const struct chat_out *o, uint32_t ability)
{
    return model_caps_can(o->t->caps, ability);
}

static void put_raw(struct chat_out *o, const char *name, struct str raw)
{
    if (!raw.n)
        return;
    json_key(&o->w, str_c(name));
    json_put_raw(&o->w, raw);
}

static void put_text(struct chat_out *o, const char *name, struct str text)
{
    if (!text.n)
        return;
    json_key(&o->w, str_c(name));
    json_put_string(&o->w, text);
}

static void put_switch(struct chat_out *o, const char *name, int8_t v)
{
    if (v < 0)
        return;
    json_key(&o->w, str_c(name));
    json_put_bool(&o->w, v);
}

/* ---- tools ---- */

static bool has_functions(const struct neutral_request *r)
{
    for (const struct tool *t = r->tools; t; t = t->next)
        if (!t->kind.n)
            return true;
    return false;
}

static void put_tool(struct chat_out *o, const struct tool *t)
{
    if (t->kind.n) {
        json_put_raw(&o->w, t->raw);
        return;
    }
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("function"));
    json_key(&o->w, STR("function"));
    json_open_object(&o->w);
    json_field_string(&o->w, "name", t->name);
    put_text(o, "description", t->description);
    put_raw(o, "parameters", t->schema);
    put_switch(o, "strict", t->strict);
    json_close_object(&o->w);
    json_close_object(&o->w);
}

static void put_choice(struct chat_out *o)
{
    static const char *const names[] = {
        [CHOICE_AUTO] = "auto", [CHOICE_NONE] = "none", [CHOICE_REQUIRED] = "required"};
    const struct neutral_request *r = o->r;
    if (r->choice == CHOICE_UNSET)
        return;
    json_key(&o->w, STR("tool_choice"));
    if (r->choice != CHOICE_NAMED) {
        json_put_string(&o->w, str_c(names[r->choice]));
        return;
    }
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("function"));
    json_key(&o->w, STR("function"));
    json_open_object(&o->w);
    json_field_string(&o->w, "name", r->choice_name);
    json_close_object(&o->w);
    json_close_object(&o->w);
}

static void put_tools(struct chat_out *o)
{
    const struct neutral_request *r = o->r;
    bool any = false;
    for (const struct tool *t = r->tools; t; t = t->next) {
        if (t->kind.n && !o->own) {
            openai_receipt(o->receipt, arena_printf(o->a, "tools.%.*s", STR_FMT(t->kind)));
            continue;
        }
        if (!any) {
            json_key(&o->w, STR("tools"));
            json_open_array(&o->w);
        }
        any = true;
        put_tool(o, t);
    }
    if (!any)
        return;
    json_close_array(&o->w);
    put_choice(o);
    if (r->parallel >= 0 && rule(o, RULE_NO_PARALLEL_SWITCH)) {
        if (!r->parallel)
            receipt_add(o->receipt, "parallel_tool_calls");
    } else {
        put_switch(o, "parallel_tool_calls", r->parallel);
    }
}

/* ---- thinking ---- */

static enum effort wanted_effort(const struct neutral_request *r)
{
    if (r->effort != EFFORT_UNSET || r->thinking_budget < 0)
        return (enum effort)r->effort;
    return effort_of_budget((uint64_t)r->thinking_budget);
}

/* A call in the history whose thought did not come back: DeepSeek refuses it while thinking. */
static bool lacks_thought(const struct neutral_request *r)
{
    for (const struct turn *t = r->turns; t; t = t->next) {
        bool call = false, thought = false;
        for (const struct part *p = t->parts; p; p = p->next) {
            call |= p->type == PART_TOOL_USE;
            thought |= p->type == PART_REASONING && p->text.n;
        }
        if (call && !thought)
            return true;
    }
    return false;
}

/* {"thinking": {"type": …}}, and the effort. Is the model going to think? */
static bool put_toggle(struct chat_out *o, enum effort want)
{
    const struct neutral_request *r = o->r;
    bool asked = (want != EFFORT_UNSET && want != EFFORT_NONE) || r->thinking_dynamic;
    bool on = asked || (want == EFFORT_UNSET && rule(o, RULE_THINKING_DEFAULT_ON));
    bool forced = r->choice == CHOICE_REQUIRED || r->choice == CHOICE_NAMED;
    bool lost = lacks_thought(r);
    if (on && (lost || (forced && rule(o, RULE_FORCED_TOOL_NOT_THINKING)))) {
        if (asked || lost)
            receipt_add(o->receipt, "thinking");
        on = false;
    } else if (!asked && want == EFFORT_UNSET) {
        return on; /* as the provider has it */
    }
    if (!on && rule(o, RULE_THINKING_CANNOT_BE_OFF)) {
        receipt_add(o->receipt, "thinking");
        return true;
    }
    json_key(&o->w, STR("thinking"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type", on ? STR("enabled") : STR("disabled"));
    json_close_object(&o->w);
    if (on && want != EFFORT_UNSET)
        put_text(o, "reasoning_effort", str_c(effort_name(model_caps_effort(o->t->caps, want))));
    return on;
}

/* Is the model going to think? */
static bool put_effort(struct chat_out *o)
{
    const struct model_caps *caps = o->t->caps;
    enum effort want = wanted_effort(o->r), got = model_caps_effort(caps, want);
    if (caps->thinking == THINK_TOGGLE)
        return put_toggle(o, want);
    if (caps->thinking == THINK_NONE) {
        if (want != EFFORT_UNSET && want != EFFORT_NONE)
            receipt_add(o->receipt, "reasoning_effort");
        return false;
    }
    if (want == EFFORT_UNSET)
        return caps->effort_default != EFFORT_NONE;
    if (caps->thinking == THINK_UNKNOWN && want == EFFORT_NONE)
        return false; /* a server that may not know the word */
    if (rule(o, RULE_EFFORT_WITH_TOOLS_WANTS_RESPONSES) && has_functions(o->r)) {
        if (want != EFFORT_NONE)
            receipt_add(o->receipt, "reasoning_effort");
        return caps->effort_default != EFFORT_NONE;
    }
    if (got != want && want == EFFORT_NONE)
        receipt_add(o->receipt, "reasoning_effort");
    put_text(o, "reasoning_effort", str_c(effort_name(got)));
    return got != EFFORT_NONE;
}

/* ---- sampling ---- */

/* A number that is at its default says nothing. */
static bool is_default(struct str raw, double value)
{
    double v;
    return neutral_number(raw, &v) && v == value;
}

static void put_sampling(struct chat_out *o, bool thinks)
{
    const struct neutral_request *r = o->r;
    bool fixed = rule(o, RULE_FIXED_SAMPLING) || (thinks && rule(o, RULE_FIXED_SAMPLING_THINKING));
    bool one = rule(o, RULE_TEMPERATURE_OR_TOP_P) && r->temperature.n;
    const struct {
        const char *name;
        struct str raw;
        double usual;
        bool drop;
    } numbers[] = {
        {"temperature", r->temperature, 1, fixed},
        {"top_p", r->top_p, 1, fixed || one},
        {"frequency_penalty", r->frequency_penalty, 0, fixed},
        {"presence_penalty", r->presence_penalty, 0, fixed},
        {"logit_bias", r->logit_bias, 0, fixed},
        {"top_k", r->top_k, 0, !o->own},
        {"seed", r->seed, 0, false},
        {"n", r->n, 1, false},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!numbers[i].raw.n)
            continue;
        if (!numbers[i].drop)
            put_raw(o, numbers[i].name, numbers[i].raw);
        else if (!is_default(numbers[i].raw, numbers[i].usual))
            receipt_add(o->receipt, numbers[i].name);
    }
    if (fixed) {
        if (r->logprobs > 0)
            receipt_add(o->receipt, "logprobs");
        return;
    }
    put_switch(o, "logprobs", r->logprobs);
    if (r->logprobs > 0)
        put_raw(o, "top_logprobs", r->top_logprobs);
}

/* ---- limits and format ---- */

static void put_stop(struct chat_out *o)
{
    int max = o->deepseek ? STOP_MAX_DEEPSEEK : STOP_MAX;
    const struct text_list *s = o->r->stop;
    if (!s)
        return;
    if (rule(o, RULE_NO_STOP)) {
        receipt_add(o->receipt, "stop");
        return;
    }
    json_key(&o->w, STR("stop"));
    json_open_array(&o->w);
    for (; s && max; s = s->next, max--)
        json_put_string(&o->w, s->s);
    json_close_array(&o->w);
    if (s)
        receipt_add(o->receipt, "stop");
}

static void put_limit(struct chat_out *o)
{
    bool is_new = rule(o, RULE_MAX_COMPLETION_TOKENS) && !o->t->max_tokens_only;
    put_raw(o, is_new ? "max_completion_tokens" : "max_tokens", o->r->max_tokens);
}

static bool schema_goes(const struct chat_out *o)
{
    return o->r->format == FORMAT_SCHEMA && can(o, CAP_JSON_SCHEMA);
}

/* What the model must be told of the format: a schema that the provider does not take, or the word
 * JSON, without which it refuses to be held to it; a caller of this very form said so itself. */
static struct str format_note(const struct chat_out *o)
{
    const struct neutral_request *r = o->r;
    if (r->format == FORMAT_SCHEMA && !schema_goes(o))
        return arena_printf(o->a,
                            "Answer with JSON that fits this JSON schema, and nothing else: %.*s",
                            STR_FMT(r->schema));
    if (r->format == FORMAT_JSON && !o->openai)
        return STR("Answer with JSON and nothing else.");
    return STR_NULL;
}

static bool name_fits(struct str name)
{
    bool ok = name.n > 0 && name.n <= 64;
    for (size_t i = 0; i < name.n && ok; i++) {
        char c = name.p[i], l = str_lower(c);
        ok = (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    }
    return ok;
}

static void put_schema(struct chat_out *o)
{
    const struct neutral_request *r = o->r;
    json_key(&o->w, STR("json_schema"));
    json_open_object(&o->w);
    json_field_string(&o->w, "name", name_fits(r->schema_name) ? r->schema_name : STR("answer"));
    put_text(o, "description", r->schema_description);
    put_raw(o, "schema", r->schema);
    put_switch(o, "strict", r->schema_strict);
    json_close_object(&o->w);
}

static void put_format(struct chat_out *o)
{
    const struct neutral_request *r = o->r;
    if (r->format == FORMAT_UNSET || (r->format == FORMAT_TEXT && !o->own))
        return;
    if (r->format == FORMAT_SCHEMA && !schema_goes(o))
        receipt_add(o->receipt, "response_format.json_schema");
    if (r->format != FORMAT_TEXT && !schema_goes(o) && !can(o, CAP_JSON_OBJECT)) {
        receipt_add(o->receipt, "response_format");
        return;
    }
    json_key(&o->w, STR("response_format"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type",
                      r->format == FORMAT_TEXT ? STR("text")
                      : schema_goes(o)         ? STR("json_schema")
                                               : STR("json_object"));
    if (schema_goes(o))
        put_schema(o);
    json_close_object(&o->w);
}

/* ---- the rest ---- */

/* Members that only OpenAI itself is sure to know: written where `ok`, else named. */
static void put_hint(struct chat_out *o, const char *name, struct str text, bool raw, bool ok)
{
    if (!text.n)
        return;
    if (!ok)
        receipt_add(o->receipt, name);
    else if (raw)
        put_raw(o, name, text);
    else
        put_text(o, name, text);
}

static void put_rest(struct chat_out *o)
{
    const struct neutral_request *r = o->r;
    bool theirs = o->openai && !o->plain;
    put_hint(o, "user", r->user, false, o->plain || r->user.n <= USER_MAX);
    put_hint(o, "verbosity", r->verbosity, false, !o->plain);
    put_hint(o, "metadata", r->metadata, true, theirs);
    put_hint(o, "service_tier", r->service_tier, false, theirs);
    put_hint(o, "modalities", r->modalities, true, theirs);
    if (!o->plain)
        put_text(o, "prompt_cache_key", r->prompt_cache_key);
    if (theirs)
        put_switch(o, "store", r->store);
    else if (r->store > 0)
        receipt_add(o->receipt, "store");
    if (r->safety.n)
        receipt_add(o->receipt, "safetySettings");
    if (r->prompt_suffix.n)
        receipt_add(o->receipt, "suffix");
    for (const struct extra *x = r->extras; x; x = x->next) {
        if (!o->own) {
            openai_receipt(o->receipt, x->name);
            continue;
        }
        json_key(&o->w, x->name);
        json_put_raw(&o->w, x->raw);
    }
}

enum err chat_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                            struct buf *out, struct receipt *receipt, struct link *link,
                            struct err_info *info)
{
    bool deepseek = str_eq(t->provider, STR("deepseek"));
    struct chat_out o = {
        .r = r,
        .t = t,
        .a = a,
        .receipt = receipt,
        .info = info,
        .plain = t->max_tokens_only || deepseek,
        .deepseek = deepseek,
        .own = r->op == OP_CHAT,
        .openai = op_row(r->op)->dialect == DIALECT_OPENAI,
    };
    link->schema_tool = false;
    if (r->previous_response_id.n)
        chat_refuse(&o, "previous_response_id", "is not known to this provider: send the messages");
    if (!r->turns && !r->system)
        chat_refuse(&o, chat_messages_field(r), "must not be empty");
    json_writer_init(&o.w, out);
    json_open_object(&o.w);
    json_field_string(&o.w, "model", t->model);
    chat_put_messages(&o, format_note(&o));
    put_tools(&o);
    put_sampling(&o, put_effort(&o));
    put_stop(&o);
    put_limit(&o);
    put_format(&o);
    put_rest(&o);
    if (t->stream) {
        json_field_bool(&o.w, "stream", true);
        json_key(&o.w, STR("stream_options"));
        json_open_object(&o.w);
        json_field_bool(&o.w, "include_usage", true);
        json_close_object(&o.w);
    }
    json_close_object(&o.w);
    if (!o.err && (buf_failed(out) || arena_failed(a)))
        return ERR_NOMEM;
    return o.err;
}
