/* gemini/contents_out: a conversation as Gemini's contents.
 *
 * Turns are user or model.  What tools gave goes into a user turn of its own,
 * in the order in which the calls were made: Vertex matches by position and
 * refuses ids.  A thought signature goes back on the part that it came on; on
 * a first call that lost its own, Gemini 3 accepts a documented placeholder
 * (https://ai.google.dev/gemini-api/docs/thought-signatures). */
#include "llm/gemini/gemini.h"

/* A result nested deeper stays text: it stands in a few levels more. */
#define RESULT_DEPTH 48
#define ORDER_MAX    ((size_t)1 << 14)
#define NO_SIGNATURE STR("skip_thought_signature_validator")

struct ctx {
    struct json_writer *w;
    const struct neutral_request *r;
    const struct model_caps *caps;
    struct arena *a;
    struct err_info *info;
};

/* ---- media ---- */

static bool is_media(const struct part *p)
{
    return p->type == PART_IMAGE || p->type == PART_DOCUMENT || p->type == PART_AUDIO;
}

static struct str without_query(struct str uri)
{
    for (size_t i = 0; i < uri.n; i++)
        if (uri.p[i] == '?' || uri.p[i] == '#')
            return str_make(uri.p, i);
    return uri;
}

static struct str mime_of(const struct part *p, struct str uri)
{
    static const struct {
        struct str end, mime;
    } ends[] = {
        {STR(".png"), STR("image/png")},       {STR(".jpg"), STR("image/jpeg")},
        {STR(".jpeg"), STR("image/jpeg")},     {STR(".gif"), STR("image/gif")},
        {STR(".webp"), STR("image/webp")},     {STR(".heic"), STR("image/heic")},
        {STR(".pdf"), STR("application/pdf")}, {STR(".txt"), STR("text/plain")},
        {STR(".mp3"), STR("audio/mp3")},       {STR(".wav"), STR("audio/wav")},
        {STR(".mp4"), STR("video/mp4")},       {STR(".mov"), STR("video/mov")},
    };
    if (p->media.mime.n)
        return p->media.mime;
    uri = without_query(uri);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (uri.n >= ends[i].end.n && str_ieq(str_from(uri, uri.n - ends[i].end.n), ends[i].end))
            return ends[i].mime;
    return p->type == PART_IMAGE   ? STR("image/jpeg")
           : p->type == PART_AUDIO ? STR("audio/wav")
                                   : STR("application/pdf");
}

/* URIs that Gemini reads by itself: https://ai.google.dev/gemini-api/docs/file-input-methods */
static bool is_readable(struct str uri)
{
    return str_starts(uri, STR("https://")) || str_starts(uri, STR("gs://"));
}

/* "data:image/png;base64,…" */
static bool data_url(struct str url, struct str *mime, struct str *data)
{
    ptrdiff_t comma = str_chr(url, ',');
    if (!str_starts(url, STR("data:")) || comma < 0)
        return false;
    struct str head = str_make(url.p + 5, (size_t)comma - 5);
    if (!str_ends(head, STR(";base64")))
        return false;
    str_split(&head, ';', mime);
    *data = str_from(url, (size_t)comma + 1);
    return true;
}

/* Where the callers of each form say what is refused here. */
struct fields {
    enum llm_op op;
    const char *url, *file, *call;
};

static const struct fields *fields_of(enum llm_op op)
{
    static const struct fields table[] = {
        {OP_CHAT, "messages[].content[].image_url.url", "messages[].content[].file.file_id",
         "messages[].tool_call_id"},
        {OP_RESPONSES, "input[].content[].image_url", "input[].content[].file_id",
         "input[].call_id"},
        {OP_MESSAGES, "messages[].content[].source.url", "messages[].content[].source.file_id",
         "messages[].content[].tool_use_id"},
        {OP_COUNT_TOKENS, "messages[].content[].source.url", "messages[].content[].source.file_id",
         "messages[].content[].tool_use_id"},
        {OP_NONE, "contents[].parts[].fileData.fileUri", "contents[].parts[].fileData.fileUri",
         "contents[].parts[].functionResponse.name"},
    };
    const struct fields *f = table;
    while (f->op != op && f->op != OP_NONE)
        f++;
    return f;
}

static enum err refuse(const struct ctx *c, const char *field, const char *why)
{
    if (c->info)
        str_copy(c->info->field, sizeof c->info->field, str_c(field));
    return err_set(c->info, ERR_INVALID, "%s", why);
}

static enum err refuse_media(const struct ctx *c, const struct part *p)
{
    const struct fields *f = fields_of(c->r->op);
    if (p->media.url.n)
        return refuse(c, f->url,
                      "Gemini fetches from https addresses only: send the bytes as a data URL");
    return refuse(c, f->file, "Gemini cannot read this file: send its bytes as a data URL");
}

