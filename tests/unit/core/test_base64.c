/* base64: the vectors of RFC 4648 section 10, both alphabets, and what is malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base64.h"

static void knows_the_vectors(void **state)
{
    static const struct {
        const char *plain, *coded, *bare;
    } t[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char out[16];
        size_t n = base64_encode(out, str_c(t[i].plain));
        assert_true(str_eq(str_make(out, n), str_c(t[i].coded)));
        n = base64url_encode(out, str_c(t[i].plain));
        assert_true(str_eq(str_make(out, n), str_c(t[i].bare)));
        assert_true(base64_decode(out, &n, str_c(t[i].coded)));
        assert_true(str_eq(str_make(out, n), str_c(t[i].plain)));
        assert_true(base64_decode(out, &n, str_c(t[i].bare)));
        assert_true(str_eq(str_make(out, n), str_c(t[i].plain)));
    }
}

static void refuses_what_is_malformed(void **state)
{
    static const char *const bad[] = {
        "Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm 9v", "====", "Zm9v\n"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char out[16];
        size_t n;
        assert_false(base64_decode(out, &n, str_c(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_vectors),
        cmocka_unit_test(refuses_what_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
