/* override: what a channel sets, over bodies and heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/buf.h"
#include "llm/override.h"

static void bodies(void **state)
{
    static const struct {
        const char *params, *body, *want;
        enum err err;
    } rows[] = {
        {"{\"temperature\":0}", "{\"temperature\":1,\"m\":[ 1,{\"temperature\":2} ]}",
         "{\"m\":[ 1,{\"temperature\":2} ],\"temperature\":0}", ERR_OK},
        {"{\"a\":{\"b\" : [1]},\"c\":\"x\"}", " { \"z\" : 1.50 } ",
         "{\"z\":1.50,\"a\":{\"b\" : [1]},\"c\":\"x\"}", ERR_OK},
        {"{\"a\":null,\"b\":null}", "{\"a\":1,\"c\":2,\"a\":3}", "{\"c\":2}", ERR_OK},
        {"{\"a\":null}", "{\"a\":1}", "{}", ERR_OK},
        {"{\"a\":1}", "{}", "{\"a\":1}", ERR_OK},
        /* the same name, otherwise written */
        {"{\"a\\u0062\":1}", "{\"\\u0061b\":2,\"a\":\"ab\"}", "{\"a\":\"ab\",\"ab\":1}", ERR_OK},
        {"{\"a\\\"\\n\":1}", "{}", "{\"a\\\"\\n\":1}", ERR_OK},
        {"{\"a\":1}", "[1]", NULL, ERR_BAD_JSON},
        {"{\"a\":1}", "{\"b\":", NULL, ERR_BAD_JSON},
    };
    struct arena a;
    struct buf b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct overrides o;
        buf_reset(&b);
        assert_int_equal(overrides_read_params(&o, str_c(rows[i].params), &a, NULL), ERR_OK);
        unsigned n = 0;
        enum err e = overrides_put_body(&o, str_c(rows[i].body), NULL, &n, &b);
        print_message("%s over %s\n", rows[i].params, rows[i].body);
        assert_int_equal(e, rows[i].err);
        if (!e)
            assert_string_equal(b.p, rows[i].want);
    }
    arena_release(&a);
    buf_release(&b);
}

/* Edits stay where their members stay, at their new place. */
static void edits_move_along(void **state)
{
    static const char body[] = "{ \"a\": 0, \"b\":[0,\"x0y\"], \"c\":0,\"d\":\"\" }";
    static const char want[] = "{\"b\":[LONG,\"xSTRINGy\"],\"d\":\"LENT\",\"a\":9}";
    static const char *const what[] = {"gone", "LONG", "STRING", "gone", "LENT"};
    struct edit e[5];
    unsigned n = 0;
    for (const char *p = body; n < 4; p++)
        if (*p == '0') {
            e[n] = (struct edit){(uint32_t)(p - body), 1, str_c(what[n])};
            n++;
        }
    e[n++] = (struct edit){sizeof body - 1 - 3, 0, STR("LENT")};
    struct arena a;
    struct buf out, text;
    struct overrides o;
    arena_init(&a, 1 << 16);
    buf_init(&out, 4096);
    buf_init(&text, 4096);
    assert_int_equal(overrides_read_params(&o, STR("{\"a\":9,\"c\":null}"), &a, NULL), ERR_OK);
    assert_int_equal(overrides_put_body(&o, str_c(body), e, &n, &out), ERR_OK);
    assert_int_equal(n, 3);
    edits_write(buf_view(&out), e, n, &text);
    assert_string_equal(text.p, want);
    buf_release(&text);
    buf_release(&out);
    arena_release(&a);
}

