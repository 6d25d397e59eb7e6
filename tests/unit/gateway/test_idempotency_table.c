/* idempotency_table: who makes the call, who waits, who gets what, and that all memory comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "gateway/memory/idempotency_table.h"

#define KEEP_MS 600000

static struct budget budget;
static struct idem_table table;
static struct idem_claim *told[64], *lonely[64];
static unsigned told_n, lonely_n;

static void on_settled(struct idem_claim *c)
{
    told[told_n++] = c;
}

static void on_alone(struct idem_claim *c)
{
    lonely[lonely_n++] = c;
}

static int setup(void **state)
{
    budget = (struct budget){.max_bytes = 1 << 20};
    idem_table_init(&table, &budget, KEEP_MS);
    table.settled = on_settled;
    table.alone = on_alone;
    told_n = lonely_n = 0;
    return 0;
}

static int teardown(void **state)
{
    idem_table_release(&table);
    assert_int_equal(atomic_load(&budget.used_bytes), 0);
    return 0;
}

static struct idem_claim claim(int64_t key_id, const char *key, uint8_t body)
{
    struct idem_claim c = {.key_id = key_id, .key = str_c(key)};
    memset(c.digest, body, sizeof c.digest);
    return c;
}

static struct idem_answer *answer(const char *text)
{
    size_t n = strlen(text);
    assert_true(budget_take(&budget, n));
    char *body = mem_alloc(n);
    memcpy(body, text, n);
    return idem_answer_new(&budget, body, n, n);
}

static void assert_answer(struct idem_claim *c, enum idem_verdict verdict, const char *text)
{
    assert_int_equal(c->verdict, verdict);
    assert_non_null(c->answer);
    assert_int_equal(c->answer->n, strlen(text));
    assert_memory_equal(c->answer->body, text, c->answer->n);
    idem_answer_unref(&c->answer);
}

static void test_first_then_stored(void **state)
{
    struct idem_claim a = claim(1, "k", 7), b = a, other = claim(1, "k", 8), key = claim(2, "k", 7);
    assert_true(idem_table_claim(&table, &a, 0));
    assert_int_equal(a.verdict, IDEM_FIRST);
    assert_true(idem_table_claim(&table, &other, 0)); /* while it is under way … */
    assert_int_equal(other.verdict, IDEM_CONFLICT);
    idem_table_publish(&table, &a, IDEM_KEEP, answer("hello"), 0);
    assert_true(idem_table_claim(&table, &b, 1));
    assert_answer(&b, IDEM_STORED, "hello");
    assert_true(idem_table_claim(&table, &other, 1)); /* … and after */
    assert_int_equal(other.verdict, IDEM_CONFLICT);
    assert_true(idem_table_claim(&table, &key, 1)); /* another API key's */
    assert_int_equal(key.verdict, IDEM_FIRST);
    idem_table_publish(&table, &key, IDEM_REPEAT, NULL, 1);
    assert_int_equal(told_n, 0);
}

static void test_kept_for_its_time(void **state)
{
    struct idem_claim a = claim(1, "k", 7), late = claim(1, "l", 7), b = a;
    assert_true(idem_table_claim(&table, &a, 0));
    assert_true(idem_table_claim(&table, &late, 0));
    idem_table_publish(&table, &a, IDEM_KEEP, answer("hello"), 1000);
    idem_table_publish(&table, &late, IDEM_KEEP, answer("hello"), 2000);
    assert_int_equal(idem_table_expire(&table, 1000 + KEEP_MS - 1), 1000 + KEEP_MS);
    assert_true(idem_table_claim(&table, &b, 1000 + KEEP_MS - 1));
    assert_answer(&b, IDEM_STORED, "hello");
    assert_int_equal(idem_table_expire(&table, 1000 + KEEP_MS), 2000 + KEEP_MS);
    assert_true(idem_table_claim(&table, &b, 1000 + KEEP_MS));
    assert_int_equal(b.verdict, IDEM_FIRST);
    idem_table_publish(&table, &b, IDEM_REPEAT, NULL, 1000 + KEEP_MS);
    assert_int_equal(idem_table_expire(&table, 2000 + KEEP_MS), 0);
}

