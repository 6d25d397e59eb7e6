/* channel: channels with their models and credentials, known by their name. Conventions in ops.h.
 */
#ifndef LYSS_OPS_CHANNEL_H
#define LYSS_OPS_CHANNEL_H

#include "ops/ops.h"

/* A change of a channel. Borrowed. */
struct channel_change {
    struct channel_row row; /* add: all columns; set: those in given */
    uint64_t given;
    const struct channel_model *models; /* replace those that are there */
    size_t n_models;
    bool models_given;
    const struct secret *credentials; /* replace those that are there */
    size_t n_credentials;
};

/* Sets change->row.row.id. */
enum err ops_channel_add(struct ops *o, int64_t tenant, struct channel_change *change,
                         struct err_info *info) MUST_CHECK;
/* A base_url or provider that becomes another removes the stored credentials unless new ones come
 * with it; *cleared (may be NULL) tells how many went so. change->row becomes the whole row. */
enum err ops_channel_set(struct ops *o, int64_t tenant, struct str name,
                         struct channel_change *change, int64_t *cleared,
                         struct err_info *info) MUST_CHECK;
enum err ops_channel_remove(struct ops *o, int64_t tenant, struct str name,
                            struct err_info *info) MUST_CHECK;

#endif
