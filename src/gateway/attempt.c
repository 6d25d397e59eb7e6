/* attempt: the one loop of retry and failover, for whole and streamed calls alike: choose a channel
 * and a credential that have not been tried, send, and until the commit go on to the next. */
#include <assert.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "gateway/hedge.h"
#include "gateway/memory/idempotency.h"
#include "gateway/outgoing.h"
#include "gateway/passthrough.h"
#include "gateway/memory/recall.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"
#include "llm/dialect.h"
#include "net/gunzip.h"
#include "net/scratch.h"

#define BACKOFF_MAX_MS 2000

/* ---- sending ---------------------------------------------------------------------- */

/* The caller's trace goes on with this attempt as a span of its own. */
static void write_trace(const char *parent, struct buf *b)
{
    uint64_t span = rng_u64() | 1;
    buf_printf(b, "traceparent: %.36s%016llx%s\r\n", parent, (unsigned long long)span, parent + 52);
}

void attempt_wipe_head(struct request *r)
{
    struct request_plan *p = r->plan;
    if (!p || !p->head.n || http_call_sending(&r->call))
        return;
    explicit_bzero((char *)p->head.p, p->head.n);
    p->head = STR_NULL;
}

/* Moves a head that holds a credential into the arena. */
static enum err keep_head(struct request *r, struct buf *b)
{
    if (!buf_failed(b))
        r->plan->head = arena_dup(&r->arena, buf_view(b));
    if (b->p)
        explicit_bzero(b->p, b->n);
    return buf_failed(b) || arena_failed(&r->arena) ? ERR_NOMEM : ERR_OK;
}

static enum err write_head(struct request *r, const struct choice *c, size_t length,
                           struct err_info *info)
{
    struct buf *b = scratch_buf(SCRATCH_CALL_HEAD, 16384);
    const struct channel *ch = c->channel;
    if (r->plan->passthrough) {
        passthrough_write_head(r, c, length, b);
        return keep_head(r, b);
    }
    buf_lit(b, "POST ");
    enum err e = provider_target(ch->provider, &ch->at, (enum llm_op)r->call_op, c->upstream,
                                 r->stream, b, info);
    if (e)
        return e;
    buf_lit(b, " HTTP/1.1\r\nHost: ");
    buf_str(b, ch->authority);
    buf_lit(b, "\r\n");
    buf_str(b, secret_expose(&c->credential->header));
    size_t fields = b->n;
    if (r->stream)
        buf_lit(b, "Accept: text/event-stream\r\n");
    if (op_row((enum llm_op)r->call_op)->dialect == DIALECT_ANTHROPIC)
        provider_version_header(r->plan->anthropic_version, r->plan->anthropic_beta, b);
    if (r->ids && r->ids->traceparent[0])
        write_trace(r->ids->traceparent, b);
    buf_lit(b, "Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
               "User-Agent: lyss/" LYSS_VERSION "\r\nContent-Length: ");
    buf_u64(b, length);
    buf_lit(b, "\r\n");
    overrides_put_lines(&ch->headers, b, fields);
    buf_lit(b, "\r\n");
    return keep_head(r, b);
}

/* Room for the head, and n edits of the body, and as much again to send them. */
static struct iovec *room_to_send(struct request *r, unsigned n)
{
    if (n <= OPENAI_EDITS_MAX)
        return r->plan->iov;
    return arena_alloc(&r->arena, 2 * (EDIT_IOV_MAX(n) + 1) * sizeof(struct iovec));
}

/* Makes what is sent to the choice. */
static enum err prepare(struct request *r, const struct choice *c, struct err_info *info)
{
    struct request_plan *p = r->plan;
    struct outgoing body = {0};
    if (!r->upstream_model)
        return ERR_NOMEM;
    enum err e = outgoing_make(r, c, &body, info);
    if (e)
        return e;
    e = write_head(r, c, edits_length(body.text, body.e, body.n), info);
    if (e)
        return e;
    struct iovec *iov = room_to_send(r, body.n);
    if (!iov)
        return ERR_NOMEM;
    unsigned n = 1 + edits_iov(body.text, body.e, body.n, iov + 1);
    iov[0] = (struct iovec){(char *)p->head.p, p->head.n};
    r->call.iov = iov;
    r->call.work = iov + n;
    r->call.iov_n = (uint16_t)n;
    r->swallow_usage = p->edits.swallow_usage;
    return ERR_OK;
}

