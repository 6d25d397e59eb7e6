/* key: API keys. Their text is shown once, when they are made. Conventions in ops.h. */
#ifndef LYSS_OPS_KEY_H
#define LYSS_OPS_KEY_H

#include "ops/ops.h"

/* Mints a key for the user (address; empty: the tenant's only one). row: all columns. text: the
 * key, for showing once; the caller wipes it. */
enum err ops_key_add(struct ops *o, int64_t tenant, struct str user, struct key_row *row,
                     char text[APIKEY_TEXT_MAX], struct err_info *info) MUST_CHECK;
/* Changes the columns whose bit is in given; *row becomes the whole row. */
enum err ops_key_set(struct ops *o, int64_t tenant, struct str name, struct key_row *row,
                     uint64_t given, struct err_info *info) MUST_CHECK;
/* For good: the row stays, the name is free again. */
enum err ops_key_revoke(struct ops *o, int64_t tenant, struct str name,
                        struct err_info *info) MUST_CHECK;
/* A new text for the same key; the old one stops working at once. */
enum err ops_key_rotate(struct ops *o, int64_t tenant, struct str name, char text[APIKEY_TEXT_MAX],
                        struct err_info *info) MUST_CHECK;

#endif
