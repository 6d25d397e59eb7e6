/* demo_responses: the demo's answers on the Responses wire: one object, or typed events whose
 * sequence numbers leave no gap. */
#include "gateway/demo/demo_parts.h"

static void put_raw_or(struct json_writer *w, struct str name, struct str raw, struct str other)
{
    json_key(w, name);
    json_put_raw(w, raw.p ? raw : other);
}

static void put_content(struct json_writer *w, struct str text)
{
    json_open_object(w);
    json_field_string(w, "type", STR("output_text"));
    json_field_string(w, "text", text);
    json_key(w, STR("annotations"));
    json_put_raw(w, STR("[]"));
    json_key(w, STR("logprobs"));
    json_put_raw(w, STR("[]"));
    json_close_object(w);
}

static struct str status_of(const struct demo_answer *a, bool done)
{
    return !done ? STR("in_progress") : a->truncated ? STR("incomplete") : STR("completed");
}

static void put_item(struct json_writer *w, const struct demo_answer *a, unsigned part, bool done)
{
    const struct demo_part *p = &a->part[part];
    bool last = part + 1 == a->n; /* what is cut is the last part */
    struct str status = done && !last ? STR("completed") : status_of(a, done);
    json_open_object(w);
    json_field_string(w, "id", p->id);
    json_field_string(w, "type", p->call ? STR("function_call") : STR("message"));
    json_field_string(w, "status", status);
    if (p->call) {
        json_field_string(w, "call_id", p->call_id);
        json_field_string(w, "name", p->name);
        json_field_string(w, "arguments", done ? p->text : STR(""));
    } else {
        json_field_string(w, "role", STR("assistant"));
        json_key(w, STR("content"));
        json_open_array(w);
        if (done)
            put_content(w, p->text);
        json_close_array(w);
    }
    json_close_object(w);
}

static void put_usage(struct json_writer *w, const struct demo_answer *a)
{
    json_open_object(w);
    json_field_i64(w, "input_tokens", a->tokens_in);
    json_key(w, STR("input_tokens_details"));
    json_put_raw(w, STR("{\"cached_tokens\":0,\"cache_write_tokens\":0}"));
    json_field_i64(w, "output_tokens", a->tokens_out);
    json_key(w, STR("output_tokens_details"));
    json_put_raw(w, STR("{\"reasoning_tokens\":0}"));
    json_field_i64(w, "total_tokens", (int64_t)a->tokens_in + a->tokens_out);
    json_close_object(w);
}

/* Members that say nothing of the answer itself. */
static void put_settings(struct json_writer *w, const struct demo_answer *a)
{
    put_raw_or(w, STR("instructions"), a->instructions, STR("null"));
    json_key(w, STR("max_output_tokens"));
    if (a->max_output)
        json_put_u64(w, a->max_output);
    else
        json_put_null(w);
    json_key(w, STR("metadata"));
    json_put_raw(w, STR("{\"system_fingerprint\":\"lyss-demo\"}"));
    json_field_bool(w, "parallel_tool_calls", true);
    json_field_null(w, "previous_response_id");
    json_key(w, STR("reasoning"));
    json_put_raw(w, STR("{\"effort\":null,\"summary\":null}"));
    json_field_bool(w, "store", false);
    json_field_i64(w, "temperature", 1);
    json_key(w, STR("text"));
    json_open_object(w);
    put_raw_or(w, STR("format"), a->text_format, STR("{\"type\":\"text\"}"));
    json_close_object(w);
    put_raw_or(w, STR("tool_choice"), a->tool_choice, STR("\"auto\""));
    put_raw_or(w, STR("tools"), a->tools, STR("[]"));
    json_field_i64(w, "top_p", 1);
    json_field_string(w, "truncation", STR("disabled"));
}

static void put_response(struct json_writer *w, const struct demo_answer *a, bool done)
{
    char id[64];
    size_t n = a->id.n + 5;
    memcpy(id, "resp_", 5);
    memcpy(id + 5, a->id.p, a->id.n);
    json_open_object(w);
    json_field_string(w, "id", str_make(id, n));
    json_field_string(w, "object", STR("response"));
    json_field_i64(w, "created_at", a->created_s);
    json_field_string(w, "status", status_of(a, done));
    json_field_bool(w, "background", false);
    json_field_null(w, "error");
    json_key(w, STR("incomplete_details"));
    if (done && a->truncated)
        json_put_raw(w, STR("{\"reason\":\"max_output_tokens\"}"));
    else
        json_put_null(w);
    json_field_string(w, "model", a->model);
    json_field_string(w, "system_fingerprint", DEMO_FINGERPRINT);
    json_key(w, STR("output"));
    json_open_array(w);
    for (unsigned i = 0; done && i < a->n; i++)
        put_item(w, a, i, true);
    json_close_array(w);
    put_settings(w, a);
    json_key(w, STR("usage"));
    if (done)
        put_usage(w, a);
    else
        json_put_null(w);
    json_close_object(w);
}

