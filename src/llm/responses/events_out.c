/* responses/events_out: a stream as the Responses form has it.
 *
 * Output items stand in a queue; only the front one is on the wire.  What comes
 * for those behind it (parallel calls whose fragments are mixed) is held until
 * their turn.  The terminal event repeats the whole answer, so every text is
 * kept to the end, within a bound: past it the writer latches, and so does
 * every buffer that it is given from then on. */
#include "llm/responses/responses.h"

#include "core/alloc.h"
#include "llm/carry.h"

#define HELD_MAX  ((size_t)8 << 20) /* texts, arguments and finished items in all */
#define ITEMS_MAX 256               /* in the queue */

enum item_type { ITEM_REASONING, ITEM_TEXT, ITEM_REFUSAL, ITEM_CALL };

struct item {
    struct item *next;
    enum item_type type;
    bool ended;     /* nothing more comes for it */
    bool part_open; /* its content or summary part is on the wire */
    uint32_t index, tool;
    char id[RESPONSES_ID_MAX];
    struct buf text;     /* or arguments */
    struct buf sealed;   /* reasoning: encrypted_content */
    struct buf logprobs; /* raw, comma-separated */
    struct buf call_id, name;
};

static const char *const prefixes[] = {
    [ITEM_REASONING] = "rs", [ITEM_TEXT] = "msg", [ITEM_REFUSAL] = "msg", [ITEM_CALL] = "fc"};

/* ---- life ---- */

void responses_writer_init(void *state, const struct answer *as)
{
    struct responses_writer *s = state;
    str_copy(s->request_id, sizeof s->request_id, as->request_id);
    str_copy(s->model, sizeof s->model, as->model);
    s->created_s = as->created_s;
    buf_init(&s->done, HELD_MAX);
}

static void item_free(struct item *it)
{
    buf_release(&it->text);
    buf_release(&it->sealed);
    buf_release(&it->logprobs);
    buf_release(&it->call_id);
    buf_release(&it->name);
    mem_free(it);
}

void responses_writer_release(void *state)
{
    struct responses_writer *s = state;
    while (s->front) {
        struct item *it = s->front;
        s->front = it->next;
        item_free(it);
    }
    s->back = NULL;
    buf_release(&s->done);
}

uint32_t responses_writer_sequence(const void *state)
{
    return ((const struct responses_writer *)state)->sequence;
}

size_t responses_writer_held(const void *state)
{
    const struct responses_writer *s = state;
    return s->held + s->done.n;
}

/* Appends to one of an item's buffers, within what may be held in all. */
static void hold(struct responses_writer *s, struct buf *b, struct str text)
{
    if (s->held + s->done.n + text.n > HELD_MAX) {
        s->failed = true;
        return;
    }
    buf_str(b, text);
    s->held += text.n;
    s->failed = s->failed || buf_failed(b);
}

/* ---- events ---- */

struct event {
    struct buf *out;
    struct json_writer w;
};

static void event_open(struct event *e, struct responses_writer *s, struct buf *out,
                       const char *type)
{
    e->out = out;
    buf_lit(out, "event: ");
    buf_str(out, str_c(type));
    buf_lit(out, "\ndata: ");
    json_writer_init(&e->w, out);
    json_open_object(&e->w);
    json_field_string(&e->w, "type", str_c(type));
    json_field_i64(&e->w, "sequence_number", s->sequence++);
}

static void event_close(struct event *e)
{
    json_close_object(&e->w);
    buf_lit(e->out, "\n\n");
}

/* An event about an item: by output_index alone, or by its id and the index of its part too. */
static void event_of_item(struct event *e, struct responses_writer *s, struct buf *out,
                          const char *type, const struct item *it)
{
    event_open(e, s, out, type);
    json_field_i64(&e->w, "output_index", it->index);
}

static void event_of_part(struct event *e, struct responses_writer *s, struct buf *out,
                          const char *type, const struct item *it)
{
    event_open(e, s, out, type);
    json_field_string(&e->w, "item_id", str_c(it->id));
    json_field_i64(&e->w, "output_index", it->index);
    if (it->type == ITEM_REASONING)
        json_field_i64(&e->w, "summary_index", 0);
    else if (it->type != ITEM_CALL)
        json_field_i64(&e->w, "content_index", 0);
}