static enum err launch(struct request *r)
{
    struct worker *w = r->worker;
    struct http_origin *o = worker_origin(w, r->channel);
    r->call_live = 1;
    gate_sent(&r->pass, loop_now_ms(w->loop));
    vitals_started(&r->channel->cell->vitals, loop_now_ms(w->loop));
    return o ? http_call_start(&w->client, o, &r->call) : ERR_NOMEM;
}

static void reset_for_attempt(struct request *r)
{
    struct request_plan *p = r->plan;
    r->upstream_status = 0;
    r->sse = r->whole = 0;
    p->hold_n = p->hold_events = 0;
    gunzip_free(&r->gunzip);
    translation_free(&r->translation);
    recall_free(&r->recall);
    mem_free(r->tail);
    r->tail = NULL;
    r->tail_n = r->tail_cap = 0;
    p->reply = NULL;
    p->reply_n = p->reply_cap = 0;
    p->passed = p->retry_after = p->retry_after_ms = STR_NULL;
    r->usage_raw = STR_NULL;
    r->usage_cap = 0;
    r->progressed = 0;
    r->progress_tokens = 0;
    if (r->body_bytes)
        weigh_request(r);
    openai_stream_init(&r->tap, r->op);
    p->link = (struct link){.answers = (uint8_t)(p->body.n < UINT8_MAX ? p->body.n : UINT8_MAX)};
}

/* The attempt was never sent: its channel has no part in how the request ends. */
static void forget_target(struct request *r)
{
    gate_leave(&r->pass, 0, 0, loop_now_ms(r->worker->loop));
    channel_unref(&r->channel);
    r->upstream_model = NULL;
    r->entry = NULL;
    r->credential_id = 0;
}

/* Sends the attempt that was begun. What cannot even be written, or is more than we have memory
 * for, is refused before the request is admitted. */
static void go(struct request *r)
{
    struct request_plan *p = r->plan;
    struct err_info info;
    err_info_init(&info);
    uint64_t begin_ns = r->attempts == 1 ? p->ready_ns : clock_mono_ns();
    r->last_up_ms = loop_now_ms(r->worker->loop);
    if (!r->last_down_ms)
        r->last_down_ms = r->last_up_ms;
    struct choice c = {.channel = r->channel,
                       .credential = p->credential,
                       .upstream = str_c(r->upstream_model),
                       .entry = r->entry};
    enum err e = prepare(r, &c, &info);
    if (!r->admitted) {
        bool refused = e == ERR_NOMEM || err_class(e) == CLASS_REQUEST;
        enum err full = refused ? ERR_OK : request_admit(r);
        if (refused || full) {
            forget_target(r);
            r->attempts = 0;
            request_refuse(r, refused ? e : full, refused ? &info : NULL);
            return;
        }
    }
    if (!e)
        e = launch(r);
    r->attempt_ns = clock_mono_ns();
    r->overhead_us += (uint32_t)((r->attempt_ns - begin_ns) / 1000);
    if (e) {
        attempt_error(r, e, &info);
        return;
    }
    relay_set_deadline(r);
}

static void on_wake(struct deadline *d)
{
    go((struct request *)((char *)d - offsetof(struct request, deadline)));
}

