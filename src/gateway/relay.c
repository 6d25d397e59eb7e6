/* relay: answers on their way from the upstream to the caller: held until the commit, then passed
 * on as they come, and never made to look more complete than they are. */
#include "gateway/passthrough.h"
#include "gateway/translate.h"

#include <assert.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "llm/dialect.h"
#include "net/gunzip.h"
#include "net/scratch.h"
#include "net/sse.h"

#define HOLD_EVENTS_MAX  64
#define HOLD_BYTES_MAX   49152
#define QUEUE_HIGH_BYTES 65536
#define USAGE_RAW_MAX    2048
#define DRAIN_MS         1000
#define DECODED_MAX      (16u << 20)
#define PROGRESS_MS      1000
#define PROGRESS_TOKENS  1000

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
    return r->last_up_ms + r->chunk_ms;
}

static uint64_t upstream_due(const struct request *r)
{
    uint64_t due = answer_due(r);
    return r->orphan ? sooner(due, r->orphan_until_ms) : due;
}

static uint64_t ping_due(const struct request *r)
{
    uint32_t every_ms = r->worker->gateway->settings.ping_ms;
    if (!r->stream || !r->ping || !every_ms || !r->conn || r->torn || r->paused)
        return UINT64_MAX;
    return r->last_down_ms + every_ms;
}

void relay_set_deadline(struct request *r)
{
    uint64_t due = sooner(upstream_due(r), ping_due(r));
    if (due != UINT64_MAX)
        deadline_set(r->worker->loop, &r->deadline, due, on_deadline);
}

/* ---- writing to the caller ---------------------------------------------------------- */

