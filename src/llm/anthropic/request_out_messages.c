/* request_out_messages: the system prompt and the turns, as blocks.
 *
 * The wire wants turns that begin with the user's and alternate, results of
 * tools before all else in a turn, thinking before all else in another, no
 * blank text, and at most four cache marks in all. */
#include "llm/anthropic/anthropic.h"

#include "core/base64.h"
#include "llm/carry.h"

#define ID_MAX_BYTES 64

static const struct str opening = STR("(The conversation begins with the assistant's words.)");
static const struct str go_on =
    STR("Continue your last message exactly where it ends. Do not repeat any of it.");

/* ---- which parts go out ---- */

static bool has_thinking(const struct request_out *o, const struct part *p)
{
    /* DeepSeek wants its thoughts back and does not sign them. */
    if (o->issuer == ISSUER_DEEPSEEK && (p->issuer == ISSUER_NONE || p->issuer == ISSUER_DEEPSEEK))
        return p->text.n > 0;
    if (p->issuer != o->issuer)
        return false;
    return p->redacted ? p->data.n > 0 : p->signature.n > 0;
}

/* anthropic_blank of a text that is still escaped; blanks that are written as \u count for words.
 */
static bool is_blank_escaped(struct str quoted)
{
    for (size_t i = 1; i + 1 < quoted.n; i++)
        if (quoted.p[i] == '\\' && strchr("nrt", quoted.p[i + 1]))
            i++;
        else if (quoted.p[i] != ' ')
            return false;
    return true;
}

bool request_out_says(const struct part *p)
{
    return p->escaped.n ? !is_blank_escaped(p->escaped) : !anthropic_blank(p->text);
}

bool request_out_has_part(const struct request_out *o, const struct turn *t, const struct part *p)
{
    switch ((enum part_type)p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        return request_out_says(p);
    case PART_REASONING:
        return t->role == ROLE_ASSISTANT && has_thinking(o, p);
    case PART_IMAGE:
    case PART_DOCUMENT:
    case PART_AUDIO:
        return t->role == ROLE_USER;
    case PART_TOOL_USE:
        return t->role == ROLE_ASSISTANT;
    case PART_TOOL_RESULT:
        return t->role == ROLE_USER;
    }
    return false;
}

static bool has_turn(const struct request_out *o, const struct turn *t)
{
    for (const struct part *p = t->parts; p; p = p->next)
        if (request_out_has_part(o, t, p))
            return true;
    return false;
}

const struct turn *request_out_sendable(const struct request_out *o, const struct turn *t)
{
    while (t && !has_turn(o, t))
        t = t->next;
    return t;
}

struct turn_group request_out_group(const struct request_out *o, const struct turn *from)
{
    struct turn_group g = {from, from};
    while (g.end && (g.end->role == from->role || !has_turn(o, g.end)))
        g.end = g.end->next;
    return g;
}

/* ---- the plan ---- */

/* Parts that no assistant's turn can hold here: what a model drew or spoke. */
static void drop_misplaced(struct request_out *o)
{
    for (const struct turn *t = o->r->turns; t; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (t->role == ROLE_ASSISTANT && p->type != PART_REASONING && p->type != PART_TEXT &&
                p->type != PART_REFUSAL && !request_out_has_part(o, t, p))
                request_out_drop(o, F_MESSAGES);
}

void request_out_plan_messages(struct request_out *o)
{
    request_out_plan_marks(o);
    drop_misplaced(o);
    const struct turn *last = NULL;
    for (const struct turn *t = request_out_sendable(o, o->r->turns); t;
         t = request_out_sendable(o, t->next))
        last = t;
    bool thinks = o->thinking == THINKING_ENABLED || o->thinking == THINKING_ADAPTIVE;
    if (last && last->role == ROLE_ASSISTANT && !o->count &&
        (thinks || model_caps_rule(o->t->caps, RULE_NO_PREFILL))) {
        o->prefill_note = true;
        receipt_add(o->receipt, "prefill");
    }
}

/* ---- blocks ---- */

static void open_block(struct request_out *o, const char *type)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "type", str_c(type));
}

