/* endpoint: a base URL as providers can use it. */
#include "ops/endpoint.h"

#include "net/url.h"
#include "ops/column.h"

enum err endpoint_kind(struct str kind, const struct provider **out, struct err_info *info)
{
    const struct provider *p = provider_find(kind);
    *out = p;
    if (p && !p->in_process)
        return ERR_OK;
    if (p)
        return field_set(info, "kind", ERR_INVALID,
                         "%s lives inside the process that runs with it; no channel can lead there",
                         p->name);
    struct buf names;
    buf_init(&names, 384);
    for (size_t i = 0; (p = provider_at(i)); i++)
        if (!p->in_process)
            buf_printf(&names, "%s%s", names.n ? ", " : "", p->name);
    field_set(info, "kind", ERR_INVALID, "\"%.*s\" is none of %s", (int)(kind.n < 60 ? kind.n : 60),
              kind.n ? kind.p : "", buf_failed(&names) ? "the built-in providers" : names.p);
    buf_release(&names);
    return ERR_INVALID;
}

struct str endpoint_trim(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

enum err endpoint_check(const struct provider *p, struct str base_url, struct str api_version,
                        struct err_info *info)
{
    struct endpoint at = {0};
    struct url u;
    if (base_url.n) {
        enum err e = url_parse(base_url, &u, info);
        if (!e) {
            at.prefix = u.path;
            e = provider_check_endpoint(p, &at, info);
        }
        if (e == ERR_INVALID && info)
            str_copy(info->field, sizeof info->field, STR("base_url"));
        if (e)
            return e;
    }
    at.api_version = api_version;
    enum err e = provider_check_endpoint(p, &at, info);
    if (e == ERR_INVALID && info)
        str_copy(info->field, sizeof info->field, STR("api_version"));
    return e;
}
