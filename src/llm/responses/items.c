/* responses/items: the pieces that requests, answers and streams have in common, each read and
 * written in one place. */
#include "llm/responses/responses.h"

#include <stdio.h>

#include "core/alloc.h"
#include "llm/carry.h"

#define REDACTED "redacted:"

/* ---- what is sealed in a reasoning item ---- */

struct str responses_seal(struct str own, enum issuer issuer, bool redacted, struct arena *a)
{
    if (redacted && own.n && issuer != ISSUER_OPENAI)
        own = arena_printf(a, REDACTED "%.*s", STR_FMT(own));
    return carry_signature_join(own, issuer, ISSUER_OPENAI, a);
}

void responses_unseal(struct part *p, struct str sealed)
{
    enum issuer issuer;
    struct str own;
    carry_signature_split(sealed, ISSUER_OPENAI, &issuer, &own);
    p->issuer = (uint8_t)issuer;
    if (issuer == ISSUER_OPENAI) {
        p->redacted = !p->text.n;
    } else if (str_starts(own, STR(REDACTED))) {
        p->redacted = true;
        own = str_from(own, sizeof REDACTED - 1);
    }
    if (p->redacted)
        p->data = own;
    else
        p->signature = own;
}

struct str responses_join_texts(const struct json_doc *d, uint32_t list, struct arena *a)
{
    struct str all = STR_NULL, text;
    size_t n = 0;
    if (!json_is(d, list, JSON_ARRAY))
        return all;
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i))
        n += json_raw(d, json_get(d, i, STR("text"))).n + 2;
    char *p = n ? arena_alloc(a, n) : NULL;
    if (!p)
        return all;
    n = 0;
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i)) {
        if (!json_string(d, json_get(d, i, STR("text")), a, &text) || !text.n)
            continue;
        if (n) {
            memcpy(p + n, "\n\n", 2);
            n += 2;
        }
        memcpy(p + n, text.p, text.n);
        n += text.n;
    }
    return str_make(p, n);
}

bool responses_read_reasoning(const struct json_doc *d, uint32_t item, struct arena *a,
                              struct part *p)
{
    struct str sealed = STR_NULL;
    p->text = responses_join_texts(d, json_get(d, item, STR("content")), a);
    if (!p->text.n)
        p->text = responses_join_texts(d, json_get(d, item, STR("summary")), a);
    json_string(d, json_get(d, item, STR("id")), a, &p->id);
    json_string(d, json_get(d, item, STR("encrypted_content")), a, &sealed);
    if (sealed.n)
        responses_unseal(p, sealed);
    return p->text.n || sealed.n;
}

struct str responses_custom_args(struct str input, struct arena *a)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, input.n * 6 + 64);
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_string(&w, "input", input);
    json_close_object(&w);
    struct str args = buf_failed(&b) ? STR_NULL : arena_dup(a, buf_view(&b));
    if (buf_failed(&b))
        a->failed = true;
    buf_release(&b);
    return args;
}

/* ---- ids ---- */

static bool plain_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = str_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

void responses_ids_init(struct response_ids *ids, struct str request_id, struct str upstream_id)
{
    unsigned n = 0;
    for (size_t i = 0; i < request_id.n && n < sizeof ids->hex - 1; i++)
        if (request_id.p[i] != '-')
            ids->hex[n++] = request_id.p[i];
    ids->hex[n] = 0;
    if (str_starts(upstream_id, STR("resp_")) && upstream_id.n < sizeof ids->response &&
        plain_id(upstream_id))
        str_copy(ids->response, sizeof ids->response, upstream_id);
    else
        snprintf(ids->response, sizeof ids->response, "resp_%s", ids->hex);
}

struct str responses_item_id(const struct response_ids *ids, const char *prefix, uint32_t index,
                             char *out)
{
    int n = snprintf(out, RESPONSES_ID_MAX, "%s_%s%02x", prefix, ids->hex, index);
    return str_make(out, (size_t)n);
}

/* ---- items ---- */

