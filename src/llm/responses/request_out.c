/* responses/request_out: a neutral request as the body of POST /v1/responses.
 *
 * Nothing is stored at the upstream; what a reasoning model thought comes back
 * encrypted and is sent along with the conversation.  What the form has no word
 * for goes into the receipt, by the name that the chat form has for it. */
#include "llm/responses/responses.h"

#include "llm/carry.h"

#define CALL_ID_MAX 64 /* of call_id */
#define USER_MAX    64 /* of safety_identifier */
#define OUTPUT_MIN  16 /* of max_output_tokens */

struct request_out {
    struct json_writer w;
    struct neutral_request *r;
    const struct target *t;
    struct arena *a;
    struct receipt *receipt;
    struct err_info *info;
    enum effort effort; /* what is asked for, fitted to the model */
    enum err err;       /* the first refusal */
};

static void refuse(struct request_out *o, const char *field, const char *why)
{
    if (o->err)
        return;
    o->err = err_set(o->info, ERR_INVALID, "%s", why);
    if (o->info)
        str_copy(o->info->field, sizeof o->info->field, str_c(field));
}

static void put_raw(struct request_out *o, struct str name, struct str raw)
{
    json_key(&o->w, name);
    json_put_raw(&o->w, raw);
}

static void put_type(struct request_out *o, struct str type)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "type", type);
}

/* ---- content ---- */

static void put_text(struct request_out *o, const struct part *p)
{
    put_type(o, STR("input_text"));
    json_key(&o->w, STR("text"));
    neutral_put_text(&o->w, p);
    json_close_object(&o->w);
}

static void put_data_url(struct request_out *o, struct str name, const struct media *m,
                         struct str mime)
{
    struct str url[] = {STR("data:"), m->mime.n ? m->mime : mime, STR(";base64,"), m->data};
    json_key(&o->w, name);
    json_put_joined_lent(&o->w, url, 4);
}

static void put_image(struct request_out *o, const struct media *m)
{
    put_type(o, STR("input_image"));
    json_field_string(&o->w, "detail", m->detail.n ? m->detail : STR("auto"));
    if (m->file_id.n)
        json_field_string(&o->w, "file_id", m->file_id);
    else if (m->url.n)
        json_field_string(&o->w, "image_url", m->url);
    else
        put_data_url(o, STR("image_url"), m, STR("image/png"));
    json_close_object(&o->w);
}

static void put_document(struct request_out *o, const struct media *m)
{
    put_type(o, STR("input_file"));
    if (m->file_id.n) {
        json_field_string(&o->w, "file_id", m->file_id);
    } else if (m->url.n) {
        json_field_string(&o->w, "file_url", m->url);
    } else {
        json_field_string(&o->w, "filename", m->name.n ? m->name : STR("document.pdf"));
        put_data_url(o, STR("file_data"), m, STR("application/pdf"));
    }
    json_close_object(&o->w);
}

/* Whether a part can stand in a list of content; audio has no place in this form. */
static bool is_content(struct request_out *o, const struct part *p)
{
    if (p->type == PART_AUDIO)
        refuse(o, "input_audio", "this model takes no audio over the Responses interface");
    if (str_starts(p->media.url, STR("gs://")))
        refuse(o, "fileData.fileUri", "OpenAI cannot read gs:// addresses");
    return p->type == PART_TEXT || p->type == PART_REFUSAL || p->type == PART_IMAGE ||
           p->type == PART_DOCUMENT;
}

static void put_content(struct request_out *o, const struct part *p)
{
    if (p->type == PART_IMAGE)
        put_image(o, &p->media);
    else if (p->type == PART_DOCUMENT)
        put_document(o, &p->media);
    else
        put_text(o, p);
}

/* ---- items ---- */

static void open_message(struct request_out *o, struct str role)
{
    put_type(o, STR("message"));
    json_field_string(&o->w, "role", role);
    json_key(&o->w, STR("content"));
}

/* What the model said: OpenAI wants an id with a list of parts, and none with a string. */
static void put_said(struct request_out *o, const struct part *p)
{
    if (p->type != PART_TEXT && p->type != PART_REFUSAL) {
        receipt_add(o->receipt, "messages.content");
        return;
    }
    if (!neutral_says(p))
        return;
    open_message(o, STR("assistant"));
    neutral_put_text(&o->w, p);
    json_close_object(&o->w);
}