static void put_text_block(struct request_out *o, struct str text, enum cache_mark mark)
{
    open_block(o, "text");
    json_field_string(&o->w, "text", text);
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

/* The same of a part's text, which need not be plain. */
static void put_text_part(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    open_block(o, "text");
    json_key(&o->w, STR("text"));
    neutral_put_text(&o->w, p);
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

static struct str image_type(const struct media *m)
{
    static const struct {
        struct str mime, begins; /* base64 of the first bytes */
        struct str sent;
    } types[] = {
        {STR("image/jpeg"), STR("/9j/"), STR("image/jpeg")},
        {STR("image/jpg"), STR("/9j/"), STR("image/jpeg")},
        {STR("image/png"), STR("iVBOR"), STR("image/png")},
        {STR("image/gif"), STR("R0lG"), STR("image/gif")},
        {STR("image/webp"), STR("UklG"), STR("image/webp")},
    };
    bool unsaid = !m->mime.n || str_eq(m->mime, STR("application/octet-stream"));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ieq(m->mime, types[i].mime) || (unsaid && str_starts(m->data, types[i].begins)))
            return types[i].sent;
    return STR_NULL;
}

static void put_source(struct request_out *o, const char *type, struct str media_type,
                       struct str name, struct str value)
{
    json_key(&o->w, STR("source"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type", str_c(type));
    if (media_type.n)
        json_field_string(&o->w, "media_type", media_type);
    json_key(&o->w, name);
    json_put_lent(&o->w, value);
    json_close_object(&o->w);
}

/* url or file_id; false: neither, the bytes are here. */
static bool put_remote(struct request_out *o, const struct media *m, const char *what)
{
    if (m->file_id.n) {
        if (op_row(o->r->op)->dialect != DIALECT_ANTHROPIC)
            request_out_refuse(o, F_MESSAGES,
                               "%s: a file uploaded elsewhere is not known to this provider", what);
        put_source(o, "file", STR_NULL, STR("file_id"), m->file_id);
        return true;
    }
    if (!m->url.n)
        return false;
    if (!str_starts(m->url, STR("https://")) && !str_starts(m->url, STR("http://")))
        request_out_refuse(o, F_MESSAGES, "%s: this provider fetches http and https only", what);
    put_source(o, "url", STR_NULL, STR("url"), m->url);
    return true;
}

static void put_image(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    open_block(o, "image");
    if (!put_remote(o, &p->media, "an image")) {
        struct str type = image_type(&p->media);
        if (!type.n)
            request_out_refuse(o, F_MESSAGES,
                               "an image of type \"%.60s\": this provider takes image/jpeg, "
                               "image/png, image/gif and image/webp",
                               arena_printf(o->a, "%.*s", STR_FMT(p->media.mime)).p);
        put_source(o, "base64", type, STR("data"), p->media.data);
    }
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

static struct str decoded(struct request_out *o, struct str base64)
{
    char *p = arena_alloc(o->a, base64.n / 4 * 3 + 4);
    size_t n = 0;
    if (!p)
        return STR_NULL;
    if (!base64_decode(p, &n, base64))
        request_out_refuse(o, F_MESSAGES, "a document's data is not valid base64");
    return str_make(p, n);
}

static void put_document(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    const struct media *m = &p->media;
    open_block(o, "document");
    if (!put_remote(o, m, "a document")) {
        if (!m->mime.n || str_ieq(m->mime, STR("application/pdf")))
            put_source(o, "base64", STR("application/pdf"), STR("data"), m->data);
        else if (str_starts(m->mime, STR("text/")) || str_eq(m->mime, STR("application/json")))
            put_source(o, "text", STR("text/plain"), STR("data"), decoded(o, m->data));
        else {
            request_out_refuse(o, F_MESSAGES,
                               "a document of type \"%.60s\": this provider takes PDF and text",
                               arena_printf(o->a, "%.*s", STR_FMT(m->mime)).p);
            json_field_null(&o->w, "source");
        }
    }
    if (m->name.n)
        json_field_string(&o->w, "title", m->name);
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

static void put_part(struct request_out *o, const struct part *p, enum cache_mark mark);

static void put_result(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    bool any = false;
    open_block(o, "tool_result");
    json_field_string(&o->w, "tool_use_id", carry_id_fit(p->id, ID_MAX_BYTES, o->a));
    for (const struct part *in = p->parts; in; in = in->next) {
        bool text = in->type == PART_TEXT || in->type == PART_REFUSAL;
        if (text ? !request_out_says(in) : in->type > PART_AUDIO)
            continue;
        if (!any) {
            json_key(&o->w, STR("content"));
            json_open_array(&o->w);
        }
        any = true;
        put_part(o, in, CACHE_NONE);
    }
    if (any)
        json_close_array(&o->w);
    if (p->is_error)
        json_field_bool(&o->w, "is_error", true);
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

static void put_call(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    struct str name = anthropic_name_fit(p->name, o->a);
    if (!name.n)
        request_out_refuse(o, F_MESSAGES,
                           "a tool's name in the history is empty or too long for this provider");
    open_block(o, "tool_use");
    json_field_string(&o->w, "id", carry_id_fit(p->id, ID_MAX_BYTES, o->a));
    json_field_string(&o->w, "name", name);
    json_key(&o->w, STR("input"));
    json_put_raw(&o->w, neutral_args_object(p->args, o->a));
    request_out_mark(o, mark);
    json_close_object(&o->w);
}

static void put_thought(struct request_out *o, const struct part *p)
{
    if (p->redacted) {
        open_block(o, "redacted_thinking");
        json_field_string(&o->w, "data", p->data);
    } else {
        open_block(o, "thinking");
        json_field_string(&o->w, "thinking", p->text);
        json_field_string(&o->w, "signature", p->signature);
    }
    json_close_object(&o->w);
}

static void put_part(struct request_out *o, const struct part *p, enum cache_mark mark)
{
    switch ((enum part_type)p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        put_text_part(o, p, mark);
        break;
    case PART_IMAGE:
        put_image(o, p, mark);
        break;
    case PART_DOCUMENT:
        put_document(o, p, mark);
        break;
    case PART_AUDIO:
        request_out_refuse(o, F_MESSAGES, "this provider's models do not take audio");
        put_text_block(o, STR("audio"), CACHE_NONE);
        break;
    case PART_TOOL_USE:
        put_call(o, p, mark);
        break;
    case PART_TOOL_RESULT:
        put_result(o, p, mark);
        break;
    case PART_REASONING:
        put_thought(o, p);
        break;
    }
}

/* ---- messages ---- */

/* The last part of text in the group, if nothing follows it. */
static const struct part *last_text(const struct request_out *o, struct turn_group g)
{
    const struct part *last = NULL;
    for (const struct turn *t = g.from; t != g.end; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (request_out_has_part(o, t, p))
                last = p;
    return last && (last->type == PART_TEXT || last->type == PART_REFUSAL) ? last : NULL;
}

static struct str without_tail(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    return s;
}

/* What stands first in a turn: results in the user's, thinking in the assistant's unless it begins
 * with some anyway, and then nothing is moved. -1: nothing. */
static int leading_type(const struct request_out *o, struct turn_group g)
{
    if (g.from->role == ROLE_USER)
        return PART_TOOL_RESULT;
    for (const struct part *p = g.from->parts; p; p = p->next)
        if (request_out_has_part(o, g.from, p))
            return p->type == PART_REASONING ? -1 : PART_REASONING;
    return -1;
}

/* Parts of the leading type, or the others. */
static void put_group_parts(struct request_out *o, struct turn_group g, int leading, bool lead,
                            const struct part *trim)
{
    for (const struct turn *t = g.from; t != g.end; t = t->next)
        for (struct part *p = t->parts; p; p = p->next) {
            if ((p->type == leading) != lead || !request_out_has_part(o, t, p))
                continue;
            if (p == trim) {
                neutral_plain_part(p, o->a);
                put_text_block(o, without_tail(p->text), request_out_mark_of(o, p));
            } else {
                put_part(o, p, request_out_mark_of(o, p));
            }
        }
}

static void put_group(struct request_out *o, struct turn_group g)
{
    bool last = !request_out_sendable(o, g.end);
    const struct part *trim = last && g.from->role == ROLE_ASSISTANT ? last_text(o, g) : NULL;
    int leading = leading_type(o, g);
    json_open_object(&o->w);
    json_field_string(&o->w, "role", g.from->role == ROLE_USER ? STR("user") : STR("assistant"));
    json_key(&o->w, STR("content"));
    json_open_array(&o->w);
    put_group_parts(o, g, leading, true, trim);
    put_group_parts(o, g, leading, false, trim);
    json_close_array(&o->w);
    json_close_object(&o->w);
}

static void put_user_note(struct request_out *o, struct str text)
{
    json_open_object(&o->w);
    json_field_string(&o->w, "role", STR("user"));
    json_field_string(&o->w, "content", text);
    json_close_object(&o->w);
}

static bool any_system(const struct request_out *o)
{
    for (const struct part *p = o->r->system; p; p = p->next)
        if (request_out_says(p))
            return true;
    return false;
}

static void put_system_blocks(struct request_out *o)
{
    for (const struct part *p = o->r->system; p; p = p->next)
        if (request_out_says(p))
            put_text_part(o, p, request_out_mark_of(o, p));
}

void request_out_messages(struct request_out *o)
{
    const struct turn *t = request_out_sendable(o, o->r->turns);
    json_key(&o->w, STR("messages"));
    json_open_array(&o->w);
    if (!t && any_system(o)) { /* nothing but instructions: they are the question */
        json_open_object(&o->w);
        json_field_string(&o->w, "role", STR("user"));
        json_key(&o->w, STR("content"));
        json_open_array(&o->w);
        put_system_blocks(o);
        json_close_array(&o->w);
        json_close_object(&o->w);
    } else if (!t) {
        request_out_refuse(o, F_MESSAGES, "there is no text to answer in %s",
                           request_out_field(o, F_MESSAGES));
    }
    if (t && t->role == ROLE_ASSISTANT)
        put_user_note(o, opening);
    while (t) {
        struct turn_group g = request_out_group(o, t);
        put_group(o, g);
        t = request_out_sendable(o, g.end);
    }
    if (o->prefill_note)
        put_user_note(o, go_on);
    json_close_array(&o->w);
}

/* ---- system ---- */

void request_out_system(struct request_out *o)
{
    bool words = o->r->format == FORMAT_JSON || o->schema == SCHEMA_IN_WORDS;
    bool own = any_system(o) && request_out_sendable(o, o->r->turns);
    if (!own && !words)
        return;
    json_key(&o->w, STR("system"));
    json_open_array(&o->w);
    if (own)
        put_system_blocks(o);
    if (o->r->format == FORMAT_JSON)
        put_text_block(o,
                       STR("Answer with one JSON object and nothing else: no words before or after "
                           "it, no code fence."),
                       CACHE_NONE);
    else if (o->schema == SCHEMA_IN_WORDS)
        put_text_block(o,
                       arena_printf(o->a,
                                    "Answer with JSON and nothing else (no words before or after "
                                    "it, no code fence), valid by this JSON schema: %.*s",
                                    STR_FMT(o->r->schema)),
                       CACHE_NONE);
    json_close_array(&o->w);
}
