/* explain_form: a question comes back as it was put, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/choose/explain_form.h"
#include "llm/wire_openai_request.h"

#define WHOLE                                                                                      \
    "{\"tenant_id\":7,\"model\":\"m\",\"key_digest\":\"\",\"op\":\"chat\",\"tools\":false,"        \
    "\"vision\":true,\"json_schema\":false,\"thinking\":false,\"estimate_in\":5"

#define TWICE      "\"tenant_id\":7,\"tenant_id\":7,"
#define NINE_TIMES "{" TWICE TWICE TWICE TWICE "\"tenant_id\":7}"

static enum err get(struct explain_query *q, struct str text)
{
    struct arena a;
    arena_init(&a, 1 << 16);
    enum err e = explain_query_get(q, text, &a, NULL);
    q->model = STR_NULL; /* it may have lain there */
    arena_release(&a);
    return e;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct explain_query in = {.tenant_id = INT64_MAX,
                               .model = STR("a \"name\"\n漢字"),
                               .by_key = true,
                               .op = OP_EMBEDDINGS,
                               .needs = NEED_TOOLS | NEED_THINKING,
                               .estimate_in = UINT32_MAX};
    struct explain_query out;
    struct arena a;
    struct buf b;
    for (size_t i = 0; i < sizeof in.digest; i++)
        in.digest[i] = (uint8_t)(i * 37);
    buf_init(&b, 1 << 16);
    arena_init(&a, 1 << 16);
    explain_query_put(&in, &b);
    assert_int_equal(explain_query_get(&out, buf_view(&b), &a, NULL), ERR_OK);
    assert_true(str_eq(in.model, out.model));
    assert_memory_equal(in.digest, out.digest, sizeof in.digest);
    assert_true(out.by_key && out.tenant_id == in.tenant_id && out.op == in.op);
    assert_true(out.needs == in.needs && out.estimate_in == in.estimate_in);
    arena_release(&a);
    buf_release(&b);
}

static void test_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        WHOLE, WHOLE ",\"more\":1}", WHOLE ",\"op\":\"chat\"}", "[]", "null", "{}", NINE_TIMES,
    };
    static const struct {
        const char *was, *is;
    } wrong[] = {{"7", "7.5"},
                 {"7", "\"7\""},
                 {"7", "99999999999999999999"},
                 {"\"m\"", "1"},
                 {"\"\"", "\"00\""},
                 {"\"\"", "\"zz\""},
                 {"\"\"", "null"},
                 {"\"chat\"", "\"dance\""},
                 {"true", "1"},
                 {":5", ":-1"},
                 {":5", ":4294967296"}};
    static const char whole[] = WHOLE "}";
    struct explain_query q;
    char text[512];
    assert_int_equal(get(&q, STR(WHOLE "}")), ERR_OK);
    assert_true(q.tenant_id == 7 && q.needs == NEED_VISION && q.op == OP_CHAT && !q.by_key);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(get(&q, str_c(bad[i])), ERR_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *at = strstr(whole, wrong[i].was);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, wrong[i].is,
                 at + strlen(wrong[i].was));
        assert_int_not_equal(get(&q, str_c(text)), ERR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
