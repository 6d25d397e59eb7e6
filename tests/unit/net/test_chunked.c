/* http1_chunked: bodies decoded in place, whole, cut at every place, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "net/http1.h"

static char out[65536];
static size_t out_n, used_n;

/* One piece, in a block of its own size. Adds to out. */
static enum err feed(struct http_chunked *c, const char *p, size_t n)
{
    struct err_info info;
    err_info_init(&info);
    char *block = malloc(n ? n : 1);
    assert_non_null(block);
    memcpy(block, p, n);
    size_t data = n, used;
    enum err e = http_chunked_decode(c, block, &data, &used, &info);
    assert_true(data <= n && used <= n);
    assert_true(e != ERR_AGAIN || used == n);
    assert_true(e == ERR_OK || e == ERR_AGAIN || (e == ERR_BAD_REQUEST && info.text[0]));
    memcpy(out + out_n, block, data);
    out_n += data;
    used_n += used;
    free(block);
    return e;
}

/* step 0: cut once, at cut. */
static enum err run(struct str text, size_t cut, size_t step)
{
    struct http_chunked c = {0};
    enum err e = ERR_AGAIN;
    out_n = used_n = 0;
    for (size_t at = 0; at < text.n && e == ERR_AGAIN;) {
        size_t n = step ? step : at ? text.n - at : cut;
        n = n < text.n - at ? n : text.n - at;
        e = feed(&c, text.p + at, n);
        at += n;
    }
    return e;
}

#define DONE "0\r\n\r\n"

static const struct {
    struct str text;
    enum err e;
    const char *data;
    size_t behind; /* bytes of text that are not the body's */
} bodies[] = {
    {STR("3\r\nabc\r\n" DONE), ERR_OK, "abc", 0},
    {STR("3\r\nabc\r\n5\r\ndefgh\r\n" DONE), ERR_OK, "abcdefgh", 0},
    {STR("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n00\r\n\r\nGET /"), ERR_OK, "abc", 5},
    {STR("0000000000000a\r\n0123456789\r\n" DONE "x"), ERR_OK, "0123456789", 1},
    {STR("A\r\n0123456789\r\na\r\n0123456789\r\n" DONE), ERR_OK, "01234567890123456789", 0},
    {STR("5\r\n\r\n0\r\n\r\n" DONE), ERR_OK, "\r\n0\r\n", 0},
    {STR(DONE), ERR_OK, "", 0},
    {STR("3;a=\"b\xc3\xa4\"\t\r\nabc\r\n0;z\r\n\r\n"), ERR_OK, "abc", 0},
    {STR("3\r\nabc\r\n0\r\nA: b\r\nExpires:\r\nC:d\te\r\n\r\n.."), ERR_OK, "abc", 2},
    {STR("3\r\nab"), ERR_AGAIN, "ab", 0},
    {STR("3\r\nabc\r\n0\r\n"), ERR_AGAIN, "abc", 0},
    {STR("3\r\nabc\r\n0\r\nA: b\r\n\r"), ERR_AGAIN, "abc", 0},
    {STR("\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("g\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR(" 3\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3 \r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("+3\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("-1\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("0x3\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3\r3\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR(";a\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("3;a\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3;a\rabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3;a\x01\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3;a\x7f\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3;\0\r\nabc"), ERR_BAD_REQUEST, "", 0},
    {STR("3\r\nabcd\r\n"), ERR_BAD_REQUEST, "abc", 0},
    {STR("3\r\nabc\n"), ERR_BAD_REQUEST, "abc", 0},
    {STR("3\r\nabc\r3"), ERR_BAD_REQUEST, "abc", 0},
    {STR("3\r\nabc0\r\n"), ERR_BAD_REQUEST, "abc", 0},
    {STR("ffffffffffffffff\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("10000000000000000\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0000000000000000\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\n\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\n\rx"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\n: b\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA : b\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA: b\r\n c\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA: b\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA: b\rC: d\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
    {STR("0\r\nA: \0\r\n\r\n"), ERR_BAD_REQUEST, "", 0},
};

static void check(size_t i, size_t cut, size_t step)
{
    enum err e = run(bodies[i].text, cut, step);
    if (e != bodies[i].e || out_n != strlen(bodies[i].data) || memcmp(out, bodies[i].data, out_n))
        fail_msg("%.*s (cut at %zu): %s, '%.*s'", STR_FMT(bodies[i].text), cut, err_name(e),
                 (int)out_n, out);
    if (!e && !step && cut == bodies[i].text.n)
        assert_int_equal(used_n, bodies[i].text.n - bodies[i].behind);
}

static void decodes_at_every_cut(void **state)
{
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (size_t cut = 1; cut <= bodies[i].text.n; cut++)
            check(i, cut, 0);
        check(i, 1, 1);
        check(i, 2, 2);
    }
}

static char big[32768];

static void bounds_extensions(void **state)
{
    size_t n = (size_t)sprintf(big, "1;");
    memset(big + n, 'e', 300);
    memcpy(big + n + 256, "\r\na\r\n" DONE, 10);
    assert_int_equal(run(str_make(big, n + 256 + 10), n + 256 + 10, 0), ERR_OK);
    big[n + 256] = 'e';
    assert_int_equal(run(str_make(big, n + 257), 10, 0), ERR_BAD_REQUEST);
}

static void bounds_trailers(void **state)
{
    size_t n = (size_t)sprintf(big, "0\r\n"), bytes = 0;
    while (bytes + 32 <= 8192) {
        n += (size_t)sprintf(big + n, "A: 5678901234567890123456789012\r\n");
        bytes += 31;
    }
    assert_int_equal(run(str_make(big, n), n, 0), ERR_AGAIN);
    n += (size_t)sprintf(big + n, "A: 5678901234567890123456789012\r\n");
    assert_int_equal(run(str_make(big, n), n, 0), ERR_BAD_REQUEST);
    assert_int_equal(run(str_make(big, n), 1, 1), ERR_BAD_REQUEST);
}

static void takes_great_sizes(void **state)
{
    struct http_chunked c = {0};
    out_n = used_n = 0;
    assert_int_equal(feed(&c, "fffffffffffffff\r\nabc", 20), ERR_AGAIN);
    assert_int_equal(out_n, 3);
    assert_int_equal(c.left, 0xfffffffffffffffULL - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_at_every_cut),
        cmocka_unit_test(bounds_extensions),
        cmocka_unit_test(bounds_trailers),
        cmocka_unit_test(takes_great_sizes),
    };
    return cmocka_run_group_tests_name("chunked", tests, NULL, NULL);
}
