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

/* The body as it would go out becomes one with the channel's own parameters. */
static enum err override_body(struct request *r, const struct channel *ch, struct outgoing *out)
{
    struct request_plan *p = r->plan;
    struct buf plain;
    size_t n = edits_length(out->text, out->e, out->n);
    buf_init(&plain, n + 1);
    edits_write(out->text, out->e, out->n, &plain);
    buf_release(&p->overridden);
    buf_init(&p->overridden, n + OVERRIDES_BYTES_MAX);
    enum err e = buf_failed(&plain)
                     ? ERR_NOMEM
                     : overrides_put_body(&ch->params, buf_view(&plain), &p->overridden);
    buf_release(&plain);
    weigh_request(r);
    *out = (struct outgoing){.text = buf_view(&p->overridden)};
    return e;
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
