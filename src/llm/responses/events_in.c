/* responses/events_in: the events of a Responses stream as what they mean. Unknown ones mean
 * nothing.
 *
 * An emitted event may end in a writer that parses JSON on the thread's tape:
 * so everything is read out of an event before anything of it is emitted. */
#include "llm/responses/responses.h"

#include "llm/carry.h"

enum { THOUGHT_NONE, THOUGHT_SUMMARY, THOUGHT_TEXT };

/* One event while it is read. */
struct reading {
    struct responses_reader *s;
    const struct json_doc *d;
    struct str provider;
    struct arena *a;
    neutral_emit *emit;
    void *ctx;
    struct fault *f;
};

void responses_reader_init(void *state, const struct link *link)
{
    (void)state, (void)link;
}

static void emit(const struct reading *r, const struct neutral_event *ev)
{
    r->emit(r->ctx, ev);
}

static void emit_text(const struct reading *r, enum event_type type, struct str text)
{
    if (text.n)
        emit(r, &(struct neutral_event){.type = type, .text = text});
}

static struct str member(const struct reading *r, uint32_t obj, struct str name)
{
    struct str s = STR_NULL;
    json_string(r->d, json_get(r->d, obj, name), r->a, &s);
    return s;
}

static uint32_t output_index(const struct reading *r)
{
    int64_t i = 0;
    json_i64(r->d, json_get(r->d, json_root(r->d), STR("output_index")), &i);
    return (uint32_t)i;
}

static bool is_item(const struct reading *r, uint32_t item, struct str type)
{
    return json_string_is(r->d, json_get(r->d, item, STR("type")), type);
}

static enum err fail(const struct reading *r, const char *why)
{
    return fault_set(r->f, ERR_UPSTREAM_PROTOCOL, why);
}

/* ---- calls ---- */

static struct open_call *call_at(const struct reading *r, uint32_t index)
{
    for (unsigned i = 0; i < RESPONSES_OPEN_CALLS; i++)
        if (r->s->calls[i].open && r->s->calls[i].output_index == index)
            return &r->s->calls[i];
    return NULL;
}

/* A call begins with this item. NULL: too many are open. */
static struct open_call *call_begins(const struct reading *r, uint32_t item)
{
    struct open_call *c = r->s->calls, *end = c + RESPONSES_OPEN_CALLS;
    while (c < end && c->open)
        c++;
    if (c == end)
        return NULL;
    *c = (struct open_call){.output_index = output_index(r),
                            .tool = r->s->tools++,
                            .open = true,
                            .custom = is_item(r, item, STR("custom_tool_call"))};
    struct neutral_event ev = {.type = EVENT_TOOL,
                               .tool = c->tool,
                               .id = member(r, item, STR("call_id")),
                               .name = member(r, item, STR("name"))};
    emit(r, &ev);
    return c;
}

static void call_args(const struct reading *r, struct open_call *c, struct str text)
{
    struct neutral_event ev = {.type = EVENT_TOOL_ARGS, .tool = c->tool, .text = text};
    if (!text.n)
        return;
    c->args = true;
    emit(r, &ev);
}

/* A fragment of a custom tool's free text, as one of {"input": …}. */
static void custom_args(const struct reading *r, struct open_call *c, struct str text, bool last)
{
    struct buf b;
    buf_init(&b, text.n * 6 + 64);
    if (!c->args)
        buf_lit(&b, "{\"input\":\"");
    json_escape(&b, text);
    if (last)
        buf_lit(&b, "\"}");
    struct str args = arena_dup(r->a, buf_view(&b));
    if (buf_failed(&b))
        r->a->failed = true;
    buf_release(&b);
    call_args(r, c, args);
}

/* all: the arguments as a whole, should no fragment have come. */
static void call_ends(const struct reading *r, struct open_call *c, struct str all)
{
    if (c->custom)
        custom_args(r, c, c->args ? STR_NULL : all, true);
    else if (!c->args)
        call_args(r, c, all);
    c->open = false;
    emit(r, &(struct neutral_event){.type = EVENT_TOOL_END, .tool = c->tool});
}

