/* relay_events: the events of a streamed answer: held until the commit, then passed on as they
 * come, as they are or in the caller's form; one that is too long to be held is torn. */
#include <stdio.h>

#include "core/alloc.h"
#include "gateway/memory/idempotency.h"
#include "gateway/pace.h"
#include "gateway/memory/recall.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"
#include "net/gunzip.h"
#include "net/scratch.h"

#define HOLD_EVENTS_MAX 64
#define HOLD_BYTES_MAX  49152
#define USAGE_RAW_MAX   2048

static bool hold(struct request *r, struct str raw)
{
    if (r->plan->hold_n + raw.n > r->plan->hold_cap) {
        uint32_t cap = r->plan->hold_cap ? r->plan->hold_cap : 512;
        while (cap < r->plan->hold_n + raw.n)
            cap *= 2;
        char *p = mem_realloc(r->plan->hold, cap);
        if (!p)
            return false;
        r->plan->hold = p;
        r->plan->hold_cap = cap;
    }
    memcpy(r->plan->hold + r->plan->hold_n, raw.p, raw.n);
    r->plan->hold_n += (uint32_t)raw.n;
    r->plan->hold_events++;
    return true;
}

/* Puts what was held, if anything, before run. False: no memory, the request has ended. */
static bool join_held(struct request *r, struct str *run)
{
    if (!r->plan || !r->plan->hold_n)
        return true;
    if (!hold(r, *run)) {
        relay_break(r, LEDGER_UPSTREAM_ERROR, ERR_NOMEM, NULL, NULL);
        return false;
    }
    *run = str_make(r->plan->hold, r->plan->hold_n);
    r->plan->hold_n = 0;
    return true;
}

/* Sends what was held, if anything, and then run; an empty run leaves what is held where it is. */
static bool flush_run(struct request *r, struct str run)
{
    return !run.n || (join_held(r, &run) && relay_pass_on(r, run));
}

