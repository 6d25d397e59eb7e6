/* json_write: exact output, escapes, and random documents that read back as they were written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <cmocka.h>

#include "core/json_read.h"
#include "core/json_write.h"
#include "core/rng.h"

static void writes_each_kind(void **state)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_string(&w, "s", STR("x"));
    json_field_i64(&w, "i", INT64_MIN);
    json_field_bool(&w, "t", true);
    json_field_bool(&w, "f", false);
    json_field_null(&w, "n");
    json_key(&w, STR("q\""));
    json_open_array(&w);
    json_open_array(&w);
    json_close_array(&w);
    json_open_object(&w);
    json_close_object(&w);
    json_put_u64(&w, UINT64_MAX);
    json_put_raw(&w, STR("{\"r\": 1}"));
    json_put_double(&w, 0.1);
    json_close_array(&w);
    json_key(&w, STR("z"));
    json_put_double(&w, NAN);
    json_close_object(&w);
    assert_false(buf_failed(&b));
    assert_string_equal(b.p, "{\"s\":\"x\",\"i\":-9223372036854775808,\"t\":true,\"f\":false,"
                             "\"n\":null,\"q\\\"\":[[],{},18446744073709551615,{\"r\": 1},0.1],"
                             "\"z\":null}");
    buf_release(&b);
}

static void escapes_what_it_must(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } t[] = {
        {STR(""), ""},
        {STR("\"\\/"), "\\\"\\\\/"},
        {STR("\b\f\n\r\t"), "\\b\\f\\n\\r\\t"},
        {STR("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\x7f"},
        {STR("\u00e9\u20ac\U0001F600"), "\u00e9\u20ac\U0001F600"},
        {STR("a\xff"
             "b\xc3"),
         "a\ufffd"
         "b\ufffd"},
        {STR("\xed\xa0\x80"), "\ufffd\ufffd\ufffd"},
        {STR("a long run of text that is wider than one vector\nand one more of the same length"),
         "a long run of text that is wider than one vector\\nand one more of the same length"},
        {STR_NULL, ""},
    };
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        struct buf b;
        buf_init(&b, 4096);
        json_escape(&b, t[k].in);
        assert_true(str_eq(buf_view(&b), str_c(t[k].out)));
        buf_release(&b);
    }
}

/* Short ones have a way of their own: every byte in every place. */
static void short_strings_are_escaped_like_long_ones(void **state)
{
    struct buf one, other;
    struct json_writer w;
    buf_init(&one, 4096);
    buf_init(&other, 4096);
    for (size_t n = 1; n < 68; n += n < 20 ? 1 : 11)
        for (size_t at = 0; at < n; at++)
            for (int c = 0; c < 256; c++) {
                char text[80];
                memset(text, 'm', sizeof text);
                text[at] = (char)c;
                buf_reset(&one);
                buf_reset(&other);
                json_writer_init(&w, &one);
                json_put_string(&w, str_make(text, n));
                buf_char(&other, '"');
                json_escape(&other, str_make(text, n));
                buf_char(&other, '"');
                assert_true(str_eq(buf_view(&one), buf_view(&other)));
            }
    buf_release(&one);
    buf_release(&other);
}

static void doubles_read_back_the_same(void **state)
{
    static const struct {
        double v;
        const char *text;
    } t[] = {{0, "0"},
             {-0.0, "-0"},
             {1, "1"},
             {0.1, "0.1"},
             {1e21, "1e+21"},
             {1.0 / 3, "0.3333333333333333"},
             {5e-324, "4.94065645841247e-324"},
             {INFINITY, "null"},
             {-INFINITY, "null"},
             {123456789.125, "123456789.125"}};
    struct buf b;
    struct json_writer w;
    buf_init(&b, 4096);
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        buf_reset(&b);
        json_writer_init(&w, &b);
        json_put_double(&w, t[k].v);
        assert_string_equal(b.p, t[k].text);
    }
    rng_seed(3);
    for (int round = 0; round < 20000; round++) {
        union {
            uint64_t bits;
            double v;
        } x = {rng_u64()};
        struct json_doc d;
        double back;
        if (!isfinite(x.v))
            continue;
        buf_reset(&b);
        json_writer_init(&w, &b);
        json_put_double(&w, x.v);
        assert_int_equal(json_parse(&d, buf_view(&b), NULL), ERR_OK);
        assert_true(json_double(&d, 0, &back) && back == x.v);
    }
    buf_release(&b);
}

