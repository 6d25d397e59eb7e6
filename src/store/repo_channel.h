/* repo_channel: channels, with their models and sealed credentials.
 *
 * Thread: that of the connection. Rows lie in the caller's arena. Writes belong
 * into a transaction of src/ops, which also counts the change. */
#ifndef LYSS_STORE_REPO_CHANNEL_H
#define LYSS_STORE_REPO_CHANNEL_H

#include "store/rows.h"

/* In order of id. */
enum err repo_channel_list(struct sql *db, int64_t tenant, struct arena *a,
                           struct channel_row **rows, size_t *n, struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND also for another tenant's. */
enum err repo_channel_get(struct sql *db, int64_t tenant, int64_t id, struct arena *a,
                          struct channel_row *row, struct err_info *info) MUST_CHECK;
enum err repo_channel_find(struct sql *db, int64_t tenant, struct str name, struct arena *a,
                           struct channel_row *row, struct err_info *info) MUST_CHECK;
/* Sets id and times. ERR_EXISTS. */
enum err repo_channel_add(struct sql *db, int64_t tenant, struct channel_row *row,
                          struct err_info *info) MUST_CHECK;
/* Writes every column of the row with this id. ERR_NOT_FOUND, ERR_EXISTS. */
enum err repo_channel_save(struct sql *db, int64_t tenant, struct channel_row *row,
                           struct err_info *info) MUST_CHECK;
/* ERR_NOT_FOUND; ERR_CONFLICT while something refers to it. */
enum err repo_channel_remove(struct sql *db, int64_t tenant, int64_t id,
                             struct err_info *info) MUST_CHECK;

/* The list and get functions leave models and credentials empty; this fills them for n rows. A
 * snapshot asks with TENANT_ALL. */
enum err repo_channel_load_parts(struct sql *db, int64_t tenant, struct arena *a,
                                 struct channel_row *rows, size_t n,
                                 struct err_info *info) MUST_CHECK;
/* Replaces the channel's models by these. */
enum err repo_channel_set_models(struct sql *db, int64_t tenant, int64_t channel,
                                 const struct channel_model *models, size_t n,
                                 struct err_info *info) MUST_CHECK;
/* Adds a credential without content, to have its id; repo_channel_seal_credential completes it. */
enum err repo_channel_add_credential(struct sql *db, int64_t tenant, int64_t channel,
                                     struct channel_credential *c,
                                     struct err_info *info) MUST_CHECK;
enum err repo_channel_seal_credential(struct sql *db, int64_t tenant,
                                      const struct channel_credential *c,
                                      struct err_info *info) MUST_CHECK;
/* Removes one (id) or all (id 0); *removed counts them. */
enum err repo_channel_remove_credentials(struct sql *db, int64_t tenant, int64_t channel,
                                         int64_t id, int64_t *removed,
                                         struct err_info *info) MUST_CHECK;

#endif
