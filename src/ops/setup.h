/* setup: what a first start leaves behind: the one-time setup token, and the demo tenant of `dev`.
 */
#ifndef LYSS_OPS_SETUP_H
#define LYSS_OPS_SETUP_H

#include "ops/ops.h"

enum { SETUP_TOKEN_MAX = 64 + 1 };

/* A new token of 256 bits in hex, which takes the place of an unused older one; empty text once a
 * token has been used. Only its digest is stored: it can be shown now and never again. */
enum err ops_setup_token_mint(struct ops *o, char out[SETUP_TOKEN_MAX],
                              struct err_info *info) MUST_CHECK;
/* Takes the token, once. ERR_UNAUTHORIZED: wrong, or used already. */
enum err ops_setup_token_use(struct ops *o, struct str token, struct err_info *info) MUST_CHECK;

/* The tenant `demo` without limits, a user, and a new key named `demo`; the old one is revoked.
 * text: the key, for showing. */
enum err ops_dev_prepare(struct ops *o, char text[APIKEY_TEXT_MAX],
                         struct err_info *info) MUST_CHECK;

#endif
