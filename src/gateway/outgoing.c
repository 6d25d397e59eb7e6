/* outgoing: the body that an attempt sends: the caller's with edits, or a translation, and over it
 * what the channel's operator wants to be said. */
#include "gateway/outgoing.h"

#include "gateway/memory/recall.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"

/* What a translated body borrows is what is inserted into it. */
static enum err join_loans(struct request *r, struct outgoing *out)
{
    const struct request_plan *p = r->plan;
    *out = (struct outgoing){.text = buf_view(&p->translated)};
    if (!p->translated.loans || !p->loans.n)
        return ERR_OK;
    struct edit *e = arena_alloc(&r->arena, p->loans.n * sizeof *e);
    if (!e)
        return ERR_NOMEM;
    for (unsigned i = 0; i < p->loans.n; i++)
        e[i] = (struct edit){(uint32_t)p->loans.e[i].at, 0, p->loans.e[i].s};
    out->e = e;
    out->n = p->loans.n;
    return ERR_OK;
}

/* The caller's own body with what must differ for this channel. */
static enum err edit_body(struct request *r, const struct choice *c)
{
    struct request_plan *p = r->plan;
    const struct channel *ch = c->channel;
    struct openai_edit_plan plan = {
        .inject_usage = r->stream,
        .force_stream = r->force_stream,
        .drop_stream_options = !provider_takes_stream_options(ch->provider, &ch->at),
        .quirks =
            op_row((enum llm_op)r->op)->dialect != DIALECT_GEMINI ? ch->provider->quirks : NULL,
    };
    if (!str_eq(c->upstream, r->plan->body.model) || r->plan->deployment.p)
        plan.upstream_model = c->upstream;
    return openai_request_edits(&p->body, &plan, &r->arena, &p->edits);
}

/* Gemini names the model in the path and again in what is to be embedded. */
static bool names_model_twice(const struct request *r, const struct choice *c)
{
    return (r->op == OP_GEMINI_EMBED || r->op == OP_GEMINI_EMBEDS) &&
           !str_eq(c->upstream, r->plan->body.model);
}

/* Where a schema cannot be sent, its words are: the prompt must say what the answer is to be. */
static bool says_schema_in_words(const struct request *r, const struct choice *c)
{
    const struct quirk *q =
        r->op == OP_CHAT && r->plan->body.schema ? c->channel->provider->quirks : NULL;
    while (q && q->kind != QUIRK_END && q->kind != QUIRK_NO_JSON_SCHEMA)
        q++;
    return q && q->kind == QUIRK_NO_JSON_SCHEMA;
}

static enum err write_body(struct request *r, const struct choice *c, struct outgoing *out,
                           struct err_info *info)
{
    struct request_plan *p = r->plan;
    enum err e = ERR_OK;
    if (p->passthrough) {
        p->edits = (struct openai_edits){.n = 0};
        *out = (struct outgoing){.text = p->body.body};
    } else if (r->call_op != r->op || names_model_twice(r, c) || recall_rewrites(r, c) ||
               says_schema_in_words(r, c)) {
        bool own = r->call_op == r->op && r->op == OP_CHAT;
        p->edits = (struct openai_edits){.swallow_usage = own && !p->body.asks_usage};
        e = translate_request(r, c, info);
        if (!e)
            e = join_loans(r, out);
    } else {
        e = edit_body(r, c);
        *out = (struct outgoing){p->body.body, p->edits.e, p->edits.n};
    }
    if (!e && p->strict && p->edits.dropped.n) {
        e = err_set(info, ERR_INVALID, "x-lyss-strict: %.*s cannot be carried to the provider.",
                    STR_FMT(p->edits.dropped));
        p->edits.dropped = STR_NULL;
    }
    return e;
}

/* ---- a channel's own parameters ------------------------------------------------------------- */

/* What is shorter is copied. */
#define LONG_BYTES 4096

static bool is_edited(const struct outgoing *body, const struct openai_member *m)
{
    for (unsigned i = 0; i < body->n; i++)
        if (body->e[i].off < m->end && body->e[i].off + body->e[i].removed >= m->value)
            return true;
    return false;
}

/* The body's edits, and the long values of the caller's own body as if they were edits, too. Room
 * for FIELD_COUNT more. */
static unsigned collect_edits(const struct openai_request *q, const struct outgoing *body,
                              struct edit *e)
{
    unsigned n = body->n;
    for (unsigned i = 0; i < n; i++)
        e[i] = body->e[i];
    if (body->text.p != q->body.p)
        return n;
    for (int f = 0; f < FIELD_COUNT; f++) {
        const struct openai_member *m = &q->at[f];
        uint32_t length = m->end - m->value;
        if (length >= LONG_BYTES && !is_edited(body, m))
            e[n++] = (struct edit){m->value, length, str_make(q->body.p + m->value, length)};
    }
    edits_sort(e, n);
    return n;
}

/* The edited text, but with a 0 in place of what is long: JSON again, whether that is a value or in
 * a string. Of e the long ones are left, to be put there. */
static unsigned write_outline(struct str text, struct edit *e, unsigned n, struct buf *out)
{
    size_t at = 0;
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        struct edit one = e[i];
        buf_add(out, text.p + at, one.off - at);
        at = one.off + (size_t)one.removed;
        if (one.text.n < LONG_BYTES) {
            buf_str(out, one.text);
            continue;
        }
        e[kept++] = (struct edit){(uint32_t)out->n, 1, one.text};
        buf_char(out, '0');
    }
    buf_add(out, text.p + at, text.n - at);
    return kept;
}

/* The body becomes one with the channel's parameters; what is long in it is not copied. */
static enum err override_body(struct request *r, const struct channel *ch, struct outgoing *body)
{
    struct request_plan *p = r->plan;
    struct buf outline;
    size_t most = edits_length(body->text, body->e, body->n) + OVERRIDES_BYTES_MAX;
    struct edit *e = arena_alloc(&r->arena, (body->n + FIELD_COUNT) * sizeof *e);
    if (!e)
        return ERR_NOMEM;
    buf_init(&outline, most);
    unsigned n = collect_edits(&p->body, body, e);
    n = write_outline(body->text, e, n, &outline);
    buf_release(&p->overridden);
    buf_init(&p->overridden, most);
    enum err err = buf_failed(&outline)
                       ? ERR_NOMEM
                       : overrides_put_body(&ch->params, buf_view(&outline), e, &n, &p->overridden);
    buf_release(&outline);
    weigh_request(r);
    *body = (struct outgoing){buf_view(&p->overridden), e, n};
    return err;
}

enum err outgoing_make(struct request *r, const struct choice *c, struct outgoing *out,
                       struct err_info *info)
{
    enum err e = write_body(r, c, out, info);
    if (!e && c->channel->params.n && !r->plan->passthrough &&
        op_row((enum llm_op)r->call_op)->generates)
        e = override_body(r, c->channel, out);
    return e;
}
