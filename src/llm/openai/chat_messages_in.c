/* chat_messages_in: the messages of a request: one function for each role.
 *
 * System and developer messages become system parts wherever they stand; the
 * messages of tools become user turns.  A call in the old function_call form
 * has no id: it gets one, which the next message of role function answers. */
#include "llm/openai/openai.h"

#include "llm/carry.h"

static struct part *add_part(struct openai_in *in, enum part_type type, struct part ***end)
{
    struct part *p = neutral_part(in->a, type, *end);
    if (p)
        *end = &p->next;
    else
        in->err = in->err ? in->err : ERR_NOMEM;
    return p;
}

static void add_text(struct openai_in *in, enum part_type type, struct str text, struct part ***end)
{
    struct part *p = text.n ? add_part(in, type, end) : NULL;
    if (p)
        p->text = text;
}

/* A string of the body; a long one with escapes is kept as it stands. */
static void add_string(struct openai_in *in, enum part_type type, uint32_t i, struct part ***end)
{
    struct str s;
    if (!neutral_is_long(in->d, i)) {
        if (openai_string(in, i, &s))
            add_text(in, type, s, end);
        return;
    }
    struct part *p = add_part(in, type, end);
    if (p)
        p->escaped = json_raw(in->d, i);
}

static struct turn *add_turn(struct openai_in *in, enum role role)
{
    struct turn *t = neutral_turn(in->a, role, in->turn_end);
    if (t)
        in->turn_end = &t->next;
    else
        in->err = in->err ? in->err : ERR_NOMEM;
    return t;
}

/* ---- media ---- */

/* "data:image/png;base64,…": the type without its parameters, and the data. */
static void in_data_url(struct openai_in *in, uint32_t i, struct str url, struct media *m)
{
    ptrdiff_t comma = str_chr(url, ',');
    struct str head = str_make(url.p, comma < 0 ? 0 : (size_t)comma);
    if (!str_ends(head, STR(";base64"))) {
        openai_fail(in, i, NULL, "must be a data URL in base64: data:<type>;base64,<data>");
        return;
    }
    m->data = str_from(url, head.n + 1);
    head = str_from(head, sizeof "data:" - 1);
    str_split(&head, ';', &m->mime);
    if (!m->data.n)
        openai_fail(in, i, NULL, "holds no data");
}

static bool is_remote(struct str url)
{
    return str_starts(url, STR("https://")) || str_starts(url, STR("http://")) ||
           str_starts(url, STR("gs://"));
}

static void in_url(struct openai_in *in, uint32_t i, struct media *m)
{
    struct str url;
    if (!openai_string(in, i, &url))
        return;
    if (str_starts(url, STR("data:")))
        in_data_url(in, i, url, m);
    else if (is_remote(url))
        m->url = url;
    else
        openai_fail(in, i, NULL, "must be an https URL or a data URL");
}

/* {"image_url": {"url": …, "detail": …}}; some clients put the URL in its place. */
static void in_image(struct openai_in *in, uint32_t part, struct part ***end)
{
    uint32_t i = openai_get(in, part, "image_url");
    struct part *p = add_part(in, PART_IMAGE, end);
    if (!p)
        return;
    if (json_is(in->d, i, JSON_OBJECT)) {
        openai_member_string(in, i, "detail", false, &p->media.detail);
        if (openai_get(in, i, "url") == JSON_NONE)
            openai_fail(in, i, "url", "is missing: it must be an https URL or a data URL");
        i = openai_get(in, i, "url");
    }
    if (i == JSON_NONE)
        openai_fail(in, part, "image_url", "is missing: it must be an object");
    else
        in_url(in, i, &p->media);
}

static void in_audio(struct openai_in *in, uint32_t part, struct part ***end)
{
    uint32_t i;
    struct str format;
    struct part *p = add_part(in, PART_AUDIO, end);
    if (!p || !openai_member_object(in, part, "input_audio", true, &i))
        return;
    openai_member_string(in, i, "data", true, &p->media.data);
    if (!openai_member_string(in, i, "format", true, &format))
        return;
    if (str_eq(format, STR("mp3")))
        p->media.mime = STR("audio/mpeg");
    else
        p->media.mime = arena_printf(in->a, "audio/%.*s", STR_FMT(format));
}

static const struct {
    struct str end, mime;
} types[] = {
    {STR(".pdf"), STR("application/pdf")}, {STR(".txt"), STR("text/plain")},
    {STR(".md"), STR("text/markdown")},    {STR(".csv"), STR("text/csv")},
    {STR(".html"), STR("text/html")},      {STR(".json"), STR("application/json")},
};

static struct str type_by_name(struct str name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ends(name, types[i].end))
            return types[i].mime;
    return STR("application/pdf");
}

