/* gemini/request_out: a neutral request as the body of generateContent and countTokens.
 *
 * Model and stream are in the path.  What Gemini has no word for goes into the
 * receipt, by the name that OpenAI's dialect has for it. */
#include "llm/gemini/gemini.h"

#include <stdlib.h>

struct ctx {
    struct json_writer *w;
    const struct neutral_request *r;
    const struct model_caps *caps;
    struct arena *a;
    struct receipt *receipt;
    struct err_info *info;
    size_t *steps; /* that schemas took */
};

/* A name that the caller chose, in a header: only of plain characters. */
static void receipt_of(const struct ctx *c, const char *prefix, struct str name)
{
    bool plain = name.n > 0 && name.n <= 48;
    for (size_t i = 0; i < name.n && plain; i++) {
        char l = str_lower(name.p[i]);
        plain = (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || strchr("_-.", l);
    }
    struct str full = arena_printf(c->a, "%s%s%.*s", prefix, *prefix ? "." : "", STR_FMT(name));
    if (plain && full.p)
        receipt_add(c->receipt, full.p);
    else
        receipt_add(c->receipt, *prefix ? prefix : "unknown");
}

/* A member that is JSON already, if it was given. */
static void put_raw(const struct ctx *c, struct str name, struct str raw)
{
    if (!raw.n)
        return;
    json_key(c->w, name);
    json_put_raw(c->w, raw);
}

/* ---- tools ---- */

static bool has_functions(const struct neutral_request *r)
{
    for (const struct tool *t = r->tools; t; t = t->next)
        if (!t->kind.n)
            return true;
    return false;
}

static enum err put_declaration(const struct ctx *c, const struct tool *t)
{
    struct buf b;
    enum err e = ERR_OK;
    bool native = model_caps_rule(c->caps, RULE_JSON_SCHEMA_NATIVE);
    json_open_object(c->w);
    json_field_string(c->w, "name", t->name);
    if (t->description.n)
        json_field_string(c->w, "description", t->description);
    if (native && t->schema.n && !gemini_schema_is_empty(t->schema, c->a))
        put_raw(c, STR("parametersJsonSchema"), t->schema);
    buf_init(&b, GEMINI_SCHEMA_MAX + 1);
    if (!native && t->schema.n)
        e = gemini_schema_write(t->schema, true, c->steps, c->a, &b, c->info);
    if (!e && buf_failed(&b))
        e = ERR_NOMEM;
    if (!e)
        put_raw(c, STR("parameters"), buf_view(&b));
    buf_release(&b);
    json_close_object(c->w);
    if (e == ERR_INVALID && c->info && !c->info->field[0])
        str_copy(c->info->field, sizeof c->info->field,
                 arena_printf(c->a, "tools.%.*s", STR_FMT(t->name)));
    return e;
}

/* Google's own tools stand beside the one entry that holds every function. */
static enum err put_tools(const struct ctx *c)
{
    enum err e = ERR_OK;
    bool own = false;
    for (const struct tool *t = c->r->tools; t; t = t->next)
        own = own || (t->kind.n && (c->r->op == OP_GENERATE || c->r->op == OP_GEMINI_COUNT));
    for (const struct tool *t = c->r->tools; t && !own; t = t->next)
        if (t->kind.n)
            receipt_of(c, "tools", t->kind);
    if (!own && !has_functions(c->r))
        return ERR_OK;
    json_key(c->w, STR("tools"));
    json_open_array(c->w);
    for (const struct tool *t = c->r->tools; t && own; t = t->next)
        if (t->kind.n)
            json_put_raw(c->w, t->raw);
    if (has_functions(c->r)) {
        json_open_object(c->w);
        json_key(c->w, STR("functionDeclarations"));
        json_open_array(c->w);
        for (const struct tool *t = c->r->tools; t && !e; t = t->next)
            if (!t->kind.n)
                e = put_declaration(c, t);
        json_close_array(c->w);
        json_close_object(c->w);
    }
    json_close_array(c->w);
    return e;
}

static void put_choice(const struct ctx *c)
{
    static const struct str modes[] = {[CHOICE_AUTO] = STR("AUTO"),
                                       [CHOICE_NONE] = STR("NONE"),
                                       [CHOICE_REQUIRED] = STR("ANY"),
                                       [CHOICE_NAMED] = STR("ANY")};
    if (c->r->parallel == 0)
        receipt_add(c->receipt, "parallel_tool_calls");
    if (c->r->choice == CHOICE_UNSET || !has_functions(c->r))
        return;
    json_key(c->w, STR("toolConfig"));
    json_open_object(c->w);
    json_key(c->w, STR("functionCallingConfig"));
    json_open_object(c->w);
    json_field_string(c->w, "mode", modes[c->r->choice]);
    if (c->r->choice == CHOICE_NAMED) {
        json_key(c->w, STR("allowedFunctionNames"));
        json_open_array(c->w);
        json_put_string(c->w, c->r->choice_name);
        json_close_array(c->w);
    }
    json_close_object(c->w);
    json_close_object(c->w);
}

/* ---- generationConfig ---- */

static void put_sampling(const struct ctx *c)
{
    const struct neutral_request *r = c->r;
    const struct {
        struct str name, raw;
        const char *receipt;
    } fields[] = {
        {STR("temperature"), r->temperature, "temperature"},
        {STR("topP"), r->top_p, "top_p"},
        {STR("topK"), r->top_k, "top_k"},
        {STR("presencePenalty"), r->presence_penalty, "presence_penalty"},
        {STR("frequencyPenalty"), r->frequency_penalty, "frequency_penalty"},
    };
    bool fixed = model_caps_rule(c->caps, RULE_FIXED_SAMPLING);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fixed && fields[i].raw.n)
            receipt_add(c->receipt, fields[i].receipt);
        else
            put_raw(c, fields[i].name, fields[i].raw);
    double seed;
    if (neutral_number(r->seed, &seed) && seed >= INT32_MIN && seed <= INT32_MAX)
        put_raw(c, STR("seed"), r->seed);
    else if (r->seed.n)
        receipt_add(c->receipt, "seed");
    if (r->logprobs == 1 && !fixed) {
        double top = 0;
        json_field_bool(c->w, "responseLogprobs", true);
        if (neutral_number(r->top_logprobs, &top) && top > 0)
            put_raw(c, STR("logprobs"), r->top_logprobs);
    } else if (r->logprobs == 1) {
        receipt_add(c->receipt, "logprobs");
    }
}

