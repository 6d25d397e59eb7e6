/* setup: the first things in a new installation. */
#include "ops/setup.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/rng.h"
#include "ops/change.h"
#include "ops/key.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_tenant.h"
#include "store/repo_user.h"

#define DEMO       "demo"
#define DEMO_EMAIL "demo@localhost"

static enum err demo_tenant(struct change *c, struct tenant_row *row)
{
    struct ops *o = c->ops;
    enum err e = repo_tenant_find(o->db, TENANT_ALL, STR(DEMO), &c->arena, row, c->info);
    if (e != ERR_NOT_FOUND)
        return e;
    *row = (struct tenant_row){.slug = STR(DEMO), .name = STR("Demo"), .unlimited = 1};
    uint64_t given = column_bits(&thing_tenant, "slug name unlimited");
    e = row_complete(&thing_tenant, row, given, 0, &c->arena, c->info);
    if (!e)
        e = repo_tenant_add(o->db, TENANT_ALL, row, c->info);
    return e ? e : change_audit(c, &thing_tenant, "add", row->row.id, row);
}

static enum err demo_user(struct change *c, int64_t tenant, struct user_row *row)
{
    struct ops *o = c->ops;
    enum err e = repo_user_find(o->db, tenant, STR(DEMO_EMAIL), &c->arena, row, c->info);
    if (e != ERR_NOT_FOUND)
        return e;
    *row = (struct user_row){.email = STR(DEMO_EMAIL), .role = STR("tenant_admin")};
    uint64_t given = column_bits(&thing_user, "email role");
    e = row_complete(&thing_user, row, given, 0, &c->arena, c->info);
    if (!e)
        e = repo_user_add(o->db, tenant, row, c->info);
    return e ? e : change_audit(c, &thing_user, "add", row->row.id, row);
}

/* Revokes the demo key of the last start, if there is one. */
static enum err revoke_old(struct change *c, int64_t tenant)
{
    struct key_row old;
    enum err e = repo_key_find(c->ops->db, tenant, STR(DEMO), &c->arena, &old, c->info);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (!e)
        e = repo_key_revoke(c->ops->db, tenant, old.row.id, clock_wall_ms(), c->info);
    return e ? e : change_audit(c, &thing_key, "revoke", old.row.id, NULL);
}

enum err ops_dev_prepare(struct ops *o, char key[APIKEY_TEXT_MAX], struct err_info *info)
{
    struct change c;
    struct tenant_row tenant = {0};
    struct user_row user = {0};
    struct key_row row = {.name = STR(DEMO)};
    uint64_t given = column_bits(&thing_key, "name");
    key[0] = 0;
    enum err e = change_begin(&c, o, &thing_key, 0, info);
    if (!e)
        e = demo_tenant(&c, &tenant);
    c.tenant = tenant.row.id;
    if (!e)
        e = demo_user(&c, tenant.row.id, &user);
    if (!e)
        e = revoke_old(&c, tenant.row.id);
    if (!e)
        e = row_complete(&thing_key, &row, given, 0, &c.arena, info);
    row.user_id = user.row.id;
    if (!e)
        e = key_mint(&c, tenant.row.id, &row, key);
    e = change_end(&c, e, "add", row.row.id, &row);
    if (e)
        explicit_bzero(key, APIKEY_TEXT_MAX);
    return e;
}

/* ---- the setup token ------------------------------------------------------- */

static void base64url(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8 | p[i]) & 0xFFFF;
        for (have += 8; have >= 6; have -= 6)
            *out++ = digits[bits >> (have - 6) & 63];
    }
    if (have)
        *out++ = digits[bits << (6 - have) & 63];
    *out = 0;
}

static enum err digest_hex(struct str token, char out[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(token.p, token.n, digest, NULL, EVP_sha256(), NULL))
        return ERR_NOMEM;
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return ERR_OK;
}

static enum err setup_used(struct ops *o, struct arena *a, bool *used, struct err_info *info)
{
    struct str v;
    enum err e = repo_meta_get(o->db, "setup_used", a, &v, info);
    *used = v.n > 0;
    return e;
}

enum err ops_setup_token(struct ops *o, char out[SETUP_TOKEN_MAX], struct err_info *info)
{
    uint8_t raw[32];
    char hex[65];
    bool used = false;
    struct arena a;
    arena_init(&a, 4096);
    out[0] = 0;
    enum err e = sql_begin(o->db, SQL_WRITE, info);
    if (!e)
        e = setup_used(o, &a, &used, info);
    if (!e && !used) {
        rng_bytes(raw, sizeof raw);
        base64url(raw, sizeof raw, out);
        explicit_bzero(raw, sizeof raw);
        e = digest_hex(str_c(out), hex);
        if (!e)
            e = repo_meta_set(o->db, "setup_digest", str_c(hex), info);
    }
    if (!e)
        e = sql_commit(o->db, info);
    if (e) {
        sql_rollback(o->db);
        explicit_bzero(out, SETUP_TOKEN_MAX);
    }
    arena_release(&a);
    return e;
}

enum err ops_setup_use(struct ops *o, struct str token, struct err_info *info)
{
    char hex[65];
    bool used = false;
    struct str kept = STR_NULL;
    struct arena a;
    arena_init(&a, 4096);
    enum err e = sql_begin(o->db, SQL_WRITE, info);
    if (!e)
        e = setup_used(o, &a, &used, info);
    if (!e)
        e = repo_meta_get(o->db, "setup_digest", &a, &kept, info);
    if (!e)
        e = digest_hex(token, hex);
    if (!e && (used || !kept.n || !str_eq_secret(kept, str_c(hex))))
        e = err_set(info, ERR_UNAUTHORIZED,
                    "this setup token is not valid; the one of the last "
                    "start is, until it is used");
    if (!e)
        e = repo_meta_set(o->db, "setup_used", STR("1"), info);
    if (!e)
        e = sql_commit(o->db, info);
    if (e)
        sql_rollback(o->db);
    arena_release(&a);
    return e;
}
