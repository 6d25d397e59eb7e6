/* events_in: an upstream's stream of the Messages form, event by event.
 *
 * A block's index counts blocks, not calls, so calls are counted here.  Usage is
 * cumulative: what an event names replaces what was known.  Events and blocks
 * that are not known mean nothing and are passed over, as the documentation
 * asks; only message_stop ends the answer. */
#include "llm/anthropic/anthropic.h"

#define SIGNATURE_MAX ((size_t)256 << 10)
#define UNKNOWN_INDEX UINT32_MAX

/* What one event is read with. */
struct in {
    struct anthropic_reader *s;
    const struct json_doc *d;
    struct arena *a;
    neutral_emit *emit;
    void *ctx;
    enum issuer issuer;
};

void anthropic_reader_init(void *state, const struct link *link)
{
    struct anthropic_reader *s = state;
    if (link)
        s->link = *link;
    buf_init(&s->signature, SIGNATURE_MAX);
}

void anthropic_reader_release(void *state)
{
    struct anthropic_reader *s = state;
    buf_release(&s->signature);
}

static struct str text_of(struct in *in, uint32_t obj, struct str name)
{
    struct str s = STR_NULL;
    json_string(in->d, json_get(in->d, obj, name), in->a, &s);
    return s;
}

static bool type_is(struct in *in, uint32_t obj, struct str type)
{
    return json_string_is(in->d, json_get(in->d, obj, STR("type")), type);
}

static void emit(struct in *in, struct neutral_event ev)
{
    in->emit(in->ctx, &ev);
}

static void emit_text(struct in *in, enum event_type type, struct str text, uint32_t tool)
{
    if (!text.n)
        return;
    in->s->said = true;
    emit(in, (struct neutral_event){.type = type, .text = text, .tool = tool});
}

/* ---- blocks ---- */

static void close_block(struct in *in, unsigned at)
{
    struct anthropic_reader *s = in->s;
    struct open_block b = s->open[at];
    memmove(s->open + at, s->open + at + 1, (s->open_n - at - 1) * sizeof *s->open);
    s->open_n--;
    if (b.kind == BLOCK_TOOL)
        emit(in, (struct neutral_event){.type = EVENT_TOOL_END, .tool = b.tool});
    else if (b.kind == BLOCK_ANSWER && !b.any)
        emit_text(in, EVENT_TEXT, STR("{}"), 0);
    else if (b.kind == BLOCK_THINKING && s->signature.n)
        emit(in, (struct neutral_event){.type = EVENT_SIGNATURE,
                                        .text = buf_view(&s->signature),
                                        .issuer = (uint8_t)in->issuer});
    if (b.kind == BLOCK_THINKING)
        buf_reset(&s->signature);
}

static void close_all(struct in *in)
{
    while (in->s->open_n)
        close_block(in, 0);
}

static void open_tool(struct in *in, struct open_block *b, uint32_t block)
{
    struct anthropic_reader *s = in->s;
    struct str name = text_of(in, block, STR("name"));
    uint32_t input = json_get(in->d, block, STR("input"));
    bool answer = s->link.schema_tool && str_eq(name, STR(SCHEMA_TOOL));
    b->whole = json_is(in->d, input, JSON_OBJECT) && json_child(in->d, input) != JSON_NONE;
    if (answer) {
        b->kind = s->answers++ ? BLOCK_OTHER : BLOCK_ANSWER; /* one answer is enough */
    } else {
        b->kind = BLOCK_TOOL;
        b->tool = s->tools++;
        s->said = true;
        emit(in, (struct neutral_event){.type = EVENT_TOOL,
                                        .tool = b->tool,
                                        .id = text_of(in, block, STR("id")),
                                        .name = anthropic_name_own(name, in->a)});
    }
    if (b->whole && b->kind != BLOCK_OTHER) {
        b->any = true;
        emit_text(in, answer ? EVENT_TEXT : EVENT_TOOL_ARGS, json_raw(in->d, input), b->tool);
    }
}

