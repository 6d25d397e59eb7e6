/* setup: the first start. */
#include "ops/setup.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "core/rng.h"
#include "ops/field.h"
#include "ops/key.h"
#include "ops/tenant.h"
#include "ops/user.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_tenant.h"
#include "store/repo_user.h"

#define TOKEN_NAME "setup_token"
#define TOKEN_USED "used"

static void to_hex(const uint8_t *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static void digest_of(struct str token, char out[2 * SHA256_DIGEST_LENGTH + 1])
{
    uint8_t d[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token.p, token.n, d);
    to_hex(d, sizeof d, out);
}

enum err ops_setup_token_mint(struct ops *o, char out[SETUP_TOKEN_MAX], struct err_info *info)
{
    struct str stored;
    uint8_t raw[32];
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    out[0] = 0;
    enum err e = sql_begin(o->db, SQL_WRITE, info);
    if (e)
        return e;
    e = repo_meta_get(o->db, TOKEN_NAME, o->arena, &stored, info);
    if (e || str_eq(stored, STR(TOKEN_USED))) {
        sql_rollback(o->db);
        return e;
    }
    rng_bytes(raw, sizeof raw);
    to_hex(raw, sizeof raw, out);
    explicit_bzero(raw, sizeof raw);
    digest_of(str_c(out), digest);
    e = repo_meta_set(o->db, TOKEN_NAME, str_c(digest), info);
    if (!e)
        e = sql_commit(o->db, info);
    if (e) {
        sql_rollback(o->db);
        explicit_bzero(out, SETUP_TOKEN_MAX);
    }
    return e;
}

enum err ops_setup_token_use(struct ops *o, struct str token, struct err_info *info)
{
    struct str stored;
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    digest_of(token, digest);
    enum err e = sql_begin(o->db, SQL_WRITE, info);
    if (e)
        return e;
    e = repo_meta_get(o->db, TOKEN_NAME, o->arena, &stored, info);
    if (!e && !str_eq_secret(stored, str_c(digest)))
        e = err_set(info, ERR_UNAUTHORIZED, "the setup token is wrong, or was used already");
    if (!e)
        e = repo_meta_set(o->db, TOKEN_NAME, STR(TOKEN_USED), info);
    if (!e)
        return sql_commit(o->db, info);
    sql_rollback(o->db);
    return e;
}

static enum err demo_tenant(struct ops *o, int64_t *id, struct err_info *info)
{
    struct tenant_row t;
    enum err e = repo_tenant_find(o->db, TENANT_ALL, STR("demo"), o->arena, &t, info);
    if (e == ERR_NOT_FOUND) {
        e = field_defaults(&thing_tenant, &t, o->arena, info);
        t.slug = STR("demo");
        t.name = STR("Demo");
        t.unlimited = 1;
        if (!e)
            e = ops_tenant_add(o, TENANT_ALL, &t, info);
    }
    *id = t.row.id;
    return e;
}

static enum err demo_user(struct ops *o, int64_t tenant, struct str email, struct err_info *info)
{
    struct user_row u;
    enum err e = repo_user_find(o->db, tenant, email, o->arena, &u, info);
    if (e != ERR_NOT_FOUND)
        return e;
    e = field_defaults(&thing_user, &u, o->arena, info);
    u.email = email;
    u.name = STR("Demo");
    u.role = STR("tenant_admin");
    return e ? e : ops_user_add(o, tenant, &u, info);
}

enum err ops_dev_prepare(struct ops *o, char text[APIKEY_TEXT_MAX], struct err_info *info)
{
    struct str email = STR("demo@example.com");
    struct key_row k;
    int64_t tenant;
    text[0] = 0;
    enum err e = demo_tenant(o, &tenant, info);
    if (!e)
        e = demo_user(o, tenant, email, info);
    if (e)
        return e;
    e = ops_key_revoke(o, tenant, STR("demo"), info);
    if (e == ERR_NOT_FOUND) /* the first time */
        e = ERR_OK;
    if (!e)
        e = field_defaults(&thing_key, &k, o->arena, info);
    if (e)
        return e;
    k.name = STR("demo");
    return ops_key_add(o, tenant, email, &k, text, info);
}
