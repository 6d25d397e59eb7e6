/* migrate: compares what is applied with what is embedded, and takes the steps between. */
#include "store/migrate.h"

#include "core/clock.h"

static bool table_there(struct sql *db)
{
    /* Asking for no row tells whether the table exists, in any SQL. */
    struct sql_stmt *s = sql_query(db, "SELECT number FROM schema_migrations WHERE number < 0");
    while (sql_next(s))
        ;
    return sql_end(s, NULL) == ERR_OK;
}

/* Checks each applied row against the embedded step at its place; *at counts them. */
static enum err compare(struct sql *db, const struct migration_set *set, size_t *at,
                        struct err_info *info)
{
    *at = 0;
    enum err e = ERR_OK;
    struct sql_stmt *s =
        sql_query(db, "SELECT number, name, sha256 FROM schema_migrations ORDER BY number");
    while (!e && sql_next(s)) {
        int64_t number = sql_i64(s, 0);
        struct str name = sql_text(s, 1), sha = sql_text(s, 2);
        if (*at >= set->n)
            e = err_set(info, ERR_CONFLICT,
                        "the database \"%s\" has schema %lld, this lyss (version %s) knows up to "
                        "%lld; run the newer lyss, or restore the backup made before it",
                        set->database, (long long)number, LYSS_VERSION,
                        (long long)(set->n ? set->steps[set->n - 1].number : 0));
        else if (number != set->steps[*at].number || !str_eq(name, str_c(set->steps[*at].name)))
            e = err_set(info, ERR_CONFLICT,
                        "the database \"%s\" has migration %.*s where this lyss has %s; it was "
                        "written by another line of versions",
                        set->database, STR_FMT(name), set->steps[*at].name);
        else if (!str_eq(sha, str_c(set->steps[*at].sha256)))
            e = err_set(
                info, ERR_CONFLICT,
                "migration %s of the database \"%s\" was applied with another content "
                "(sha256 %.*s, embedded %s); applied migrations never change, add a new one",
                set->steps[*at].name, set->database, STR_FMT(sha), set->steps[*at].sha256);
        else
            ++*at;
    }
    enum err ended = sql_end(s, e ? NULL : info);
    return e ? e : ended;
}

static enum err apply(struct sql *db, const struct migration *m, struct err_info *info)
{
    enum err e = sql_exec(db, m->script, info);
    if (e) {
        char why[400];
        str_copy(why, sizeof why, str_c(info ? info->text : ""));
        return err_set(info, e, "migration %s failed: %s", m->name, why);
    }
    struct sql_stmt *s =
        sql_query(db, "INSERT INTO schema_migrations "
                      "(number, name, sha256, applied_ms) VALUES (?1, ?2, ?3, ?4)");
    sql_bind_i64(s, 1, m->number);
    sql_bind_text(s, 2, str_c(m->name));
    sql_bind_text(s, 3, str_c(m->sha256));
    sql_bind_i64(s, 4, clock_wall_ms());
    return sql_run(s, info);
}

enum err migrate_plan(struct sql *db, const struct migration_set *set, size_t *from,
                      struct err_info *info)
{
    *from = 0;
    return table_there(db) ? compare(db, set, from, info) : ERR_OK;
}

/* Everything inside the exclusive transaction. */
static enum err run_locked(struct sql *db, const struct migration_set *set, size_t *applied,
                           struct err_info *info)
{
    size_t at = 0;
    enum err e = sql_exec(db,
                          "CREATE TABLE IF NOT EXISTS schema_migrations ("
                          " number INTEGER PRIMARY KEY,"
                          " name TEXT NOT NULL,"
                          " sha256 TEXT NOT NULL,"
                          " applied_ms INTEGER NOT NULL)",
                          info);
    if (!e)
        e = compare(db, set, &at, info);
    for (; !e && at < set->n; at++) {
        e = apply(db, &set->steps[at], info);
        ++*applied;
    }
    return e;
}

enum err migrate_run(struct sql *db, const struct migration_set *set, size_t *applied,
                     struct err_info *info)
{
    size_t count = 0, from;
    /* The usual case, nothing to do, takes no write lock. */
    enum err e = migrate_plan(db, set, &from, info);
    if (!e && (from < set->n || !table_there(db))) {
        e = sql_begin(db, SQL_EXCLUSIVE, info);
        if (!e) {
            e = run_locked(db, set, &count, info);
            if (e)
                sql_rollback(db);
            else
                e = sql_commit(db, info);
        }
    }
    if (applied)
        *applied = e ? 0 : count;
    return e;
}
