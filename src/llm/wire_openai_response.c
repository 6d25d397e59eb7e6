/* wire_openai_response: one look at each answer and at each event of a stream.
 *
 * Most events are text deltas of 250 bytes; for them this is one parse and one
 * walk over the choices.  Keys are compared as they stand: no server of this
 * wire escapes the letters of its keys. */
#include "llm/wire_openai_response.h"

#define IS(d, k, lit) key_is((d), (k), "\"" lit "\"", sizeof(lit) + 1)

static inline bool key_is(const struct json_doc *d, uint32_t k, const char *raw, uint32_t n)
{
    return d->e[k].end - d->e[k].off == n && memcmp(d->text.p + d->e[k].off, raw, n) == 0;
}

static bool filled(const struct json_doc *d, uint32_t i)
{
    return d->e[i].type == JSON_STRING && d->e[i].end - d->e[i].off > 2;
}

/* Members whose text a model wrote. */
static bool is_output(const struct json_doc *d, uint32_t k)
{
    return IS(d, k, "content") || IS(d, k, "text") || IS(d, k, "arguments") ||
           IS(d, k, "reasoning_content") || IS(d, k, "reasoning") || IS(d, k, "refusal") ||
           IS(d, k, "name") || IS(d, k, "input") || IS(d, k, "delta");
}

/* Members that say nothing by themselves. */
static bool is_frame(const struct json_doc *d, uint32_t k)
{
    return IS(d, k, "role") || IS(d, k, "id") || IS(d, k, "type") || IS(d, k, "object") ||
           IS(d, k, "status");
}

/* Adds the output text anywhere in value i. True when it holds any text but frame. */
static bool scan_output(const struct json_doc *d, uint32_t i, struct estimate *out)
{
    bool any = false;
    for (uint32_t k = i + 1; k < d->e[i].next; k++) {
        if (!(d->e[k].flags & JSON_KEY) || !filled(d, k + 1))
            continue;
        if (is_output(d, k)) {
            estimate_add_string(out, d, k + 1);
            any = true;
        } else if (!is_frame(d, k)) {
            any = true;
        }
    }
    return any;
}

/* The members of an answer, of a chunk or of a Responses event that matter; JSON_NONE: absent. A
 * null counts as absent. */
struct top {
    uint32_t choices, usage, error, type, delta, response, sequence, object, model, output, data,
        status;
};

static void read_top(const struct json_doc *d, struct top *t)
{
    memset(t, 0xFF, sizeof *t); /* JSON_NONE */
    for (uint32_t k = 1; k < d->e[0].next; k = d->e[k + 1].next) {
        uint32_t v = k + 1;
        if (d->e[v].type == JSON_NULL)
            continue;
        if (IS(d, k, "choices"))
            t->choices = v;
        else if (IS(d, k, "usage"))
            t->usage = v;
        else if (IS(d, k, "error"))
            t->error = v;
        else if (IS(d, k, "object"))
            t->object = v;
        else if (IS(d, k, "model"))
            t->model = v;
        else if (IS(d, k, "type"))
            t->type = v;
        else if (IS(d, k, "delta"))
            t->delta = v;
        else if (IS(d, k, "response"))
            t->response = v;
        else if (IS(d, k, "sequence_number"))
            t->sequence = v;
        else if (IS(d, k, "output"))
            t->output = v;
        else if (IS(d, k, "data"))
            t->data = v;
        else if (IS(d, k, "status"))
            t->status = v;
    }
}

/* What the choices of a chunk or an answer hold. */
struct told {
    bool any;      /* output */
    bool finished; /* a finish_reason */
    bool starved;  /* … of insufficient_system_resource */
};

static void read_choices(const struct json_doc *d, uint32_t choices, struct estimate *out,
                         struct told *t)
{
    *t = (struct told){false, false, false};
    if (!json_is(d, choices, JSON_ARRAY))
        return;
    for (uint32_t c = choices + 1; c < d->e[choices].next; c = d->e[c].next) {
        if (d->e[c].type != JSON_OBJECT)
            continue;
        for (uint32_t k = c + 1; k < d->e[c].next; k = d->e[k + 1].next) {
            uint32_t v = k + 1;
            if (IS(d, k, "delta") || IS(d, k, "message")) {
                t->any |= scan_output(d, v, out);
            } else if (IS(d, k, "text") && filled(d, v)) {
                estimate_add_string(out, d, v);
                t->any = true;
            } else if (IS(d, k, "finish_reason") && filled(d, v)) {
                t->finished = true;
                t->starved |= IS(d, v, "insufficient_system_resource");
            }
        }
    }
}

