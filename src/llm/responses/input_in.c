/* responses/input_in: a request's `input`: its items become turns, its developer messages the
 * system's parts.
 *
 * What the model said comes back as items of their own (reasoning, message,
 * function_call); neighbours of them are one turn again. */
#include "llm/responses/responses.h"

#include <stdarg.h>
#include <stdio.h>

#include "llm/carry.h"

/* ---- where we are ---- */

unsigned responses_in_push(struct responses_in *in, const char *fmt, ...)
{
    unsigned before = in->path_n;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(in->path + before, sizeof in->path - before, fmt, ap);
    va_end(ap);
    in->path_n = before + (unsigned)n;
    if (in->path_n >= sizeof in->path)
        in->path_n = sizeof in->path - 1;
    return before;
}

static void pop(struct responses_in *in, unsigned before)
{
    in->path_n = before;
    in->path[before] = 0;
}

enum err responses_in_bad(struct responses_in *in, uint32_t i, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    if (!in->info)
        return ERR_INVALID;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_copy(in->info->field, sizeof in->info->field, str_make(in->path, in->path_n));
    if (i < in->d->n)
        in->info->offset = in->d->e[i].off;
    return err_set(in->info, ERR_INVALID, "%s", text);
}

/* Fails for member `name` of obj, which stands at value. */
static enum err bad_member(struct responses_in *in, uint32_t obj, uint32_t value, struct str name,
                           const char *text)
{
    responses_in_push(in, "%s%.*s", in->path_n ? "." : "", STR_FMT(name));
    return responses_in_bad(in, value == JSON_NONE ? obj : value, "%.*s %s", STR_FMT(name), text);
}

enum err responses_in_string(struct responses_in *in, uint32_t obj, struct str name, bool required,
                             struct str *out)
{
    uint32_t i = json_get(in->d, obj, name);
    *out = STR_NULL;
    if (!required && (i == JSON_NONE || json_is(in->d, i, JSON_NULL)))
        return ERR_OK;
    if (!json_is(in->d, i, JSON_STRING))
        return bad_member(in, obj, i, name, i == JSON_NONE ? "is required" : "must be a string");
    return json_string(in->d, i, in->a, out) ? ERR_OK : ERR_NOMEM;
}

/* ---- building turns ---- */

/* The turn to add to: the last one if it has this role and may grow, else a new one. */
static struct turn *turn_for(struct responses_in *in, enum role role, bool grow)
{
    if (grow && in->turn && in->turn->role == role)
        return in->turn;
    struct turn **at = in->turn ? &in->turn->next : &in->r->turns;
    struct turn *t = neutral_turn(in->a, role, at);
    if (t) {
        in->turn = t;
        in->part_end = &t->parts;
    }
    return t;
}

/* Appends in constant time. */
static struct part *add_part(struct arena *a, enum part_type type, struct part ***end)
{
    struct part *p = neutral_part(a, type, *end);
    if (p)
        *end = &p->next;
    return p;
}

/* ---- content ---- */

/* "data:image/png;base64,…" into its two halves; false: a URL of another kind. */
static bool data_url(struct str url, struct str *mime, struct str *data)
{
    const struct str start = STR("data:"), mark = STR(";base64,");
    if (!str_starts(url, start))
        return false;
    struct str rest = str_from(url, start.n);
    ptrdiff_t at = str_find(str_make(rest.p, rest.n < 256 ? rest.n : 256), mark);
    if (at < 0)
        return false;
    *mime = str_make(rest.p, (size_t)at);
    ptrdiff_t parameter = str_chr(*mime, ';');
    if (parameter >= 0)
        mime->n = (size_t)parameter;
    *data = str_from(rest, (size_t)at + mark.n);
    return true;
}

/* Exactly one of these members is to be there. */
static enum err one_of(struct responses_in *in, uint32_t obj, const struct str *given, unsigned n,
                       const char *names)
{
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++)
        found += given[i].n > 0;
    return found == 1 ? ERR_OK
                      : responses_in_bad(in, obj, "exactly one of %s must be given", names);
}

