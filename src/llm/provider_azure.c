/* provider_azure: where a call goes depends on the api-version.
 *
 * A date: /openai/deployments/{deployment}/{op}?api-version=DATE, but
 * /openai/responses?api-version=DATE with the deployment in `model`.  Otherwise
 * the v1 surface /openai/v1/{op}, without a version or with the word preview.
 * The base URL may end anywhere in that path (Foundry's does, in
 * /api/projects/{p}/openai/v1). */
#include "llm/provider_azure.h"

static bool is_date(struct str v)
{
    static const char form[] = "0000-00-00";
    if (v.n < 10)
        return false;
    for (size_t i = 0; i < 10; i++)
        if (form[i] == '0' ? v.p[i] < '0' || v.p[i] > '9' : v.p[i] != '-')
            return false;
    struct str rest = str_from(v, 10);
    return rest.n == 0 || str_eq(rest, STR("-preview"));
}

static bool is_word(struct str v)
{
    return str_eq(v, STR("preview")) || str_eq(v, STR("latest"));
}

static void query(struct buf *out, struct str version)
{
    buf_lit(out, "?api-version=");
    buf_str(out, version);
}

static bool ends_in_v1(struct str prefix)
{
    return str_ends(prefix, STR("/openai/v1"));
}

static enum err v1_target(const struct endpoint *at, enum llm_op op, struct str model,
                          struct buf *out, struct err_info *info)
{
    buf_str(out, at->prefix);
    if (!ends_in_v1(at->prefix)) {
        if (!str_ends(at->prefix, STR("/openai")))
            buf_lit(out, "/openai");
        buf_lit(out, "/v1");
    }
    buf_str(out, str_c(op_row(op)->path));
    if (op == OP_MODEL)
        buf_str(out, model);
    if (is_word(at->api_version))
        query(out, at->api_version);
    return ERR_OK;
}

enum err azure_target(const struct endpoint *at, enum llm_op op, struct str model, bool stream,
                      struct buf *out, struct err_info *info)
{
    (void)stream;
    bool dated = is_date(at->api_version) && !ends_in_v1(at->prefix);
    bool in_path = op == OP_MODEL || (dated && op != OP_RESPONSES && op != OP_MODELS);
    if (in_path && !provider_segment_ok(model))
        return err_set(info, ERR_INVALID, "the deployment's name cannot be part of a path");
    if (!dated)
        return v1_target(at, op, model, out, info);
    buf_str(out, at->prefix);
    if (!str_ends(at->prefix, STR("/openai")))
        buf_lit(out, "/openai");
    if (in_path && op != OP_MODEL) {
        buf_lit(out, "/deployments/");
        buf_str(out, model);
    }
    buf_str(out, str_c(op_row(op)->path));
    if (op == OP_MODEL)
        buf_str(out, model);
    query(out, at->api_version);
    return ERR_OK;
}

enum err azure_check(const struct endpoint *at, struct err_info *info)
{
    struct str v = at->api_version;
    if (!v.n || str_eq(v, STR("v1")) || is_word(v) || is_date(v))
        return ERR_OK;
    return err_set(info, ERR_INVALID,
                   "api_version must be a date like 2024-10-21 or 2025-01-01-preview, or v1, "
                   "preview, latest, or empty");
}
