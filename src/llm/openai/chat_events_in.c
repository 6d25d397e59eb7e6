/* chat_events_in: the stream of an upstream that speaks chat completions, or completions.
 *
 * A call is complete when its arguments are a whole JSON value and another call
 * begins, or when its choice ends: so calls may come one by one, as OpenAI sends
 * them, or interleaved, as others do.  All state is bounded: fragments pass. */
#include "core/hash.h"
#include "llm/carry.h"
#include "llm/openai/openai.h"

#define NO_INDEX UINT32_MAX

void chat_reader_init(void *state, const struct link *link)
{
}

void completions_reader_init(void *state, const struct link *link)
{
    struct chat_reader *s = state;
    s->completions = true;
}

/* One event on its way. */
struct event_in {
    struct chat_reader *s;
    const struct json_doc *d;
    struct arena *a;
    neutral_emit *emit;
    void *ctx;
    struct fault *f;
    enum err err;
    uint32_t choice;
};

static void emit(struct event_in *in, struct neutral_event ev)
{
    ev.candidate = in->choice;
    in->emit(in->ctx, &ev);
}

static void fail(struct event_in *in, enum err e, const char *text)
{
    if (!in->err)
        in->err = fault_set(in->f, e, text);
}

/* True when the value is a string that says something. */
static bool text_at(struct event_in *in, uint32_t i, struct str *out)
{
    if (!json_is(in->d, i, JSON_STRING))
        return false;
    if (!json_string(in->d, i, in->a, out)) {
        fail(in, ERR_NOMEM, err_text(ERR_NOMEM));
        return false;
    }
    return out->n > 0;
}

static void emit_text(struct event_in *in, enum event_type type, uint32_t i)
{
    struct str s;
    if (text_at(in, i, &s))
        emit(in, (struct neutral_event){.type = type, .text = s});
}

/* ---- calls ---- */

/* Follows a call's arguments: have they come to the end of an object or array? */
static void follow(struct chat_call *c, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char x = s.p[i];
        if (c->escaped)
            c->escaped = false;
        else if (c->in_string) {
            c->escaped = x == '\\';
            c->in_string = x != '"';
        } else if (x == '"')
            c->in_string = true;
        else if (x == '{' || x == '[') {
            c->begun = true;
            c->depth += c->depth < UINT16_MAX;
        } else if ((x == '}' || x == ']') && c->depth)
            c->depth--;
    }
}

static bool complete(const struct chat_call *c)
{
    return c->begun && !c->depth && !c->in_string;
}

static void end_call(struct event_in *in, struct chat_call *c)
{
    c->ended = true;
    emit(in, (struct neutral_event){.type = EVENT_TOOL_END, .tool = c->tool});
}

/* Ends the calls of this choice: all, or those that are complete. */
static void end_calls(struct event_in *in, bool all)
{
    for (uint8_t i = 0; i < in->s->calls_n; i++) {
        struct chat_call *c = &in->s->calls[i];
        if (c->choice == in->choice && !c->ended && (all || complete(c)))
            end_call(in, c);
    }
}

/* The call that a delta belongs to; NULL: a new one. Newest first. */
static struct chat_call *find_call(struct event_in *in, uint32_t index, uint32_t id, bool named)
{
    for (uint8_t i = in->s->calls_n; i-- > 0;) {
        struct chat_call *c = &in->s->calls[i];
        if (c->choice != in->choice)
            continue;
        /* one server numbers all calls 0 and sends each whole */
        bool other = named && id && id != c->id;
        if (index == NO_INDEX)
            return other || (named && !id) ? NULL : c;
        if (index == c->index)
            return other ? NULL : c;
    }
    return NULL;
}

static struct chat_call *begin_call(struct event_in *in, uint32_t index, struct str id,
                                    struct str name, uint32_t hash)
{
    struct chat_reader *s = in->s;
    if (s->calls_n == CHAT_CALLS_MAX) {
        fail(in, ERR_UPSTREAM_PROTOCOL, "the upstream's answer calls too many tools");
        return NULL;
    }
    end_calls(in, false);
    struct chat_call *c = &s->calls[s->calls_n++];
    *c = (struct chat_call){
        .index = index, .id = hash, .tool = s->tools[in->choice]++, .choice = (uint8_t)in->choice};
    if (!id.n) {
        struct str answer = STR_NULL;
        json_string(in->d, json_get(in->d, 0, STR("id")), in->a, &answer);
        id = carry_id_fit(
            arena_printf(in->a, "call_%.*s_%u_%u", STR_FMT(answer), in->choice, c->tool), 40,
            in->a);
    }
    emit(in, (struct neutral_event){.type = EVENT_TOOL, .tool = c->tool, .id = id, .name = name});
    return c;
}

