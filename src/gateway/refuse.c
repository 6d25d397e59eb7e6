/* refuse: answers of our own, in the caller's dialect, to what is not admitted. */
#include "gateway/refuse.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/rng.h"
#include "llm/dialect.h"
#include "net/scratch.h"

#define ERROR_BODY_MAX 65536

static void reply_error(struct http_conn *c, enum dialect dialect, bool array, struct str id,
                        struct str headers, enum err e, const struct err_info *info,
                        const char *allow)
{
    struct buf h;
    struct buf *body = scratch_buf(SCRATCH_REPLY_BODY, ERROR_BODY_MAX);
    if (array)
        buf_char(body, '[');
    dialect_error_body(dialect_of(dialect), body, e, info, id);
    if (array)
        buf_char(body, ']');
    if (buf_failed(body))
        buf_reset(body); /* rather no words than half of them */
    buf_init(&h, 8192);
    buf_str(&h, headers);
    buf_lit(&h, "Content-Type: application/json\r\n");
    if (allow)
        buf_printf(&h, "Allow: %s\r\n", allow);
    if (e == ERR_UNAUTHORIZED)
        buf_lit(&h, "WWW-Authenticate: Bearer\r\n");
    if (info && info->retry_ms > 0)
        buf_printf(&h, "Retry-After: %lld\r\n", (long long)(info->retry_ms + 999) / 1000);
    else if (e == ERR_OVERLOADED || e == ERR_NOMEM)
        buf_lit(&h, "Retry-After: 1\r\n");
    http_reply(c, err_status(e), buf_view(&h), buf_view(body));
    buf_release(&h);
}

/* What has no ledger row has this line. r NULL: whose it is is not known. */
static void log_refusal(struct worker *w, const struct http_conn *c, const struct request *r,
                        struct str id, enum err e)
{
    char from[ADDR_TEXT_MAX];
    if (!w->settings.log_requests && !w->settings.log_errors)
        return;
    log_event(LOG_WARN, "request.refused", LOG_STR("request_id", id),
              LOG_CSTR("client_request_id", r && r->ids ? r->ids->request_id : ""),
              LOG_I64("tenant_id", r ? r->tenant_id : 0), LOG_I64("user_id", r ? r->user_id : 0),
              LOG_I64("key_id", r ? r->key_id : 0),
              LOG_CSTR("op", r ? op_row((enum llm_op)r->op)->name : ""),
              LOG_CSTR("from", addr_format_ip(&c->peer, from)), LOG_I64("status", err_status(e)),
              LOG_CSTR("error", err_name(e)));
}

void refuse_bare(struct http_conn *c, const struct surface *s, struct str origin, enum err e,
                 const struct err_info *info, const char *allow)
{
    static const struct surface unknown = {.dialect = DIALECT_OPENAI};
    struct worker *w = c->server->user;
    uint8_t id[16];
    char text[37];
    if (!s)
        s = &unknown;
    rng_uuid7(clock_wall_ms(), id);
    uuid_format(id, text);
    struct buf *lines = scratch_buf(SCRATCH_REPLY_HEADERS, HEADERS_MAX);
    buf_printf(lines, "x-request-id: %s\r\nCache-Control: no-store\r\n", text);
    browser_put_cors(&w->browser, origin, lines);
    counter_add(&w->metrics.refused, 1);
    log_refusal(w, c, NULL, str_make(text, 36), e);
    reply_error(c, s->dialect, s->array, str_make(text, 36), buf_view(lines), e, info, allow);
}

static void reply_refusal(struct request *r, enum err e, const struct err_info *info)
{
    char id[37];
    uuid_format(r->id, id);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    counter_add(&r->worker->metrics.refused, 1);
    log_refusal(r->worker, c, r, str_make(id, 36), e);
    if (r->head_sent) { /* it had a ping while it waited */
        struct fault f;
        fault_from_err(&f, e, info);
        r->conn = c;
        relay_tell_fault(r, &f, 0);
        return;
    }
    reply_error(c, r->dialect, r->array, str_make(id, 36), reply_headers(r, NULL), e, info, NULL);
}

void request_refuse(struct request *r, enum err e, const struct err_info *info)
{
    reply_refusal(r, e, info);
    request_free(r);
}

void request_refuse_parsing(struct request *r, enum err e)
{
    reply_refusal(r, e, NULL);
    r->phase = PHASE_END;
}