static enum err on_args_delta(struct reading *r)
{
    struct open_call *c = call_at(r, output_index(r));
    struct str text = member(r, json_root(r->d), STR("delta"));
    if (c && c->custom)
        custom_args(r, c, text, false);
    else if (c)
        call_args(r, c, text);
    return ERR_OK;
}

static enum err on_args_done(struct reading *r)
{
    struct open_call *c = call_at(r, output_index(r));
    uint32_t root = json_root(r->d);
    struct str all = member(r, root, STR("arguments"));
    if (c && c->custom)
        all = member(r, root, STR("input"));
    if (c)
        call_ends(r, c, all);
    return ERR_OK;
}

/* ---- items ---- */

static bool is_call(const struct reading *r, uint32_t item)
{
    return is_item(r, item, STR("function_call")) || is_item(r, item, STR("custom_tool_call"));
}

static enum err on_item_added(struct reading *r)
{
    uint32_t item = json_get(r->d, json_root(r->d), STR("item"));
    r->s->thought = THOUGHT_NONE;
    r->s->part_text = false;
    if (!is_call(r, item))
        return ERR_OK;
    return call_begins(r, item) ? ERR_OK : fail(r, "the upstream has too many calls open at once");
}

static enum err reasoning_done(struct reading *r, uint32_t item)
{
    struct part p = {.type = PART_REASONING};
    bool told = r->s->thought != THOUGHT_NONE;
    if (!responses_read_reasoning(r->d, item, r->a, &p))
        return ERR_OK;
    if (!told)
        emit_text(r, EVENT_REASONING, p.text);
    struct neutral_event ev = {.type = p.redacted ? EVENT_REDACTED : EVENT_SIGNATURE,
                               .issuer = p.issuer,
                               .text = p.redacted ? p.data : p.signature,
                               .id = p.id};
    if (ev.text.n)
        emit(r, &ev);
    return ERR_OK;
}

static enum err on_item_done(struct reading *r)
{
    uint32_t item = json_get(r->d, json_root(r->d), STR("item"));
    if (is_item(r, item, STR("reasoning")))
        return reasoning_done(r, item);
    if (!is_call(r, item))
        return ERR_OK;
    struct str all = member(
        r, item, is_item(r, item, STR("custom_tool_call")) ? STR("input") : STR("arguments"));
    struct open_call *c = call_at(r, output_index(r));
    if (c)
        call_ends(r, c, all);
    return ERR_OK;
}

/* ---- texts ---- */

static enum err on_part_added(struct reading *r)
{
    r->s->part_text = false;
    return ERR_OK;
}

static enum err on_text_delta(struct reading *r)
{
    uint32_t root = json_root(r->d), list = json_get(r->d, root, STR("logprobs"));
    struct str text = member(r, root, STR("delta")), logprobs = STR_NULL;
    if (json_is(r->d, list, JSON_ARRAY) && json_child(r->d, list) != JSON_NONE)
        logprobs = arena_printf(r->a, "{\"content\":%.*s,\"refusal\":null}",
                                STR_FMT(json_raw(r->d, list)));
    r->s->part_text = r->s->part_text || text.n;
    emit_text(r, EVENT_TEXT, text);
    emit_text(r, EVENT_LOGPROBS, logprobs);
    return ERR_OK;
}

static enum err on_text_done(struct reading *r)
{
    if (!r->s->part_text)
        emit_text(r, EVENT_TEXT, member(r, json_root(r->d), STR("text")));
    r->s->part_text = true;
    return ERR_OK;
}

static enum err on_refusal_delta(struct reading *r)
{
    struct str text = member(r, json_root(r->d), STR("delta"));
    r->s->part_text = r->s->part_text || text.n;
    emit_text(r, EVENT_REFUSAL, text);
    return ERR_OK;
}

