/* field: a column's value between text and row: parsing, checking, showing.
 *
 * What an operator types on the command line, what an API's field holds and what
 * a file declares go through here, so that one rule and one message serve all.
 * Pure but for the clock; any thread. */
#ifndef LYSS_OPS_FIELD_H
#define LYSS_OPS_FIELD_H

#include "core/json_write.h"
#include "store/rows.h"

/* Puts text into the row. A list column takes one word (more) or, empty, is cleared; "none",
 * "never" and "default" unset an OPT or TIME column. Texts are copied into the arena. ERR_INVALID
 * with what is wrong, where and how to mend it; info->field is the flag. */
enum err field_set(const struct column *c, void *row, struct str text, bool more, struct arena *a,
                   struct err_info *info) MUST_CHECK;
/* The whole row zero, then every column as its default says; those without one stay empty. */
enum err field_defaults(const struct thing *t, void *row, struct arena *a,
                        struct err_info *info) MUST_CHECK;
/* Checks every column that can be set, also that what must be given is there. */
enum err field_check_all(const struct thing *t, const void *row, struct err_info *info) MUST_CHECK;
/* Takes over from src the columns whose bit is in given (bit i: the i-th column). */
void field_merge(const struct thing *t, void *dst, const void *src, uint64_t given);

/* As the command line would take it ("none", "on", …); lists with commas. */
void field_show(const struct column *c, const void *row, struct buf *out);
/* An object with id, times and every column but blobs, without its closing brace: the caller may
 * add keys and closes it. */
void field_json_open(const struct thing *t, const void *row, struct json_writer *w);

#endif
