/* fuzz_anthropic_request: any bytes.  What is read as a Messages request must be written again for
 * every kind of model, keep to the form's rules, and be read again without complaint. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static const struct codec *const codecs[] = {&codec_messages, &codec_count_tokens};

/* cache_control marks in a value. */
static unsigned marks(const struct json_doc *d)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < d->n; i++)
        n += d->e[i].flags & JSON_KEY && json_string_is(d, i, STR("cache_control")) &&
             json_is(d, i + 1, JSON_OBJECT);
    return n;
}

/* The rules that a real upstream would refuse a body for. */
static void check_body(const struct json_doc *d, const struct codec *c, bool raw_tools)
{
    uint32_t messages = json_get(d, 0, STR("messages")), m = json_child(d, messages);
    bool user = false;
    must(m != JSON_NONE && json_string_is(d, json_get(d, m, STR("role")), STR("user")));
    for (; m != JSON_NONE; m = json_sibling(d, messages, m)) {
        bool now = json_string_is(d, json_get(d, m, STR("role")), STR("user"));
        must(now != user);
        user = now;
        uint32_t content = json_get(d, m, STR("content"));
        must(json_is(d, content, JSON_STRING) || json_child(d, content) != JSON_NONE);
    }
    /* what a provider's own tool or an unknown field holds is not ours to count */
    must(raw_tools || marks(d) <= 4);
    must((json_get(d, 0, STR("max_tokens")) == JSON_NONE) == (c->op == OP_COUNT_TOKENS));
}

static void write_for(struct neutral_request *r, const struct target *t, const struct codec *c,
                      struct arena *a)
{
    struct receipt receipt = {.n = 0};
    struct link link;
    struct err_info info;
    struct json_doc d;
    struct neutral_request again;
    struct buf b;
    bool raw = r->extras != NULL;
    for (const struct tool *tool = r->tools; tool; tool = tool->next)
        raw |= tool->kind.n > 0;
    buf_init(&b, (size_t)16 << 20);
    err_info_init(&info);
    enum err e = c->write_request(r, t, a, &b, &receipt, &link, &info);
    must(e == ERR_OK || (e == ERR_INVALID && info.text[0] && info.field[0]) || e == ERR_NOMEM);
    if (!e) {
        must(json_parse(&d, buf_view(&b), NULL) == ERR_OK);
        check_body(&d, c, raw);
        if (!raw) {
            e = c->read_request(&again, &d, STR_NULL, a, &info);
            if (e == ERR_INVALID)
                fprintf(stderr, "%s\n%.*s\n", info.text, STR_FMT(buf_view(&b)));
            must(e == ERR_OK || e == ERR_NOMEM);
        }
    }
    buf_release(&b);
}

static void write_all(struct neutral_request *r, const struct codec *c, struct arena *a)
{
    static const uint8_t styles[] = {THINK_UNKNOWN, THINK_NONE,     THINK_BUDGET,
                                     THINK_EITHER,  THINK_ADAPTIVE, THINK_TOGGLE};
    static const uint32_t rules[] = {0, RULE_NO_PREFILL | RULE_JSON_SCHEMA_NATIVE,
                                     RULE_THINKING_CANNOT_BE_OFF | RULE_NO_PARALLEL_SWITCH};
    for (size_t i = 0; i < sizeof styles; i++) {
        struct model_caps caps = {
            .thinking = styles[i], .rules = rules[i % 3], .output_tokens = i & 1 ? 8192 : 0};
        struct target t = {.model = STR("m"),
                           .provider = i == 5 ? STR("deepseek") : STR("anthropic"),
                           .caps = &caps,
                           .stream = i & 1};
        write_for(r, &t, c, a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct codec *c = codecs[size & 1];
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
        enum err e = c->read_request(&r, &d, STR_NULL, &a, &info);
        must(e == ERR_OK || e == ERR_INVALID);
        must(e == ERR_OK || info.text[0]);
        must(info.offset < (int64_t)size);
        if (!e) {
            write_all(&r, c, &a);
            r.op = size & 2 ? OP_CHAT : OP_GENERATE; /* as if from another dialect */
            write_all(&r, &codec_messages, &a);
        }
    }
    arena_release(&a);
    free(exact);
    return 0;
}
