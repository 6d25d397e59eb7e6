/* gemini/reply_out: answers to Gemini's callers, whole and streamed.
 *
 * Google sends each event as a whole response on one line, ended by CRLF twice,
 * and a functionCall only when it is complete: so calls are held until their
 * arguments end.  Nothing comes after the event with the finishReason. */
#include "llm/gemini/gemini.h"

#include "core/alloc.h"
#include "core/base64.h"
#include "llm/carry.h"

#define REDACTED STR("redacted:")

struct gemini_call {
    struct gemini_call *next;
    uint32_t candidate, tool;
    uint8_t issuer;
    size_t held_bytes;
    struct buf id, name, signature, args;
};

/* ---- signatures ---- */

struct str gemini_signature_join(struct str signature, enum issuer issuer, bool redacted,
                                 struct arena *a)
{
    if (!signature.n || issuer == ISSUER_GEMINI || issuer == ISSUER_NONE)
        return signature;
    if (redacted)
        signature = arena_printf(a, "redacted:%.*s", STR_FMT(signature));
    struct str joined = carry_signature_join(signature, issuer, ISSUER_GEMINI, a);
    char *p = arena_alloc(a, BASE64_ROOM(joined.n));
    return p ? str_make(p, base64_encode(p, joined)) : STR_NULL;
}

void gemini_signature_split(struct str field, enum issuer *issuer, struct str *signature,
                            bool *redacted, struct arena *a)
{
    *redacted = false;
    *issuer = field.n ? ISSUER_GEMINI : ISSUER_NONE;
    *signature = field;
    if (!str_starts(field, STR("bHlzcy"))) /* "lyss" */
        return;
    char *p = arena_alloc(a, field.n / 4 * 3 + 3);
    size_t n;
    if (!p || !base64_decode(p, &n, field))
        return;
    enum issuer found;
    struct str inside;
    carry_signature_split(str_make(p, n), ISSUER_GEMINI, &found, &inside);
    if (found == ISSUER_GEMINI)
        return;
    *issuer = found;
    *redacted = str_starts(inside, REDACTED);
    *signature = *redacted ? str_from(inside, REDACTED.n) : inside;
}

/* ---- parts ---- */

static void put_text(struct json_writer *w, struct str text, bool thought, struct str signature)
{
    json_open_object(w);
    json_field_string(w, "text", text);
    if (thought)
        json_field_bool(w, "thought", true);
    if (signature.n)
        json_field_string(w, "thoughtSignature", signature);
    json_close_object(w);
}

/* JSON on one line: line ends stand only between its tokens. */
static void put_line(struct json_writer *w, struct str json)
{
    struct buf b;
    buf_init(&b, json.n + 1);
    buf_str(&b, json);
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] == '\n' || b.p[i] == '\r')
            b.p[i] = ' ';
    if (buf_failed(&b))
        w->out->failed = true;
    json_put_raw(w, buf_failed(&b) ? STR("{}") : buf_view(&b));
    buf_release(&b);
}

static void put_call(struct json_writer *w, struct str id, struct str name, struct str args,
                     struct str signature, struct arena *a)
{
    json_open_object(w);
    json_key(w, STR("functionCall"));
    json_open_object(w);
    if (id.n)
        json_field_string(w, "id", id);
    json_field_string(w, "name", name);
    json_key(w, STR("args"));
    put_line(w, neutral_args_object(args, a));
    json_close_object(w);
    if (signature.n)
        json_field_string(w, "thoughtSignature", signature);
    json_close_object(w);
}

static void open_content(struct json_writer *w)
{
    json_key(w, STR("content"));
    json_open_object(w);
    json_key(w, STR("parts"));
    json_open_array(w);
}

static void close_content(struct json_writer *w)
{
    json_close_array(w);
    json_field_string(w, "role", STR("model"));
    json_close_object(w);
}

/* ---- usage ---- */

static void put_modality(struct json_writer *w, struct str modality, uint64_t n)
{
    json_open_object(w);
    json_field_string(w, "modality", modality);
    json_key(w, STR("tokenCount"));
    json_put_u64(w, n);
    json_close_object(w);
}

void gemini_put_usage(struct json_writer *w, const struct usage *u)
{
    uint64_t in = usage_input_tokens(u), out = usage_output_tokens(u);
    uint64_t text = out - u->out_reasoning;
    const struct {
        struct str name;
        uint64_t n;
        bool always;
    } counts[] = {
        {STR("promptTokenCount"), in, true},
        {STR("cachedContentTokenCount"), u->cache_read, false},
        {STR("candidatesTokenCount"), text, true},
        {STR("thoughtsTokenCount"), u->out_reasoning, false},
        {STR("totalTokenCount"), in + out, true},
    };
    json_key(w, STR("usageMetadata"));
    json_open_object(w);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].always || counts[i].n) {
            json_key(w, counts[i].name);
            json_put_u64(w, counts[i].n);
        }
    if (u->audio_in) {
        json_key(w, STR("promptTokensDetails"));
        json_open_array(w);
        put_modality(w, STR("TEXT"), in - u->audio_in);
        put_modality(w, STR("AUDIO"), u->audio_in);
        json_close_array(w);
    }
    json_close_object(w);
}