static void put_call(struct request_out *o, const struct part *p)
{
    put_type(o, STR("function_call"));
    json_field_string(&o->w, "call_id", carry_id_fit(p->id, CALL_ID_MAX, o->a));
    json_field_string(&o->w, "name", p->name);
    json_field_string(&o->w, "arguments", p->args.n ? p->args : STR("{}"));
    json_close_object(&o->w);
}

static bool is_outcome(const struct part *p)
{
    return p->type == PART_TOOL_USE || (p->type == PART_TEXT && neutral_says(p));
}

/* A reasoning item must be followed by what came of it, in the same answer. */
static void put_reasoning(struct request_out *o, const struct part *p, bool has_outcome)
{
    struct str sealed = p->data.n ? p->data : p->signature;
    if (p->issuer != ISSUER_OPENAI || !sealed.n || !has_outcome)
        return;
    struct str id = p->id;
    if (!id.n) /* the form wants one; nothing is looked up by it */
        id = carry_id_fit(sealed, 0, o->a);
    responses_put_reasoning(
        &o->w, str_starts(id, STR("rs_")) ? id : arena_printf(o->a, "rs_%.*s", STR_FMT(id)),
        p->text, sealed);
}

static void put_result(struct request_out *o, const struct part *result)
{
    const struct part *p = result->parts;
    put_type(o, STR("function_call_output"));
    json_field_string(&o->w, "call_id", carry_id_fit(result->id, CALL_ID_MAX, o->a));
    json_key(&o->w, STR("output"));
    if (!p || (p->type == PART_TEXT && !p->next)) {
        neutral_put_text(&o->w, p ? p : &(struct part){.type = PART_TEXT});
    } else {
        json_open_array(&o->w);
        for (; p; p = p->next)
            if (is_content(o, p))
                put_content(o, p);
        json_close_array(&o->w);
    }
    json_close_object(&o->w);
}

/* A run of content parts as one message; gives the last part that went into it. */
static const struct part *put_asked(struct request_out *o, const struct part *p)
{
    const struct part *last = p;
    open_message(o, STR("user"));
    json_open_array(&o->w);
    for (; p && p->type != PART_TOOL_RESULT; last = p, p = p->next)
        if (is_content(o, p))
            put_content(o, p);
    json_close_array(&o->w);
    json_close_object(&o->w);
    return last;
}

static void put_turn(struct request_out *o, const struct turn *t)
{
    size_t outcomes = 0; /* that are still to come */
    if (t->name.n)
        receipt_add(o->receipt, "name");
    for (const struct part *p = t->parts; p; p = p->next)
        outcomes += is_outcome(p);
    for (const struct part *p = t->parts; p; p = p->next) {
        outcomes -= is_outcome(p);
        if (t->role == ROLE_USER && p->type != PART_TOOL_RESULT)
            p = put_asked(o, p);
        else if (p->type == PART_TOOL_RESULT)
            put_result(o, p);
        else if (p->type == PART_TOOL_USE)
            put_call(o, p);
        else if (p->type == PART_REASONING)
            put_reasoning(o, p, outcomes > 0);
        else
            put_said(o, p);
    }
}

/* One block is the instructions; several keep their edges in a message of their own. So does one
 * that nothing follows, for a request must have input, and one beside JSON output, since OpenAI
 * looks for the word in the input only. */
static bool is_instructions(const struct request_out *o, const struct part *system)
{
    return system && !system->next && o->r->turns && o->r->format != FORMAT_JSON;
}

static void put_system(struct request_out *o, const struct part *system)
{
    if (!system || is_instructions(o, system))
        return;
    open_message(o, model_caps_rule(o->t->caps, RULE_DEVELOPER_ROLE) ? STR("developer")
                                                                     : STR("system"));
    json_open_array(&o->w);
    for (const struct part *p = system; p; p = p->next)
        if (is_content(o, p))
            put_content(o, p);
    json_close_array(&o->w);
    json_close_object(&o->w);
}

