/* demo_wire: the demo's answers as Chat Completions and legacy Completions, whole and streamed. */
#include "gateway/demo/demo_parts.h"

static struct str finish_reason(const struct demo_answer *a)
{
    return a->truncated ? STR("length") : a->part[0].call ? STR("tool_calls") : STR("stop");
}

static void put_usage(struct json_writer *w, const struct demo_answer *a)
{
    json_key(w, STR("usage"));
    json_open_object(w);
    json_field_i64(w, "prompt_tokens", a->tokens_in);
    json_field_i64(w, "completion_tokens", a->tokens_out);
    json_field_i64(w, "total_tokens", (int64_t)a->tokens_in + a->tokens_out);
    json_key(w, STR("prompt_tokens_details"));
    json_put_raw(w, STR("{\"cached_tokens\":0,\"audio_tokens\":0}"));
    json_key(w, STR("completion_tokens_details"));
    json_put_raw(w, STR("{\"reasoning_tokens\":0,\"audio_tokens\":0,"
                        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}"));
    json_close_object(w);
}

/* The object up to the content of "choices", which it opens. */
static void open_answer(struct json_writer *w, const struct demo_answer *a, struct buf *out,
                        struct str prefix, struct str object)
{
    char id[64];
    size_t n = prefix.n + a->id.n;
    memcpy(id, prefix.p, prefix.n);
    memcpy(id + prefix.n, a->id.p, a->id.n);
    json_writer_init(w, out);
    json_open_object(w);
    json_field_string(w, "id", str_make(id, n));
    json_field_string(w, "object", object);
    json_field_i64(w, "created", a->created_s);
    json_field_string(w, "model", a->model);
    json_field_string(w, "system_fingerprint", DEMO_FINGERPRINT);
    json_key(w, STR("choices"));
    json_open_array(w);
}

static void open_event(struct json_writer *w, const struct demo_answer *a, struct buf *out,
                       bool choice)
{
    bool chat = a->op == OP_CHAT;
    buf_lit(out, "data: ");
    open_answer(w, a, out, chat ? STR("chatcmpl-") : STR("cmpl-"),
                chat ? STR("chat.completion.chunk") : STR("text_completion"));
    if (!choice)
        return;
    json_open_object(w);
    json_field_i64(w, "index", 0);
    if (!chat)
        return;
    json_key(w, STR("delta"));
    json_open_object(w);
}

/* Closes the choice that open_event opened and the event. finish: STR_NULL but for the last. */
static void close_event(struct json_writer *w, const struct demo_answer *a, struct buf *out,
                        struct str finish)
{
    if (a->op == OP_CHAT)
        json_close_object(w);
    json_field_null(w, "logprobs");
    json_key(w, STR("finish_reason"));
    if (finish.p)
        json_put_string(w, finish);
    else
        json_put_null(w);
    json_close_object(w);
    json_close_array(w);
    if (a->asks_usage)
        json_field_null(w, "usage");
    json_close_object(w);
    buf_lit(out, "\n\n");
}

static void put_end(struct demo_answer *a, struct buf *out)
{
    struct json_writer w;
    open_event(&w, a, out, true);
    if (a->op == OP_COMPLETIONS)
        json_field_string(&w, "text", STR(""));
    close_event(&w, a, out, finish_reason(a));
    if (a->asks_usage) {
        open_event(&w, a, out, false);
        json_close_array(&w);
        put_usage(&w, a);
        json_close_object(&w);
        buf_lit(out, "\n\n");
    }
    buf_lit(out, "data: [DONE]\n\n");
}

static void close_whole(struct json_writer *w, const struct demo_answer *a)
{
    json_field_null(w, "logprobs");
    json_field_string(w, "finish_reason", finish_reason(a));
    json_close_object(w);
    json_close_array(w);
    put_usage(w, a);
    json_close_object(w);
}

/* ---- chat --------------------------------------------------------------------- */

/* index: the call's place among a stream's calls; -1: a whole answer. */
static void open_call(struct json_writer *w, const struct demo_part *p, int index)
{
    json_open_object(w);
    if (index >= 0)
        json_field_i64(w, "index", index);
    json_field_string(w, "id", p->call_id);
    json_field_string(w, "type", STR("function"));
    json_key(w, STR("function"));
    json_open_object(w);
    json_field_string(w, "name", p->name);
    json_field_string(w, "arguments", index >= 0 ? STR("") : p->text);
    json_close_object(w);
    json_close_object(w);
}

static void chat_whole(struct demo_answer *a, struct buf *out)
{
    struct json_writer w;
    open_answer(&w, a, out, STR("chatcmpl-"), STR("chat.completion"));
    json_open_object(&w);
    json_field_i64(&w, "index", 0);
    json_key(&w, STR("message"));
    json_open_object(&w);
    json_field_string(&w, "role", STR("assistant"));
    if (a->part[0].call) {
        json_field_null(&w, "content");
        json_key(&w, STR("tool_calls"));
        json_open_array(&w);
        for (unsigned i = 0; i < a->n; i++)
            open_call(&w, &a->part[i], -1);
        json_close_array(&w);
    } else {
        json_field_string(&w, "content", a->part[0].text);
    }
    json_field_null(&w, "refusal");
    json_close_object(&w);
    close_whole(&w, a);
}

static void chat_begin(struct demo_answer *a, struct buf *out)
{
    struct json_writer w;
    open_event(&w, a, out, true);
    json_field_string(&w, "role", STR("assistant"));
    if (a->part[0].call)
        json_field_null(&w, "content");
    else
        json_field_string(&w, "content", STR(""));
    json_field_null(&w, "refusal");
    close_event(&w, a, out, STR_NULL);
}

static void chat_part_begin(struct demo_answer *a, unsigned part, struct buf *out)
{
    struct json_writer w;
    if (!a->part[part].call)
        return;
    open_event(&w, a, out, true);
    json_key(&w, STR("tool_calls"));
    json_open_array(&w);
    open_call(&w, &a->part[part], (int)part);
    json_close_array(&w);
    close_event(&w, a, out, STR_NULL);
}

static void chat_piece(struct demo_answer *a, unsigned part, struct str piece, struct buf *out)
{
    struct json_writer w;
    open_event(&w, a, out, true);
    if (a->part[part].call) {
        json_key(&w, STR("tool_calls"));
        json_open_array(&w);
        json_open_object(&w);
        json_field_i64(&w, "index", part);
        json_key(&w, STR("function"));
        json_open_object(&w);
        json_field_string(&w, "arguments", piece);
        json_close_object(&w);
        json_close_object(&w);
        json_close_array(&w);
    } else {
        json_field_string(&w, "content", piece);
    }
    close_event(&w, a, out, STR_NULL);
}

static void nothing(struct demo_answer *a, struct buf *out)
{
}

static void nothing_for_part(struct demo_answer *a, unsigned part, struct buf *out)
{
}

const struct demo_wire demo_chat = {
    chat_whole, chat_begin, chat_part_begin, chat_piece, nothing_for_part, put_end,
};

/* ---- completions -------------------------------------------------------------- */

static void text_whole(struct demo_answer *a, struct buf *out)
{
    struct json_writer w;
    open_answer(&w, a, out, STR("cmpl-"), STR("text_completion"));
    json_open_object(&w);
    json_field_i64(&w, "index", 0);
    json_field_string(&w, "text", a->part[0].text);
    close_whole(&w, a);
}

static void text_piece(struct demo_answer *a, unsigned part, struct str piece, struct buf *out)
{
    struct json_writer w;
    open_event(&w, a, out, true);
    json_field_string(&w, "text", piece);
    close_event(&w, a, out, STR_NULL);
}

const struct demo_wire demo_completions = {
    text_whole, nothing, nothing_for_part, text_piece, nothing_for_part, put_end,
};