void responses_put_reasoning(struct json_writer *w, struct str id, struct str text,
                             struct str sealed)
{
    json_open_object(w);
    json_field_string(w, "id", id);
    json_field_string(w, "type", STR("reasoning"));
    json_key(w, STR("summary"));
    json_open_array(w);
    if (text.n) {
        json_open_object(w);
        json_field_string(w, "type", STR("summary_text"));
        json_field_string(w, "text", text);
        json_close_object(w);
    }
    json_close_array(w);
    if (sealed.n)
        json_field_string(w, "encrypted_content", sealed);
    json_close_object(w);
}

void responses_put_content(struct json_writer *w, bool refusal, struct str text,
                           struct str logprobs)
{
    json_open_object(w);
    if (refusal) {
        json_field_string(w, "type", STR("refusal"));
        json_field_string(w, "refusal", text);
    } else {
        json_field_string(w, "type", STR("output_text"));
        json_key(w, STR("annotations"));
        json_put_raw(w, STR("[]"));
        json_key(w, STR("logprobs"));
        json_open_array(w);
        if (logprobs.n)
            json_put_raw(w, logprobs);
        json_close_array(w);
        json_field_string(w, "text", text);
    }
    json_close_object(w);
}

void responses_put_call(struct json_writer *w, struct str id, struct str call_id, struct str name,
                        struct str args, struct str status)
{
    json_open_object(w);
    json_field_string(w, "id", id);
    json_field_string(w, "type", STR("function_call"));
    json_field_string(w, "status", status);
    json_field_string(w, "arguments", args);
    json_field_string(w, "call_id", call_id);
    json_field_string(w, "name", name);
    json_close_object(w);
}

void responses_open_message(struct json_writer *w, struct str id, struct str status)
{
    json_open_object(w);
    json_field_string(w, "id", id);
    json_field_string(w, "type", STR("message"));
    json_field_string(w, "status", status);
    json_field_string(w, "role", STR("assistant"));
    json_key(w, STR("content"));
    json_open_array(w);
}

void responses_close_message(struct json_writer *w)
{
    json_close_array(w);
    json_close_object(w);
}

/* Parses onto entries of the doc's own, which the caller frees. */
static bool parse_own(struct json_doc *d, struct str text)
{
    *d = (struct json_doc){.cap = (uint32_t)(text.n / 2 + 16)};
    if (!text.n || text.n >= UINT32_MAX)
        return false;
    d->e = mem_alloc(d->cap * sizeof *d->e);
    return d->e && json_parse_onto(d, text, NULL) == ERR_OK;
}

struct str responses_logprobs(struct str raw)
{
    struct json_doc d;
    struct str inner = STR_NULL;
    if (parse_own(&d, raw)) {
        uint32_t list = json_get(&d, json_root(&d), STR("content"));
        struct str all = json_raw(&d, list);
        if (json_is(&d, list, JSON_ARRAY))
            inner = str_trim(str_make(all.p + 1, all.n - 2));
    }
    mem_free(d.e);
    return inner;
}

/* Token and logprob of an element, and open: more may follow. */
static void open_logprob(struct json_writer *w, const struct json_doc *d, uint32_t i)
{
    struct str token = json_raw(d, json_get(d, i, STR("token")));
    struct str logprob = json_raw(d, json_get(d, i, STR("logprob")));
    json_open_object(w);
    json_key(w, STR("token"));
    json_put_raw(w, token.n ? token : STR("\"\""));
    json_key(w, STR("logprob"));
    json_put_raw(w, logprob.n ? logprob : STR("0"));
}

static void put_short_logprob(struct json_writer *w, const struct json_doc *d, uint32_t i)
{
    uint32_t top = json_get(d, i, STR("top_logprobs"));
    bool list = json_is(d, top, JSON_ARRAY);
    open_logprob(w, d, i);
    json_key(w, STR("top_logprobs"));
    json_open_array(w);
    for (uint32_t k = list ? json_child(d, top) : JSON_NONE; k != JSON_NONE;
         k = json_sibling(d, top, k)) {
        open_logprob(w, d, k);
        json_close_object(w);
    }
    json_close_array(w);
    json_close_object(w);
}

