/* json_read: values and offsets, everything that must be refused and where, steps. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/json_read.h"
#include "core/json_scan.h"
#include "core/rng.h"

static struct json_doc parsed(const char *text)
{
    struct json_doc d;
    struct err_info info;
    err_info_init(&info);
    if (json_parse(&d, str_c(text), &info) != ERR_OK)
        fail_msg("refused: %s: %s at %d", text, info.text, (int)info.offset);
    return d;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static void finds_members_and_elements(void **state)
{
    struct json_doc d = parsed(" {\"model\" : \"gpt-4o\",\n\t\"messages\":[{\"role\":\"user\","
                               "\"content\":[]},{}, 3],\"stream\":true,\"n\":null,\"\":false} ");
    uint32_t root = json_root(&d), messages = json_get(&d, root, STR("messages"));
    assert_int_equal(json_type(&d, root), JSON_OBJECT);
    assert_int_equal(json_size(&d, root), 5);
    assert_str(json_raw(&d, json_get(&d, root, STR("model"))), "\"gpt-4o\"");
    assert_int_equal(json_size(&d, messages), 3);
    uint32_t first = json_child(&d, messages), second = json_sibling(&d, messages, first);
    assert_str(json_raw(&d, first), "{\"role\":\"user\",\"content\":[]}");
    assert_str(json_raw(&d, second), "{}");
    assert_int_equal(json_child(&d, second), JSON_NONE);
    assert_int_equal(json_size(&d, second), 0);
    uint32_t third = json_sibling(&d, messages, second);
    assert_str(json_raw(&d, third), "3");
    assert_int_equal(json_sibling(&d, messages, third), JSON_NONE);
    assert_true(json_is(&d, json_get(&d, root, STR("n")), JSON_NULL));
    bool b = false;
    assert_true(json_bool(&d, json_get(&d, root, STR("stream")), &b));
    assert_true(b);
    assert_true(json_bool(&d, json_get(&d, root, STR("")), &b));
    assert_false(b);
    assert_int_equal(json_get(&d, root, STR("role")), JSON_NONE);
    assert_int_equal(json_get(&d, messages, STR("role")), JSON_NONE);
    assert_int_equal(json_get(&d, JSON_NONE, STR("role")), JSON_NONE);
    assert_false(json_is(&d, JSON_NONE, JSON_NULL));
    assert_null(json_raw(&d, JSON_NONE).p);
}

/* JSON_NARROW is knowledge, not meaning: it may be absent anywhere. */
static void assert_tape(const struct json_doc *d, const struct json_entry *want)
{
    for (uint32_t i = 0; i < d->n; i++) {
        struct json_entry one = d->e[i], other = want[i];
        one.flags &= (uint8_t)~JSON_NARROW;
        other.flags &= (uint8_t)~JSON_NARROW;
        assert_memory_equal(&one, &other, sizeof one);
    }
}

static void records_the_tape(void **state)
{
    struct json_doc d = parsed("{\"a\":[1,\"x\"],\"b\\n\":-2.5}");
    static const struct json_entry want[] = {
        {0, 24, 7, JSON_OBJECT, 0, 0},
        {1, 4, 2, JSON_STRING, JSON_KEY, 1},
        {5, 12, 5, JSON_ARRAY, 0, 1},
        {6, 7, 4, JSON_NUMBER, 0, 2},
        {8, 11, 5, JSON_STRING, 0, 2},
        {13, 18, 6, JSON_STRING, JSON_KEY | JSON_ESCAPED, 1},
        {19, 23, 7, JSON_NUMBER, JSON_FLOAT, 1},
    };
    assert_int_equal(d.n, 7);
    assert_tape(&d, want);
}

static void reads_numbers(void **state)
{
    struct json_doc d = parsed("[0,-0,9223372036854775807,-9223372036854775808,"
                               "9223372036854775808,1.5,1e2,-2E-3,1e999,123456789012345678901]");
    static const struct {
        bool is_int, is_double;
        int64_t i;
        double d;
    } want[] = {{true, true, 0, 0},
                {true, true, 0, -0.0},
                {true, true, INT64_MAX, 9223372036854775807.0},
                {true, true, INT64_MIN, -9223372036854775808.0},
                {false, true, 0, 9223372036854775808.0},
                {false, true, 0, 1.5},
                {false, true, 0, 100},
                {false, true, 0, -0.002},
                {false, false, 0, 0},
                {false, true, 0, 123456789012345678901.0}};
    uint32_t at = json_child(&d, 0);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++, at = json_sibling(&d, 0, at)) {
        int64_t i = 0;
        double f = 0;
        assert_int_equal(json_i64(&d, at, &i), want[k].is_int);
        assert_true(i == want[k].i);
        assert_int_equal(json_double(&d, at, &f), want[k].is_double);
        assert_true(f == want[k].d);
    }
    /* at the very end of a text that is followed by more digits */
    struct json_doc e;
    double f;
    assert_int_equal(json_parse(&e, str_make("1.259", 4), NULL), ERR_OK);
    assert_true(json_double(&e, 0, &f) && f == 1.25);
}