static enum err starved_fault(struct fault *f)
{
    return fault_set(f, ERR_UPSTREAM_ERROR, "the upstream ran out of resources");
}

/* Errors also come flat: {"object":"error","message":…}. JSON_NONE: none. */
static uint32_t error_of(const struct json_doc *d, const struct top *t)
{
    if (t->error != JSON_NONE)
        return t->error;
    if (t->object != JSON_NONE && IS(d, t->object, "error"))
        return 0;
    return JSON_NONE;
}

/* ---- whole answers ---------------------------------------------------------- */

static bool reply_finished(const struct json_doc *d, enum llm_op op, const struct top *t,
                           const struct told *told)
{
    if (op == OP_EMBEDDINGS)
        return json_is(d, t->data, JSON_ARRAY);
    if (op == OP_RESPONSES)
        return t->status != JSON_NONE && !IS(d, t->status, "in_progress") &&
               !IS(d, t->status, "queued");
    return told->finished;
}

enum err openai_reply_read(struct openai_reply *r, enum llm_op op, struct str provider,
                           struct str body, struct fault *f)
{
    struct json_doc d;
    struct top t;
    struct told told;
    struct fault scratch;
    if (!f)
        f = &scratch;
    *r = (struct openai_reply){.has_usage = false};
    enum err e = fault_unless_object(&d, body, f);
    if (e)
        return e;
    read_top(&d, &t);
    if (error_of(&d, &t) != JSON_NONE) {
        fault_from_object(f, provider, &d, error_of(&d, &t));
        return f->err;
    }
    r->has_usage = usage_read_openai(&d, t.usage, &r->usage);
    r->usage_raw = r->has_usage ? json_raw(&d, t.usage) : STR_NULL;
    r->model_raw = json_raw(&d, t.model);
    read_choices(&d, t.choices, &r->out, &told);
    if (t.output != JSON_NONE)
        scan_output(&d, t.output, &r->out);
    r->finished = reply_finished(&d, op, &t, &told);
    return told.starved ? starved_fault(f) : ERR_OK;
}

/* ---- streams ------------------------------------------------------------------ */

/* Responses events by type; every other one is content. */
static const struct {
    struct str raw;
    unsigned flags;
} response_events[] = {
    {{"\"response.created\"", 18}, EV_LIFECYCLE},
    {{"\"response.in_progress\"", 22}, EV_LIFECYCLE},
    {{"\"response.queued\"", 17}, EV_LIFECYCLE},
    {{"\"response.output_item.added\"", 28}, EV_LIFECYCLE},
    {{"\"response.content_part.added\"", 29}, EV_LIFECYCLE},
    {{"\"response.reasoning_summary_part.added\"", 39}, EV_LIFECYCLE},
    {{"\"response.completed\"", 20}, EV_TERMINAL},
    {{"\"response.incomplete\"", 21}, EV_TERMINAL},
    {{"\"response.failed\"", 17}, EV_ERROR},
    {{"\"response.cancelled\"", 20}, EV_ERROR},
    {{"\"error\"", 7}, EV_ERROR},
};

void openai_stream_init(struct openai_stream *s, enum llm_op op)
{
    *s = (struct openai_stream){.op = (uint8_t)op};
}

static COLD unsigned fail(struct openai_event *ev, unsigned flags, enum err e, const char *text)
{
    (void)!fault_set(&ev->fault, e, text);
    return flags;
}

static unsigned take_usage(struct openai_stream *s, const struct json_doc *d, uint32_t usage,
                           struct openai_event *ev)
{
    if (usage == JSON_NONE || !usage_read_openai(d, usage, &s->usage))
        return 0;
    s->has_usage = true;
    ev->usage_raw = json_raw(d, usage);
    return EV_USAGE;
}

