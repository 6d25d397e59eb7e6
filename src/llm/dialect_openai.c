/* dialect_openai: errors as the official SDKs expect them, and the model list. */
#include "llm/dialect.h"

#include <stdio.h>

#include "core/json_write.h"

#define REQUEST "invalid_request_error"
#define SERVER  "server_error"

/* Where the class of an error and its name in lower case are not what an SDK looks for. */
static const struct {
    const char *type, *code;
} names[ERR_COUNT] = {
    [ERR_UNAUTHORIZED] = {"authentication_error", "invalid_api_key"},
    [ERR_FORBIDDEN] = {"permission_denied", "permission_denied"},
    [ERR_INVALID] = {REQUEST, "invalid_value"},
    [ERR_BAD_JSON] = {REQUEST, "invalid_json"},
    [ERR_NOT_FOUND] = {REQUEST, "not_found"},
    [ERR_RATE_LIMITED] = {"rate_limit_error", "rate_limit_exceeded"},
    [ERR_UPSTREAM_THROTTLE] = {"rate_limit_error", "rate_limit_exceeded"},
    [ERR_UPSTREAM_KEY] = {"provider_credential_error", "provider_credential_error"},
    [ERR_DNS_TIMEOUT] = {"timeout_error", "upstream_timeout"},
    [ERR_CONNECT_TIMEOUT] = {"timeout_error", "upstream_timeout"},
    [ERR_UPSTREAM_TIMEOUT] = {"timeout_error", "upstream_timeout"},
    [ERR_REQUEST_TIMEOUT] = {"timeout_error", "request_timeout"},
    [ERR_NO_CHANNEL] = {SERVER, "no_channel_available"},
};

static const char *type_of(enum err e)
{
    if (names[e].type)
        return names[e].type;
    switch (err_class(e)) {
    case CLASS_REQUEST:
        return REQUEST;
    case CLASS_THROTTLE:
        return "rate_limit_error";
    default:
        return SERVER;
    }
}

static const char *code_of(enum err e, char lower[static 32])
{
    if (names[e].code)
        return names[e].code;
    str_copy(lower, 32, str_c(err_name(e)));
    for (char *p = lower; *p; p++)
        *p = str_lower(*p);
    return lower;
}

/* What an error object says, whoever made it. */
struct saying {
    enum err err;
    const char *message, *type, *code, *param; /* code, param: NULL is null */
    int64_t offset;                            /* -1: none */
    char lower[32];
};

/* Is it a word of Google's, such as INVALID_ARGUMENT? */
static bool shouted(const char *word)
{
    return word[0] && word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == 0 &&
           strspn(word, "0123456789") < strlen(word);
}

/* A refused request's type: the upstream's, unless it spoke Anthropic's words or Google's
 * (https://docs.anthropic.com/en/api/errors); what both have in common is OpenAI's too. */
static const char *own_type(const struct fault *f)
{
    static const char *const foreign[] = {"not_found_error", "request_too_large", "api_error"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strcmp(f->type, foreign[i]) == 0)
            return REQUEST;
    return f->type[0] && !shouted(f->type) ? f->type : REQUEST;
}

/* And its code: what it means, where clients look for that by name (content_filter is Azure's way
 * to say it). NULL: none. */
static const char *own_code(const struct fault *f)
{
    if (f->kind & FAULT_CONTEXT)
        return "context_length_exceeded";
    if (f->kind & FAULT_POLICY && strcmp(f->code, "content_filter") != 0)
        return "content_policy_violation";
    return f->code[0] && !shouted(f->code) ? f->code : NULL;
}

/* Only of a refused request does the upstream's own error object reach the caller, and of a
 * throttle its words; the rest is between Lyss and the upstream. */
static void say_fault(struct saying *s, const struct fault *f)
{
    *s = (struct saying){.err = f->err, .offset = f->offset, .message = err_text(f->err)};
    s->type = type_of(f->err);
    s->code = code_of(f->err, s->lower);
    if (f->err == ERR_UPSTREAM_KEY)
        return;
    if (f->message[0])
        s->message = f->message;
    if (f->param[0])
        s->param = f->param;
    if (f->err == ERR_UPSTREAM_REQUEST) {
        s->type = own_type(f);
        s->code = own_code(f);
    }
}

static void put_text(struct json_writer *w, struct str name, const char *z)
{
    json_key(w, name);
    if (z)
        json_put_string(w, str_c(z));
    else
        json_put_null(w);
}

static void put_members(struct json_writer *w, const struct saying *s)
{
    char text[sizeof(((struct err_info *)0)->text) + 32];
    snprintf(text, sizeof text, s->offset >= 0 ? "%s (at byte %lld)" : "%s", s->message,
             (long long)s->offset);
    put_text(w, STR("message"), text);
    put_text(w, STR("type"), s->type);
    put_text(w, STR("param"), s->param);
    put_text(w, STR("code"), s->code);
}

static void put_body(struct buf *out, const struct saying *s, struct str request_id)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("error"));
    json_open_object(&w);
    put_members(&w, s);
    if (s->offset >= 0)
        json_field_i64(&w, "offset", s->offset);
    if (request_id.n)
        json_field_string(&w, "request_id", request_id);
    json_close_object(&w);
    json_close_object(&w);
}

static void put_event(struct buf *out, enum llm_op op, const struct saying *s, uint64_t tokens,
                      uint32_t sequence)
{
    struct json_writer w;
    bool responses = op == OP_RESPONSES;
    if (responses)
        buf_lit(out, "event: error\n");
    buf_lit(out, "data: ");
    json_writer_init(&w, out);
    json_open_object(&w);
    if (responses) {
        json_field_string(&w, "type", STR("error"));
        json_field_i64(&w, "sequence_number", sequence);
        put_text(&w, STR("code"), s->code);
        put_text(&w, STR("message"), s->message);
        put_text(&w, STR("param"), s->param);
    }
    json_key(&w, STR("error"));
    json_open_object(&w);
    put_members(&w, s);
    json_field_bool(&w, "retryable", dialect_retryable(s->err));
    json_field_i64(&w, "tokens", (int64_t)tokens);
    json_close_object(&w);
    json_close_object(&w);
    buf_lit(out, "\n\n");
}

static int fault_status(const struct fault *f)
{
    return f->status;
}

static void fault_body(struct buf *out, const struct fault *f, struct str request_id)
{
    struct saying s;
    say_fault(&s, f);
    put_body(out, &s, request_id);
}

static void fault_event(struct buf *out, enum llm_op op, const struct fault *f, uint64_t tokens,
                        uint32_t sequence, struct str request_id)
{
    struct saying s;
    (void)request_id;
    say_fault(&s, f);
    put_event(out, op, &s, tokens, sequence);
}

/* ---- models --------------------------------------------------------------- */

static void model_one(struct buf *out, const struct model_entry *m)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "id", m->name);
    json_field_string(&w, "object", STR("model"));
    json_field_i64(&w, "created", m->created_s);
    json_field_string(&w, "owned_by", m->owned_by);
    json_close_object(&w);
}

static void models_begin(struct buf *out)
{
    buf_lit(out, "{\"object\":\"list\",\"data\":[");
}

static void models_end(struct buf *out, struct str first, struct str last)
{
    (void)first;
    (void)last;
    buf_lit(out, "]}");
}

const struct dialect_row dialect_openai = {
    .fault_status = fault_status,
    .fault_body = fault_body,
    .fault_event = fault_event,
    .ping = STR(": ping\n\n"),
    .models_begin = models_begin,
    .models_end = models_end,
    .model_one = model_one,
};