static enum err put_media(const struct ctx *c, const struct part *p)
{
    struct str mime = STR_NULL, data = p->media.data, uri = p->media.url;
    bool inlined = data.n || data_url(uri, &mime, &data);
    if (!inlined && !is_readable(uri))
        return refuse_media(c, p);
    json_open_object(c->w);
    json_key(c->w, inlined ? STR("inlineData") : STR("fileData"));
    json_open_object(c->w);
    json_field_string(c->w, "mimeType", mime.n ? mime : mime_of(p, inlined ? STR_NULL : uri));
    if (inlined)
        json_field_lent(c->w, "data", data);
    else
        json_field_string(c->w, "fileUri", uri);
    json_close_object(c->w);
    json_close_object(c->w);
    return ERR_OK;
}

/* ---- parts ---- */

static void put_part_text(const struct ctx *c, const struct part *p, bool thought,
                          struct str signature)
{
    json_open_object(c->w);
    json_key(c->w, STR("text"));
    neutral_put_text(c->w, p);
    if (thought)
        json_field_bool(c->w, "thought", true);
    if (signature.n)
        json_field_string(c->w, "thoughtSignature", signature);
    json_close_object(c->w);
}

static void put_blank(const struct ctx *c)
{
    put_part_text(c, &(struct part){.type = PART_TEXT, .text = STR(" ")}, false, STR_NULL);
}

static struct str own_signature(const struct part *p)
{
    return p->issuer == ISSUER_GEMINI ? p->signature : STR_NULL;
}

static void put_call(const struct ctx *c, const struct part *p, bool first)
{
    struct str signature = own_signature(p);
    if (!signature.n && first && model_caps_rule(c->caps, RULE_SIGNATURE_REQUIRED))
        signature = NO_SIGNATURE;
    json_open_object(c->w);
    json_key(c->w, STR("functionCall"));
    json_open_object(c->w);
    json_field_string(c->w, "name", p->name);
    json_key(c->w, STR("args"));
    json_put_raw(c->w, neutral_args_object(p->args, c->a));
    json_close_object(c->w);
    if (signature.n)
        json_field_string(c->w, "thoughtSignature", signature);
    json_close_object(c->w);
}

static bool is_said(const struct part *p)
{
    switch (p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        return neutral_says(p) || own_signature(p).n;
    case PART_REASONING:
        return own_signature(p).n > 0;
    case PART_TOOL_RESULT:
        return false;
    default:
        return true;
    }
}

static enum err put_part(const struct ctx *c, const struct part *p, bool *called)
{
    switch (p->type) {
    case PART_TEXT:
    case PART_REFUSAL:
        put_part_text(c, p, false, own_signature(p));
        return ERR_OK;
    case PART_REASONING:
        put_part_text(c, p, true, own_signature(p));
        return ERR_OK;
    case PART_TOOL_USE:
        put_call(c, p, !*called);
        *called = true;
        return ERR_OK;
    default:
        return put_media(c, p);
    }
}

/* ---- what tools gave ---- */

/* All of a result's text, plain; one piece is lent. */
static struct str text_of(const struct part *result, struct arena *a)
{
    const struct part *one = NULL;
    unsigned n = 0;
    size_t bytes = 0;
    for (struct part *p = result->parts; p; p = p->next)
        if (p->type == PART_TEXT) {
            neutral_plain_part(p, a);
            one = p;
            n++;
            bytes += p->text.n;
        }
    if (n <= 1)
        return one ? one->text : result->text;
    char *all = arena_alloc(a, bytes + 1), *at = all;
    for (const struct part *p = result->parts; p && all; p = p->next)
        if (p->type == PART_TEXT && p->text.n) {
            memcpy(at, p->text.p, p->text.n);
            at += p->text.n;
        }
    return all ? str_make(all, bytes) : STR_NULL;
}

static bool is_object(struct str text, struct arena *a)
{
    struct json_doc d;
    text = str_trim(text);
    enum err e = text.n && text.p[0] == '{' ? json_parse(&d, text, NULL) : ERR_BAD_JSON;
    if (e == ERR_NOMEM)
        a->failed = true;
    for (uint32_t i = 0; !e && i < d.n; i++)
        if (d.e[i].depth > RESULT_DEPTH)
            return false;
    return e == ERR_OK;
}

static enum err put_result(const struct ctx *c, const struct part *p)
{
    struct str text = text_of(p, c->a);
    if (!p->name.n)
        return refuse(c, fields_of(c->r->op)->call,
                      "a tool's result needs its call before it: Gemini wants the function's name");
    json_open_object(c->w);
    json_key(c->w, STR("functionResponse"));
    json_open_object(c->w);
    json_field_string(c->w, "name", p->name);
    json_key(c->w, STR("response"));
    if (!p->is_error && is_object(text, c->a)) {
        json_put_raw(c->w, text);
    } else {
        json_open_object(c->w);
        json_key(c->w, p->is_error ? STR("error") : STR("output"));
        json_put_string(c->w, text);
        json_close_object(c->w);
    }
    json_close_object(c->w);
    json_close_object(c->w);
    return ERR_OK;
}

