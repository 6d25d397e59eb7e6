/* request_out: a request for an upstream that speaks the Messages form.
 *
 * What the form asks for before anything else is known (tools, thinking, the
 * limit, which cache marks stay) is planned first, then the body is written in
 * one pass.  What has no place in it goes into the receipt under the name that
 * the caller used. */
#include "llm/anthropic/anthropic.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const char *request_out_field(const struct request_out *o, enum field f)
{
    enum { CHAT, RESPONSES, MESSAGES, GEMINI };
    static const char *const names[F_COUNT][4] = {
        [F_MESSAGES] = {"messages", "input", "messages", "contents"},
        [F_TOOLS] = {"tools", "tools", "tools", "tools"},
        [F_CHOICE] = {"tool_choice", "tool_choice", "tool_choice", "toolConfig"},
        [F_FORMAT] = {"response_format", "text.format", "output_config.format", "responseSchema"},
        [F_THINKING] = {"reasoning_effort", "reasoning", "thinking", "thinkingConfig"},
        [F_MAX_TOKENS] = {"max_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens"},
        [F_TEMPERATURE] = {"temperature", "temperature", "temperature", "temperature"},
        [F_TOP_P] = {"top_p", "top_p", "top_p", "topP"},
        [F_TOP_K] = {"top_k", "top_k", "top_k", "topK"},
        [F_STOP] = {"stop", "stop", "stop_sequences", "stopSequences"},
        [F_N] = {"n", "n", "n", "candidateCount"},
        [F_SEED] = {"seed", "seed", "seed", "seed"},
        [F_FREQUENCY] = {"frequency_penalty", "frequency_penalty", "frequency_penalty",
                         "frequencyPenalty"},
        [F_PRESENCE] = {"presence_penalty", "presence_penalty", "presence_penalty",
                        "presencePenalty"},
        [F_LOGPROBS] = {"logprobs", "logprobs", "logprobs", "responseLogprobs"},
        [F_TOP_LOGPROBS] = {"top_logprobs", "top_logprobs", "top_logprobs", "logprobs"},
        [F_PARALLEL] = {"parallel_tool_calls", "parallel_tool_calls", "disable_parallel_tool_use",
                        "parallel_tool_calls"},
        [F_SERVICE_TIER] = {"service_tier", "service_tier", "service_tier", "serviceTier"},
    };
    switch (op_row(o->r->op)->dialect) {
    case DIALECT_ANTHROPIC:
        return names[f][MESSAGES];
    case DIALECT_GEMINI:
        return names[f][GEMINI];
    default:
        return names[f][o->r->op == OP_RESPONSES ? RESPONSES : CHAT];
    }
}

void request_out_drop(struct request_out *o, enum field f)
{
    receipt_add(o->receipt, request_out_field(o, f));
}

void request_out_refuse(struct request_out *o, enum field f, const char *fmt, ...)
{
    char text[sizeof o->info->text];
    va_list ap;
    if (o->err)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->err = err_set(o->info, ERR_INVALID, "%s", text);
    if (o->info)
        str_copy(o->info->field, sizeof o->info->field, str_c(request_out_field(o, f)));
}

/* ---- limits and sampling ---- */

static bool off_default(struct str raw, double usual)
{
    double v;
    return raw.n && (!neutral_number(raw, &v) || v != usual);
}

/* May sampling go out as it is wanted? While it thinks, Claude wants its defaults; later models
 * always do. */
static bool sampling_free(struct request_out *o)
{
    const struct model_caps *caps = o->t->caps;
    bool asked = o->thinking == THINKING_ENABLED || o->thinking == THINKING_ADAPTIVE;
    bool thinks = asked || (o->thinking == THINKING_UNSAID &&
                            model_caps_rule(caps, RULE_THINKING_DEFAULT_ON));
    if (caps->thinking == THINK_TOGGLE) /* ignores them, without error */
        return true;
    return !(asked || caps->thinking == THINK_ADAPTIVE ||
             model_caps_rule(caps, RULE_FIXED_SAMPLING) ||
             (thinks && model_caps_rule(caps, RULE_FIXED_SAMPLING_THINKING)));
}

static void put_number(struct request_out *o, struct str name, double v)
{
    json_key(&o->w, name);
    json_put_double(&o->w, v);
}

/* A number between 0 and 1. */
static void fraction(struct request_out *o, enum field f, struct str raw, struct str name)
{
    double v;
    if (!neutral_number(raw, &v)) {
        request_out_refuse(o, f, "%s is not a number", request_out_field(o, f));
        return;
    }
    if (v >= 0 && v <= 1) {
        json_key(&o->w, name);
        json_put_raw(&o->w, raw);
    } else {
        put_number(o, name, v > 1 ? 1 : 0);
    }
}

static void stop_sequences(struct request_out *o)
{
    bool any = false;
    for (const struct text_list *s = o->r->stop; s; s = s->next) {
        if (anthropic_blank(s->s)) {
            request_out_drop(o, F_STOP);
            continue;
        }
        if (!any) {
            json_key(&o->w, STR("stop_sequences"));
            json_open_array(&o->w);
        }
        any = true;
        json_put_string(&o->w, s->s);
    }
    if (any)
        json_close_array(&o->w);
}