/* The stream's own end: run ends with it. */
static void complete(struct request *r, struct str run)
{
    if (!join_held(r, &run))
        return;
    recall_keep(r);
    r->tap.told_out = estimate_tokens(&r->tap.out); /* the last word on it has been said */
    bool ok = relay_send_down(r, run, true);
    request_settle(r, ok ? LEDGER_COMPLETED : LEDGER_CLIENT_GONE, 200,
                   ok ? ERR_OK : ERR_CLIENT_GONE);
    relay_drain(r);
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
static COLD void fail_stream(struct request *r, enum err e, const struct err_info *info)
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
    if (r->recall && !r->translation)
        recall_event(r, ev);
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
        if (lifecycle && !swallow && r->plan->hold_events < HOLD_EVENTS_MAX &&
            r->plan->hold_n + ev->raw.n <= HOLD_BYTES_MAX) {
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
            (flags & (EV_CONTENT | EV_TERMINAL) || r->plan->hold_events >= HOLD_EVENTS_MAX ||
             r->plan->hold_n + out->n > HOLD_BYTES_MAX))
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

/* Puts bytes behind the unfinished event; its room doubles, so that a long event which comes in
 * small pieces is not copied with each. */
static bool add_to_tail(struct request *r, const char *p, size_t n)
{
    if (r->tail_n + n > r->tail_cap) {
        size_t cap = r->tail_n ? (size_t)r->tail_n * 2 : n;
        while (cap < r->tail_n + n)
            cap *= 2;
        char *room = mem_realloc(r->tail, cap);
        if (!room)
            return false;
        r->tail = room;
        r->tail_cap = (uint32_t)cap;
    }
    memcpy(r->tail + r->tail_n, p, n);
    r->tail_n += (uint32_t)n;
    return true;
}

static bool keep_tail(struct request *r, struct str rest)
{
    mem_free(r->tail);
    r->tail = NULL;
    r->tail_n = r->tail_cap = 0;
    return !rest.n || add_to_tail(r, rest.p, rest.n);
}

/* Is there an empty line whose end is not before `from`? */
static bool ends_event(struct str s, size_t from)
{
    const char *end = s.p + s.n, *nl = s.p + from;
    while (nl < end && (nl = memchr(nl, '\n', (size_t)(end - nl)))) {
        const char *before = nl > s.p && nl[-1] == '\r' ? nl - 1 : nl;
        if (before == s.p || before[-1] == '\n')
            return true;
        nl++;
    }
    return false;
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
    r->torn_kept = r->torn_last || r->op == OP_GENERATE;
    r->torn_index = r->op == OP_GENERATE ? relay_first_index(rest) : 0;
    if (r->torn_kept)
        relay_keep_last(r, rest.p, rest.n);
    if (!r->torn_last)
        relay_count_unread(r, rest, rest.n);
    if (r->body_bytes)
        weigh_request(r);
    return flush_run(r, rest);
}

/* The torn event has ended, and nobody has read it: of Gemini's the last bytes may say that an
 * answer has, too. LAST: with it the stream is complete. STOP: it has failed by *fault. */
static enum verdict judge_torn(struct request *r, struct fault **fault)
{
    static __thread struct openai_event e;
    struct buf doc;
    unsigned flags = 0;
    *fault = &e.fault;
    buf_init(&doc, 8192);
    if (r->torn_kept && r->translation && r->tail && relay_read_last_event(r, &doc)) {
        struct sse_event ev = {.data = buf_view(&doc), .has_data = true};
        flags = translate_event(r, &ev, NULL, &e);
        if (flags & EV_USAGE)
            keep_usage(r, e.usage_raw);
    }
    buf_release(&doc);
    mem_free(r->tail);
    r->tail = NULL;
    r->tail_n = r->tail_cap = 0;
    if (flags & EV_ERROR)
        return STOP;
    return flags & EV_TERMINAL ? LAST : PASS;
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
    if (r->torn_kept)
        relay_keep_last(r, rest.p, rest.n);
    if (r->torn_last) {
        if (!r->torn) {
            relay_read_last_usage(r);
            complete(r, rest);
            return false;
        }
    } else if (!r->unread_media) {
        r->tap.out.bytes += at;
    }
    struct fault *fault = NULL;
    enum verdict v = r->torn || r->torn_last ? PASS : judge_torn(r, &fault);
    if (v == LAST) {
        complete(r, rest);
        return false;
    }
    if (!relay_send_down(r, rest, false))
        return false;
    if (v == STOP) {
        relay_break(r, attempt_end_state(fault->err), fault->err, NULL, fault);
        return false;
    }
    if (!r->torn)
        relay_set_deadline(r); /* pings may go out again */
    return true;
}

void relay_stream_bytes(struct request *r, char *p, size_t n)
{
    char *joined = NULL;
    bool translated = r->translation && r->call_op != r->op;
    size_t longest = translated ? TRANSLATE_EVENT_MAX : SSE_EVENT_MAX;
    if (r->torn) {
        struct str rest = str_make(p, n);
        if (!pass_torn(r, &rest) || !rest.n)
            return;
        p += n - rest.n;
        n = rest.n;
    }
    if (r->tail_n) {
        size_t from = r->tail_n;
        if (!add_to_tail(r, p, n) || !weigh_stream(r)) {
            fail_stream(r, ERR_NOMEM, NULL);
            return;
        }
        if (r->tail_n <= longest && !ends_event(str_make(r->tail, r->tail_n), from))
            return;
        p = joined = r->tail;
        n = r->tail_n;
        r->tail = NULL;
        r->tail_n = r->tail_cap = 0;
    }
    struct str in = str_make(p, n);
    bool alive = translated ? pass_translated(r, &in) : pass_events(r, &in);
    if (alive && translated && in.n > longest) {
        fail_stream(r, ERR_UPSTREAM_PROTOCOL, NULL);
        alive = false;
    } else if (alive && in.n > longest) {
        alive = tear(r, in);
    } else if (alive && (!keep_tail(r, in) || !weigh_stream(r))) {
        fail_stream(r, ERR_NOMEM, NULL);
        alive = false;
    }
    mem_free(joined);
    if (!alive)
        return;
    if (r->phase == PHASE_RELAY && r->plan)
        relay_shed_plan(r);
    settle_progress(r);
    if (r->pace)
        pace_look(r->pace, estimate_tokens(&r->tap.out), r->last_up_ms);
    uint32_t most = r->channel->drain_tokens;
    if (r->orphan && most && !idempotency_wanted(r) && estimate_tokens(&r->tap.out) > most)
        relay_break(r, LEDGER_CLIENT_GONE, ERR_CLIENT_GONE, NULL, NULL);
}

bool relay_stream_end(struct request *r)
{
    struct buf *out = scratch_buf(SCRATCH_TRANSLATED, TRANSLATE_BODY_MAX);
    if (r->tail_n || r->torn || (r->gunzip && !gunzip_ended(r->gunzip)) || !translate_ends(r, out))
        return false;
    if (buf_failed(out)) {
        fail_stream(r, ERR_NOMEM, NULL);
        return true;
    }
    if (r->phase == PHASE_ATTEMPT)
        relay_commit(r);
    complete(r, out->n ? buf_view(out) : STR(""));
    return true;
}
