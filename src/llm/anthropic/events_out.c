/* events_out: a stream of the Messages form for a caller.
 *
 * Blocks must not overlap there, but other providers' calls may interleave: while
 * a call's block is open, whatever belongs to another block is held back, in
 * order, until the call's arguments are complete.  There is one message_delta
 * and one message_stop, both at the end, since usage may come after the finish. */
#include "llm/anthropic/anthropic.h"

#include "core/alloc.h"
#include "core/base64.h"
#include "llm/carry.h"

#define HELD_MAX_BYTES ((size_t)1 << 20)
#define ID_ARENA_BYTES ((size_t)64 << 10)

/* An event that waits; its strings stand behind it. */
struct held_event {
    struct held_event *next;
    struct neutral_event ev;
    size_t bytes;
};

void anthropic_writer_init(void *state, const struct answer *as)
{
    struct anthropic_writer *s = state;
    str_copy(s->request_id, sizeof s->request_id, as->request_id);
    str_copy(s->model, sizeof s->model, as->model);
    s->usage.in_uncached = as->estimate_in;
    s->held_end = &s->held;
}

void anthropic_writer_release(void *state)
{
    struct anthropic_writer *s = state;
    while (s->held) {
        struct held_event *h = s->held;
        s->held = h->next;
        mem_free(h);
    }
    s->held_end = &s->held;
    s->held_bytes = 0;
}

/* ---- events ---- */

static void open_event(struct buf *out, struct json_writer *w, const char *name)
{
    buf_lit(out, "event: ");
    buf_str(out, str_c(name));
    buf_lit(out, "\ndata: ");
    json_writer_init(w, out);
    json_open_object(w);
    json_field_string(w, "type", str_c(name));
}

static void close_event(struct buf *out, struct json_writer *w)
{
    json_close_object(w);
    buf_lit(out, "\n\n");
}

static void start(struct anthropic_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct json_writer w;
    char id[64] = "msg_";
    str_copy(id + 4, sizeof id - 4, str_c(s->request_id));
    bool said = ev && ev->type == EVENT_START;
    s->started = true;
    open_event(out, &w, "message_start");
    json_key(&w, STR("message"));
    json_open_object(&w);
    json_field_string(&w, "id", said && ev->id.n ? ev->id : str_c(id));
    json_field_string(&w, "type", STR("message"));
    json_field_string(&w, "role", STR("assistant"));
    json_field_string(&w, "model", said && ev->model.n ? ev->model : str_c(s->model));
    json_key(&w, STR("content"));
    json_put_raw(&w, STR("[]"));
    json_field_null(&w, "stop_reason");
    json_field_null(&w, "stop_sequence");
    json_key(&w, STR("usage"));
    anthropic_put_usage(&w, &s->usage, true);
    json_close_object(&w);
    close_event(out, &w);
}