static void open_block(struct in *in, uint32_t index, uint32_t block)
{
    struct anthropic_reader *s = in->s;
    struct open_block b = {.index = index};
    if (type_is(in, block, STR("text"))) {
        b.kind = BLOCK_TEXT;
        emit_text(in, EVENT_TEXT, text_of(in, block, STR("text")), 0);
    } else if (type_is(in, block, STR("tool_use"))) {
        open_tool(in, &b, block);
    } else if (type_is(in, block, STR("thinking"))) {
        b.kind = BLOCK_THINKING;
        emit_text(in, EVENT_REASONING, text_of(in, block, STR("thinking")), 0);
        buf_reset(&s->signature);
        buf_str(&s->signature, text_of(in, block, STR("signature")));
    } else if (type_is(in, block, STR("redacted_thinking"))) {
        emit(in, (struct neutral_event){.type = EVENT_REDACTED,
                                        .text = text_of(in, block, STR("data")),
                                        .issuer = (uint8_t)in->issuer});
    }
    if (s->open_n == ANTHROPIC_OPEN_MAX)
        close_block(in, 0);
    s->open[s->open_n++] = b;
}

static uint32_t index_of(struct in *in, uint32_t root)
{
    int64_t v;
    if (!json_i64(in->d, json_get(in->d, root, STR("index")), &v) || v < 0 || v >= UNKNOWN_INDEX)
        return UNKNOWN_INDEX;
    return (uint32_t)v;
}

/* Position among the open blocks, or open_n. */
static unsigned find_open(const struct anthropic_reader *s, uint32_t index)
{
    unsigned i = 0;
    while (i < s->open_n && s->open[i].index != index)
        i++;
    return i;
}

static void on_block_start(struct in *in, uint32_t root)
{
    uint32_t index = index_of(in, root);
    unsigned at = find_open(in->s, index);
    if (at < in->s->open_n)
        close_block(in, at);
    open_block(in, index, json_get(in->d, root, STR("content_block")));
}

static void on_fragment(struct in *in, struct open_block *b, uint32_t delta)
{
    struct str text = text_of(in, delta, STR("partial_json"));
    if (b->whole || !text.n)
        return;
    if (b->kind == BLOCK_TOOL)
        emit_text(in, EVENT_TOOL_ARGS, text, b->tool);
    else if (b->kind == BLOCK_ANSWER)
        emit_text(in, EVENT_TEXT, text, 0);
    b->any = true;
}

static void on_block_delta(struct in *in, uint32_t root)
{
    struct anthropic_reader *s = in->s;
    uint32_t delta = json_get(in->d, root, STR("delta"));
    unsigned at = find_open(s, index_of(in, root));
    struct open_block *b = at < s->open_n ? &s->open[at] : NULL;
    if (type_is(in, delta, STR("text_delta"))) {
        if (!b || b->kind == BLOCK_TEXT)
            emit_text(in, EVENT_TEXT, text_of(in, delta, STR("text")), 0);
    } else if (type_is(in, delta, STR("thinking_delta"))) {
        if (!b || b->kind == BLOCK_THINKING)
            emit_text(in, EVENT_REASONING, text_of(in, delta, STR("thinking")), 0);
    } else if (type_is(in, delta, STR("signature_delta"))) {
        buf_reset(&s->signature); /* the SDKs assign it too */
        buf_str(&s->signature, text_of(in, delta, STR("signature")));
    } else if (type_is(in, delta, STR("input_json_delta")) && b) {
        on_fragment(in, b, delta);
    }
}

static void on_block_stop(struct in *in, uint32_t root)
{
    unsigned at = find_open(in->s, index_of(in, root));
    if (at < in->s->open_n)
        close_block(in, at);
}

/* ---- the message ---- */

static bool read_usage(struct in *in, uint32_t obj)
{
    return usage_read_anthropic(in->d, json_get(in->d, obj, STR("usage")), &in->s->usage);
}

static void on_message_start(struct in *in, uint32_t root)
{
    struct anthropic_reader *s = in->s;
    uint32_t message = json_get(in->d, root, STR("message"));
    uint32_t content = json_get(in->d, message, STR("content"));
    bool usage = read_usage(in, message);
    close_all(in); /* of an answer that was begun anew */
    if (!s->started)
        emit(in, (struct neutral_event){.type = EVENT_START,
                                        .id = text_of(in, message, STR("id")),
                                        .model = text_of(in, message, STR("model")),
                                        .usage = usage ? &s->usage : NULL});
    s->started = true;
    s->finish_at_head = (uint8_t)anthropic_finish(text_of(in, message, STR("stop_reason")));
    /* Blocks that were there before generation went on come with the head. */
    for (uint32_t b = json_child(in->d, content); b != JSON_NONE;
         b = json_sibling(in->d, content, b)) {
        open_block(in, UNKNOWN_INDEX, b);
        close_all(in);
    }
}

