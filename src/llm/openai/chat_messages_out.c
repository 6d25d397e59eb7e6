/* chat_messages_out: the messages of a request to an upstream.
 *
 * A turn of the neutral form may become several messages: results of tools come
 * first, one message each, since they must follow the calls; what they hold
 * beside text follows in a message of the user, for that is the only place for
 * it. */
#include "core/base64.h"
#include "llm/carry.h"
#include "llm/openai/openai.h"

#include <stdarg.h>
#include <stdio.h>

#define ID_MAX 40 /* of a tool call */

const char *chat_messages_field(const struct neutral_request *r)
{
    switch (r->op) {
    case OP_GENERATE:
    case OP_GEMINI_COUNT:
        return "contents";
    case OP_RESPONSES:
        return "input";
    case OP_COMPLETIONS:
        return "prompt";
    default:
        return "messages";
    }
}

void chat_refuse(struct chat_out *o, const char *field, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    if (o->err)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->err = err_set(o->info, ERR_INVALID, "%s %s", field, text);
    if (o->info) {
        str_copy(o->info->field, sizeof o->info->field, str_c(field));
        o->info->offset = -1;
    }
}

struct str chat_join(const struct part *p, enum part_type type, struct str sep, struct arena *a)
{
    struct str one = STR_NULL;
    size_t n = 0, parts = 0;
    for (const struct part *q = p; q; q = q->next)
        if (q->type == type && q->text.n) {
            one = q->text;
            n += q->text.n;
            parts++;
        }
    if (parts < 2)
        return one;
    char *at = arena_alloc(a, n + (parts - 1) * sep.n), *to = at;
    if (!at)
        return STR_NULL;
    for (; p; p = p->next) {
        if (p->type != type || !p->text.n)
            continue;
        if (to != at && sep.n) {
            memcpy(to, sep.p, sep.n);
            to += sep.n;
        }
        memcpy(to, p->text.p, p->text.n);
        to += p->text.n;
    }
    return str_make(at, (size_t)(to - at));
}

/* ---- parts ---- */

static void put_text(struct chat_out *o, struct str text)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("text"));
    json_field_string(&o->w, "text", text);
    json_close_object(&o->w);
}

static void put_text_part(struct chat_out *o, const struct part *p)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("text"));
    json_key(&o->w, STR("text"));
    neutral_put_text(&o->w, p);
    json_close_object(&o->w);
}

static void put_data_url(struct chat_out *o, const struct media *m, const char *mime)
{
    struct str url[] = {STR("data:"), m->mime.n ? m->mime : str_c(mime), STR(";base64,"), m->data};
    json_put_joined_lent(&o->w, url, 4);
}

static void put_image(struct chat_out *o, const struct part *p)
{
    const struct media *m = &p->media;
    if (!model_caps_can(o->t->caps, CAP_VISION)) {
        chat_refuse(o, chat_messages_field(o->r), "hold an image, which this model cannot see");
        return;
    }
    if (!m->data.n && !str_starts(m->url, STR("http"))) {
        chat_refuse(o, chat_messages_field(o->r),
                    "hold an image that only its own provider can open: send its data or an "
                    "https URL");
        return;
    }
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("image_url"));
    json_key(&o->w, STR("image_url"));
    json_open_object(&o->w);
    json_key(&o->w, STR("url"));
    if (m->data.n)
        put_data_url(o, m, "image/png");
    else
        json_put_string(&o->w, m->url);
    if (m->detail.n)
        json_field_string(&o->w, "detail", m->detail);
    json_close_object(&o->w);
    json_close_object(&o->w);
}

/* Text in a document of its own is text. */
static void put_text_document(struct chat_out *o, const struct media *m)
{
    size_t n = 0;
    char *p = arena_alloc(o->a, m->data.n / 4 * 3 + 3);
    if (!p)
        return;
    if (!base64_decode(p, &n, m->data)) {
        chat_refuse(o, chat_messages_field(o->r), "hold a document that is not base64");
        return;
    }
    if (m->name.n)
        put_text(o, arena_printf(o->a, "%.*s:\n%.*s", STR_FMT(m->name), (int)n, p));
    else
        put_text(o, str_make(p, n));
}