/* {"file": {"file_data": data URL or base64, "filename": …} or {"file_id": …}} */
static void in_file(struct openai_in *in, uint32_t part, struct part ***end)
{
    uint32_t i, data;
    struct str s;
    struct part *p = add_part(in, PART_DOCUMENT, end);
    if (!p || !openai_member_object(in, part, "file", true, &i))
        return;
    openai_member_string(in, i, "filename", false, &p->media.name);
    if (openai_member_string(in, i, "file_id", false, &p->media.file_id))
        return;
    data = openai_get(in, i, "file_data");
    if (data == JSON_NONE) {
        openai_fail(in, i, NULL, "must have file_data or file_id");
    } else if (openai_string(in, data, &s)) {
        if (str_starts(s, STR("data:")) || is_remote(s)) {
            in_url(in, data, &p->media);
        } else {
            p->media.data = s;
            p->media.mime = type_by_name(p->media.name);
        }
    }
}

/* ---- content ---- */

enum { TAKES_TEXT = 1, TAKES_MEDIA = 2, TAKES_REFUSAL = 4 };

static void in_text(struct openai_in *in, uint32_t part, enum part_type type, const char *name,
                    struct part ***end)
{
    uint32_t i = openai_get(in, part, name);
    if (i == JSON_NONE)
        openai_fail(in, part, name, "is missing: it must be a string");
    else
        add_string(in, type, i, end);
}

static void in_part(struct openai_in *in, uint32_t i, unsigned takes, struct part ***end)
{
    struct part **before = *end;
    struct str type = STR("");
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be an object");
        return;
    }
    if (!openai_member_string(in, i, "type", true, &type))
        return;
    if (str_eq(type, STR("text")))
        in_text(in, i, PART_TEXT, "text", end);
    else if (str_eq(type, STR("refusal")) && takes & TAKES_REFUSAL)
        in_text(in, i, PART_REFUSAL, "refusal", end);
    else if (str_eq(type, STR("image_url")) && takes & TAKES_MEDIA)
        in_image(in, i, end);
    else if (str_eq(type, STR("input_audio")) && takes & TAKES_MEDIA)
        in_audio(in, i, end);
    else if (str_eq(type, STR("file")) && takes & TAKES_MEDIA)
        in_file(in, i, end);
    else
        openai_fail(in, openai_get(in, i, "type"), NULL, "must be %s here",
                    takes & TAKES_MEDIA     ? "text, image_url, input_audio or file"
                    : takes & TAKES_REFUSAL ? "text or refusal"
                                            : "text");
    enum cache_mark cache = chat_in_cache(in, i);
    if (*before)
        (*before)->cache = (uint8_t)cache;
}

/* A string, or an array of parts. needed: it may not be absent. */
static void in_content(struct openai_in *in, uint32_t m, unsigned takes, bool needed,
                       struct part ***end)
{
    uint32_t i = openai_get(in, m, "content");
    struct part **first = *end;
    if (i == JSON_NONE) {
        if (needed)
            openai_fail(in, m, "content", "is missing: it must be a string or an array of parts");
        return;
    }
    if (json_is(in->d, i, JSON_STRING)) {
        add_string(in, PART_TEXT, i, end);
    } else if (!json_is(in->d, i, JSON_ARRAY)) {
        openai_fail(in, i, NULL, "must be a string or an array of parts");
    } else {
        OPENAI_EACH(in->d, e, i)
        {
            if (in->err)
                return;
            in_part(in, e, takes, end);
        }
    }
    /* a mark beside content is that of its last part */
    enum cache_mark cache = chat_in_cache(in, m);
    if (cache != CACHE_NONE && *first)
        for (struct part *p = *first; p; p = p->next)
            if (!p->next)
                p->cache = (uint8_t)cache;
}

/* ---- messages by role ---- */

static void in_system(struct openai_in *in, uint32_t m)
{
    in_content(in, m, TAKES_TEXT, true, &in->system_end);
}

static void in_user(struct openai_in *in, uint32_t m)
{
    struct turn *t = add_turn(in, ROLE_USER);
    if (!t)
        return;
    struct part **end = &t->parts;
    openai_member_string(in, m, "name", false, &t->name);
    in_content(in, m, TAKES_TEXT | TAKES_MEDIA, true, &end);
}

/* The function (or custom) member of a call. */
static void in_call_of(struct openai_in *in, uint32_t f, const char *args, struct part *p)
{
    openai_member_string(in, f, "name", true, &p->name);
    openai_member_string(in, f, args, false, &p->args);
}