static void put_limits(const struct ctx *c)
{
    double max, n;
    if (neutral_number(c->r->n, &n) && n != 1)
        put_raw(c, STR("candidateCount"), c->r->n);
    if (neutral_number(c->r->max_tokens, &max)) {
        json_key(c->w, STR("maxOutputTokens"));
        if (c->caps->output_tokens && max > c->caps->output_tokens)
            json_put_u64(c->w, c->caps->output_tokens);
        else
            json_put_raw(c->w, c->r->max_tokens);
    }
    unsigned stops = 0;
    for (const struct text_list *s = c->r->stop; s; s = s->next) {
        if (++stops > 5) { /* the documented maximum */
            receipt_add(c->receipt, "stop");
            break;
        }
        if (stops == 1) {
            json_key(c->w, STR("stopSequences"));
            json_open_array(c->w);
        }
        json_put_string(c->w, s->s);
    }
    if (stops)
        json_close_array(c->w);
}

static enum err put_format(const struct ctx *c)
{
    const struct neutral_request *r = c->r;
    if (r->format != FORMAT_JSON && r->format != FORMAT_SCHEMA)
        return ERR_OK;
    if (has_functions(r) && model_caps_rule(c->caps, RULE_JSON_NOT_WITH_TOOLS)) {
        receipt_add(c->receipt, "response_format");
        return ERR_OK;
    }
    json_field_string(c->w, "responseMimeType", STR("application/json"));
    if (r->format == FORMAT_JSON || !r->schema.n)
        return ERR_OK;
    if (model_caps_rule(c->caps, RULE_JSON_SCHEMA_NATIVE)) {
        json_key(c->w, STR("responseJsonSchema"));
        json_put_raw(c->w, r->schema);
        return ERR_OK;
    }
    struct buf b;
    buf_init(&b, GEMINI_SCHEMA_MAX + 1);
    enum err e = gemini_schema_write(r->schema, false, c->steps, c->a, &b, c->info);
    if (!e && buf_failed(&b))
        e = ERR_NOMEM;
    if (!e) {
        json_key(c->w, STR("responseSchema"));
        json_put_raw(c->w, buf_view(&b));
    }
    if (e == ERR_INVALID && c->info && !c->info->field[0])
        str_copy(c->info->field, sizeof c->info->field, STR("response_format"));
    buf_release(&b);
    return e;
}