static enum err on_refusal_done(struct reading *r)
{
    if (!r->s->part_text)
        emit_text(r, EVENT_REFUSAL, member(r, json_root(r->d), STR("refusal")));
    r->s->part_text = true;
    return ERR_OK;
}

/* An item may give its reasoning itself and a summary of it: the first that comes is passed on. */
static void thought(struct reading *r, uint8_t which)
{
    if (r->s->thought == THOUGHT_NONE)
        r->s->thought = which;
    if (r->s->thought == which)
        emit_text(r, EVENT_REASONING, member(r, json_root(r->d), STR("delta")));
}

static enum err on_summary_delta(struct reading *r)
{
    thought(r, THOUGHT_SUMMARY);
    return ERR_OK;
}

static enum err on_reasoning_delta(struct reading *r)
{
    thought(r, THOUGHT_TEXT);
    return ERR_OK;
}

static enum err on_summary_part(struct reading *r)
{
    if (r->s->thought == THOUGHT_SUMMARY)
        emit_text(r, EVENT_REASONING, STR("\n\n"));
    return ERR_OK;
}

/* ---- the response ---- */

static enum err on_created(struct reading *r)
{
    uint32_t response = json_get(r->d, json_root(r->d), STR("response"));
    if (r->s->started)
        return ERR_OK;
    r->s->started = true;
    struct neutral_event ev = {.type = EVENT_START,
                               .id = member(r, response, STR("id")),
                               .model = member(r, response, STR("model"))};
    emit(r, &ev);
    return ERR_OK;
}

static void emit_call(struct reading *r, const struct part *p)
{
    struct neutral_event ev = {
        .type = EVENT_TOOL, .tool = r->s->tools++, .id = p->id, .name = p->name};
    emit(r, &ev);
    ev = (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = ev.tool, .text = p->args};
    if (p->args.n)
        emit(r, &ev);
    emit(r, &(struct neutral_event){.type = EVENT_TOOL_END, .tool = ev.tool});
}

/* A server that sends only the first and the last event: all is in the last. */
static void emit_parts(struct reading *r, const struct part *p)
{
    static const enum event_type types[] = {[PART_TEXT] = EVENT_TEXT,
                                            [PART_REASONING] = EVENT_REASONING,
                                            [PART_REFUSAL] = EVENT_REFUSAL};
    for (; p; p = p->next) {
        if (p->type == PART_TOOL_USE) {
            emit_call(r, p);
            continue;
        }
        emit_text(r, types[p->type], p->text);
        struct neutral_event ev = {.type = p->redacted ? EVENT_REDACTED : EVENT_SIGNATURE,
                                   .issuer = p->issuer,
                                   .text = p->redacted ? p->data : p->signature,
                                   .id = p->id};
        if (ev.text.n)
            emit(r, &ev);
    }
}

/* Calls that were begun and never ended: the upstream is done with them all the same. */
static void end_calls(struct reading *r)
{
    for (unsigned i = 0; i < RESPONSES_OPEN_CALLS; i++)
        if (r->s->calls[i].open)
            call_ends(r, &r->s->calls[i], STR_NULL);
}

static enum err on_done(struct reading *r)
{
    uint32_t response = json_get(r->d, json_root(r->d), STR("response"));
    struct neutral_reply reply = {0};
    enum err e = responses_read_object(&reply, r->d, response, r->provider, r->a, r->f);
    if (e)
        return e;
    if (!r->s->started) {
        struct neutral_event ev = {.type = EVENT_START, .id = reply.id, .model = reply.model};
        r->s->started = true;
        emit(r, &ev);
    }
    end_calls(r);
    if (!r->s->any)
        emit_parts(r, reply.candidates->parts);
    if (reply.has_usage)
        emit(r, &(struct neutral_event){.type = EVENT_USAGE, .usage = &reply.usage});
    emit(r, &(struct neutral_event){.type = EVENT_FINISH, .finish = reply.candidates->finish});
    emit(r, &(struct neutral_event){.type = EVENT_END});
    return ERR_OK;
}

