/* vault: the secrets at rest: provider credentials in envelopes, and the pepper of API keys.
 *
 * A key-encryption key (32 bytes, from LYSS_ENCRYPTION_KEY or a file outside the
 * database) wraps one data key per tenant; a data key seals credentials with
 * AES-256-GCM, bound to tenant, credential id and version, so that a ciphertext
 * moved to another row or tenant does not open.  A check value in the database
 * tells a wrong key at start, before anything is written.
 *
 * Owned by the thread of its connection, but for vault_pepper, which any thread
 * may call once vault_open has returned. */
#ifndef LYSS_STORE_VAULT_H
#define LYSS_STORE_VAULT_H

#include "core/arena.h"
#include "core/secret.h"
#include "store/apikey.h"
#include "store/sql.h"

struct vault;

struct vault_options {
    struct str key;         /* 32 bytes as 64 hex digits or base64; empty: the file */
    const char *key_file;   /* NUL-terminated; made with a new key when not there */
    bool key_file_required; /* the operator named the file: never make it */
};

/* Finds the key, checks it against the database, and creates what a new database lacks.
 * ERR_KEY_MISMATCH: the key is not the one that this database was sealed with, or it is gone;
 * nothing was written. ERR_INVALID: not a key. ERR_IO. */
enum err vault_open(const struct vault_options *o, struct sql *db, struct vault **out,
                    struct err_info *info) MUST_CHECK;
/* Wipes every key. */
void vault_close(struct vault **v);

/* Seals plain; *sealed lies in the arena. Creates the tenant's data key when it has none (then
 * inside the caller's transaction). */
enum err vault_seal(struct vault *v, struct sql *db, int64_t tenant, int64_t credential,
                    int64_t version, struct str plain, struct arena *a, struct str *sealed,
                    struct err_info *info) MUST_CHECK;
/* ERR_CORRUPT when the bytes were not sealed for exactly this place. The caller releases *out. */
enum err vault_unseal(struct vault *v, struct sql *db, int64_t tenant, int64_t credential,
                      int64_t version, struct str sealed, struct secret *out,
                      struct err_info *info) MUST_CHECK;
/* What API keys are digested under; lent until vault_close. */
const struct apikey_pepper *vault_pepper(const struct vault *v);

#endif
