/* gemini/contents_in: contents and systemInstruction as turns.
 *
 * Google takes camelCase and snake_case, a Content alone for a list of one,
 * and calls without ids: those are matched to their responses by name and
 * order, and get ids by position, which stay the same from request to request. */
#include "llm/gemini/gemini.h"

#include <stdio.h>

/* How many calls are looked through for the one that a response is for. */
#define CALLS_LOOKED 512

/* A call of the last model turn that waits for its response. */
struct waiting {
    struct waiting *next;
    struct part *call;
    bool used;
};

struct ctx {
    struct neutral_request *out;
    const struct json_doc *d;
    struct arena *a;
    struct err_info *info;
    struct waiting *waiting, **waiting_end;
    struct part *thinking; /* the part before, when it is a thought without a signature */
    struct buf thought;    /* its text, once it has come in two pieces */
    unsigned turn, calls, orphans;
    char at[64]; /* "contents[0].parts[1]" */
};

uint32_t gemini_get(const struct json_doc *d, uint32_t obj, const char *camel)
{
    char snake[64];
    size_t n = 0;
    uint32_t at = json_get(d, obj, str_c(camel));
    if (at != JSON_NONE)
        return at;
    for (const char *c = camel; *c && n + 2 < sizeof snake; c++) {
        if (*c >= 'A' && *c <= 'Z')
            snake[n++] = '_';
        snake[n++] = str_lower(*c);
    }
    return json_get(d, obj, str_make(snake, n));
}

enum err gemini_refuse(const struct json_doc *d, uint32_t at, struct err_info *info,
                       const char *field, const char *why)
{
    if (info) {
        str_copy(info->field, sizeof info->field, str_c(field));
        if (at < d->n)
            info->offset = d->e[at].off;
    }
    return err_set(info, ERR_INVALID, "%s", why);
}

/* Refuses what is at, or the part as a whole where it is missing. */
static enum err refuse(const struct ctx *c, uint32_t part, uint32_t at, const char *member,
                       const char *why)
{
    char field[160];
    str_copy(field, sizeof field, str_c(c->at));
    size_t n = strlen(field);
    str_copy(field + n, sizeof field - n, str_c(member));
    return gemini_refuse(c->d, at == JSON_NONE ? part : at, c->info, field, why);
}

static bool get_string(const struct ctx *c, uint32_t obj, const char *name, struct str *out)
{
    return json_string(c->d, gemini_get(c->d, obj, name), c->a, out);
}

/* ---- media ---- */

static enum part_type media_type(struct str mime)
{
    if (str_starts(mime, STR("image/")))
        return PART_IMAGE;
    return str_starts(mime, STR("audio/")) ? PART_AUDIO : PART_DOCUMENT;
}

/* SDKs write the alphabet for URLs; the neutral form wants the standard one, padded. */
static struct str standard_base64(struct str s, struct arena *a)
{
    if (str_chr(s, '-') < 0 && str_chr(s, '_') < 0 && s.n % 4 == 0)
        return s;
    char *p = arena_alloc(a, s.n + 4);
    if (!p)
        return STR_NULL;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        p[n++] = s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i];
    while (n % 4)
        p[n++] = '=';
    return str_make(p, n);
}

static enum err read_blob(struct ctx *c, uint32_t blob, struct part **list)
{
    struct str mime, data;
    if (!get_string(c, blob, "mimeType", &mime) || !mime.n)
        return refuse(c, blob, gemini_get(c->d, blob, "mimeType"), ".inlineData.mimeType",
                      "inlineData needs a mimeType");
    if (!get_string(c, blob, "data", &data) || !data.n)
        return refuse(c, blob, gemini_get(c->d, blob, "data"), ".inlineData.data",
                      "inlineData needs its bytes as base64 in data");
    struct part *p = neutral_part(c->a, media_type(mime), list);
    if (!p)
        return ERR_NOMEM;
    p->media.mime = mime;
    p->media.data = standard_base64(data, c->a);
    get_string(c, blob, "displayName", &p->media.name);
    return ERR_OK;
}

static enum err read_file(struct ctx *c, uint32_t file, struct part **list)
{
    struct str mime = STR_NULL, uri;
    if (!get_string(c, file, "fileUri", &uri) || !uri.n)
        return refuse(c, file, gemini_get(c->d, file, "fileUri"), ".fileData.fileUri",
                      "fileData needs a fileUri");
    get_string(c, file, "mimeType", &mime);
    struct part *p = neutral_part(c->a, media_type(mime), list);
    if (!p)
        return ERR_NOMEM;
    p->media.mime = mime;
    p->media.url = uri;
    return ERR_OK;
}