/* From here on the request is with this channel, although it may wait before it sends. */
static void begin(struct request *r, const struct choice *c, uint32_t wait_ms)
{
    struct request_plan *p = r->plan;
    channel_unref(&r->channel);
    r->channel = channel_ref(c->channel);
    r->pass = c->pass;
    r->entry = c->entry;
    p->credential = c->credential;
    r->credential_id = c->credential->id;
    p->tried[p->tried_n].channel_id = c->channel->id;
    p->tried[p->tried_n++].credential_id = c->credential->id;
    r->attempts++;
    r->call_op = (uint8_t)translate_op(r, c->channel, &c->entry->caps);
    reset_for_attempt(r);
    hedge_arm(r, c);
    r->ttft_ms = c->channel->ttft_ms;
    r->chunk_ms = c->channel->chunk_ms;
    r->upstream_model = arena_dup(&r->arena, c->upstream).p;
    r->pass.name = r->upstream_model ? r->upstream_model : "";
    if (!wait_ms) {
        go(r);
        return;
    }
    r->attempt_ns = clock_mono_ns();
    deadline_set(r->worker->loop, &r->deadline, loop_now_ms(r->worker->loop) + wait_ms, on_wake);
}

void attempt_begin(struct request *r, const struct choice *c)
{
    begin(r, c, 0);
}

/* Full jitter: anywhere between nothing and a bound that doubles with each attempt, so that those
 * who failed together do not come back together. */
static uint32_t backoff_ms(const struct request *r, enum err_class cls)
{
    uint64_t most = r->worker->settings.retry_backoff_ms;
    if (cls != CLASS_SERVER || !most)
        return 0;
    most <<= r->attempts - 1;
    return (uint32_t)rng_below((most < BACKOFF_MAX_MS ? most : BACKOFF_MAX_MS) + 1);
}

/* ---- failing ------------------------------------------------------------------------ */

enum ledger_state attempt_end_state(enum err e)
{
    switch (e) {
    case ERR_UPSTREAM_TIMEOUT:
    case ERR_CONNECT_TIMEOUT:
    case ERR_DNS_TIMEOUT:
        return LEDGER_TIMEOUT;
    case ERR_UPSTREAM_INCOMPLETE:
        return LEDGER_INCOMPLETE;
    case ERR_SHUTDOWN:
        return LEDGER_SHUTDOWN;
    default:
        return LEDGER_UPSTREAM_ERROR;
    }
}

void attempt_answer(struct request *r, const struct fault *f)
{
    struct buf *b = scratch_buf(SCRATCH_REPLY_BODY, 16384);
    char id[37];
    uuid_format(r->id, id);
    const struct dialect_row *d = dialect_of((enum dialect)r->dialect);
    if (r->array)
        buf_char(b, '[');
    d->fault_body(b, f, str_make(id, 36));
    if (r->array)
        buf_char(b, ']');
    if (buf_failed(b))
        buf_reset(b); /* rather no words than half of them */
    idempotency_take(r, d->fault_status(f), "application/json", buf_view(b), true);
    struct buf h;
    buf_init(&h, 16384);
    buf_str(&h, reply_headers(r, "application/json"));
    if (f->retry_ms > 0 && !(r->plan && r->plan->retry_after.n)) /* else it is among them */
        buf_printf(&h, "Retry-After: %lld\r\n", (long long)(f->retry_ms + 999) / 1000);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    if (c)
        http_reply(c, d->fault_status(f), buf_view(&h), buf_view(b));
    buf_release(&h);
}

/* Attempts have ended without an answer. */
static void final_answer(struct request *r, const struct fault *f)
{
    if (r->head_sent) {
        relay_break(r, attempt_end_state(f->err), f->err, NULL, f);
        return;
    }
    attempt_answer(r, f);
    request_settle(r, attempt_end_state(f->err),
                   dialect_of((enum dialect)r->dialect)->fault_status(f), f->err);
    request_free(r);
}

/* Nothing was asked of the upstream: the next one has no more to do than if it had been the first.
 */
static bool never_asked(enum err e)
{
    return e == ERR_CONNECT || e == ERR_CONNECT_TIMEOUT || e == ERR_TLS || e == ERR_DNS ||
           e == ERR_DNS_TIMEOUT;
}

