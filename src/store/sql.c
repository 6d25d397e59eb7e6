/* sql: what every driver shares: the statement cache, the latch of a failed
 * statement, and the one place where a database's failure becomes an enum err. */
#include "store/sql.h"

#include <assert.h>
#include <stdatomic.h>

#include "core/alloc.h"

/* More texts than the house holds; what does not fit is prepared anew each time. */
#define CACHE_MAX 160

struct sql_stmt {
    struct sql *db;
    const char *literal;
    void *handle; /* the driver's; NULL when it could not be prepared */
    enum err failed;
    bool busy, cached;
};

struct sql {
    const struct sql_driver *driver;
    void *conn;
    bool in_transaction;
    size_t cached;
    struct sql_stmt dud; /* stands for a statement for which there was no memory */
    struct sql_stmt *cache[CACHE_MAX];
};

static _Atomic bool hurry;

void sql_hurry(bool on)
{
    atomic_store(&hurry, on);
}

bool sql_hurried(void)
{
    return atomic_load_explicit(&hurry, memory_order_relaxed);
}

enum err sql_open(const struct sql_driver *driver, const char *where, enum sql_role role,
                  struct sql **out, struct err_info *info)
{
    *out = NULL;
    struct sql *db = mem_zalloc(sizeof *db);
    if (!db)
        return ERR_NOMEM;
    db->driver = driver;
    db->dud = (struct sql_stmt){.db = db, .failed = ERR_NOMEM};
    enum err e = driver->open(where, role, &db->conn, info);
    if (e) {
        mem_free(db);
        return e;
    }
    *out = db;
    return ERR_OK;
}

void sql_close(struct sql **dbp)
{
    struct sql *db = *dbp;
    if (!db)
        return;
    sql_rollback(db);
    for (size_t i = 0; i < db->cached; i++) {
        db->driver->finalize(db->cache[i]->handle);
        mem_free(db->cache[i]);
    }
    db->driver->close(db->conn);
    mem_free(db);
    *dbp = NULL;
}

struct sql_stmt *sql_query(struct sql *db, const char *literal)
{
    for (size_t i = 0; i < db->cached; i++) {
        struct sql_stmt *s = db->cache[i];
        if (s->literal == literal && !s->busy) {
            s->busy = true;
            s->failed = ERR_OK;
            return s;
        }
    }
    struct sql_stmt *s = mem_zalloc(sizeof *s);
    if (!s)
        return &db->dud;
    *s = (struct sql_stmt){.db = db, .literal = literal, .busy = true};
    s->handle = db->driver->prepare(db->conn, literal);
    if (!s->handle)
        s->failed = db->driver->code(db->conn);
    else if (db->cached < CACHE_MAX) {
        s->cached = true;
        db->cache[db->cached++] = s;
    }
    return s;
}

static void latch(struct sql_stmt *s, bool worked)
{
    if (!worked)
        s->failed = s->db->driver->code(s->db->conn);
}

void sql_bind_i64(struct sql_stmt *s, int at, int64_t v)
{
    if (!s->failed)
        latch(s, s->db->driver->bind_i64(s->handle, at, v));
}

void sql_bind_text(struct sql_stmt *s, int at, struct str v)
{
    if (!v.p)
        sql_bind_null(s, at);
    else if (!s->failed)
        latch(s, s->db->driver->bind_text(s->handle, at, v));
}

void sql_bind_blob(struct sql_stmt *s, int at, struct str v)
{
    if (!v.p)
        sql_bind_null(s, at);
    else if (!s->failed)
        latch(s, s->db->driver->bind_blob(s->handle, at, v));
}

void sql_bind_null(struct sql_stmt *s, int at)
{
    if (!s->failed)
        latch(s, s->db->driver->bind_null(s->handle, at));
}

bool sql_next(struct sql_stmt *s)
{
    if (s->failed)
        return false;
    enum sql_step step = s->db->driver->step(s->handle);
    if (step == SQL_STEP_FAILED)
        latch(s, false);
    return step == SQL_STEP_ROW;
}

int64_t sql_i64(struct sql_stmt *s, int column)
{
    return s->db->driver->column_i64(s->handle, column);
}

struct str sql_text(struct sql_stmt *s, int column)
{
    return s->db->driver->column_text(s->handle, column);
}

struct str sql_blob(struct sql_stmt *s, int column)
{
    return s->db->driver->column_blob(s->handle, column);
}

bool sql_is_null(struct sql_stmt *s, int column)
{
    return s->db->driver->column_is_null(s->handle, column);
}

static enum err tell(struct sql *db, enum err e, struct err_info *info)
{
    return e ? err_set(info, e, "%s: %s", db->driver->name, db->driver->text(db->conn)) : ERR_OK;
}

enum err sql_end(struct sql_stmt *s, struct err_info *info)
{
    struct sql *db = s->db;
    enum err e = s->failed;
    if (s == &db->dud)
        return e;
    tell(db, e, info); /* before the reset, which forgets the words */
    if (s->handle)
        db->driver->reset(s->handle);
    s->busy = false;
    if (!s->cached) {
        if (s->handle)
            db->driver->finalize(s->handle);
        mem_free(s);
    }
    return e;
}

enum err sql_run(struct sql_stmt *s, struct err_info *info)
{
    while (sql_next(s))
        ;
    return sql_end(s, info);
}

enum err sql_begin(struct sql *db, enum sql_mode mode, struct err_info *info)
{
    assert(!db->in_transaction);
    if (!db->driver->begin(db->conn, mode))
        return tell(db, db->driver->code(db->conn), info);
    db->in_transaction = true;
    return ERR_OK;
}

enum err sql_commit(struct sql *db, struct err_info *info)
{
    assert(db->in_transaction);
    if (!db->driver->commit(db->conn)) {
        enum err e = tell(db, db->driver->code(db->conn), info);
        sql_rollback(db);
        return e;
    }
    db->in_transaction = false;
    return ERR_OK;
}

void sql_rollback(struct sql *db)
{
    if (db->in_transaction)
        db->driver->rollback(db->conn);
    db->in_transaction = false;
}

bool sql_in_transaction(const struct sql *db)
{
    return db->in_transaction;
}

enum err sql_exec(struct sql *db, const char *script, struct err_info *info)
{
    if (!db->driver->exec(db->conn, script))
        return tell(db, db->driver->code(db->conn), info);
    return ERR_OK;
}

int64_t sql_changes(const struct sql *db)
{
    return db->driver->changes(db->conn);
}

const char *sql_last_error(const struct sql *db)
{
    return db->driver->text(db->conn);
}
