/* gemini/reply: a whole answer of generateContent or countTokens, and what a part of an answer
 * means, which events.c shares. */
#include "llm/gemini/gemini.h"

#include "core/hash.h"

/* ---- errors ---- */

bool gemini_is_error(const struct json_doc *d, uint32_t root, struct str provider, struct fault *f)
{
    if (json_is(d, root, JSON_ARRAY))
        root = json_child(d, root);
    uint32_t error = json_get(d, root, STR("error"));
    if (error == JSON_NONE || json_is(d, error, JSON_NULL))
        return false;
    fault_from_object(f, provider, d, error);
    return true;
}

/* ---- parts ---- */

static void get_text(const struct json_doc *d, uint32_t obj, struct str name, struct arena *a,
                     struct str *out)
{
    if (!json_string(d, json_get(d, obj, name), a, out))
        *out = STR_NULL;
}

/* What the model ran, what came out of it and what it drew, as text in Markdown. */
static void read_other(const struct json_doc *d, uint32_t at, struct arena *a,
                       struct gemini_part *out)
{
    uint32_t code = json_get(d, at, STR("executableCode"));
    uint32_t result = json_get(d, at, STR("codeExecutionResult"));
    uint32_t blob = json_get(d, at, STR("inlineData"));
    struct str s, mime;
    if (code != JSON_NONE) {
        get_text(d, code, STR("code"), a, &s);
        out->text = arena_printf(a, "\n```python\n%.*s\n```\n", STR_FMT(s));
    } else if (result != JSON_NONE) {
        get_text(d, result, STR("output"), a, &s);
        out->text = arena_printf(a, "\n```\n%.*s\n```\n", STR_FMT(s));
    } else if (blob != JSON_NONE) {
        get_text(d, blob, STR("mimeType"), a, &mime);
        get_text(d, blob, STR("data"), a, &s);
        struct str image[] = {STR("![image](data:"), mime, STR(";base64,"), s, STR(")")};
        if (str_starts(mime, STR("image/")))
            out->text = arena_join(a, image, 5);
    }
    if (out->text.n)
        out->kind = GPART_TEXT;
}

bool gemini_read_part(const struct json_doc *d, uint32_t at, struct arena *a,
                      struct gemini_part *out)
{
    bool thought = false;
    *out = (struct gemini_part){.kind = GPART_NONE, .call = JSON_NONE};
    get_text(d, at, STR("thoughtSignature"), a, &out->signature);
    json_bool(d, json_get(d, at, STR("thought")), &thought);
    uint32_t call = json_get(d, at, STR("functionCall"));
    if (json_is(d, call, JSON_OBJECT)) {
        uint32_t args = json_get(d, call, STR("args"));
        out->kind = GPART_CALL;
        out->call = call;
        get_text(d, call, STR("name"), a, &out->name);
        get_text(d, call, STR("id"), a, &out->id);
        if (json_is(d, args, JSON_OBJECT))
            out->args = json_raw(d, args);
    } else if (json_string(d, json_get(d, at, STR("text")), a, &out->text)) {
        out->kind = thought ? GPART_THOUGHT : GPART_TEXT;
    } else if (!thought) {
        read_other(d, at, a, out);
    }
    if (out->kind == GPART_NONE && out->signature.n)
        out->kind = GPART_TEXT; /* a signature alone */
    return !arena_failed(a);
}

struct str gemini_call_id(struct str response, uint32_t candidate, uint32_t call, struct arena *a)
{
    uint32_t one = hash_crc32c(0, response.p, response.n);
    uint32_t two = hash_crc32c(one ^ 0x5A5A5A5A, response.p, response.n);
    return arena_printf(a, "call_%08x%08x_%u_%u", one, two, candidate, call);
}

/* ---- why it ended ---- */

static const struct {
    struct str name;
    enum finish finish;
    bool broken;
} reasons[] = {
    /* the first of a kind is its name on the way out */
    {STR("STOP"), FINISH_STOP, false},
    {STR("MAX_TOKENS"), FINISH_LENGTH, false},
    {STR("SAFETY"), FINISH_CONTENT_FILTER, false},
    {STR("RECITATION"), FINISH_CONTENT_FILTER, false},
    {STR("BLOCKLIST"), FINISH_CONTENT_FILTER, false},
    {STR("PROHIBITED_CONTENT"), FINISH_CONTENT_FILTER, false},
    {STR("SPII"), FINISH_CONTENT_FILTER, false},
    {STR("LANGUAGE"), FINISH_CONTENT_FILTER, false},
    {STR("MODEL_ARMOR"), FINISH_CONTENT_FILTER, false},
    {STR("IMAGE_SAFETY"), FINISH_CONTENT_FILTER, false},
    {STR("IMAGE_PROHIBITED_CONTENT"), FINISH_CONTENT_FILTER, false},
    {STR("IMAGE_RECITATION"), FINISH_CONTENT_FILTER, false},
    {STR("IMAGE_OTHER"), FINISH_CONTENT_FILTER, false},
    {STR("MALFORMED_FUNCTION_CALL"), FINISH_STOP, true},
    {STR("MALFORMED_RESPONSE"), FINISH_STOP, true},
    {STR("UNEXPECTED_TOOL_CALL"), FINISH_STOP, true},
    {STR("MISSING_THOUGHT_SIGNATURE"), FINISH_STOP, true},
};
#define REASONS (sizeof reasons / sizeof *reasons)

