/* surface: paths are a prefix that says whose shape it is, and an operation behind it. */
#include "gateway/surface.h"

static const struct str prefixes[] = {
    STR("/v1"),     STR("/api/v1/proxy/v1"), STR("/api/v1/proxy"),
    STR("/api/v1"), STR("/openai/v1"),       STR("/openai"),
};

static const struct {
    struct str path;
    enum page page;
} pages[] = {
    {STR("/"), PAGE_ROOT},
    {STR("/health"), PAGE_HEALTH},
    {STR("/health/live"), PAGE_LIVE},
    {STR("/health/ready"), PAGE_READY},
    {STR("/metrics"), PAGE_METRICS},
};

/* Operation of a path behind its prefix. */
static bool match_op(struct str rest, struct surface *out)
{
    if (str_eq(rest, STR("/chat/completions/stream"))) {
        out->op = OP_CHAT;
        out->force_stream = true;
        return true;
    }
    for (enum llm_op op = OP_NONE + 1; op < OP_COUNT; op++)
        if (op != OP_MODEL && op != OP_PASSTHROUGH && !op_by_path(op) &&
            str_eq(rest, str_c(op_row(op)->path))) {
            out->op = op;
            return true;
        }
    if (str_starts(rest, STR("/models/")) && rest.n > 8) {
        out->op = OP_MODEL;
        out->name = str_from(rest, 8);
        return true;
    }
    return false;
}

/* Gemini: /v1beta/models/{model}:{verb}; tuned models keep their folder in their name. A name that
 * is only looked at may hold colons of its own. */
static bool match_gemini(struct str path, bool get, struct surface *out)
{
    static const struct str models = STR("/models/"), tuned = STR("/tunedModels/");
    struct str rest;
    if (str_starts(path, STR("/v1beta/")))
        rest = str_from(path, 7);
    else if (str_starts(path, STR("/v1/")))
        rest = str_from(path, 3);
    else
        return false;
    if (str_eq(rest, STR("/models")) && path.n > rest.n + 3) {
        out->op = OP_MODELS;
        return true;
    }
    if (str_starts(rest, models))
        out->name = str_from(rest, models.n);
    else if (str_starts(rest, tuned))
        out->name = str_from(rest, 1);
    else
        return false;
    size_t colon = out->name.n;
    while (colon > 0 && out->name.p[colon - 1] != ':' && out->name.p[colon - 1] != '/')
        colon--;
    if (get || !colon || out->name.p[colon - 1] != ':') {
        out->op = OP_MODEL;
        return path.n > rest.n + 3 && out->name.n > 0; /* /v1/models/{id} is OpenAI's own */
    }
    struct str verb = str_from(out->name, colon - 1);
    out->name.n = colon - 1;
    if (str_eq(verb, STR(":streamGenerateContent"))) {
        out->op = OP_GENERATE;
        out->force_stream = true;
        return out->name.n > 0;
    }
    for (enum llm_op op = OP_GENERATE; op_by_path(op); op++)
        if (str_eq(verb, str_c(op_row(op)->path))) {
            out->op = op;
            return out->name.n > 0;
        }
    return false;
}

/* /passthrough/{channel}/… */
static bool match_passthrough(struct str path, struct surface *out)
{
    static const struct str prefix = STR("/passthrough/");
    if (!str_starts(path, prefix))
        return false;
    struct str rest = str_from(path, prefix.n);
    ptrdiff_t slash = str_chr(rest, '/');
    if (slash <= 0)
        return false;
    out->op = OP_PASSTHROUGH;
    out->name = str_make(rest.p, (size_t)slash);
    out->rest = str_from(rest, (size_t)slash);
    return true;
}

static bool method_passes(struct str method)
{
    static const struct str all[] = {STR("GET"), STR("POST"), STR("PUT"), STR("PATCH"),
                                     STR("DELETE")};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (str_eq(method, all[i]))
            return true;
    return false;
}

static bool match(struct str path, bool get, struct surface *out)
{
    if (match_passthrough(path, out))
        return true;
    if (match_gemini(path, get, out))
        return true;
    out->name = STR_NULL;
    static const struct str deployments = STR("/openai/deployments/");
    if (str_starts(path, deployments)) {
        struct str rest = str_from(path, deployments.n);
        ptrdiff_t slash = str_chr(rest, '/');
        if (slash <= 0 || !match_op(str_from(rest, (size_t)slash), out) || out->name.p ||
            out->op == OP_MODELS)
            return false;
        out->name = str_make(rest.p, (size_t)slash);
        return true;
    }
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (str_starts(path, prefixes[i]) && match_op(str_from(path, prefixes[i].n), out))
            return true;
    return false;
}

enum dialect surface_dialect(const struct http_head *h)
{
    if (http_has(h, HTTP_X_GOOG_API_KEY) || str_starts(h->path, STR("/v1beta/")))
        return DIALECT_GEMINI;
    if (http_has(h, HTTP_ANTHROPIC_VERSION) || str_starts(h->path, STR("/v1/messages")))
        return DIALECT_ANTHROPIC;
    return DIALECT_OPENAI;
}

enum err surface_find(struct str method, struct str path, struct surface *out, const char **allow)
{
    *out = (struct surface){.dialect = DIALECT_OPENAI};
    bool get = str_eq(method, STR("GET"));
    out->head = str_eq(method, STR("HEAD"));
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (str_eq(path, pages[i].path)) {
            *allow = "GET, HEAD";
            out->page = pages[i].page;
            return get || out->head ? ERR_OK : ERR_METHOD_NOT_ALLOWED;
        }
    if (!match(path, get || out->head, out))
        return ERR_NOT_FOUND;
    if (out->op == OP_PASSTHROUGH) {
        *allow = "GET, POST, PUT, PATCH, DELETE";
        return method_passes(method) ? ERR_OK : ERR_METHOD_NOT_ALLOWED;
    }
    bool post = op_row(out->op)->has_body;
    out->dialect = op_row(out->op)->dialect;
    *allow = post ? "POST" : "GET, HEAD";
    if (post ? str_eq(method, STR("POST")) : get || out->head)
        return ERR_OK;
    return ERR_METHOD_NOT_ALLOWED;
}

void surface_query(struct surface *s, struct str query)
{
    /* https://cloud.google.com/apis/docs/system-parameters: either spelling */
    static const struct str asks[] = {STR("alt=sse"), STR("$alt=sse"), STR("%24alt=sse")};
    struct str part;
    s->array = s->op == OP_GENERATE && s->force_stream;
    while (query.p && str_split(&query, '&', &part))
        for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
            if (str_eq(part, asks[i]))
                s->array = false;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = str_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool surface_decode(struct str in, struct arena *a, struct str *out)
{
    char *to = arena_alloc(a, in.n + 1);
    size_t n = 0;
    if (!to)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];
        if (c == '%') {
            if (i + 2 >= in.n || hex(in.p[i + 1]) < 0 || hex(in.p[i + 2]) < 0)
                return false;
            c = hex(in.p[i + 1]) << 4 | hex(in.p[i + 2]);
            i += 2;
        }
        if (c < ' ' || c == 0x7f)
            return false;
        to[n++] = (char)c;
    }
    to[n] = 0;
    *out = str_make(to, n);
    return true;
}
