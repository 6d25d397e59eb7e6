/* recall_notes: what of an answer is to be remembered, gathered while it passes: a response's id,
 * or the thoughts before its tool calls. */
#include "core/alloc.h"
#include "gateway/memory/errand.h"
#include "gateway/memory/recall.h"
#include "gateway/memory/recall_table.h"
#include "gateway/translate.h"
#include "llm/codec.h"

#define IDS_MAX       16         /* tool calls of one answer */
#define SCRATCH_BYTES (4u << 20) /* for one event */
#define LOOK_EVENTS   4          /* of a Responses stream: one of the first names its id */

struct recall_notes {
    uint8_t kind; /* enum recall_kind */
    uint8_t looks, ids_n;
    struct buf text;  /* of the thought that is being told */
    struct buf parts; /* those that are complete */
    struct buf ids;
    uint16_t id_bytes[IDS_MAX];
    const struct codec *codec; /* reads a stream that passes in the caller's own form */
    void *reader;
};

/* A thought, as it is kept: this, and then the bytes. */
struct record {
    uint8_t issuer, redacted;
    uint32_t text_n, signature_n, data_n, id_n;
};

/* ---- thoughts as bytes ---------------------------------------------------------------- */

static void put_part(struct recall_notes *n, const struct part *p)
{
    struct record h = {p->issuer,           p->redacted,
                       (uint32_t)p->text.n, (uint32_t)p->signature.n,
                       (uint32_t)p->data.n, (uint32_t)p->id.n};
    buf_add(&n->parts, &h, sizeof h);
    buf_str(&n->parts, p->text);
    buf_str(&n->parts, p->signature);
    buf_str(&n->parts, p->data);
    buf_str(&n->parts, p->id);
}

struct part *recall_thoughts(struct str bytes, struct arena *a)
{
    struct part *list = NULL;
    struct record h;
    while (bytes.n >= sizeof h) {
        memcpy(&h, bytes.p, sizeof h);
        struct part *p = neutral_part(a, PART_REASONING, &list);
        if (!p)
            return NULL;
        const uint32_t sizes[] = {h.text_n, h.signature_n, h.data_n, h.id_n};
        struct str *into[] = {&p->text, &p->signature, &p->data, &p->id};
        p->issuer = h.issuer;
        p->redacted = h.redacted;
        bytes = str_from(bytes, sizeof h);
        for (size_t i = 0; i < 4; i++) {
            *into[i] = str_make(bytes.p, sizes[i]);
            bytes = str_from(bytes, sizes[i]);
        }
    }
    return list;
}

/* ---- gathering -------------------------------------------------------------------------- */

static struct recall_notes *notes_new(enum recall_kind kind, const struct codec *codec,
                                      const struct link *link)
{
    size_t reader = codec ? codec->reader_bytes : 0,
           head = (sizeof(struct recall_notes) + 15) & ~15;
    struct recall_notes *n = mem_zalloc(head + reader);
    if (!n)
        return NULL;
    n->kind = (uint8_t)kind;
    buf_init(&n->text, RECALL_VALUE_MAX);
    buf_init(&n->parts, RECALL_VALUE_MAX);
    buf_init(&n->ids, IDS_MAX * RECALL_ID_MAX);
    n->codec = codec;
    n->reader = (char *)n + head;
    if (codec)
        codec->reader_init(n->reader, link);
    return n;
}

void recall_free(struct recall_notes **np)
{
    struct recall_notes *n = *np;
    *np = NULL;
    if (!n)
        return;
    if (n->codec && n->codec->reader_release)
        n->codec->reader_release(n->reader);
    buf_release(&n->text);
    buf_release(&n->parts);
    buf_release(&n->ids);
    mem_free(n);
}

void recall_begin(struct request *r)
{
    bool own = r->call_op == r->op;
    if (!r->worker->gateway->recall_budget.max_bytes || r->op == OP_PASSTHROUGH)
        return;
    if (own && r->op == OP_RESPONSES) {
        r->recall = notes_new(RECALL_RESPONSE, NULL, NULL);
        return;
    }
    if ((r->op != OP_CHAT && r->op != OP_RESPONSES) || !(r->plan->body.needs & NEED_TOOLS) ||
        (own && r->entry->caps.thinking != THINK_TOGGLE))
        return;
    const struct codec *codec = own && r->sse ? codec_of(OP_CHAT) : NULL;
    r->recall = notes_new(RECALL_THOUGHT, codec, &r->plan->link);
}

static void note_id(struct recall_notes *n, struct str id)
{
    if (!id.n || id.n > RECALL_ID_MAX || n->ids_n == IDS_MAX)
        return;
    buf_str(&n->ids, id);
    n->id_bytes[n->ids_n++] = (uint16_t)id.n;
}

