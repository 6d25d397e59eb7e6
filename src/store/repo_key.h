/* repo_key: API keys; only digests of them. A revoked key stays as a row, its name is free again.
 *
 * Thread: that of the connection. Rows lie in the caller's arena. Writes belong
 * into a transaction of src/ops, which also counts the change. */
#ifndef LYSS_STORE_REPO_KEY_H
#define LYSS_STORE_REPO_KEY_H

#include "store/rows.h"

/* In order of id. */
enum err repo_key_list(struct sql *db, int64_t tenant, struct arena *a, struct key_row **rows,
                       size_t *n, struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND also for another tenant's. */
enum err repo_key_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                      struct key_row *row, struct err_info *info) MUST_CHECK;
enum err repo_key_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                       struct key_row *row, struct err_info *info) MUST_CHECK;
/* Sets id and times. ERR_EXISTS. */
enum err repo_key_add(struct sql *db, int64_t tenant, struct key_row *row,
                      struct err_info *info) MUST_CHECK;
/* Writes every column of the row with this id. ERR_NOT_FOUND, ERR_EXISTS. */
enum err repo_key_save(struct sql *db, int64_t tenant, struct key_row *row,
                       struct err_info *info) MUST_CHECK;
/* What a snapshot needs: keys of active status that are neither revoked nor expired at now_ms. */
enum err repo_key_list_live(struct sql *db, int64_t tenant, int64_t now_ms, struct arena *a,
                            struct key_row **rows, size_t *n, struct err_info *info) MUST_CHECK;
/* When it last worked; never set back. No change of the configuration: neither updated_ms nor
 * config_rev move. A key that has gone is no error. */
enum err repo_key_used(struct sql *db, int64_t tenant, int64_t id, int64_t used_ms,
                       struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND also when it is revoked already. */
enum err repo_key_revoke(struct sql *db, int64_t tenant, int64_t id, int64_t now_ms,
                         struct err_info *info) MUST_CHECK;

#endif