static void latches_in_the_buf(void **state)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 10);
    json_writer_init(&w, &b);
    json_open_array(&w);
    for (int i = 0; i < 100; i++)
        json_put_string(&w, STR("text"));
    json_close_array(&w);
    assert_true(buf_failed(&b));
    assert_true(b.n <= 10);
    buf_release(&b);
}

/* Everything that is in b, with its loans. */
static struct str whole(const struct buf *b, char *to)
{
    size_t n = 0, at = 0;
    for (unsigned i = 0; i < b->loans->n; i++) {
        const struct buf_loan *l = &b->loans->e[i];
        memcpy(to + n, b->p + at, l->at - at);
        n += l->at - at;
        at = l->at;
        memcpy(to + n, l->s.p, l->s.n);
        n += l->s.n;
    }
    memcpy(to + n, b->p + at, b->n - at);
    return str_make(to, n + b->n - at);
}

static void lends_what_is_long_and_plain(void **state)
{
    static char text[1024];
    struct buf_loan room[3];
    struct buf_loans loans = {.e = room, .max = 3, .min_bytes = 8};
    struct buf b;
    struct json_writer w;
    struct str joined[] = {STR("data:"), STR("\""), STR("long enough")};
    buf_init(&b, 4096);
    b.loans = &loans;
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_lent(&w, "short", STR("7 bytes"));
    json_field_lent(&w, "long", STR("8 bytes."));
    json_field_lent(&w, "odd", STR("a \"quoted\" text"));
    json_key(&w, STR("joined"));
    json_put_joined_lent(&w, joined, 3);
    json_key(&w, STR("raw"));
    json_put_raw_lent(&w, STR("[1, 2, 3, 4]"));
    json_field_lent(&w, "full", STR("the fourth"));
    json_close_object(&w);
    assert_int_equal(loans.n, 3);
    assert_ptr_equal(loans.e[1].s.p, joined[2].p);
    assert_true(str_eq(whole(&b, text), STR("{\"short\":\"7 bytes\",\"long\":\"8 bytes.\","
                                            "\"odd\":\"a \\\"quoted\\\" text\","
                                            "\"joined\":\"data:\\\"long enough\","
                                            "\"raw\":[1, 2, 3, 4],\"full\":\"the fourth\"}")));
    size_t n = b.n;
    buf_fit(&b);
    assert_int_equal(b.cap, n + 1);
    assert_int_equal(b.n, n);
    buf_release(&b);
    assert_null(b.loans);
}

static void lends_nothing_where_nothing_is_to_be_lent(void **state)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_open_array(&w);
    json_put_lent(&w, STR("a text of more than eight bytes"));
    json_put_raw_lent(&w, STR("\"and another\""));
    json_close_array(&w);
    assert_string_equal(b.p, "[\"a text of more than eight bytes\",\"and another\"]");
    buf_release(&b);
}

/* A random document is made twice from the same seed: once to write it, once to compare. */
struct random {
    uint64_t s;
};

static unsigned below(struct random *r, unsigned n)
{
    r->s = r->s * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(r->s >> 33) % n;
}

static struct str random_string(struct random *r, char *p)
{
    static const char *const piece[] = {"a",    "\"",     "\\",     "\n",         "\x01",  "/",
                                        "\x7f", "\u00e9", "\u4f60", "\U0001F600", "word ", "u0041"};
    unsigned n = below(r, 12);
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        const char *s = piece[below(r, sizeof piece / sizeof *piece)];
        memcpy(p + len, s, strlen(s));
        len += strlen(s);
    }
    return str_make(p, len);
}