static unsigned chat_event(struct openai_stream *s, const struct json_doc *d, const struct top *t,
                           struct openai_event *ev)
{
    struct told told;
    unsigned flags = take_usage(s, d, t->usage, ev);
    if (t->choices == JSON_NONE)
        return flags ? flags | EV_USAGE_ONLY : EV_CONTENT;
    if (json_is(d, t->choices, JSON_ARRAY) && d->e[t->choices].next == t->choices + 1)
        return flags ? flags | EV_USAGE_ONLY : EV_LIFECYCLE;
    read_choices(d, t->choices, &s->out, &told);
    s->finished |= told.finished;
    if (told.starved) {
        (void)!starved_fault(&ev->fault);
        return flags | EV_ERROR;
    }
    return flags | (told.any || told.finished ? EV_CONTENT : EV_LIFECYCLE);
}

/* The flags of a Responses event by its type, or by its name where it has none. */
static unsigned response_kind(const struct json_doc *d, const struct top *t, struct str name)
{
    struct str type = t->type != JSON_NONE ? json_raw(d, t->type) : STR_NULL;
    for (size_t i = 0; i < sizeof response_events / sizeof *response_events; i++) {
        struct str raw = response_events[i].raw;
        if (type.p ? str_eq(type, raw) : str_eq(name, str_make(raw.p + 1, raw.n - 2)))
            return response_events[i].flags;
    }
    return EV_CONTENT;
}

static unsigned response_event(struct openai_stream *s, struct str provider, struct str name,
                               const struct json_doc *d, const struct top *t,
                               struct openai_event *ev)
{
    int64_t sequence;
    if (json_i64(d, t->sequence, &sequence) && sequence >= 0 && sequence < UINT32_MAX)
        s->next_sequence = (uint32_t)sequence + 1;
    unsigned flags = response_kind(d, t, name);
    if (t->response != JSON_NONE && (flags & (EV_TERMINAL | EV_ERROR)))
        flags |= take_usage(s, d, json_get(d, t->response, STR("usage")), ev);
    if (flags & EV_ERROR) {
        uint32_t e = t->response != JSON_NONE ? json_get(d, t->response, STR("error")) : t->error;
        fault_from_object(&ev->fault, provider, d, json_is(d, e, JSON_OBJECT) ? e : 0);
    } else if (t->delta != JSON_NONE) {
        if (json_is(d, t->delta, JSON_STRING) && !filled(d, t->delta))
            return flags == EV_CONTENT ? EV_LIFECYCLE : flags;
        estimate_add_string(&s->out, d, t->delta);
    }
    return flags;
}

static unsigned json_event(struct openai_stream *s, struct str provider, struct str name,
                           struct str data, struct openai_event *ev)
{
    struct json_doc d;
    struct top t;
    bool named_error = str_eq(name, STR("error"));
    if (json_parse(&d, data, NULL) || !json_is(&d, json_root(&d), JSON_OBJECT)) {
        unsigned flags = fail(ev, EV_BAD, ERR_UPSTREAM_PROTOCOL,
                              "the upstream sent an event that is not a JSON object");
        if (!named_error)
            return flags;
        scrub(ev->fault.message, sizeof ev->fault.message, data);
        ev->fault.err = ERR_UPSTREAM_ERROR;
        return EV_ERROR;
    }
    read_top(&d, &t);
    uint32_t error = error_of(&d, &t);
    if (error == JSON_NONE && named_error)
        error = 0;
    if (error != JSON_NONE) {
        fault_from_object(&ev->fault, provider, &d, error);
        return EV_ERROR | take_usage(s, &d, t.usage, ev);
    }
    if (s->op == OP_RESPONSES)
        return response_event(s, provider, name, &d, &t, ev);
    return chat_event(s, &d, &t, ev);
}

unsigned openai_stream_event(struct openai_stream *s, struct str provider, struct str name,
                             struct str data, struct openai_event *ev)
{
    if (s->ended)
        return ev->flags = EV_AFTER_END;
    if (!data.n)
        return ev->flags = EV_LIFECYCLE;
    if (data.p[0] == '[' && str_eq(str_trim(data), STR("[DONE]"))) {
        /* Not this surface's own end: an SDK would take it for one. */
        if (s->op == OP_RESPONSES)
            ev->flags = fail(ev, EV_ERROR, ERR_UPSTREAM_INCOMPLETE,
                             "the upstream's stream ended before it was complete");
        else
            ev->flags = EV_TERMINAL;
    } else {
        ev->flags = json_event(s, provider, name, data, ev);
    }
    if (ev->flags & EV_USAGE)
        s->told_out = estimate_tokens(&s->out);
    if (ev->flags & (EV_TERMINAL | EV_ERROR))
        s->ended = true;
    return ev->flags;
}
