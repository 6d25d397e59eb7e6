/* relay: answers on their way from the upstream to the caller: held until the commit, then passed
 * on as they come, and never made to look more complete than they are. */
#include "gateway/hedge.h"
#include "gateway/memory/idempotency.h"
#include "gateway/pace.h"
#include "gateway/passthrough.h"
#include "gateway/memory/recall.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "llm/dialect.h"
#include "net/gunzip.h"
#include "net/scratch.h"

#define QUEUE_HIGH_BYTES  65536
#define DRAIN_MS          1000
#define DECODED_MAX       (16u << 20)
#define ARRAY_PIECE_BYTES 16384

static struct request *of_call(struct http_call *call)
{
    return (struct request *)((char *)call - offsetof(struct request, call));
}

/* ---- deadlines -------------------------------------------------------------------- */

static void on_deadline(struct deadline *d);

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When something is to happen if nothing else does; UINT64_MAX: never. */
static uint64_t answer_due(const struct request *r)
{
    uint64_t started_ms = r->attempt_ns / 1000000;
    if (r->phase == PHASE_DRAIN)
        return r->last_up_ms + DRAIN_MS;
    if (!r->stream && r->channel->total_ms)
        return started_ms + r->channel->total_ms;
    if (r->paused)
        return UINT64_MAX;
    if (r->phase == PHASE_ATTEMPT) {
        uint64_t due = started_ms + r->ttft_ms;
        return r->upstream_status ? sooner(due, r->last_up_ms + r->chunk_ms) : due;
    }
    uint64_t silent = r->last_up_ms + r->chunk_ms;
    return r->pace ? sooner(silent, pace_due_ms(r->pace)) : silent;
}

static uint64_t upstream_due(const struct request *r)
{
    uint64_t due = answer_due(r);
    return r->orphan ? sooner(due, r->orphan_until_ms) : due;
}

bool relay_may_ping(const struct request *r)
{
    return r->stream && !r->array && r->ping && r->worker->settings.ping_ms &&
           dialect_of((enum dialect)r->dialect)->ping.n;
}

static uint64_t ping_due(const struct request *r)
{
    if (!relay_may_ping(r) || !r->conn || r->torn || r->paused)
        return UINT64_MAX;
    return r->last_down_ms + r->worker->settings.ping_ms;
}

void relay_set_deadline(struct request *r)
{
    uint64_t due = sooner(sooner(upstream_due(r), ping_due(r)), hedge_due_ms(r));
    if (due != UINT64_MAX)
        deadline_set(r->worker->loop, &r->deadline, due, on_deadline);
}

/* ---- writing to the caller ---------------------------------------------------------- */

static const char *content_type(const struct request *r)
{
    if (r->op == OP_PASSTHROUGH)
        return r->plan->content_type;
    return (r->sse || r->stream) && !r->array ? "text/event-stream" : "application/json";
}

static bool send_down(struct request *r, struct str data, bool last)
{
    bool ok;
    if (!r->conn)
        return true; /* an orphan: there is nobody to send it to */
    r->last_down_ms = loop_now_ms(r->worker->loop);
    if (!r->head_sent) {
        r->head_sent = 1;
        ok = http_stream_start(r->conn, r->op == OP_PASSTHROUGH ? r->upstream_status : 200,
                               reply_headers(r, content_type(r)), data);
        if (last && ok)
            http_stream_finish(r->conn);
        else if (last)
            http_stream_break(r->conn);
    } else if (last) {
        http_stream_write_last(r->conn, data);
        ok = !r->conn->tcp.failed;
    } else {
        ok = http_stream_write(r->conn, data);
    }
    return ok;
}

static bool put_bytes(struct request *r, struct str data, bool last)
{
    if (r->idem)
        idempotency_take(r, 200, content_type(r), data, last);
    return send_down(r, data, last);
}

/* In the form that the caller wants its events in. False: see relay_send_down. */
static bool put_events(struct request *r, struct str data, bool last)
{
    char piece[ARRAY_PIECE_BYTES];
    bool ok = true;
    if (!r->array)
        return put_bytes(r, data, last);
    do {
        size_t n = array_form_feed(&r->array_form, &data, piece, sizeof piece - 2);
        bool end = last && !data.n;
        if (end)
            n += array_form_end(&r->array_form, piece + n);
        ok = put_bytes(r, str_make(piece, n), end) && ok;
    } while (data.n);
    return ok;
}

bool relay_send_down(struct request *r, struct str data, bool last)
{
    bool ok = put_events(r, data, last);
    if (r->conn && ok && !last && !r->paused && tcp_queued(&r->conn->tcp) > QUEUE_HIGH_BYTES) {
        r->paused = 1;
        http_call_pause(&r->call);
    }
    return ok;
}

