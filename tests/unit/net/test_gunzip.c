/* gunzip: whole and byte by byte, both headers, several members, damage, bombs, no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "core/alloc.h"
#include "net/gunzip.h"

/* Compresses with zlib itself. bits: 31 gzip, 15 zlib. */
static size_t pack(int bits, const char *text, size_t n, char *out, size_t cap)
{
    z_stream s = {0};
    assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    s.next_in = (unsigned char *)text;
    s.avail_in = (unsigned)n;
    s.next_out = (unsigned char *)out;
    s.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    deflateEnd(&s);
    return cap - s.avail_out;
}

static enum err unpack(const char *p, size_t n, size_t step, struct buf *out, bool *ended)
{
    struct gunzip *z = gunzip_new();
    assert_non_null(z);
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && !e; i += step)
        e = gunzip_feed(z, str_make(p + i, n - i < step ? n - i : step), out, NULL);
    *ended = gunzip_ended(z);
    gunzip_free(&z);
    assert_null(z);
    return e;
}

static void test_round_trip(void **state)
{
    static char text[50000], packed[60000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 23);
    for (int bits = 15; bits <= 31; bits += 16) {
        size_t n = pack(bits, text, sizeof text, packed, sizeof packed);
        for (size_t step = 1; step <= n; step = step * 7 + 1) {
            struct buf out;
            bool ended;
            buf_init(&out, 1 << 20);
            assert_int_equal(unpack(packed, n, step, &out, &ended), ERR_OK);
            assert_true(ended);
            assert_int_equal(out.n, sizeof text);
            assert_memory_equal(out.p, text, sizeof text);
            buf_release(&out);
        }
        struct buf out;
        bool ended;
        buf_init(&out, 1 << 20);
        assert_int_equal(unpack(packed, n - 1, n, &out, &ended), ERR_OK);
        assert_false(ended);
        buf_release(&out);
    }
}

static void test_members(void **state)
{
    char packed[200];
    size_t n = pack(31, "one ", 4, packed, sizeof packed);
    n += pack(31, "two", 3, packed + n, sizeof packed - n);
    struct buf out;
    bool ended;
    buf_init(&out, 1 << 20);
    assert_int_equal(unpack(packed, n, 3, &out, &ended), ERR_OK);
    assert_true(ended);
    assert_string_equal(out.p, "one two");
    buf_release(&out);
}

static void test_damage(void **state)
{
    char packed[200];
    struct buf out;
    bool ended;
    buf_init(&out, 1 << 20);
    assert_int_equal(unpack("not compressed", 14, 14, &out, &ended), ERR_UPSTREAM_PROTOCOL);
    size_t n = pack(31, "some text, some text", 20, packed, sizeof packed);
    packed[n - 6] ^= 1; /* its checksum */
    assert_int_equal(unpack(packed, n, n, &out, &ended), ERR_UPSTREAM_PROTOCOL);
    assert_false(ended);
    buf_release(&out);
}

static void test_bombs(void **state)
{
    size_t n = 50 << 20;
    char *zeros = mem_zalloc(n), *packed = mem_zalloc(1 << 20);
    size_t small = pack(31, zeros, n, packed, 1 << 20);
    struct buf out;
    bool ended;
    buf_init(&out, n * 2);
    assert_int_equal(unpack(packed, small, 1000, &out, &ended), ERR_UPSTREAM_PROTOCOL);
    assert_true(out.n < (1 << 20)); /* stopped long before */
    buf_release(&out);
    buf_init(&out, 20000); /* the caller's own cap */
    small = pack(31, zeros, 60000, packed, 1 << 20);
    assert_int_equal(unpack(packed, small, small, &out, &ended), ERR_UPSTREAM_PROTOCOL);
    buf_release(&out);
    mem_free(zeros);
    mem_free(packed);
}

static void test_no_memory(void **state)
{
    char packed[200];
    size_t n = pack(31, "some text", 9, packed, sizeof packed);
    for (uint64_t i = 1; i < 20; i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        mem_fail_at(i);
        struct gunzip *z = gunzip_new();
        if (z) {
            enum err e = gunzip_feed(z, str_make(packed, n), &out, NULL);
            assert_true(e == ERR_OK || e == ERR_NOMEM || e == ERR_UPSTREAM_PROTOCOL);
        }
        gunzip_free(&z);
        mem_fail_at(0);
        buf_release(&out);
    }
}

static void test_codings(void **state)
{
    assert_true(gunzip_knows(STR("GZip")));
    assert_true(gunzip_knows(STR("x-gzip")));
    assert_true(gunzip_knows(STR("deflate")));
    assert_false(gunzip_knows(STR("br")));
    assert_false(gunzip_knows(STR("gzip, gzip")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_members),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_codings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