bool relay_send_down(struct request *r, struct str data, bool last)
{
    bool ok;
    if (!r->conn)
        return true; /* an orphan: there is nobody to send it to */
    r->last_down_ms = loop_now_ms(r->worker->loop);
    bool raw = r->op == OP_PASSTHROUGH;
    if (!r->head_sent) {
        r->head_sent = 1;
        ok = http_stream_start(r->conn, raw ? r->upstream_status : 200,
                               reply_headers(r, raw                   ? r->plan->content_type
                                                : r->sse || r->stream ? "text/event-stream"
                                                                      : "application/json"),
                               data);
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
    if (ok && !last && !r->paused && tcp_queued(&r->conn->tcp) > QUEUE_HIGH_BYTES) {
        r->paused = 1;
        http_call_pause(&r->call);
    }
    return ok;
}

void relay_sent(struct request *r)
{
    if (!r->paused)
        return;
    r->paused = 0;
    r->last_up_ms = loop_now_ms(r->worker->loop);
    relay_set_deadline(r);
    http_call_resume(&r->call);
}

void relay_commit(struct request *r)
{
    r->phase = PHASE_RELAY;
    r->first_content_ns = clock_mono_ns();
    settle_first(r);
    relay_set_deadline(r); /* the gap between chunks may be due before the first token was */
}

/* After the first bytes have gone out (the reply's headers came from the plan). */
static void shed_plan(struct request *r)
{
    if (!r->plan || http_call_sending(&r->call))
        return;
    buf_release(&r->plan->translated);
    r->plan = NULL;
    r->model = r->deployment = r->usage_raw = STR_NULL;
    r->usage_cap = 0;
    arena_release(&r->arena);
    mem_free(r->hold);
    r->hold = NULL;
    r->hold_n = r->hold_cap = 0;
    if (r->body_bytes) {
        atomic_fetch_sub_explicit(&r->worker->body_bytes, r->body_bytes, memory_order_relaxed);
        r->body_bytes = 0;
    }
}

/* The caller has its whole answer; the upstream's last bytes are awaited so that its connection can
 * be used again. */
static void drain(struct request *r)
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

void relay_break(struct request *r, enum ledger_state state, enum err e,
                 const struct err_info *info, const struct fault *fault)
{
    struct fault own;
    http_call_cancel(&r->call);
    if (r->conn && !r->head_sent) { /* committed, but nothing could be sent */
        if (!fault)
            fault_from_err(&own, e, info);
        attempt_answer(r, fault ? fault : &own);
        request_settle(r, state, (fault ? fault : &own)->status, e);
        request_free(r);
        return;
    }
    if (r->conn) {
        struct buf b;
        buf_init(&b, 16384);
        uint32_t tokens = r->tap.has_usage ? (uint32_t)usage_output_tokens(&r->tap.usage)
                                           : estimate_tokens(&r->tap.out);
        char id[37];
        uuid_format(r->id, id);
        if (!fault) {
            fault_from_err(&own, e, info);
            fault = &own;
        }
        dialect_of(r->dialect)
            ->fault_event(&b, r->op, fault, tokens, translate_sequence(r), str_make(id, 36));
        struct http_conn *c = r->conn;
        r->conn = NULL;
        if (!r->torn && r->stream && r->op != OP_PASSTHROUGH && !buf_failed(&b))
            (void)!http_stream_write(c, buf_view(&b)); /* false: nobody is there to be told */
        http_stream_break(c);
        buf_release(&b);
    }
    request_settle(r, state, 200, e);
    request_free(r);
}

bool relay_is_success(const struct request *r)
{
    return r->upstream_status >= 200 && r->upstream_status < 300;
}

/* ---- streams ---------------------------------------------------------------------------- */

static bool hold(struct request *r, struct str raw)
{
    if (r->hold_n + raw.n > r->hold_cap) {
        uint32_t cap = r->hold_cap ? r->hold_cap : 512;
        while (cap < r->hold_n + raw.n)
            cap *= 2;
        char *p = mem_realloc(r->hold, cap);
        if (!p)
            return false;
        r->hold = p;
        r->hold_cap = cap;
    }
    memcpy(r->hold + r->hold_n, raw.p, raw.n);
    r->hold_n += (uint32_t)raw.n;
    r->hold_events++;
    return true;
}

/* Puts what was held, if anything, before run. False: no memory, the request has ended. */
static bool join_held(struct request *r, struct str *run)
{
    if (!r->hold_n)
        return true;
    if (!hold(r, *run)) {
        relay_break(r, LEDGER_UPSTREAM_ERROR, ERR_NOMEM, NULL, NULL);
        return false;
    }
    *run = str_make(r->hold, r->hold_n);
    r->hold_n = 0;
    return true;
}

/* Sends what was held, if anything, and then run; an empty run leaves what is held where it is. */
static bool flush_run(struct request *r, struct str run)
{
    return !run.n || (join_held(r, &run) && relay_send_down(r, run, false));
}

/* The stream's own end: run ends with it. */
static void complete(struct request *r, struct str run)
{
    if (!join_held(r, &run))
        return;
    bool ok = relay_send_down(r, run, true);
    request_settle(r, ok ? LEDGER_COMPLETED : LEDGER_CLIENT_GONE, 200,
                   ok ? ERR_OK : ERR_CLIENT_GONE);
    drain(r);
}

static void keep_usage(struct request *r, struct str raw)
{
    if (raw.n > USAGE_RAW_MAX)
        return;
    if (raw.n > r->usage_cap) { /* by doubling: what grows by a digit now and then fits again */
        uint16_t cap = 256;
        while (cap < raw.n)
            cap *= 2;
        char *room = arena_alloc(&r->arena, cap);
        r->usage_cap = room ? cap : 0;
        r->usage_raw = str_make(room, 0);
        if (!room)
            return;
    }
    memcpy((char *)r->usage_raw.p, raw.p, raw.n);
    r->usage_raw.n = raw.n;
}

enum verdict { PASS, SKIP, LAST, STOP };

/* The attempt, or what is left of the request, has failed by an error of ours or of the wire. */
static void fail_stream(struct request *r, enum err e, const struct err_info *info)
{
    if (r->phase == PHASE_RELAY)
        relay_break(r, attempt_end_state(e), e, info, NULL);
    else
        attempt_error(r, e, info);
}

/* What to do with one event. STOP: the attempt, or the request, has failed by *fault; what came
 * before the event is still to be passed on. */
static enum verdict judge(struct request *r, const struct sse_event *ev, struct fault **fault)
{
    static __thread struct openai_event e;
    *fault = &e.fault;
    if (!ev->has_data)
        return r->phase == PHASE_RELAY ? PASS : SKIP; /* a comment: it only fed the timer */
    unsigned flags = r->translation
                         ? translate_event(r, ev, NULL, &e)
                         : openai_stream_event(&r->tap, str_c(r->channel->provider->name), ev->name,
                                               ev->data, &e);
    if (flags & (EV_ERROR | EV_BAD))
        return STOP;
    if (flags & EV_AFTER_END)
        return SKIP;
    bool swallow = (flags & EV_USAGE_ONLY) && r->swallow_usage;
    if (r->phase == PHASE_ATTEMPT) {
        bool lifecycle = (flags & EV_LIFECYCLE) && !(flags & (EV_CONTENT | EV_TERMINAL));
        if (lifecycle && !swallow && r->hold_events < HOLD_EVENTS_MAX &&
            r->hold_n + ev->raw.n <= HOLD_BYTES_MAX) {
            if (hold(r, ev->raw))
                return SKIP;
            fault_from_err(&e.fault, ERR_NOMEM, NULL);
            return STOP;
        }
        if (!swallow)
            relay_commit(r);
    }
    if (flags & EV_USAGE)
        keep_usage(r, e.usage_raw);
    if (flags & EV_TERMINAL)
        return LAST;
    return swallow ? SKIP : PASS;
}

/* Handles the complete events of `in` and leaves the unfinished tail in it. False: over. */
static bool pass_events(struct request *r, struct str *in)
{
    struct sse_event ev;
    struct str run = str_make(in->p, 0);
    struct fault *fault;
    while (sse_next(in, &ev)) {
        switch (judge(r, &ev, &fault)) {
        case PASS:
            run.n = (size_t)(in->p - run.p);
            break;
        case SKIP: {
            if (!flush_run(r, run))
                return false;
            run = str_make(in->p, 0);
            break;
        }
        case LAST:
            run.n = (size_t)(in->p - run.p);
            complete(r, run);
            return false;
        case STOP:
            if (!flush_run(r, run))
                return false;
            if (r->phase == PHASE_RELAY)
                relay_break(r, attempt_end_state(fault->err), fault->err, NULL, fault);
            else
                attempt_failed(r, fault);
            return false;
        }
    }
    return flush_run(r, run);
}

/* The same for an answer whose form is not the caller's: what the events of one callback become
 * leaves together. */
static bool pass_translated(struct request *r, struct str *in)
{
    static __thread struct openai_event e;
    struct buf *out = scratch_buf(SCRATCH_TRANSLATED, TRANSLATE_BODY_MAX);
    struct sse_event ev;
    while (sse_next(in, &ev)) {
        unsigned flags = ev.has_data ? translate_event(r, &ev, out, &e) : 0;
        if (buf_failed(out)) {
            fail_stream(r, ERR_NOMEM, NULL);
            return false;
        }
        if (r->phase == PHASE_ATTEMPT && !(flags & EV_ERROR) &&
            (flags & (EV_CONTENT | EV_TERMINAL) || r->hold_events >= HOLD_EVENTS_MAX ||
             r->hold_n + out->n > HOLD_BYTES_MAX))
            relay_commit(r);
        if (flags & EV_USAGE)
            keep_usage(r, e.usage_raw);
        if (flags & EV_TERMINAL) {
            complete(r, buf_view(out));
            return false;
        }
        if (flags & EV_ERROR) {
            if (r->phase == PHASE_ATTEMPT)
                attempt_failed(r, &e.fault);
            else if (flush_run(r, buf_view(out)))
                relay_break(r, attempt_end_state(e.fault.err), e.fault.err, NULL, &e.fault);
            return false;
        }
    }
    if (r->phase == PHASE_RELAY)
        return flush_run(r, buf_view(out));
    if (!out->n || hold(r, buf_view(out)))
        return true;
    fail_stream(r, ERR_NOMEM, NULL);
    return false;
}

static bool keep_tail(struct request *r, struct str rest)
{
    mem_free(r->tail);
    r->tail = NULL;
    r->tail_n = 0;
    if (!rest.n)
        return true;
    r->tail = mem_alloc(rest.n);
    if (!r->tail)
        return false;
    memcpy(r->tail, rest.p, rest.n);
    r->tail_n = (uint32_t)rest.n;
    return true;
}

/* Is this the beginning of a stream's own last event? Of Responses it holds the whole answer again,
 * so it may well be long. Its type stands at its beginning, in the name or first in the data. */
static bool begins_last(const struct request *r, struct str event)
{
    static const char *const kinds[] = {"completed", "incomplete"};
    struct str start = str_make(event.p, event.n < 256 ? event.n : 256);
    for (size_t i = 0; i < 2 && r->op == OP_RESPONSES; i++) {
        char name[64], type[64];
        snprintf(name, sizeof name, "event: response.%s", kinds[i]);
        snprintf(type, sizeof type, "\"type\":\"response.%s\"", kinds[i]);
        if (str_starts(start, str_c(name)) || str_find(start, str_c(type)) >= 0)
            return true;
    }
    return false;
}

/* An event too long to be held goes on as it comes; a failure inside it can then only be told by
 * the connection's end. */
static bool tear(struct request *r, struct str rest)
{
    bool cr = rest.p[rest.n - 1] == '\r' && rest.p[rest.n - 2] == '\n';
    if (r->phase == PHASE_ATTEMPT)
        relay_commit(r);
    r->torn = rest.p[rest.n - 1] == '\n' ? TORN_LINE_START : cr ? TORN_LINE_CR : TORN_IN_LINE;
    mem_free(r->tail);
    r->tail = NULL;
    r->torn_last = begins_last(r, rest);
    if (r->torn_last)
        relay_keep_last(r, rest.p, rest.n);
    else
        r->tap.out.bytes += rest.n; /* nothing better is known of what is not looked at */
    return flush_run(r, rest);
}

/* Passes on what still belongs to the torn event, up to its empty line; in becomes what follows. */
static bool pass_torn(struct request *r, struct str *in)
{
    size_t at = 0;
    while (at < in->n && r->torn) {
        if (r->torn == TORN_IN_LINE) {
            const char *nl = memchr(in->p + at, '\n', in->n - at);
            at = nl ? (size_t)(nl - in->p) + 1 : in->n;
            r->torn = nl ? TORN_LINE_START : TORN_IN_LINE;
            continue;
        }
        char c = in->p[at++];
        if (c == '\n')
            r->torn = TORN_NOT;
        else
            r->torn = c == '\r' && r->torn == TORN_LINE_START ? TORN_LINE_CR : TORN_IN_LINE;
    }
    struct str rest = str_make(in->p, at);
    *in = str_from(*in, at);
    if (r->torn_last) {
        relay_keep_last(r, rest.p, rest.n);
        if (!r->torn) {
            relay_read_last_usage(r);
            complete(r, rest);
            return false;
        }
    } else {
        r->tap.out.bytes += at;
    }
    if (!relay_send_down(r, rest, false))
        return false;
    if (!r->torn)
        relay_set_deadline(r); /* pings may go out again */
    return true;
}

static void stream_bytes(struct request *r, char *p, size_t n)
{
    char *joined = NULL;
    if (r->torn) {
        struct str rest = str_make(p, n);
        if (!pass_torn(r, &rest) || !rest.n)
            return;
        p += n - rest.n;
        n = rest.n;
    }
    if (r->tail_n) {
        joined = mem_alloc(r->tail_n + n);
        if (!joined) {
            fail_stream(r, ERR_NOMEM, NULL);
            return;
        }
        memcpy(joined, r->tail, r->tail_n);
        memcpy(joined + r->tail_n, p, n);
        p = joined;
        n += r->tail_n;
        r->tail_n = 0;
    }
    struct str in = str_make(p, n);
    bool translated = r->translation && r->call_op != r->op;
    bool alive = translated ? pass_translated(r, &in) : pass_events(r, &in);
    if (alive && translated && in.n > TRANSLATE_EVENT_MAX) {
        fail_stream(r, ERR_UPSTREAM_PROTOCOL, NULL);
        alive = false;
    } else if (alive && !translated && in.n > SSE_EVENT_MAX) {
        alive = tear(r, in);
    } else if (alive && !keep_tail(r, in)) {
        fail_stream(r, ERR_NOMEM, NULL);
        alive = false;
    }
    mem_free(joined);
    if (!alive)
        return;
    if (r->phase == PHASE_RELAY && r->plan)
        shed_plan(r);
    if (!r->progressed || r->last_up_ms - r->progress_ms >= PROGRESS_MS ||
        estimate_tokens(&r->tap.out) - r->progress_tokens >= PROGRESS_TOKENS)
        settle_progress(r);
    uint32_t most = r->channel->drain_tokens;
    if (r->orphan && most && estimate_tokens(&r->tap.out) > most)
        relay_break(r, LEDGER_CLIENT_GONE, ERR_CLIENT_GONE, NULL, NULL);
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
    } else if (r->whole && h->framing == HTTP_BODY_LENGTH && relay_is_success(r) &&
               h->length <= r->worker->gateway->settings.max_held_bytes) {
        r->plan->reply = arena_alloc(&r->arena, (size_t)h->length);
        r->plan->reply_cap = r->plan->reply ? (size_t)h->length : 0;
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
        stream_bytes(r, p, n);
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
    if (r->phase == PHASE_DRAIN || r->sse || (r->gunzip && !gunzip_ended(r->gunzip))) {
        (void)!err_set(&info, ERR_UPSTREAM_INCOMPLETE,
                       r->sse ? "the upstream ended the stream without its terminal event"
                              : "the upstream's answer ended before it was complete");
        ended_early(r, ERR_UPSTREAM_INCOMPLETE, &info);
    } else {
        relay_whole_end(r);
    }
}

static void on_fail(struct http_call *call, enum err e, const struct err_info *info)
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
    (void)!err_set(&info, ERR_UPSTREAM_TIMEOUT, "the upstream was silent for too long");
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
    if (ping_due(r) <= now_ms && !relay_send_down(r, dialect_of(r->dialect)->ping, false))
        return;
    relay_set_deadline(r);
}

