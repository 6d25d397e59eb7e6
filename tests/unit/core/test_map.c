/* map: against a plain array, through growth and removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/map.h"
#include "core/rng.h"

#define N 500

static void keeps_what_was_put(void **state)
{
    static char names[N][8];
    static int values[N];
    bool in[N] = {false};
    struct map m;
    map_init(&m, N);
    rng_seed(7);
    for (int i = 0; i < N; i++)
        snprintf(names[i], sizeof names[i], "k%d", i);
    for (int step = 0; step < 20000; step++) {
        int i = (int)rng_below(N);
        if (rng_u64() & 1) {
            assert_int_equal(map_put(&m, str_c(names[i]), &values[i]), ERR_OK);
            in[i] = true;
        } else {
            assert_ptr_equal(map_remove(&m, str_c(names[i])), in[i] ? &values[i] : NULL);
            in[i] = false;
        }
    }
    for (int i = 0; i < N; i++)
        assert_ptr_equal(map_get(&m, str_c(names[i])), in[i] ? &values[i] : NULL);
    map_release(&m);
}

static void stops_at_its_maximum(void **state)
{
    struct map m;
    int v;
    map_init(&m, 2);
    assert_int_equal(map_put(&m, STR("a"), &v), ERR_OK);
    assert_int_equal(map_put(&m, STR("b"), &v), ERR_OK);
    assert_int_equal(map_put(&m, STR("c"), &v), ERR_TOO_BIG);
    assert_int_equal(map_put(&m, STR("a"), &v), ERR_OK);
    map_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_put),
        cmocka_unit_test(stops_at_its_maximum),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