static void read_call(struct event_in *in, uint32_t delta, uint32_t f, uint32_t index)
{
    struct str id = STR_NULL, name = STR_NULL, args = STR_NULL;
    uint32_t v = json_get(in->d, f, STR("arguments"));
    if (v == JSON_NONE)
        v = json_get(in->d, f, STR("input"));
    text_at(in, json_get(in->d, delta, STR("id")), &id);
    text_at(in, json_get(in->d, f, STR("name")), &name);
    uint32_t hash = id.n ? hash_crc32c(0, id.p, id.n) | 1 : 0;
    struct chat_call *c = find_call(in, index, hash, name.n > 0);
    if (!c && !(c = begin_call(in, index, id, name, hash)))
        return;
    if (json_is(in->d, v, JSON_OBJECT))
        args = json_raw(in->d, v);
    else if (!text_at(in, v, &args))
        return;
    if (c->ended) {
        if (str_trim(args).n)
            fail(in, ERR_UPSTREAM_PROTOCOL, "the upstream went on with a call that was complete");
        return;
    }
    follow(c, args);
    emit(in, (struct neutral_event){.type = EVENT_TOOL_ARGS, .tool = c->tool, .text = args});
}

static void read_calls(struct event_in *in, uint32_t delta)
{
    const struct json_doc *d = in->d;
    uint32_t old = json_get(d, delta, STR("function_call"));
    uint32_t calls = json_get(d, delta, STR("tool_calls"));
    OPENAI_EACH(d, c, calls)
    {
        int64_t index = NO_INDEX;
        uint32_t f = json_get(d, c, STR("function"));
        json_i64(d, json_get(d, c, STR("index")), &index);
        if (f == JSON_NONE)
            f = json_get(d, c, STR("custom"));
        if (in->err)
            return;
        if (index < 0 || index > NO_INDEX)
            fail(in, ERR_UPSTREAM_PROTOCOL, "the upstream's answer numbers a call wrongly");
        else
            read_call(in, c, f, (uint32_t)index);
    }
    /* llama-cpp-python says the same call in both forms */
    if (json_child(d, calls) == JSON_NONE && json_is(d, old, JSON_OBJECT))
        read_call(in, old, old, NO_INDEX - 1);
}

/* ---- deltas ---- */

/* Signatures and opaque blocks; text only where no plain field has it. */
static void read_details(struct event_in *in, uint32_t list, bool texts)
{
    const struct json_doc *d = in->d;
    OPENAI_EACH(d, e, list)
    {
        struct neutral_event ev = {.issuer = (uint8_t)chat_issuer(d, e)};
        if (texts)
            emit_text(in, EVENT_REASONING, json_get(d, e, STR("text")));
        if (texts)
            emit_text(in, EVENT_REASONING, json_get(d, e, STR("summary")));
        text_at(in, json_get(d, e, STR("id")), &ev.id);
        ev.type = EVENT_SIGNATURE;
        if (text_at(in, json_get(d, e, STR("signature")), &ev.text))
            emit(in, ev);
        ev.type = EVENT_REDACTED;
        if (text_at(in, json_get(d, e, STR("data")), &ev.text))
            emit(in, ev);
    }
}

static void read_content(struct event_in *in, uint32_t content)
{
    emit_text(in, EVENT_TEXT, content);
    if (!json_is(in->d, content, JSON_ARRAY))
        return;
    OPENAI_EACH(in->d, e, content)
    {
        emit_text(in, EVENT_TEXT, json_get(in->d, e, STR("text")));
    }
}

static void read_delta(struct event_in *in, uint32_t delta)
{
    const struct json_doc *d = in->d;
    uint32_t reasoning = json_get(d, delta, STR("reasoning_content"));
    if (!json_is(d, reasoning, JSON_STRING))
        reasoning = json_get(d, delta, STR("reasoning"));
    emit_text(in, EVENT_REASONING, reasoning);
    read_details(in, json_get(d, delta, STR("reasoning_details")),
                 !json_is(d, reasoning, JSON_STRING));
    read_content(in, json_get(d, delta, STR("content")));
    emit_text(in, EVENT_TEXT, json_get(d, json_get(d, delta, STR("audio")), STR("transcript")));
    emit_text(in, EVENT_REFUSAL, json_get(d, delta, STR("refusal")));
    read_calls(in, delta);
}