/* The thought that is being told, if any, is complete. */
static void end_thought(struct recall_notes *n, struct part p)
{
    p.text = buf_view(&n->text);
    if (p.text.n || p.signature.n || p.data.n)
        put_part(n, &p);
    buf_reset(&n->text);
}

void recall_neutral(struct request *r, const struct neutral_event *ev)
{
    struct recall_notes *n = r->recall;
    if (!n || n->kind != RECALL_THOUGHT || ev->candidate)
        return;
    switch (ev->type) {
    case EVENT_REASONING:
        buf_str(&n->text, ev->text);
        break;
    case EVENT_SIGNATURE:
        end_thought(n, (struct part){.issuer = ev->issuer, .signature = ev->text, .id = ev->id});
        break;
    case EVENT_REDACTED:
        end_thought(n, (struct part){0});
        end_thought(n, (struct part){
                           .issuer = ev->issuer, .redacted = true, .data = ev->text, .id = ev->id});
        break;
    case EVENT_TOOL:
        note_id(n, ev->id);
        break;
    default:
        break;
    }
}

static void on_event(void *ctx, const struct neutral_event *ev)
{
    recall_neutral(ctx, ev);
}

static void find_response_id(struct recall_notes *n, struct str data)
{
    struct json_doc d;
    if (n->ids_n || n->looks++ >= LOOK_EVENTS || json_parse(&d, data, NULL))
        return;
    uint32_t response = json_get(&d, json_root(&d), STR("response"));
    uint32_t id = json_get(&d, response == JSON_NONE ? json_root(&d) : response, STR("id"));
    struct str raw = json_raw(&d, id);
    if (json_is(&d, id, JSON_STRING) && raw.n > 2 && str_chr(raw, '\\') < 0)
        note_id(n, str_make(raw.p + 1, raw.n - 2));
}

void recall_event(struct request *r, const struct sse_event *ev)
{
    struct recall_notes *n = r->recall;
    static __thread struct fault f;
    struct arena scratch;
    if (n->kind == RECALL_RESPONSE) {
        find_response_id(n, ev->data);
        return;
    }
    if (!n->codec || n->codec->op != r->call_op)
        return;
    arena_init(&scratch, SCRATCH_BYTES);
    if (n->codec->read_event(n->reader, str_c(r->channel->provider->name), ev->name, ev->data,
                             &scratch, on_event, r, &f))
        n->looks = LOOK_EVENTS; /* the relay finds the same, and ends the stream */
    arena_release(&scratch);
}

void recall_parts(struct request *r, const struct neutral_reply *reply)
{
    struct recall_notes *n = r->recall;
    if (!n || n->kind != RECALL_THOUGHT || !reply->candidates)
        return;
    for (const struct part *p = reply->candidates->parts; p; p = p->next) {
        if (p->type == PART_REASONING)
            put_part(n, p);
        else if (p->type == PART_TOOL_USE)
            note_id(n, p->id);
    }
}

void recall_reply(struct request *r, struct str body)
{
    struct recall_notes *n = r->recall;
    struct neutral_reply reply = {0};
    static __thread struct fault f;
    struct json_doc d;
    if (!n)
        return;
    if (n->kind == RECALL_RESPONSE)
        find_response_id(n, body);
    else if (!json_parse(&d, body, NULL) &&
             !codec_of((enum llm_op)r->call_op)
                  ->read_reply(&reply, &d, &r->plan->link, str_c(r->channel->provider->name),
                               &r->arena, &f))
        recall_parts(r, &reply);
}

/* ---- keeping ------------------------------------------------------------------------------ */

void recall_keep(struct request *r)
{
    struct recall_notes *n = r->recall;
    const int64_t place[] = {r->channel->id, r->credential_id};
    if (!n)
        return;
    end_thought(n, (struct part){0});
    struct str bytes = n->kind == RECALL_RESPONSE ? str_make((const char *)place, sizeof place)
                                                  : buf_view(&n->parts);
    bool ok = bytes.n && n->ids_n && !buf_failed(&n->text) && !buf_failed(&n->parts) &&
              !buf_failed(&n->ids);
    struct recall_value *v = ok ? recall_make(r->worker, bytes) : NULL;
    struct str ids = buf_view(&n->ids);
    for (unsigned i = 0; v && i < n->ids_n; i++) {
        struct recall_key k = {(enum recall_kind)n->kind, r->tenant_id,
                               str_make(ids.p, n->id_bytes[i])};
        ids = str_from(ids, n->id_bytes[i]);
        recall_put(r->worker, &k, recall_value_ref(v));
    }
    recall_value_unref(&v);
    recall_free(&r->recall);
}
