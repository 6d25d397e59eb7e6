/* health: the history's ring, the buckets of times, and the judgement of a channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/cells.h"
#include "gateway/channel.h"
#include "gateway/health/probe.h"

static void the_history_keeps_the_last_sixty(void **state)
{
    static struct health_history h;
    struct health_entry e;
    assert_false(health_history_get(&h, 0, &e));
    for (unsigned i = 0; i < 100; i++) {
        struct health_entry in = {(uint8_t)(i % PROBE_KIND_COUNT), i ? i : UINT32_MAX,
                                  1795428000 + i};
        health_history_add(&h, &in);
        if (!i) {
            assert_true(health_history_get(&h, 0, &e));
            assert_int_equal(e.ms, 0xFFFFFF); /* longer than it can hold */
        }
    }
    for (unsigned i = 0; i < HEALTH_HISTORY; i++) {
        assert_true(health_history_get(&h, i, &e));
        assert_int_equal(e.ms, 99 - i);
        assert_int_equal(e.wall_s, 1795428099 - i);
        assert_int_equal(e.kind, (99 - i) % PROBE_KIND_COUNT);
    }
    assert_false(health_history_get(&h, HEALTH_HISTORY, &e));
}

static void times_fall_into_their_buckets(void **state)
{
    static struct health_times t;
    struct buf b;
    buf_init(&b, 65536);
    static const uint64_t us[] = {0, 10000, 10001, 999999999, 600000001};
    for (size_t i = 0; i < sizeof us / sizeof *us; i++)
        health_times_add(&t, us[i]);
    health_times_render(&b, "x", STR("a\"b"), &t);
    struct str all = buf_view(&b);
    assert_true(str_find(all, STR("x_bucket{channel=\"a\\\"b\",le=\"0.01\"} 2\n")) >= 0);
    assert_true(str_find(all, STR("x_bucket{channel=\"a\\\"b\",le=\"0.025\"} 3\n")) >= 0);
    assert_true(str_find(all, STR("x_bucket{channel=\"a\\\"b\",le=\"600\"} 3\n")) >= 0);
    assert_true(str_find(all, STR("x_bucket{channel=\"a\\\"b\",le=\"+Inf\"} 5\n")) >= 0);
    assert_true(str_find(all, STR("x_count{channel=\"a\\\"b\"} 5\n")) >= 0);
    buf_release(&b);
}

static void a_channel_is_judged(void **state)
{
    struct cells *cells = cells_new();
    struct credential credentials[2] = {{.id = 1}, {.id = 2}};
    struct channel ch = {.credentials = credentials, .credentials_n = 2};
    struct fault refused = {.err = ERR_UPSTREAM_KEY}, down = {.err = ERR_CONNECT};
    ch.cell = cells_channel(cells, 7, STR("east"));
    for (int i = 0; i < 2; i++)
        credentials[i].cell = cells_credential(cells, ch.cell, i + 1);
    uint64_t now = 10000000;
    vitals_init(&ch.cell->vitals, now);
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_UNKNOWN);
    for (int i = 0; i < 2; i++) {
        gate_checked(credentials[i].cell, NULL, true, now);
        credentials[i].cell->last_check = PROBE_OK + 1;
    }
    assert_int_equal(health_of(&ch, now + 120000, 60000), HEALTH_HEALTHY);
    assert_int_equal(health_of(&ch, now + 120001, 60000), HEALTH_UNKNOWN);
    gate_checked(credentials[0].cell, &refused, false, now); /* one is put aside */
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_DEGRADED);
    gate_checked(credentials[1].cell, &refused, false, now);
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_UNHEALTHY);
    for (int i = 0; i < 2; i++)
        gate_checked(credentials[i].cell, NULL, true, now);
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_HEALTHY);
    for (int i = 0; i < 2; i++) { /* nothing is shut, but the checks fail */
        gate_checked(credentials[i].cell, &down, false, now);
        credentials[i].cell->last_check = PROBE_REFUSED + 1;
    }
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_UNHEALTHY);
    for (int i = 0; i < 20; i++) { /* live calls count for more */
        vitals_started(&ch.cell->vitals, now);
        vitals_finished(&ch.cell->vitals, now, VITALS_OK, 1, 0, 1);
    }
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_HEALTHY);
    for (int i = 0; i < 2; i++) {
        vitals_started(&ch.cell->vitals, now);
        vitals_finished(&ch.cell->vitals, now, VITALS_FAILED, 1, 0, 1);
    }
    assert_int_equal(health_of(&ch, now, 60000), HEALTH_DEGRADED);
    cells_free(&cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_history_keeps_the_last_sixty),
        cmocka_unit_test(times_fall_into_their_buckets),
        cmocka_unit_test(a_channel_is_judged),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