void request_out_sampling(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    bool is_free = sampling_free(o);
    bool temperature = off_default(r->temperature, 1), top_p = off_default(r->top_p, 1);
    if (is_free && temperature && top_p && model_caps_rule(o->t->caps, RULE_TEMPERATURE_OR_TOP_P)) {
        top_p = false;
        request_out_drop(o, F_TOP_P);
    }
    if (temperature && is_free)
        fraction(o, F_TEMPERATURE, r->temperature, STR("temperature"));
    else if (temperature)
        request_out_drop(o, F_TEMPERATURE);
    if (top_p && is_free)
        fraction(o, F_TOP_P, r->top_p, STR("top_p"));
    else if (top_p)
        request_out_drop(o, F_TOP_P);
    double k;
    if (r->top_k.n && is_free && neutral_number(r->top_k, &k) && k >= 1 && k == floor(k))
        put_number(o, STR("top_k"), k);
    else if (r->top_k.n)
        request_out_drop(o, F_TOP_K);
    stop_sequences(o);
}

/* ---- what has no place ---- */

static void drop_foreign(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    const struct {
        bool asked;
        enum field f;
    } rows[] = {
        {off_default(r->n, 1), F_N},
        {r->seed.n > 0, F_SEED},
        {off_default(r->frequency_penalty, 0), F_FREQUENCY},
        {off_default(r->presence_penalty, 0), F_PRESENCE},
        {r->logprobs > 0, F_LOGPROBS},
        {r->top_logprobs.n > 0, F_TOP_LOGPROBS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].asked)
            request_out_drop(o, rows[i].f);
    const struct {
        bool asked;
        const char *name;
    } named[] = {
        {r->logit_bias.n > 0, "logit_bias"},
        {r->verbosity.n > 0, "verbosity"},
        {r->metadata.n > 0, "metadata"},
        {r->prompt_cache_key.n > 0, "prompt_cache_key"},
        {r->store > 0, "store"},
        {r->safety.n > 0, "safetySettings"},
        {r->prompt_suffix.n > 0, "suffix"},
    };
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].asked)
            receipt_add(o->receipt, named[i].name);
    for (const struct turn *t = r->turns; t; t = t->next)
        if (t->name.n)
            receipt_add(o->receipt, "name");
}

static bool from_anthropic(const struct request_out *o)
{
    return op_row(o->r->op)->dialect == DIALECT_ANTHROPIC;
}

/* Unknown fields of a Messages request are Anthropic's own; any other's mean nothing here. */
static void put_extras(struct request_out *o)
{
    for (const struct extra *x = o->r->extras; x; x = x->next) {
        if (from_anthropic(o) && !o->count && !anthropic_server_block(x->name)) {
            json_key(&o->w, x->name);
            json_put_raw(&o->w, x->raw);
            continue;
        }
        char name[64];
        receipt_add(o->receipt, str_copy(name, sizeof name, x->name));
    }
}

static void put_service(struct request_out *o)
{
    struct str tier = o->r->service_tier;
    if (o->r->user.n) {
        json_key(&o->w, STR("metadata"));
        json_open_object(&o->w);
        json_field_string(&o->w, "user_id", o->r->user);
        json_close_object(&o->w);
    }
    if (str_eq(tier, STR("auto")) || str_eq(tier, STR("standard_only")))
        json_field_string(&o->w, "service_tier", tier);
    else if (str_eq(tier, STR("default")))
        json_field_string(&o->w, "service_tier", STR("standard_only"));
    else if (tier.n)
        request_out_drop(o, F_SERVICE_TIER);
}

/* ---- the whole ---- */

static void check(struct request_out *o)
{
    if (o->r->previous_response_id.n) {
        request_out_refuse(o, F_MESSAGES, "previous_response_id is not known to this provider");
        if (o->info)
            str_copy(o->info->field, sizeof o->info->field, STR("previous_response_id"));
    }
    struct str m = o->r->modalities;
    if (str_find(m, STR("audio")) >= 0 || str_find(m, STR("AUDIO")) >= 0 ||
        str_find(m, STR("image")) >= 0 || str_find(m, STR("IMAGE")) >= 0) {
        request_out_refuse(o, F_MESSAGES, "this provider's models answer in text only");
        if (o->info)
            str_copy(o->info->field, sizeof o->info->field, STR("modalities"));
    }
}

static void write_members(struct request_out *o)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "model", o->t->model);
    if (!o->count) {
        json_field_i64(&o->w, "max_tokens", o->max_tokens);
        if (o->t->stream)
            json_field_bool(&o->w, "stream", true);
    }
    request_out_tools(o);
    request_out_system(o);
    request_out_messages(o);
    request_out_thinking(o);
    if (!o->count) {
        request_out_sampling(o);
        put_service(o);
        drop_foreign(o);
    }
    put_extras(o);
    json_close_object(&o->w);
}

static enum err write_body(struct request_out *o, struct neutral_request *r, struct buf *out)
{
    neutral_merge(r);
    *o->link = (struct link){0};
    json_writer_init(&o->w, out);
    o->issuer = anthropic_issuer(o->t->provider);
    check(o);
    request_out_plan_tools(o);
    request_out_plan_thinking(o);
    request_out_plan_messages(o);
    if (!o->err)
        write_members(o);
    if (o->err)
        return o->err;
    return arena_failed(o->a) || buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

enum err anthropic_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                                 struct buf *out, struct receipt *receipt, struct link *link,
                                 struct err_info *info)
{
    struct request_out o = {.r = r, .t = t, .a = a, .receipt = receipt, .link = link, .info = info};
    return write_body(&o, r, out);
}

enum err anthropic_write_count(struct neutral_request *r, const struct target *t, struct arena *a,
                               struct buf *out, struct receipt *receipt, struct link *link,
                               struct err_info *info)
{
    struct request_out o = {
        .r = r, .t = t, .a = a, .receipt = receipt, .link = link, .info = info, .count = true};
    return write_body(&o, r, out);
}