/* ---- thinking ---- */

/* thinkingLevel, Gemini 3. False: it cannot be turned off as asked. */
static bool put_level(const struct ctx *c, enum effort wanted)
{
    enum effort e = model_caps_effort(c->caps, wanted);
    if (!c->caps->efforts && e > EFFORT_HIGH)
        e = EFFORT_HIGH;
    bool off = wanted == EFFORT_NONE;
    if (e == EFFORT_NONE) /* there is no such level */
        e = model_caps_effort(c->caps, EFFORT_MINIMAL);
    if (e != EFFORT_UNSET)
        json_field_string(c->w, "thinkingLevel", str_c(effort_name(e)));
    return !off;
}

/* thinkingBudget, Gemini 2.5: tokens, -1 for as the model likes, 0 for off. */
static bool put_budget(const struct ctx *c, int64_t budget)
{
    bool ok = budget != 0 || !model_caps_rule(c->caps, RULE_THINKING_CANNOT_BE_OFF);
    if (budget > 0 || !ok)
        budget = model_caps_budget(c->caps, (uint64_t)budget);
    json_field_i64(c->w, "thinkingBudget", budget);
    return ok;
}

static void put_thinking(const struct ctx *c)
{
    const struct neutral_request *r = c->r;
    bool said = r->effort != EFFORT_UNSET || r->thinking_budget >= 0 || r->thinking_dynamic;
    bool off = r->thinking_budget == 0 || (r->thinking_budget < 0 && r->effort == EFFORT_NONE);
    if (!said && r->thinking_visible < 0)
        return;
    if (c->caps->thinking == THINK_NONE) {
        if (said && !off)
            receipt_add(c->receipt, "reasoning_effort");
        return;
    }
    enum effort effort = r->thinking_budget >= 0 && r->effort == EFFORT_UNSET
                             ? effort_of_budget((uint64_t)r->thinking_budget)
                             : (enum effort)r->effort;
    int64_t budget = r->thinking_budget;
    if (budget < 0 && effort != EFFORT_UNSET)
        budget = (int64_t)effort_budget(effort);
    bool ok = true;
    json_key(c->w, STR("thinkingConfig"));
    json_open_object(c->w);
    if (said && c->caps->thinking == THINK_LEVEL)
        ok = put_level(c, effort);
    else if (said)
        ok = put_budget(c, budget);
    if (r->thinking_visible >= 0 || !off)
        json_field_bool(c->w, "includeThoughts", !off && r->thinking_visible != 0);
    json_close_object(c->w);
    if (!ok)
        receipt_add(c->receipt, "reasoning_effort");
}

