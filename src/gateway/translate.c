/* translate: reads the caller's body into the neutral form once, writes it for each attempt, and
 * joins the reader of the upstream's form to the writer of the caller's. */
#include "gateway/translate.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "gateway/hedge.h"
#include "gateway/memory/recall.h"
#include "gateway/weigh.h"
#include "net/scratch.h"

#define SCRATCH_ARENA_BYTES (TRANSLATE_EVENT_MAX * 4)
#define USAGE_RAW_MAX       2048
#define MEANING_EXTRA_BYTES (8u << 20)
#define LOANS_MAX           256
#define LOAN_MIN_BYTES      16384

struct translation {
    const struct codec *from, *to; /* the upstream's; the caller's, NULL: the same */
    void *reader, *writer;
    uint64_t begun[2], finished[2]; /* bits by candidate; finished: a reason was seen */
};

/* ---- which operation ---- */

bool translate_needed(const struct request *r)
{
    return r->call_op != r->op || op_row((enum llm_op)r->op)->dialect != DIALECT_OPENAI;
}

/* Recent models take tools and effort together, or anything at all, over Responses only. */
static bool wants_responses(const struct request *r, const struct model_caps *caps)
{
    const struct openai_request *b = &r->plan->body;
    return model_caps_rule(caps, RULE_RESPONSES_ONLY) ||
           (model_caps_rule(caps, RULE_EFFORT_WITH_TOOLS_WANTS_RESPONSES) && b->thinks &&
            (b->needs & NEED_TOOLS));
}

enum llm_op translate_op(const struct request *r, const struct channel *ch,
                         const struct model_caps *caps)
{
    enum llm_op op = (enum llm_op)r->op, to = op_serve(op, ch->ops);
    if (op == OP_PASSTHROUGH)
        return op;
    if (to == OP_CHAT && ch->ops & OP_BIT(OP_RESPONSES) && codec_of(OP_RESPONSES) &&
        wants_responses(r, caps))
        to = OP_RESPONSES;
    if (to != op && (to == OP_NONE || !codec_of(op) || !codec_of(to)))
        return OP_NONE;
    return to;
}

/* ---- requests ---- */

/* Of bodies full of very small parts: trying again, as for want of memory, would not help. */
static enum err too_much(struct err_info *info)
{
    return err_set(info, ERR_BODY_TOO_LARGE,
                   "the request has too many parts to be put into the provider's form");
}

static void drop_tape(struct request_plan *p)
{
    if (!p->tape)
        return;
    json_steps_free(&p->tape);
    p->doc = (struct json_doc){0};
}

enum err translate_read(struct request *r, struct err_info *info)
{
    struct request_plan *p = r->plan;
    struct json_doc d = p->doc;
    if (p->neutral)
        return ERR_OK;
    bool parsed = p->doc.n && (p->tape || p->doc_parse == json_parse_count());
    enum err e = parsed ? ERR_OK : json_parse(&d, p->body.body, info);
    if (e)
        return e;
    arena_init(&p->meaning, (size_t)r->worker->settings.max_body_bytes * 2 + MEANING_EXTRA_BYTES);
    struct neutral_request *n = arena_alloc(&p->meaning, sizeof *n);
    if (!n)
        return ERR_NOMEM;
    neutral_request_init(n, (enum llm_op)r->op);
    e = codec_of((enum llm_op)r->op)->read_request(n, &d, r->plan->deployment, &p->meaning, info);
    if (p->meaning.full)
        e = too_much(info);
    else if (!e && arena_failed(&p->meaning))
        e = ERR_NOMEM;
    drop_tape(p);
    if (!e)
        p->neutral = n;
    else
        arena_release(&p->meaning);
    return e;
}

void translate_keep_tape(struct request *r, const struct json_doc *doc)
{
    struct request_plan *p = r->plan;
    if (doc->cap * sizeof *doc->e > doc->text.n / 8)
        return;
    p->tape = p->parsing.steps;
    p->doc = *doc;
    p->parsing.steps = NULL;
}

