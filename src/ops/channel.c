/* channel: changes to channels. A credential enters here in clear and leaves sealed. */
#include "ops/channel.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "llm/provider.h"
#include "net/url.h"
#include "ops/field.h"
#include "ops/field_check.h"
#include "ops/step.h"
#include "store/repo_channel.h"
#include "store/repo_provider.h"

#define CREDENTIAL_MAX 8192
#define MODELS_MAX     1000

static const struct column model_column = {
    .name = "models", .flag = "model", .check = CHECK_MODEL, .lo = 1, .hi = 256};

static enum err check_models(const struct channel_change *c, struct err_info *info)
{
    char why[200];
    if (c->n_models > MODELS_MAX)
        return err_set(info, ERR_INVALID, "--model: at most %d of them; use a glob", MODELS_MAX);
    for (size_t i = 0; i < c->n_models; i++) {
        const struct channel_model *m = &c->models[i];
        struct str bad =
            !field_text_ok(&model_column, m->pattern, why, sizeof why) ? m->pattern
            : m->upstream.n && !field_text_ok(&model_column, m->upstream, why, sizeof why)
                ? m->upstream
                : STR_NULL;
        if (bad.p)
            return err_set(info, ERR_INVALID, "--model '%.*s': %s", (int)(bad.n > 80 ? 80 : bad.n),
                           bad.p, why);
    }
    return ERR_OK;
}

static enum err check_credentials(const struct channel_change *c, struct err_info *info)
{
    for (size_t i = 0; i < c->n_credentials; i++) {
        struct str s = secret_expose(&c->credentials[i]);
        bool ok = s.n > 0 && s.n <= CREDENTIAL_MAX;
        for (size_t k = 0; ok && k < s.n; k++)
            ok = s.p[k] > ' ' && s.p[k] < 0x7f;
        if (!ok)
            return err_set(info, ERR_INVALID,
                           "the credential is empty, too long, or holds blanks or control "
                           "characters; give exactly the provider's key, on one line");
    }
    return ERR_OK;
}

/* What only the provider can tell: is there an address, does api_version fit? */
static enum err check_endpoint(struct ops *o, const struct channel_row *row, struct err_info *info)
{
    struct provider_row p;
    enum err e = repo_provider_find(o->db, TENANT_PLATFORM, row->provider, o->arena, &p, info);
    if (e)
        return ops_explain(&thing_provider, row->provider, e, info);
    const struct provider *kind = provider_find(p.kind);
    struct str base = row->base_url.n ? row->base_url : p.base_url;
    if (!kind)
        return err_set(info, ERR_INVALID, "the provider '%.*s' has the unknown kind '%.*s'",
                       STR_FMT(p.name), STR_FMT(p.kind));
    if (!base.n && kind->base_url)
        base = str_c(kind->base_url);
    if (!base.n && !kind->in_process)
        return err_set(info, ERR_INVALID,
                       "the provider '%.*s' has no address of its own; give --base-url URL",
                       STR_FMT(p.name));
    struct url u;
    e = url_parse(base, &u, info);
    struct str prefix = e ? STR("") : u.path;
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    struct endpoint at = {.prefix = prefix, .api_version = row->api_version};
    return e ? e : provider_check_endpoint(kind, &at, info);
}

static enum err check(struct ops *o, const struct channel_row *row, const struct channel_change *c,
                      struct err_info *info)
{
    enum err e = field_check_all(&thing_channel, row, info);
    if (!e)
        e = check_models(c, info);
    if (!e)
        e = check_credentials(c, info);
    return e ? e : check_endpoint(o, row, info);
}

/* The first eight bytes of the SHA-256: enough to tell two credentials apart, no help in guessing.
 */
static void fingerprint(struct str s, char out[17])
{
    unsigned char d[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)s.p, s.n, d);
    for (int i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", d[i]);
}