/* ---- whole answers ---- */

static bool put_part(struct json_writer *w, const struct part *p, struct arena *a)
{
    struct str signature = gemini_signature_join(p->redacted ? p->data : p->signature,
                                                 (enum issuer)p->issuer, p->redacted, a);
    switch (p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        put_text(w, p->text, false, signature);
        return true;
    case PART_REASONING:
        put_text(w, p->text, true, signature);
        return true;
    case PART_TOOL_USE:
        put_call(w, p->id, p->name, p->args, signature, a);
        return true;
    case PART_IMAGE:
        if (!p->media.data.n)
            return false;
        json_open_object(w);
        json_key(w, STR("inlineData"));
        json_open_object(w);
        json_field_string(w, "mimeType", p->media.mime.n ? p->media.mime : STR("image/png"));
        json_field_string(w, "data", p->media.data);
        json_close_object(w);
        json_close_object(w);
        return true;
    default:
        return false;
    }
}

void gemini_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                        struct buf *out)
{
    struct json_writer w;
    uint32_t index = 0;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("candidates"));
    json_open_array(&w);
    for (const struct neutral_candidate *c = r->candidates; c; c = c->next) {
        bool any = false;
        json_open_object(&w);
        open_content(&w);
        for (const struct part *p = c->parts; p; p = p->next)
            any = put_part(&w, p, a) || any;
        if (!any)
            put_text(&w, STR(""), false, STR_NULL);
        close_content(&w);
        json_field_string(&w, "finishReason", str_c(gemini_finish_name((enum finish)c->finish)));
        gemini_logprobs_put(&w, c->logprobs);
        json_field_i64(&w, "index", index++);
        json_close_object(&w);
    }
    json_close_array(&w);
    if (r->has_usage)
        gemini_put_usage(&w, &r->usage);
    json_field_string(&w, "modelVersion", r->model.n ? r->model : as->model);
    json_field_string(&w, "responseId", r->id.n ? r->id : as->request_id);
    json_close_object(&w);
}

void gemini_write_tokens(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                         struct buf *out)
{
    struct json_writer w;
    (void)as, (void)a;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("totalTokens"));
    json_put_u64(&w, r->tokens);
    json_close_object(&w);
}

/* ---- streams: calls that are held ---- */

static void free_call(struct gemini_writer *s, struct gemini_call **at)
{
    struct gemini_call *c = *at;
    *at = c->next;
    s->calls_n--;
    s->held_bytes -= c->held_bytes;
    buf_release(&c->id);
    buf_release(&c->name);
    buf_release(&c->signature);
    buf_release(&c->args);
    mem_free(c);
}

void gemini_writer_release(void *state)
{
    struct gemini_writer *s = state;
    while (s->calls)
        free_call(s, &s->calls);
}

/* Counts bytes that are to be held. False: too many. */
static bool hold(struct gemini_writer *s, struct gemini_call *c, size_t n)
{
    if (n > GEMINI_ARGS_HELD - s->held_bytes)
        return false;
    s->held_bytes += n;
    c->held_bytes += n;
    return true;
}

static void keep(struct buf *b, struct str s)
{
    buf_init(b, s.n + 1);
    buf_str(b, s);
}

static bool begin_call(struct gemini_writer *s, const struct neutral_event *ev)
{
    struct gemini_call **end = &s->calls;
    while (*end)
        end = &(*end)->next;
    struct gemini_call *c = s->calls_n < GEMINI_CALLS_HELD ? mem_zalloc(sizeof *c) : NULL;
    if (!c)
        return false;
    *end = c;
    s->calls_n++;
    c->candidate = ev->candidate;
    c->tool = ev->tool;
    c->issuer = ev->issuer;
    buf_init(&c->args, GEMINI_ARGS_HELD);
    if (!hold(s, c, ev->id.n + ev->name.n + ev->text.n))
        return false;
    keep(&c->id, ev->id);
    keep(&c->name, ev->name);
    keep(&c->signature, ev->text);
    return !buf_failed(&c->id) && !buf_failed(&c->name) && !buf_failed(&c->signature);
}

static struct gemini_call **find_call(struct gemini_writer *s, const struct neutral_event *ev)
{
    struct gemini_call **c = &s->calls;
    while (*c && ((*c)->candidate != ev->candidate || (*c)->tool != ev->tool))
        c = &(*c)->next;
    return c;
}

static bool add_args(struct gemini_writer *s, const struct neutral_event *ev)
{
    struct gemini_call *c = *find_call(s, ev);
    if (!c)
        return true;
    if (!hold(s, c, ev->text.n))
        return false;
    buf_str(&c->args, ev->text);
    return !buf_failed(&c->args);
}

/* ---- streams: events ---- */

static void open_event(struct json_writer *w, struct buf *out)
{
    buf_lit(out, "data: ");
    json_writer_init(w, out);
    json_open_object(w);
    json_key(w, STR("candidates"));
    json_open_array(w);
}

