/* chat_reply: whole chat completions in both directions, and what answers of this folder share. */
#include "llm/carry.h"
#include "llm/openai/openai.h"

/* ---- finish reasons ---- */

static const struct {
    struct str name;
    enum finish finish;
} finishes[] = {
    {STR("stop"), FINISH_STOP},
    {STR("length"), FINISH_LENGTH},
    {STR("tool_calls"), FINISH_TOOL_CALLS},
    {STR("function_call"), FINISH_TOOL_CALLS},
    {STR("content_filter"), FINISH_CONTENT_FILTER},
};

enum finish chat_finish(const struct json_doc *d, uint32_t reason, bool called)
{
    if (!json_is(d, reason, JSON_STRING))
        return FINISH_NONE;
    enum finish f = FINISH_STOP;
    for (size_t i = 0; i < sizeof finishes / sizeof *finishes; i++)
        if (json_string_is(d, reason, finishes[i].name))
            f = finishes[i].finish;
    return f == FINISH_STOP && called ? FINISH_TOOL_CALLS : f;
}

const char *chat_finish_name(enum finish f)
{
    switch (f) {
    case FINISH_LENGTH:
        return "length";
    case FINISH_TOOL_CALLS:
        return "tool_calls";
    case FINISH_CONTENT_FILTER:
    case FINISH_REFUSAL:
        return "content_filter";
    default:
        return "stop";
    }
}

/* ---- faults ---- */

enum err openai_reply_error(const struct json_doc *d, struct str provider, struct fault *f)
{
    uint32_t root = json_root(d), error = json_get(d, root, STR("error"));
    if (json_string_is(d, json_get(d, root, STR("object")), STR("error")))
        error = root;
    if (error == JSON_NONE || json_is(d, error, JSON_NULL))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is of another form");
    fault_from_object(f, provider, d, error);
    return f->err;
}

/* ---- usage and ids ---- */

void openai_put_usage(struct json_writer *w, const struct usage *u)
{
    uint64_t in = usage_input_tokens(u), out = usage_output_tokens(u);
    uint64_t written = (uint64_t)u->cache_write_5m + u->cache_write_1h;
    json_open_object(w);
    json_key(w, STR("prompt_tokens")), json_put_u64(w, in);
    json_key(w, STR("completion_tokens")), json_put_u64(w, out);
    json_key(w, STR("total_tokens")), json_put_u64(w, in + out);
    json_key(w, STR("prompt_tokens_details"));
    json_open_object(w);
    json_field_i64(w, "cached_tokens", u->cache_read);
    if (written) /* OpenAI has no word for it; this is OpenRouter's */
        json_field_i64(w, "cache_write_tokens", (int64_t)written);
    json_field_i64(w, "audio_tokens", u->audio_in);
    json_close_object(w);
    json_key(w, STR("completion_tokens_details"));
    json_open_object(w);
    json_field_i64(w, "reasoning_tokens", u->out_reasoning);
    json_field_i64(w, "audio_tokens", u->audio_out);
    json_field_i64(w, "accepted_prediction_tokens", 0);
    json_field_i64(w, "rejected_prediction_tokens", 0);
    json_close_object(w);
    json_close_object(w);
}

struct str openai_reply_id(const char *prefix, struct str id, struct str request_id,
                           struct arena *a)
{
    if (str_starts(id, str_c(prefix)))
        return id;
    if (!id.n)
        id = request_id;
    return arena_printf(a, "%s%.*s", prefix, STR_FMT(id));
}

/* ---- reading ---- */

struct reply_in {
    const struct json_doc *d;
    struct arena *a;
    unsigned calls;
    struct str id; /* of the answer */
};

static void add_text(struct reply_in *in, enum part_type type, uint32_t value, struct part **list)
{
    struct str s;
    if (!json_string(in->d, value, in->a, &s) || !s.n)
        return;
    struct part *p = neutral_part(in->a, type, list);
    if (p)
        p->text = s;
}

