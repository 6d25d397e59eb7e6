/* completions: the older text completions: a prompt is one message of the user.
 *
 * Events are those of chat_events_in and chat_events_out.  suffix, echo and
 * best_of exist nowhere else: suffix has its place in the neutral form, the
 * others are extras, as is logprobs, which is a number here. */
#include "llm/openai/openai.h"

/* ---- requests ---- */

static void in_prompt(struct openai_in *in, uint32_t i)
{
    const char *what = "must be a string or an array of one string: lists of prompts and of "
                       "tokens cannot be translated";
    if (json_is(in->d, i, JSON_ARRAY) && json_size(in->d, i) == 1)
        i = json_child(in->d, i);
    if (!json_is(in->d, i, JSON_STRING)) {
        openai_fail(in, i, NULL, "%s", what);
        return;
    }
    struct turn *t = neutral_turn(in->a, ROLE_USER, in->turn_end);
    struct part *p = t ? neutral_part(in->a, PART_TEXT, &t->parts) : NULL;
    if (p)
        openai_string(in, i, &p->text);
}

static void in_max_tokens(struct openai_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v) || v < 0)
        openai_fail(in, i, NULL, "must be an integer of at least 0");
    else if (v > 0)
        in->r->max_tokens = json_raw(in->d, i);
}

static void skip(struct openai_in *in, uint32_t i)
{
    /* the model: read apart, since the path may name it */
}

#define AT(member) offsetof(struct neutral_request, member)
#define FN(f)      IN_FN, 0, 0, 0, f

static const struct openai_field fields[] = {
    {STR("model"), FN(skip)},
    {STR("prompt"), FN(in_prompt)},
    {STR("stream"), IN_FLAG, AT(stream)},
    {STR("stream_options"), FN(openai_in_stream_options)},
    {STR("temperature"), IN_NUMBER, AT(temperature), 0, 2},
    {STR("top_p"), IN_NUMBER, AT(top_p), 0, 1},
    {STR("top_k"), IN_NUMBER, AT(top_k)},
    {STR("frequency_penalty"), IN_NUMBER, AT(frequency_penalty), -2, 2},
    {STR("presence_penalty"), IN_NUMBER, AT(presence_penalty), -2, 2},
    {STR("seed"), IN_INTEGER, AT(seed)},
    {STR("n"), IN_INTEGER, AT(n), 1, CHAT_CHOICES_MAX},
    {STR("max_tokens"), FN(in_max_tokens)},
    {STR("logit_bias"), IN_OBJECT, AT(logit_bias)},
    {STR("stop"), FN(openai_in_stop)},
    {STR("suffix"), IN_TEXT, AT(prompt_suffix)},
    {STR("user"), IN_TEXT, AT(user)},
};

enum err completions_read_request(struct neutral_request *out, const struct json_doc *d,
                                  struct str model, struct arena *a, struct err_info *info)
{
    struct openai_in in = {.d = d, .a = a, .r = out, .info = info};
    neutral_request_init(out, OP_COMPLETIONS);
    in.turn_end = &out->turns;
    openai_read_fields(&in, fields, sizeof fields / sizeof *fields);
    openai_read_model(&in, model);
    if (!in.err && !out->turns)
        openai_fail(&in, 0, "prompt", "is missing: it must be a string");
    return openai_in_end(&in);
}

/* A prompt is text: of a conversation only one message of the user fits. */
static enum err prompt_of(const struct neutral_request *r, struct arena *a, struct str *out,
                          struct err_info *info)
{
    bool fits = r->turns && !r->turns->next && r->turns->role == ROLE_USER && !r->tools;
    for (const struct part *p = fits ? r->turns->parts : NULL; p; p = p->next)
        fits = fits && p->type == PART_TEXT;
    if (!fits)
        return err_set(info, ERR_INVALID,
                       "this provider completes text: it takes one message of text, no "
                       "conversation, tools or media");
    struct str system = chat_join(r->system, PART_TEXT, STR("\n\n"), a);
    struct str text = chat_join(r->turns->parts, PART_TEXT, STR("\n\n"), a);
    *out = system.n ? arena_printf(a, "%.*s\n\n%.*s", STR_FMT(system), STR_FMT(text)) : text;
    return ERR_OK;
}

static void put_raw(struct json_writer *w, const char *name, struct str raw)
{
    if (!raw.n)
        return;
    json_key(w, str_c(name));
    json_put_raw(w, raw);
}

static void put_stop(struct json_writer *w, const struct text_list *s, struct receipt *receipt)
{
    int left = 4;
    if (!s)
        return;
    json_key(w, STR("stop"));
    json_open_array(w);
    for (; s && left; s = s->next, left--)
        json_put_string(w, s->s);
    json_close_array(w);
    if (s)
        receipt_add(receipt, "stop");
}