void translate_release(struct request_plan *p)
{
    drop_tape(p);
    p->neutral = NULL;
    arena_release(&p->meaning);
    buf_release(&p->translated);
    buf_release(&p->overridden);
}

uint64_t translate_held_bytes(const struct request *r)
{
    const struct translation *t = r->translation;
    return t && t->to && t->to->writer_held ? t->to->writer_held(t->writer) : 0;
}

/* What is long in a long body (base64 mostly) is not copied. */
static void lend_long(struct request *r)
{
    struct request_plan *p = r->plan;
    size_t share = p->body.body.n / LOANS_MAX;
    if (p->body.body.n <= COUNTED_BYTES)
        return;
    if (!p->loans.e)
        p->loans.e = arena_alloc(&r->arena, LOANS_MAX * sizeof *p->loans.e);
    p->loans.n = 0;
    p->loans.max = LOANS_MAX;
    p->loans.min_bytes = share > LOAN_MIN_BYTES ? share : LOAN_MIN_BYTES;
    if (p->loans.e)
        p->translated.loans = &p->loans;
}

enum err translate_request(struct request *r, const struct choice *c, struct err_info *info)
{
    struct request_plan *p = r->plan;
    const struct provider *provider = c->channel->provider;
    struct target to = {
        .model = c->upstream,
        .provider = str_c(provider->name),
        .caps = &c->entry->caps,
        .reserve_output = r->worker->settings.reserve_output_default,
        .stream = r->stream,
        .mark_cache = c->channel->mark_cache,
        .max_tokens_only = str_eq(str_c(provider->name), STR("openai-compatible")),
    };
    struct receipt receipt = {0};
    enum err e = translate_read(r, info);
    if (e)
        return e;
    buf_release(&p->translated);
    buf_init(&p->translated, p->body.body.n * 4 + (1u << 20));
    if (!buf_reserve(&p->translated, p->body.body.n + p->body.body.n / 8 + 1024))
        return ERR_NOMEM;
    lend_long(r);
    e = codec_of((enum llm_op)r->call_op)
            ->write_request(p->neutral, &to, &r->arena, &p->translated, &receipt, &p->link, info);
    p->edits.dropped = arena_dup(&r->arena, str_make(receipt.names, receipt.n));
    if (!e && (buf_failed(&p->translated) || arena_failed(&r->arena)))
        e = ERR_NOMEM;
    if (e == ERR_NOMEM && (r->arena.full || p->translated.n > p->translated.max / 2))
        e = too_much(info);
    if (p->translated.loans)
        buf_fit(&p->translated);
    weigh_request(r);
    return e;
}

/* ---- answers ---- */

static void say_answer(const struct request *r, char id[static 37], struct answer *as)
{
    const struct neutral_request *n = r->plan->neutral;
    uuid_format(r->id, id);
    *as = (struct answer){
        .op = (enum llm_op)r->op,
        .request_id = str_make(id, 36),
        .model = r->upstream_model ? str_c(r->upstream_model) : r->plan->model,
        .created_s = clock_wall_ms() / 1000,
        .estimate_in = r->estimate_in,
        .include_usage = n && n->include_usage,
        .base64 = n && n->base64,
    };
}

#define ROUND(n) (((n) + 15) & ~(size_t)15)

enum err translate_stream(struct request *r)
{
    const struct codec *from = codec_of((enum llm_op)r->call_op);
    const struct codec *to = r->call_op != r->op ? codec_of((enum llm_op)r->op) : NULL;
    size_t head = ROUND(sizeof(struct translation)), reader = ROUND(from->reader_bytes);
    char *p = mem_zalloc(head + reader + (to ? to->writer_bytes : 0));
    if (!p)
        return ERR_NOMEM;
    struct translation *t = (struct translation *)(void *)p;
    t->from = from;
    t->to = to;
    t->reader = p + head;
    from->reader_init(t->reader, &r->plan->link);
    if (to) {
        char id[37];
        struct answer as;
        say_answer(r, id, &as);
        t->writer = p + head + reader;
        to->writer_init(t->writer, &as);
    }
    r->translation = t;
    return ERR_OK;
}