static enum err read_image(struct responses_in *in, uint32_t obj, struct part *p)
{
    struct str is[2];
    enum err e = responses_in_string(in, obj, STR("image_url"), false, &is[0]);
    if (!e)
        e = responses_in_string(in, obj, STR("file_id"), false, &is[1]);
    if (!e)
        e = responses_in_string(in, obj, STR("detail"), false, &p->media.detail);
    if (!e)
        e = one_of(in, obj, is, 2, "image_url and file_id");
    if (!e && is[0].n && !data_url(is[0], &p->media.mime, &p->media.data))
        p->media.url = is[0];
    p->media.file_id = is[1];
    return e;
}

static enum err read_file(struct responses_in *in, uint32_t obj, struct part *p)
{
    struct str is[3];
    struct media *m = &p->media;
    enum err e = responses_in_string(in, obj, STR("file_data"), false, &is[0]);
    if (!e)
        e = responses_in_string(in, obj, STR("file_url"), false, &is[1]);
    if (!e)
        e = responses_in_string(in, obj, STR("file_id"), false, &is[2]);
    if (!e)
        e = responses_in_string(in, obj, STR("filename"), false, &m->name);
    if (!e)
        e = one_of(in, obj, is, 3, "file_data, file_url and file_id");
    if (e)
        return e;
    if (is[0].n && !data_url(is[0], &m->mime, &m->data)) {
        m->data = is[0]; /* bare base64 */
        m->mime = STR("application/pdf");
    }
    m->url = is[1];
    m->file_id = is[2];
    return ERR_OK;
}

static enum err read_audio(struct responses_in *in, uint32_t obj, struct part *p)
{
    struct str format = STR_NULL;
    uint32_t audio = json_get(in->d, obj, STR("input_audio"));
    if (!json_is(in->d, audio, JSON_OBJECT))
        return bad_member(in, obj, audio, STR("input_audio"), "must be an object");
    responses_in_push(in, ".input_audio");
    enum err e = responses_in_string(in, audio, STR("data"), true, &p->media.data);
    if (!e)
        e = responses_in_string(in, audio, STR("format"), true, &format);
    p->media.mime = str_eq(format, STR("mp3")) ? STR("audio/mpeg")
                                               : arena_printf(in->a, "audio/%.*s", STR_FMT(format));
    return e;
}

static enum err read_said(struct responses_in *in, uint32_t obj, struct str name, struct part *p)
{
    uint32_t i = json_get(in->d, obj, name);
    if (!json_is(in->d, i, JSON_STRING))
        return responses_in_string(in, obj, name, true, &p->text);
    return neutral_read_text(p, in->d, i, in->a) ? ERR_OK : ERR_NOMEM;
}

static enum err read_text(struct responses_in *in, uint32_t obj, struct part *p)
{
    return read_said(in, obj, STR("text"), p);
}

static enum err read_refusal(struct responses_in *in, uint32_t obj, struct part *p)
{
    return read_said(in, obj, STR("refusal"), p);
}

/* The prompt up to this part is to be cached; half an hour is worth the shorter of our two. */
static uint8_t cache_of(const struct json_doc *d, uint32_t obj)
{
    uint32_t mark = json_get(d, obj, STR("prompt_cache_breakpoint"));
    if (!json_is(d, mark, JSON_OBJECT))
        return CACHE_NONE;
    return json_string_is(d, json_get(d, mark, STR("ttl")), STR("12h")) ? CACHE_1H : CACHE_5M;
}

static const struct content_row {
    struct str type;
    enum part_type part;
    enum err (*read)(struct responses_in *in, uint32_t obj, struct part *p);
} contents[] = {
    {STR("input_text"), PART_TEXT, read_text},     {STR("output_text"), PART_TEXT, read_text},
    {STR("text"), PART_TEXT, read_text},           {STR("input_image"), PART_IMAGE, read_image},
    {STR("input_file"), PART_DOCUMENT, read_file}, {STR("input_audio"), PART_AUDIO, read_audio},
    {STR("refusal"), PART_REFUSAL, read_refusal},
};

