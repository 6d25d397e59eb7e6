/* key: mint, change, rotate and revoke API keys. Only the digest of a key is ever stored. */
#include "ops/key.h"

#include "core/clock.h"
#include "ops/change.h"
#include "ops/user.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"

enum err ops_key_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                      struct key_row *row, struct err_info *info)
{
    return change_missing(&thing_key, name, repo_key_find(o->db, tenant, name, a, row, info), info);
}

/* A channel that is not there would shut the key out in silence. */
static enum err check_channels(struct change *c, int64_t tenant, const struct key_row *row)
{
    struct str rest = row->allowed_channels, name;
    while (list_next(&rest, &name)) {
        struct channel_row channel;
        enum err e = repo_channel_find(c->ops->db, tenant, name, &c->arena, &channel, c->info);
        if (e == ERR_NOT_FOUND)
            return field_set(c->info, "allowed_channels", e, "there is no channel \"%.*s\"",
                             STR_FMT(name));
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err key_mint(struct change *c, int64_t tenant, struct key_row *row, char text[APIKEY_TEXT_MAX])
{
    struct apikey_hasher hasher;
    uint8_t digest[APIKEY_DIGEST_BYTES];
    apikey_mint(text);
    apikey_hasher_init(&hasher, vault_pepper(c->ops->vault));
    apikey_digest(&hasher, str_c(text), digest);
    row->digest = arena_dup(&c->arena, str_make((char *)digest, sizeof digest));
    row->last4 = arena_dup(&c->arena, str_from(str_c(text), strlen(text) - 4));
    enum err e =
        arena_failed(&c->arena) ? ERR_NOMEM : repo_key_add(c->ops->db, tenant, row, c->info);
    if (e)
        explicit_bzero(text, APIKEY_TEXT_MAX);
    return change_exists(&thing_key, row, e, c->info);
}

/* Ends a change that minted a key: nothing of the change's own arena stays in *row. */
static enum err end_minted(struct change *c, enum err e, const char *action, struct key_row *row,
                           struct arena *a, char text[APIKEY_TEXT_MAX])
{
    if (!e) {
        row->last4 = arena_dup(a, row->last4);
        row->digest = arena_dup(a, row->digest);
        e = arena_failed(a) ? ERR_NOMEM : ERR_OK;
    }
    e = change_end(c, e, action, row->row.id, row);
    if (e)
        explicit_bzero(text, APIKEY_TEXT_MAX);
    return e;
}

enum err ops_key_add(struct ops *o, int64_t tenant, struct str user, struct key_row *row,
                     uint64_t set, struct arena *a, char text[APIKEY_TEXT_MAX],
                     struct err_info *info)
{
    struct user_row owner;
    text[0] = 0;
    enum err e = row_complete(&thing_key, row, set, 0, a, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_key, tenant, info);
    if (!e)
        e = ops_user_find(o, tenant, user, &c.arena, &owner, info);
    if ((e == ERR_NOT_FOUND || e == ERR_INVALID) && info)
        str_copy(info->field, sizeof info->field, STR("user"));
    if (!e)
        e = check_channels(&c, tenant, row);
    if (!e) {
        row->user_id = owner.row.id;
        e = key_mint(&c, tenant, row, text);
    }
    return end_minted(&c, e, "add", row, a, text);
}

enum err ops_key_set(struct ops *o, int64_t tenant, struct str name, const struct key_row *to,
                     uint64_t set, struct err_info *info)
{
    struct change c;
    struct key_row row = {0};
    enum err e = change_begin(&c, o, &thing_key, tenant, info);
    if (!e)
        e = ops_key_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = row_merge(&thing_key, &row, to, set, info);
    }
    if (!e)
        e = check_channels(&c, tenant, &row);
    if (!e)
        e = change_exists(&thing_key, &row, repo_key_save(o->db, tenant, &row, info), info);
    return change_end(&c, e, "set", row.row.id, &row);
}

enum err ops_key_revoke(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct change c;
    struct key_row row = {0};
    enum err e = change_begin(&c, o, &thing_key, tenant, info);
    if (!e)
        e = ops_key_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        row.revoked_ms = clock_wall_ms();
        e = repo_key_revoke(o->db, tenant, row.row.id, row.revoked_ms, info);
    }
    return change_end(&c, e, "revoke", row.row.id, &row);
}

enum err ops_key_rotate(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                        struct key_row *row, char text[APIKEY_TEXT_MAX], struct err_info *info)
{
    struct change c;
    text[0] = 0;
    *row = (struct key_row){.name = name};
    enum err e = change_begin(&c, o, &thing_key, tenant, info);
    if (!e)
        e = ops_key_find(o, tenant, name, a, row, info);
    if (!e) {
        change_before(&c, row);
        e = repo_key_revoke(o->db, tenant, row->row.id, clock_wall_ms(), info);
    }
    if (!e) {
        row->last_used_ms = ROW_NULL;
        e = key_mint(&c, tenant, row, text);
    }
    return end_minted(&c, e, "rotate", row, a, text);
}