void translation_free(struct translation **t)
{
    struct translation *x = *t;
    *t = NULL;
    if (!x)
        return;
    if (x->from->reader_release)
        x->from->reader_release(x->reader);
    if (x->to && x->to->writer_release)
        x->to->writer_release(x->writer);
    mem_free(x);
}

static void mark(uint64_t bits[2], uint32_t candidate)
{
    bits[candidate / 64 % 2] |= UINT64_C(1) << candidate % 64;
}

/* Has each answer that began said why it ended? */
static bool finished(const struct translation *t)
{
    return (t->finished[0] | t->finished[1]) && !(t->begun[0] & ~t->finished[0]) &&
           !(t->begun[1] & ~t->finished[1]);
}

struct sink {
    struct request *r;
    struct buf *out;
    unsigned flags;
    bool unfinished; /* it ended without a word on why */
};

/* SDKs count on usage also where the upstream does not say any. */
static void tell_estimate(struct request *r, struct buf *out)
{
    struct usage u = settle_estimate(r);
    struct neutral_event ev = {.type = EVENT_USAGE, .usage = &u};
    r->translation->to->write_event(r->translation->writer, &ev, out);
}

static void on_event(void *ctx, const struct neutral_event *ev)
{
    struct sink *s = ctx;
    struct request *r = s->r;
    struct translation *t = r->translation;
    switch (ev->type) {
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_REFUSAL:
    case EVENT_TOOL_ARGS:
        mark(t->begun, ev->candidate);
        if (ev->text.n)
            s->flags |= EV_CONTENT;
        estimate_add_text(&r->tap.out, ev->text);
        break;
    case EVENT_TOOL:
        mark(t->begun, ev->candidate);
        estimate_add_text(&r->tap.out, ev->name);
        s->flags |= EV_CONTENT;
        break;
    case EVENT_REDACTED:
        s->flags |= EV_CONTENT;
        break;
    case EVENT_FINISH:
        mark(t->finished, ev->candidate);
        s->flags |= EV_CONTENT;
        break;
    case EVENT_END:
        s->unfinished = t->to && !finished(t);
        if (s->unfinished)
            return; /* the caller's form wants a reason, and we make up none */
        r->tap.ended = true;
        s->flags |= EV_TERMINAL;
        break;
    default:
        break;
    }
    if (ev->usage) {
        r->tap.usage = *ev->usage;
        r->tap.has_usage = true;
        r->tap.told_out = estimate_tokens(&r->tap.out);
        s->flags |= EV_USAGE;
    }
    if (r->recall)
        recall_neutral(r, ev);
    if (t->to && ev->type == EVENT_END && !r->tap.has_usage)
        tell_estimate(r, s->out);
    if (t->to)
        t->to->write_event(t->writer, ev, s->out);
}

/* The upstream's own words on what was used. Lent from the text. */
static struct str usage_of(const struct json_doc *d)
{
    uint32_t u = json_get(d, json_root(d), STR("usage"));
    if (u == JSON_NONE)
        u = json_get(d, json_root(d), STR("usageMetadata"));
    struct str raw = json_raw(d, u);
    return raw.n <= USAGE_RAW_MAX ? raw : STR_NULL;
}

static struct str find_usage(struct str event)
{
    struct json_doc d;
    return json_parse(&d, event, NULL) ? STR_NULL : usage_of(&d);
}

static enum err without_reason(struct fault *f)
{
    return fault_set(f, ERR_UPSTREAM_INCOMPLETE,
                     "the upstream's answer ended without a finish reason");
}