static void response_event(struct responses_writer *s, struct buf *out, const char *type,
                           struct str status, struct str reason)
{
    struct event e;
    struct response_head h = {
        .id = str_c(s->ids.response),
        .model = str_c(s->model),
        .created_s = s->created_s,
        .status = status,
        .reason = reason,
        .items = buf_view(&s->done),
        .usage = s->ended && s->has_usage ? &s->usage : NULL,
    };
    event_open(&e, s, out, type);
    json_key(&e.w, STR("response"));
    responses_put_response(&e.w, &h);
    event_close(&e);
}

static void start(struct responses_writer *s, struct str id, struct str model, struct buf *out)
{
    if (s->started)
        return;
    s->started = true;
    responses_ids_init(&s->ids, str_c(s->request_id), id);
    if (model.n)
        str_copy(s->model, sizeof s->model, model);
    response_event(s, out, "response.created", STR("in_progress"), STR_NULL);
    response_event(s, out, "response.in_progress", STR("in_progress"), STR_NULL);
}

/* ---- the front item on the wire ---- */

static void put_part(struct json_writer *w, const struct item *it, struct str text)
{
    json_key(w, STR("part"));
    if (it->type == ITEM_REASONING) {
        json_open_object(w);
        json_field_string(w, "type", STR("summary_text"));
        json_field_string(w, "text", text);
        json_close_object(w);
        return;
    }
    responses_put_content(w, it->type == ITEM_REFUSAL, text,
                          text.n ? buf_view(&it->logprobs) : STR_NULL);
}

static void put_item(struct json_writer *w, const struct item *it, struct str text,
                     struct str status, bool done)
{
    switch (it->type) {
    case ITEM_REASONING:
        responses_put_reasoning(w, str_c(it->id), text, done ? buf_view(&it->sealed) : STR_NULL);
        break;
    case ITEM_CALL:
        responses_put_call(w, str_c(it->id), buf_view(&it->call_id), buf_view(&it->name), text,
                           status);
        break;
    default:
        responses_open_message(w, str_c(it->id), status);
        if (done)
            responses_put_content(w, it->type == ITEM_REFUSAL, text, buf_view(&it->logprobs));
        responses_close_message(w);
    }
}

static void item_open(struct responses_writer *s, const struct item *it, struct buf *out)
{
    struct event e;
    event_of_item(&e, s, out, "response.output_item.added", it);
    json_key(&e.w, STR("item"));
    put_item(&e.w, it, STR(""), STR("in_progress"), false);
    event_close(&e);
}

/* What an item's texts are called on the wire. */
static const struct {
    const char *part_added, *delta, *done, *part_done;
    struct str text; /* the member of the event that says all of it */
} words[] = {
    [ITEM_REASONING] = {"response.reasoning_summary_part.added",
                        "response.reasoning_summary_text.delta",
                        "response.reasoning_summary_text.done",
                        "response.reasoning_summary_part.done", STR("text")},
    [ITEM_TEXT] = {"response.content_part.added", "response.output_text.delta",
                   "response.output_text.done", "response.content_part.done", STR("text")},
    [ITEM_REFUSAL] = {"response.content_part.added", "response.refusal.delta",
                      "response.refusal.done", "response.content_part.done", STR("refusal")},
    [ITEM_CALL] = {NULL, "response.function_call_arguments.delta",
                   "response.function_call_arguments.done", NULL, STR("arguments")},
};

static void item_delta(struct responses_writer *s, struct item *it, struct str text,
                       struct str logprobs, struct buf *out)
{
    struct event e;
    if (!text.n && !logprobs.n)
        return;
    if (!it->part_open && words[it->type].part_added) {
        event_of_part(&e, s, out, words[it->type].part_added, it);
        put_part(&e.w, it, STR(""));
        event_close(&e);
    }
    it->part_open = true;
    event_of_part(&e, s, out, words[it->type].delta, it);
    json_field_string(&e.w, "delta", text);
    if (it->type == ITEM_TEXT) {
        json_key(&e.w, STR("logprobs"));
        responses_put_short_logprobs(&e.w, logprobs);
    }
    event_close(&e);
}

