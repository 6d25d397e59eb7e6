/* vault: data keys under the key-encryption key, credentials under data keys.
 *
 * What is derived from the key itself is only the check value.  The pepper is
 * random and sealed in the database, so that a change of the key-encryption key
 * can re-wrap it and every API key goes on working. */
#include "store/vault.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "store/aead.h"
#include "store/repo_meta.h"
#include "store/vault_key.h"

enum { CHECK_BYTES = 16, CACHE_MAX = 64 };

struct data_key {
    int64_t tenant;
    uint8_t key[AEAD_KEY_BYTES];
};

struct vault {
    uint8_t kek[AEAD_KEY_BYTES];
    struct apikey_pepper pepper;
    struct data_key keys[CACHE_MAX]; /* the last ones used; the oldest place is taken over */
    size_t n_keys, next;
};

static void hex_of(const uint8_t *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* Numbers in the additional data stand in 8 bytes each, so that no two places read alike. */
static struct str bind_place(char out[64], const char *what, int64_t a, int64_t b, int64_t c)
{
    const int64_t v[] = {a, b, c};
    size_t n = strlen(what) + 1;
    memcpy(out, what, n);
    for (int i = 0; i < 3; i++)
        for (int k = 7; k >= 0; k--)
            out[n++] = (char)((uint64_t)v[i] >> (8 * k));
    return str_make(out, n);
}

static enum err mismatch(struct err_info *info)
{
    return err_set(info, ERR_KEY_MISMATCH,
                   "the encryption key is not the one that the stored credentials are sealed with; "
                   "give the right one by LYSS_ENCRYPTION_KEY or LYSS_ENCRYPTION_KEY_FILE, or put "
                   "encryption.key back into the data directory (nothing was changed)");
}

/* A new database: writes the check value and a fresh pepper. */
static enum err create_values(struct vault *v, struct sql *db, const char *check,
                              struct err_info *info)
{
    uint8_t sealed[sizeof v->pepper + AEAD_OVERHEAD];
    char hex[2 * sizeof sealed + 1], aad[64];
    rng_bytes(v->pepper.bytes, sizeof v->pepper);
    enum err e = aead_seal(v->kek, bind_place(aad, "lyss pepper", 0, 0, 0),
                           str_make((char *)v->pepper.bytes, sizeof v->pepper), sealed);
    if (e)
        return e;
    hex_of(sealed, sizeof sealed, hex);
    e = repo_meta_set(db, "vault_pepper", str_c(hex), info);
    return e ? e : repo_meta_set(db, "vault_check", str_c(check), info);
}

static enum err read_pepper(struct vault *v, struct sql *db, struct arena *a, struct err_info *info)
{
    struct str hex;
    uint8_t sealed[sizeof v->pepper + AEAD_OVERHEAD];
    char aad[64];
    enum err e = repo_meta_get(db, "vault_pepper", a, &hex, info);
    if (e)
        return e;
    if (!vault_key_hex(hex, sealed, sizeof sealed))
        return err_set(info, ERR_CORRUPT, "the sealed pepper in the database is damaged");
    return aead_open(v->kek, bind_place(aad, "lyss pepper", 0, 0, 0),
                     str_make((char *)sealed, sizeof sealed), v->pepper.bytes)
               ? mismatch(info)
               : ERR_OK;
}

/* Inside a write transaction, so that two first starts agree on one key. */
static enum err open_locked(struct vault *v, const struct vault_options *o, struct sql *db,
                            struct arena *a, struct err_info *info)
{
    struct str stored;
    enum err e = repo_meta_get(db, "vault_check", a, &stored, info);
    if (e)
        return e;
    bool may_create = !stored.p && !o->key_file_required;
    e = vault_key_find(o->key, o->key_file, may_create, v->kek, info);
    if (e == ERR_NOT_FOUND && stored.p && !o->key_file_required)
        return err_set(info, ERR_KEY_MISMATCH,
                       "the encryption key %s is gone, but the database holds data sealed with it; "
                       "put the file back, or give the key by LYSS_ENCRYPTION_KEY",
                       o->key_file);
    uint8_t check[CHECK_BYTES];
    char hex[2 * CHECK_BYTES + 1];
    if (!e)
        e = aead_derive(v->kek, "lyss key check v1", check, sizeof check);
    if (e)
        return e;
    hex_of(check, sizeof check, hex);
    if (!stored.p)
        return create_values(v, db, hex, info);
    return str_eq_secret(stored, str_c(hex)) ? read_pepper(v, db, a, info) : mismatch(info);
}

enum err vault_open(const struct vault_options *o, struct sql *db, struct vault **out,
                    struct err_info *info)
{
    *out = NULL;
    struct vault *v = mem_zalloc(sizeof *v);
    if (!v)
        return ERR_NOMEM;
    struct arena a;
    arena_init(&a, 4096);
    enum err e = sql_begin(db, SQL_WRITE, info);
    if (!e) {
        e = open_locked(v, o, db, &a, info);
        if (e)
            sql_rollback(db);
        else
            e = sql_commit(db, info);
    }
    arena_release(&a);
    if (e)
        vault_close(&v);
    *out = v;
    return e;
}

void vault_close(struct vault **vp)
{
    if (!*vp)
        return;
    explicit_bzero(*vp, sizeof **vp);
    mem_free(*vp);
    *vp = NULL;
}

static struct data_key *remember(struct vault *v, int64_t tenant)
{
    struct data_key *k = &v->keys[v->next];
    v->next = (v->next + 1) % CACHE_MAX;
    if (v->n_keys < CACHE_MAX)
        v->n_keys++;
    k->tenant = tenant;
    return k;
}

static enum err create_data_key(struct vault *v, struct sql *db, int64_t tenant,
                                uint8_t key[AEAD_KEY_BYTES], struct err_info *info)
{
    uint8_t wrapped[AEAD_KEY_BYTES + AEAD_OVERHEAD];
    char aad[64];
    rng_bytes(key, AEAD_KEY_BYTES);
    enum err e = aead_seal(v->kek, bind_place(aad, "lyss data key", tenant, 0, 0),
                           str_make((char *)key, AEAD_KEY_BYTES), wrapped);
    if (e)
        return e;
    struct sql_stmt *s = sql_query(db, "INSERT INTO data_keys (tenant_id, wrapped, created_ms)"
                                       " VALUES (?1, ?2, ?3)");
    sql_bind_i64(s, 1, tenant);
    sql_bind_blob(s, 2, str_make((char *)wrapped, sizeof wrapped));
    sql_bind_i64(s, 3, clock_wall_ms());
    return sql_run(s, info);
}

/* *found tells whether the tenant has a data key in the database. */
static enum err load_data_key(struct vault *v, struct sql *db, int64_t tenant, bool *found,
                              uint8_t key[AEAD_KEY_BYTES], struct err_info *info)
{
    char aad[64];
    enum err opened = ERR_OK;
    struct sql_stmt *s = sql_query(db, "SELECT wrapped FROM data_keys WHERE tenant_id = ?1");
    sql_bind_i64(s, 1, tenant);
    *found = sql_next(s);
    if (*found) {
        struct str w = sql_blob(s, 0);
        opened = w.n == AEAD_KEY_BYTES + AEAD_OVERHEAD
                     ? aead_open(v->kek, bind_place(aad, "lyss data key", tenant, 0, 0), w, key)
                     : ERR_CORRUPT;
    }
    enum err e = sql_end(s, info);
    return e || !opened ? e
                        : err_set(info, ERR_CORRUPT, "the data key of tenant %lld is damaged",
                                  (long long)tenant);
}

/* Copies out the tenant's data key. One that was made in this transaction may still be rolled back,
 * so what is read inside a transaction is not remembered. */
static enum err data_key(struct vault *v, struct sql *db, int64_t tenant, bool create,
                         uint8_t key[AEAD_KEY_BYTES], struct err_info *info)
{
    for (size_t i = 0; i < v->n_keys; i++) {
        if (v->keys[i].tenant == tenant) {
            memcpy(key, v->keys[i].key, AEAD_KEY_BYTES);
            return ERR_OK;
        }
    }
    bool found;
    enum err e = load_data_key(v, db, tenant, &found, key, info);
    if (e)
        return e;
    if (!found)
        return create ? create_data_key(v, db, tenant, key, info)
                      : err_set(info, ERR_CORRUPT, "tenant %lld has sealed credentials but no key",
                                (long long)tenant);
    if (!sql_in_transaction(db))
        memcpy(remember(v, tenant)->key, key, AEAD_KEY_BYTES);
    return ERR_OK;
}

enum err vault_seal(struct vault *v, struct sql *db, int64_t tenant, int64_t credential,
                    int64_t version, struct str plain, struct arena *a, struct str *sealed,
                    struct err_info *info)
{
    uint8_t key[AEAD_KEY_BYTES];
    char aad[64];
    size_t n = plain.n + AEAD_OVERHEAD;
    uint8_t *out = arena_alloc(a, n);
    if (!out)
        return ERR_NOMEM;
    enum err e = data_key(v, db, tenant, true, key, info);
    if (!e)
        e = aead_seal(key, bind_place(aad, "lyss credential", tenant, credential, version), plain,
                      out);
    explicit_bzero(key, sizeof key);
    *sealed = str_make((char *)out, n);
    return e;
}

enum err vault_unseal(struct vault *v, struct sql *db, int64_t tenant, int64_t credential,
                      int64_t version, struct str sealed, struct secret *out, struct err_info *info)
{
    *out = (struct secret){NULL, 0};
    if (sealed.n < AEAD_OVERHEAD)
        return err_set(info, ERR_CORRUPT, "credential %lld is damaged", (long long)credential);
    uint8_t key[AEAD_KEY_BYTES];
    char aad[64];
    size_t n = sealed.n - AEAD_OVERHEAD;
    uint8_t *plain = mem_alloc(n ? n : 1);
    if (!plain)
        return ERR_NOMEM;
    enum err e = data_key(v, db, tenant, false, key, info);
    if (!e) {
        e = aead_open(key, bind_place(aad, "lyss credential", tenant, credential, version), sealed,
                      plain);
        if (e == ERR_CORRUPT)
            err_set(info, e, "credential %lld was not sealed for this place",
                    (long long)credential);
    }
    explicit_bzero(key, sizeof key);
    *out = (struct secret){plain, n};
    if (e)
        secret_release(out);
    return e;
}

const struct apikey_pepper *vault_pepper(const struct vault *v)
{
    return &v->pepper;
}
