/* sql_sqlite: the driver for SQLite, the database that needs no server.
 *
 * WAL lets readers and the one writer go on side by side, also across
 * processes, so that the command line works while the server runs.  The page
 * cache is kept small and nothing is mapped: an idle gateway is to stay small,
 * and nothing on the request path reads from here. */
#include "store/sql.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#define BUSY_MS      5000
#define BUSY_STEP_MS 5

static enum err map_code(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_AGAIN;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_CONSTRAINT:
        return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ? ERR_EXISTS
                                                                                    : ERR_CONFLICT;
    default:
        return ERR_STORE;
    }
}

static enum err lite_code(void *conn)
{
    enum err e = map_code(sqlite3_extended_errcode(conn));
    return e ? e : ERR_STORE; /* only asked after a failure */
}

static const char *lite_text(void *conn)
{
    return sqlite3_errmsg(conn);
}

static bool lite_exec(void *conn, const char *script)
{
    return sqlite3_exec(conn, script, NULL, NULL, NULL) == SQLITE_OK;
}

/* The files hold digests and sealed credentials: readable by their owner only. */
static void create_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd); /* just made, so no lock of this process can hang on it */
}

/* Somebody else has the lock: ask again, `asked` times so far. */
static int on_busy(void *unused, int asked)
{
    (void)unused;
    if (asked >= BUSY_MS / BUSY_STEP_MS || sql_hurried())
        return 0;
    sqlite3_sleep(asked ? BUSY_STEP_MS : 1);
    return 1;
}

static enum err lite_open(const char *where, enum sql_role role, void **conn, struct err_info *info)
{
    bool in_memory = strcmp(where, ":memory:") == 0;
    if (!in_memory)
        create_private(where);
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(where, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_handler(db, on_busy, NULL);
        rc = sqlite3_exec(db,
                          "PRAGMA foreign_keys=ON;"
                          "PRAGMA cache_size=-512;"
                          "PRAGMA mmap_size=0;"
                          "PRAGMA journal_size_limit=16777216;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && !in_memory)
        rc = sqlite3_exec(db, "PRAGMA journal_mode=WAL;", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(
            db, role == SQL_CONFIG ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;",
            NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        enum err e = map_code(rc);
        err_set(info, e, "the database %s cannot be opened: %s", where,
                db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
        sqlite3_close_v2(db);
        return e;
    }
    *conn = db;
    return ERR_OK;
}

static void lite_close(void *conn)
{
    sqlite3_close_v2(conn);
}

static void *lite_prepare(void *conn, const char *text)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v3(conn, text, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL);
    return rc == SQLITE_OK ? s : NULL;
}

static void lite_finalize(void *stmt)
{
    sqlite3_finalize(stmt);
}

static void lite_reset(void *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

static bool lite_bind_i64(void *stmt, int at, int64_t v)
{
    return sqlite3_bind_int64(stmt, at, v) == SQLITE_OK;
}

static bool lite_bind_text(void *stmt, int at, struct str v)
{
    return sqlite3_bind_text64(stmt, at, v.p, v.n, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK;
}

static bool lite_bind_blob(void *stmt, int at, struct str v)
{
    return sqlite3_bind_blob64(stmt, at, v.p, v.n, SQLITE_STATIC) == SQLITE_OK;
}

static bool lite_bind_null(void *stmt, int at)
{
    return sqlite3_bind_null(stmt, at) == SQLITE_OK;
}

static enum sql_step lite_step(void *stmt)
{
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return SQL_STEP_ROW;
    case SQLITE_DONE:
        return SQL_STEP_DONE;
    default:
        return SQL_STEP_FAILED;
    }
}

static int64_t lite_i64(void *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}

static bool lite_is_null(void *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL;
}

static struct str lite_text_column(void *stmt, int column)
{
    if (lite_is_null(stmt, column))
        return STR_NULL;
    const char *p = (const char *)sqlite3_column_text(stmt, column);
    return str_make(p ? p : "", (size_t)sqlite3_column_bytes(stmt, column));
}

static struct str lite_blob(void *stmt, int column)
{
    if (lite_is_null(stmt, column))
        return STR_NULL;
    const char *p = sqlite3_column_blob(stmt, column); /* NULL for no bytes */
    return str_make(p ? p : "", (size_t)sqlite3_column_bytes(stmt, column));
}

static bool lite_begin(void *conn, enum sql_mode mode)
{
    static const char *const text[] = {
        [SQL_READ] = "BEGIN", [SQL_WRITE] = "BEGIN IMMEDIATE", [SQL_EXCLUSIVE] = "BEGIN EXCLUSIVE"};
    return lite_exec(conn, text[mode]);
}

static bool lite_commit(void *conn)
{
    return lite_exec(conn, "COMMIT");
}

static void lite_rollback(void *conn)
{
    if (!sqlite3_get_autocommit(conn)) /* SQLite may have rolled back by itself */
        lite_exec(conn, "ROLLBACK");
}

static int64_t lite_changes(void *conn)
{
    return sqlite3_changes64(conn);
}

const struct sql_driver sql_sqlite = {
    .name = "sqlite",
    .open = lite_open,
    .close = lite_close,
    .prepare = lite_prepare,
    .finalize = lite_finalize,
    .reset = lite_reset,
    .bind_i64 = lite_bind_i64,
    .bind_text = lite_bind_text,
    .bind_blob = lite_bind_blob,
    .bind_null = lite_bind_null,
    .step = lite_step,
    .column_i64 = lite_i64,
    .column_text = lite_text_column,
    .column_blob = lite_blob,
    .column_is_null = lite_is_null,
    .exec = lite_exec,
    .begin = lite_begin,
    .commit = lite_commit,
    .rollback = lite_rollback,
    .changes = lite_changes,
    .code = lite_code,
    .text = lite_text,
};