static bool says_json(const struct part *p)
{
    for (; p; p = p->next)
        for (size_t i = 0; i + 4 <= p->text.n; i++)
            if (str_ieq(str_make(p->text.p + i, 4), STR("json")))
                return true;
    return false;
}

/* OpenAI refuses to answer in JSON unless the words ask for it too; other dialects do not ask
 * callers to say so twice. */
static bool lacks_json_word(const struct request_out *o)
{
    if (o->r->format != FORMAT_JSON || op_row(o->r->op)->dialect == DIALECT_OPENAI)
        return false;
    neutral_plain(o->r, o->a);
    bool said = says_json(o->r->system);
    for (const struct turn *t = o->r->turns; t && !said; t = t->next)
        said = says_json(t->parts);
    return !said;
}

/* The system blocks and one more. */
static const struct part *with_json_word(struct request_out *o)
{
    struct part *all = NULL;
    for (const struct part *p = o->r->system; p; p = p->next) {
        struct part *copy = neutral_part(o->a, PART_TEXT, &all);
        if (copy)
            copy->text = p->text; /* plain, since it was looked through */
    }
    struct part *word = neutral_part(o->a, PART_TEXT, &all);
    if (word)
        word->text = STR("Answer in JSON.");
    return all;
}

static void put_instructions(struct request_out *o, const struct part *system)
{
    json_key(&o->w, STR("instructions"));
    neutral_put_text(&o->w, system);
}

static void put_input(struct request_out *o)
{
    const struct part *system = lacks_json_word(o) ? with_json_word(o) : o->r->system;
    if (is_instructions(o, system))
        put_instructions(o, system);
    json_key(&o->w, STR("input"));
    json_open_array(&o->w);
    put_system(o, system);
    for (const struct turn *t = o->r->turns; t; t = t->next)
        put_turn(o, t);
    json_close_array(&o->w);
}

/* ---- tools ---- */

/* Without a word on it OpenAI is strict here where the other forms are not. */
static void put_function(struct request_out *o, const struct tool *t)
{
    put_type(o, STR("function"));
    json_field_string(&o->w, "name", t->name);
    if (t->description.n)
        json_field_string(&o->w, "description", t->description);
    put_raw(o, STR("parameters"),
            t->schema.n ? t->schema : STR("{\"type\":\"object\",\"properties\":{}}"));
    if (t->strict >= 0 || o->r->op != OP_RESPONSES)
        json_field_bool(&o->w, "strict", t->strict > 0);
    json_close_object(&o->w);
}

static bool takes(const struct request_out *o, const struct tool *t)
{
    return !t->kind.n || o->r->op == OP_RESPONSES;
}

static void put_choice(struct request_out *o)
{
    static const struct str words[] = {[CHOICE_AUTO] = STR("auto"),
                                       [CHOICE_NONE] = STR("none"),
                                       [CHOICE_REQUIRED] = STR("required")};
    if (o->r->choice == CHOICE_UNSET)
        return;
    json_key(&o->w, STR("tool_choice"));
    if (o->r->choice != CHOICE_NAMED) {
        json_put_string(&o->w, words[o->r->choice]);
        return;
    }
    put_type(o, STR("function"));
    json_field_string(&o->w, "name", o->r->choice_name);
    json_close_object(&o->w);
}

static void put_tools(struct request_out *o)
{
    bool any = false;
    for (const struct tool *t = o->r->tools; t; t = t->next) {
        any = any || takes(o, t);
        if (!takes(o, t))
            receipt_add(o->receipt, "tools");
    }
    if (!any)
        return;
    json_key(&o->w, STR("tools"));
    json_open_array(&o->w);
    for (const struct tool *t = o->r->tools; t; t = t->next) {
        if (!t->kind.n)
            put_function(o, t);
        else if (takes(o, t))
            json_put_raw(&o->w, t->raw);
    }
    json_close_array(&o->w);
    put_choice(o);
    if (o->r->parallel < 0)
        return;
    if (model_caps_rule(o->t->caps, RULE_NO_PARALLEL_SWITCH))
        receipt_add(o->receipt, "parallel_tool_calls");
    else
        json_field_bool(&o->w, "parallel_tool_calls", o->r->parallel);
}

