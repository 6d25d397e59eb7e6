/* channel: add, set and remove channels. The rule that matters most: a credential never follows its
 * channel to a new address. */
#include "ops/channel.h"

#include <stdio.h>

#include "ops/change.h"
#include "ops/channel_check.h"
#include "store/repo_channel.h"

struct channel_model channel_model_parse(struct str text)
{
    struct str rest = text, pattern = text;
    str_split(&rest, '=', &pattern);
    return (struct channel_model){pattern, rest.p ? rest : STR("")};
}

enum err ops_channel_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                          struct channel_row *row, struct err_info *info)
{
    enum err e = change_missing(&thing_channel, name,
                                repo_channel_find(o->db, tenant, name, a, row, info), info);
    return e ? e : repo_channel_load_parts(o->db, tenant, a, row, 1, info);
}

enum err ops_channel_list(struct ops *o, int64_t tenant, struct arena *a, struct channel_row **rows,
                          size_t *n, struct err_info *info)
{
    enum err e = repo_channel_list(o->db, tenant, a, rows, n, info);
    return e ? e : repo_channel_load_parts(o->db, tenant, a, *rows, *n, info);
}

/* Stores one credential: its row first, since the seal is bound to the row's id. */
static enum err add_credential(struct change *c, int64_t tenant, int64_t channel,
                               const struct secret *secret)
{
    struct apikey_hasher hasher;
    uint8_t digest[APIKEY_DIGEST_BYTES];
    char fingerprint[17];
    struct str plain = secret_expose(secret);
    apikey_hasher_init(&hasher, vault_pepper(c->ops->vault));
    apikey_digest(&hasher, plain, digest);
    for (int i = 0; i < 8; i++)
        snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
    struct channel_credential row = {.version = 1,
                                     .fingerprint = str_c(fingerprint),
                                     .last4 = plain.n < 16 ? STR("") : str_from(plain, plain.n - 4),
                                     .status = STR("active")};
    struct sql *db = c->ops->db;
    enum err e = repo_channel_add_credential(db, tenant, channel, &row, c->info);
    if (!e)
        e = vault_seal(c->ops->vault, db, tenant, row.id, row.version, plain, &c->arena,
                       &row.sealed, c->info);
    return e ? e : repo_channel_seal_credential(db, tenant, &row, c->info);
}

static enum err add_credentials(struct change *c, int64_t tenant, int64_t channel,
                                const struct secret *secrets, size_t n, size_t there)
{
    enum err e = ERR_OK;
    if (n + there > CHANNEL_CREDENTIALS_MAX)
        return field_set(c->info, "credential", ERR_INVALID, "at most %d credentials a channel",
                         CHANNEL_CREDENTIALS_MAX);
    for (size_t i = 0; !e && i < n; i++) {
        e = channel_check_credential(&secrets[i], c->info);
        if (!e)
            e = add_credential(c, tenant, channel, &secrets[i]);
    }
    return e;
}

/* Ends a change with the channel as it is now, models and fingerprints included, in the audit. */
static enum err end_with(struct change *c, enum err e, const char *action, int64_t tenant,
                         int64_t id)
{
    struct channel_row row = {0};
    if (!e)
        e = repo_channel_get(c->ops->db, tenant, id, &c->arena, &row, c->info);
    if (!e)
        e = repo_channel_load_parts(c->ops->db, tenant, &c->arena, &row, 1, c->info);
    return change_end(c, e, action, id, &row);
}

enum err ops_channel_add(struct ops *o, int64_t tenant, struct channel_request *req,
                         struct arena *a, struct err_info *info)
{
    struct channel_row *row = &req->row;
    struct str address;
    enum err e = row_complete(&thing_channel, row, req->set, 0, a, info);
    if (!e)
        e = channel_check_models(req->models, req->n_models, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_channel, tenant, info);
    if (!e)
        e = channel_check(o, row, &c.arena, &address, info);
    if (!e)
        e = change_exists(&thing_channel, row, repo_channel_add(o->db, tenant, row, info), info);
    if (!e)
        e = repo_channel_set_models(o->db, tenant, row->row.id, req->models, req->n_models, info);
    if (!e)
        e = add_credentials(&c, tenant, row->row.id, req->credentials, req->n_credentials, 0);
    return end_with(&c, e, "add", tenant, row->row.id);
}