unsigned translate_event(struct request *r, const struct sse_event *in, struct buf *out,
                         struct openai_event *ev)
{
    struct translation *t = r->translation;
    struct sink sink = {.r = r, .out = out};
    struct arena scratch;
    if (r->tap.ended)
        return ev->flags = EV_AFTER_END;
    arena_init(&scratch, SCRATCH_ARENA_BYTES);
    enum err e = t->from->read_event(t->reader, str_c(r->channel->provider->name), in->name,
                                     in->data, &scratch, on_event, &sink, &ev->fault);
    if (!e && arena_failed(&scratch))
        fault_from_err(&ev->fault, e = ERR_NOMEM, NULL);
    arena_release(&scratch);
    if (!e && sink.unfinished)
        e = without_reason(&ev->fault);
    if (e) {
        r->tap.ended = true;
        sink.flags = EV_ERROR | (sink.flags & EV_USAGE);
    } else if (!(sink.flags & (EV_CONTENT | EV_TERMINAL))) {
        sink.flags |= EV_LIFECYCLE;
    }
    ev->usage_raw = sink.flags & EV_USAGE && finished(t) ? find_usage(in->data) : STR_NULL;
    if (!ev->usage_raw.n)
        sink.flags &= ~(unsigned)EV_USAGE;
    return ev->flags = sink.flags;
}

bool translate_ends(struct request *r, struct buf *out)
{
    struct translation *t = r->translation;
    struct sink sink = {.r = r, .out = out};
    if (!t || r->tap.ended || !t->from->reader_ends || !t->from->reader_ends(t->reader))
        return false;
    on_event(&sink, &(struct neutral_event){.type = EVENT_END});
    return r->tap.ended;
}

static void count_parts(struct estimate *out, const struct part *p)
{
    for (; p; p = p->next) {
        estimate_add_text(out, p->text);
        estimate_add_text(out, p->name);
        estimate_add_text(out, p->args);
    }
}

static bool all_finished(const struct neutral_reply *reply)
{
    const struct neutral_candidate *c = reply->candidates;
    while (c && c->finish != FINISH_NONE)
        c = c->next;
    return !c;
}

enum err translate_reply(struct request *r, const struct json_doc *d, struct buf *out,
                         struct fault *f)
{
    const struct codec *from = codec_of((enum llm_op)r->call_op);
    struct neutral_reply reply = {0};
    struct str usage = usage_of(d); /* the reader may use the tape for something else */
    enum err e = from->read_reply(&reply, d, &r->plan->link, str_c(r->channel->provider->name),
                                  &r->arena, f);
    if (!e && arena_failed(&r->arena))
        e = ERR_NOMEM;
    if (e)
        return e;
    r->tap.has_usage = reply.has_usage;
    r->tap.usage = reply.usage;
    for (const struct neutral_candidate *c = reply.candidates; c; c = c->next)
        count_parts(&r->tap.out, c->parts);
    r->usage_raw = arena_dup(&r->arena, usage);
    if (r->call_op != r->op && !all_finished(&reply))
        return without_reason(f);
    recall_parts(r, &reply);
    if (r->call_op != r->op) {
        char id[37];
        struct answer as;
        say_answer(r, id, &as);
        if (!reply.has_usage)
            reply.usage = settle_estimate(r);
        reply.has_usage = true;
        codec_of((enum llm_op)r->op)->write_reply(&reply, &as, &r->arena, out);
        if (buf_failed(out) || arena_failed(&r->arena))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

uint32_t translate_sequence(const struct request *r)
{
    const struct translation *t = r->translation;
    if (t && t->to && t->to->writer_sequence)
        return t->to->writer_sequence(t->writer);
    return r->tap.next_sequence;
}

void translate_count(struct request *r)
{
    struct neutral_reply reply = {.tokens = r->estimate_in};
    struct buf *out = scratch_buf(SCRATCH_TRANSLATED, TRANSLATE_BODY_MAX);
    char id[37];
    struct answer as;
    say_answer(r, id, &as);
    codec_of((enum llm_op)r->op)->write_reply(&reply, &as, &r->arena, out);
    if (buf_failed(out) || arena_failed(&r->arena)) {
        struct fault f;
        fault_from_err(&f, ERR_NOMEM, NULL);
        attempt_answer(r, &f);
        request_settle(r, LEDGER_UPSTREAM_ERROR, f.status, ERR_NOMEM);
        request_free(r);
        return;
    }
    struct http_conn *c = r->conn;
    r->conn = NULL;
    http_reply(c, 200, reply_headers(r, "application/json"), buf_view(out));
    request_settle(r, LEDGER_COMPLETED, 200, ERR_OK);
    request_free(r);
}