bool relay_pass_on(struct request *r, struct str data)
{
    settle_progress(r);
    return relay_send_down(r, data, false);
}

void relay_sent(struct request *r)
{
    if (r->phase == PHASE_REPLAY) {
        idempotency_sent(r);
        return;
    }
    if (!r->paused)
        return;
    r->paused = 0;
    r->last_up_ms = loop_now_ms(r->worker->loop);
    if (r->pace)
        pace_restart(r->pace, estimate_tokens(&r->tap.out), r->last_up_ms);
    relay_set_deadline(r);
    http_call_resume(&r->call);
}

/* Without memory it goes unwatched. */
static void watch_pace(struct request *r)
{
    mem_free(r->pace);
    r->pace = mem_alloc(sizeof *r->pace);
    if (!r->pace)
        return;
    r->pace->min_tps = r->channel->min_tps;
    pace_restart(r->pace, 0, loop_now_ms(r->worker->loop));
}

void relay_commit(struct request *r)
{
    hedge_won(r);
    r->phase = PHASE_RELAY;
    r->first_content_ns = request_now_ns(r, r->head_ns);
    if (r->channel->min_tps && r->stream && op_row(r->op)->generates)
        watch_pace(r);
    settle_first(r);
    relay_set_deadline(r); /* the gap between chunks may be due before the first token was */
}

/* Out of the arena, which goes. Without memory it has no name. */
static void keep_model(struct request *r)
{
    if (!r->upstream_model)
        return;
    size_t size = strlen(r->upstream_model) + 1;
    char *own = mem_alloc(size);
    if (own)
        memcpy(own, r->upstream_model, size);
    r->upstream_model = own;
    r->pass.name = own ? own : "";
}

void relay_shed_plan(struct request *r)
{
    if (!r->plan || http_call_sending(&r->call))
        return;
    attempt_wipe_head(r); /* an upstream that answered early has taken it only now */
    translate_release(r->plan);
    mem_free(r->plan->hold);
    r->plan = NULL;
    r->usage_raw = STR_NULL;
    r->usage_cap = 0;
    keep_model(r);
    arena_release(&r->arena);
    hedge_shed(r);
    if (r->body_bytes)
        weigh_request(r);
}

void relay_drain(struct request *r)
{
    r->conn = NULL;
    if (!r->call.conn) {
        request_free(r);
        return;
    }
    r->phase = PHASE_DRAIN;
    if (r->paused) {
        r->paused = 0;
        http_call_resume(&r->call);
    }
    relay_set_deadline(r);
}

void relay_tell_fault(struct request *r, const struct fault *f, uint32_t tokens)
{
    struct buf b;
    char id[37];
    buf_init(&b, 16384);
    uuid_format(r->id, id);
    if (!r->torn && r->stream && r->op != OP_PASSTHROUGH)
        dialect_of(r->dialect)
            ->fault_event(&b, r->op, f, tokens, translate_sequence(r), str_make(id, 36));
    if (buf_failed(&b))
        buf_reset(&b);
    (void)!put_events(r, buf_view(&b), false); /* false: nobody is there to be told */
    struct http_conn *c = r->conn;
    r->conn = NULL;
    if (c)
        http_stream_break(c);
    buf_release(&b);
}

void relay_break(struct request *r, enum ledger_state state, enum err e,
                 const struct err_info *info, const struct fault *fault)
{
    struct fault own;
    http_call_cancel(&r->call);
    if (fault)
        gate_fault(&r->pass, fault, loop_now_ms(r->worker->loop));
    if ((r->conn || r->idem) && !r->head_sent && !idempotency_begun(r)) {
        /* committed, but nothing could be sent */
        if (!fault)
            fault_from_err(&own, e, info);
        attempt_answer(r, fault ? fault : &own);
        request_settle(r, state, (fault ? fault : &own)->status, e);
        request_free(r);
        return;
    }
    if (r->conn || r->idem) {
        uint32_t tokens = settle_output(r);
        if (!fault) {
            fault_from_err(&own, e, info);
            fault = &own;
        }
        relay_tell_fault(r, fault, tokens);
    }
    request_settle(r, state, 200, e);
    request_free(r);
}

bool relay_is_success(const struct request *r)
{
    return r->upstream_status >= 200 && r->upstream_status < 300;
}

/* ---- the upstream's calls
 * ------------------------------------------------------------------------ */