static void unescapes(void **state)
{
    struct arena a;
    arena_init(&a, 65536);
    struct json_doc d =
        parsed("[\"plain\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u0041\\u00e9\\u20aC!\","
               "\"\\ud83d\\uDE00\\udbff\\udfff\",\"a\\u0000b\",\"\",5]");
    static const struct str want[] = {STR("plain"),          STR("\"\\/\b\f\n\r\t"),
                                      STR("A\u00e9\u20ac!"), STR("\U0001F600\U0010FFFF"),
                                      STR("a\0b"),           STR("")};
    uint32_t at = json_child(&d, 0);
    struct str s;
    for (size_t k = 0; k < sizeof want / sizeof *want; k++, at = json_sibling(&d, 0, at)) {
        assert_true(json_string(&d, at, &a, &s));
        assert_true(str_eq(s, want[k]));
        assert_true(json_string_is(&d, at, want[k]));
        assert_false(json_string_is(&d, at, STR("plaim")));
        assert_false(json_string_is(&d, at, str_make(want[k].p, want[k].n + 1)));
        if (want[k].n)
            assert_false(json_string_is(&d, at, str_make(want[k].p, want[k].n - 1)));
    }
    assert_false(json_string(&d, at, &a, &s));
    assert_false(json_string(&d, JSON_NONE, &a, &s));
    arena_release(&a);
    struct arena none;
    arena_init(&none, 1);
    assert_true(json_string(&d, 1, &none, &s)); /* lent: needs no memory */
    assert_false(json_string(&d, 2, &none, &s));
    assert_true(arena_failed(&none));
    arena_release(&none);
}

static void compares_keys_unescaped_and_counts_them(void **state)
{
    struct json_doc d = parsed("{\"a\":1,\"\\u0061\":2,\"b\":{\"a\":3},\"aa\":4}");
    assert_str(json_raw(&d, json_get(&d, 0, STR("a"))), "1");
    assert_int_equal(json_count(&d, 0, STR("a")), 2);
    assert_int_equal(json_count(&d, 0, STR("b")), 1);
    assert_int_equal(json_count(&d, 0, STR("c")), 0);
    assert_int_equal(json_count(&d, 1, STR("a")), 0);
    struct json_doc only = parsed("{\"\\u0061\":2}");
    assert_str(json_raw(&only, json_get(&only, 0, STR("a"))), "2");
}

static void refused_at(struct str text, int64_t offset)
{
    struct json_doc d;
    struct err_info info;
    err_info_init(&info);
    if (json_parse(&d, text, &info) != ERR_BAD_JSON)
        fail_msg("not refused: %.*s", STR_FMT(text));
    if (info.offset != offset)
        fail_msg("%.*s: refused at %d, not %d", STR_FMT(text), (int)info.offset, (int)offset);
    assert_true(info.text[0]);
    assert_int_equal(d.n, 0);
    assert_int_equal(json_root(&d), JSON_NONE);
}

