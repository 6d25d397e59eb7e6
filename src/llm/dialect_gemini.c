/* dialect_gemini: errors as Google's APIs say them (google.rpc.Status), and its model list.
 *
 * There is no ping: Google's SDK for Python takes a comment for JSON, and older
 * ones for JavaScript want each event to begin with "data: ". */
#include "llm/dialect.h"

#include <stdio.h>

#include "core/json_write.h"

#define TYPE_OF(name) STR("type.googleapis.com/google.rpc." name)

/* https://cloud.google.com/apis/design/errors#handling_errors */
static const struct {
    int status;
    const char *name;
} names[] = {
    {400, "INVALID_ARGUMENT"},   {401, "UNAUTHENTICATED"},   {403, "PERMISSION_DENIED"},
    {404, "NOT_FOUND"},          {408, "DEADLINE_EXCEEDED"}, {409, "ABORTED"},
    {429, "RESOURCE_EXHAUSTED"}, {499, "CANCELLED"},         {500, "INTERNAL"},
    {501, "UNIMPLEMENTED"},      {502, "UNAVAILABLE"},       {503, "UNAVAILABLE"},
    {504, "DEADLINE_EXCEEDED"},
};

static const char *name_of(int status)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].status == status)
            return names[i].name;
    return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
}

/* What is wrong with a channel's credential is between Lyss and the upstream. */
static const char *message_of(const struct fault *f)
{
    return f->err != ERR_UPSTREAM_KEY && f->message[0] ? f->message : err_text(f->err);
}

static void open_detail(struct json_writer *w, struct str type)
{
    json_open_object(w);
    json_field_string(w, "@type", type);
}

static void put_retry(struct json_writer *w, int64_t ms)
{
    char delay[40];
    snprintf(delay, sizeof delay, ms % 1000 ? "%lld.%03llds" : "%llds", (long long)(ms / 1000),
             (long long)(ms % 1000));
    open_detail(w, TYPE_OF("RetryInfo"));
    json_field_string(w, "retryDelay", str_c(delay));
    json_close_object(w);
}

static void put_field(struct json_writer *w, const struct fault *f)
{
    open_detail(w, TYPE_OF("BadRequest"));
    json_key(w, STR("fieldViolations"));
    json_open_array(w);
    json_open_object(w);
    json_field_string(w, "field", str_c(f->param));
    json_field_string(w, "description", str_c(message_of(f)));
    json_close_object(w);
    json_close_array(w);
    json_close_object(w);
}

static void put_details(struct json_writer *w, const struct fault *f, struct str request_id)
{
    bool field = f->param[0] && f->err != ERR_UPSTREAM_KEY;
    bool reason = f->err == ERR_UNAUTHORIZED;
    if (!field && !reason && f->retry_ms <= 0 && !request_id.n)
        return;
    json_key(w, STR("details"));
    json_open_array(w);
    if (field)
        put_field(w, f);
    if (reason) {
        open_detail(w, TYPE_OF("ErrorInfo"));
        json_field_string(w, "reason", STR("API_KEY_INVALID"));
        json_close_object(w);
    }
    if (f->retry_ms > 0)
        put_retry(w, f->retry_ms);
    if (request_id.n) {
        open_detail(w, TYPE_OF("RequestInfo"));
        json_field_string(w, "requestId", request_id);
        json_close_object(w);
    }
    json_close_array(w);
}

/* Leaves the error object open. */
static void put_error(struct json_writer *w, const struct fault *f, struct str request_id)
{
    char text[sizeof f->message + 32];
    snprintf(text, sizeof text, f->offset >= 0 ? "%s (at byte %lld)" : "%s", message_of(f),
             (long long)f->offset);
    json_open_object(w);
    json_key(w, STR("error"));
    json_open_object(w);
    json_field_i64(w, "code", f->status);
    json_field_string(w, "message", str_c(text));
    json_field_string(w, "status", str_c(name_of(f->status)));
    put_details(w, f, request_id);
}

static int fault_status(const struct fault *f)
{
    return f->status;
}

static void fault_body(struct buf *out, const struct fault *f, struct str request_id)
{
    struct json_writer w;
    json_writer_init(&w, out);
    put_error(&w, f, request_id);
    json_close_object(&w);
    json_close_object(&w);
}

static void fault_event(struct buf *out, enum llm_op op, const struct fault *f, uint64_t tokens,
                        uint32_t sequence, struct str request_id)
{
    struct json_writer w;
    (void)op, (void)sequence;
    buf_lit(out, "data: ");
    json_writer_init(&w, out);
    put_error(&w, f, request_id);
    json_field_bool(&w, "retryable", dialect_retryable(f->err));
    json_field_i64(&w, "tokens", (int64_t)tokens);
    json_close_object(&w);
    json_close_object(&w);
    buf_lit(out, "\r\n\r\n");
}

/* ---- models --------------------------------------------------------------- */

static void model_one(struct buf *out, const struct model_entry *m)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("name"));
    buf_lit(out, "\"models/");
    json_escape(out, m->name);
    buf_char(out, '"');
    w.keyed = false;
    json_field_string(&w, "displayName", m->name);
    dialect_put_limit(&w, STR("inputTokenLimit"), m->context_tokens);
    dialect_put_limit(&w, STR("outputTokenLimit"), m->output_tokens);
    json_key(&w, STR("supportedGenerationMethods"));
    json_open_array(&w);
    for (enum llm_op op = OP_GENERATE; op_by_path(op); op++)
        if (m->serves & OP_BIT(op))
            json_put_string(&w, str_from(str_c(op_row(op)->path), 1));
    json_close_array(&w);
    json_close_object(&w);
}

static void models_begin(struct buf *out)
{
    buf_lit(out, "{\"models\":[");
}

static void models_end(struct buf *out, struct str first, struct str last)
{
    (void)first;
    (void)last;
    buf_lit(out, "]}");
}

const struct dialect_row dialect_gemini = {
    .fault_status = fault_status,
    .fault_body = fault_body,
    .fault_event = fault_event,
    .ping = STR(""),
    .models_begin = models_begin,
    .models_end = models_end,
    .model_one = model_one,
};