static void put_document(struct chat_out *o, const struct part *p)
{
    const struct media *m = &p->media;
    bool by_id = m->file_id.n && o->openai;
    if (m->data.n && str_starts(m->mime, STR("text/"))) {
        put_text_document(o, m);
        return;
    }
    if (!model_caps_can(o->t->caps, CAP_DOCUMENTS)) {
        chat_refuse(o, chat_messages_field(o->r), "hold a document, which this model cannot read");
        return;
    }
    if (!m->data.n && !by_id) {
        chat_refuse(o, chat_messages_field(o->r),
                    "hold a document without its data, which this provider cannot fetch");
        return;
    }
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("file"));
    json_key(&o->w, STR("file"));
    json_open_object(&o->w);
    if (m->data.n) {
        json_field_string(&o->w, "filename", m->name.n ? m->name : STR("document.pdf"));
        json_key(&o->w, STR("file_data"));
        put_data_url(o, m, "application/pdf");
    } else {
        json_field_string(&o->w, "file_id", m->file_id);
    }
    json_close_object(&o->w);
    json_close_object(&o->w);
}

static void put_audio(struct chat_out *o, const struct part *p)
{
    static const struct str audio = STR("audio/");
    struct str format = p->media.mime;
    if (str_starts(format, audio))
        format = str_from(format, audio.n);
    if (str_eq(format, STR("mpeg")))
        format = STR("mp3");
    if (!model_caps_can(o->t->caps, CAP_AUDIO) || !p->media.data.n) {
        chat_refuse(o, chat_messages_field(o->r), "hold a sound, which this model cannot hear");
        return;
    }
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("input_audio"));
    json_key(&o->w, STR("input_audio"));
    json_open_object(&o->w);
    json_field_lent(&o->w, "data", p->media.data);
    json_field_string(&o->w, "format", format);
    json_close_object(&o->w);
    json_close_object(&o->w);
}

static void put_part(struct chat_out *o, const struct part *p)
{
    if (p->type == PART_TEXT)
        put_text_part(o, p);
    else if (p->type == PART_IMAGE)
        put_image(o, p);
    else if (p->type == PART_DOCUMENT)
        put_document(o, p);
    else if (p->type == PART_AUDIO)
        put_audio(o, p);
}

static bool is_media(const struct part *p)
{
    return p->type == PART_IMAGE || p->type == PART_DOCUMENT || p->type == PART_AUDIO;
}

static unsigned count(const struct part *p, bool (*is)(const struct part *))
{
    unsigned n = 0;
    for (; p; p = p->next)
        n += is(p);
    return n;
}

static bool is_text(const struct part *p)
{
    return p->type == PART_TEXT;
}

/* The member content, of text alone: a string, or parts where there are several. */
static void put_texts(struct chat_out *o, const struct part *parts, struct str sep)
{
    unsigned n = count(parts, is_text);
    json_key(&o->w, STR("content"));
    if (n < 2) {
        while (parts && !is_text(parts))
            parts = parts->next;
        neutral_put_text(&o->w, parts ? parts : &(struct part){.type = PART_TEXT});
        return;
    }
    if (o->plain) {
        json_put_string(&o->w, chat_join(parts, PART_TEXT, sep, o->a));
        return;
    }
    json_open_array(&o->w);
    for (const struct part *p = parts; p; p = p->next)
        if (p->type == PART_TEXT)
            put_text_part(o, p);
    json_close_array(&o->w);
}

/* What chat_join puts together must be plain: refusals, and texts beside each other, or beside a
 * note, where they go as one. */
static void plain_joined(struct chat_out *o, struct part *parts, bool noted)
{
    bool joined = o->plain && count(parts, is_text) + noted > 1;
    for (struct part *p = parts; p; p = p->next) {
        if (p->type == PART_REFUSAL || joined)
            neutral_plain_part(p, o->a);
        plain_joined(o, p->parts, false);
    }
}

/* ---- messages ---- */

static void open_message(struct chat_out *o, struct str role)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "role", role);
}

static void put_system(struct chat_out *o, struct str note)
{
    struct part last = {.type = PART_TEXT, .text = note}, **end = &o->r->system;
    bool developer = model_caps_rule(o->t->caps, RULE_DEVELOPER_ROLE) && !o->plain;
    while (*end)
        end = &(*end)->next;
    if (note.n)
        *end = &last;
    if (o->r->system) {
        open_message(o, developer ? STR("developer") : STR("system"));
        put_texts(o, o->r->system, STR("\n\n"));
        json_close_object(&o->w);
    }
    *end = NULL;
}

static struct str call_id(struct chat_out *o, struct str id)
{
    return carry_id_fit(id, ID_MAX, o->a);
}