/* Members that only Gemini has come back where they were: "generationConfig.x" and "x". */
static void put_extras(const struct ctx *c, bool config)
{
    const struct str inside = STR("generationConfig.");
    for (const struct extra *x = c->r->extras; x; x = x->next) {
        bool own = c->r->op == OP_GENERATE && (config || str_chr(x->name, '.') < 0);
        if (str_starts(x->name, inside) != config)
            continue;
        if (!own) {
            receipt_of(c, "", x->name);
            continue;
        }
        json_key(c->w, config ? str_from(x->name, inside.n) : x->name);
        json_put_raw(c->w, x->raw);
    }
}

static enum err put_config(const struct ctx *c)
{
    struct json_writer *w = c->w;
    struct buf b;
    buf_init(&b, c->w->out->max);
    struct json_writer inner;
    json_writer_init(&inner, &b);
    struct ctx k = *c;
    k.w = &inner;
    json_open_object(&inner);
    put_sampling(&k);
    put_limits(&k);
    enum err e = put_format(&k);
    put_thinking(&k);
    put_extras(&k, true);
    json_close_object(&inner);
    if (buf_failed(&b)) {
        e = e ? e : ERR_NOMEM;
    } else if (b.n > 2) { /* an empty object says nothing */
        json_key(w, STR("generationConfig"));
        json_put_raw(w, buf_view(&b));
    }
    buf_release(&b);
    return e;
}

static void receive(const struct ctx *c)
{
    const struct neutral_request *r = c->r;
    const struct {
        bool given;
        const char *name;
    } fields[] = {
        {r->logit_bias.n, "logit_bias"},
        {r->service_tier.n, "service_tier"},
        {r->store == 1, "store"},
        {r->user.n, "user"},
        {r->metadata.n, "metadata"},
        {r->verbosity.n, "verbosity"},
        {r->prompt_cache_key.n, "prompt_cache_key"},
        {r->previous_response_id.n, "previous_response_id"},
        {r->prompt_suffix.n, "suffix"},
        {r->modalities.n && !str_eq(r->modalities, STR("[\"text\"]")), "modalities"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].given)
            receipt_add(c->receipt, fields[i].name);
}

enum err gemini_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                              struct buf *out, struct receipt *receipt, struct link *link,
                              struct err_info *info)
{
    struct json_writer w;
    size_t steps = 0;
    const struct ctx c = {&w, r, t->caps, a, receipt, info, &steps};
    (void)link;
    neutral_merge(r);
    neutral_link(r);
    json_writer_init(&w, out);
    json_open_object(&w);
    enum err e = gemini_put_contents(&w, r, t->caps, a, info);
    if (!e)
        e = put_tools(&c);
    if (e)
        return e;
    put_choice(&c);
    e = put_config(&c);
    if (r->safety.n && r->op == OP_GENERATE)
        put_raw(&c, STR("safetySettings"), r->safety);
    put_extras(&c, false);
    receive(&c);
    json_close_object(&w);
    if (!e && (buf_failed(out) || arena_failed(a)))
        e = ERR_NOMEM;
    return e;
}

/* Contents alone, or a whole request when more than they count. */
enum err gemini_write_count(struct neutral_request *r, const struct target *t, struct arena *a,
                            struct buf *out, struct receipt *receipt, struct link *link,
                            struct err_info *info)
{
    struct json_writer w;
    size_t steps = 0;
    const struct ctx c = {&w, r, t->caps, a, receipt, info, &steps};
    bool more = r->system || r->tools;
    (void)link;
    neutral_merge(r);
    neutral_link(r);
    json_writer_init(&w, out);
    json_open_object(&w);
    if (more) {
        json_key(&w, STR("generateContentRequest"));
        json_open_object(&w);
        json_field_string(&w, "model", arena_printf(a, "models/%.*s", STR_FMT(t->model)));
    }
    enum err e = gemini_put_contents(&w, r, t->caps, a, info);
    if (!e && more)
        e = put_tools(&c);
    if (e)
        return e;
    if (more)
        json_close_object(&w);
    json_close_object(&w);
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}
