/* Migrations: taken once, refused when changed, when newer, and undone whole when one fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/migrate.h"

static const struct migration two[] = {
    {1, "0001_a", "CREATE TABLE a (x INTEGER)", "aa"},
    {2, "0002_b", "CREATE TABLE b (x INTEGER); INSERT INTO b VALUES (7)", "bb"},
};
static const struct migration changed[] = {
    {1, "0001_a", "CREATE TABLE a (y INTEGER)", "ac"},
    {2, "0002_b", "CREATE TABLE b (x INTEGER)", "bb"},
};
static const struct migration broken[] = {
    {1, "0001_a", "CREATE TABLE a (x INTEGER)", "aa"},
    {2, "0002_c", "CREATE TABLE c (x INTEGER); SELECT * FROM nowhere", "cc"},
};
#define SET(steps, n) (&(const struct migration_set){"test", steps, n})

static struct sql *open_memory(void)
{
    struct sql *db;
    assert_int_equal(sql_open(&sql_sqlite, ":memory:", SQL_CONFIG, &db, NULL), ERR_OK);
    return db;
}

static int64_t number(struct sql *db, const char *query)
{
    struct sql_stmt *s = sql_query(db, query);
    int64_t v = sql_next(s) ? sql_i64(s, 0) : -1;
    return sql_end(s, NULL) ? -2 : v;
}

static void takes_each_step_once(void **state)
{
    struct sql *db = open_memory();
    size_t applied, from;
    assert_int_equal(migrate_plan(db, SET(two, 2), &from, NULL), ERR_OK);
    assert_int_equal(from, 0);
    assert_int_equal(migrate_run(db, SET(two, 1), &applied, NULL), ERR_OK);
    assert_int_equal(applied, 1);
    assert_int_equal(migrate_plan(db, SET(two, 2), &from, NULL), ERR_OK);
    assert_int_equal(from, 1);
    assert_int_equal(migrate_run(db, SET(two, 2), &applied, NULL), ERR_OK);
    assert_int_equal(applied, 1);
    assert_int_equal(migrate_run(db, SET(two, 2), &applied, NULL), ERR_OK);
    assert_int_equal(applied, 0);
    assert_int_equal(number(db, "SELECT count(*) FROM b"), 1);
    sql_close(&db);
}

static void refuses_a_changed_step(void **state)
{
    struct sql *db = open_memory();
    struct err_info info = {0};
    assert_int_equal(migrate_run(db, SET(two, 2), NULL, NULL), ERR_OK);
    assert_int_equal(migrate_run(db, SET(changed, 2), NULL, &info), ERR_CONFLICT);
    assert_non_null(strstr(info.text, "0001_a"));
    sql_close(&db);
}

static void refuses_a_newer_schema(void **state)
{
    struct sql *db = open_memory();
    struct err_info info = {0};
    assert_int_equal(migrate_run(db, SET(two, 2), NULL, NULL), ERR_OK);
    assert_int_equal(migrate_run(db, SET(two, 1), NULL, &info), ERR_CONFLICT);
    assert_non_null(strstr(info.text, "newer lyss"));
    assert_int_equal(number(db, "SELECT x FROM b"), 7);
    sql_close(&db);
}

static void a_failing_step_undoes_all(void **state)
{
    struct sql *db = open_memory();
    struct err_info info = {0};
    assert_int_not_equal(migrate_run(db, SET(broken, 2), NULL, &info), ERR_OK);
    assert_non_null(strstr(info.text, "0002_c"));
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_schema"), 0);
    assert_int_equal(migrate_run(db, SET(two, 2), NULL, NULL), ERR_OK);
    sql_close(&db);
}

static void embedded_sets_run(void **state)
{
    struct sql *db = open_memory(), *ledger = open_memory();
    struct err_info info = {0};
    assert_int_equal(migrate_run(db, &migrations_lyss, NULL, &info), ERR_OK);
    assert_int_equal(migrate_run(ledger, &migrations_ledger, NULL, &info), ERR_OK);
    assert_true(migrations_lyss.n >= 1);
    assert_int_equal(strlen(migrations_lyss.steps[0].sha256), 64);
    sql_close(&db);
    sql_close(&ledger);
}

static void failure_latches_and_is_told(void **state)
{
    struct sql *db = open_memory();
    struct err_info info = {0};
    struct sql_stmt *s = sql_query(db, "SELECT x FROM nowhere");
    sql_bind_i64(s, 1, 1);
    assert_false(sql_next(s));
    assert_int_equal(sql_end(s, &info), ERR_STORE);
    assert_non_null(strstr(info.text, "nowhere"));
    assert_int_equal(
        sql_exec(db, "CREATE TABLE u (x INTEGER UNIQUE); INSERT INTO u VALUES (1)", NULL), ERR_OK);
    assert_int_equal(sql_run(sql_query(db, "INSERT INTO u VALUES (1)"), NULL), ERR_EXISTS);
    sql_close(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_each_step_once),   cmocka_unit_test(refuses_a_changed_step),
        cmocka_unit_test(refuses_a_newer_schema), cmocka_unit_test(a_failing_step_undoes_all),
        cmocka_unit_test(embedded_sets_run),      cmocka_unit_test(failure_latches_and_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
