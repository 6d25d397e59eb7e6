/* chat_events_out: a stream of chat completions, or of completions, for a caller.
 *
 * Every chunk begins with the same bytes, which are made once.  An event is
 * written when it comes; only usage waits for the end, since upstreams give it
 * in many places and OpenAI in one. */
#include "llm/carry.h"
#include "llm/openai/openai.h"

void chat_writer_init(void *state, const struct answer *as)
{
    struct chat_writer *s = state;
    s->include_usage = as->include_usage;
    s->created_s = as->created_s;
    str_copy(s->request_id, sizeof s->request_id, as->request_id);
    str_copy(s->model, sizeof s->model, as->model);
}

void completions_writer_init(void *state, const struct answer *as)
{
    struct chat_writer *s = state;
    chat_writer_init(state, as);
    s->completions = true;
}

/* ---- chunks ---- */

/* `data: {"id":…,"object":…,"created":…,"model":…` */
static void make_head(struct chat_writer *s, struct str id, struct str model, struct buf *out)
{
    struct buf b;
    struct json_writer w;
    struct arena a;
    if (s->headed)
        return;
    s->headed = true;
    id.n = id.n > 80 ? 0 : id.n;
    buf_init(&b, sizeof s->head);
    arena_init(&a, 4096);
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_string(
        &w, "id",
        openai_reply_id(s->completions ? "cmpl-" : "chatcmpl-", id, str_c(s->request_id), &a));
    json_field_string(&w, "object",
                      s->completions ? STR("text_completion") : STR("chat.completion.chunk"));
    json_field_i64(&w, "created", s->created_s);
    json_field_string(&w, "model", model.n && model.n <= 128 ? model : str_c(s->model));
    s->head_n = (uint16_t)b.n;
    if (b.n)
        memcpy(s->head, b.p, b.n);
    out->failed |= buf_failed(&b) || arena_failed(&a);
    arena_release(&a);
    buf_release(&b);
}

static void put_head(struct chat_writer *s, struct buf *out)
{
    make_head(s, STR_NULL, STR_NULL, out);
    buf_lit(out, "data: ");
    buf_add(out, s->head, s->head_n);
    buf_lit(out, ",\"choices\":[");
}

/* What follows the choices. */
static void put_tail(const struct chat_writer *s, struct buf *out)
{
    buf_str(out, s->include_usage ? STR("],\"usage\":null}\n\n") : STR("]}\n\n"));
}

/* A chunk up to the inside of its delta (of completions: of its text). */
static void open_chunk(struct chat_writer *s, uint32_t candidate, struct buf *out)
{
    put_head(s, out);
    buf_printf(out, "{\"index\":%u,%s", candidate, s->completions ? "\"text\":\"" : "\"delta\":{");
}

static void close_chunk(struct chat_writer *s, const char *finish, struct buf *out)
{
    buf_str(out, s->completions ? STR("\",\"logprobs\":null") : STR("},\"logprobs\":null"));
    if (finish)
        buf_printf(out, ",\"finish_reason\":\"%s\"}", finish);
    else
        buf_lit(out, ",\"finish_reason\":null}");
    put_tail(s, out);
}

