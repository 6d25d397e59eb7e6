/* browser: hosts and origins match exactly or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/browser.h"

static const struct str hosts[] = {STR("ai.example.com"), STR("*.corp.example")};
static const struct str origins[] = {STR("https://app.example.com")};
static const struct browser_rules strict = {hosts, 2, origins, 1, false};
static const struct browser_rules open_ = {NULL, 0, NULL, 0, true};

static void hosts_match_by_name(void **state)
{
    assert_true(browser_host_ok(&strict, STR("ai.example.com")));
    assert_true(browser_host_ok(&strict, STR("AI.example.com:8003")));
    assert_true(browser_host_ok(&strict, STR("a.b.corp.example")));
    assert_false(browser_host_ok(&strict, STR("corp.example")));
    assert_false(browser_host_ok(&strict, STR("evilcorp.example")));
    assert_false(browser_host_ok(&strict, STR("ai.example.com.evil.net")));
    assert_false(browser_host_ok(&strict, STR("")));
    assert_true(browser_host_ok(&open_, STR("anything")));
}

static void origins_match_exactly(void **state)
{
    assert_true(browser_origin_ok(&strict, STR("https://app.example.com")));
    assert_false(browser_origin_ok(&strict, STR("http://app.example.com")));
    assert_false(browser_origin_ok(&strict, STR("https://app.example.com:444")));
    assert_false(browser_origin_ok(&strict, STR("https://app.example.com.evil.net")));
    assert_false(browser_origin_ok(&strict, STR("http://localhost:3000")));
    assert_false(browser_origin_ok(&strict, STR("null")));
    assert_true(browser_origin_ok(&open_, STR("http://localhost:3000")));
    assert_true(browser_origin_ok(&open_, STR("https://[::1]:9")));
    assert_false(browser_origin_ok(&open_, STR("http://localhost.evil.net")));
}

static void only_a_listed_origin_is_named(void **state)
{
    struct buf b;
    buf_init(&b, 4096);
    browser_put_preflight(&strict, STR("https://evil.net"), &b);
    assert_int_equal(b.n, 0);
    browser_put_preflight(&strict, STR("https://app.example.com"), &b);
    assert_true(str_find(buf_view(&b), STR("Allow-Origin: https://app.example.com\r\n")) > 0);
    assert_true(str_find(buf_view(&b), STR("Max-Age: 86400")) > 0);
    assert_true(str_find(buf_view(&b), STR("*")) < 0);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_match_by_name),
        cmocka_unit_test(origins_match_exactly),
        cmocka_unit_test(only_a_listed_origin_is_named),
    };
    return cmocka_run_group_tests_name("browser", tests, NULL, NULL);
}