static void refuses_and_says_where(void **state)
{
    static const struct {
        const char *text;
        int64_t offset;
    } bad[] = {
        {"", 0},
        {"  ", 2},
        {"nul", 0},
        {"nulL", 0},
        {"[1,]", 3},
        {"[1 2]", 3},
        {"[,1]", 1},
        {"{\"a\":1,}", 7},
        {"{\"a\" 1}", 5},
        {"{a:1}", 1},
        {"{\"a\":}", 5},
        {"{\"a\":1]", 6},
        {"[1}", 2},
        {"[1", 2},
        {"[", 1},
        {"{", 1},
        {"{\"a\"", 4},
        {"1 2", 2},
        {"[]]", 2},
        {"01", 1},
        {"-", 1},
        {"-a", 1},
        {"1.", 2},
        {"1.e1", 2},
        {".5", 0},
        {"+1", 0},
        {"1e", 2},
        {"1e+", 3},
        {"0x10", 1},
        {"NaN", 0},
        {"-Infinity", 1},
        {"\"", 1},
        {"\"a", 2},
        {"\"\\", 2},
        {"\"\\q\"", 1},
        {"\"\\u12\"", 1},
        {"\"\\u12g4\"", 1},
        {"\"\t\"", 1},
        {"\"a\nb\"", 2},
        {"'a'", 0},
        {"// c\n1", 0},
        {"\xef\xbb\xbf{}", 0},
        {"\"\xff\"", 1},
        {"\"a\xc3\"", 2},
        {"\"\\ud800\"", 1},
        {"\"\\udc00\"", 1},
        {"\"\\ud800\\u0041\"", 1},
        {"\"\\ud83d", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\"\xc0\xaf\"", 1},
        {"[1,\f2]", 3},
        {"[\"a\",\xe2\x82\xac]", 5},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        refused_at(str_c(bad[k].text), bad[k].offset);
    refused_at(STR("\"\\udc00\\udc00\""), 1);
    refused_at(STR("\"\\ud800\\ue000\""), 1);
    refused_at(STR("\"\\ud800\\udbff\""), 1);
    refused_at(STR("[1]\0"), 3);
    refused_at(STR("\"a\0b\""), 2);
    refused_at(STR_NULL, 0);
}

static void limits_depth(void **state)
{
    char text[400];
    memset(text, '[', 64);
    memset(text + 64, ']', 65);
    struct json_doc d;
    assert_int_equal(json_parse(&d, str_make(text, 128), NULL), ERR_OK);
    assert_int_equal(d.n, 64);
    assert_int_equal(d.e[63].depth, 63);
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    refused_at(str_make(text, 130), 64);
    for (int i = 0; i < 65; i++)
        memcpy(text + 5 * i, "{\"a\":", 5);
    refused_at(str_make(text, 325), 320);
}

/* An array of n empty arrays, each 8 bytes of text; the caller frees it. */
static struct str sparse(size_t n)
{
    char *p = malloc(8 * n);
    for (size_t i = 0; i < n; i++)
        memcpy(p + 8 * i, i ? "    ,[] " : "[    [] ", 8);
    p[8 * n - 1] = ']';
    return str_make(p, 8 * n);
}

static void limits_numbers_and_values(void **state)
{
    static char text[100001];
    memset(text, '1', sizeof text);
    text[0] = '[';
    text[JSON_NUMBER_MAX] = ']';
    struct json_doc d;
    assert_int_equal(json_parse(&d, str_make(text, JSON_NUMBER_MAX + 1), NULL), ERR_OK);
    text[JSON_NUMBER_MAX] = '1';
    text[JSON_NUMBER_MAX + 1] = ']';
    refused_at(str_make(text, JSON_NUMBER_MAX + 2), 1);
    /* [1,1,1, … needs an entry for two bytes: refused where the entries end, however large the
     * thread's tape has grown before */
    for (size_t i = 1; i < sizeof text; i++)
        text[i] = i % 2 ? '1' : ',';
    text[sizeof text - 1] = ']';
    struct str big = sparse(40000);
    assert_int_equal(json_parse(&d, big, NULL), ERR_OK);
    free((char *)big.p);
    refused_at(str_make(text, sizeof text), 1 + 2 * (int64_t)(json_entries_max(sizeof text) - 1));
    assert_int_equal(json_parse(&d, str_make(text, 100), NULL), ERR_BAD_JSON); /* cut: unclosed */
    text[8000] = ']';
    assert_int_equal(json_parse(&d, str_make(text, 8001), NULL), ERR_OK);
    assert_int_equal(d.n, 4001);
}

static void parses_onto_given_entries(void **state)
{
    struct json_entry e[4];
    struct json_doc d = {.e = e, .cap = 4};
    assert_int_equal(json_parse_onto(&d, STR("[1,2,3]"), NULL), ERR_OK);
    assert_int_equal(d.n, 4);
    assert_ptr_equal(d.e, e);
    struct err_info info;
    assert_int_equal(json_parse_onto(&d, STR("[1,2,3,4]"), &info), ERR_TOO_BIG);
    assert_int_equal(info.offset, 7);
    assert_int_equal(d.cap, 4);
}

static void keeps_quiet_after_the_first_parse(void **state)
{
    struct json_doc d = parsed("[1,2]");
    mem_fail_at(0);
    for (int i = 0; i < 100; i++)
        d = parsed("{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}");
    assert_int_equal(d.n, 8);
    assert_int_equal(mem_fail_at(0), 0);
}

static void gives_a_long_tape_back(void **state)
{
    struct str text = sparse(400000);
    struct json_doc d;
    assert_int_equal(json_parse(&d, text, NULL), ERR_OK);
    assert_int_equal(d.n, 400001);
    mem_fail_at(0);
    assert_int_equal(json_parse(&d, text, NULL), ERR_OK); /* kept for the next long one */
    assert_int_equal(mem_fail_at(0), 0);
    d = parsed("[1,2]");
    assert_int_equal(mem_fail_at(0), 1); /* a new, short one */
    free((char *)text.p);
}

static void survives_a_refusing_heap(void **state)
{
    struct json_steps *s;
    struct json_doc d;
    mem_fail_at(1);
    assert_int_equal(json_steps_new(&s, STR("[1]")), ERR_NOMEM);
    assert_null(s);
    mem_fail_at(2);
    assert_int_equal(json_steps_new(&s, STR("[1]")), ERR_OK);
    assert_int_equal(json_step(s, 9, &d, NULL), ERR_NOMEM);
    assert_int_equal(json_step(s, 9, &d, NULL), ERR_NOMEM);
    mem_fail_at(0);
    json_steps_free(&s);
    json_steps_free(&s);
}

static void *parse_in_thread(void *arg)
{
    struct json_doc d = parsed("[1,[2,3]]");
    return (void *)(uintptr_t)d.n;
}

static void each_thread_has_its_tape(void **state)
{
    struct json_doc mine = parsed("[1,[2,3]]");
    pthread_t t;
    void *n;
    assert_int_equal(pthread_create(&t, NULL, parse_in_thread, NULL), 0);
    pthread_join(t, &n); /* the leak checker sees whether its tape was freed */
    assert_int_equal((uintptr_t)n, 5);
    assert_int_equal(mine.n, 5);
    assert_int_equal(mine.e[4].off, 6);
}

static const char step_text[] = " { \"model\" : \"gpt\\u00e9\\n\\ud83d\\ude00x\" , "
                                "\"m\":[1.5e3,-0,true ,false,null, {} ,[ ]],\r\n"
                                "\"\\\"k\" : {\"a\":{\"b\":[[\"\xe4\xbd\xa0\xe5\xa5\xbd\"]]}} } \n";

static void steps_equal_one_go(void **state)
{
    struct json_doc whole = parsed(step_text), d;
    for (size_t budget = 0; budget <= sizeof step_text; budget++) {
        struct json_steps *s;
        assert_int_equal(json_steps_new(&s, str_c(step_text)), ERR_OK);
        enum err e;
        size_t turns = 0;
        while ((e = json_step(s, budget, &d, NULL)) == ERR_AGAIN) {
            assert_int_equal(d.n, 0);
            turns++;
        }
        assert_int_equal(e, ERR_OK);
        assert_int_equal(d.n, whole.n);
        assert_tape(&d, whole.e);
        assert_true(turns <= sizeof step_text);
        if (budget && budget <= 16)
            assert_true(turns >= sizeof step_text / (budget + 16) / 2);
        json_steps_free(&s);
        assert_null(s);
    }
}

static void steps_end_inside_a_string_of_escapes(void **state)
{
    static char text[20002];
    for (size_t i = 1; i < sizeof text - 1; i += 2)
        memcpy(text + i, "\\n", 2);
    text[0] = text[sizeof text - 1] = '"';
    struct json_steps *s;
    struct json_doc d;
    unsigned turns = 1;
    assert_int_equal(json_steps_new(&s, str_make(text, sizeof text)), ERR_OK);
    while (json_step(s, 1000, &d, NULL) == ERR_AGAIN)
        turns++;
    assert_int_equal(d.n, 1);
    assert_in_range(turns, 18, 21); /* 1000 bytes each, or up to a block and a half more */
    json_steps_free(&s);
}

static void a_narrow_string_holds_no_wide_character(void **state)
{
    static const char *const units[] = {"a",       "\\n",          "\xc3\xa9",
                                        "\\u4f60", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"};
    unsigned told = 0, plain = 0;
    rng_seed(13);
    for (int round = 0; round < 20000; round++) {
        char text[600];
        size_t n = 2, kinds = 1 + rng_below(6), to = 2 + rng_below(300);
        bool wide = false;
        memcpy(text, "[\"", 2);
        while (n < to) {
            size_t k = rng_below(8) ? 0 : rng_below(kinds);
            wide |= k >= 4;
            memcpy(text + n, units[k], strlen(units[k]));
            n += strlen(units[k]);
        }
        sprintf(text + n, "\",%60d]", 1);
        struct json_doc d = parsed(text);
        assert_int_equal(d.n, 3);
        if (d.e[1].flags & JSON_NARROW)
            assert_false(wide);
        plain += !wide && !(d.e[1].flags & JSON_UNICODE);
        told += !!(d.e[1].flags & JSON_NARROW);
    }
    const char *end;
    if (json_scan_by(JSON_SCAN_AVX2, "", "", &end))
        assert_int_equal(told, plain);
}

/* Every prefix is refused, in steps as in one go. */
static void refuses_prefixes_the_same(const char *whole, size_t longest, size_t budgets)
{
    struct json_doc d;
    for (size_t cut = 0; cut < longest; cut++)
        for (size_t budget = 0; budget < budgets; budget++) {
            struct str text = str_make(whole, cut);
            struct err_info one, other;
            struct json_steps *s;
            enum err e;
            assert_int_equal(json_parse(&d, text, &one), ERR_BAD_JSON);
            assert_int_equal(json_steps_new(&s, text), ERR_OK);
            while ((e = json_step(s, budget, &d, &other)) == ERR_AGAIN)
                ;
            assert_int_equal(e, ERR_BAD_JSON);
            assert_int_equal(one.offset, other.offset);
            assert_string_equal(one.text, other.text);
            json_steps_free(&s);
        }
}

static void steps_refuse_the_same(void **state)
{
    static const char long_strings[] =
        "[\"a string that is longer than a few vectors of bytes, then \xe4\xbd\xa0\xe5\xa5\xbd and "
        "\xf0\x9f\x99\x82, an escape \\n in between, and at its end \xc3\xa9\",\"another one, "
        "plain, "
        "of more than thirty-two bytes, so that it is skipped in blocks\"]";
    static const char escapes[] =
        "[\"\\r and \\n and \\t and \\u4f60 then\\r\\n\\\\ more of it, \\r\\n up to the last of "
        "them: "
        "\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\\t\"]";
    refuses_prefixes_the_same(step_text, sizeof step_text - 3, 40);
    refuses_prefixes_the_same(long_strings, sizeof long_strings - 1, 100);
    refuses_prefixes_the_same(escapes, sizeof escapes - 1, 100);
}

/* Every prefix, ending right before a page that cannot be read. */
static void never_reads_past_the_end(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = strlen(step_text);
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + page, page, PROT_NONE), 0);
    struct json_doc d;
    for (size_t cut = 0; cut <= n; cut++) {
        memcpy(p + page - cut, step_text, cut);
        assert_int_equal(json_parse(&d, str_make(p + page - cut, cut), NULL),
                         cut + 2 >= n ? ERR_OK : ERR_BAD_JSON);
    }
    memcpy(p + page - 4, "-1e5", 4);
    double v;
    assert_int_equal(json_parse(&d, str_make(p + page - 4, 4), NULL), ERR_OK);
    assert_true(json_double(&d, 0, &v) && v == -1e5);
    munmap(p, 2 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_members_and_elements),
        cmocka_unit_test(records_the_tape),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(unescapes),
        cmocka_unit_test(compares_keys_unescaped_and_counts_them),
        cmocka_unit_test(refuses_and_says_where),
        cmocka_unit_test(limits_depth),
        cmocka_unit_test(limits_numbers_and_values),
        cmocka_unit_test(parses_onto_given_entries),
        cmocka_unit_test(keeps_quiet_after_the_first_parse),
        cmocka_unit_test(gives_a_long_tape_back),
        cmocka_unit_test(survives_a_refusing_heap),
        cmocka_unit_test(each_thread_has_its_tape),
        cmocka_unit_test(steps_equal_one_go),
        cmocka_unit_test(steps_end_inside_a_string_of_escapes),
        cmocka_unit_test(a_narrow_string_holds_no_wide_character),
        cmocka_unit_test(steps_refuse_the_same),
        cmocka_unit_test(never_reads_past_the_end),
    };
    return cmocka_run_group_tests_name("json_read", tests, NULL, NULL);
}