static void item_done(struct responses_writer *s, struct item *it, struct str status,
                      struct buf *out)
{
    struct event e;
    struct str text = buf_view(&it->text);
    if (it->part_open) {
        event_of_part(&e, s, out, words[it->type].done, it);
        json_key(&e.w, words[it->type].text);
        json_put_string(&e.w, text);
        if (it->type == ITEM_TEXT) {
            json_key(&e.w, STR("logprobs"));
            responses_put_short_logprobs(&e.w, buf_view(&it->logprobs));
        }
        event_close(&e);
        if (words[it->type].part_done) {
            event_of_part(&e, s, out, words[it->type].part_done, it);
            put_part(&e.w, it, text);
            event_close(&e);
        }
    }
    struct json_writer w;
    size_t at = s->done.n ? s->done.n + 1 : 0;
    if (at)
        buf_char(&s->done, ',');
    json_writer_init(&w, &s->done);
    put_item(&w, it, text, status, true);
    s->failed = s->failed || buf_failed(&s->done);
    if (s->failed)
        return;
    event_of_item(&e, s, out, "response.output_item.done", it);
    json_key(&e.w, STR("item"));
    json_put_raw(&e.w, str_from(buf_view(&s->done), at));
    event_close(&e);
}

/* ---- the queue ---- */

/* Puts ended items at the front behind us, and the next one on the wire. status: of the last. */
static void advance(struct responses_writer *s, struct str status, struct buf *out)
{
    while (s->front && s->front->ended && !s->failed) {
        struct item *it = s->front;
        item_done(s, it, it->next ? STR("completed") : status, out);
        s->front = it->next;
        if (!s->front)
            s->back = NULL;
        s->waiting--;
        s->held -= it->text.n + it->sealed.n + it->logprobs.n + it->call_id.n + it->name.n;
        item_free(it);
        if (s->front) {
            item_open(s, s->front, out);
            item_delta(s, s->front, buf_view(&s->front->text), buf_view(&s->front->logprobs), out);
        }
    }
}

/* A new item at the end of the queue: whatever text stood there is complete. */
static struct item *item_new(struct responses_writer *s, enum item_type type, struct buf *out)
{
    if (s->back && s->back->type != ITEM_CALL)
        s->back->ended = true;
    advance(s, STR("completed"), out);
    struct item *it = s->waiting < ITEMS_MAX ? mem_zalloc(sizeof *it) : NULL;
    if (!it) {
        s->failed = true;
        return NULL;
    }
    it->type = type;
    it->index = s->items_n++;
    responses_item_id(&s->ids, prefixes[type], it->index, it->id);
    buf_init(&it->text, HELD_MAX);
    buf_init(&it->sealed, HELD_MAX);
    buf_init(&it->logprobs, HELD_MAX);
    buf_init(&it->call_id, HELD_MAX);
    buf_init(&it->name, HELD_MAX);
    if (s->back)
        s->back->next = it;
    else
        s->front = it;
    s->back = it;
    s->waiting++;
    return it;
}

/* Text for an item, on the wire at once where it is its turn. */
static void item_add(struct responses_writer *s, struct item *it, struct str text, struct buf *out)
{
    hold(s, &it->text, text);
    if (it == s->front && !s->failed)
        item_delta(s, it, text, STR_NULL, out);
}

static struct item *open_call(const struct responses_writer *s, uint32_t tool)
{
    for (struct item *it = s->front; it; it = it->next)
        if (it->type == ITEM_CALL && it->tool == tool && !it->ended)
            return it;
    return NULL;
}

/* ---- what happens ---- */

static struct item *text_item(struct responses_writer *s, enum item_type type, struct buf *out)
{
    if (s->back && s->back->type == type && !s->back->ended)
        return s->back;
    struct item *it = item_new(s, type, out);
    if (it && it == s->front)
        item_open(s, it, out);
    return it;
}

static void on_text(struct responses_writer *s, enum item_type type, struct str text,
                    struct buf *out)
{
    struct item *it = text.n ? text_item(s, type, out) : NULL;
    if (it)
        item_add(s, it, text, out);
}

/* Of the reasoning just written; of none, in an item of its own. */
static void on_sealed(struct responses_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct item *it = s->back;
    struct arena a;
    bool redacted = ev->type == EVENT_REDACTED;
    if (!ev->text.n)
        return;
    if (redacted || !it || it->type != ITEM_REASONING || it->ended) {
        it = item_new(s, ITEM_REASONING, out);
        if (it && it == s->front)
            item_open(s, it, out);
    }
    if (!it)
        return;
    arena_init(&a, HELD_MAX);
    hold(s, &it->sealed, responses_seal(ev->text, (enum issuer)ev->issuer, redacted, &a));
    s->failed = s->failed || arena_failed(&a);
    arena_release(&a);
    it->ended = true;
    advance(s, STR("completed"), out);
}