void attempt_failed(struct request *r, const struct fault *fault)
{
    struct worker *w = r->worker;
    struct request_plan *p = r->plan;
    const struct gateway_settings *set = &w->settings;
    struct fault last = *fault;
    http_call_cancel(&r->call);
    relay_drop_reading(r);
    attempt_wipe_head(r);
    if (r->orphan && !idempotency_wanted(r)) { /* no retry for a caller who has gone */
        request_settle(r, LEDGER_CLIENT_GONE, 0, ERR_CLIENT_GONE);
        request_free(r);
        return;
    }
    enum err_class cls = err_class(fault->err);
    gate_fault(&r->pass, fault, loop_now_ms(w->loop));
    bool sent = r->call_live, ours = fault->err == ERR_SHUTDOWN || fault->err == ERR_NOMEM;
    settle_vitals(r, cls == CLASS_REQUEST || ours ? VITALS_NEUTRAL : VITALS_FAILED);
    if (cls != CLASS_REQUEST && !ours)
        atomic_fetch_add_explicit(&r->channel->cell->errors, 1, memory_order_relaxed);
    if (p->tried_n &&
        (cls == CLASS_REQUEST ? !sent : cls != CLASS_KEY || fault->kind & FAULT_MAPPING))
        p->tried[p->tried_n - 1].credential_id = -1; /* this attempt's */
    p->unconnected += sent && never_asked(fault->err);
    if (hedge_lost(r, fault->err, sent))
        return;
    bool unfit = !sent && cls == CLASS_REQUEST; /* it cannot be written for this channel */
    if (unfit)
        forget_target(r);
    else if (!sent)
        gate_leave(&r->pass, 0, 0, loop_now_ms(w->loop));
    struct choice next;
    struct reasons why = {0};
    bool more = cls == CLASS_REQUEST && sent ? choose_fallback(r, fault->kind)
                                             : r->attempts < set->attempts_max + unfit;
    bool again = more && !w->stopping &&
                 loop_now_ms(w->loop) - p->first_attempt_ms < set->retry_wall_ms &&
                 !(sent && fault->err == ERR_NOMEM) && /* paid for, and the next needs as much */
                 !p->passthrough &&                    /* it may have had an effect */
                 !(p->body.needs & NEED_PINNED) &&     /* nobody else knows what it refers to */
                 (r->spent || (r->spent = mem_zalloc(sizeof *r->spent))) &&
                 choose(r, cls == CLASS_KEY ? r->channel->id : 0, &next, &why);
    if (!again) {
        if (cls == CLASS_THROTTLE && !last.retry_ms)
            last.retry_ms = (int64_t)why.wait_ms;
        final_answer(r, &last);
        return;
    }
    if (unfit)
        r->attempts--; /* it was none */
    else
        settle_attempt(r, fault->err);
    begin(r, &next, backoff_ms(r, cls));
}

void attempt_error(struct request *r, enum err e, const struct err_info *info)
{
    struct fault f;
    fault_from_err(&f, e, info);
    attempt_failed(r, &f);
}

/* No channel can be asked: it is a matter of limits (429), or not (503). */
static void none_left(struct request *r, const struct reasons *why)
{
    struct err_info info;
    char name[128], reasons[256];
    bool throttled = reasons_throttled(why);
    err_info_init(&info);
    str_copy(name, sizeof name, r->plan->model);
    enum err e = err_set(&info, throttled ? ERR_RATE_LIMITED : ERR_NO_CHANNEL,
                         "No channel can serve '%s' now: %s.", name, reasons_text(why, reasons));
    info.retry_ms = (int64_t)why->wait_ms;
    struct fault f;
    fault_from_err(&f, e, &info);
    final_answer(r, &f);
}

void attempt_start(struct request *r)
{
    struct choice c;
    struct reasons why;
    if (r->plan->passthrough ? passthrough_choose(r, &c, &why) : choose(r, 0, &c, &why)) {
        begin(r, &c, 0);
        return;
    }
    enum err e = request_admit(r);
    if (e)
        request_refuse(r, e, NULL);
    else if (op_row((enum llm_op)r->op)->kind == KIND_COUNT_TOKENS)
        translate_count(r);
    else
        none_left(r, &why);
}
