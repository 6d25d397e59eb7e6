/* fuzz_responses_request: any bytes.  What is read as a Responses request must be written again for
 * every kind of model, keep to the form's rules, and mean the same when it is read and written once
 * more. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

/* The rules that the real upstream would refuse a body for. */
static void check_body(const struct json_doc *d)
{
    uint32_t input = json_get(d, 0, STR("input")), before = JSON_NONE;
    bool stored = true;
    must(json_bool(d, json_get(d, 0, STR("store")), &stored) && !stored);
    must(json_is(d, input, JSON_ARRAY));
    for (uint32_t i = json_child(d, input); i != JSON_NONE; i = json_sibling(d, input, i)) {
        uint32_t type = json_get(d, i, STR("type"));
        bool call = json_string_is(d, type, STR("function_call"));
        if (call || json_string_is(d, type, STR("function_call_output"))) {
            struct str id = json_raw(d, json_get(d, i, STR("call_id")));
            must(id.n > 2 && id.n <= 66);
        }
        if (json_string_is(d, before, STR("reasoning")))
            must(call || json_string_is(d, type, STR("reasoning")) ||
                 json_string_is(d, json_get(d, i, STR("role")), STR("assistant")));
        before = type;
    }
    must(!json_string_is(d, before, STR("reasoning")));
}

/* False: it cannot be sent. */
static bool write(struct neutral_request *r, const struct target *t, struct arena *a, struct buf *b)
{
    struct receipt receipt = {.n = 0};
    struct link link;
    struct err_info info;
    err_info_init(&info);
    enum err e = codec_responses.write_request(r, t, a, b, &receipt, &link, &info);
    must(e == ERR_OK || e == ERR_NOMEM || (e == ERR_INVALID && info.text[0] && info.field[0]));
    return e == ERR_OK;
}

static void write_twice(struct neutral_request *r, const struct target *t, struct arena *a)
{
    struct neutral_request back;
    struct json_doc d;
    struct err_info info;
    struct buf one, two;
    buf_init(&one, (size_t)16 << 20);
    buf_init(&two, (size_t)16 << 20);
    err_info_init(&info);
    if (write(r, t, a, &one)) {
        must(json_parse(&d, buf_view(&one), NULL) == ERR_OK);
        check_body(&d);
        enum err e = codec_responses.read_request(&back, &d, STR_NULL, a, &info);
        must(e == ERR_OK || e == ERR_NOMEM);
        if (!e && write(&back, t, a, &two))
            must(str_eq(buf_view(&one), buf_view(&two)));
    }
    buf_release(&one);
    buf_release(&two);
}

static void write_all(struct neutral_request *r, struct arena *a)
{
    static const uint8_t styles[] = {THINK_UNKNOWN, THINK_NONE, THINK_EFFORT};
    static const uint32_t rules[] = {0, RULE_DEVELOPER_ROLE | RULE_FIXED_SAMPLING,
                                     RULE_NO_PARALLEL_SWITCH | RULE_FIXED_SAMPLING_THINKING};
    for (size_t i = 0; i < 3; i++) {
        struct model_caps caps = {.thinking = styles[i], .rules = rules[i]};
        struct target t = {
            .model = STR("m"), .provider = STR("openai"), .caps = &caps, .stream = i & 1};
        write_twice(r, &t, a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neutral_request r;
    struct json_doc d;
    struct arena a;
    struct err_info info;
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    arena_init(&a, (size_t)64 << 20);
    err_info_init(&info);
    if (json_parse(&d, str_make(exact, size), NULL) == ERR_OK) {
        enum err e = codec_responses.read_request(&r, &d, STR_NULL, &a, &info);
        must(e == ERR_OK || e == ERR_INVALID);
        must(e == ERR_OK || info.text[0]);
        must(info.offset < (int64_t)size);
        if (!e) {
            write_all(&r, &a);
            r.op = size & 1 ? OP_CHAT : OP_MESSAGES; /* as if from another form */
            write_all(&r, &a);
        }
    }
    arena_release(&a);
    free(exact);
    return 0;
}
