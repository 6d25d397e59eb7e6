/* responses/reply_out: a whole answer as a response object. The form has one answer: of several
 * candidates the first is given. */
#include "llm/responses/responses.h"

#include "llm/carry.h"

struct reply_out {
    struct json_writer w;
    struct response_ids ids;
    struct arena *a;
    uint32_t n; /* items so far */
    struct str logprobs;
};

static const struct part *put_message(struct reply_out *o, const struct part *p, struct str status)
{
    char id[RESPONSES_ID_MAX];
    const struct part *last = p;
    responses_open_message(&o->w, responses_item_id(&o->ids, "msg", o->n, id), status);
    for (; p && (p->type == PART_TEXT || p->type == PART_REFUSAL); p = p->next) {
        responses_put_content(&o->w, p->type == PART_REFUSAL, p->text, o->logprobs);
        o->logprobs = STR_NULL;
        last = p;
    }
    responses_close_message(&o->w);
    return last;
}

/* Appends the item that begins with part p; gives the last part that went into it. */
static const struct part *put_item(struct reply_out *o, const struct part *p, struct str status)
{
    char id[RESPONSES_ID_MAX];
    struct str call;
    switch (p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        p = put_message(o, p, status);
        break;
    case PART_REASONING:
        responses_put_reasoning(&o->w, responses_item_id(&o->ids, "rs", o->n, id), p->text,
                                responses_seal(p->data.n ? p->data : p->signature,
                                               (enum issuer)p->issuer, p->redacted, o->a));
        break;
    case PART_TOOL_USE:
        call = p->id.n ? p->id : arena_printf(o->a, "call_%s%02x", o->ids.hex, o->n);
        call = carry_id_join(call, (enum issuer)p->issuer, p->signature, o->a);
        responses_put_call(&o->w, responses_item_id(&o->ids, "fc", o->n, id), call, p->name,
                           p->args.n ? p->args : STR("{}"), status);
        break;
    default: /* the form has no item for it that a caller could have asked for */
        return p;
    }
    o->n++;
    return p;
}

void responses_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                           struct buf *out)
{
    struct reply_out o = {.a = a};
    struct buf items;
    const struct neutral_candidate *c = r->candidates;
    bool refused = false;
    responses_ids_init(&o.ids, as->request_id, r->id);
    for (const struct part *p = c ? c->parts : NULL; p; p = p->next)
        refused = refused || p->type == PART_REFUSAL;
    struct str reason = c ? responses_incomplete((enum finish)c->finish, refused) : STR_NULL;
    struct str last = reason.n ? STR("incomplete") : STR("completed");
    if (c)
        o.logprobs = responses_logprobs(c->logprobs);

    /* Inside an array, so that the writer sets the commas; its brackets are left out again. */
    buf_init(&items, out->max);
    json_writer_init(&o.w, &items);
    json_open_array(&o.w);
    for (const struct part *p = c ? c->parts : NULL; p; p = p->next)
        p = put_item(&o, p, p->next ? STR("completed") : last);
    json_close_array(&o.w);

    struct json_writer w;
    struct str raw = buf_view(&items);
    struct response_head h = {
        .id = str_c(o.ids.response),
        .model = r->model.n ? r->model : as->model,
        .created_s = r->created_s ? r->created_s : as->created_s,
        .status = last,
        .reason = reason,
        .items = raw.n > 2 ? str_make(raw.p + 1, raw.n - 2) : STR_NULL,
        .usage = r->has_usage ? &r->usage : NULL,
    };
    json_writer_init(&w, out);
    responses_put_response(&w, &h);
    if (buf_failed(&items) || arena_failed(a))
        out->failed = true;
    buf_release(&items);
}