/* ---- calls and what they gave ---- */

static enum err read_call(struct ctx *c, uint32_t call, struct part *p)
{
    uint32_t args = gemini_get(c->d, call, "args");
    if (!get_string(c, call, "name", &p->name) || !p->name.n)
        return refuse(c, call, gemini_get(c->d, call, "name"), ".functionCall.name",
                      "functionCall needs a name");
    if (args != JSON_NONE && !json_is(c->d, args, JSON_NULL) && !json_is(c->d, args, JSON_OBJECT))
        return refuse(c, call, args, ".functionCall.args", "args must be an object");
    p->args = json_is(c->d, args, JSON_OBJECT) ? json_raw(c->d, args) : STR("{}");
    if (!get_string(c, call, "id", &p->id) || !p->id.n)
        p->id = arena_printf(c->a, "call_%u_%u", c->turn, c->calls);
    c->calls++;
    struct waiting *w = arena_zalloc(c->a, sizeof *w);
    if (!w)
        return ERR_NOMEM;
    w->call = p;
    *c->waiting_end = w;
    c->waiting_end = &w->next;
    return ERR_OK;
}

/* The call that a response is for: by id, else the first of that name without one. */
static struct str match_call(struct ctx *c, struct str id, struct str name)
{
    unsigned looked = 0;
    while (c->waiting && c->waiting->used)
        c->waiting = c->waiting->next;
    for (struct waiting *w = c->waiting; w && looked++ < CALLS_LOOKED; w = w->next)
        if (!w->used && (id.n ? str_eq(w->call->id, id) : str_eq(w->call->name, name))) {
            w->used = true;
            return w->call->id;
        }
    return id.n ? id : arena_printf(c->a, "call_%u_r%u", c->turn, c->orphans++);
}

/* {"output":…} and {"error":…} are the documented wrappings; anything else is the result. */
static struct str unwrap(struct ctx *c, uint32_t response, bool *is_error)
{
    uint32_t key = json_child(c->d, response), value = key == JSON_NONE ? key : key + 1;
    struct str s;
    bool one = json_size(c->d, response) == 1;
    *is_error = one && json_string_is(c->d, key, STR("error"));
    if (!one || (!*is_error && !json_string_is(c->d, key, STR("output"))))
        return json_raw(c->d, response);
    return json_string(c->d, value, c->a, &s) ? s : json_raw(c->d, value);
}

static enum err read_response(struct ctx *c, uint32_t r, struct part *p)
{
    uint32_t response = gemini_get(c->d, r, "response"), parts = gemini_get(c->d, r, "parts");
    struct str id = STR_NULL;
    enum err e = ERR_OK;
    if (!get_string(c, r, "name", &p->name) || !p->name.n)
        return refuse(c, r, gemini_get(c->d, r, "name"), ".functionResponse.name",
                      "functionResponse needs a name");
    if (!json_is(c->d, response, JSON_OBJECT))
        return refuse(c, r, response, ".functionResponse.response", "response must be an object");
    get_string(c, r, "id", &id);
    p->id = match_call(c, id, p->name);
    struct part *text = neutral_part(c->a, PART_TEXT, &p->parts);
    if (!text)
        return ERR_NOMEM;
    text->text = unwrap(c, response, &p->is_error);
    for (uint32_t i = json_child(c->d, parts); i != JSON_NONE && !e;
         i = json_sibling(c->d, parts, i)) {
        uint32_t blob = gemini_get(c->d, i, "inlineData");
        if (json_is(c->d, blob, JSON_OBJECT))
            e = read_blob(c, blob, &p->parts);
    }
    return e;
}

/* ---- parts ---- */

/* Thoughts arrive in pieces whose last has the signature: one part again. */
static struct part *thought_part(struct ctx *c, struct part **list, struct str text)
{
    if (!c->thinking) {
        c->thinking = neutral_part(c->a, PART_REASONING, list);
        buf_reset(&c->thought);
        if (c->thinking)
            c->thinking->text = text;
        return c->thinking;
    }
    if (!c->thought.n)
        buf_str(&c->thought, c->thinking->text);
    buf_str(&c->thought, text);
    return c->thinking;
}