static enum err read_part(struct responses_in *in, uint32_t obj, bool text_only, struct part ***end)
{
    struct str type;
    if (!json_is(in->d, obj, JSON_OBJECT))
        return responses_in_bad(in, obj, "a content part must be an object");
    enum err e = responses_in_string(in, obj, STR("type"), true, &type);
    if (e)
        return e;
    const struct content_row *row = NULL;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (str_eq(contents[i].type, type))
            row = &contents[i];
    if (!row || (text_only && row->part != PART_TEXT))
        return bad_member(in, obj, json_get(in->d, obj, STR("type")), STR("type"),
                          text_only ? "must be input_text here"
                                    : "must be input_text, input_image, input_file, output_text or "
                                      "refusal");
    struct part *p = add_part(in->a, row->part, end);
    if (!p)
        return ERR_NOMEM;
    p->cache = cache_of(in->d, obj);
    return row->read(in, obj, p);
}

/* A string, or a list of parts. */
static enum err read_content(struct responses_in *in, uint32_t obj, struct str name, bool text_only,
                             struct part ***end)
{
    uint32_t i = json_get(in->d, obj, name);
    if (json_is(in->d, i, JSON_STRING)) {
        struct part *p = add_part(in->a, PART_TEXT, end);
        return p ? read_said(in, obj, name, p) : ERR_NOMEM;
    }
    if (!json_is(in->d, i, JSON_ARRAY))
        return bad_member(in, obj, i, name, "must be a string or a list of parts");
    unsigned n = 0;
    for (uint32_t c = json_child(in->d, i); c != JSON_NONE; c = json_sibling(in->d, i, c)) {
        unsigned before = responses_in_push(in, ".%.*s[%u]", STR_FMT(name), n++);
        enum err e = read_part(in, c, text_only, end);
        if (e)
            return e;
        pop(in, before);
    }
    return ERR_OK;
}

/* ---- items ---- */

static enum err read_message(struct responses_in *in, uint32_t item)
{
    struct str role;
    enum err e = responses_in_string(in, item, STR("role"), true, &role);
    if (e)
        return e;
    if (str_eq(role, STR("system")) || str_eq(role, STR("developer"))) {
        if (in->r->turns) /* its place among the turns is lost */
            in->dropped |= 1;
        return read_content(in, item, STR("content"), true, &in->system_end);
    }
    bool assistant = str_eq(role, STR("assistant"));
    if (!assistant && !str_eq(role, STR("user")))
        return bad_member(in, item, json_get(in->d, item, STR("role")), STR("role"),
                          "must be user, assistant, system or developer");
    if (!turn_for(in, assistant ? ROLE_ASSISTANT : ROLE_USER, assistant))
        return ERR_NOMEM;
    return read_content(in, item, STR("content"), false, &in->part_end);
}

static enum err read_call(struct responses_in *in, uint32_t item)
{
    struct str call_id, name, args;
    bool custom =
        json_string_is(in->d, json_get(in->d, item, STR("type")), STR("custom_tool_call"));
    enum err e = responses_in_string(in, item, STR("call_id"), true, &call_id);
    if (!e)
        e = responses_in_string(in, item, STR("name"), true, &name);
    if (!e)
        e = responses_in_string(in, item, custom ? STR("input") : STR("arguments"), true, &args);
    if (e)
        return e;
    if (!turn_for(in, ROLE_ASSISTANT, true))
        return ERR_NOMEM;
    struct part *p = add_part(in->a, PART_TOOL_USE, &in->part_end);
    if (!p)
        return ERR_NOMEM;
    enum issuer issuer;
    carry_id_split(call_id, &p->id, &issuer, &p->signature, in->a);
    p->issuer = (uint8_t)issuer;
    p->name = name;
    p->args = custom ? responses_custom_args(args, in->a) : args;
    return ERR_OK;
}