static bool is_call_of(const struct part *calls, struct str id)
{
    for (; calls; calls = calls->next)
        if (calls->type == PART_TOOL_USE && str_eq(calls->id, id))
            return true;
    return false;
}

static size_t count(const struct part *p, enum part_type type)
{
    size_t n = 0;
    for (; p; p = p->next)
        n += p->type == type;
    return n;
}

/* A turn's results: those of the calls before it in their order, then the others. So many that
 * ordering them would take long stay as they are. */
static enum err put_results(const struct ctx *c, const struct turn *t, const struct part *calls)
{
    enum err e = ERR_OK;
    if (count(calls, PART_TOOL_USE) * count(t->parts, PART_TOOL_RESULT) > ORDER_MAX)
        calls = NULL;
    for (const struct part *call = calls; call && !e; call = call->next)
        for (const struct part *p = t->parts; p && !e && call->type == PART_TOOL_USE; p = p->next)
            if (p->type == PART_TOOL_RESULT && str_eq(p->id, call->id)) {
                e = put_result(c, p);
                break;
            }
    for (const struct part *p = t->parts; p && !e; p = p->next)
        if (p->type == PART_TOOL_RESULT && !is_call_of(calls, p->id))
            e = put_result(c, p);
    return e;
}

/* ---- turns ---- */

static void open_turn(const struct ctx *c, enum role role)
{
    json_open_object(c->w);
    json_field_string(c->w, "role", role == ROLE_USER ? STR("user") : STR("model"));
    json_key(c->w, STR("parts"));
    json_open_array(c->w);
}

static void close_turn(const struct ctx *c)
{
    json_close_array(c->w);
    json_close_object(c->w);
}

/* What is in a turn: parts that are said, results, media inside results; text among it. */
struct content {
    bool said, text, results;
};

static struct content look(const struct turn *t)
{
    struct content k = {0};
    for (const struct part *p = t->parts; p; p = p->next) {
        k.said = k.said || is_said(p);
        k.text = k.text || (is_said(p) && !is_media(p));
        k.results = k.results || p->type == PART_TOOL_RESULT;
        for (const struct part *q = p->parts; q; q = q->next)
            k.said = k.said || is_media(q);
    }
    return k;
}

static enum err put_turn(const struct ctx *c, const struct turn *t, const struct part *calls)
{
    struct content k = look(t);
    enum err e = ERR_OK;
    bool called = false;
    if (k.results) {
        open_turn(c, ROLE_USER);
        e = put_results(c, t, calls);
        close_turn(c);
    }
    if (e || !k.said)
        return e;
    open_turn(c, (enum role)t->role);
    for (const struct part *p = t->parts; p && !e; p = p->next) {
        for (const struct part *q = p->parts; q && !e; q = q->next)
            if (is_media(q))
                e = put_media(c, q);
        if (!e && is_said(p))
            e = put_part(c, p, &called);
    }
    if (!k.text && t->role == ROLE_USER)
        put_blank(c);
    close_turn(c);
    return e;
}

static void put_system(const struct ctx *c)
{
    bool open = false;
    for (const struct part *p = c->r->system; p; p = p->next) {
        if (p->type != PART_TEXT || !neutral_says(p))
            continue;
        if (!open) {
            json_key(c->w, STR("systemInstruction"));
            json_open_object(c->w);
            json_key(c->w, STR("parts"));
            json_open_array(c->w);
            open = true;
        }
        put_part_text(c, p, false, STR_NULL);
    }
    if (open)
        close_turn(c);
}

enum err gemini_put_contents(struct json_writer *w, const struct neutral_request *r,
                             const struct model_caps *caps, struct arena *a, struct err_info *info)
{
    struct ctx c = {w, r, caps, a, info};
    const struct part *calls = NULL;
    enum err e = ERR_OK;
    bool any = false;
    put_system(&c);
    json_key(w, STR("contents"));
    json_open_array(w);
    for (const struct turn *t = r->turns; t && !e; t = t->next) {
        struct content k = look(t);
        any = any || k.said || k.results;
        e = put_turn(&c, t, calls);
        if (t->role == ROLE_ASSISTANT)
            calls = t->parts;
    }
    if (!any && !e) { /* contents must not be empty */
        open_turn(&c, ROLE_USER);
        put_blank(&c);
        close_turn(&c);
    }
    json_close_array(w);
    return e;
}
