/* neutral: shaping turns, arguments that are no object, receipts, and signatures on their way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "llm/carry.h"

static struct arena a;

static int setup(void **state)
{
    (void)state;
    arena_init(&a, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&a);
    return 0;
}

static void joins_neighbours_and_names_results(void **state)
{
    struct neutral_request r;
    (void)state;
    neutral_request_init(&r, OP_CHAT);
    struct turn *t = neutral_turn(&a, ROLE_ASSISTANT, &r.turns);
    struct part *call = neutral_part(&a, PART_TOOL_USE, &t->parts);
    call->id = STR("c1");
    call->name = STR("find");
    for (int i = 0; i < 2; i++) {
        t = neutral_turn(&a, ROLE_USER, &r.turns);
        neutral_part(&a, PART_TOOL_RESULT, &t->parts)->id = i ? STR("c1") : STR("unknown");
    }
    neutral_merge(&r);
    neutral_link(&r);
    assert_null(r.turns->next->next);
    struct part *results = r.turns->next->parts;
    assert_int_equal(results->name.n, 0);
    assert_true(str_eq(results->next->name, STR("find")));
    assert_null(results->next->next);
}

static void makes_objects_of_arguments(void **state)
{
    (void)state;
    assert_true(str_eq(neutral_args_object(STR_NULL, &a), STR("{}")));
    assert_true(str_eq(neutral_args_object(STR(" {\"a\":1} "), &a), STR("{\"a\":1}")));
    assert_true(
        str_eq(neutral_args_object(STR("{\"a\":"), &a), STR("{\"arguments\":\"{\\\"a\\\":\"}")));
    assert_true(str_eq(neutral_args_object(STR("[1]"), &a), STR("{\"arguments\":\"[1]\"}")));
}

static void names_each_dropped_field_once(void **state)
{
    struct receipt r = {0};
    (void)state;
    receipt_add(&r, "seed");
    receipt_add(&r, "n");
    receipt_add(&r, "seed");
    assert_string_equal(r.names, "seed,n");
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "field%d", i);
        receipt_add(&r, name);
    }
    assert_true(r.n < sizeof r.names && r.names[r.n] == 0);
}

static void names_in_a_receipt_are_fit_for_a_header(void **state)
{
    struct receipt r = {0};
    (void)state;
    receipt_add(&r, "tools[0].x");
    receipt_add(&r, "a\r\nset-cookie: b");
    receipt_add(&r, "a,b");
    receipt_add(&r, "");
    receipt_add(&r, "\xC3\xA4");
    assert_string_equal(r.names, "tools[0].x,unknown");
}

static void carries_signatures_in_ids(void **state)
{
    struct str id, sig;
    enum issuer issuer;
    (void)state;
    struct str joined = carry_id_join(STR("call_1"), ISSUER_GEMINI, STR("s+/="), &a);
    assert_true(str_eq(joined, STR("call_1_lyss-gemini-cysvPQ")));
    carry_id_split(joined, &id, &issuer, &sig, &a);
    assert_true(str_eq(id, STR("call_1")) && str_eq(sig, STR("s+/=")));
    assert_int_equal(issuer, ISSUER_GEMINI);
    /* what nobody of ours made stays as it is */
    static const char *const plain[] = {"call_2", "x_lyss-", "x_lyss-foo-Zg", "x_lyss-gemini-%%"};
    for (size_t i = 0; i < 4; i++) {
        carry_id_split(str_c(plain[i]), &id, &issuer, &sig, &a);
        assert_true(str_eq(id, str_c(plain[i])) && issuer == ISSUER_NONE && !sig.n);
    }
}

static void carries_signatures_in_fields(void **state)
{
    struct str sig;
    enum issuer issuer;
    (void)state;
    struct str own = carry_signature_join(STR("abc"), ISSUER_ANTHROPIC, ISSUER_ANTHROPIC, &a);
    assert_true(str_eq(own, STR("abc")));
    struct str foreign = carry_signature_join(STR("abc"), ISSUER_GEMINI, ISSUER_ANTHROPIC, &a);
    assert_true(str_eq(foreign, STR("lyss-gemini:abc")));
    carry_signature_split(foreign, ISSUER_ANTHROPIC, &issuer, &sig);
    assert_true(issuer == ISSUER_GEMINI && str_eq(sig, STR("abc")));
    carry_signature_split(own, ISSUER_ANTHROPIC, &issuer, &sig);
    assert_true(issuer == ISSUER_ANTHROPIC && str_eq(sig, STR("abc")));
    carry_signature_split(STR_NULL, ISSUER_ANTHROPIC, &issuer, &sig);
    assert_int_equal(issuer, ISSUER_NONE);
}

static void fits_ids(void **state)
{
    (void)state;
    assert_true(str_eq(carry_id_fit(STR("call-1_a"), 64, &a), STR("call-1_a")));
    struct str one = carry_id_fit(STR("call:1"), 64, &a), two = carry_id_fit(STR("call:2"), 64, &a);
    assert_int_equal(one.n, 21);
    assert_false(str_eq(one, two));
    assert_true(str_eq(one, carry_id_fit(STR("call:1"), 64, &a)));
    assert_int_equal(carry_id_fit(STR("call_12345"), 5, &a).n, 21);
}

static void chooses_what_to_ask_for(void **state)
{
    (void)state;
    assert_int_equal(op_serve(OP_CHAT, OP_BIT(OP_MESSAGES) | OP_BIT(OP_CHAT)), OP_CHAT);
    assert_int_equal(op_serve(OP_CHAT, OP_BIT(OP_MESSAGES)), OP_MESSAGES);
    assert_int_equal(op_serve(OP_MESSAGES, OP_BIT(OP_GENERATE) | OP_BIT(OP_EMBEDDINGS)),
                     OP_GENERATE);
    assert_int_equal(op_serve(OP_EMBEDDINGS, OP_BIT(OP_CHAT)), OP_NONE);
    assert_int_equal(op_serve(OP_EMBEDDINGS, OP_BIT(OP_GEMINI_EMBEDS)), OP_GEMINI_EMBEDS);
    assert_int_equal(op_serve(OP_MODELS, OP_BIT(OP_MODEL)), OP_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_neighbours_and_names_results),
        cmocka_unit_test(makes_objects_of_arguments),
        cmocka_unit_test(names_each_dropped_field_once),
        cmocka_unit_test(names_in_a_receipt_are_fit_for_a_header),
        cmocka_unit_test(carries_signatures_in_ids),
        cmocka_unit_test(carries_signatures_in_fields),
        cmocka_unit_test(fits_ids),
        cmocka_unit_test(chooses_what_to_ask_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
