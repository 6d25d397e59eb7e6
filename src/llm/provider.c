/* provider: the rows. A new provider that speaks a known wire is one row here, plus a target hook
 * where its URLs differ. */
#include "llm/provider.h"

#include "llm/provider_azure.h"

#define OPS_ALL                                                                                    \
    (OP_BIT(OP_CHAT) | OP_BIT(OP_COMPLETIONS) | OP_BIT(OP_EMBEDDINGS) | OP_BIT(OP_RESPONSES) |     \
     OP_BIT(OP_MODELS))

static enum err deepseek_target(const struct endpoint *at, enum llm_op op, struct str model,
                                bool stream, struct buf *out, struct err_info *info);
static enum err anthropic_target(const struct endpoint *at, enum llm_op op, struct str model,
                                 bool stream, struct buf *out, struct err_info *info);
static enum err gemini_target(const struct endpoint *at, enum llm_op op, struct str model,
                              bool stream, struct buf *out, struct err_info *info);

/* https://api-docs.deepseek.com: knows max_tokens only; JSON mode without a schema; while thinking,
 * which is its default, it refuses a forced tool, and a call in the history without the thought
 * before it. */
static const struct quirk deepseek_quirks[] = {
    {QUIRK_RENAME, FIELD_MAX_COMPLETION_TOKENS, FIELD_MAX_TOKENS},
    {QUIRK_NO_JSON_SCHEMA, FIELD_RESPONSE_FORMAT, FIELD_RESPONSE_FORMAT},
    {QUIRK_FORCED_NO_THINK, FIELD_THINKING, FIELD_THINKING},
    {QUIRK_LOST_NO_THINK, FIELD_MESSAGES, FIELD_MESSAGES},
    {QUIRK_END},
};

static const struct provider rows[] = {
    {.name = "openai",
     .title = "OpenAI",
     .base_url = "https://api.openai.com/v1",
     .auth = AUTH_BEARER,
     .lists_models = true,
     .estimate_percent = 85,
     .ops = OPS_ALL},
    {.name = "deepseek",
     .title = "DeepSeek",
     .base_url = "https://api.deepseek.com",
     .auth = AUTH_BEARER,
     .lists_models = true,
     .ops = OP_BIT(OP_CHAT) | OP_BIT(OP_MESSAGES) | OP_BIT(OP_MODELS),
     .quirks = deepseek_quirks,
     .target = deepseek_target},
    {.name = "anthropic",
     .title = "Anthropic",
     .base_url = "https://api.anthropic.com",
     .auth = AUTH_X_API_KEY,
     .lists_models = true,
     .ops = OP_BIT(OP_MESSAGES) | OP_BIT(OP_COUNT_TOKENS) | OP_BIT(OP_MODELS),
     .target = anthropic_target},
    {.name = "google",
     .title = "Google Gemini",
     .base_url = "https://generativelanguage.googleapis.com",
     .auth = AUTH_X_GOOG_API_KEY,
     .lists_models = true,
     .ops = OP_BIT(OP_GENERATE) | OP_BIT(OP_GEMINI_COUNT) | OP_BIT(OP_GEMINI_EMBED) |
            OP_BIT(OP_GEMINI_EMBEDS) | OP_BIT(OP_MODELS),
     .target = gemini_target},
    {.name = "azure-openai",
     .title = "Azure OpenAI",
     .auth = AUTH_API_KEY,
     .estimate_percent = 85,
     .ops = OPS_ALL,
     .stream_options_since = "2024-09-01-preview",
     .target = azure_target,
     .check = azure_check},
    {.name = "openai-compatible",
     .title = "any server that speaks the OpenAI API",
     .auth = AUTH_BEARER,
     .auth_optional = true,
     .ops = OPS_ALL & ~OP_BIT(OP_RESPONSES)},
    {.name = "demo",
     .title = "built-in demo",
     .base_url = "http://demo.invalid/v1",
     .auth = AUTH_NONE,
     .auth_optional = true,
     .in_process = true,
     .ops = OPS_ALL},
};

#define ROWS (sizeof rows / sizeof *rows)

const struct provider *provider_at(size_t i)
{
    return i < ROWS ? &rows[i] : NULL;
}

const struct provider *provider_find(struct str name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (str_eq(name, str_c(rows[i].name)))
            return &rows[i];
    return NULL;
}