static void emit_finish(struct in *in, enum finish finish, struct str stop_sequence)
{
    struct anthropic_reader *s = in->s;
    if (finish == FINISH_NONE || s->finished)
        return;
    if (finish == FINISH_TOOL_CALLS && s->answers && !s->tools)
        finish = FINISH_STOP;
    s->finished = true;
    emit(in, (struct neutral_event){
                 .type = EVENT_FINISH, .finish = (uint8_t)finish, .text = stop_sequence});
}

static void on_message_delta(struct in *in, uint32_t root)
{
    struct anthropic_reader *s = in->s;
    uint32_t delta = json_get(in->d, root, STR("delta"));
    enum finish finish = anthropic_finish(text_of(in, delta, STR("stop_reason")));
    if (finish != FINISH_NONE)
        close_all(in);
    if (finish == FINISH_REFUSAL && !s->said)
        emit_text(in, EVENT_REFUSAL,
                  text_of(in, json_get(in->d, delta, STR("stop_details")), STR("explanation")), 0);
    emit_finish(in, finish, text_of(in, delta, STR("stop_sequence")));
    if (read_usage(in, root))
        emit(in, (struct neutral_event){.type = EVENT_USAGE, .usage = &s->usage});
}

static void on_message_stop(struct in *in, uint32_t root)
{
    (void)root;
    close_all(in);
    if (!in->s->finished && in->s->finish_at_head != FINISH_NONE) { /* the head said it all */
        emit_finish(in, (enum finish)in->s->finish_at_head, STR_NULL);
        emit(in, (struct neutral_event){.type = EVENT_USAGE, .usage = &in->s->usage});
    }
    in->s->ended = true;
    emit(in, (struct neutral_event){.type = EVENT_END});
}

static void on_ping(struct in *in, uint32_t root)
{
    (void)root;
    emit(in, (struct neutral_event){.type = EVENT_PING});
}

static const struct {
    struct str type;
    void (*read)(struct in *, uint32_t root);
    bool reads_on; /* emits, and then reads on */
} events[] = {
    {STR("content_block_delta"), on_block_delta, false},
    {STR("content_block_start"), on_block_start, true},
    {STR("content_block_stop"), on_block_stop, true},
    {STR("message_start"), on_message_start, true},
    {STR("message_delta"), on_message_delta, true},
    {STR("message_stop"), on_message_stop, false},
    {STR("ping"), on_ping, false},
};

/* Who receives an event may parse something, which overwrites the thread's tape. */
static void keep_tape(struct json_doc *d, struct arena *a)
{
    struct json_entry *e = arena_alloc(a, d->n * sizeof *e);
    if (e)
        memcpy(e, d->e, d->n * sizeof *e);
    else
        d->n = 0;
    d->e = e;
    d->cap = d->n;
}

enum err anthropic_read_event(void *state, struct str provider, struct str name, struct str data,
                              struct arena *scratch, neutral_emit *emit_event, void *ctx,
                              struct fault *f)
{
    struct anthropic_reader *s = state;
    struct json_doc d;
    if (s->ended || !str_trim(data).n)
        return ERR_OK;
    enum err e = json_parse(&d, data, NULL);
    uint32_t root = e ? JSON_NONE : json_root(&d);
    if (e == ERR_NOMEM || (!e && json_is(&d, root, JSON_OBJECT) && arena_failed(scratch))) {
        fault_from_err(f, ERR_NOMEM, NULL);
        return ERR_NOMEM;
    }
    if (e || !json_is(&d, root, JSON_OBJECT))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's stream holds what is no event");
    struct in in = {s, &d, scratch, emit_event, ctx, anthropic_issuer(provider)};
    uint32_t error = json_get(&d, root, STR("error"));
    if (error != JSON_NONE && (type_is(&in, root, STR("error")) || str_eq(name, STR("error")))) {
        fault_from_object(f, provider, &d, error);
        return f->err;
    }
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (type_is(&in, root, events[i].type)) {
            if (events[i].reads_on)
                keep_tape(&d, scratch);
            events[i].read(&in, root);
            break;
        }
    if (arena_failed(scratch) || buf_failed(&s->signature)) {
        fault_from_err(f, ERR_NOMEM, NULL);
        return ERR_NOMEM;
    }
    return ERR_OK;
}