static void in_call(struct openai_in *in, uint32_t i, struct part ***end)
{
    struct str id;
    uint32_t f;
    enum issuer issuer = ISSUER_NONE;
    if (!json_is(in->d, i, JSON_OBJECT)) {
        openai_fail(in, i, NULL, "must be an object");
        return;
    }
    struct part *p = add_part(in, PART_TOOL_USE, end);
    if (!p || !openai_member_string(in, i, "id", true, &id))
        return;
    carry_id_split(id, &p->id, &issuer, &p->signature, in->a);
    p->issuer = (uint8_t)issuer;
    if (json_string_is(in->d, json_get(in->d, i, STR("type")), STR("custom"))) {
        if (openai_member_object(in, i, "custom", true, &f))
            in_call_of(in, f, "input", p);
    } else if (openai_member_object(in, i, "function", true, &f)) {
        in_call_of(in, f, "arguments", p);
    }
}

static void in_calls(struct openai_in *in, uint32_t m, struct part ***end)
{
    uint32_t calls = openai_get(in, m, "tool_calls"), f = openai_get(in, m, "function_call");
    if (calls != JSON_NONE && !json_is(in->d, calls, JSON_ARRAY))
        openai_fail(in, calls, NULL, "must be an array");
    OPENAI_EACH(in->d, c, calls)
    {
        if (in->err)
            return;
        in_call(in, c, end);
    }
    if (f == JSON_NONE || json_child(in->d, calls) != JSON_NONE) /* some say it in both forms */
        return;
    if (!json_is(in->d, f, JSON_OBJECT)) {
        openai_fail(in, f, NULL, "must be an object");
        return;
    }
    struct part *p = add_part(in, PART_TOOL_USE, end);
    if (!p)
        return;
    in->legacy_id = p->id = arena_printf(in->a, "call_function_%u", in->legacy_n++);
    in_call_of(in, f, "arguments", p);
}

static void in_assistant(struct openai_in *in, uint32_t m)
{
    struct turn *t = add_turn(in, ROLE_ASSISTANT);
    struct str s;
    if (!t)
        return;
    struct part **end = &t->parts;
    openai_member_string(in, m, "name", false, &t->name);
    chat_reasoning_read(in->d, m, in->a, end);
    while (*end)
        end = &(*end)->next;
    in_content(in, m, TAKES_TEXT | TAKES_REFUSAL, false, &end);
    if (openai_member_string(in, m, "refusal", false, &s))
        add_text(in, PART_REFUSAL, s, &end);
    in_calls(in, m, &end);
}

static void in_result(struct openai_in *in, uint32_t m, struct str id, struct str name)
{
    struct turn *t = add_turn(in, ROLE_USER);
    struct part **end = t ? &t->parts : NULL;
    struct part *p = t ? add_part(in, PART_TOOL_RESULT, &end) : NULL;
    if (!p)
        return;
    p->id = id;
    p->name = name;
    end = &p->parts;
    in_content(in, m, TAKES_TEXT | TAKES_MEDIA, true, &end);
    p->cache = (uint8_t)chat_in_cache(in, m);
}

static void in_tool(struct openai_in *in, uint32_t m)
{
    struct str joined, id, name = STR_NULL, signature;
    enum issuer issuer;
    openai_member_string(in, m, "name", false, &name);
    if (!openai_member_string(in, m, "tool_call_id", true, &joined))
        return;
    carry_id_split(joined, &id, &issuer, &signature, in->a);
    in_result(in, m, id, name);
}

static void in_function(struct openai_in *in, uint32_t m)
{
    struct str name;
    if (!openai_member_string(in, m, "name", true, &name))
        return;
    in_result(in, m, in->legacy_id.n ? in->legacy_id : STR("call_function"), name);
}

static const struct {
    struct str role;
    void (*in)(struct openai_in *in, uint32_t m);
} roles[] = {
    {STR("user"), in_user},     {STR("assistant"), in_assistant}, {STR("tool"), in_tool},
    {STR("system"), in_system}, {STR("developer"), in_system},    {STR("function"), in_function},
};

static void in_message(struct openai_in *in, uint32_t m)
{
    uint32_t role = openai_get(in, m, "role");
    if (!json_is(in->d, m, JSON_OBJECT)) {
        openai_fail(in, m, NULL, "must be an object");
        return;
    }
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (json_string_is(in->d, role, roles[i].role)) {
            roles[i].in(in, m);
            return;
        }
    if (role == JSON_NONE)
        openai_fail(in, m, "role",
                    "is missing: it must be system, developer, user, assistant, tool or function");
    else
        openai_fail(in, role, NULL, "must be system, developer, user, assistant, tool or function");
}

void chat_in_messages(struct openai_in *in, uint32_t i)
{
    if (!json_is(in->d, i, JSON_ARRAY))
        openai_fail(in, i, NULL, "must be an array of messages");
    else if (json_child(in->d, i) == JSON_NONE)
        openai_fail(in, i, NULL, "must not be empty");
    OPENAI_EACH(in->d, m, i)
    {
        if (in->err)
            return;
        in_message(in, m);
    }
}
