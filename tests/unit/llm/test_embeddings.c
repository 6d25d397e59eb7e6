/* embeddings: numbers become the floats that strtof makes of them, to the last bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base64.h"
#include "core/rng.h"
#include "llm/codec.h"

#define NUMBERS 20000

/* Numbers as upstreams write them, and a few between two floats. */
static void write_numbers(struct buf *out, float *want)
{
    static const char *const odd[] = {"0",
                                      "-0.0",
                                      "1",
                                      "-1e-3",
                                      "1E2",
                                      "1e-45",
                                      "16777217",
                                      "0.1",
                                      "-16777219",
                                      "1e39",
                                      "0.5000000298023224",
                                      "123456789012345.6"};
    enum { ODD = sizeof odd / sizeof *odd };
    rng_seed(5);
    buf_char(out, '[');
    for (unsigned i = 0; i < NUMBERS; i++) {
        char text[64];
        double unit = (double)(rng_u64() >> 11) / 9007199254740992.0 - 0.5;
        if (i < ODD)
            str_copy(text, sizeof text, str_c(odd[i]));
        else
            snprintf(text, sizeof text, "%.*f", (int)(i % 18), i % 3 ? unit : unit * 1000);
        want[i] = strtof(text, NULL);
        buf_printf(out, "%s%s", i ? ", " : "", text);
    }
    buf_char(out, ']');
}

static void numbers_become_the_nearest_floats(void **state)
{
    static float want[NUMBERS];
    struct buf numbers, out;
    struct arena a;
    struct json_doc d;
    struct str text;
    struct neutral_vector v = {0};
    struct neutral_reply reply = {.vectors = &v};
    struct answer as = {.op = OP_EMBEDDINGS, .base64 = true};
    (void)state;
    arena_init(&a, 4u << 20);
    buf_init(&numbers, 4u << 20);
    buf_init(&out, 4u << 20);
    write_numbers(&numbers, want);
    v.raw = buf_view(&numbers);
    codec_of(OP_EMBEDDINGS)->write_reply(&reply, &as, &a, &out);
    assert_int_equal(json_parse(&d, buf_view(&out), NULL), ERR_OK);
    uint32_t first = json_child(&d, json_get(&d, 0, STR("data")));
    assert_true(json_string(&d, json_get(&d, first, STR("embedding")), &a, &text));
    char *got = arena_alloc(&a, text.n);
    size_t n = 0;
    assert_true(base64_decode(got, &n, text));
    assert_int_equal(n, sizeof want);
    for (size_t i = 0; i < NUMBERS; i++)
        assert_memory_equal(got + i * sizeof *want, &want[i], sizeof *want);
    buf_release(&numbers);
    buf_release(&out);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_become_the_nearest_floats),
    };
    return cmocka_run_group_tests_name("embeddings", tests, NULL, NULL);
}
