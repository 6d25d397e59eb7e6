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

void relay_count_unread(struct request *r, struct str start, size_t n)
{
    static const struct str words[] = {STR("\"inlineData\""), STR("\"inline_data\""), STR("_b64"),
                                       STR("\"b64_json\""), STR(";base64,")};
    struct str head = str_make(start.p, start.n < MEDIA_LOOK ? start.n : MEDIA_LOOK);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_find(head, words[i]) >= 0) {
            r->tap.out.tokens += MEDIA_TOKENS;
            r->unread_media = 1;
            return;
        }
    r->tap.out.bytes += n;
    r->unread_media = 0;
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

/* Where the value of the last member of that name begins in the last bytes; 0: there is none. */
static size_t last_member(struct str all, struct str name)
{
    for (size_t at = all.n; at-- > 1;) {
        if (!str_starts(str_from(all, at), name) || all.p[at - 1] == '\\')
            continue;
        for (at += name.n; at < all.n && strchr(" \t\r\n:", all.p[at]); at++)
            ;
        return at < all.n ? at : 0;
    }
    return 0;
}

bool relay_read_last_event(const struct request *r, struct buf *out)
{
    struct str all = str_make(r->tail, r->tail_n);
    size_t reason = last_member(all, STR("\"finishReason\""));
    size_t counts = last_member(all, STR("\"usageMetadata\""));
    size_t index = last_member(all, STR("\"index\"")), end = reason;
    if (!reason || all.p[reason] != '"')
        return false;
    while (++end < all.n && (all.p[end] == '_' || (all.p[end] >= 'A' && all.p[end] <= 'Z')))
        ;
    size_t digits = 0;
    while (index > reason && digits < 2 && index + digits < all.n && all.p[index + digits] >= '0' &&
           all.p[index + digits] <= '9')
        digits++;
    size_t counts_end = counts && all.p[counts] == '{' ? object_end(all, counts) : 0;
    buf_printf(out, "{\"candidates\":[{\"finishReason\":%.*s\",\"index\":%.*s}]",
               STR_FMT(str_make(all.p + reason, end - reason)),
               STR_FMT(digits ? str_make(all.p + index, digits) : STR("0")));
    if (counts_end)
        buf_printf(out, ",\"usageMetadata\":%.*s",
                   STR_FMT(str_make(all.p + counts, counts_end - counts)));
    buf_char(out, '}');
    return !buf_failed(out);
}

/* Each wire has its own members; of what passes unread nothing else tells whose they are. */
static bool read_usage(struct str object, bool gemini, struct usage *out)
{
    struct json_doc d;
    if (json_parse(&d, object, NULL))
        return false;
    *out = (struct usage){0};
    if (gemini)
        return usage_read_gemini(&d, json_root(&d), out);
    if (json_get(&d, json_root(&d), STR("cache_read_input_tokens")) != JSON_NONE)
        return usage_read_anthropic(&d, json_root(&d), out);
    return usage_read_openai(&d, json_root(&d), out);
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
        ptrdiff_t open = str_chr(str_from(all, at), '{');
        size_t end = open < 0 ? 0 : object_end(all, at + (size_t)open);
        if (!end)
            return;
        struct str object = str_make(all.p + at + open, end - at - (size_t)open);
        r->tap.has_usage = read_usage(object, gemini, &r->tap.usage);
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
    translate_weigh(r);
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

void relay_whole_bytes(struct request *r, const char *p, size_t n)
{
    if (r->phase == PHASE_RELAY) {
        if (op_row(r->op)->generates && !r->unread_media)
            r->tap.out.bytes += n;
        relay_keep_last(r, p, n);
        relay_send_down(r, str_make(p, n), false);
        return;
    }
    r->plan->ready_ns = request_now_ns(r, r->head_ns);
    if (!relay_is_success(r) && r->plan->reply_n + n > ERROR_BODY_MAX)
        return; /* enough is known */
    uint64_t most = r->worker->settings.max_held_bytes;
    if (r->call_op != r->op && most < TRANSLATE_BODY_MAX)
        most = TRANSLATE_BODY_MAX; /* nothing of it can leave before it is read */
    if (r->plan->reply_n + n <= most) {
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
    if (relay_send_down(r, first, false))
        relay_send_down(r, str_make(p, n), false);
}

/* Reads a complete answer; *body becomes what the caller gets. */
static enum err read_reply(struct request *r, struct str *body, struct fault *f)
{
    if (translate_needed(r)) {
        struct buf *out = scratch_buf(SCRATCH_TRANSLATED, 2 * TRANSLATE_BODY_MAX);
        enum err e = translate_reply(r, *body, out, f);
        if (!e && r->call_op != r->op)
            *body = buf_view(out);
        return e;
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
    e = read_reply(r, &body, &f);
    if (e == ERR_NOMEM) { /* f says nothing of it */
        attempt_error(r, e, NULL);
        return;
    }
    if (e) {
        attempt_failed(r, &f);
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
    r->overhead_us += (uint32_t)((now_ns - p->ready_ns) / 1000);
    recall_keep(r);
    idempotency_take(r, r->upstream_status, "application/json", body, true);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    bool ok = !c || http_reply(c, r->upstream_status, reply_headers(r, "application/json"), body);
    request_settle(r, ok ? LEDGER_COMPLETED : LEDGER_CLIENT_GONE, r->upstream_status,
                   ok ? ERR_OK : ERR_CLIENT_GONE);
    request_free(r);
}