bool relay_orphan(struct request *r)
{
    bool answering = r->phase == PHASE_RELAY || r->phase == PHASE_ATTEMPT;
    if (!answering || !r->channel->drain || !relay_is_success(r) || r->worker->stopping)
        return false;
    uint64_t now_ms = loop_now_ms(r->worker->loop);
    r->orphan = 1;
    r->orphan_until_ms = r->channel->drain_ms ? now_ms + r->channel->drain_ms : UINT64_MAX;
    r->last_up_ms = r->paused ? now_ms : r->last_up_ms;
    if (r->paused) {
        r->paused = 0;
        http_call_resume(&r->call);
    }
    relay_set_deadline(r);
    return true;
}

void relay_shutdown(struct request *r)
{
    if (r->phase == PHASE_RELAY || (r->phase == PHASE_ATTEMPT && r->head_sent))
        relay_break(r, LEDGER_SHUTDOWN, ERR_SHUTDOWN, NULL, NULL);
    else if (r->phase == PHASE_ATTEMPT)
        attempt_error(r, ERR_SHUTDOWN, NULL);
    else if (r->phase == PHASE_DRAIN)
        request_free(r);
    else if (r->phase == PHASE_BODY)
        request_refuse(r, ERR_SHUTDOWN, NULL);
    else if (r->phase == PHASE_PARSE)
        request_refuse_parsing(r, ERR_SHUTDOWN);
}
