/* How many tokens a value will be: bytes of text apart from what is counted one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "llm/estimate.h"

static const struct {
    const char *json;
    unsigned bytes, tokens, images;
} cases[] = {
    {"\"four\"", 4, 0, 0},
    {"{\"role\":\"user\"}", 8, 0, 0},
    {"[1,2.5,-3]", 0, 3, 0},
    {"\"\\n\"", 2, 0, 0},
    {"\"\\u4f60\\u00e9\"", 2, 1, 0},
    {"\"\xe4\xbd\xa0\xe5\xa5\xbd!\"", 1, 2, 0},
    {"\"\xc3\xa9\xe2\x82\xac\"", 5, 0, 0},
    /* an image by its address; the key counts as text */
    {"{\"image_url\":\"https://x.test/a.png\"}", 9, 765, 1},
    {"{\"image_url\":{\"url\":\"http://x.test/a.png\"}}", 12, 765, 1},
    {"{\"image_url\":{\"detail\":\"low\",\"url\":\"http://x.test/\"}}", 9 + 6 + 3 + 3, 765, 1},
    {"{\"image_url\":{\"detail\":\"low\"},\"text\":\"http://x.test/\"}", 9 + 6 + 3 + 4 + 14, 0, 0},
    {"{\"url\":\"http://x.test/a.png\"}", 3 + 19, 0, 0},
    {"{\"imageXurl\":\"http://x.test/\"}", 9 + 14, 0, 0},
    {"[{\"image_url\":\"http://a\"},{\"text\":\"http://b\"}]", 9 + 4 + 8, 765, 1},
    /* within data: an image within bounds, another file by its size */
    {"\"data:image/png;base64,AAAA\"", 0, 85, 1},
    {"\"data:text/plain;base64,AAAA\"", 0, 85, 0},
    {"\"data: the four values\"", 21, 0, 0},
    {"\"dat\"", 3, 0, 0},
    {"\"\"", 0, 0, 0},
    /* sound is not text */
    {"{\"input_audio\":{\"data\":\"AAAAAAAA\",\"format\":\"wav\"}}", 0, 1, 0},
    {"{\"input_audiO\":{\"data\":\"AAAAAAAA\"}}", 11 + 4 + 8, 0, 0},
};

static void counts_what_a_model_reads(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* inside of a longer text, so that strings are read in wide steps, too */
        char text[256];
        snprintf(text, sizeof text, "{\"k\":%s,\"more\":\"%060d\"}", cases[i].json, 0);
        struct json_doc d;
        struct estimate e = {0};
        unsigned images = 0;
        assert_int_equal(json_parse(&d, str_c(text), NULL), ERR_OK);
        estimate_add_value(&e, &d, json_get(&d, json_root(&d), STR("k")), &images);
        if (e.bytes != cases[i].bytes || e.tokens != cases[i].tokens || images != cases[i].images)
            fail_msg("%s: %u bytes, %u tokens, %u images", cases[i].json, (unsigned)e.bytes,
                     (unsigned)e.tokens, images);
    }
}

static void divides_bytes_and_adds_the_rest(void **state)
{
    assert_int_equal(estimate_tokens(&(struct estimate){0}), 0);
    assert_int_equal(estimate_tokens(&(struct estimate){.bytes = 1}), 1);
    assert_int_equal(estimate_tokens(&(struct estimate){.bytes = 33}), 10);
    assert_int_equal(estimate_tokens(&(struct estimate){.bytes = 34, .tokens = 5}), 16);
    assert_int_equal(estimate_tokens(&(struct estimate){.tokens = UINT64_C(1) << 40}), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_a_model_reads),
        cmocka_unit_test(divides_bytes_and_adds_the_rest),
    };
    return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