/* Rate-limit headers of the upstream that a caller's SDK understands. */
static void pass_headers(struct request *r, const struct http_head *h)
{
    static const struct str prefixes[] = {STR("retry-after"), STR("x-ratelimit-"),
                                          STR("anthropic-ratelimit-")};
    struct ratelimit limits;
    ratelimit_init(&limits);
    for (unsigned i = 0; i < h->n; i++) {
        struct str name = h->f[i].name;
        char c = str_lower(name.p[0]);
        if (c != 'r' && c != 'x' && c != 'a')
            continue;
        for (size_t k = 0; k < 3; k++)
            if (name.n >= prefixes[k].n && str_ieq(str_make(name.p, prefixes[k].n), prefixes[k])) {
                r->plan->passed =
                    arena_printf(&r->arena, "%.*s%.*s: %.*s\r\n", STR_FMT(r->plan->passed),
                                 STR_FMT(name), STR_FMT(h->f[i].value));
                ratelimit_take(&limits, name, h->f[i].value, clock_wall_ms());
                break;
            }
    }
    gate_limits(&r->pass, &limits, loop_now_ms(r->worker->loop));
    r->plan->retry_after = arena_dup(&r->arena, http_get(h, HTTP_RETRY_AFTER));
    r->plan->retry_after_ms = arena_dup(&r->arena, http_get(h, HTTP_RETRY_AFTER_MS));
}

static bool is_type(const struct http_head *h, struct str type)
{
    struct str t = http_get(h, HTTP_CONTENT_TYPE);
    return t.n >= type.n && str_ieq(str_make(t.p, type.n), type);
}

/* An upstream that compresses in spite of identity is decoded. */
static bool begin_decoding(struct request *r, struct str coding)
{
    gunzip_free(&r->gunzip);
    if (gunzip_knows(coding))
        r->gunzip = gunzip_new();
    return r->gunzip != NULL;
}

/* Replaces the bytes by what they decode to. False: the attempt, or the request, is over. */
static bool decode(struct request *r, char **p, size_t *n)
{
    struct buf *out = scratch_buf(SCRATCH_DECODED, DECODED_MAX);
    struct err_info info;
    err_info_init(&info);
    enum err e = gunzip_feed(r->gunzip, str_make(*p, *n), out, &info);
    if (!e) {
        *p = out->p;
        *n = out->n;
        return out->n > 0;
    }
    if (r->phase == PHASE_RELAY)
        relay_break(r, LEDGER_UPSTREAM_ERROR, e, &info, NULL);
    else
        attempt_error(r, e, &info);
    return false;
}

static void on_head(struct http_call *call, const struct http_head *h)
{
    struct request *r = of_call(call);
    attempt_wipe_head(r);
    r->upstream_status = (int16_t)h->status;
    r->last_up_ms = loop_now_ms(r->worker->loop);
    r->head_ns = clock_mono_ns();
    if (r->op == OP_PASSTHROUGH) {
        r->whole = 1;
        (void)!passthrough_answer(r, h); /* false: the server tells of it */
        return;
    }
    pass_headers(r, h);
    r->sse = relay_is_success(r) && is_type(h, STR("text/event-stream"));
    r->whole = !r->sse;
    if (relay_is_success(r))
        recall_begin(r);
    if (r->sse && r->stream && translate_needed(r) && translate_stream(r)) {
        attempt_error(r, ERR_NOMEM, NULL);
        return;
    }
    relay_set_deadline(r); /* from here on its silence counts, too */
    struct err_info info;
    err_info_init(&info);
    struct str coding = http_get(h, HTTP_CONTENT_ENCODING);
    if (coding.n && !str_ieq(coding, STR("identity")) && !begin_decoding(r, coding)) {
        (void)!err_set(&info, ERR_UPSTREAM_PROTOCOL,
                       "the upstream's answer is compressed in a way "
                       "that was not asked for");
        attempt_error(r, ERR_UPSTREAM_PROTOCOL, &info);
    } else if (r->sse && !r->stream) {
        (void)!err_set(&info, ERR_UPSTREAM_PROTOCOL, "the upstream sent a stream nobody asked for");
        attempt_error(r, ERR_UPSTREAM_PROTOCOL, &info);
    } else if (r->whole && h->framing == HTTP_BODY_LENGTH && h->length && relay_is_success(r) &&
               h->length <= relay_held_most(r) && !relay_hold_whole(r, (size_t)h->length)) {
        attempt_error(r, ERR_NOMEM, NULL);
    }
}

static void on_body(struct http_call *call, char *p, size_t n)
{
    struct request *r = of_call(call);
    if (r->phase == PHASE_DRAIN)
        return;
    r->last_up_ms = loop_now_ms(r->worker->loop);
    if (r->gunzip && !decode(r, &p, &n))
        return;
    if (r->sse)
        relay_stream_bytes(r, p, n);
    else
        relay_whole_bytes(r, p, n);
}

static void ended_early(struct request *r, enum err e, const struct err_info *info)
{
    if (r->phase == PHASE_DRAIN) {
        request_free(r);
        return;
    }
    if (r->phase == PHASE_RELAY)
        relay_break(r, e == ERR_UPSTREAM_INCOMPLETE ? LEDGER_INCOMPLETE : LEDGER_UPSTREAM_ERROR, e,
                    info, NULL);
    else
        attempt_error(r, e, info);
}

