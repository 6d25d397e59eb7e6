/* loop: costly steps are made a few a turn, in order, and only so many wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/loop.h"

#define N (LOOP_STEPS_MAX + 50)

static struct loop *loop;
static struct costly steps[N];
static unsigned ran[N], ran_n, this_turn, turns, refused, wanted, target;
static struct message asking, end_of_turn;
static bool ending, are_due;
static void (*then)(void);

static void on_end_of_turn(struct message *m)
{
    ending = false;
    assert_in_range(this_turn, 1, LOOP_STEPS_A_TURN);
    this_turn = 0;
    turns++;
}

static void on_step(struct costly *c)
{
    ran[ran_n++] = (unsigned)(c - steps);
    this_turn++;
    if (!ending) {
        ending = true;
        end_of_turn.run = on_end_of_turn;
        loop_defer(loop, &end_of_turn);
    }
    if (ran_n == target)
        loop_stop(loop);
}

static void on_asking(struct message *m)
{
    for (unsigned i = 0; i < wanted; i++)
        refused += !costly_run(loop, &steps[i], are_due, on_step);
    if (then)
        then();
}

/* Asks for n steps at once and sees `until` of them run. Only the steps keep the loop awake. */
static void go(unsigned n, bool due, void (*also)(void), unsigned until)
{
    loop = loop_new("test");
    ran_n = turns = refused = 0;
    wanted = n;
    are_due = due;
    then = also;
    target = until;
    asking.run = on_asking;
    loop_post(loop, &asking);
    alarm(30);
    loop_run(loop);
    alarm(0);
    assert_int_equal(ran_n, until);
    loop_free(&loop);
}

static void a_turn_makes_few_in_order(void **state)
{
    go(11, false, NULL, 11);
    assert_int_equal(turns, 6);
    for (unsigned i = 0; i < 11; i++)
        assert_int_equal(ran[i], i);
}

static void drop_some(void)
{
    const unsigned which[] = {0, 2, 4, 4};
    for (size_t i = 0; i < sizeof which / sizeof *which; i++)
        costly_drop(loop, &steps[which[i]]);
    assert_false(costly_waits(&steps[4]));
    assert_true(costly_waits(&steps[3]));
}

static void one_that_waits_may_go(void **state)
{
    go(5, false, drop_some, 3);
    assert_int_equal(ran[0], 0);
    assert_int_equal(ran[1], 1);
    assert_int_equal(ran[2], 3);
}

static void only_so_many_wait(void **state)
{
    go(LOOP_STEPS_A_TURN + LOOP_STEPS_MAX + 3, false, NULL, LOOP_STEPS_A_TURN + LOOP_STEPS_MAX);
    assert_int_equal(refused, 3);
    go(LOOP_STEPS_A_TURN + LOOP_STEPS_MAX + 3, true, NULL, LOOP_STEPS_A_TURN + LOOP_STEPS_MAX + 3);
    assert_int_equal(refused, 0);
}

static void ask_again(void)
{
    assert_true(costly_run(loop, &steps[2], false, on_step));
}

static void asking_twice_is_asking_once(void **state)
{
    go(4, false, ask_again, 4);
    assert_int_equal(ran[2], 2);
    assert_int_equal(ran[3], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_makes_few_in_order),
        cmocka_unit_test(one_that_waits_may_go),
        cmocka_unit_test(only_so_many_wait),
        cmocka_unit_test(asking_twice_is_asking_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
