/* reply: a whole answer, read from an upstream and written to a caller. */
#include "llm/anthropic/anthropic.h"

#include "llm/carry.h"
#include "llm/estimate.h"

/* ---- reading ---- */

static struct str text_of(const struct json_doc *d, uint32_t obj, struct str name, struct arena *a)
{
    struct str s = STR_NULL;
    json_string(d, json_get(d, obj, name), a, &s);
    return s;
}

struct reply_in {
    const struct json_doc *d;
    struct arena *a;
    struct neutral_candidate *c;
    const struct link *link;
    enum issuer issuer;
    unsigned calls, answers; /* of tools; of the hidden one */
};

static void read_call(struct reply_in *in, uint32_t block)
{
    struct str name = text_of(in->d, block, STR("name"), in->a);
    struct str input = json_raw(in->d, json_get(in->d, block, STR("input")));
    if (in->link && in->link->schema_tool && str_eq(name, STR(SCHEMA_TOOL))) {
        if (in->answers++)
            return;
        struct part *text = neutral_part(in->a, PART_TEXT, &in->c->parts);
        if (text)
            text->text = input.n ? input : STR("{}");
        return;
    }
    struct part *p = neutral_part(in->a, PART_TOOL_USE, &in->c->parts);
    if (!p)
        return;
    in->calls++;
    p->id = text_of(in->d, block, STR("id"), in->a);
    p->name = anthropic_name_own(name, in->a);
    p->args = input;
}

static void read_thought(struct reply_in *in, uint32_t block, bool redacted)
{
    struct part *p = neutral_part(in->a, PART_REASONING, &in->c->parts);
    if (!p)
        return;
    p->redacted = redacted;
    p->data = text_of(in->d, block, STR("data"), in->a);
    p->text = text_of(in->d, block, STR("thinking"), in->a);
    p->signature = text_of(in->d, block, STR("signature"), in->a);
    p->issuer = p->signature.n || p->data.n ? (uint8_t)in->issuer : ISSUER_NONE;
}

/* Blocks of tools that ran at Anthropic, and whatever comes to be added, are not part of what the
 * model says: its text tells what it made of them. */
static void read_block(struct reply_in *in, uint32_t block)
{
    uint32_t type = json_get(in->d, block, STR("type"));
    if (json_string_is(in->d, type, STR("text"))) {
        struct str text = text_of(in->d, block, STR("text"), in->a);
        struct part *p = text.n ? neutral_part(in->a, PART_TEXT, &in->c->parts) : NULL;
        if (p)
            p->text = text;
    } else if (json_string_is(in->d, type, STR("tool_use"))) {
        read_call(in, block);
    } else if (json_string_is(in->d, type, STR("thinking"))) {
        read_thought(in, block, false);
    } else if (json_string_is(in->d, type, STR("redacted_thinking"))) {
        read_thought(in, block, true);
    }
}

/* Why a request was declined, when nothing else was said. */
static void read_refusal(struct reply_in *in, uint32_t root)
{
    uint32_t details = json_get(in->d, root, STR("stop_details"));
    struct str why = text_of(in->d, details, STR("explanation"), in->a);
    struct part *p =
        why.n && !in->c->parts ? neutral_part(in->a, PART_REFUSAL, &in->c->parts) : NULL;
    if (p)
        p->text = why;
}

static void read_finish(struct reply_in *in, uint32_t root)
{
    enum finish finish = anthropic_finish(text_of(in->d, root, STR("stop_reason"), in->a));
    if (finish == FINISH_TOOL_CALLS && in->answers && !in->calls)
        finish = FINISH_STOP;
    if (finish == FINISH_REFUSAL)
        read_refusal(in, root);
    in->c->finish = (uint8_t)finish;
    in->c->stop_sequence = text_of(in->d, root, STR("stop_sequence"), in->a);
}