bool provider_segment_ok(struct str s)
{
    if (!s.n || s.n > 128 || str_eq(s, STR(".")) || str_eq(s, STR("..")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], l = str_lower(c);
        if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

static enum err put_path(enum llm_op op, struct str model, struct buf *out, struct err_info *info)
{
    buf_str(out, str_c(op_row(op)->path));
    if (op != OP_MODEL)
        return ERR_OK;
    if (!provider_segment_ok(model))
        return err_set(info, ERR_INVALID, "the model's name cannot be part of a path");
    buf_str(out, model);
    return ERR_OK;
}

/* Prefix and path, with `version` between where the operator's base URL does not end in one. */
static enum err versioned(const struct endpoint *at, const char *version, enum llm_op op,
                          struct str model, struct buf *out, struct err_info *info)
{
    buf_str(out, at->prefix);
    if (!str_ends(at->prefix, STR("/v1")) && !str_ends(at->prefix, STR("/v1beta")))
        buf_str(out, str_c(version));
    return put_path(op, model, out, info);
}

/* https://docs.anthropic.com/en/api/messages */
static enum err anthropic_target(const struct endpoint *at, enum llm_op op, struct str model,
                                 bool stream, struct buf *out, struct err_info *info)
{
    (void)stream;
    return versioned(at, "/v1", op, model, out, info);
}

/* https://api-docs.deepseek.com/guides/anthropic_api */
static enum err deepseek_target(const struct endpoint *at, enum llm_op op, struct str model,
                                bool stream, struct buf *out, struct err_info *info)
{
    (void)stream;
    buf_str(out, at->prefix);
    if (op == OP_MESSAGES)
        buf_lit(out, "/anthropic/v1");
    return put_path(op, model, out, info);
}

/* https://ai.google.dev/api/generate-content: the model is a segment of the path. */
static enum err gemini_target(const struct endpoint *at, enum llm_op op, struct str model,
                              bool stream, struct buf *out, struct err_info *info)
{
    static const struct str models = STR("models/"), tuned = STR("tunedModels/");
    if (!op_by_path(op))
        return versioned(at, "/v1beta", op, model, out, info);
    struct str kind = str_starts(model, tuned) ? tuned : models;
    if (str_starts(model, kind))
        model = str_from(model, kind.n);
    if (!provider_segment_ok(model))
        return err_set(info, ERR_INVALID, "the model's name cannot be part of a path");
    buf_str(out, at->prefix);
    if (!str_ends(at->prefix, STR("/v1")) && !str_ends(at->prefix, STR("/v1beta")))
        buf_lit(out, "/v1beta");
    buf_char(out, '/');
    buf_str(out, kind);
    buf_str(out, model);
    if (op == OP_GENERATE && stream)
        buf_lit(out, ":streamGenerateContent?alt=sse");
    else
        buf_str(out, str_c(op_row(op)->path));
    return ERR_OK;
}

enum err provider_target(const struct provider *p, const struct endpoint *at, enum llm_op op,
                         struct str model, bool stream, struct buf *out, struct err_info *info)
{
    if (p->target) {
        enum err e = p->target(at, op, model, stream, out, info);
        return e ? e : buf_failed(out) ? ERR_NOMEM : ERR_OK;
    }
    buf_str(out, at->prefix);
    enum err e = put_path(op, model, out, info);
    return e ? e : buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

enum err provider_auth_header(const struct provider *p, const struct secret *secret,
                              struct buf *out)
{
    if (p->auth == AUTH_NONE || secret_empty(secret))
        return ERR_OK;
    struct str s = secret_expose(secret);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F)
            return ERR_INVALID;
    static const char *const fields[] = {
        [AUTH_BEARER] = "Authorization: Bearer ",
        [AUTH_API_KEY] = "api-key: ",
        [AUTH_X_API_KEY] = "x-api-key: ",
        [AUTH_X_GOOG_API_KEY] = "x-goog-api-key: ",
    };
    buf_str(out, str_c(fields[p->auth]));
    buf_str(out, s);
    buf_lit(out, "\r\n");
    return buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

static uint32_t scale(uint32_t tokens, unsigned percent)
{
    uint64_t t = percent ? ((uint64_t)tokens * percent + 99) / 100 : tokens;
    return t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

/* https://docs.anthropic.com/en/api/versioning */
void provider_version_header(struct str version, struct str beta, struct buf *out)
{
    buf_lit(out, "anthropic-version: ");
    buf_str(out, version.n ? version : STR("2023-06-01"));
    if (beta.n) {
        buf_lit(out, "\r\nanthropic-beta: ");
        buf_str(out, beta);
    }
    buf_lit(out, "\r\n");
}

uint32_t provider_estimate(const struct provider *p, const struct estimate *e)
{
    return scale(estimate_tokens(e), p->estimate_percent);
}

uint32_t provider_scale(const struct provider *p, const struct model_caps *m, uint32_t tokens)
{
    return scale(tokens, m->estimate_percent ? m->estimate_percent : p->estimate_percent);
}

bool provider_takes_stream_options(const struct provider *p, const struct endpoint *at)
{
    if (!p->stream_options_since || !at->api_version.n || at->api_version.p[0] < '0' ||
        at->api_version.p[0] > '9')
        return true;
    return str_cmp(at->api_version, str_c(p->stream_options_since)) >= 0;
}

static bool prefix_ok(struct str s)
{
    if (!s.n)
        return true;
    if (s.p[0] != '/' || s.p[s.n - 1] == '/' || s.n > 512)
        return false;
    struct str rest = str_from(s, 1), part;
    while (str_split(&rest, '/', &part))
        if (!provider_segment_ok(part))
            return false;
    return true;
}

enum err provider_check_endpoint(const struct provider *p, const struct endpoint *at,
                                 struct err_info *info)
{
    if (!prefix_ok(at->prefix))
        return err_set(info, ERR_INVALID,
                       "the base URL's path may hold letters, digits, '.', '_' and '-' between "
                       "slashes, and no slash at its end");
    if (p->check)
        return p->check(at, info);
    if (at->api_version.n)
        return err_set(info, ERR_INVALID, "%s takes no api_version", p->title);
    return ERR_OK;
}
