/* channel_check: where may a channel lead, what may it map, what may it override. */
#include "ops/channel_check.h"

#include "llm/override.h"
#include "ops/column.h"
#include "ops/endpoint.h"
#include "store/repo_provider.h"

/* Reads them as the data plane will. */
static enum err check_overrides(const struct channel_row *row, struct arena *a,
                                struct err_info *info)
{
    struct overrides o;
    enum err e = overrides_read_params(&o, row->param_overrides, a, info);
    if (e) {
        str_copy(info->field, sizeof info->field, STR("param_overrides"));
        return e;
    }
    e = overrides_read_headers(&o, row->header_overrides, a, info);
    if (e)
        str_copy(info->field, sizeof info->field, STR("header_overrides"));
    return e;
}

enum err channel_check(struct ops *o, struct channel_row *row, struct arena *a, struct str *address,
                       struct err_info *info)
{
    struct provider_row provider;
    const struct provider *kind = provider_find(row->provider);
    if (kind && kind->in_process)
        return field_set(info, "provider", ERR_INVALID,
                         "%s lives inside `lyss dev`; a channel cannot lead there", kind->name);
    enum err e = repo_provider_find(o->db, TENANT_ALL, row->provider, a, &provider, info);
    if (e == ERR_NOT_FOUND)
        return field_set(info, "provider", e, "there is no provider \"%.*s\"",
                         STR_FMT(row->provider));
    if (!e)
        e = endpoint_kind(provider.kind, &kind, info);
    if (e)
        return e;
    row->base_url = endpoint_trim(row->base_url);
    *address = row->base_url.n ? row->base_url : provider.base_url;
    if (!address->n && kind->base_url)
        *address = str_c(kind->base_url);
    if (!address->n)
        return field_set(info, "base_url", ERR_INVALID,
                         "provider %.*s has no address of its own, so the channel needs one",
                         STR_FMT(row->provider));
    e = endpoint_check(kind, *address, row->api_version, info);
    return e ? e : check_overrides(row, a, info);
}

enum err channel_check_models(const struct channel_model *models, size_t n, struct err_info *info)
{
    if (!n)
        return field_set(info, "model", ERR_INVALID,
                         "a channel serves at least one model: a name, name=upstream-name, or a "
                         "glob like gpt-* or *");
    if (n > CHANNEL_MODELS_MAX)
        return field_set(info, "model", ERR_INVALID, "at most %d models", CHANNEL_MODELS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct str p = models[i].pattern, u = models[i].upstream;
        if (p.n > 256 || !model_name_ok(p, true) || u.n > 256 || (u.n && !model_name_ok(u, false)))
            return field_set(
                info, "model", ERR_INVALID,
                "\"%.*s%s%.*s\" will not do: names are printable ASCII without blanks, "
                "#, %%, \\, = and ..; only what callers ask for may hold * and ?",
                (int)(p.n < 80 ? p.n : 80), p.n ? p.p : "", u.n ? "=" : "",
                (int)(u.n < 80 ? u.n : 80), u.n ? u.p : "");
        for (size_t k = 0; k < i; k++)
            if (str_eq(models[k].pattern, p))
                return field_set(info, "model", ERR_INVALID, "\"%.*s\" is given twice", STR_FMT(p));
    }
    return ERR_OK;
}

enum err channel_check_credential(const struct secret *s, struct err_info *info)
{
    struct str v = secret_expose(s);
    bool good = v.n > 0 && v.n <= CREDENTIAL_BYTES_MAX;
    for (size_t i = 0; good && i < v.n; i++)
        good = v.p[i] > ' ' && v.p[i] < 0x7F;
    return good ? ERR_OK
                : field_set(info, "credential", ERR_INVALID,
                            "a credential is 1 to %d printable ASCII characters without blanks",
                            CREDENTIAL_BYTES_MAX);
}