static void write_value(struct random *r, struct json_writer *w, int depth)
{
    char p[64];
    unsigned n, kind = below(r, depth < 8 ? 8 : 6);
    switch (kind) {
    case 0:
        json_put_null(w);
        return;
    case 1:
    case 2:
        json_put_bool(w, kind == 1);
        return;
    case 3:
        json_put_i64(w, (int64_t)below(r, 1000000) - 500000);
        return;
    case 4:
        json_put_double(w, below(r, 1000000) / 7.0 - 5000);
        return;
    case 5:
        json_put_string(w, random_string(r, p));
        return;
    case 6:
        json_open_array(w);
        for (n = below(r, 6); n; n--)
            write_value(r, w, depth + 1);
        json_close_array(w);
        return;
    default:
        json_open_object(w);
        for (n = below(r, 6); n; n--) {
            json_key(w, random_string(r, p));
            write_value(r, w, depth + 1);
        }
        json_close_object(w);
    }
}

static void assert_string(const struct json_doc *d, uint32_t at, struct arena *a, struct str want)
{
    struct str s;
    assert_true(json_string(d, at, a, &s));
    assert_true(str_eq(s, want));
    assert_true(json_string_is(d, at, want));
}

static void compare_value(struct random *r, const struct json_doc *d, uint32_t at, struct arena *a,
                          int depth)
{
    char p[64];
    bool b;
    int64_t i;
    double f;
    unsigned kind = below(r, depth < 8 ? 8 : 6), n;
    assert_int_equal(d->e[at].depth, depth);
    switch (kind) {
    case 0:
        assert_true(json_is(d, at, JSON_NULL));
        return;
    case 1:
    case 2:
        assert_true(json_bool(d, at, &b) && b == (kind == 1));
        return;
    case 3:
        assert_true(json_i64(d, at, &i) && i == (int64_t)below(r, 1000000) - 500000);
        return;
    case 4:
        assert_true(json_double(d, at, &f) && f == below(r, 1000000) / 7.0 - 5000);
        return;
    case 5:
        assert_string(d, at, a, random_string(r, p));
        return;
    }
    assert_true(json_is(d, at, kind == 6 ? JSON_ARRAY : JSON_OBJECT));
    n = below(r, 6);
    assert_int_equal(json_size(d, at), n);
    uint32_t child = json_child(d, at);
    for (; n; n--) {
        if (kind == 7) {
            assert_true(d->e[child].flags & JSON_KEY);
            assert_string(d, child, a, random_string(r, p));
            child = json_sibling(d, at, child);
        }
        compare_value(r, d, child, a, depth + 1);
        child = json_sibling(d, at, child);
    }
    assert_int_equal(child, JSON_NONE);
}

static void random_documents_read_back(void **state)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct buf b;
        struct json_writer w;
        struct json_doc d;
        struct arena a;
        struct random one = {seed}, other = {seed};
        buf_init(&b, 16 << 20);
        arena_init(&a, 16 << 20);
        json_writer_init(&w, &b);
        write_value(&one, &w, 0);
        assert_false(buf_failed(&b));
        assert_int_equal(json_parse(&d, buf_view(&b), NULL), ERR_OK);
        compare_value(&other, &d, json_root(&d), &a, 0);
        buf_release(&b);
        arena_release(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_each_kind),
        cmocka_unit_test(escapes_what_it_must),
        cmocka_unit_test(short_strings_are_escaped_like_long_ones),
        cmocka_unit_test(doubles_read_back_the_same),
        cmocka_unit_test(latches_in_the_buf),
        cmocka_unit_test(lends_what_is_long_and_plain),
        cmocka_unit_test(lends_nothing_where_nothing_is_to_be_lent),
        cmocka_unit_test(random_documents_read_back),
    };
    return cmocka_run_group_tests_name("json_write", tests, NULL, NULL);
}