void responses_put_short_logprobs(struct json_writer *w, struct str elements)
{
    struct json_doc d = {.e = NULL};
    struct buf b;
    buf_init(&b, elements.n + 2);
    buf_char(&b, '[');
    buf_str(&b, elements);
    buf_char(&b, ']');
    json_open_array(w);
    if (elements.n && !buf_failed(&b) && parse_own(&d, buf_view(&b))) {
        for (uint32_t i = json_child(&d, 0); i != JSON_NONE; i = json_sibling(&d, 0, i))
            put_short_logprob(w, &d, i);
    }
    json_close_array(w);
    mem_free(d.e);
    buf_release(&b);
}

/* ---- the whole object ---- */

struct str responses_incomplete(enum finish finish, bool refused)
{
    switch (finish) {
    case FINISH_LENGTH:
        return STR("max_output_tokens");
    case FINISH_CONTENT_FILTER:
        return STR("content_filter");
    case FINISH_REFUSAL:
        return refused ? STR_NULL : STR("content_filter");
    default:
        return STR_NULL;
    }
}

static void put_usage(struct json_writer *w, const struct usage *u)
{
    uint64_t in = usage_input_tokens(u), out = usage_output_tokens(u);
    json_open_object(w);
    json_key(w, STR("input_tokens"));
    json_put_u64(w, in);
    json_key(w, STR("input_tokens_details"));
    json_open_object(w);
    json_key(w, STR("cached_tokens"));
    json_put_u64(w, u->cache_read);
    json_key(w, STR("cache_write_tokens"));
    json_put_u64(w, (uint64_t)u->cache_write_5m + u->cache_write_1h);
    json_close_object(w);
    json_key(w, STR("output_tokens"));
    json_put_u64(w, out);
    json_key(w, STR("output_tokens_details"));
    json_open_object(w);
    json_key(w, STR("reasoning_tokens"));
    json_put_u64(w, u->out_reasoning);
    json_close_object(w);
    json_key(w, STR("total_tokens"));
    json_put_u64(w, in + out);
    json_close_object(w);
}

/* What a request may have said and an answer repeats: the writer of answers does not know the
 * request, so it gives what every SDK takes for "not said". */
static const struct {
    struct str name, raw;
} echoes[] = {
    {STR("instructions"), STR("null")},
    {STR("max_output_tokens"), STR("null")},
    {STR("max_tool_calls"), STR("null")},
    {STR("metadata"), STR("{}")},
    {STR("parallel_tool_calls"), STR("true")},
    {STR("previous_response_id"), STR("null")},
    {STR("prompt_cache_key"), STR("null")},
    {STR("reasoning"), STR("{\"effort\":null,\"summary\":null}")},
    {STR("safety_identifier"), STR("null")},
    {STR("service_tier"), STR("\"default\"")},
    {STR("store"), STR("false")},
    {STR("temperature"), STR("null")},
    {STR("text"), STR("{\"format\":{\"type\":\"text\"}}")},
    {STR("tool_choice"), STR("\"auto\"")},
    {STR("tools"), STR("[]")},
    {STR("top_logprobs"), STR("0")},
    {STR("top_p"), STR("null")},
    {STR("truncation"), STR("\"disabled\"")},
    {STR("user"), STR("null")},
};

void responses_put_response(struct json_writer *w, const struct response_head *h)
{
    json_open_object(w);
    json_field_string(w, "id", h->id);
    json_field_string(w, "object", STR("response"));
    json_field_i64(w, "created_at", h->created_s);
    json_field_string(w, "status", h->status);
    json_field_null(w, "access_programs");
    json_field_bool(w, "background", false);
    json_field_null(w, "error");
    json_key(w, STR("incomplete_details"));
    if (h->reason.n) {
        json_open_object(w);
        json_field_string(w, "reason", h->reason);
        json_close_object(w);
    } else {
        json_put_null(w);
    }
    json_field_string(w, "model", h->model);
    json_key(w, STR("output"));
    json_open_array(w);
    if (h->items.n)
        json_put_raw(w, h->items);
    json_close_array(w);
    for (size_t i = 0; i < sizeof echoes / sizeof *echoes; i++) {
        json_key(w, echoes[i].name);
        json_put_raw(w, echoes[i].raw);
    }
    json_key(w, STR("usage"));
    if (h->usage)
        put_usage(w, h->usage);
    else
        json_put_null(w);
    json_close_object(w);
}