enum err completions_write_request(struct neutral_request *r, const struct target *t,
                                   struct arena *a, struct buf *out, struct receipt *receipt,
                                   struct link *link, struct err_info *info)
{
    neutral_plain(r, a);
    struct json_writer w;
    struct str prompt = STR("");
    link->schema_tool = false;
    enum err e = prompt_of(r, a, &prompt, info);
    if (e)
        return e;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "model", t->model);
    json_field_string(&w, "prompt", prompt);
    put_raw(&w, "temperature", r->temperature);
    put_raw(&w, "top_p", r->top_p);
    put_raw(&w, "frequency_penalty", r->frequency_penalty);
    put_raw(&w, "presence_penalty", r->presence_penalty);
    put_raw(&w, "seed", r->seed);
    put_raw(&w, "n", r->n);
    put_raw(&w, "max_tokens", r->max_tokens);
    put_raw(&w, "logit_bias", r->logit_bias);
    put_stop(&w, r->stop, receipt);
    if (r->prompt_suffix.n)
        json_field_string(&w, "suffix", r->prompt_suffix);
    if (r->user.n)
        json_field_string(&w, "user", r->user);
    if (r->format == FORMAT_JSON || r->format == FORMAT_SCHEMA)
        receipt_add(receipt, "response_format");
    if (r->effort > EFFORT_NONE || r->thinking_budget > 0)
        receipt_add(receipt, "reasoning_effort");
    if (r->top_k.n && r->op != OP_COMPLETIONS)
        receipt_add(receipt, "top_k");
    for (const struct extra *x = r->extras; x; x = x->next) {
        if (r->op != OP_COMPLETIONS) {
            openai_receipt(receipt, x->name);
            continue;
        }
        json_key(&w, x->name);
        json_put_raw(&w, x->raw);
    }
    if (t->stream) {
        json_field_bool(&w, "stream", true);
        json_key(&w, STR("stream_options"));
        json_open_object(&w);
        json_field_bool(&w, "include_usage", true);
        json_close_object(&w);
    }
    json_close_object(&w);
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- answers ---- */

enum err completions_read_reply(struct neutral_reply *out, const struct json_doc *d,
                                const struct link *link, struct str provider, struct arena *a,
                                struct fault *f)
{
    uint32_t root = json_root(d), choices = json_get(d, root, STR("choices"));
    struct neutral_candidate **end = &out->candidates;
    *out = (struct neutral_reply){.created_s = 0};
    if (json_child(d, choices) == JSON_NONE || !json_is(d, choices, JSON_ARRAY))
        return openai_reply_error(d, provider, f);
    json_string(d, json_get(d, root, STR("id")), a, &out->id);
    json_string(d, json_get(d, root, STR("model")), a, &out->model);
    json_i64(d, json_get(d, root, STR("created")), &out->created_s);
    OPENAI_EACH(d, c, choices)
    {
        struct str text;
        if (!json_string(d, json_get(d, c, STR("text")), a, &text))
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's answer has a choice without a text");
        if (!(*end = arena_zalloc(a, sizeof **end)))
            return ERR_NOMEM;
        struct part *p = neutral_part(a, PART_TEXT, &(*end)->parts);
        if (p)
            p->text = text;
        (*end)->finish = (uint8_t)chat_finish(d, json_get(d, c, STR("finish_reason")), false);
        end = &(*end)->next;
    }
    out->has_usage = usage_read_openai(d, json_get(d, root, STR("usage")), &out->usage);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

void completions_write_reply(const struct neutral_reply *r, const struct answer *as,
                             struct arena *a, struct buf *out)
{
    struct json_writer w;
    int64_t index = 0;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "id", openai_reply_id("cmpl-", r->id, as->request_id, a));
    json_field_string(&w, "object", STR("text_completion"));
    json_field_i64(&w, "created", r->created_s ? r->created_s : as->created_s);
    json_field_string(&w, "model", r->model.n ? r->model : as->model);
    json_key(&w, STR("choices"));
    json_open_array(&w);
    for (const struct neutral_candidate *c = r->candidates; c; c = c->next) {
        struct str text = chat_join(c->parts, PART_TEXT, STR(""), a);
        if (!text.n)
            text = chat_join(c->parts, PART_REFUSAL, STR(""), a);
        json_open_object(&w);
        json_field_string(&w, "text", text);
        json_field_i64(&w, "index", index++);
        json_field_null(&w, "logprobs");
        json_field_string(&w, "finish_reason", str_c(chat_finish_name((enum finish)c->finish)));
        json_close_object(&w);
    }
    json_close_array(&w);
    if (r->has_usage) {
        json_key(&w, STR("usage"));
        openai_put_usage(&w, &r->usage);
    }
    json_close_object(&w);
}
