/* json_scan: every way finds the same byte as a plain definition, at every length and place, with
 * an unreadable page right behind the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/json_scan.h"
#include "core/rng.h"
#include "core/str.h"

static char *edge; /* the first byte that cannot be read */

static int make_edge(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, page, PROT_NONE))
        return -1;
    edge = p + page;
    return 0;
}

/* UTF-8 by the table of RFC 3629, written the other way round than the code under test: decode,
 * then judge the code point. */
static size_t sequence(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len < 2)
        return len;
    if (p[0] >= 0xf8 || len > n)
        return 0;
    uint32_t c = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

static size_t expected(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t len = sequence((const unsigned char *)p + i, n - i);
        if (!len || p[i] == '"' || p[i] == '\\' || (unsigned char)p[i] < 0x20)
            break;
        i += len;
    }
    return i;
}

/* Where json_skip may stop, told unit by unit: it must stop at the end of one, not past the first
 * thing that is neither a character nor an escape of one letter, and tell what it came past. */
static void check_skip(const char *p, size_t n)
{
    unsigned seen = 0, want = 0;
    size_t got = (size_t)(json_skip(p, p + n, &seen) - p), i = 0;
    while (i < got) {
        size_t len = sequence((const unsigned char *)p + i, n - i);
        if (p[i] == '\\') {
            assert_true(i + 1 < n && strchr("\"\\/bfnrt", p[i + 1]) && p[i + 1]);
            want |= JSON_SEEN_ESCAPE;
            len = 2;
        }
        assert_true(len && p[i] != '"' && (unsigned char)p[i] >= 0x20);
        if (len > 2)
            want |= JSON_SEEN_WIDE;
        i += len;
    }
    assert_int_equal(i, got);
    /* What lies in the block in which it stopped may count as well. */
    assert_int_equal(want & ~seen, 0);
    if (got + 64 > n || seen == want)
        return;
    size_t more = got;
    while (more < got + 64 && p[more] != '\\' && (unsigned char)p[more] < 0xe0)
        more++;
    assert_true(more < got + 64);
}

static void check(const char *p, size_t n)
{
    check_skip(p, n);
    size_t want = expected(p, n);
    const char *got;
    for (int way = 0; way < JSON_SCAN_WAYS; way++)
        if (json_scan_by((enum json_scan_way)way, p, p + n, &got))
            assert_int_equal(got - p, want);
    assert_int_equal(json_scan(p, p + n) - p, want);
}

static void stops_at_each_special_byte_in_each_place(void **state)
{
    static const char special[] = {'"', '\\', 0, 0x01, 0x1f, ' ', 0x7f, (char)0x80, (char)0xff};
    for (size_t n = 0; n <= 130; n++) {
        char *p = edge - n;
        memset(p, 'a', n);
        check(p, n);
        for (size_t at = 0; at < n; at++) {
            for (size_t k = 0; k < sizeof special; k++) {
                p[at] = special[k];
                check(p, n);
            }
            p[at] = 'a';
        }
    }
}

static void checks_utf8_in_each_place(void **state)
{
    static const char *const seq[] = {
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80",
        "\xc2",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xc2\"",
        "\xe2\x82\"",
        "\xf0\x9f\"\x98",
        "\xe2\x82\xac\xac",
        "\xf0\x9f\x98\x80\x80",
        "\xff\xfe",
        "\xe4\xbd\xa0\xe5\xa5\xbd\xbf",
    };
    static const char *const fill[] = {"a", "\xd0\xb6", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"};
    for (size_t k = 0; k < sizeof seq / sizeof *seq; k++)
        for (size_t f = 0; f < 4; f++)
            for (size_t before = 0; before <= 100; before++)
                for (size_t after = 0; after <= 40; after += 13) {
                    size_t len = strlen(seq[k]), unit = strlen(fill[f]);
                    size_t n = before / unit * unit + len + after;
                    char *p = edge - n, *at = p;
                    for (size_t i = 0; i < before / unit; i++, at += unit)
                        memcpy(at, fill[f], unit);
                    memcpy(at, seq[k], len);
                    memset(at + len, 'z', after);
                    check(p, n);
                }
}

/* All pairs of a first and a second byte, whole and cut, inside a block and across its edge. */
static void checks_all_pairs(void **state)
{
    for (unsigned pair = 0; pair < 65536; pair++)
        for (size_t cut = 0; cut < 3; cut++)
            for (size_t before = 30; before < 34; before++) {
                char *p = edge - 72;
                memset(p, 'a', 72);
                memcpy(p, "\xc3\xa9", 2); /* so that the wide check is in use */
                p[before] = (char)(pair >> 8);
                p[before + 1] = (char)pair;
                memset(p + before + 2, 0x80, cut);
                check(p, 72);
            }
}

static void agrees_on_random_bytes(void **state)
{
    static const unsigned char near[] = {0x00, 0x1f, 0x20, '"',  '\\', 0x7f, 0x80, 0x8f,
                                         0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0,
                                         0xe2, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
    rng_seed(11);
    for (int round = 0; round < 100000; round++) {
        size_t n = rng_below(131);
        char *p = edge - n;
        memset(p, 'q', n);
        for (size_t i = n - n / (1 + rng_below(40)); i < n; i++)
            p[i] = (char)(rng_below(8) ? near[16 + rng_below(3)] : near[rng_below(sizeof near)]);
        for (size_t i = 0; i + 4 < n; i += 1 + rng_below(9))
            memcpy(p + i,
                   rng_below(2) ? "\xe4\xbd\xa0"
                                : "\xc3\xa9"
                                  "b",
                   3);
        check(p, n);
    }
}

static void skips_what_is_plain_as_far_as_blocks_go(void **state)
{
    static const char *const units[] = {"a",    "bc",       "\\n",          "\\\"",
                                        "\\\\", "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"};
    unsigned seen = 0;
    const char *got;
    if (!json_scan_by(JSON_SCAN_AVX2, "", "", &got))
        skip();
    rng_seed(12);
    for (int round = 0; round < 20000; round++) {
        size_t n = 0, kinds = 1 + rng_below(8), want = rng_below(300);
        char text[400];
        while (n < want) {
            const char *u = units[rng_below(kinds)];
            memcpy(text + n, u, strlen(u));
            n += strlen(u);
        }
        memcpy(text + n, "\"", 1);
        char *p = edge - n - 1;
        memcpy(p, text, n + 1);
        check_skip(p, n + 1);
        got = json_skip(p, edge, &seen);
        assert_int_equal(got - p, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_at_each_special_byte_in_each_place),
        cmocka_unit_test(checks_utf8_in_each_place),
        cmocka_unit_test(checks_all_pairs),
        cmocka_unit_test(agrees_on_random_bytes),
        cmocka_unit_test(skips_what_is_plain_as_far_as_blocks_go),
    };
    return cmocka_run_group_tests_name("json_scan", tests, make_edge, NULL);
}