static enum err remove_credential(struct change *c, int64_t tenant, const struct channel_row *row,
                                  int64_t id)
{
    int64_t removed = 0;
    enum err e = ERR_OK;
    if (id > 0)
        e = repo_channel_remove_credentials(c->ops->db, tenant, row->row.id, id, &removed, c->info);
    if (!e && !removed)
        e = field_set(c->info, "credential", ERR_NOT_FOUND,
                      "channel \"%.*s\" has no credential %lld", STR_FMT(row->name), (long long)id);
    return e;
}

/* The credentials after a change: old ones stay only where they were and only when asked to. */
static enum err set_credentials(struct change *c, int64_t tenant, const struct channel_row *row,
                                const struct channel_request *req, bool moved, int64_t *cleared)
{
    int64_t removed = 0;
    enum err e = ERR_OK;
    bool replace = req->n_credentials && !req->keep_credentials;
    for (size_t i = 0; !e && i < req->n_remove; i++)
        e = remove_credential(c, tenant, row, req->remove[i]);
    if (!e && (moved || replace))
        e = repo_channel_remove_credentials(c->ops->db, tenant, row->row.id, 0, &removed, c->info);
    if (moved && !replace)
        *cleared = removed;
    size_t there = moved || replace ? 0 : row->n_credentials - req->n_remove;
    return e ? e
             : add_credentials(c, tenant, row->row.id, req->credentials, req->n_credentials, there);
}

enum err ops_channel_set(struct ops *o, int64_t tenant, struct str name,
                         const struct channel_request *req, int64_t *cleared, struct err_info *info)
{
    struct change c;
    struct channel_row row = {0};
    struct str was = STR_NULL, is = STR_NULL;
    *cleared = 0;
    enum err e = req->set_models ? channel_check_models(req->models, req->n_models, info) : ERR_OK;
    if (e)
        return e;
    e = change_begin(&c, o, &thing_channel, tenant, info);
    if (!e)
        e = ops_channel_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        struct channel_row old = row;
        change_before(&c, &row);
        if (channel_check(o, &old, &c.arena, &was, info))
            was = STR_NULL; /* what it was does not hold any more: then it has moved */
        e = row_merge(&thing_channel, &row, &req->row, req->set, info);
    }
    if (!e)
        e = channel_check(o, &row, &c.arena, &is, info);
    if (!e)
        e = change_exists(&thing_channel, &row, repo_channel_save(o->db, tenant, &row, info), info);
    if (!e && req->set_models)
        e = repo_channel_set_models(o->db, tenant, row.row.id, req->models, req->n_models, info);
    if (!e)
        e = set_credentials(&c, tenant, &row, req, !str_eq(was, is), cleared);
    return end_with(&c, e, "set", tenant, row.row.id);
}

enum err ops_channel_remove(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct change c;
    struct channel_row row = {0};
    enum err e = change_begin(&c, o, &thing_channel, tenant, info);
    if (!e)
        e = ops_channel_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = repo_channel_remove(o->db, tenant, row.row.id, info);
    }
    return change_end(&c, e, "rm", row.row.id, NULL);
}

enum err ops_credential_add(struct ops *o, int64_t tenant, struct str channel,
                            const struct secret *credential, struct err_info *info)
{
    struct change c;
    struct channel_row row = {0};
    enum err e = change_begin(&c, o, &thing_channel, tenant, info);
    if (!e)
        e = ops_channel_find(o, tenant, channel, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = add_credentials(&c, tenant, row.row.id, credential, 1, row.n_credentials);
    }
    return end_with(&c, e, "set", tenant, row.row.id);
}

enum err ops_credential_remove(struct ops *o, int64_t tenant, struct str channel, int64_t id,
                               struct err_info *info)
{
    struct change c;
    struct channel_row row = {0};
    enum err e = change_begin(&c, o, &thing_channel, tenant, info);
    if (!e)
        e = ops_channel_find(o, tenant, channel, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = remove_credential(&c, tenant, &row, id);
    }
    return end_with(&c, e, "set", tenant, row.row.id);
}