static void end_thought(struct ctx *c)
{
    if (c->thinking && c->thought.n)
        c->thinking->text = arena_dup(c->a, buf_view(&c->thought));
    if (buf_failed(&c->thought))
        c->a->failed = true;
    c->thinking = NULL;
}

static void sign(struct ctx *c, struct part *p, uint32_t at)
{
    struct str field;
    enum issuer issuer;
    bool redacted;
    if (!get_string(c, at, "thoughtSignature", &field) || !field.n)
        return;
    end_thought(c);
    gemini_signature_split(field, &issuer, &p->signature, &redacted, c->a);
    p->issuer = (uint8_t)issuer;
    if (redacted && p->type == PART_REASONING && !p->text.n) {
        p->redacted = true;
        p->data = p->signature;
        p->signature = STR_NULL;
    }
}

static struct str fenced(struct ctx *c, uint32_t code, uint32_t result)
{
    struct str s = STR_NULL;
    if (code != JSON_NONE)
        get_string(c, code, "code", &s);
    else
        get_string(c, result, "output", &s);
    return arena_printf(c->a, "\n```%s\n%.*s\n```\n", code != JSON_NONE ? "python" : "",
                        STR_FMT(s));
}

static enum err read_part(struct ctx *c, uint32_t at, struct part **list)
{
    const struct json_doc *d = c->d;
    bool thought = false;
    struct str text;
    json_bool(d, gemini_get(d, at, "thought"), &thought);
    if (!thought)
        end_thought(c);
    if (json_string(d, at, c->a, &text)) {
        struct part *p = neutral_part(c->a, PART_TEXT, list);
        if (p)
            p->text = text;
        return p ? ERR_OK : ERR_NOMEM;
    }
    if (!json_is(d, at, JSON_OBJECT))
        return refuse(c, at, JSON_NONE, "", "a part must be an object");
    uint32_t call = gemini_get(d, at, "functionCall"), file = gemini_get(d, at, "fileData");
    uint32_t response = gemini_get(d, at, "functionResponse");
    uint32_t blob = gemini_get(d, at, "inlineData"), said = gemini_get(d, at, "text");
    uint32_t code = gemini_get(d, at, "executableCode");
    uint32_t result = gemini_get(d, at, "codeExecutionResult");
    if (json_is(d, blob, JSON_OBJECT))
        return read_blob(c, blob, list);
    if (json_is(d, file, JSON_OBJECT))
        return read_file(c, file, list);
    if (json_is(d, response, JSON_OBJECT)) {
        struct part *p = neutral_part(c->a, PART_TOOL_RESULT, list);
        return p ? read_response(c, response, p) : ERR_NOMEM;
    }
    struct part *p = NULL;
    if (json_is(d, call, JSON_OBJECT)) {
        p = neutral_part(c->a, PART_TOOL_USE, list);
        enum err e = p ? read_call(c, call, p) : ERR_NOMEM;
        if (e)
            return e;
    } else if (json_is(d, said, JSON_STRING) ||
               gemini_get(d, at, "thoughtSignature") != JSON_NONE) {
        if (thought) {
            text = STR_NULL;
            json_string(d, said, c->a, &text);
            p = thought_part(c, list, text);
        } else if ((p = neutral_part(c->a, PART_TEXT, list))) {
            neutral_read_text(p, d, said, c->a);
        }
    } else if (json_is(d, code, JSON_OBJECT) || json_is(d, result, JSON_OBJECT)) {
        p = neutral_part(c->a, PART_TEXT, list);
        if (p)
            p->text = fenced(c, code, result);
    } else {
        return refuse(c, at, said, said == JSON_NONE ? "" : ".text",
                      "a part needs text, inlineData, fileData, functionCall or "
                      "functionResponse");
    }
    if (!p)
        return ERR_NOMEM;
    sign(c, p, at);
    return ERR_OK;
}

/* ---- contents ---- */

static enum err read_parts(struct ctx *c, uint32_t parts, const char *prefix, struct part **list)
{
    unsigned n = 0;
    enum err e = ERR_OK;
    char at[48];
    str_copy(at, sizeof at, str_c(prefix));
    if (!json_is(c->d, parts, JSON_ARRAY)) {
        snprintf(c->at, sizeof c->at, "%s.parts", at);
        return read_part(c, parts, list);
    }
    for (uint32_t i = json_child(c->d, parts); i != JSON_NONE && !e;
         i = json_sibling(c->d, parts, i)) {
        snprintf(c->at, sizeof c->at, "%s.parts[%u]", at, n++);
        e = read_part(c, i, list);
    }
    return e;
}