/* ---- thinking ---- */

static enum effort wanted_effort(const struct neutral_request *r)
{
    if (r->effort != EFFORT_UNSET)
        return (enum effort)r->effort;
    return r->thinking_budget >= 0 ? effort_of_budget((uint64_t)r->thinking_budget) : EFFORT_UNSET;
}

/* Of a model that nothing is known of: it reasons if it is asked to. */
static bool reasons(const struct request_out *o)
{
    const struct model_caps *caps = o->t->caps;
    if (caps->thinking == THINK_NONE || !model_caps_can(caps, CAP_THINKING))
        return false;
    return caps->thinking != THINK_UNKNOWN || caps->known_abilities & CAP_THINKING ||
           wanted_effort(o->r) > EFFORT_NONE || o->r->thinking_dynamic;
}

static void put_thinking(struct request_out *o)
{
    enum effort wanted = wanted_effort(o->r);
    bool show = o->r->thinking_visible > 0;
    if (!reasons(o)) {
        if (wanted > EFFORT_NONE)
            receipt_add(o->receipt, "reasoning_effort");
        return;
    }
    o->effort = model_caps_effort(o->t->caps, wanted);
    if (o->effort == EFFORT_UNSET && !show)
        return;
    json_key(&o->w, STR("reasoning"));
    json_open_object(&o->w);
    if (o->effort != EFFORT_UNSET)
        json_field_string(&o->w, "effort", str_c(effort_name(o->effort)));
    if (show)
        json_field_string(&o->w, "summary", STR("auto"));
    json_close_object(&o->w);
}

/* ---- sampling and limits ---- */

static bool sampling_is_fixed(const struct request_out *o)
{
    const struct model_caps *caps = o->t->caps;
    enum effort e = o->effort != EFFORT_UNSET ? o->effort : (enum effort)caps->effort_default;
    if (model_caps_rule(caps, RULE_FIXED_SAMPLING))
        return true;
    if (!model_caps_rule(caps, RULE_FIXED_SAMPLING_THINKING))
        return false;
    return e > EFFORT_NONE ||
           (e == EFFORT_UNSET && model_caps_rule(caps, RULE_THINKING_DEFAULT_ON));
}

/* Is raw something other than what holds when it is absent? */
static bool off_default(struct str raw, double usual)
{
    double v;
    return raw.n && (!neutral_number(raw, &v) || v < usual || v > usual);
}

static void put_sampling(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    bool fixed = sampling_is_fixed(o), log = r->logprobs > 0 || r->top_logprobs.n;
    const struct {
        struct str name, raw;
    } rows[] = {{STR("temperature"), r->temperature}, {STR("top_p"), r->top_p}};
    for (size_t i = 0; i < 2; i++) {
        if (rows[i].raw.n && !fixed)
            put_raw(o, rows[i].name, rows[i].raw);
        else if (off_default(rows[i].raw, 1))
            receipt_add(o->receipt, rows[i].name.p);
    }
    if (log && fixed)
        receipt_add(o->receipt, "logprobs");
    else if (r->top_logprobs.n)
        put_raw(o, STR("top_logprobs"), r->top_logprobs);
    bool sealed = reasons(o);
    log = log && !fixed;
    if (!sealed && !log)
        return;
    json_key(&o->w, STR("include"));
    json_open_array(&o->w);
    if (sealed)
        json_put_string(&o->w, STR("reasoning.encrypted_content"));
    if (log)
        json_put_string(&o->w, STR("message.output_text.logprobs"));
    json_close_array(&o->w);
}

static void put_limit(struct request_out *o)
{
    double v;
    if (!o->r->max_tokens.n)
        return;
    if (neutral_number(o->r->max_tokens, &v) && v < OUTPUT_MIN) {
        json_field_i64(&o->w, "max_output_tokens", OUTPUT_MIN);
        receipt_add(o->receipt, "max_tokens");
        return;
    }
    put_raw(o, STR("max_output_tokens"), o->r->max_tokens);
}

/* ---- the answer's form ---- */