enum err anthropic_read_reply(struct neutral_reply *out, const struct json_doc *d,
                              const struct link *link, struct str provider, struct arena *a,
                              struct fault *f)
{
    uint32_t root = json_root(d), error = json_get(d, root, STR("error"));
    uint32_t content = json_get(d, root, STR("content"));
    *out = (struct neutral_reply){0};
    if (json_is(d, error, JSON_OBJECT) || json_is(d, error, JSON_STRING)) {
        fault_from_object(f, provider, d, error);
        return f->err;
    }
    if (!json_is(d, content, JSON_ARRAY))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is no message");
    out->candidates = arena_zalloc(a, sizeof *out->candidates);
    if (!out->candidates)
        return ERR_NOMEM;
    struct reply_in in = {
        .d = d, .a = a, .c = out->candidates, .link = link, .issuer = anthropic_issuer(provider)};
    out->id = text_of(d, root, STR("id"), a);
    out->model = text_of(d, root, STR("model"), a);
    for (uint32_t b = json_child(d, content); b != JSON_NONE; b = json_sibling(d, content, b))
        read_block(&in, b);
    read_finish(&in, root);
    out->has_usage = usage_read_anthropic(d, json_get(d, root, STR("usage")), &out->usage);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- writing ---- */

void anthropic_put_usage(struct json_writer *w, const struct usage *u, bool head)
{
    json_open_object(w);
    json_field_i64(w, "input_tokens", (int64_t)u->in_uncached + u->audio_in);
    json_field_i64(w, "cache_creation_input_tokens",
                   (int64_t)u->cache_write_5m + u->cache_write_1h);
    json_field_i64(w, "cache_read_input_tokens", u->cache_read);
    if (head) {
        json_key(w, STR("cache_creation"));
        json_open_object(w);
        json_field_i64(w, "ephemeral_5m_input_tokens", u->cache_write_5m);
        json_field_i64(w, "ephemeral_1h_input_tokens", u->cache_write_1h);
        json_close_object(w);
    }
    json_field_i64(w, "output_tokens", (int64_t)usage_output_tokens(u));
    if (u->out_reasoning) {
        json_key(w, STR("output_tokens_details"));
        json_open_object(w);
        json_field_i64(w, "thinking_tokens", u->out_reasoning);
        json_close_object(w);
    }
    json_close_object(w);
}

static void open_part(struct json_writer *w, const char *type)
{
    json_open_object(w);
    json_field_string(w, "type", str_c(type));
}

static void put_thought(struct json_writer *w, const struct part *p, struct arena *a)
{
    struct str own = p->signature.n ? p->signature : p->data;
    struct str field = anthropic_signature_join(own, p->id, (enum issuer)p->issuer, a);
    if (p->redacted) {
        open_part(w, "redacted_thinking");
        json_field_string(w, "data", field);
    } else {
        open_part(w, "thinking");
        json_field_string(w, "thinking", p->text);
        json_field_string(w, "signature", field);
    }
    json_close_object(w);
}

static void put_call(struct json_writer *w, const struct part *p, struct arena *a)
{
    open_part(w, "tool_use");
    json_field_string(w, "id", carry_id_join(p->id, (enum issuer)p->issuer, p->signature, a));
    json_field_string(w, "name", p->name);
    json_key(w, STR("input"));
    json_put_raw(w, neutral_args_object(p->args, a));
    json_close_object(w);
}

static void put_part(struct json_writer *w, const struct part *p, struct arena *a)
{
    switch ((enum part_type)p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        if (!p->text.n)
            return;
        open_part(w, "text");
        json_field_string(w, "text", p->text);
        json_close_object(w);
        return;
    case PART_REASONING:
        put_thought(w, p, a);
        return;
    case PART_TOOL_USE:
        put_call(w, p, a);
        return;
    default: /* what a model drew or spoke has no block here */
        return;
    }
}

static struct usage estimated(const struct neutral_candidate *c, const struct answer *as)
{
    struct estimate e = {0};
    for (const struct part *p = c ? c->parts : NULL; p; p = p->next) {
        estimate_add_text(&e, p->text);
        estimate_add_text(&e, p->args);
    }
    return (struct usage){.in_uncached = as->estimate_in, .out_text = estimate_tokens(&e)};
}

static void put_stop(struct json_writer *w, const struct neutral_candidate *c)
{
    bool tools = false;
    for (const struct part *p = c ? c->parts : NULL; p; p = p->next)
        tools |= p->type == PART_TOOL_USE;
    enum finish finish = c ? (enum finish)c->finish : FINISH_STOP;
    json_field_string(w, "stop_reason", str_c(anthropic_stop_reason(finish, tools)));
    if (finish == FINISH_STOP_SEQUENCE)
        json_field_string(w, "stop_sequence", c->stop_sequence);
    else
        json_field_null(w, "stop_sequence");
}

void anthropic_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                           struct buf *out)
{
    const struct neutral_candidate *c = r->candidates;
    struct usage usage = r->has_usage ? r->usage : estimated(c, as);
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "id",
                      r->id.n ? r->id : arena_printf(a, "msg_%.*s", STR_FMT(as->request_id)));
    json_field_string(&w, "type", STR("message"));
    json_field_string(&w, "role", STR("assistant"));
    json_field_string(&w, "model", r->model.n ? r->model : as->model);
    json_key(&w, STR("content"));
    json_open_array(&w);
    for (const struct part *p = c ? c->parts : NULL; p; p = p->next)
        put_part(&w, p, a);
    json_close_array(&w);
    put_stop(&w, c);
    json_key(&w, STR("usage"));
    anthropic_put_usage(&w, &usage, true);
    json_close_object(&w);
}

/* ---- count_tokens ---- */

enum err anthropic_read_count_reply(struct neutral_reply *out, const struct json_doc *d,
                                    const struct link *link, struct str provider, struct arena *a,
                                    struct fault *f)
{
    uint32_t root = json_root(d), error = json_get(d, root, STR("error"));
    int64_t n;
    (void)link, (void)a;
    *out = (struct neutral_reply){0};
    if (json_is(d, error, JSON_OBJECT)) {
        fault_from_object(f, provider, d, error);
        return f->err;
    }
    if (!json_i64(d, json_get(d, root, STR("input_tokens")), &n) || n < 0)
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is no count of tokens");
    out->tokens = (uint64_t)n;
    return ERR_OK;
}

void anthropic_write_count_reply(const struct neutral_reply *r, const struct answer *as,
                                 struct arena *a, struct buf *out)
{
    struct json_writer w;
    (void)as, (void)a;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("input_tokens"));
    json_put_u64(&w, r->tokens);
    json_close_object(&w);
}
