/* dialect_anthropic: errors as Claude's SDKs expect them, and the model list.
 *
 * https://docs.anthropic.com/en/api/errors: an SDK chooses its class of error by
 * the status, and shows error.type. */
#include "llm/dialect.h"

#include <stdio.h>

#include "core/clock.h"
#include "core/json_write.h"

#define OVERLOADED "overloaded_error"

/* The type for each status; others by their hundred. */
static const struct {
    short status;
    const char *type;
} types[] = {
    {401, "authentication_error"}, {402, "billing_error"},     {403, "permission_error"},
    {404, "not_found_error"},      {413, "request_too_large"}, {429, "rate_limit_error"},
    {504, "timeout_error"},        {529, OVERLOADED},
};
#define TYPES (sizeof types / sizeof *types)

/* An upstream that is overloaded says 503 on the other wires. */
static int fault_status(const struct fault *f)
{
    bool over = strcmp(f->type, OVERLOADED) == 0 || f->status == 503;
    return f->err == ERR_UPSTREAM_ERROR && over ? 529 : f->status;
}

/* An upstream's own type, where it is one of this dialect's. */
static const char *own_type(const struct fault *f)
{
    if (f->err != ERR_UPSTREAM_REQUEST)
        return NULL;
    for (size_t i = 0; i < TYPES; i++)
        if (strcmp(types[i].type, f->type) == 0)
            return types[i].type;
    return NULL;
}

static const char *type_of(const struct fault *f)
{
    const char *own = own_type(f);
    int status = fault_status(f);
    if (own)
        return own;
    if (f->err == ERR_OVERLOADED)
        return OVERLOADED;
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].status == status)
            return types[i].type;
    return status >= 500 ? "api_error" : "invalid_request_error";
}

/* Only of a refused request and of a failure of its own do the upstream's words reach the caller;
 * what is wrong with a credential is between Lyss and the upstream. */
static void put_error(struct json_writer *w, const struct fault *f)
{
    char text[sizeof f->message + 32];
    const char *said = f->err == ERR_UPSTREAM_KEY || !f->message[0] ? err_text(f->err) : f->message;
    snprintf(text, sizeof text, f->offset >= 0 ? "%s (at byte %lld)" : "%s", said,
             (long long)f->offset);
    json_field_string(w, "type", str_c(type_of(f)));
    json_field_string(w, "message", str_c(text));
}

static void open_error(struct json_writer *w, struct buf *out, const struct fault *f)
{
    json_writer_init(w, out);
    json_open_object(w);
    json_field_string(w, "type", STR("error"));
    json_key(w, STR("error"));
    json_open_object(w);
    put_error(w, f);
}

static void close_error(struct json_writer *w, struct str request_id)
{
    json_close_object(w);
    if (request_id.n)
        json_field_string(w, "request_id", request_id);
    json_close_object(w);
}

static void fault_body(struct buf *out, const struct fault *f, struct str request_id)
{
    struct json_writer w;
    open_error(&w, out, f);
    close_error(&w, request_id);
}

static void fault_event(struct buf *out, enum llm_op op, const struct fault *f, uint64_t tokens,
                        uint32_t sequence, struct str request_id)
{
    struct json_writer w;
    (void)op, (void)sequence;
    buf_lit(out, "event: error\ndata: ");
    open_error(&w, out, f);
    json_field_bool(&w, "retryable", dialect_retryable(f->err));
    json_field_i64(&w, "tokens", (int64_t)tokens);
    close_error(&w, request_id);
    buf_lit(out, "\n\n");
}

/* ---- models --------------------------------------------------------------- */

static void model_one(struct buf *out, const struct model_entry *m)
{
    char iso[25], at[25];
    struct json_writer w;
    clock_iso(m->created_s * 1000, iso);
    snprintf(at, sizeof at, "%.19sZ", iso);
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "type", STR("model"));
    json_field_string(&w, "id", m->name);
    json_field_string(&w, "display_name", m->name);
    json_field_string(&w, "created_at", str_c(at));
    dialect_put_limit(&w, STR("max_input_tokens"), m->context_tokens);
    dialect_put_limit(&w, STR("max_tokens"), m->output_tokens);
    json_close_object(&w);
}

static void models_begin(struct buf *out)
{
    buf_lit(out, "{\"data\":[");
}

static void put_id(struct buf *out, struct str id)
{
    if (!id.n) {
        buf_lit(out, "null");
        return;
    }
    buf_char(out, '"');
    json_escape(out, id);
    buf_char(out, '"');
}

static void models_end(struct buf *out, struct str first, struct str last)
{
    buf_lit(out, "],\"has_more\":false,\"first_id\":");
    put_id(out, first);
    buf_lit(out, ",\"last_id\":");
    put_id(out, last);
    buf_char(out, '}');
}

const struct dialect_row dialect_anthropic = {
    .fault_status = fault_status,
    .fault_body = fault_body,
    .fault_event = fault_event,
    .ping = STR("event: ping\ndata: {\"type\":\"ping\"}\n\n"),
    .models_begin = models_begin,
    .models_end = models_end,
    .model_one = model_one,
};
