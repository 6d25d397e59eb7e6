/* fuzz_gemini_request: any bytes.  What is read as a request of generateContent or countTokens must
 * be written again for every kind of model, keep to the form's rules, and say the same when it is
 * read and written once more. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static const struct codec *const codecs[] = {&codec_generate, &codec_gemini_count};

static const struct model_caps kinds[] = {
    {.thinking = THINK_UNKNOWN},
    {.thinking = THINK_BUDGET,
     .budget_min = 128,
     .budget_max = 24576,
     .output_tokens = 8192,
     .rules = RULE_JSON_NOT_WITH_TOOLS | RULE_THINKING_CANNOT_BE_OFF},
    {.thinking = THINK_LEVEL,
     .efforts = EFFORT_BIT(EFFORT_LOW) | EFFORT_BIT(EFFORT_HIGH),
     .rules = RULE_JSON_SCHEMA_NATIVE | RULE_SIGNATURE_REQUIRED},
    {.thinking = THINK_NONE, .rules = RULE_FIXED_SAMPLING},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static uint32_t body_of(const struct json_doc *d)
{
    uint32_t inner = json_get(d, 0, STR("generateContentRequest"));
    return inner == JSON_NONE ? 0 : inner;
}

/* The rules that a real upstream would refuse a body for. */
static void check_body(const struct json_doc *d)
{
    uint32_t contents = json_get(d, body_of(d), STR("contents")), c = json_child(d, contents);
    must(c != JSON_NONE);
    for (; c != JSON_NONE; c = json_sibling(d, contents, c)) {
        uint32_t role = json_get(d, c, STR("role")), parts = json_get(d, c, STR("parts"));
        unsigned results = 0, n = json_size(d, parts);
        must(json_string_is(d, role, STR("user")) || json_string_is(d, role, STR("model")));
        must(json_is(d, parts, JSON_ARRAY) && n > 0);
        for (uint32_t p = json_child(d, parts); p != JSON_NONE; p = json_sibling(d, parts, p))
            results += json_get(d, p, STR("functionResponse")) != JSON_NONE;
        must(results == 0 || results == n); /* a turn of their own */
    }
    uint32_t config = json_get(d, 0, STR("generationConfig"));
    uint32_t think = json_get(d, config, STR("thinkingConfig"));
    must(json_size(d, json_get(d, config, STR("stopSequences"))) <= 5);
    must(json_get(d, think, STR("thinkingBudget")) == JSON_NONE ||
         json_get(d, think, STR("thinkingLevel")) == JSON_NONE);
}

static enum err write_for(struct neutral_request *r, const struct codec *c,
                          const struct model_caps *caps, struct arena *a, struct buf *out)
{
    const struct target t = {.model = STR("m"), .provider = STR("google"), .caps = caps};
    struct receipt receipt = {.n = 0};
    struct link link = {false};
    struct err_info info;
    struct json_doc d;
    err_info_init(&info);
    enum err e = c->write_request(r, &t, a, out, &receipt, &link, &info);
    must(e == ERR_OK || (e == ERR_INVALID && info.text[0] && info.field[0]) || e == ERR_NOMEM);
    for (unsigned i = 0; i < receipt.n; i++)
        must(receipt.names[i] > ' ' && receipt.names[i] < 0x7f);
    if (!e) {
        must(json_parse(&d, buf_view(out), NULL) == ERR_OK);
        check_body(&d);
    }
    return e;
}

/* Written, read and written again is the same. */
static void there_and_back(struct neutral_request *r, const struct codec *c,
                           const struct model_caps *caps, struct arena *a)
{
    struct neutral_request again;
    struct json_doc d;
    struct buf one, two;
    buf_init(&one, (size_t)32 << 20);
    buf_init(&two, (size_t)32 << 20);
    if (!write_for(r, c, caps, a, &one)) {
        must(json_parse(&d, buf_view(&one), NULL) == ERR_OK);
        must(c->read_request(&again, &d, STR("m"), a, NULL) == ERR_OK);
        enum err e = write_for(&again, c, caps, a, &two);
        must(e == ERR_OK || e == ERR_NOMEM);
    }
    buf_release(&one);
    buf_release(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct codec *c = codecs[size & 1];
    struct neutral_request r;
    struct err_info info;
    struct json_doc d;
    struct arena a;
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    for (size_t k = 0; k < KINDS; k++) {
        arena_init(&a, (size_t)64 << 20);
        err_info_init(&info);
        if (!json_parse(&d, str_make(exact, size), NULL)) {
            enum err e = c->read_request(&r, &d, STR("m"), &a, &info);
            must(e == ERR_OK || e == ERR_INVALID);
            must(e == ERR_OK || info.text[0]);
            must(info.offset <= (int64_t)size);
            if (!e)
                there_and_back(&r, c, &kinds[k], &a);
        }
        arena_release(&a);
    }
    free(exact);
    return 0;
}
