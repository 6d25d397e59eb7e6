/* repo_provider: the providers; they are the platform's, every tenant reads them.
 *
 * Thread: that of the connection. Rows lie in the caller's arena. Writes belong
 * into a transaction of src/ops, which also counts the change. */
#ifndef LYSS_STORE_REPO_PROVIDER_H
#define LYSS_STORE_REPO_PROVIDER_H

#include "store/rows.h"

/* In order of id. */
enum err repo_provider_list(struct sql *db, int64_t tenant, struct arena *a,
                            struct provider_row **rows, size_t *n,
                            struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND also for another tenant's. */
enum err repo_provider_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                           struct provider_row *row, struct err_info *info) MUST_CHECK;
enum err repo_provider_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                            struct provider_row *row, struct err_info *info) MUST_CHECK;
/* Sets id and times. ERR_EXISTS. */
enum err repo_provider_add(struct sql *db, int64_t tenant, struct provider_row *row,
                           struct err_info *info) MUST_CHECK;
/* Writes every column of the row with this id. ERR_NOT_FOUND, ERR_EXISTS. */
enum err repo_provider_save(struct sql *db, int64_t tenant, struct provider_row *row,
                            struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_CONFLICT while something refers to it. */
enum err repo_provider_remove(struct sql *db, int64_t tenant, int64_t id,
                              struct err_info *info) MUST_CHECK;

#endif
