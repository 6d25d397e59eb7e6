/* appraise: what stays together, what a channel's limits leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <cmocka.h>

#include "gateway/choose/appraise.h"
#include "gateway/balance/balance.h"
#include "gateway/cells.h"

static struct arena arena;

static int begin(void **state)
{
    arena_init(&arena, 1 << 20);
    return 0;
}

static int end(void **state)
{
    arena_release(&arena);
    return 0;
}

static const struct appraise_origin ann = {
    .tenant_id = 1, .user_id = 2, .key_id = 3, .route = {"m", 1}};

static uint64_t hash(enum affinity_kind kind, const struct appraise_origin *o, const char *body)
{
    struct openai_request r;
    struct err_info info;
    err_info_init(&info);
    assert_int_equal(
        openai_request_read(&r, OP_CHAT, arena_dup(&arena, str_c(body)), STR_NULL, &arena, &info),
        ERR_OK);
    return appraise_hash(kind, o, &r);
}

#define BODY(more, text)                                                                           \
    "{\"model\":\"m\"" more ",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]}"

static void a_session_is_told_by_its_first_mark(void **state)
{
    struct appraise_origin o = ann;
    uint64_t plain = hash(AFFINITY_SESSION, &o, BODY("", "a"));
    assert_int_equal(plain, hash(AFFINITY_SESSION, &o, BODY(",\"temperature\":1", "a")));
    assert_true(plain != hash(AFFINITY_SESSION, &o, BODY("", "b")));
    uint64_t user = hash(AFFINITY_SESSION, &o, BODY(",\"user\":\"u\"", "a"));
    assert_true(user != plain);
    assert_int_equal(user, hash(AFFINITY_SESSION, &o, BODY(",\"user\":\"u\"", "b")));
    uint64_t key =
        hash(AFFINITY_SESSION, &o, BODY(",\"user\":\"u\",\"prompt_cache_key\":\"k\"", "a"));
    assert_true(key != user);
    assert_int_equal(key, hash(AFFINITY_SESSION, &o, BODY(",\"prompt_cache_key\":\"k\"", "b")));
    o.session = STR("s-1");
    uint64_t header = hash(AFFINITY_SESSION, &o, BODY(",\"user\":\"u\"", "a"));
    assert_true(header != user);
    assert_int_equal(header, hash(AFFINITY_SESSION, &o, BODY(",\"prompt_cache_key\":\"k\"", "b")));
}

static void callers_are_kept_apart(void **state)
{
    struct appraise_origin other = ann;
    other.user_id = 9;
    assert_true(hash(AFFINITY_SESSION, &ann, BODY("", "a")) !=
                hash(AFFINITY_SESSION, &other, BODY("", "a")));
    assert_int_equal(hash(AFFINITY_PREFIX, &ann, BODY("", "a")),
                     hash(AFFINITY_PREFIX, &other, BODY("", "a"))); /* of one tenant */
    other.tenant_id = 9;
    assert_true(hash(AFFINITY_PREFIX, &ann, BODY("", "a")) !=
                hash(AFFINITY_PREFIX, &other, BODY("", "a")));
    other = ann;
    other.route = STR("n");
    assert_true(hash(AFFINITY_PREFIX, &ann, BODY("", "a")) !=
                hash(AFFINITY_PREFIX, &other, BODY("", "a")));
}

static void a_prefix_is_how_the_prompt_begins(void **state)
{
    char same[2][3000], other[3000], filler[1501];
    memset(filler, 'x', 1500);
    filler[1500] = 0;
    snprintf(same[0], sizeof *same, BODY("", "%s one"), filler);
    snprintf(same[1], sizeof *same, BODY("", "%s two"), filler);
    filler[3] = 'y';
    snprintf(other, sizeof other, BODY("", "%s one"), filler);
    assert_int_equal(hash(AFFINITY_PREFIX, &ann, same[0]), hash(AFFINITY_PREFIX, &ann, same[1]));
    assert_true(hash(AFFINITY_PREFIX, &ann, same[0]) != hash(AFFINITY_PREFIX, &ann, other));
    /* Neither the user nor a session is part of it. */
    struct appraise_origin o = ann;
    o.session = STR("s");
    assert_int_equal(hash(AFFINITY_PREFIX, &o, BODY(",\"user\":\"u\"", "a")),
                     hash(AFFINITY_PREFIX, &ann, BODY("", "a")));
}

static void odd_bodies_have_a_hash(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"m\"}", "{\"model\":\"m\",\"messages\":null}",
        "{\"model\":\"m\",\"user\":{\"a\":[1]},\"prompt_cache_key\":7}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (int kind = AFFINITY_SESSION; kind <= AFFINITY_PREFIX; kind++)
            assert_true(hash((enum affinity_kind)kind, &ann, bodies[i]) != 0);
    assert_int_equal(affinity_parse(STR("prefix")), AFFINITY_PREFIX);
    assert_int_equal(affinity_parse(STR("session")), AFFINITY_SESSION);
    assert_int_equal(affinity_parse(STR("")), AFFINITY_NONE);
}

static void headroom_is_that_of_the_tightest_limit(void **state)
{
    static struct channel_cell cell;
    struct channel ch = {.cell = &cell};
    vitals_init(&cell.vitals, 1000);
    gate_init(&cell.gate, 1000);
    assert_true(appraise_headroom(&ch, 1000) == 1);
    ch.concurrency = 4;
    vitals_started(&cell.vitals, 1000);
    assert_true(fabs(appraise_headroom(&ch, 1000) - 0.75) < 1e-9);
    ch.rpm = 10;
    for (int i = 0; i < 9; i++)
        limit_settle(&cell.gate.rpm, 0, 1, 1000);
    assert_true(fabs(appraise_headroom(&ch, 1000) - 0.1) < 1e-9);
    for (int i = 0; i < 9; i++)
        limit_settle(&cell.gate.rpm, 0, 1, 1000);
    assert_true(appraise_headroom(&ch, 1000) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_is_told_by_its_first_mark, begin, end),
        cmocka_unit_test_setup_teardown(callers_are_kept_apart, begin, end),
        cmocka_unit_test_setup_teardown(a_prefix_is_how_the_prompt_begins, begin, end),
        cmocka_unit_test_setup_teardown(odd_bodies_have_a_hash, begin, end),
        cmocka_unit_test(headroom_is_that_of_the_tightest_limit),
    };
    return cmocka_run_group_tests_name("appraise", tests, NULL, NULL);
}
