/* surface: every path of every shape, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/surface.h"

static const struct {
    const char *method, *path;
    enum err err;
    enum llm_op op;
    const char *name;
} cases[] = {
    {"POST", "/v1/chat/completions", ERR_OK, OP_CHAT, NULL},
    {"POST", "/api/v1/chat/completions", ERR_OK, OP_CHAT, NULL},
    {"POST", "/api/v1/proxy/chat/completions", ERR_OK, OP_CHAT, NULL},
    {"POST", "/openai/v1/responses", ERR_OK, OP_RESPONSES, NULL},
    {"POST", "/openai/responses", ERR_OK, OP_RESPONSES, NULL},
    {"POST", "/openai/deployments/gpt%2D4o/embeddings", ERR_OK, OP_EMBEDDINGS, "gpt%2D4o"},
    {"GET", "/v1/models", ERR_OK, OP_MODELS, NULL},
    {"HEAD", "/v1/models", ERR_OK, OP_MODELS, NULL},
    {"GET", "/v1/models/org/name:1", ERR_OK, OP_MODEL, "org/name:1"},
    {"GET", "/v1beta/models", ERR_OK, OP_MODELS, NULL},
    {"GET", "/v1beta/models/g", ERR_OK, OP_MODEL, "g"},
    {"GET", "/v1beta/models/org/name:1", ERR_OK, OP_MODEL, "org/name:1"},
    {"HEAD", "/v1beta/tunedModels/t", ERR_OK, OP_MODEL, "tunedModels/t"},
    {"POST", "/v1beta/models/org/name:1:generateContent", ERR_OK, OP_GENERATE, "org/name:1"},
    {"POST", "/v1beta/models/g:noSuchVerb", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/v1beta/models/g", ERR_METHOD_NOT_ALLOWED, OP_NONE, NULL},
    {"GET", "/v1/chat/completions", ERR_METHOD_NOT_ALLOWED, OP_CHAT, NULL},
    {"POST", "/v1/models", ERR_METHOD_NOT_ALLOWED, OP_MODELS, NULL},
    {"POST", "/v1/chat/completions/", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/v1//chat/completions", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/v1/../v1/chat/completions", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/v1/chat%2fcompletions", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/v1/chat/completions;x", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/openai/deployments//chat/completions", ERR_NOT_FOUND, OP_NONE, NULL},
    {"POST", "/V1/chat/completions", ERR_NOT_FOUND, OP_NONE, NULL},
    {"DELETE", "/health", ERR_METHOD_NOT_ALLOWED, OP_NONE, NULL},
};

static void paths_lead_where_they_should(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct surface s;
        const char *allow = NULL;
        enum err e = surface_find(str_c(cases[i].method), str_c(cases[i].path), &s, &allow);
        if (e != cases[i].err)
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, err_name(e));
        if (e == ERR_METHOD_NOT_ALLOWED)
            assert_non_null(allow);
        if (e)
            continue;
        assert_int_equal(s.op, cases[i].op);
        assert_true(str_eq(s.name, str_c(cases[i].name)));
    }
}

static void only_one_path_forces_a_stream(void **state)
{
    struct surface s;
    const char *allow;
    assert_int_equal(surface_find(STR("POST"), STR("/api/v1/chat/completions/stream"), &s, &allow),
                     ERR_OK);
    assert_true(s.force_stream);
    assert_int_equal(surface_find(STR("POST"), STR("/v1/chat/completions"), &s, &allow), ERR_OK);
    assert_false(s.force_stream);
}

static void only_gemini_streams_arrays_and_only_unasked(void **state)
{
    static const struct {
        const char *path, *query;
        bool array;
    } asks[] = {
        {"/v1beta/models/g:streamGenerateContent", NULL, true},
        {"/v1/models/g:streamGenerateContent", "alt=json&key=x", true},
        {"/v1beta/models/g:streamGenerateContent", "alt=ssee", true},
        {"/v1beta/models/g:streamGenerateContent", "key=x&alt=sse", false},
        {"/v1beta/models/g:streamGenerateContent", "$alt=sse", false},
        {"/v1beta/models/g:streamGenerateContent", "%24alt=sse&x", false},
        {"/v1beta/models/g:generateContent", NULL, false},
        {"/v1/chat/completions", NULL, false},
        {"/v1/chat/completions/stream", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        struct surface s;
        const char *allow;
        enum err e = surface_find(STR("POST"), str_c(asks[i].path), &s, &allow);
        assert_int_equal(e, ERR_OK);
        surface_query(&s, asks[i].query ? str_c(asks[i].query) : STR_NULL);
        if (s.array != asks[i].array)
            fail_msg("%s?%s", asks[i].path, asks[i].query ? asks[i].query : "");
    }
}

static void names_are_decoded_once(void **state)
{
    struct arena a;
    struct str out;
    arena_init(&a, 4096);
    assert_true(surface_decode(STR("a%2Fb%252F"), &a, &out));
    assert_true(str_eq(out, STR("a/b%2F")));
    assert_false(surface_decode(STR("a%0A"), &a, &out));
    assert_false(surface_decode(STR("a%2"), &a, &out));
    assert_false(surface_decode(STR("a%zz"), &a, &out));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_where_they_should),
        cmocka_unit_test(only_one_path_forces_a_stream),
        cmocka_unit_test(only_gemini_streams_arrays_and_only_unasked),
        cmocka_unit_test(names_are_decoded_once),
    };
    return cmocka_run_group_tests_name("surface", tests, NULL, NULL);
}
