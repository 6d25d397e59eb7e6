/* recall_table: what was put is got back, by kind and tenant, for its time and within its room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "gateway/memory/recall.h"
#include "gateway/memory/recall_table.h"

#define KEEP_MS 86400000

static struct budget budget;
static struct recall_table table;

static int setup(void **state)
{
    budget = (struct budget){.max_bytes = 64 << 10};
    recall_table_init(&table, &budget, KEEP_MS);
    return 0;
}

static int teardown(void **state)
{
    recall_table_release(&table);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
    return 0;
}

static struct recall_key key(enum recall_kind kind, int64_t tenant, const char *id)
{
    return (struct recall_key){kind, tenant, str_c(id)};
}

static void put(const char *id, const char *value, uint64_t now_ms)
{
    struct recall_key k = key(RECALL_THOUGHT, 1, id);
    struct recall_value *v = recall_value_new(&budget, str_c(value));
    assert_non_null(v);
    recall_table_put(&table, &k, v, now_ms);
}

static void assert_got(struct recall_key k, const char *value, uint64_t now_ms)
{
    struct recall_value *v = recall_table_get(&table, &k, now_ms);
    if (!value) {
        assert_null(v);
        return;
    }
    assert_non_null(v);
    assert_true(str_eq(str_make(v->bytes, v->n), str_c(value)));
    recall_value_unref(&v);
}

static void test_put_and_get(void **state)
{
    put("call_1", "one", 0);
    put("call_2", "two", 0);
    assert_got(key(RECALL_THOUGHT, 1, "call_1"), "one", 1);
    assert_got(key(RECALL_THOUGHT, 1, "call_2"), "two", 1);
    assert_got(key(RECALL_THOUGHT, 1, "call_3"), NULL, 1);
    assert_got(key(RECALL_THOUGHT, 2, "call_1"), NULL, 1); /* another tenant's */
    assert_got(key(RECALL_RESPONSE, 1, "call_1"), NULL, 1);
    put("call_1", "newer", 2);
    assert_got(key(RECALL_THOUGHT, 1, "call_1"), "newer", 3);
    assert_int_equal(table.map.count, 2);
}

static void test_kept_for_its_time(void **state)
{
    put("a", "one", 0);
    put("b", "two", 10);
    put("a", "again", 20); /* counts from now */
    assert_int_equal(recall_table_expire(&table, 10), 10 + KEEP_MS);
    assert_got(key(RECALL_THOUGHT, 1, "b"), "two", 9 + KEEP_MS);
    assert_got(key(RECALL_THOUGHT, 1, "b"), NULL, 10 + KEEP_MS);
    assert_got(key(RECALL_THOUGHT, 1, "a"), "again", 10 + KEEP_MS);
    assert_int_equal(recall_table_expire(&table, 20 + KEEP_MS), 0);
}

static void test_the_oldest_goes_first(void **state)
{
    char id[16], value[1001];
    memset(value, 'x', 1000);
    value[1000] = 0;
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "call_%d", i);
        struct recall_value *v;
        while (!(v = recall_value_new(&budget, str_c(value))))
            assert_true(recall_table_evict(&table));
        struct recall_key k = key(RECALL_THOUGHT, 1, id);
        recall_table_put(&table, &k, v, (uint64_t)i);
        assert_true(atomic_load(&budget.used_bytes) <= budget.max_bytes);
    }
    assert_in_range(table.map.count, 30, 64);
    assert_got(key(RECALL_THOUGHT, 1, "call_499"), value, 500);
    assert_got(key(RECALL_THOUGHT, 1, "call_480"), value, 500);
    assert_got(key(RECALL_THOUGHT, 1, "call_400"), NULL, 500);
}

static void test_too_long(void **state)
{
    static char text[RECALL_VALUE_MAX + 1];
    budget.max_bytes = 1 << 20;
    assert_null(recall_value_new(&budget, str_make(text, sizeof text)));
    struct recall_value *v = recall_value_new(&budget, str_make(text, sizeof text - 1));
    assert_non_null(v);
    recall_value_unref(&v);
}

static void test_no_memory(void **state)
{
    struct recall_key k = key(RECALL_THOUGHT, 1, "a");
    mem_fail_at(1);
    assert_null(recall_value_new(&budget, STR("one")));
    for (uint64_t i = 1; i <= 2; i++) {
        struct recall_value *v = recall_value_new(&budget, STR("one"));
        mem_fail_at(i);
        recall_table_put(&table, &k, v, 0);
        mem_fail_at(0);
        assert_int_equal(atomic_load(&budget.used_bytes), 0);
    }
}

/* Bytes that were not written by us are never met, but a cut must not be read past its end. */
static void test_thoughts_of_nothing(void **state)
{
    struct arena a;
    arena_init(&a, 1 << 16);
    assert_null(recall_thoughts(STR(""), &a));
    assert_null(recall_thoughts(STR("short"), &a));
    arena_release(&a);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_and_get), T(test_kept_for_its_time), T(test_the_oldest_goes_first),
        T(test_too_long),    T(test_no_memory),         T(test_thoughts_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
