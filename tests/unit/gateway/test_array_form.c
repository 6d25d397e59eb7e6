/* array_form: a stream becomes the same array however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/array_form.h"

static const struct {
    const char *events, *array;
} cases[] = {
    {"", "[]"},
    {": only a comment\n\n", "[]"},
    {"data: {\"a\":1}\r\n\r\n", "[{\"a\":1}]"},
    {"data: {\"a\":1}\n\ndata: {\"b\":2}\n\n", "[{\"a\":1},\r\n{\"b\":2}]"},
    {"data:{\"a\":1}\n\n: ping\n\n\n\ndata:  {\"b\":2}\n\n", "[{\"a\":1},\r\n{\"b\":2}]"},
    {"event: x\nid: 7\ndata: {\"a\":\ndata: [1,\ndata: 2]}\n\n", "[{\"a\":[1,2]}]"},
    {"data:\n\ndata: \r\n\r\ndata: {}\n\n", "[{}]"},
    {"data\ndatum: {}\ndat: {}\ndata : {}\nxdata: {}\n\n", "[]"},
    {"data: {\"s\":\"data: \\r\\n\"}\n\n", "[{\"s\":\"data: \\r\\n\"}]"},
};

static void check(const char *events, const char *array, size_t step, size_t cap)
{
    struct array_form a = {0};
    char got[512];
    size_t n = 0;
    struct str all = str_c(events);
    while (all.n) {
        struct str in = str_make(all.p, all.n < step ? all.n : step);
        all = str_from(all, in.n);
        while (in.n) {
            char out[64];
            size_t k = array_form_feed(&a, &in, out, cap);
            assert_true(k <= cap);
            assert_true(k || !in.n);
            memcpy(got + n, out, k);
            n += k;
        }
    }
    n += array_form_end(&a, got + n);
    got[n] = 0;
    assert_string_equal(got, array);
}

static void every_cut_gives_the_same_array(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= strlen(cases[i].events) + 1; step++)
            for (size_t cap = 8; cap <= 64; cap += 7)
                check(cases[i].events, cases[i].array, step, cap);
}

static void an_array_is_open_until_its_end(void **state)
{
    struct array_form a = {0};
    char out[64];
    struct str in = STR("data: {\"a\":1}\n\ndata: {\"b\"");
    (void)state;
    size_t n = array_form_feed(&a, &in, out, sizeof out);
    assert_true(str_eq(str_make(out, n), STR("[{\"a\":1},\r\n{\"b\"")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_array),
        cmocka_unit_test(an_array_is_open_until_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
