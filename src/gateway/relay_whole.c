/* relay_whole: answers that are not streamed: held until they are known to be complete and valid,
 * so that a broken one can still be tried elsewhere; one too long to be held is passed on as it
 * comes. */
#include "core/alloc.h"
#include "core/clock.h"
#include "gateway/hedge.h"
#include "gateway/memory/idempotency.h"
#include "gateway/passthrough.h"
#include "gateway/memory/recall.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"
#include "net/scratch.h"

#define ERROR_BODY_MAX 65536

#define LAST_BYTES   2048
#define MEDIA_LOOK   16384 /* of what is not read: where a picture or a sound would have begun */
#define MEDIA_TOKENS 1500

void relay_keep_last(struct request *r, const char *p, size_t n)
{
    if (!r->tail && !(r->tail = mem_alloc(LAST_BYTES)))
        return; /* the reply is estimated then */
    if (n >= LAST_BYTES) {
        memcpy(r->tail, p + n - LAST_BYTES, LAST_BYTES);
        r->tail_n = LAST_BYTES;
        return;
    }
    size_t old = r->tail_n < LAST_BYTES - n ? r->tail_n : LAST_BYTES - n;
    memmove(r->tail, r->tail + r->tail_n - old, old);
    memcpy(r->tail + old, p, n);
    r->tail_n = (uint32_t)(old + n);
}

/* A member "url" or "…_url" that is a picture or a sound itself. */
static bool holds_data_url(struct str s)
{
    static const struct str starts[] = {STR("url\":\"data:"), STR("url\": \"data:")};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct str rest = s;
        ptrdiff_t at;
        while ((at = str_find(rest, starts[i])) >= 0) {
            rest = str_from(rest, (size_t)at + starts[i].n);
            struct str type = str_make(rest.p, rest.n < 128 ? rest.n : 128);
            ptrdiff_t end = str_chr(type, '"'), mark = str_find(type, STR(";base64,"));
            if (mark >= 0 && (end < 0 || mark < end))
                return true;
        }
    }
    return false;
}

/* In a text that the model writes a quote is escaped: it makes up none of these names. */
static bool holds_media(struct str s)
{
    static const struct str names[] = {STR("\"inlineData\""), STR("\"inline_data\""),
                                       STR("\"b64_json\""), STR("\"partial_image_b64\"")};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_find(s, names[i]) >= 0)
            return true;
    return holds_data_url(s);
}

void relay_count_unread(struct request *r, struct str start, size_t n)
{
    r->unread_media = holds_media(str_make(start.p, start.n < MEDIA_LOOK ? start.n : MEDIA_LOOK));
    if (r->unread_media)
        r->tap.out.tokens += MEDIA_TOKENS;
    else
        r->tap.out.bytes += n;
}

/* One past the end of the object that begins at s.p[at]; 0: it does not end. */
static size_t object_end(struct str s, size_t at)
{
    unsigned depth = 0;
    bool quoted = false;
    for (; at < s.n; at++) {
        char c = s.p[at];
        if (quoted) {
            at += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && --depth == 0) {
            return at + 1;
        }
    }
    return 0;
}

/* Where the string begins whose closing quote is at s.p[at]; s.n: before s. */
static size_t string_start(struct str s, size_t at)
{
    while (at-- > 0) {
        size_t slashes = 0;
        if (s.p[at] != '"')
            continue;
        while (slashes < at && s.p[at - 1 - slashes] == '\\')
            slashes++;
        if (slashes == at) /* there may have been one more */
            return s.n;
        if (slashes % 2 == 0)
            return at;
    }
    return s.n;
}

/* What s begins with, if that is a colon and a value behind it; else nothing. */
static struct str value_behind(struct str s)
{
    s = str_trim(s);
    return s.n && s.p[0] == ':' ? str_trim(str_from(s, 1)) : STR_NULL;
}

