/* sql: one small interface to a database, whichever it is.
 *
 * A struct sql is one connection and belongs to one thread at a time.  SQL is
 * written as literals with parameters ?1, ?2 …; nothing that came from outside
 * is ever part of a statement's text.  Statements are prepared once per
 * connection and found again by the address of their literal, so a text passed
 * to sql_query must be a string constant (or live as long as the connection).
 *
 * The way of every call:
 *
 *     struct sql_stmt *s = sql_query(db, "SELECT name FROM tenants WHERE id = ?1");
 *     sql_bind_i64(s, 1, id);
 *     while (sql_next(s))
 *         use(sql_text(s, 0));
 *     return sql_end(s, info);
 *
 * Failure latches in the statement: after it binds and steps do nothing, and
 * sql_end tells it.  sql_query never returns NULL. */
#ifndef LYSS_STORE_SQL_H
#define LYSS_STORE_SQL_H

#include "core/err.h"

struct sql;
struct sql_stmt;
struct sql_driver;

/* What the file is for; decides how hard a commit works. CONFIG: a commit survives loss of power.
 * LEDGER: the last commits may be lost then (the journal brings them back), never torn. */
enum sql_role { SQL_CONFIG, SQL_LEDGER };
/* READ: a stable view. WRITE: the write lock at once. EXCLUSIVE: for schema changes. */
enum sql_mode { SQL_READ, SQL_WRITE, SQL_EXCLUSIVE };

extern const struct sql_driver sql_sqlite;

/* where: a path, or ":memory:". The file is created, mode 0600, when it is not there. */
enum err sql_open(const struct sql_driver *driver, const char *where, enum sql_role role,
                  struct sql **out, struct err_info *info) MUST_CHECK;
/* Rolls back what is open. */
void sql_close(struct sql **db);
/* Any thread: the process is ending. No connection waits for another's lock any more for longer
 * than it takes to ask again; false takes it back (tests). */
void sql_hurry(bool on);
bool sql_hurried(void);

/* ---- statements ------------------------------------------------------- */
struct sql_stmt *sql_query(struct sql *db, const char *literal) __attribute__((returns_nonnull));
/* Parameters count from 1. Text and bytes are lent until sql_end; a NULL pointer binds NULL. */
void sql_bind_i64(struct sql_stmt *s, int at, int64_t v);
void sql_bind_text(struct sql_stmt *s, int at, struct str v);
void sql_bind_blob(struct sql_stmt *s, int at, struct str v);
void sql_bind_null(struct sql_stmt *s, int at);
/* True: a row is there. False: the end, or failure. */
bool sql_next(struct sql_stmt *s);
/* Columns count from 0. What they lend lives until the next sql_next or sql_end. A NULL column is
 * 0 as a number and {NULL, 0} as text or bytes; empty text is not NULL. */
int64_t sql_i64(struct sql_stmt *s, int column);
struct str sql_text(struct sql_stmt *s, int column);
struct str sql_blob(struct sql_stmt *s, int column);
bool sql_is_null(struct sql_stmt *s, int column);
/* Gives the statement back; s is not to be used again. ERR_EXISTS for a unique key, ERR_CONFLICT
 * for a foreign key or check, ERR_AGAIN when the lock was not to be had in 5 s, ERR_NOMEM,
 * ERR_CORRUPT, else ERR_STORE. */
enum err sql_end(struct sql_stmt *s, struct err_info *info) MUST_CHECK;
/* Steps to the end and gives back, for statements without rows. */
enum err sql_run(struct sql_stmt *s, struct err_info *info) MUST_CHECK;

/* ---- transactions ----------------------------------------------------- */
/* Transactions do not nest. */
enum err sql_begin(struct sql *db, enum sql_mode mode, struct err_info *info) MUST_CHECK;
/* On failure everything is rolled back. */
enum err sql_commit(struct sql *db, struct err_info *info) MUST_CHECK;
/* Does nothing when no transaction is open. */
void sql_rollback(struct sql *db);
bool sql_in_transaction(const struct sql *db);

/* A script of several statements without parameters: migrations and settings only. */
enum err sql_exec(struct sql *db, const char *script, struct err_info *info) MUST_CHECK;
/* Rows changed by the last insert, update or delete. */
int64_t sql_changes(const struct sql *db);
/* The database's own words for the last failure of this connection. */
const char *sql_last_error(const struct sql *db);

/* ---- for drivers ------------------------------------------------------ */
enum sql_step { SQL_STEP_ROW, SQL_STEP_DONE, SQL_STEP_FAILED };

/* One per kind of database. conn and stmt are the driver's own. Functions that answer bool say
 * whether it worked; code() then gives the failure as an enum err, text() in words. */
struct sql_driver {
    const char *name;
    enum err (*open)(const char *where, enum sql_role role, void **conn, struct err_info *info);
    void (*close)(void *conn);
    void *(*prepare)(void *conn, const char *text);
    void (*finalize)(void *stmt);
    void (*reset)(void *stmt);
    bool (*bind_i64)(void *stmt, int at, int64_t v);
    bool (*bind_text)(void *stmt, int at, struct str v);
    bool (*bind_blob)(void *stmt, int at, struct str v);
    bool (*bind_null)(void *stmt, int at);
    enum sql_step (*step)(void *stmt);
    int64_t (*column_i64)(void *stmt, int column);
    struct str (*column_text)(void *stmt, int column);
    struct str (*column_blob)(void *stmt, int column);
    bool (*column_is_null)(void *stmt, int column);
    bool (*exec)(void *conn, const char *script);
    bool (*begin)(void *conn, enum sql_mode mode);
    bool (*commit)(void *conn);
    void (*rollback)(void *conn);
    int64_t (*changes)(void *conn);
    enum err (*code)(void *conn);
    const char *(*text)(void *conn);
};

#endif
