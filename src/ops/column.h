/* column: a value of a column from text, its check, and back to text and JSON; for every thing of
 * store/rows.h, by its table.
 *
 * A `set` is a bit mask over a thing's columns: bit i stands for columns[i].
 * Pure but for the arena; any thread.  Failures name the column in info->field. */
#ifndef LYSS_OPS_COLUMN_H
#define LYSS_OPS_COLUMN_H

#include "core/json_write.h"
#include "store/rows.h"

/* Words in one LIST column at most. */
enum { COLUMN_WORDS_MAX = 256 };

/* The bit of a column that is known to be in the table. */
uint64_t column_bit(const struct thing *t, const struct column *c);
/* The bits of some columns, known to be there, their names separated by blanks. */
uint64_t column_bits(const struct thing *t, const char *names);
/* The column by which people name such a row: slug, email, name. */
const struct column *column_of_name(const struct thing *t);

/* Reads text as one would type it ("none", "off", "never", "2027-01-31" …) into the row. A LIST
 * gets the word appended when add is true, else it becomes the text's lines. Texts are copied into
 * the arena. ERR_INVALID: not of the column's type; ERR_NOMEM. Does not check the value. */
enum err column_parse(const struct thing *t, const struct column *c, struct str text, bool add,
                      void *row, struct arena *a, struct err_info *info) MUST_CHECK;
/* Is the row's value one that the column may hold? ERR_INVALID. */
enum err column_check(const struct column *c, const void *row, struct err_info *info) MUST_CHECK;

/* Makes a new row complete: columns outside of set get their defaults, those without a default are
 * missed, all are checked. own: the columns that the caller itself has filled; others that nobody
 * sets by hand are refused. ERR_INVALID, ERR_NOMEM. */
enum err row_complete(const struct thing *t, void *row, uint64_t set, uint64_t own, struct arena *a,
                      struct err_info *info) MUST_CHECK;
/* Takes the columns of set from `from` over into row, checked. Columns that nobody sets by hand are
 * refused. ERR_INVALID. */
enum err row_merge(const struct thing *t, void *row, const void *from, uint64_t set,
                   struct err_info *info) MUST_CHECK;

/* The value as one would type it. */
void column_show(const struct column *c, const void *row, struct buf *out);
/* The value in JSON: lists are arrays, unset numbers and times null, bytes left out as null. */
void column_json(const struct column *c, const void *row, struct json_writer *w);
/* Members id and each column but BLOBs, inside an object that is open. */
void row_json(const struct thing *t, const void *row, struct json_writer *w);

/* Model ids and globs: printable ASCII without blanks, '#', '%', '\', '=' and "..". glob: '*' and
 * '?' may stand in it. */
bool model_name_ok(struct str s, bool glob);

/* For messages: sets info->field, too. */
enum err field_set(struct err_info *info, const char *field, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