static void test_joiners(void **state)
{
    struct idem_claim a = claim(1, "k", 7), j[3] = {a, a, a};
    assert_true(idem_table_claim(&table, &a, 0));
    for (int i = 0; i < 3; i++)
        assert_false(idem_table_claim(&table, &j[i], 0));
    assert_int_equal(atomic_load(&a.joiners), 3);
    idem_table_leave(&table, &j[1]);
    assert_int_equal(told_n, 1);
    assert_int_equal(j[1].verdict, IDEM_LEFT);
    idem_table_leave(&table, &j[1]); /* once is enough */
    assert_int_equal(told_n, 1);
    idem_table_publish(&table, &a, IDEM_HAND, answer("sorry"), 0);
    assert_int_equal(told_n, 3);
    assert_ptr_equal(told[1], &j[0]);
    assert_ptr_equal(told[2], &j[2]);
    assert_answer(&j[0], IDEM_JOINED, "sorry");
    assert_answer(&j[2], IDEM_JOINED, "sorry");
    assert_int_equal(table.map.count, 0); /* handed on, not kept */
    assert_int_equal(lonely_n, 0);
}

static void test_the_call_passes_on(void **state)
{
    struct idem_claim a = claim(1, "k", 7), j[3] = {a, a, a};
    assert_true(idem_table_claim(&table, &a, 0));
    for (int i = 0; i < 3; i++)
        assert_false(idem_table_claim(&table, &j[i], 0));
    idem_table_publish(&table, &a, IDEM_REPEAT, NULL, 0);
    assert_int_equal(told_n, 1);
    assert_ptr_equal(told[0], &j[0]);
    assert_int_equal(j[0].verdict, IDEM_FIRST);
    assert_int_equal(atomic_load(&j[0].joiners), 2);
    idem_table_leave(&table, &j[0]); /* it makes the call: nothing to leave */
    idem_table_leave(&table, &j[2]);
    assert_int_equal(lonely_n, 0);
    idem_table_leave(&table, &j[1]);
    assert_int_equal(lonely_n, 1);
    assert_ptr_equal(lonely[0], &j[0]);
    idem_table_publish(&table, &j[0], IDEM_REPEAT, NULL, 0);
    assert_int_equal(table.map.count, 0);
}

static void test_lost(void **state)
{
    struct idem_claim a = claim(1, "k", 7), j = a;
    assert_true(idem_table_claim(&table, &a, 0));
    assert_false(idem_table_claim(&table, &j, 0));
    idem_table_publish(&table, &a, IDEM_DROP, NULL, 0);
    assert_int_equal(j.verdict, IDEM_LOST);
    assert_null(j.answer);
}

static void test_full(void **state)
{
    static char keys[8192][8];
    static struct idem_claim c[8192];
    unsigned n = 0;
    for (; n < 8192; n++) {
        snprintf(keys[n], sizeof keys[n], "%u", n);
        c[n] = claim(1, keys[n], 0);
        assert_true(idem_table_claim(&table, &c[n], 0));
        if (c[n].verdict == IDEM_FULL)
            break;
        assert_int_equal(c[n].verdict, IDEM_FIRST);
    }
    assert_in_range(n, 1000, 8191);
    assert_true(atomic_load(&budget.used_bytes) <= budget.max_bytes);
    idem_table_publish(&table, &c[0], IDEM_REPEAT, NULL, 0);
    assert_true(idem_table_claim(&table, &c[n], 0)); /* there is room again */
    assert_int_equal(c[n].verdict, IDEM_FIRST);
    for (unsigned i = 1; i <= n; i++)
        idem_table_publish(&table, &c[i], IDEM_REPEAT, NULL, 0);
}

static void test_no_memory(void **state)
{
    struct idem_claim a = claim(1, "k", 7);
    for (uint64_t i = 1; i <= 2; i++) {
        mem_fail_at(i);
        assert_true(idem_table_claim(&table, &a, 0));
        mem_fail_at(0);
        assert_int_equal(a.verdict, IDEM_FULL);
        assert_int_equal(atomic_load(&budget.used_bytes), 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_first_then_stored),
        T(test_kept_for_its_time),
        T(test_joiners),
        T(test_the_call_passes_on),
        T(test_lost),
        T(test_full),
        T(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
