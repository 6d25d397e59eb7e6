/* field_check: the rules of CHECK_*. Pure; any thread. */
#ifndef LYSS_OPS_FIELD_CHECK_H
#define LYSS_OPS_FIELD_CHECK_H

#include "store/rows.h"

/* One text, or one word of a list; why says what would be right. */
bool field_text_ok(const struct column *c, struct str text, char *why, size_t cap);
/* The value in a row. ERR_INVALID. */
enum err field_check(const struct column *c, const void *row, struct err_info *info) MUST_CHECK;
/* A URL that may be a channel's address: http or https, no user-info, query or fragment. */
bool field_url_ok(struct str text, char *why, size_t cap);

#endif