static enum err read_role(struct ctx *c, uint32_t content, enum role *role)
{
    static const struct {
        struct str name;
        enum role role;
    } roles[] = {{STR("user"), ROLE_USER},
                 {STR("model"), ROLE_ASSISTANT},
                 {STR("function"), ROLE_USER},
                 {STR("tool"), ROLE_USER}};
    uint32_t at = json_get(c->d, content, STR("role"));
    *role = ROLE_USER;
    if (at == JSON_NONE || json_is(c->d, at, JSON_NULL))
        return ERR_OK;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (json_string_is(c->d, at, roles[i].name)) {
            *role = roles[i].role;
            return ERR_OK;
        }
    return refuse(c, content, at, ".role", "role must be \"user\" or \"model\"");
}

static enum err read_content(struct ctx *c, uint32_t at, const char *prefix)
{
    enum role role = ROLE_USER;
    uint32_t parts = at; /* a string is a part */
    str_copy(c->at, sizeof c->at, str_c(prefix));
    if (json_is(c->d, at, JSON_OBJECT)) {
        enum err e = read_role(c, at, &role);
        if (e)
            return e;
        parts = json_get(c->d, at, STR("parts"));
        if (parts == JSON_NONE || (json_is(c->d, parts, JSON_ARRAY) && !json_size(c->d, parts)))
            return refuse(c, at, parts, ".parts", "a content needs parts");
    } else if (!json_is(c->d, at, JSON_STRING)) {
        return refuse(c, at, JSON_NONE, "", "a content must be an object");
    }
    struct turn *t = neutral_turn(c->a, role, &c->out->turns);
    if (!t)
        return ERR_NOMEM;
    if (role == ROLE_ASSISTANT) {
        c->waiting = NULL;
        c->waiting_end = &c->waiting;
        c->calls = 0;
    }
    enum err e = read_parts(c, parts, prefix, &t->parts);
    end_thought(c);
    return e;
}

static void ctx_init(struct ctx *c, struct neutral_request *out, const struct json_doc *d,
                     struct arena *a, struct err_info *info)
{
    *c = (struct ctx){.out = out, .d = d, .a = a, .info = info};
    c->waiting_end = &c->waiting;
    buf_init(&c->thought, d->text.n + 1);
}

static enum err read_list(struct ctx *c, uint32_t list)
{
    enum err e = ERR_OK;
    for (uint32_t i = json_child(c->d, list); i != JSON_NONE && !e;
         i = json_sibling(c->d, list, i)) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "contents[%u]", c->turn);
        e = read_content(c, i, prefix);
        c->turn++;
    }
    return e;
}

enum err gemini_read_contents(struct neutral_request *out, const struct json_doc *d, uint32_t at,
                              struct arena *a, struct err_info *info)
{
    struct ctx c;
    enum err e;
    if (at == JSON_NONE || (json_is(d, at, JSON_ARRAY) && !json_size(d, at)))
        return gemini_refuse(d, at, info, "contents", "contents must not be empty");
    ctx_init(&c, out, d, a, info);
    if (json_is(d, at, JSON_OBJECT) || json_is(d, at, JSON_STRING))
        e = read_content(&c, at, "contents");
    else if (json_is(d, at, JSON_ARRAY))
        e = read_list(&c, at);
    else
        e = gemini_refuse(d, at, info, "contents", "contents must be an array");
    buf_release(&c.thought);
    return e;
}

enum err gemini_read_system(struct neutral_request *out, const struct json_doc *d, uint32_t at,
                            struct arena *a, struct err_info *info)
{
    struct ctx c;
    uint32_t parts = at;
    if (at == JSON_NONE || json_is(d, at, JSON_NULL))
        return ERR_OK;
    if (json_is(d, at, JSON_OBJECT) && json_get(d, at, STR("parts")) != JSON_NONE)
        parts = json_get(d, at, STR("parts"));
    ctx_init(&c, out, d, a, info);
    enum err e = read_parts(&c, parts, "systemInstruction", &out->system);
    end_thought(&c);
    buf_release(&c.thought);
    for (const struct part *p = out->system; p && !e; p = p->next)
        if (p->type != PART_TEXT)
            e = gemini_refuse(d, at, info, "systemInstruction.parts",
                              "systemInstruction holds text only");
    return e;
}