/* A string; some servers give an array of parts. */
static void read_content(struct reply_in *in, uint32_t content, struct part **list)
{
    add_text(in, PART_TEXT, content, list);
    if (json_is(in->d, content, JSON_ARRAY))
        OPENAI_EACH(in->d, e, content)
    add_text(in, PART_TEXT, json_get(in->d, e, STR("text")), list);
}

static void read_call(struct reply_in *in, uint32_t call, uint32_t f, struct str args,
                      struct part **list)
{
    struct part *p = neutral_part(in->a, PART_TOOL_USE, list);
    unsigned n = in->calls++;
    if (!p)
        return;
    if (!json_string(in->d, json_get(in->d, call, STR("id")), in->a, &p->id) || !p->id.n)
        p->id = carry_id_fit(arena_printf(in->a, "call_%.*s_%u", STR_FMT(in->id), n), 40, in->a);
    json_string(in->d, json_get(in->d, f, STR("name")), in->a, &p->name);
    uint32_t v = json_get(in->d, f, args);
    if (!json_string(in->d, v, in->a, &p->args) && json_is(in->d, v, JSON_OBJECT))
        p->args = json_raw(in->d, v);
}

static void read_calls(struct reply_in *in, uint32_t message, struct part **list)
{
    const struct json_doc *d = in->d;
    uint32_t old = json_get(d, message, STR("function_call"));
    uint32_t calls = json_get(d, message, STR("tool_calls"));
    OPENAI_EACH(d, c, calls)
    {
        uint32_t f = json_get(d, c, STR("function")), custom = json_get(d, c, STR("custom"));
        if (json_is(d, f, JSON_OBJECT))
            read_call(in, c, f, STR("arguments"), list);
        else if (json_is(d, custom, JSON_OBJECT))
            read_call(in, c, custom, STR("input"), list);
        while (*list)
            list = &(*list)->next;
    }
    /* llama-cpp-python says the same call in both forms */
    if (json_child(d, calls) == JSON_NONE && json_is(d, old, JSON_OBJECT))
        read_call(in, old, old, STR("arguments"), list);
}

static void read_choice(struct reply_in *in, uint32_t choice, struct neutral_candidate *c)
{
    const struct json_doc *d = in->d;
    uint32_t m = json_get(d, choice, STR("message"));
    uint32_t audio = json_get(d, m, STR("audio"));
    uint32_t logprobs = json_get(d, choice, STR("logprobs"));
    unsigned calls = in->calls;
    chat_reasoning_read(d, m, in->a, &c->parts);
    read_content(in, json_get(d, m, STR("content")), &c->parts);
    add_text(in, PART_TEXT, json_get(d, audio, STR("transcript")), &c->parts);
    add_text(in, PART_REFUSAL, json_get(d, m, STR("refusal")), &c->parts);
    read_calls(in, m, &c->parts);
    if (json_is(d, logprobs, JSON_OBJECT))
        c->logprobs = json_raw(d, logprobs);
    c->finish =
        (uint8_t)chat_finish(d, json_get(d, choice, STR("finish_reason")), in->calls > calls);
}