static bool ends_with_result(const struct responses_in *in)
{
    const struct part *p = in->turn ? in->turn->parts : NULL;
    return p && p->type == PART_TOOL_RESULT;
}

static enum err read_output(struct responses_in *in, uint32_t item)
{
    struct str call_id, signature;
    enum issuer issuer;
    enum err e = responses_in_string(in, item, STR("call_id"), true, &call_id);
    if (e)
        return e;
    if (!turn_for(in, ROLE_USER, ends_with_result(in)))
        return ERR_NOMEM;
    struct part *p = add_part(in->a, PART_TOOL_RESULT, &in->part_end);
    if (!p)
        return ERR_NOMEM;
    carry_id_split(call_id, &p->id, &issuer, &signature, in->a);
    struct part **end = &p->parts;
    return read_content(in, item, STR("output"), false, &end);
}

/* A list of {type, text}, if it is there. */
static enum err check_texts(struct responses_in *in, uint32_t item, struct str name)
{
    uint32_t list = json_get(in->d, item, name);
    struct str text;
    unsigned n = 0;
    if (list == JSON_NONE || json_is(in->d, list, JSON_NULL))
        return ERR_OK;
    if (!json_is(in->d, list, JSON_ARRAY))
        return bad_member(in, item, list, name, "must be a list");
    for (uint32_t i = json_child(in->d, list); i != JSON_NONE; i = json_sibling(in->d, list, i)) {
        unsigned before = responses_in_push(in, ".%.*s[%u]", STR_FMT(name), n++);
        enum err e = responses_in_string(in, i, STR("text"), true, &text);
        if (e)
            return e;
        pop(in, before);
    }
    return ERR_OK;
}

static enum err read_reasoning(struct responses_in *in, uint32_t item)
{
    struct str sealed;
    struct part found = {0};
    enum err e = check_texts(in, item, STR("summary"));
    if (!e)
        e = check_texts(in, item, STR("content"));
    if (!e)
        e = responses_in_string(in, item, STR("encrypted_content"), false, &sealed);
    if (e || !responses_read_reasoning(in->d, item, in->a, &found))
        return e;
    if (!turn_for(in, ROLE_ASSISTANT, true))
        return ERR_NOMEM;
    struct part *p = add_part(in->a, PART_REASONING, &in->part_end);
    if (!p)
        return ERR_NOMEM;
    found.type = PART_REASONING;
    *p = found;
    return ERR_OK;
}

static enum err refuse_reference(struct responses_in *in, uint32_t item)
{
    struct str id;
    enum err e = responses_in_string(in, item, STR("id"), true, &id);
    if (e || str_starts(id, STR("rs_"))) /* a thought can be done without */
        return e;
    responses_in_push(in, ".id");
    return responses_in_bad(in, json_get(in->d, item, STR("id")),
                            "item %.*s is not stored here: send the item itself",
                            id.n < 80 ? (int)id.n : 80, id.p);
}

static enum err refuse_compaction(struct responses_in *in, uint32_t item)
{
    responses_in_push(in, ".type");
    return responses_in_bad(in, json_get(in->d, item, STR("type")),
                            "a compacted conversation can be read by OpenAI only: send the whole "
                            "conversation as input");
}

/* Items by their type; those without a reader stand for tools that run at OpenAI, which nobody
 * else has: they are left out, and named in the receipt. */