/* The number that s begins with, of two digits at most. */
static struct str number_at(struct str s)
{
    size_t n = 0;
    while (n < s.n && n < 2 && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return str_make(s.p, n);
}

uint8_t relay_first_index(struct str event)
{
    ptrdiff_t content = str_find(event, STR("\"content\""));
    struct str head = str_make(event.p, content > 0 ? (size_t)content : 0);
    ptrdiff_t at = str_find(head, STR("\"index\""));
    uint64_t index = 0;
    if (at >= 0 && !str_u64(number_at(value_behind(str_from(head, (size_t)at + 7))), 99, &index))
        index = 0;
    return (uint8_t)index;
}

/* What is read of an event from its end on. */
struct last_words {
    struct buf *out;          /* its candidates, the last one first */
    struct str counts;        /* usageMetadata */
    struct str reason, index; /* of the candidate that is being read */
    char closers[3];          /* of what is open, from the outermost on */
    unsigned depth;           /* how much is open */
    bool any;
};

/* Of a candidate's own members, and not of what the model writes into one of them. */
static bool in_candidate(const struct last_words *w)
{
    return w->depth == 3 && !memcmp(w->closers, "}]}", 3);
}

static void read_member(struct last_words *w, struct str name, struct str value)
{
    if (in_candidate(w) && str_eq(name, STR("\"finishReason\"")) && value.n && value.p[0] == '"') {
        size_t n = 1;
        while (n < value.n && (value.p[n] == '_' || (value.p[n] >= 'A' && value.p[n] <= 'Z')))
            n++;
        w->reason = str_make(value.p, n);
    } else if (in_candidate(w) && str_eq(name, STR("\"index\""))) {
        w->index = number_at(value);
    } else if (w->depth == 1 && str_eq(name, STR("\"usageMetadata\"")) && value.n &&
               value.p[0] == '{') {
        w->counts = str_make(value.p, object_end(value, 0));
    }
}

/* One without a reason is told as well: it has begun, and goes on. */
static void end_candidate(struct last_words *w, unsigned index)
{
    buf_printf(w->out, "%s{", w->any ? "," : "");
    if (w->reason.n)
        buf_printf(w->out, "\"finishReason\":%.*s\",", STR_FMT(w->reason));
    if (w->index.n)
        buf_printf(w->out, "\"index\":%.*s}", STR_FMT(w->index));
    else
        buf_printf(w->out, "\"index\":%u}", index);
    w->reason = w->index = STR_NULL;
    w->any = true;
}

/* Backwards, for only the end of the text is known to be outside of a string. */
static void read_backwards(struct last_words *w, struct str all, unsigned first)
{
    for (size_t at = all.n; at-- > 0;) {
        char c = all.p[at];
        if (c == '"') {
            size_t start = string_start(all, at);
            if (start == all.n)
                break;
            read_member(w, str_make(all.p + start, at + 1 - start),
                        value_behind(str_from(all, at + 1)));
            at = start;
        } else if (c == '}' || c == ']') {
            if (w->depth < sizeof w->closers)
                w->closers[w->depth] = c;
            w->depth++;
        } else if (c == '{' || c == '[') {
            if (in_candidate(w))
                end_candidate(w, 0);
            if (!w->depth || !--w->depth)
                return;
        }
    }
    if (w->depth >= 3 && !memcmp(w->closers, "}]}", 3)) /* it began before what is kept */
        end_candidate(w, first);
}

bool relay_read_last_event(const struct request *r, struct buf *out)
{
    struct last_words w = {.out = out};
    buf_lit(out, "{\"candidates\":[");
    read_backwards(&w, str_make(r->tail, r->tail_n), r->torn_index);
    buf_lit(out, "]");
    if (w.counts.n)
        buf_printf(out, ",\"usageMetadata\":%.*s", STR_FMT(w.counts));
    buf_char(out, '}');
    return (w.any || w.counts.n) && !buf_failed(out);
}

/* Each wire has its own members; of what passes unread nothing else tells whose they are. begun:
 * *out is what an Anthropic stream began with. */
static bool read_usage(struct str object, bool gemini, bool begun, struct usage *out)
{
    struct json_doc d;
    if (json_parse(&d, object, NULL))
        return false;
    if (!begun)
        *out = (struct usage){0};
    if (begun || json_get(&d, json_root(&d), STR("cache_read_input_tokens")) != JSON_NONE)
        return usage_read_anthropic(&d, json_root(&d), out);
    return gemini ? usage_read_gemini(&d, json_root(&d), out)
                  : usage_read_openai(&d, json_root(&d), out);
}

/* The object behind the `key` that all.p[at] begins with. Empty: it does not end. */
static struct str object_behind(struct str all, size_t at)
{
    ptrdiff_t open = str_chr(str_from(all, at), '{');
    size_t end = open < 0 ? 0 : object_end(all, at + (size_t)open);
    return end ? str_make(all.p + at + open, end - at - (size_t)open) : STR_NULL;
}

/* Of an Anthropic stream that passes unread only the first event need say what went in
 * (https://docs.anthropic.com/en/api/messages-streaming). */
static void read_first_usage(struct request *r, struct str all)
{
    if (r->op != OP_PASSTHROUGH || r->tap.has_usage ||
        !str_starts(all, STR("event: message_start")))
        return;
    ptrdiff_t at = str_find(all, STR("\"usage\""));
    struct str object = at < 0 ? STR_NULL : object_behind(all, (size_t)at);
    struct json_doc d;
    if (object.n && !json_parse(&d, object, NULL))
        r->tap.has_usage = usage_read_anthropic(&d, json_root(&d), &r->tap.usage);
}

void relay_read_last_usage(struct request *r)
{
    static const struct str key = STR("\"usage\""), google = STR("\"usageMetadata\"");
    struct str all = str_make(r->tail, r->tail_n);
    bool may_be_gemini = r->op == OP_PASSTHROUGH || r->op == OP_GENERATE;
    for (size_t at = all.n; at-- > 1;) {
        struct str rest = str_from(all, at);
        bool gemini = may_be_gemini && str_starts(rest, google);
        if ((!gemini && !str_starts(rest, key)) || all.p[at - 1] == '\\')
            continue;
        struct str object = object_behind(all, at);
        bool begun = r->op == OP_PASSTHROUGH && r->tap.has_usage;
        if (object.n)
            r->tap.has_usage = read_usage(object, gemini, begun, &r->tap.usage) || begun;
        return;
    }
}

bool relay_hold_whole(struct request *r, size_t cap)
{
    struct request_plan *p = r->plan;
    char *room = arena_alloc(&r->arena, cap);
    if (!room)
        return false;
    if (p->reply_n)
        memcpy(room, p->reply, p->reply_n);
    p->reply = room;
    p->reply_cap = cap;
    weigh_request(r);
    return cap <= COUNTED_BYTES || !gateway_memory_full(r->worker->gateway);
}

static bool gather(struct request *r, const char *p, size_t n)
{
    struct request_plan *pl = r->plan;
    if (pl->reply_n + n > pl->reply_cap) {
        size_t cap = pl->reply_cap ? pl->reply_cap * 2 : 4096;
        while (cap < pl->reply_n + n)
            cap *= 2;
        if (!relay_hold_whole(r, cap))
            return false;
    }
    memcpy(pl->reply + pl->reply_n, p, n);
    pl->reply_n += n;
    return true;
}

static void wrong_kind(struct request *r)
{
    struct err_info info;
    err_info_init(&info);
    (void)!err_set(&info, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is not %s",
                   r->stream ? "an event stream" : "a JSON object");
    attempt_error(r, ERR_UPSTREAM_PROTOCOL, &info);
}

uint64_t relay_held_most(const struct request *r)
{
    uint64_t most = r->worker->settings.max_held_bytes;
    if (r->call_op != r->op && most < TRANSLATE_BODY_MAX)
        most = TRANSLATE_BODY_MAX; /* nothing of it can leave before it is read */
    return most;
}

void relay_whole_bytes(struct request *r, const char *p, size_t n)
{
    if (r->phase == PHASE_RELAY) {
        if (op_row(r->op)->generates && !r->unread_media)
            r->tap.out.bytes += n;
        bool first = !r->tail_n;
        relay_keep_last(r, p, n);
        read_first_usage(r, first ? str_make(p, n) : str_make(r->tail, r->tail_n));
        relay_pass_on(r, str_make(p, n));
        return;
    }
    r->plan->ready_ns = request_now_ns(r, r->head_ns);
    if (!relay_is_success(r) && r->plan->reply_n + n > ERROR_BODY_MAX)
        return; /* enough is known */
    if (r->plan->reply_n + n <= relay_held_most(r)) {
        if (!gather(r, p, n))
            attempt_error(r, ERR_NOMEM, NULL);
        return;
    }
    struct str start =
        r->plan->reply_n ? str_make(r->plan->reply, r->plan->reply_n) : str_make(p, n);
    start = str_trim(start);
    if (r->stream || r->call_op != r->op || !start.n || start.p[0] != '{') {
        wrong_kind(r);
        return;
    }
    relay_commit(r);
    if (op_row(r->op)->generates) /* nothing better is known of a reply that is not held */
        relay_count_unread(r, start, r->plan->reply_n + n);
    if (r->plan->reply_n)
        relay_keep_last(r, r->plan->reply, r->plan->reply_n);
    relay_keep_last(r, p, n);
    struct str first = str_make(r->plan->reply, r->plan->reply_n);
    if (relay_pass_on(r, first))
        relay_pass_on(r, str_make(p, n));
}

/* Reads a complete answer that is parsed; *body becomes what the caller gets. */
static enum err translate_whole(struct request *r, const struct json_doc *d, struct str *body,
                                struct fault *f)
{
    struct buf *out = scratch_buf(SCRATCH_TRANSLATED, 2 * TRANSLATE_BODY_MAX);
    enum err e = translate_reply(r, d, out, f);
    if (!e && r->call_op != r->op)
        *body = buf_view(out);
    return e;
}

/* The same of any other. */
static enum err read_reply(struct request *r, struct str *body, struct fault *f)
{
    if (translate_needed(r)) {
        struct json_doc d;
        enum err e = fault_unless_object(&d, *body, f);
        return e ? e : translate_whole(r, &d, body, f);
    }
    struct openai_reply reply;
    enum err e = openai_reply_read(&reply, r->op, str_c(r->channel->provider->name), *body, f);
    if (e)
        return e;
    r->tap.has_usage = reply.has_usage;
    r->tap.usage = reply.usage;
    r->tap.out = reply.out;
    r->usage_raw = reply.usage_raw;
    recall_reply(r, *body);
    return ERR_OK;
}

/* The end of one that was passed on as it came. */
static void end_passed(struct request *r)
{
    int status = r->op == OP_PASSTHROUGH ? r->upstream_status : 200;
    enum err e = r->op == OP_PASSTHROUGH ? passthrough_error(status) : ERR_OK;
    enum ledger_state state = e ? LEDGER_UPSTREAM_ERROR : LEDGER_COMPLETED;
    relay_read_last_usage(r);
    idempotency_take(r, 200, "application/json", STR_NULL, true);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    if (c)
        http_stream_finish(c);
    if (c && c->tcp.failed) { /* in this turn: the server has not told yet */
        state = LEDGER_CLIENT_GONE;
        e = ERR_CLIENT_GONE;
    }
    request_settle(r, state, status, e);
    request_free(r);
}

/* An answer has been read with this outcome; body is for the caller. */
static void finish_whole(struct request *r, enum err e, struct str body, const struct fault *f)
{
    if (e == ERR_NOMEM) { /* f says nothing of it */
        attempt_error(r, e, NULL);
        return;
    }
    if (e) {
        attempt_failed(r, f);
        return;
    }
    if (r->stream) {
        wrong_kind(r);
        return;
    }
    hedge_won(r);
    uint64_t now_ns = clock_mono_ns();
    r->first_content_ns = r->head_ns;
    settle_first(r);
    r->overhead_us += (uint32_t)((now_ns - r->plan->ready_ns) / 1000);
    recall_keep(r);
    idempotency_take(r, r->upstream_status, "application/json", body, true);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    bool ok = !c || http_reply(c, r->upstream_status, reply_headers(r, "application/json"), body);
    request_settle(r, ok ? LEDGER_COMPLETED : LEDGER_CLIENT_GONE, r->upstream_status,
                   ok ? ERR_OK : ERR_CLIENT_GONE);
    request_free(r);
}

void relay_drop_reading(struct request *r)
{
    if (!r->plan)
        return;
    costly_drop(r->worker->loop, &r->plan->parsing.reading);
    json_steps_free(&r->plan->parsing.steps);
}

static void on_reading(struct costly *c)
{
    static __thread struct fault f;
    struct parsing *s = (struct parsing *)((char *)c - offsetof(struct parsing, reading));
    struct request *r = s->request;
    struct request_plan *p = r->plan;
    struct str body = str_make(p->reply, p->reply_n);
    struct json_doc d;
    enum err e = json_step(s->steps, PARSE_STEP_BYTES, &d, NULL);
    if (e == ERR_AGAIN && weigh_parsing(r)) {
        (void)!costly_run(r->worker->loop, c, true, on_reading);
        return;
    }
    if (e == ERR_AGAIN)
        e = ERR_NOMEM;
    e = fault_unless_parsed(e, &d, &f);
    if (!e)
        e = translate_whole(r, &d, &body, &f);
    finish_whole(r, e, body, &f);
}

void relay_whole_end(struct request *r)
{
    static __thread struct fault f;
    struct request_plan *p = r->plan;
    struct str body = str_make(p ? p->reply : "", p ? p->reply_n : 0);
    enum err e;
    if (r->phase == PHASE_RELAY) {
        end_passed(r);
        return;
    }
    if (!relay_is_success(r)) {
        struct fault_headers h = {.now_s = clock_wall_ms() / 1000};
        h.retry_after = p->retry_after;
        h.retry_after_ms = p->retry_after_ms;
        fault_from_response(&f, str_c(r->channel->provider->name), r->upstream_status, &h, body);
        attempt_failed(r, &f);
        return;
    }
    if (translate_needed(r) && body.n > PARSE_STEP_BYTES) {
        p->parsing.request = r;
        if (json_steps_new(&p->parsing.steps, body))
            attempt_error(r, ERR_NOMEM, NULL);
        else
            (void)!costly_run(r->worker->loop, &p->parsing.reading, true, on_reading);
        return;
    }
    e = read_reply(r, &body, &f);
    finish_whole(r, e, body, &f);
}