static void responses_whole(struct demo_answer *a, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    put_response(&w, a, true);
}

/* ---- events ------------------------------------------------------------------- */

static void open_event(struct json_writer *w, struct demo_answer *a, struct buf *out,
                       struct str type)
{
    buf_lit(out, "event: ");
    buf_str(out, type);
    buf_lit(out, "\ndata: ");
    json_writer_init(w, out);
    json_open_object(w);
    json_field_string(w, "type", type);
    json_field_i64(w, "sequence_number", a->sequence++);
}

static void close_event(struct json_writer *w, struct buf *out)
{
    json_close_object(w);
    buf_lit(out, "\n\n");
}

static void put_state(struct demo_answer *a, struct buf *out, struct str type, bool done)
{
    struct json_writer w;
    open_event(&w, a, out, type);
    json_key(&w, STR("response"));
    put_response(&w, a, done);
    close_event(&w, out);
}

static void put_item_event(struct demo_answer *a, unsigned part, struct buf *out, bool done)
{
    struct json_writer w;
    open_event(&w, a, out,
               done ? STR("response.output_item.done") : STR("response.output_item.added"));
    json_field_i64(&w, "output_index", part);
    json_key(&w, STR("item"));
    put_item(&w, a, part, done);
    close_event(&w, out);
}

/* Opens an event about a part's text or arguments. */
static void open_part_event(struct json_writer *w, struct demo_answer *a, unsigned part,
                            struct buf *out, struct str type)
{
    open_event(w, a, out, type);
    json_field_string(w, "item_id", a->part[part].id);
    json_field_i64(w, "output_index", part);
    if (!a->part[part].call)
        json_field_i64(w, "content_index", 0);
}

static void put_content_event(struct demo_answer *a, unsigned part, struct buf *out, bool done)
{
    struct json_writer w;
    open_part_event(&w, a, part, out,
                    done ? STR("response.content_part.done") : STR("response.content_part.added"));
    json_key(&w, STR("part"));
    put_content(&w, done ? a->part[part].text : STR(""));
    close_event(&w, out);
}

static void responses_begin(struct demo_answer *a, struct buf *out)
{
    put_state(a, out, STR("response.created"), false);
    put_state(a, out, STR("response.in_progress"), false);
}

static void responses_part_begin(struct demo_answer *a, unsigned part, struct buf *out)
{
    put_item_event(a, part, out, false);
    if (!a->part[part].call)
        put_content_event(a, part, out, false);
}

static void responses_piece(struct demo_answer *a, unsigned part, struct str piece, struct buf *out)
{
    struct json_writer w;
    bool call = a->part[part].call;
    open_part_event(&w, a, part, out,
                    call ? STR("response.function_call_arguments.delta")
                         : STR("response.output_text.delta"));
    json_field_string(&w, "delta", piece);
    if (!call) {
        json_key(&w, STR("logprobs"));
        json_put_raw(&w, STR("[]"));
    }
    close_event(&w, out);
}

static void responses_part_end(struct demo_answer *a, unsigned part, struct buf *out)
{
    struct json_writer w;
    const struct demo_part *p = &a->part[part];
    if (p->call) {
        open_part_event(&w, a, part, out, STR("response.function_call_arguments.done"));
        json_field_string(&w, "name", p->name);
        json_field_string(&w, "arguments", p->text);
        close_event(&w, out);
    } else {
        open_part_event(&w, a, part, out, STR("response.output_text.done"));
        json_field_string(&w, "text", p->text);
        json_key(&w, STR("logprobs"));
        json_put_raw(&w, STR("[]"));
        close_event(&w, out);
        put_content_event(a, part, out, true);
    }
    put_item_event(a, part, out, true);
}

static void responses_end(struct demo_answer *a, struct buf *out)
{
    put_state(a, out, a->truncated ? STR("response.incomplete") : STR("response.completed"), true);
}

const struct demo_wire demo_responses = {
    responses_whole, responses_begin,    responses_part_begin,
    responses_piece, responses_part_end, responses_end,
};
