/* channel_check: what a channel's request must hold beyond its columns. Used by src/ops. */
#ifndef LYSS_OPS_CHANNEL_CHECK_H
#define LYSS_OPS_CHANNEL_CHECK_H

#include "ops/channel.h"

/* Provider, address, api_version and overrides; trims the base URL. *address: where the channel
 * leads to, lent from row or arena. */
enum err channel_check(struct ops *o, struct channel_row *row, struct arena *a, struct str *address,
                       struct err_info *info) MUST_CHECK;
enum err channel_check_models(const struct channel_model *models, size_t n,
                              struct err_info *info) MUST_CHECK;
/* Printable ASCII without blanks, so that it can be a header's value. */
enum err channel_check_credential(const struct secret *s, struct err_info *info) MUST_CHECK;

#endif