enum err chat_read_reply(struct neutral_reply *out, const struct json_doc *d,
                         const struct link *link, struct str provider, struct arena *a,
                         struct fault *f)
{
    uint32_t root = json_root(d), choices = json_get(d, root, STR("choices"));
    struct reply_in in = {.d = d, .a = a};
    struct neutral_candidate **end = &out->candidates;
    *out = (struct neutral_reply){.created_s = 0};
    if (json_child(d, choices) == JSON_NONE || !json_is(d, choices, JSON_ARRAY) ||
        json_is(d, json_get(d, root, STR("error")), JSON_OBJECT))
        return openai_reply_error(d, provider, f);
    json_string(d, json_get(d, root, STR("id")), a, &out->id);
    json_string(d, json_get(d, root, STR("model")), a, &out->model);
    json_i64(d, json_get(d, root, STR("created")), &out->created_s);
    in.id = out->id;
    OPENAI_EACH(d, c, choices)
    {
        if (json_string_is(d, json_get(d, c, STR("finish_reason")),
                           STR("insufficient_system_resource")))
            return fault_set(f, ERR_UPSTREAM_ERROR, OPENAI_STARVED);
        if (!json_is(d, json_get(d, c, STR("message")), JSON_OBJECT))
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's answer has a choice without a message");
        if (!(*end = arena_zalloc(a, sizeof **end)))
            return ERR_NOMEM;
        read_choice(&in, c, *end);
        end = &(*end)->next;
    }
    out->has_usage = usage_read_openai(d, json_get(d, root, STR("usage")), &out->usage);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- writing ---- */

static void put_call(struct json_writer *w, const struct part *p, struct arena *a)
{
    json_open_object(w);
    json_field_string(w, "id", carry_id_join(p->id, (enum issuer)p->issuer, p->signature, a));
    json_field_string(w, "type", STR("function"));
    json_key(w, STR("function"));
    json_open_object(w);
    json_field_string(w, "name", p->name);
    json_field_string(w, "arguments", p->args.n ? p->args : STR("{}"));
    json_close_object(w);
    json_close_object(w);
}

static void put_calls(struct json_writer *w, const struct part *p, struct arena *a)
{
    json_key(w, STR("tool_calls"));
    json_open_array(w);
    for (; p; p = p->next)
        if (p->type == PART_TOOL_USE)
            put_call(w, p, a);
    json_close_array(w);
}

/* Images that a model drew, as OpenRouter gives them. */
static void put_images(struct json_writer *w, const struct part *p, struct arena *a)
{
    json_key(w, STR("images"));
    json_open_array(w);
    for (; p; p = p->next) {
        if (p->type != PART_IMAGE)
            continue;
        struct str mime = p->media.mime.n ? p->media.mime : STR("image/png");
        struct str url[] = {STR("data:"), mime, STR(";base64,"), p->media.data};
        json_open_object(w);
        json_field_string(w, "type", STR("image_url"));
        json_key(w, STR("image_url"));
        json_open_object(w);
        json_key(w, STR("url"));
        if (p->media.url.n)
            json_put_string(w, p->media.url);
        else
            json_put_joined_lent(w, url, 4);
        json_close_object(w);
        json_close_object(w);
    }
    json_close_array(w);
}

static void put_message(struct json_writer *w, const struct part *parts, struct arena *a)
{
    struct str text = chat_join(parts, PART_TEXT, STR(""), a);
    struct str refusal = chat_join(parts, PART_REFUSAL, STR(""), a);
    bool calls = false, images = false;
    for (const struct part *p = parts; p; p = p->next) {
        calls |= p->type == PART_TOOL_USE;
        images |= p->type == PART_IMAGE;
    }
    json_open_object(w);
    json_field_string(w, "role", STR("assistant"));
    if (text.n || (!calls && !refusal.n))
        json_field_string(w, "content", text);
    else
        json_field_null(w, "content");
    if (refusal.n)
        json_field_string(w, "refusal", refusal);
    else
        json_field_null(w, "refusal");
    chat_put_reasoning(w, parts, a);
    if (images)
        put_images(w, parts, a);
    if (calls)
        put_calls(w, parts, a);
    json_close_object(w);
}

void chat_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                      struct buf *out)
{
    struct json_writer w;
    int64_t index = 0;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "id", openai_reply_id("chatcmpl-", r->id, as->request_id, a));
    json_field_string(&w, "object", STR("chat.completion"));
    json_field_i64(&w, "created", r->created_s ? r->created_s : as->created_s);
    json_field_string(&w, "model", r->model.n ? r->model : as->model);
    json_key(&w, STR("choices"));
    json_open_array(&w);
    for (const struct neutral_candidate *c = r->candidates; c; c = c->next) {
        json_open_object(&w);
        json_field_i64(&w, "index", index++);
        json_key(&w, STR("message"));
        put_message(&w, c->parts, a);
        json_key(&w, STR("logprobs"));
        json_put_raw(&w, c->logprobs.n ? c->logprobs : STR("null"));
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