enum finish gemini_finish(const struct json_doc *d, uint32_t reason, bool called, bool *broken)
{
    enum finish finish = FINISH_STOP; /* a reason that is not known */
    *broken = false;
    for (size_t i = 0; i < REASONS; i++)
        if (json_string_is(d, reason, reasons[i].name)) {
            finish = reasons[i].finish;
            *broken = reasons[i].broken;
        }
    return finish == FINISH_STOP && called ? FINISH_TOOL_CALLS : finish;
}

const char *gemini_finish_name(enum finish f)
{
    for (size_t i = 0; i < REASONS; i++)
        if (reasons[i].finish == f)
            return reasons[i].name.p;
    return f == FINISH_REFUSAL ? "SAFETY" : "STOP";
}

/* ---- whole answers ---- */

static struct part *new_part(struct arena *a, enum part_type type, const struct gemini_part *g,
                             struct part **list)
{
    struct part *p = neutral_part(a, type, list);
    if (!p)
        return NULL;
    p->text = g->text;
    p->signature = g->signature;
    p->issuer = g->signature.n ? ISSUER_GEMINI : ISSUER_NONE;
    return p;
}

/* Does it call tools? */
static bool read_parts(struct neutral_candidate *c, const struct json_doc *d, uint32_t parts,
                       struct str response, uint32_t index, struct arena *a)
{
    struct gemini_part g;
    uint32_t calls = 0;
    for (uint32_t i = json_child(d, parts); i != JSON_NONE; i = json_sibling(d, parts, i)) {
        if (!gemini_read_part(d, i, a, &g))
            return false;
        if (g.kind == GPART_CALL) {
            struct part *p = new_part(a, PART_TOOL_USE, &g, &c->parts);
            if (!p)
                return false;
            p->name = g.name;
            p->args = g.args.n ? g.args : STR("{}");
            p->id = g.id.n ? g.id : gemini_call_id(response, index, calls, a);
            calls++;
        } else if (g.kind != GPART_NONE && (g.text.n || g.signature.n)) {
            new_part(a, g.kind == GPART_THOUGHT ? PART_REASONING : PART_TEXT, &g, &c->parts);
        }
    }
    return calls > 0;
}

static struct neutral_candidate *add_candidate(struct neutral_reply *out, struct arena *a)
{
    struct neutral_candidate *c = arena_zalloc(a, sizeof *c), **end = &out->candidates;
    while (*end)
        end = &(*end)->next;
    *end = c;
    return c;
}

static enum err read_candidates(struct neutral_reply *out, const struct json_doc *d, uint32_t list,
                                struct arena *a, struct fault *f)
{
    uint32_t index = 0;
    for (uint32_t i = json_child(d, list); i != JSON_NONE && index < GEMINI_CANDIDATES_MAX;
         i = json_sibling(d, list, i)) {
        struct neutral_candidate *c = add_candidate(out, a);
        uint32_t reason = json_get(d, i, STR("finishReason"));
        bool broken = false;
        if (!c)
            return ERR_NOMEM;
        bool called = read_parts(c, d, json_get(d, json_get(d, i, STR("content")), STR("parts")),
                                 out->id, index++, a);
        if (json_is(d, reason, JSON_STRING))
            c->finish = (uint8_t)gemini_finish(d, reason, called, &broken);
        c->logprobs = gemini_logprobs_read(d, json_get(d, i, STR("logprobsResult")), a);
        if (broken && !c->parts)
            return fault_set(f, ERR_UPSTREAM_ERROR, "the model's call was malformed");
    }
    return ERR_OK;
}

enum err gemini_read_reply(struct neutral_reply *out, const struct json_doc *d,
                           const struct link *link, struct str provider, struct arena *a,
                           struct fault *f)
{
    uint32_t root = json_root(d);
    (void)link;
    *out = (struct neutral_reply){0};
    if (gemini_is_error(d, root, provider, f))
        return f->err;
    get_text(d, root, STR("responseId"), a, &out->id);
    get_text(d, root, STR("modelVersion"), a, &out->model);
    out->has_usage = usage_read_gemini(d, json_get(d, root, STR("usageMetadata")), &out->usage);
    enum err e = read_candidates(out, d, json_get(d, root, STR("candidates")), a, f);
    if (e)
        return e;
    if (!out->candidates) {
        uint32_t feedback = json_get(d, root, STR("promptFeedback"));
        if (json_get(d, feedback, STR("blockReason")) == JSON_NONE)
            return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer has no candidates");
        struct neutral_candidate *c = add_candidate(out, a);
        if (c)
            c->finish = FINISH_CONTENT_FILTER;
    }
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err gemini_read_tokens(struct neutral_reply *out, const struct json_doc *d,
                            const struct link *link, struct str provider, struct arena *a,
                            struct fault *f)
{
    uint32_t root = json_root(d);
    int64_t n;
    (void)link, (void)a;
    *out = (struct neutral_reply){0};
    if (gemini_is_error(d, root, provider, f))
        return f->err;
    if (!json_i64(d, json_get(d, root, STR("totalTokens")), &n) || n < 0)
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer has no totalTokens");
    out->tokens = (uint64_t)n;
    return ERR_OK;
}
