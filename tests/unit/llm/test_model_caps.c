/* model_caps: the ladder of efforts, and wishes fitted to what a model takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "llm/model_caps.h"

static void names_of_efforts(void **state)
{
    (void)state;
    for (int e = EFFORT_NONE; e < EFFORT_COUNT; e++)
        assert_int_equal(effort_find(str_c(effort_name((enum effort)e))), e);
    assert_int_equal(effort_find(STR("")), EFFORT_UNSET);
    assert_int_equal(effort_find(STR("High")), EFFORT_UNSET);
    assert_string_equal(effort_name(EFFORT_COUNT), "");
    assert_int_equal(effort_budget(EFFORT_COUNT), 0);
}

static void budgets_of_efforts(void **state)
{
    (void)state;
    for (int e = EFFORT_MINIMAL; e < EFFORT_COUNT; e++) {
        assert_true(effort_budget((enum effort)e) > effort_budget((enum effort)(e - 1)));
        assert_int_equal(effort_of_budget(effort_budget((enum effort)e)), e);
    }
    assert_int_equal(effort_of_budget(0), EFFORT_NONE);
    assert_int_equal(effort_of_budget(1), EFFORT_MINIMAL);
    assert_int_equal(effort_of_budget(4000), EFFORT_LOW);
    assert_int_equal(effort_of_budget(UINT64_MAX), EFFORT_MAX);
}

static void an_effort_is_fitted(void **state)
{
    (void)state;
    struct model_caps any = {0};
    assert_int_equal(model_caps_effort(&any, EFFORT_XHIGH), EFFORT_XHIGH);
    struct model_caps deepseek = {.efforts = EFFORT_BIT(EFFORT_LOW) | EFFORT_BIT(EFFORT_HIGH) |
                                             EFFORT_BIT(EFFORT_MAX)};
    assert_int_equal(model_caps_effort(&deepseek, EFFORT_UNSET), EFFORT_UNSET);
    assert_int_equal(model_caps_effort(&deepseek, EFFORT_MEDIUM), EFFORT_HIGH);
    assert_int_equal(model_caps_effort(&deepseek, EFFORT_XHIGH), EFFORT_MAX);
    assert_int_equal(model_caps_effort(&deepseek, EFFORT_MINIMAL), EFFORT_LOW);
    assert_int_equal(model_caps_effort(&deepseek, EFFORT_NONE), EFFORT_LOW);
    struct model_caps two = {.efforts = EFFORT_BIT(EFFORT_NONE) | EFFORT_BIT(EFFORT_HIGH)};
    assert_int_equal(model_caps_effort(&two, EFFORT_MINIMAL), EFFORT_HIGH);
    assert_int_equal(model_caps_effort(&two, EFFORT_MAX), EFFORT_HIGH);
    assert_int_equal(model_caps_effort(&two, EFFORT_NONE), EFFORT_NONE);
}

static void a_budget_is_fitted(void **state)
{
    (void)state;
    struct model_caps m = {.budget_min = 1024, .budget_max = 32768};
    assert_int_equal(model_caps_budget(&m, 0), 1024);
    assert_int_equal(model_caps_budget(&m, 5000), 5000);
    assert_int_equal(model_caps_budget(&m, UINT64_MAX), 32768);
    struct model_caps any = {0};
    assert_int_equal(model_caps_budget(&any, UINT64_MAX), UINT32_MAX);
    assert_int_equal(model_caps_budget(&any, 0), 0);
}

static void what_is_unknown_is_assumed(void **state)
{
    (void)state;
    struct model_caps m = {.known_abilities = CAP_TOOLS | CAP_VISION, .abilities = CAP_TOOLS};
    assert_true(model_caps_can(&m, CAP_TOOLS));
    assert_false(model_caps_can(&m, CAP_VISION));
    assert_false(model_caps_can(&m, CAP_VISION | CAP_TOOLS));
    assert_true(model_caps_can(&m, CAP_AUDIO));
    const struct model_caps *none =
        model_caps_find(model_catalogue_builtin(), STR("nobody"), STR("nothing"));
    assert_non_null(none);
    assert_true(model_caps_can(none, UINT32_MAX));
    assert_false(model_caps_rule(none, UINT32_MAX));
    assert_int_equal(none->thinking, THINK_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_efforts),           cmocka_unit_test(budgets_of_efforts),
        cmocka_unit_test(an_effort_is_fitted),        cmocka_unit_test(a_budget_is_fitted),
        cmocka_unit_test(what_is_unknown_is_assumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