static void on_tool(struct responses_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct arena a;
    struct item *it = item_new(s, ITEM_CALL, out);
    if (!it)
        return;
    it->tool = ev->tool;
    arena_init(&a, (size_t)1 << 20);
    struct str id = ev->id.n ? ev->id : arena_printf(&a, "call_%s%02x", s->ids.hex, it->index);
    hold(s, &it->call_id, carry_id_join(id, (enum issuer)ev->issuer, ev->text, &a));
    hold(s, &it->name, ev->name);
    s->failed = s->failed || arena_failed(&a);
    arena_release(&a);
    if (it == s->front)
        item_open(s, it, out);
}

static void on_args(struct responses_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct item *it = open_call(s, ev->tool);
    if (it)
        item_add(s, it, ev->text, out);
}

static void call_ends(struct responses_writer *s, struct item *it, struct buf *out)
{
    if (!it->text.n)
        item_add(s, it, STR("{}"), out);
    it->ended = true;
}

static void on_tool_end(struct responses_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct item *it = open_call(s, ev->tool);
    if (!it)
        return;
    call_ends(s, it, out);
    /* The last one may yet turn out to be cut: its status is known at the end. */
    if (it->next)
        advance(s, STR("completed"), out);
}

static void on_logprobs(struct responses_writer *s, struct str raw, struct buf *out)
{
    struct str elements = responses_logprobs(raw);
    struct item *it = elements.n ? text_item(s, ITEM_TEXT, out) : NULL;
    if (!it)
        return;
    if (it->logprobs.n)
        hold(s, &it->logprobs, STR(","));
    size_t from = it->logprobs.n;
    hold(s, &it->logprobs, elements);
    for (size_t i = from; i < it->logprobs.n; i++) /* JSON on one line, for it goes into an event */
        if (it->logprobs.p[i] == '\n' || it->logprobs.p[i] == '\r')
            it->logprobs.p[i] = ' ';
    elements = str_from(buf_view(&it->logprobs), from);
    /* They come after their text: in an event that adds none. */
    if (it == s->front && !s->failed)
        item_delta(s, it, STR(""), elements, out);
}

static void on_end(struct responses_writer *s, struct buf *out)
{
    struct str reason = responses_incomplete((enum finish)s->finish, s->refused);
    for (struct item *it = s->front; it; it = it->next) {
        if (it->type == ITEM_CALL && !it->ended)
            call_ends(s, it, out);
        it->ended = true;
    }
    advance(s, reason.n ? STR("incomplete") : STR("completed"), out);
    s->ended = true;
    if (s->failed)
        return;
    if (reason.n)
        response_event(s, out, "response.incomplete", STR("incomplete"), reason);
    else
        response_event(s, out, "response.completed", STR("completed"), STR_NULL);
}

static void take(struct responses_writer *s, const struct neutral_event *ev, struct buf *out)
{
    switch (ev->type) {
    case EVENT_TEXT:
        on_text(s, ITEM_TEXT, ev->text, out);
        break;
    case EVENT_REASONING:
        on_text(s, ITEM_REASONING, ev->text, out);
        break;
    case EVENT_REFUSAL:
        s->refused = true;
        on_text(s, ITEM_REFUSAL, ev->text, out);
        break;
    case EVENT_SIGNATURE:
    case EVENT_REDACTED:
        on_sealed(s, ev, out);
        break;
    case EVENT_TOOL:
        on_tool(s, ev, out);
        break;
    case EVENT_TOOL_ARGS:
        on_args(s, ev, out);
        break;
    case EVENT_TOOL_END:
        on_tool_end(s, ev, out);
        break;
    case EVENT_LOGPROBS:
        on_logprobs(s, ev->text, out);
        break;
    case EVENT_FINISH:
        s->finish = ev->finish;
        break;
    case EVENT_END:
        on_end(s, out);
        break;
    default:
        break;
    }
}

void responses_write_event(void *state, const struct neutral_event *ev, struct buf *out)
{
    struct responses_writer *s = state;
    if (ev->usage) {
        s->usage = *ev->usage;
        s->has_usage = true;
    }
    if (ev->type == EVENT_PING) {
        buf_lit(out, ": ping\n\n");
    } else if (!s->ended && !s->failed && !ev->candidate) {
        start(s, ev->type == EVENT_START ? ev->id : STR_NULL, ev->model, out);
        take(s, ev, out);
    }
    if (s->failed)
        out->failed = true;
}
