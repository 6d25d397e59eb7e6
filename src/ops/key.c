/* key: changes to API keys. */
#include "ops/key.h"

#include "core/clock.h"
#include "ops/field.h"
#include "ops/step.h"
#include "store/repo_key.h"
#include "store/repo_user.h"

/* A new text into *row as digest and last four; both lie in the arena. */
static enum err mint(struct ops *o, struct key_row *row, char text[APIKEY_TEXT_MAX])
{
    struct apikey_hasher h;
    uint8_t digest[APIKEY_DIGEST_BYTES];
    apikey_mint(text);
    apikey_hasher_init(&h, vault_pepper(o->vault));
    apikey_digest(&h, str_make(text, APIKEY_CHARS), digest);
    explicit_bzero(&h, sizeof h);
    row->digest = arena_dup(o->arena, str_make((char *)digest, sizeof digest));
    row->last4 = arena_dup(o->arena, str_make(text + APIKEY_CHARS - 4, 4));
    return arena_failed(o->arena) ? ERR_NOMEM : ERR_OK;
}

static enum err find_user(struct ops *o, int64_t tenant, struct str user, int64_t *id,
                          struct err_info *info)
{
    struct user_row row, *rows;
    size_t n;
    enum err e;
    if (user.n) {
        e = repo_user_find(o->db, tenant, user, o->arena, &row, info);
        *id = row.row.id;
        return e ? ops_explain(&thing_user, user, e, info) : ERR_OK;
    }
    e = repo_user_list(o->db, tenant, o->arena, &rows, &n, info);
    if (e)
        return e;
    if (n == 0)
        return err_set(info, ERR_INVALID,
                       "the tenant has no user yet; make one with: lyss user add EMAIL");
    if (n > 1)
        return err_set(info, ERR_INVALID,
                       "the tenant has %zu users; say whose key it is with --user EMAIL", n);
    *id = rows[0].row.id;
    return ERR_OK;
}

enum err ops_key_add(struct ops *o, int64_t tenant, struct str user, struct key_row *row,
                     char text[APIKEY_TEXT_MAX], struct err_info *info)
{
    enum err e = field_check_all(&thing_key, row, info);
    if (!e)
        e = ops_begin(o, info);
    if (e)
        return e;
    row->last_used_ms = row->revoked_ms = ROW_NULL;
    e = find_user(o, tenant, user, &row->user_id, info);
    if (!e)
        e = mint(o, row, text);
    if (!e) {
        e = repo_key_add(o->db, tenant, row, info);
        if (e)
            ops_explain(&thing_key, row->name, e, info);
    }
    e = ops_end(o, e, &(struct ops_step){&thing_key, "add", tenant, row->row.id, NULL, row}, info);
    if (e)
        explicit_bzero(text, APIKEY_TEXT_MAX);
    return e;
}

static enum err begin_with(struct ops *o, int64_t tenant, struct str name, struct key_row *row,
                           struct err_info *info)
{
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_key_find(o->db, tenant, name, o->arena, row, info);
    if (e) {
        ops_explain(&thing_key, name, e, info);
        sql_rollback(o->db);
    }
    return e;
}

enum err ops_key_set(struct ops *o, int64_t tenant, struct str name, struct key_row *row,
                     uint64_t given, struct err_info *info)
{
    struct key_row before;
    enum err e = begin_with(o, tenant, name, &before, info);
    if (e)
        return e;
    struct key_row after = before;
    field_merge(&thing_key, &after, row, given);
    e = field_check_all(&thing_key, &after, info);
    if (!e) {
        e = repo_key_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_key, after.name, e, info);
    }
    *row = after;
    return ops_end(
        o, e, &(struct ops_step){&thing_key, "set", tenant, after.row.id, &before, &after}, info);
}

enum err ops_key_revoke(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct key_row before;
    enum err e = begin_with(o, tenant, name, &before, info);
    if (e)
        return e;
    struct key_row after = before;
    after.revoked_ms = clock_wall_ms();
    e = repo_key_revoke(o->db, tenant, before.row.id, after.revoked_ms, info);
    return ops_end(o, e,
                   &(struct ops_step){&thing_key, "revoke", tenant, before.row.id, &before, &after},
                   info);
}

enum err ops_key_rotate(struct ops *o, int64_t tenant, struct str name, char text[APIKEY_TEXT_MAX],
                        struct err_info *info)
{
    struct key_row before;
    enum err e = begin_with(o, tenant, name, &before, info);
    if (e)
        return e;
    struct key_row after = before;
    e = mint(o, &after, text);
    if (!e)
        e = repo_key_save(o->db, tenant, &after, info);
    e = ops_end(o, e,
                &(struct ops_step){&thing_key, "rotate", tenant, after.row.id, &before, &after},
                info);
    if (e)
        explicit_bzero(text, APIKEY_TEXT_MAX);
    return e;
}
