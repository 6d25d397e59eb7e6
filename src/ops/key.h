/* key: API keys of a tenant. A key's text is returned once and kept nowhere; the caller wipes it.
 * Errors: ERR_INVALID, ERR_NOT_FOUND, ERR_EXISTS, ERR_CONFLICT, and the store's. */
#ifndef LYSS_OPS_KEY_H
#define LYSS_OPS_KEY_H

#include "ops/ops.h"

/* Mints a key for the user with this e-mail (empty: the tenant's only user). Completes *row. */
enum err ops_key_add(struct ops *o, int64_t tenant, struct str user, struct key_row *row,
                     uint64_t set, struct arena *a, char text[APIKEY_TEXT_MAX],
                     struct err_info *info) MUST_CHECK;
enum err ops_key_set(struct ops *o, int64_t tenant, struct str name, const struct key_row *to,
                     uint64_t set, struct err_info *info) MUST_CHECK;
/* Revokes it; the row stays, its name is free again. */
enum err ops_key_revoke(struct ops *o, int64_t tenant, struct str name,
                        struct err_info *info) MUST_CHECK;
/* Revokes it and mints another with the same name, rights and limits, in one step. */
enum err ops_key_rotate(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                        struct key_row *row, char text[APIKEY_TEXT_MAX],
                        struct err_info *info) MUST_CHECK;
/* A live key. */
enum err ops_key_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                      struct key_row *row, struct err_info *info) MUST_CHECK;

struct change;
/* Inside a change: gives the complete row a new key's digest and stores it. */
enum err key_mint(struct change *c, int64_t tenant, struct key_row *row,
                  char text[APIKEY_TEXT_MAX]) MUST_CHECK;

#endif