static void close_event(const struct gemini_writer *s, struct json_writer *w, bool last)
{
    json_close_array(w);
    if (last)
        gemini_put_usage(w, &s->usage);
    json_field_string(w, "modelVersion", str_c(s->model));
    json_field_string(w, "responseId", str_c(s->id));
    json_close_object(w);
    buf_lit(w->out, "\r\n\r\n");
}

static void write_text(const struct gemini_writer *s, uint32_t candidate, struct str text,
                       bool thought, struct str signature, struct buf *out)
{
    struct json_writer w;
    if (!text.n && !signature.n)
        return;
    open_event(&w, out);
    json_open_object(&w);
    open_content(&w);
    put_text(&w, text, thought, signature);
    close_content(&w);
    json_field_i64(&w, "index", candidate);
    json_close_object(&w);
    close_event(s, &w, false);
}

static void write_call(struct gemini_writer *s, struct gemini_call **at, struct buf *out)
{
    struct gemini_call *c = *at;
    struct json_writer w;
    struct arena a;
    if (!c)
        return;
    arena_init(&a, GEMINI_ARGS_HELD * 8);
    struct str signature =
        gemini_signature_join(buf_view(&c->signature), (enum issuer)c->issuer, false, &a);
    open_event(&w, out);
    json_open_object(&w);
    open_content(&w);
    put_call(&w, buf_view(&c->id), buf_view(&c->name), buf_view(&c->args), signature, &a);
    close_content(&w);
    json_field_i64(&w, "index", c->candidate);
    json_close_object(&w);
    close_event(s, &w, false);
    if (arena_failed(&a))
        out->failed = true;
    arena_release(&a);
    free_call(s, at);
}

static void write_logprobs(const struct gemini_writer *s, const struct neutral_event *ev,
                           struct buf *out)
{
    struct json_writer w;
    open_event(&w, out);
    json_open_object(&w);
    json_field_i64(&w, "index", ev->candidate);
    gemini_logprobs_put(&w, ev->text);
    json_close_object(&w);
    close_event(s, &w, false);
}

/* What was never ended, then why each candidate ended, and what it cost. */
static void write_last(struct gemini_writer *s, struct buf *out)
{
    struct json_writer w;
    while (s->calls)
        write_call(s, &s->calls, out);
    open_event(&w, out);
    for (uint32_t i = 0; i < GEMINI_CANDIDATES_MAX; i++) {
        if (!(s->seen >> i & 1) && (i || s->seen))
            continue;
        json_open_object(&w);
        open_content(&w);
        put_text(&w, STR(""), false, STR_NULL);
        close_content(&w);
        json_field_string(&w, "finishReason", str_c(gemini_finish_name((enum finish)s->finish[i])));
        json_field_i64(&w, "index", i);
        json_close_object(&w);
    }
    close_event(s, &w, true);
}

void gemini_writer_init(void *state, const struct answer *as)
{
    struct gemini_writer *s = state;
    str_copy(s->id, sizeof s->id, as->request_id);
    str_copy(s->model, sizeof s->model, as->model);
    s->usage.in_uncached = as->estimate_in;
}

static void write_signed(const struct gemini_writer *s, const struct neutral_event *ev,
                         struct buf *out)
{
    struct arena a;
    arena_init(&a, ev->text.n * 8 + 4096);
    struct str field =
        gemini_signature_join(ev->text, (enum issuer)ev->issuer, ev->type == EVENT_REDACTED, &a);
    if (arena_failed(&a))
        out->failed = true;
    write_text(s, ev->candidate, STR(""), true, field, out);
    arena_release(&a);
}

void gemini_write_event(void *state, const struct neutral_event *ev, struct buf *out)
{
    struct gemini_writer *s = state;
    bool ok = true;
    if (ev->candidate >= GEMINI_CANDIDATES_MAX)
        return;
    if (ev->usage)
        s->usage = *ev->usage;
    switch (ev->type) {
    case EVENT_START:
        if (ev->id.n)
            str_copy(s->id, sizeof s->id, ev->id);
        if (ev->model.n)
            str_copy(s->model, sizeof s->model, ev->model);
        return;
    case EVENT_TEXT:
    case EVENT_REFUSAL:
    case EVENT_REASONING:
        s->seen |= 1u << ev->candidate;
        write_text(s, ev->candidate, ev->text, ev->type == EVENT_REASONING, STR_NULL, out);
        return;
    case EVENT_SIGNATURE:
    case EVENT_REDACTED:
        s->seen |= 1u << ev->candidate;
        write_signed(s, ev, out);
        return;
    case EVENT_TOOL:
        s->seen |= 1u << ev->candidate;
        ok = begin_call(s, ev);
        break;
    case EVENT_TOOL_ARGS:
        ok = add_args(s, ev);
        break;
    case EVENT_TOOL_END:
        write_call(s, find_call(s, ev), out);
        return;
    case EVENT_LOGPROBS:
        write_logprobs(s, ev, out);
        return;
    case EVENT_FINISH:
        s->seen |= 1u << ev->candidate;
        s->finish[ev->candidate] = ev->finish;
        return;
    case EVENT_END:
        write_last(s, out);
        return;
    default:
        return;
    }
    if (!ok)
        out->failed = true; /* more than may be held */
}
