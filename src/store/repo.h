/* repo: what all repositories share: a row in, a row out, by the columns of rows.h.
 *
 * Used by the repo_*.c files only.  Texts and rows go into the caller's arena.
 * Thread: that of the connection. */
#ifndef LYSS_STORE_REPO_H
#define LYSS_STORE_REPO_H

#include "store/rows.h"

/* s: a bound SQL_SELECT_OF_* statement; taken to its end. ERR_NOT_FOUND when there is no row. */
enum err repo_one(const struct thing *t, struct sql_stmt *s, struct arena *a, void *row,
                  struct err_info *info) MUST_CHECK;
/* All rows, each row_bytes of the thing, as an array in the arena. */
enum err repo_all(const struct thing *t, struct sql_stmt *s, struct arena *a, void **items,
                  size_t *n, struct err_info *info) MUST_CHECK;
/* literal: SQL_INSERT_OF_*. Sets the row's id, created_ms and updated_ms. */
enum err repo_insert(struct sql *db, const struct thing *t, const char *literal, struct row *row,
                     struct err_info *info) MUST_CHECK;
/* literal: SQL_UPDATE_OF_*; every column is written. Sets updated_ms. ERR_NOT_FOUND. */
enum err repo_update(struct sql *db, const struct thing *t, const char *literal, struct row *row,
                     struct err_info *info) MUST_CHECK;
/* s: a bound statement that must change at least one row. ERR_NOT_FOUND otherwise. */
enum err repo_change(struct sql *db, struct sql_stmt *s, struct err_info *info) MUST_CHECK;
/* Binds ?1 tenant, ?2 id (or ?2 name). */
struct sql_stmt *repo_by_id(struct sql *db, const char *literal, int64_t tenant, int64_t id);
struct sql_stmt *repo_by_name(struct sql *db, const char *literal, int64_t tenant, struct str name);

#endif
