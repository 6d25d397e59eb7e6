/* channel: the channels of a tenant, with their models and sealed credentials.
 * Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, ERR_CONFLICT, and the store's. */
#ifndef LYSS_OPS_CHANNEL_H
#define LYSS_OPS_CHANNEL_H

#include "ops/ops.h"

enum { CHANNEL_MODELS_MAX = 1024, CHANNEL_CREDENTIALS_MAX = 32, CREDENTIAL_BYTES_MAX = 8192 };

/* What of a channel is given. Lent for the call. */
struct channel_request {
    struct channel_row row; /* models and credentials of it are not looked at */
    uint64_t set;
    const struct channel_model *models; /* replace those that are there */
    size_t n_models;
    bool set_models;
    const struct secret *credentials;
    size_t n_credentials;
    bool keep_credentials; /* the new ones join the old; else they replace them */
    const int64_t *remove; /* ids of stored credentials to remove (ops_channel_set) */
    size_t n_remove;
};

/* Completes req->row. At least one model. */
enum err ops_channel_add(struct ops *o, int64_t tenant, struct channel_request *req,
                         struct arena *a, struct err_info *info) MUST_CHECK;
/* A new address (base_url, or another provider) removes the stored credentials; *cleared counts
 * those that went so. */
enum err ops_channel_set(struct ops *o, int64_t tenant, struct str name,
                         const struct channel_request *req, int64_t *cleared,
                         struct err_info *info) MUST_CHECK;
enum err ops_channel_remove(struct ops *o, int64_t tenant, struct str name,
                            struct err_info *info) MUST_CHECK;
enum err ops_credential_add(struct ops *o, int64_t tenant, struct str channel,
                            const struct secret *credential, struct err_info *info) MUST_CHECK;
enum err ops_credential_remove(struct ops *o, int64_t tenant, struct str channel, int64_t id,
                               struct err_info *info) MUST_CHECK;
/* With models and credentials (sealed). */
enum err ops_channel_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                          struct channel_row *row, struct err_info *info) MUST_CHECK;
enum err ops_channel_list(struct ops *o, int64_t tenant, struct arena *a, struct channel_row **rows,
                          size_t *n, struct err_info *info) MUST_CHECK;
/* "gpt-4o=upstream-name", "mock*": how a model is typed. Lends from text. */
struct channel_model channel_model_parse(struct str text);

#endif