/* As many as may be, and names that grow most, stay within the bound. */
static void the_bound_holds(void **state)
{
    struct arena a;
    struct buf json, out;
    struct overrides o;
    arena_init(&a, 1 << 20);
    buf_init(&json, 16384);
    buf_lit(&json, "{");
    for (int i = 0; i < OVERRIDES_MAX; i++) {
        buf_printf(&json, "%s\"%d", i ? "," : "", i);
        for (int k = 0; k < 115; k++)
            buf_lit(&json, "\\b"); /* as short as it is long when it is written out */
        buf_lit(&json, "\":1");
    }
    buf_lit(&json, "}");
    assert_false(buf_failed(&json));
    assert_int_equal(overrides_read_params(&o, buf_view(&json), &a, NULL), ERR_OK);
    assert_int_equal(o.n, OVERRIDES_MAX);
    buf_init(&out, 2 + OVERRIDES_BYTES_MAX);
    unsigned n = 0;
    assert_int_equal(overrides_put_body(&o, STR("{}"), NULL, &n, &out), ERR_OK);
    buf_release(&out);
    buf_init(&out, 100);
    assert_int_equal(overrides_put_body(&o, STR("{}"), NULL, &n, &out), ERR_NOMEM);
    json.n--;
    buf_lit(&json, ",\"one more\":1}");
    assert_int_equal(overrides_read_params(&o, buf_view(&json), &a, NULL), ERR_INVALID);
    buf_release(&out);
    buf_release(&json);
    arena_release(&a);
}

static void heads(void **state)
{
    struct arena a;
    struct buf b;
    struct overrides o;
    arena_init(&a, 1 << 16);
    buf_init(&b, 4096);
    assert_int_equal(
        overrides_read_headers(&o, STR("{\"User-Agent\":\"x\",\"x-team\":\"blue\"}"), &a, NULL),
        ERR_OK);
    buf_lit(&b, "POST / HTTP/1.1\r\nX-Team: first\r\n");
    size_t from = b.n;
    buf_lit(&b, "Accept: a\r\nuser-agent: lyss\r\nX-Teams: many\r\nX-TEAM: red\r\n");
    overrides_put_lines(&o, &b, from);
    assert_string_equal(b.p, "POST / HTTP/1.1\r\nX-Team: first\r\nAccept: a\r\nX-Teams: many\r\n"
                             "User-Agent: x\r\nx-team: blue\r\n");
    assert_int_equal(overrides_read_headers(&o, STR(""), &a, NULL), ERR_OK);
    size_t n = b.n;
    overrides_put_lines(&o, &b, from);
    assert_int_equal(b.n, n);
    arena_release(&a);
    buf_release(&b);
}

static void what_is_refused(void **state)
{
    static const struct {
        bool header;
        const char *json;
    } rows[] = {
        {false, "[]"},
        {false, "1"},
        {false, "{"},
        {false, "{\"model\":\"x\"}"},
        {false, "{\"\\u006dodel\":\"x\"}"},
        {false, "{\"stream\":null}"},
        {false, "{\"a\":1,\"\\u0061\":2}"},
        {true, "[]"},
        {true, "{\"\":\"x\"}"},
        {true, "{\"a b\":\"x\"}"},
        {true, "{\"a:\":\"x\"}"},
        {true, "{\"a\":null}"},
        {true, "{\"a\":\"x\\r\\nb: c\"}"},
        {true, "{\"a\":\"\\u0000\"}"},
        {true, "{\"Content-Length\":\"1\"}"},
        {true, "{\"transfer-encoding\":\"chunked\"}"},
        {true, "{\"hOST\":\"a\"}"},
        {true, "{\"connection\":\"close\"}"},
        {true, "{\"X-Goog-Api-Key\":\"a\"}"},
    };
    struct arena a;
    arena_init(&a, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct overrides o;
        struct err_info info;
        err_info_init(&info);
        enum err e = rows[i].header ? overrides_read_headers(&o, str_c(rows[i].json), &a, &info)
                                    : overrides_read_params(&o, str_c(rows[i].json), &a, &info);
        print_message("%s: %s\n", rows[i].json, info.text);
        assert_true(e == ERR_INVALID || e == ERR_BAD_JSON);
        assert_true(info.text[0]);
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),          cmocka_unit_test(edits_move_along),
        cmocka_unit_test(the_bound_holds), cmocka_unit_test(heads),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