static void on_end(struct http_call *call)
{
    struct request *r = of_call(call);
    struct err_info info;
    err_info_init(&info);
    if (r->phase != PHASE_DRAIN && r->sse && relay_stream_end(r))
        return;
    if (r->phase == PHASE_DRAIN || r->sse || (r->gunzip && !gunzip_ended(r->gunzip))) {
        (void)!err_set(&info, ERR_UPSTREAM_INCOMPLETE,
                       r->sse ? "the upstream ended the stream without its terminal event"
                              : "the upstream's answer ended before it was complete");
        ended_early(r, ERR_UPSTREAM_INCOMPLETE, &info);
    } else {
        relay_whole_end(r);
    }
}

static COLD void on_fail(struct http_call *call, enum err e, const struct err_info *info)
{
    ended_early(of_call(call), e, info);
}

const struct http_call_events relay_events = {on_head, on_body, on_end, on_fail};

/* ---- time
 * -------------------------------------------------------------------------------------------- */

static void timed_out(struct request *r)
{
    struct err_info info;
    err_info_init(&info);
    if (r->phase == PHASE_DRAIN) {
        request_free(r); /* closes the upstream's connection */
        return;
    }
    bool slow = r->pace && r->phase == PHASE_RELAY && !r->orphan &&
                pace_due_ms(r->pace) <= loop_now_ms(r->worker->loop);
    (void)!err_set(&info, ERR_UPSTREAM_TIMEOUT,
                   slow ? "the upstream was too slow for too long"
                        : "the upstream was silent for too long");
    if (r->phase == PHASE_RELAY)
        relay_break(r, LEDGER_TIMEOUT, ERR_UPSTREAM_TIMEOUT, &info, NULL);
    else
        attempt_error(r, ERR_UPSTREAM_TIMEOUT, &info);
}

static void on_deadline(struct deadline *d)
{
    struct request *r = (struct request *)((char *)d - offsetof(struct request, deadline));
    uint64_t now_ms = loop_now_ms(r->worker->loop);
    if (upstream_due(r) <= now_ms) {
        timed_out(r);
        return;
    }
    if (hedge_due_ms(r) <= now_ms)
        hedge_start(r);
    if (ping_due(r) <= now_ms && !send_down(r, dialect_of(r->dialect)->ping, false))
        return;
    relay_set_deadline(r);
}

/* Is an answer that has begun read to its end, by the channel's policy? */
static bool drains(const struct request *r)
{
    return r->call_live && r->channel->drain && relay_is_success(r);
}

static uint64_t drain_end(const struct request *r)
{
    uint32_t ms = r->channel->drain_ms;
    return ms ? loop_now_ms(r->worker->loop) + ms : UINT64_MAX;
}

bool relay_orphan(struct request *r)
{
    bool answering = r->phase == PHASE_RELAY || r->phase == PHASE_ATTEMPT;
    bool wanted = answering && idempotency_wanted(r);
    if (!answering || (!wanted && !drains(r)) || r->worker->stopping)
        return false;
    uint64_t now_ms = loop_now_ms(r->worker->loop);
    r->orphan = 1;
    r->orphan_until_ms = wanted ? UINT64_MAX : drain_end(r);
    r->last_up_ms = r->paused ? now_ms : r->last_up_ms;
    if (r->paused) {
        r->paused = 0;
        http_call_resume(&r->call);
    }
    if (r->call_live) /* else it waits for its next attempt */
        relay_set_deadline(r);
    return true;
}

void relay_abandon(struct request *r)
{
    r->orphan_until_ms = drain_end(r);
    if (drains(r)) {
        relay_set_deadline(r);
        return;
    }
    request_settle(r, LEDGER_CLIENT_GONE, 0, ERR_CLIENT_GONE);
    request_free(r);
}

void relay_shutdown(struct request *r)
{
    hedge_won(r); /* one leg is enough to end */
    if (r->phase == PHASE_RELAY || (r->phase == PHASE_ATTEMPT && r->head_sent))
        relay_break(r, LEDGER_SHUTDOWN, ERR_SHUTDOWN, NULL, NULL);
    else if (r->phase == PHASE_ATTEMPT)
        attempt_error(r, ERR_SHUTDOWN, NULL);
    else if (r->phase == PHASE_DRAIN)
        request_free(r);
    else if (r->phase == PHASE_BODY || r->phase == PHASE_WAIT)
        request_refuse(r, ERR_SHUTDOWN, NULL);
    else if (r->phase == PHASE_REPLAY)
        idempotency_stop(r);
    else if (r->phase == PHASE_PARSE)
        request_refuse_parsing(r, ERR_SHUTDOWN);
}
