/* setup: what a starting server needs: the demo tenant of `lyss dev`, the one-time setup token. */
#ifndef LYSS_OPS_SETUP_H
#define LYSS_OPS_SETUP_H

#include "ops/ops.h"

enum { SETUP_TOKEN_MAX = 44 }; /* 256 bits in base64url, and a NUL */

/* Tenant `demo` (without plan limits) with a user, made where they are not there; revokes the key
 * `demo` of the last start and mints a new one. The caller wipes the key's text. */
enum err ops_dev_prepare(struct ops *o, char key[APIKEY_TEXT_MAX],
                         struct err_info *info) MUST_CHECK;

/* A new setup token, which replaces that of the last start; only its digest is kept. Empty once a
 * token has been used. */
enum err ops_setup_token(struct ops *o, char out[SETUP_TOKEN_MAX],
                         struct err_info *info) MUST_CHECK;
/* Uses the token up. ERR_UNAUTHORIZED: it is not the one, or one was used before. */
enum err ops_setup_use(struct ops *o, struct str token, struct err_info *info) MUST_CHECK;

#endif