/* The first chunk of each answer says who speaks. */
static void begin(struct chat_writer *s, uint32_t candidate, struct buf *out)
{
    uint64_t bit = UINT64_C(1) << candidate % 64, *word = &s->begun[candidate / 64];
    if (*word & bit || s->completions)
        return;
    *word |= bit;
    open_chunk(s, candidate, out);
    buf_lit(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
    close_chunk(s, NULL, out);
}

/* ---- events ---- */

static void write_text(struct chat_writer *s, const struct neutral_event *ev, struct str member,
                       struct buf *out)
{
    if (!ev->text.n)
        return;
    open_chunk(s, ev->candidate, out);
    if (s->completions) {
        json_escape(out, ev->text);
    } else {
        buf_char(out, '"');
        buf_str(out, member);
        buf_lit(out, "\":\"");
        json_escape(out, ev->text);
        buf_char(out, '"');
    }
    close_chunk(s, NULL, out);
}

static void put_detail(struct chat_writer *s, const struct chat_detail *t, struct buf *out)
{
    struct json_writer w;
    buf_lit(out, "\"reasoning_details\":[");
    json_writer_init(&w, out);
    chat_put_detail(&w, t);
    buf_char(out, ']');
}

static void write_reasoning(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct chat_detail t = {.text = ev->text, .index = s->block};
    if (s->completions || !ev->text.n)
        return;
    open_chunk(s, ev->candidate, out);
    buf_lit(out, "\"reasoning_content\":\"");
    json_escape(out, ev->text);
    buf_lit(out, "\",");
    put_detail(s, &t, out);
    close_chunk(s, NULL, out);
}

/* A signature ends a thought, an opaque block is one. */
static void write_seal(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct chat_detail t = {.id = ev->id, .issuer = (enum issuer)ev->issuer};
    if (s->completions || !ev->text.n)
        return;
    *(ev->type == EVENT_SIGNATURE ? &t.signature : &t.data) = ev->text;
    t.index = s->block++;
    open_chunk(s, ev->candidate, out);
    put_detail(s, &t, out);
    close_chunk(s, NULL, out);
}

static void open_tool(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    open_chunk(s, ev->candidate, out);
    buf_printf(out, "\"tool_calls\":[{\"index\":%u,", ev->tool);
}

static void write_tool(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    struct arena a;
    if (s->completions)
        return;
    if (s->open_n < CHAT_OPEN_MAX) {
        s->open[s->open_n].candidate = ev->candidate;
        s->open[s->open_n++].tool = ev->tool;
    }
    arena_init(&a, (size_t)64 << 10);
    struct str id = carry_id_join(ev->id, (enum issuer)ev->issuer, ev->text, &a);
    open_tool(s, ev, out);
    buf_lit(out, "\"id\":\"");
    json_escape(out, id);
    buf_lit(out, "\",\"type\":\"function\",\"function\":{\"name\":\"");
    json_escape(out, ev->name);
    buf_lit(out, "\",\"arguments\":\"\"}}]");
    close_chunk(s, NULL, out);
    if (arena_failed(&a))
        out->failed = true;
    arena_release(&a);
}

/* Takes a call off the list of those without a fragment; false: it had one. */
static bool take_open(struct chat_writer *s, const struct neutral_event *ev)
{
    for (uint8_t i = 0; i < s->open_n; i++)
        if (s->open[i].candidate == ev->candidate && s->open[i].tool == ev->tool) {
            s->open[i] = s->open[--s->open_n];
            return true;
        }
    return false;
}

static void write_args(struct chat_writer *s, const struct neutral_event *ev, struct str args,
                       struct buf *out)
{
    if (s->completions || !args.n)
        return;
    take_open(s, ev);
    open_tool(s, ev, out);
    buf_lit(out, "\"function\":{\"arguments\":\"");
    json_escape(out, args);
    buf_lit(out, "\"}}]");
    close_chunk(s, NULL, out);
}

static void write_logprobs(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    if (s->completions || !ev->text.n)
        return;
    put_head(s, out);
    buf_printf(out, "{\"index\":%u,\"delta\":{},\"logprobs\":", ev->candidate);
    buf_str(out, ev->text);
    buf_lit(out, ",\"finish_reason\":null}");
    put_tail(s, out);
}

static void write_finish(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    open_chunk(s, ev->candidate, out);
    close_chunk(s, chat_finish_name((enum finish)ev->finish), out);
}

static void write_end(struct chat_writer *s, struct buf *out)
{
    struct json_writer w;
    if (s->include_usage && s->has_usage) {
        put_head(s, out);
        buf_lit(out, "],\"usage\":");
        json_writer_init(&w, out);
        openai_put_usage(&w, &s->usage);
        buf_lit(out, "}\n\n");
    }
    buf_lit(out, "data: [DONE]\n\n");
}

static void write_content(struct chat_writer *s, const struct neutral_event *ev, struct buf *out)
{
    begin(s, ev->candidate, out);
    switch (ev->type) {
    case EVENT_TEXT:
        write_text(s, ev, STR("content"), out);
        break;
    case EVENT_REFUSAL:
        write_text(s, ev, STR("refusal"), out);
        break;
    case EVENT_REASONING:
        write_reasoning(s, ev, out);
        break;
    case EVENT_SIGNATURE:
    case EVENT_REDACTED:
        write_seal(s, ev, out);
        break;
    case EVENT_TOOL:
        write_tool(s, ev, out);
        break;
    case EVENT_TOOL_ARGS:
        write_args(s, ev, ev->text, out);
        break;
    case EVENT_TOOL_END:
        if (take_open(s, ev))
            write_args(s, ev, STR("{}"), out);
        break;
    case EVENT_LOGPROBS:
        write_logprobs(s, ev, out);
        break;
    case EVENT_FINISH:
        write_finish(s, ev, out);
        break;
    default:
        break;
    }
}

void chat_write_event(void *state, const struct neutral_event *ev, struct buf *out)
{
    struct chat_writer *s = state;
    if (ev->candidate >= CHAT_CHOICES_MAX)
        return;
    if (ev->usage) {
        s->usage = *ev->usage;
        s->has_usage = true;
    }
    switch (ev->type) {
    case EVENT_START:
        make_head(s, ev->id, ev->model, out);
        begin(s, ev->candidate, out);
        break;
    case EVENT_PING:
        buf_lit(out, ": ping\n\n");
        break;
    case EVENT_END:
        write_end(s, out);
        break;
    case EVENT_USAGE:
        break;
    default:
        write_content(s, ev, out);
    }
}