static void read_finish(struct event_in *in, uint32_t reason)
{
    struct chat_reader *s = in->s;
    uint64_t bit = UINT64_C(1) << in->choice % 64, *word = &s->finished[in->choice / 64];
    if (!json_is(in->d, reason, JSON_STRING) || in->err)
        return;
    if (json_string_is(in->d, reason, STR("insufficient_system_resource"))) {
        fail(in, ERR_UPSTREAM_ERROR, OPENAI_STARVED);
        return;
    }
    if (*word & bit)
        return; /* some servers say it twice */
    *word |= bit;
    end_calls(in, true);
    emit(in, (struct neutral_event){
                 .type = EVENT_FINISH,
                 .finish = (uint8_t)chat_finish(in->d, reason, s->tools[in->choice] > 0)});
}

static void read_choice(struct event_in *in, uint32_t choice)
{
    const struct json_doc *d = in->d;
    int64_t index = 0;
    uint32_t logprobs = json_get(d, choice, STR("logprobs"));
    json_i64(d, json_get(d, choice, STR("index")), &index);
    if (index < 0 || index >= CHAT_CHOICES_MAX) {
        fail(in, ERR_UPSTREAM_PROTOCOL, "the upstream's answer numbers a choice wrongly");
        return;
    }
    in->choice = (uint32_t)index;
    if (in->s->completions)
        emit_text(in, EVENT_TEXT, json_get(d, choice, STR("text")));
    else
        read_delta(in, json_get(d, choice, STR("delta")));
    if (json_is(d, logprobs, JSON_OBJECT))
        emit(in, (struct neutral_event){.type = EVENT_LOGPROBS, .text = json_raw(d, logprobs)});
    read_finish(in, json_get(d, choice, STR("finish_reason")));
}

/* ---- events ---- */

static void start(struct event_in *in)
{
    struct neutral_event ev = {.type = EVENT_START};
    if (in->s->started)
        return;
    in->s->started = true;
    text_at(in, json_get(in->d, 0, STR("id")), &ev.id);
    text_at(in, json_get(in->d, 0, STR("model")), &ev.model);
    in->choice = 0;
    emit(in, ev);
}

static void read_chunk(struct event_in *in)
{
    const struct json_doc *d = in->d;
    uint32_t choices = json_get(d, 0, STR("choices"));
    struct usage usage;
    bool any = json_is(d, choices, JSON_ARRAY) && json_child(d, choices) != JSON_NONE;
    bool used = usage_read_openai(d, json_get(d, 0, STR("usage")), &usage);
    if (any || used)
        start(in);
    if (any) {
        OPENAI_EACH(d, c, choices)
        {
            if (in->err)
                return;
            read_choice(in, c);
        }
    }
    in->choice = 0;
    if (used && !in->err)
        emit(in, (struct neutral_event){.type = EVENT_USAGE, .usage = &usage});
}

static void read_end(struct event_in *in)
{
    for (in->choice = 0; in->choice < CHAT_CHOICES_MAX; in->choice++)
        if (in->s->tools[in->choice])
            end_calls(in, true);
    in->choice = 0;
    emit(in, (struct neutral_event){.type = EVENT_END});
}

enum err chat_read_event(void *state, struct str provider, struct str name, struct str data,
                         struct arena *scratch, neutral_emit *to, void *ctx, struct fault *f)
{
    struct json_doc d;
    struct event_in in = {
        .s = state, .d = &d, .a = scratch, .emit = to, .ctx = ctx, .f = f, .err = ERR_OK};
    bool named_error = str_eq(name, STR("error"));
    data = str_trim(data);
    if (!data.n)
        return ERR_OK;
    if (str_eq(data, STR("[DONE]"))) {
        read_end(&in);
        return ERR_OK;
    }
    enum err e = json_parse(&d, data, NULL);
    if (e == ERR_NOMEM)
        return fault_set(f, e, err_text(e));
    if (e || !json_is(&d, 0, JSON_OBJECT))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                         "the upstream sent an event that is not a JSON object");
    uint32_t error = json_get(&d, 0, STR("error"));
    if (named_error || (error != JSON_NONE && !json_is(&d, error, JSON_NULL)) ||
        json_string_is(&d, json_get(&d, 0, STR("object")), STR("error"))) {
        fault_from_object(f, provider, &d, error == JSON_NONE ? 0 : error);
        return f->err;
    }
    read_chunk(&in);
    return in.err;
}