static void put_result(struct chat_out *o, const struct part *p)
{
    static const struct str follows = STR("(what this tool returned follows)");
    open_message(o, STR("tool"));
    json_field_string(&o->w, "tool_call_id", call_id(o, p->id));
    if (count(p->parts, is_text)) {
        put_texts(o, p->parts, STR("\n\n"));
    } else {
        bool media = count(p->parts, is_media) > 0;
        json_field_string(&o->w, "content", media ? follows : p->is_error ? STR("error") : STR(""));
    }
    json_close_object(&o->w);
    if (p->is_error)
        receipt_add(o->receipt, "is_error");
}

/* Images and files of results: the tools' messages can hold text only. */
static void put_result_media(struct chat_out *o, const struct part *parts)
{
    bool open = false;
    for (const struct part *p = parts; p; p = p->next) {
        if (p->type != PART_TOOL_RESULT || !count(p->parts, is_media))
            continue;
        if (!open) {
            open_message(o, STR("user"));
            json_key(&o->w, STR("content"));
            json_open_array(&o->w);
            open = true;
        }
        put_text(o,
                 arena_printf(o->a, "Returned by the tool call %.*s:", STR_FMT(call_id(o, p->id))));
        for (const struct part *q = p->parts; q; q = q->next)
            if (is_media(q))
                put_part(o, q);
    }
    if (!open)
        return;
    json_close_array(&o->w);
    json_close_object(&o->w);
}

static void put_user(struct chat_out *o, const struct turn *t)
{
    unsigned results = 0, media = count(t->parts, is_media);
    for (const struct part *p = t->parts; p; p = p->next)
        if (p->type == PART_TOOL_RESULT) {
            put_result(o, p);
            results++;
        }
    if (results)
        put_result_media(o, t->parts);
    if (results && !media && !count(t->parts, is_text))
        return;
    open_message(o, STR("user"));
    if (t->name.n && !o->plain)
        json_field_string(&o->w, "name", t->name);
    if (!media) {
        put_texts(o, t->parts, STR("\n\n"));
    } else {
        json_key(&o->w, STR("content"));
        json_open_array(&o->w);
        for (const struct part *p = t->parts; p; p = p->next)
            put_part(o, p);
        json_close_array(&o->w);
    }
    json_close_object(&o->w);
}

static void put_calls(struct chat_out *o, const struct part *p)
{
    json_key(&o->w, STR("tool_calls"));
    json_open_array(&o->w);
    for (; p; p = p->next) {
        if (p->type != PART_TOOL_USE)
            continue;
        json_open_object(&o->w);
        json_field_string(&o->w, "id", call_id(o, p->id));
        json_field_string(&o->w, "type", STR("function"));
        json_key(&o->w, STR("function"));
        json_open_object(&o->w);
        json_field_string(&o->w, "name", p->name);
        json_field_string(&o->w, "arguments", p->args.n ? p->args : STR("{}"));
        json_close_object(&o->w);
        json_close_object(&o->w);
    }
    json_close_array(&o->w);
}

static bool is_call(const struct part *p)
{
    return p->type == PART_TOOL_USE;
}

static void put_assistant(struct chat_out *o, const struct turn *t)
{
    unsigned calls = count(t->parts, is_call), texts = count(t->parts, is_text);
    struct str refusal = chat_join(t->parts, PART_REFUSAL, STR(""), o->a);
    if (!calls && !texts && !refusal.n)
        return; /* nothing but another's thoughts */
    open_message(o, STR("assistant"));
    if (t->name.n && !o->plain)
        json_field_string(&o->w, "name", t->name);
    if (texts)
        put_texts(o, t->parts, STR(""));
    else
        json_field_null(&o->w, "content");
    if (refusal.n)
        json_field_string(&o->w, "refusal", refusal);
    if (calls && o->deepseek) {
        struct str thought = chat_join(t->parts, PART_REASONING, STR("\n\n"), o->a);
        if (thought.n)
            json_field_string(&o->w, "reasoning_content", thought);
    }
    if (calls)
        put_calls(o, t->parts);
    json_close_object(&o->w);
}

void chat_put_messages(struct chat_out *o, struct str note)
{
    json_key(&o->w, STR("messages"));
    json_open_array(&o->w);
    plain_joined(o, o->r->system, note.n > 0);
    put_system(o, note);
    for (const struct turn *t = o->r->turns; t && !o->err; t = t->next) {
        plain_joined(o, t->parts, false);
        (t->role == ROLE_ASSISTANT ? put_assistant : put_user)(o, t);
    }
    json_close_array(&o->w);
}