static const struct item_row {
    struct str type;
    enum err (*read)(struct responses_in *in, uint32_t item);
    const char *drop; /* what of it is lost */
} items[] = {
    {STR("message"), read_message, "input.message.position"}, /* bit 0: see read_message */
    {STR("function_call"), read_call, NULL},
    {STR("function_call_output"), read_output, NULL},
    {STR("reasoning"), read_reasoning, NULL},
    {STR("item_reference"), refuse_reference, "input.item_reference"},
    {STR("compaction"), refuse_compaction, NULL},
    {STR("custom_tool_call"), read_call, "input.custom_tool_call"},
    {STR("custom_tool_call_output"), read_output, "input.custom_tool_call_output"},
    {STR("web_search_call"), NULL, "input.web_search_call"},
    {STR("file_search_call"), NULL, "input.file_search_call"},
    {STR("computer_call"), NULL, "input.computer_call"},
    {STR("computer_call_output"), NULL, "input.computer_call_output"},
    {STR("code_interpreter_call"), NULL, "input.code_interpreter_call"},
    {STR("image_generation_call"), NULL, "input.image_generation_call"},
    {STR("local_shell_call"), NULL, "input.local_shell_call"},
    {STR("local_shell_call_output"), NULL, "input.local_shell_call_output"},
    {STR("shell_call"), NULL, "input.shell_call"},
    {STR("shell_call_output"), NULL, "input.shell_call_output"},
    {STR("apply_patch_call"), NULL, "input.apply_patch_call"},
    {STR("apply_patch_call_output"), NULL, "input.apply_patch_call_output"},
    {STR("mcp_list_tools"), NULL, "input.mcp_list_tools"},
    {STR("mcp_approval_request"), NULL, "input.mcp_approval_request"},
    {STR("mcp_approval_response"), NULL, "input.mcp_approval_response"},
    {STR("mcp_call"), NULL, "input.mcp_call"},
    {STR("tool_search_call"), NULL, "input.tool_search_call"},
    {STR("tool_search_output"), NULL, "input.tool_search_output"},
    {STR("program"), NULL, "input.program"},
    {STR("program_output"), NULL, "input.program_output"},
    {STR("additional_tools"), NULL, "input.additional_tools"},
};
#define ITEMS (sizeof items / sizeof *items)
_Static_assert(ITEMS <= 32, "struct responses_in.dropped has a bit for each");

static const struct item_row *row_of(const struct json_doc *d, uint32_t item)
{
    uint32_t type = json_get(d, item, STR("type"));
    bool unsaid = type == JSON_NONE || json_is(d, type, JSON_NULL);
    struct str assumed =
        json_get(d, item, STR("role")) == JSON_NONE ? STR("item_reference") : STR("message");
    for (size_t i = 0; i < ITEMS; i++)
        if (unsaid ? str_eq(items[i].type, assumed) : json_string_is(d, type, items[i].type))
            return &items[i];
    return NULL;
}

static enum err read_item(struct responses_in *in, uint32_t item)
{
    struct str type;
    if (!json_is(in->d, item, JSON_OBJECT))
        return responses_in_bad(in, item, "an input item must be an object");
    enum err e = responses_in_string(in, item, STR("type"), false, &type);
    if (e)
        return e;
    const struct item_row *row = row_of(in->d, item);
    if (!row)
        return bad_member(in, item, json_get(in->d, item, STR("type")), STR("type"),
                          "is not that of a known input item");
    if (row != items && row->drop)
        in->dropped |= 1u << (row - items);
    return row->read ? row->read(in, item) : ERR_OK;
}

enum err responses_in_input(struct responses_in *in, uint32_t input)
{
    unsigned n = 0;
    unsigned top = responses_in_push(in, "input");
    if (json_is(in->d, input, JSON_STRING)) {
        struct turn *t = turn_for(in, ROLE_USER, false);
        struct part *p = t ? add_part(in->a, PART_TEXT, &in->part_end) : NULL;
        pop(in, top);
        return p && neutral_read_text(p, in->d, input, in->a) ? ERR_OK : ERR_NOMEM;
    }
    if (!json_is(in->d, input, JSON_ARRAY))
        return responses_in_bad(in, input, "input must be a string or a list of items");
    for (uint32_t i = json_child(in->d, input); i != JSON_NONE; i = json_sibling(in->d, input, i)) {
        unsigned before = responses_in_push(in, "[%u]", n++);
        enum err e = read_item(in, i);
        if (e)
            return e;
        pop(in, before);
    }
    pop(in, top);
    for (size_t i = 0; i < ITEMS; i++)
        if (in->dropped & 1u << i)
            neutral_extra(in->a, &in->r->extras, str_c(items[i].drop), STR("true"));
    return ERR_OK;
}