static void put_format(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    put_type(o, r->format == FORMAT_SCHEMA ? STR("json_schema")
                : r->format == FORMAT_JSON ? STR("json_object")
                                           : STR("text"));
    if (r->format == FORMAT_SCHEMA) {
        json_field_string(&o->w, "name", r->schema_name.n ? r->schema_name : STR("answer"));
        if (r->schema_description.n)
            json_field_string(&o->w, "description", r->schema_description);
        put_raw(o, STR("schema"), r->schema.n ? r->schema : STR("{}"));
        if (r->schema_strict >= 0 || r->op != OP_RESPONSES)
            json_field_bool(&o->w, "strict", r->schema_strict > 0);
    }
    json_close_object(&o->w);
}

static void put_answer_form(struct request_out *o)
{
    if (o->r->format == FORMAT_UNSET && !o->r->verbosity.n)
        return;
    json_key(&o->w, STR("text"));
    json_open_object(&o->w);
    if (o->r->format != FORMAT_UNSET) {
        json_key(&o->w, STR("format"));
        put_format(o);
    }
    if (o->r->verbosity.n)
        json_field_string(&o->w, "verbosity", o->r->verbosity);
    json_close_object(&o->w);
}

/* ---- what else there is ---- */

static void put_service(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    bool openai = op_row(r->op)->dialect == DIALECT_OPENAI;
    json_field_bool(&o->w, "store", false);
    if (o->t->stream)
        json_field_bool(&o->w, "stream", true);
    if (r->user.n && r->user.n <= USER_MAX)
        json_field_string(&o->w, "safety_identifier", r->user);
    else if (r->user.n)
        receipt_add(o->receipt, "user");
    if (r->prompt_cache_key.n)
        json_field_string(&o->w, "prompt_cache_key", r->prompt_cache_key);
    if (r->metadata.n && openai)
        put_raw(o, STR("metadata"), r->metadata);
    else if (r->metadata.n)
        receipt_add(o->receipt, "metadata");
    if (r->service_tier.n && openai)
        json_field_string(&o->w, "service_tier", r->service_tier);
    else if (r->service_tier.n && !str_eq(r->service_tier, STR("auto")))
        receipt_add(o->receipt, "service_tier");
}

static bool beyond_text(struct str modalities)
{
    return str_find(modalities, STR("audio")) >= 0 || str_find(modalities, STR("AUDIO")) >= 0 ||
           str_find(modalities, STR("image")) >= 0 || str_find(modalities, STR("IMAGE")) >= 0;
}

static void name_dropped(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    const struct {
        bool asked;
        const char *name;
    } rows[] = {
        {r->stop != NULL, "stop"},
        {r->top_k.n > 0, "top_k"},
        {r->seed.n > 0, "seed"},
        {off_default(r->n, 1), "n"},
        {off_default(r->frequency_penalty, 0), "frequency_penalty"},
        {off_default(r->presence_penalty, 0), "presence_penalty"},
        {r->logit_bias.n > 0, "logit_bias"},
        {r->store > 0, "store"},
        {r->safety.n > 0, "safetySettings"},
        {r->prompt_suffix.n > 0, "suffix"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].asked)
            receipt_add(o->receipt, rows[i].name);
    for (const struct extra *x = r->extras; x; x = x->next) {
        char name[64];
        receipt_add(o->receipt, str_copy(name, sizeof name, x->name));
    }
    if (beyond_text(r->modalities))
        refuse(o, "modalities", "this model answers in text only");
    if (r->previous_response_id.n)
        refuse(o, "previous_response_id", "this model does not know that response");
}

enum err responses_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                                 struct buf *out, struct receipt *receipt, struct link *link,
                                 struct err_info *info)
{
    struct request_out o = {.r = r, .t = t, .a = a, .receipt = receipt, .info = info};
    link->schema_tool = false;
    json_writer_init(&o.w, out);
    json_open_object(&o.w);
    json_field_string(&o.w, "model", t->model);
    put_input(&o);
    put_tools(&o);
    put_thinking(&o);
    put_sampling(&o);
    put_limit(&o);
    put_answer_form(&o);
    put_service(&o);
    name_dropped(&o);
    json_close_object(&o.w);
    if (o.err)
        return o.err;
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}