static enum err on_failed(struct reading *r)
{
    uint32_t response = json_get(r->d, json_root(r->d), STR("response"));
    uint32_t error = json_get(r->d, response, STR("error"));
    if (error == JSON_NONE || json_is(r->d, error, JSON_NULL))
        return fail(r, "the upstream's response failed");
    fault_from_object(r->f, r->provider, r->d, error);
    return r->f->err;
}

/* As documented the error's members stand in the event itself; as sent, in an object in it. */
static enum err on_error(struct reading *r)
{
    uint32_t root = json_root(r->d), error = json_get(r->d, root, STR("error"));
    bool inside = json_is(r->d, error, JSON_OBJECT) || json_is(r->d, error, JSON_STRING);
    fault_from_object(r->f, r->provider, r->d, inside ? error : root);
    return r->f->err;
}

/* ---- the table ---- */

static const struct {
    struct str type;
    enum err (*read)(struct reading *r);
    bool output; /* it is, or comes with, output */
} rows[] = {
    {STR("response.output_text.delta"), on_text_delta, true},
    {STR("response.function_call_arguments.delta"), on_args_delta, true},
    {STR("response.reasoning_summary_text.delta"), on_summary_delta, true},
    {STR("response.reasoning_text.delta"), on_reasoning_delta, true},
    {STR("response.refusal.delta"), on_refusal_delta, true},
    {STR("response.custom_tool_call_input.delta"), on_args_delta, true},
    {STR("response.output_item.added"), on_item_added, true},
    {STR("response.output_item.done"), on_item_done, true},
    {STR("response.content_part.added"), on_part_added, true},
    {STR("response.output_text.done"), on_text_done, true},
    {STR("response.refusal.done"), on_refusal_done, true},
    {STR("response.function_call_arguments.done"), on_args_done, true},
    {STR("response.custom_tool_call_input.done"), on_args_done, true},
    {STR("response.reasoning_summary_part.added"), on_summary_part, true},
    {STR("response.created"), on_created, false},
    {STR("response.in_progress"), on_created, false},
    {STR("response.queued"), on_created, false},
    {STR("response.completed"), on_done, false},
    {STR("response.incomplete"), on_done, false},
    {STR("response.failed"), on_failed, false},
    {STR("error"), on_error, false},
};

enum err responses_read_event(void *state, struct str provider, struct str name, struct str data,
                              struct arena *scratch, neutral_emit *emit_to, void *ctx,
                              struct fault *f)
{
    struct json_doc d;
    struct reading r = {.s = state,
                        .d = &d,
                        .provider = provider,
                        .a = scratch,
                        .emit = emit_to,
                        .ctx = ctx,
                        .f = f};
    data = str_trim(data);
    if (!data.n)
        return ERR_OK;
    enum err e = json_parse(&d, data, NULL);
    if (e == ERR_NOMEM) {
        fault_from_err(f, e, NULL);
        return e;
    }
    if (e || !json_is(&d, json_root(&d), JSON_OBJECT))
        return fail(&r, "the upstream sent an event that is no JSON object");
    struct str type = member(&r, json_root(&d), STR("type"));
    if (!type.n)
        type = name;
    if (!type.n && json_get(&d, json_root(&d), STR("error")) != JSON_NONE)
        type = STR("error");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_eq(rows[i].type, type))
            continue;
        r.s->any = r.s->any || rows[i].output;
        e = rows[i].read(&r);
        if (!e && arena_failed(scratch))
            e = ERR_NOMEM;
        if (e == ERR_NOMEM)
            fault_from_err(f, e, NULL);
        return e;
    }
    return type.n ? ERR_OK : fail(&r, "the upstream sent an event without a type");
}
