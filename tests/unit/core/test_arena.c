/* arena: as it is in a release, with its spare blocks, whatever the build has it do elsewhere. */
#undef ARENA_DEBUG
#include "core/arena.c"

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/rng.h"

static int no_spares(void **state)
{
    arena_release_spares();
    return 0;
}

static void pieces_are_aligned_and_apart(void **state)
{
    struct arena a;
    char *piece[400];
    size_t n[400];
    rng_seed(3);
    arena_init(&a, 16 << 20);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 400; i++) {
            n[i] = rng_below(i % 50 == 49 ? 20000 : i % 7 == 6 ? 5000 : 200);
            piece[i] = arena_alloc(&a, n[i]);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % 16, 0);
            memset(piece[i], i & 0x7f, n[i]);
        }
        for (int i = 0; i < 400; i++)
            for (size_t k = 0; k < n[i]; k++)
                assert_int_equal(piece[i][k], i & 0x7f);
        arena_release(&a);
        assert_int_equal(a.used_bytes, 0);
    }
}

static void a_thread_keeps_some_blocks(void **state)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    void *first = arena_alloc(&a, 100), *second = arena_alloc(&a, 2000);
    arena_release(&a);
    assert_int_equal(spare.n[0] + spare.n[1], 2);
    mem_fail_at(1); /* in debug builds: the heap refuses */
    assert_ptr_equal(arena_alloc(&a, 50), first);
    assert_ptr_equal(arena_alloc(&a, 3000), second);
    mem_fail_at(0);
    arena_release(&a);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(&a, 900));
    arena_release(&a);
    for (unsigned i = 0; i < SIZES; i++)
        assert_in_range(spare.n[i], 0, spares_max[i]);
    arena_release_spares();
    for (unsigned i = 0; i < SIZES; i++)
        assert_int_equal(spare.n[i], 0);
}

static void the_maximum_is_one_of_what_was_asked_for(void **state)
{
    struct arena a;
    for (size_t max = 1; max < 20000; max += 13) {
        arena_init(&a, max);
        size_t got = 0;
        while (arena_alloc(&a, 16))
            got += 16;
        assert_true(arena_failed(&a) && a.full);
        assert_true(got <= max && a.used_bytes <= max);
        assert_true(got + 16 + 15 >= max);
        assert_null(arena_alloc(&a, 1));
        arena_release(&a);
        assert_false(arena_failed(&a));
    }
}

static void adopts_a_block(void **state)
{
    struct arena a;
    arena_init(&a, 10000);
    char *small = arena_alloc(&a, 16);
    struct arena_block *b = arena_block_new(5000), *more = arena_block_new(8000);
    char *p = arena_block_bytes(b);
    memset(p, 'b', arena_block_size(b));
    assert_true(arena_adopt(&a, &b));
    assert_null(b);
    assert_false(arena_adopt(&a, &more)); /* the arena goes on as it was */
    assert_false(arena_failed(&a));
    assert_ptr_equal((char *)arena_alloc(&a, 16), small + 16);
    assert_int_equal(p[4999], 'b');
    arena_release(&a);
    arena_block_free(&more);
    assert_null(more);
    arena_block_free(&more);
}

static void a_refusing_heap_latches(void **state)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    mem_fail_at(1);
    void *p = arena_alloc(&a, 100);
    mem_fail_at(0);
    if (p) { /* a build without that */
        arena_release(&a);
        skip();
    }
    assert_true(arena_failed(&a) && !a.full);
    assert_null(arena_dup(&a, STR("x")).p);
    arena_release(&a);
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x").p, "7-x");
    arena_release(&a);
}

static void joins_pieces(void **state)
{
    struct arena a;
    struct str pieces[] = {STR("data:"), STR_NULL, STR("x"), STR(";")};
    (void)state;
    arena_init(&a, 64);
    struct str s = arena_join(&a, pieces, 4);
    assert_string_equal(s.p, "data:x;");
    assert_int_equal(s.n, 7);
    pieces[2] = str_make(s.p, 60);
    assert_null(arena_join(&a, pieces, 4).p);
    assert_true(a.full);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_are_aligned_and_apart, no_spares, no_spares),
        cmocka_unit_test_setup_teardown(a_thread_keeps_some_blocks, no_spares, no_spares),
        cmocka_unit_test_setup_teardown(the_maximum_is_one_of_what_was_asked_for, no_spares,
                                        no_spares),
        cmocka_unit_test_setup_teardown(adopts_a_block, no_spares, no_spares),
        cmocka_unit_test_setup_teardown(a_refusing_heap_latches, no_spares, no_spares),
        cmocka_unit_test_setup_teardown(joins_pieces, no_spares, no_spares),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