static enum err store_credential(struct ops *o, int64_t tenant, int64_t channel,
                                 const struct secret *secret, struct err_info *info)
{
    struct str plain = secret_expose(secret);
    char print[17];
    fingerprint(plain, print);
    /* Four characters of a short one would be too much of it. */
    struct channel_credential c = {.version = 1,
                                   .fingerprint = str_c(print),
                                   .last4 = plain.n >= 16 ? str_from(plain, plain.n - 4) : STR(""),
                                   .status = STR("active")};
    enum err e = repo_channel_add_credential(o->db, tenant, channel, &c, info);
    if (!e)
        e = vault_seal(o->vault, o->db, tenant, c.id, c.version, plain, o->arena, &c.sealed, info);
    return e ? e : repo_channel_seal_credential(o->db, tenant, &c, info);
}

static enum err store_parts(struct ops *o, int64_t tenant, int64_t channel,
                            const struct channel_change *c, struct err_info *info)
{
    enum err e = ERR_OK;
    if (c->models_given)
        e = repo_channel_set_models(o->db, tenant, channel, c->models, c->n_models, info);
    if (e == ERR_EXISTS)
        err_set(info, e = ERR_INVALID, "--model: the same name is given twice");
    for (size_t i = 0; !e && i < c->n_credentials; i++)
        e = store_credential(o, tenant, channel, &c->credentials[i], info);
    return e;
}

enum err ops_channel_add(struct ops *o, int64_t tenant, struct channel_change *c,
                         struct err_info *info)
{
    struct channel_row *row = &c->row;
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = check(o, row, c, info);
    if (!e) {
        e = repo_channel_add(o->db, tenant, row, info);
        if (e)
            ops_explain(&thing_channel, row->name, e, info);
    }
    if (!e)
        e = store_parts(o, tenant, row->row.id, c, info);
    return ops_end(o, e, &(struct ops_step){&thing_channel, "add", tenant, row->row.id, NULL, row},
                   info);
}

/* Whoever can change where a channel leads must not get its key sent there. */
static enum err drop_credentials(struct ops *o, int64_t tenant, const struct channel_row *before,
                                 const struct channel_row *after, const struct channel_change *c,
                                 int64_t *cleared, struct err_info *info)
{
    bool moved =
        !str_eq(before->base_url, after->base_url) || !str_eq(before->provider, after->provider);
    int64_t removed = 0;
    enum err e = ERR_OK;
    if (moved || c->n_credentials)
        e = repo_channel_remove_credentials(o->db, tenant, before->row.id, 0, &removed, info);
    if (cleared)
        *cleared = !e && !c->n_credentials ? removed : 0;
    return e;
}

enum err ops_channel_set(struct ops *o, int64_t tenant, struct str name, struct channel_change *c,
                         int64_t *cleared, struct err_info *info)
{
    struct channel_row before = {0}, after = {0};
    if (cleared)
        *cleared = 0;
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_channel_find(o->db, tenant, name, o->arena, &before, info);
    if (e)
        ops_explain(&thing_channel, name, e, info);
    if (!e) {
        after = before;
        field_merge(&thing_channel, &after, &c->row, c->given);
        e = check(o, &after, c, info);
    }
    if (!e) {
        e = repo_channel_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_channel, after.name, e, info);
    }
    if (!e)
        e = drop_credentials(o, tenant, &before, &after, c, cleared, info);
    if (!e)
        e = store_parts(o, tenant, after.row.id, c, info);
    c->row = after;
    return ops_end(o, e,
                   &(struct ops_step){&thing_channel, "set", tenant, after.row.id, &before, &after},
                   info);
}

enum err ops_channel_remove(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct channel_row before = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_channel_find(o->db, tenant, name, o->arena, &before, info);
    if (!e)
        e = repo_channel_remove(o->db, tenant, before.row.id, info);
    if (e)
        ops_explain(&thing_channel, name, e, info);
    return ops_end(
        o, e, &(struct ops_step){&thing_channel, "remove", tenant, before.row.id, &before, NULL},
        info);
}