static void close_block(struct anthropic_writer *s, struct buf *out)
{
    if (s->open == OUT_NONE)
        return;
    buf_lit(out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    buf_u64(out, s->index++);
    buf_lit(out, "}\n\n");
    s->open = OUT_NONE;
}

/* Begins the event that opens a block, up to the block's own members. */
static void open_block(struct anthropic_writer *s, enum out_block kind, const char *type,
                       struct buf *out, struct json_writer *w)
{
    close_block(s, out);
    s->open = (uint8_t)kind;
    open_event(out, w, "content_block_start");
    json_field_i64(w, "index", s->index);
    json_key(w, STR("content_block"));
    json_open_object(w);
    json_field_string(w, "type", str_c(type));
}

static void end_head(struct buf *out, struct json_writer *w)
{
    json_close_object(w);
    close_event(out, w);
}

static void delta(const struct anthropic_writer *s, const char *type, const char *member,
                  struct str text, struct buf *out)
{
    buf_lit(out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    buf_u64(out, s->index);
    buf_lit(out, ",\"delta\":{\"type\":\"");
    buf_str(out, str_c(type));
    buf_lit(out, "\",\"");
    buf_str(out, str_c(member));
    buf_lit(out, "\":\"");
    json_escape(out, text);
    buf_lit(out, "\"}}\n\n");
}

/* ---- what becomes of each event ---- */

static void write_text(struct anthropic_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct json_writer w;
    if (!ev->text.n)
        return;
    if (s->open != OUT_TEXT) {
        open_block(s, OUT_TEXT, "text", out, &w);
        json_field_string(&w, "text", STR(""));
        end_head(out, &w);
    }
    estimate_add_text(&s->said, ev->text);
    delta(s, "text_delta", "text", ev->text, out);
}

static void open_thinking(struct anthropic_writer *s, struct buf *out)
{
    struct json_writer w;
    if (s->open == OUT_THINKING)
        return;
    open_block(s, OUT_THINKING, "thinking", out, &w);
    json_field_string(&w, "thinking", STR(""));
    json_field_string(&w, "signature", STR(""));
    end_head(out, &w);
}

static void write_reasoning(struct anthropic_writer *s, const struct neutral_event *ev,
                            struct buf *out)
{
    if (!ev->text.n)
        return;
    open_thinking(s, out);
    estimate_add_text(&s->said, ev->text);
    delta(s, "thinking_delta", "thinking", ev->text, out);
}

/* A signature ends the thinking that it is for. */
static void write_signature(struct anthropic_writer *s, const struct neutral_event *ev,
                            struct buf *out)
{
    struct arena a;
    if (!ev->text.n)
        return;
    arena_init(&a, ev->text.n + ev->id.n + ID_ARENA_BYTES);
    struct str field = anthropic_signature_join(ev->text, ev->id, (enum issuer)ev->issuer, &a);
    open_thinking(s, out);
    delta(s, "signature_delta", "signature", field, out);
    close_block(s, out);
    out->failed |= arena_failed(&a);
    arena_release(&a);
}

static void write_redacted(struct anthropic_writer *s, const struct neutral_event *ev,
                           struct buf *out)
{
    struct json_writer w;
    struct arena a;
    arena_init(&a, ev->text.n + ev->id.n + ID_ARENA_BYTES);
    open_block(s, OUT_REDACTED, "redacted_thinking", out, &w);
    json_field_string(&w, "data",
                      anthropic_signature_join(ev->text, ev->id, (enum issuer)ev->issuer, &a));
    end_head(out, &w);
    close_block(s, out);
    out->failed |= arena_failed(&a);
    arena_release(&a);
}

static void write_tool(struct anthropic_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct json_writer w;
    struct arena a;
    arena_init(&a, BASE64_ROOM(CARRY_MAX) + ev->id.n + ID_ARENA_BYTES);
    open_block(s, OUT_TOOL, "tool_use", out, &w);
    json_field_string(&w, "id", carry_id_join(ev->id, (enum issuer)ev->issuer, ev->text, &a));
    json_field_string(&w, "name", ev->name);
    json_key(&w, STR("input"));
    json_put_raw(&w, STR("{}"));
    end_head(out, &w);
    s->tools = true;
    s->open_tool = ev->tool;
    out->failed |= arena_failed(&a);
    arena_release(&a);
}

static void write_args(struct anthropic_writer *s, const struct neutral_event *ev, struct buf *out)
{
    if (s->open != OUT_TOOL || s->open_tool != ev->tool || !ev->text.n)
        return; /* of a call that is complete */
    estimate_add_text(&s->said, ev->text);
    delta(s, "input_json_delta", "partial_json", ev->text, out);
}

static void write_tool_end(struct anthropic_writer *s, const struct neutral_event *ev,
                           struct buf *out)
{
    if (s->open == OUT_TOOL && s->open_tool == ev->tool)
        close_block(s, out);
}

/* ---- the end ---- */

static void write_finish(struct anthropic_writer *s, const struct neutral_event *ev,
                         struct buf *out)
{
    (void)out;
    s->finish = ev->finish;
    str_copy(s->stop_sequence, sizeof s->stop_sequence, ev->text);
}

static void end(struct anthropic_writer *s, struct buf *out)
{
    struct json_writer w;
    close_block(s, out);
    if (!s->has_usage)
        s->usage.out_text = estimate_tokens(&s->said);
    open_event(out, &w, "message_delta");
    json_key(&w, STR("delta"));
    json_open_object(&w);
    json_field_string(&w, "stop_reason",
                      str_c(anthropic_stop_reason((enum finish)s->finish, s->tools)));
    if (s->finish == FINISH_STOP_SEQUENCE)
        json_field_string(&w, "stop_sequence", str_c(s->stop_sequence));
    else
        json_field_null(&w, "stop_sequence");
    json_close_object(&w);
    json_key(&w, STR("usage"));
    anthropic_put_usage(&w, &s->usage, false);
    close_event(out, &w);
    buf_lit(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    s->ended = true;
}

/* ---- order ---- */

/* Those that belong to a block. */
static void (*const writers[])(struct anthropic_writer *s, const struct neutral_event *ev,
                               struct buf *out) = {
    [EVENT_TEXT] = write_text,
    [EVENT_REFUSAL] = write_text,
    [EVENT_REASONING] = write_reasoning,
    [EVENT_SIGNATURE] = write_signature,
    [EVENT_REDACTED] = write_redacted,
    [EVENT_TOOL] = write_tool,
    [EVENT_TOOL_ARGS] = write_args,
    [EVENT_TOOL_END] = write_tool_end,
    [EVENT_PING] = NULL,
};

static bool of_tool(const struct neutral_event *ev)
{
    return ev->type == EVENT_TOOL || ev->type == EVENT_TOOL_ARGS || ev->type == EVENT_TOOL_END;
}

/* Must ev wait for the open call to be complete? */
static bool must_wait(const struct anthropic_writer *s, const struct neutral_event *ev)
{
    return s->open == OUT_TOOL && !(of_tool(ev) && ev->tool == s->open_tool);
}

static struct str keep(char **at, struct str s)
{
    char *to = *at;
    if (s.n)
        memcpy(to, s.p, s.n);
    *at += s.n;
    return str_make(to, s.n);
}

static void hold(struct anthropic_writer *s, const struct neutral_event *ev, struct buf *out)
{
    size_t bytes = sizeof(struct held_event) + ev->text.n + ev->id.n + ev->name.n;
    struct held_event *h = s->held_bytes + bytes > HELD_MAX_BYTES ? NULL : mem_alloc(bytes);
    if (!h) {
        out->failed = true;
        return;
    }
    char *at = (char *)(h + 1);
    *h = (struct held_event){.ev = *ev, .bytes = bytes};
    h->ev.text = keep(&at, ev->text);
    h->ev.id = keep(&at, ev->id);
    h->ev.name = keep(&at, ev->name);
    *s->held_end = h;
    s->held_end = &h->next;
    s->held_bytes += bytes;
}

/* Writes what waited, as far as it need not wait any longer. */
static void release_held(struct anthropic_writer *s, struct buf *out)
{
    struct held_event **at = &s->held;
    while (*at) {
        struct held_event *h = *at;
        if (must_wait(s, &h->ev)) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        s->held_bytes -= h->bytes;
        bool was_open = s->open == OUT_TOOL;
        writers[h->ev.type](s, &h->ev, out);
        mem_free(h);
        if (was_open && s->open != OUT_TOOL) /* from the beginning, in order */
            at = &s->held;
    }
    at = &s->held;
    while (*at)
        at = &(*at)->next;
    s->held_end = at;
}

static void write_block_event(struct anthropic_writer *s, const struct neutral_event *ev,
                              struct buf *out)
{
    if (must_wait(s, ev)) {
        hold(s, ev, out);
        return;
    }
    writers[ev->type](s, ev, out);
    if (s->open != OUT_TOOL && s->held)
        release_held(s, out);
}

void anthropic_write_event(void *state, const struct neutral_event *ev, struct buf *out)
{
    struct anthropic_writer *s = state;
    if (s->ended || ev->candidate)
        return;
    if (ev->usage) {
        s->usage = *ev->usage;
        s->has_usage = ev->type != EVENT_START || usage_output_tokens(ev->usage);
    }
    if (ev->type == EVENT_PING) {
        buf_lit(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        return;
    }
    if (!s->started)
        start(s, ev, out);
    if (ev->type == EVENT_FINISH) {
        write_finish(s, ev, out);
    } else if (ev->type == EVENT_END) {
        while (s->held) { /* calls whose end nobody told */
            close_block(s, out);
            release_held(s, out);
        }
        end(s, out);
    } else if (ev->type < sizeof writers / sizeof *writers && writers[ev->type]) {
        write_block_event(s, ev, out);
    }
}
