/* lent: a long body in another form. It is what a short one would be, byte for byte, and hardly
 * any of it is copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "llm/codec.h"

#define SHORT_DATA "iVBORw0KGgo="
#define SHORT_TEXT "said, plainly"
#define DATA_BYTES (400u << 10)
#define TEXT_BYTES (100u << 10)
#define COPIED_MAX 4096
#define ARENA_MAX  (16u << 20)

/* An image, a document, and a text in the user's, the assistant's and the system's words. */
static const struct {
    enum llm_op op;
    const char *body;
} forms[] = {
    {OP_CHAT,
     "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"" SHORT_TEXT "\"},"
     "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" SHORT_TEXT "\"},"
     "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64," SHORT_DATA "\"}},"
     "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
     "\"data:application/pdf;base64," SHORT_DATA "\"}}]},"
     "{\"role\":\"assistant\",\"content\":\"" SHORT_TEXT "\"},"
     "{\"role\":\"user\",\"content\":\"" SHORT_TEXT "\"}]}"},
    {OP_RESPONSES,
     "{\"model\":\"m\",\"instructions\":\"" SHORT_TEXT "\",\"input\":["
     "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"" SHORT_TEXT "\"},"
     "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64," SHORT_DATA "\"},"
     "{\"type\":\"input_file\",\"filename\":\"a.pdf\",\"file_data\":"
     "\"data:application/pdf;base64," SHORT_DATA "\"}]},"
     "{\"role\":\"assistant\",\"content\":\"" SHORT_TEXT "\"},"
     "{\"role\":\"user\",\"content\":\"" SHORT_TEXT "\"}]}"},
    {OP_MESSAGES,
     "{\"model\":\"m\",\"max_tokens\":9,\"system\":\"" SHORT_TEXT "\",\"messages\":["
     "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" SHORT_TEXT "\"},"
     "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
     "\"data\":\"" SHORT_DATA "\"}},"
     "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\","
     "\"data\":\"" SHORT_DATA "\"}}]},"
     "{\"role\":\"assistant\",\"content\":\"" SHORT_TEXT "\"},"
     "{\"role\":\"user\",\"content\":\"" SHORT_TEXT "\"}]}"},
    {OP_GENERATE,
     "{\"systemInstruction\":{\"parts\":[{\"text\":\"" SHORT_TEXT "\"}]},\"contents\":["
     "{\"role\":\"user\",\"parts\":[{\"text\":\"" SHORT_TEXT "\"},"
     "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"" SHORT_DATA "\"}},"
     "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"" SHORT_DATA "\"}}]},"
     "{\"role\":\"model\",\"parts\":[{\"text\":\"" SHORT_TEXT "\"}]},"
     "{\"role\":\"user\",\"parts\":[{\"text\":\"" SHORT_TEXT "\"}]}]}"},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* The long text has escapes, as every long one does, in the spelling that Lyss itself writes. */
static struct str long_data, long_text;

static struct str fill(const char *unit, size_t bytes)
{
    size_t n = strlen(unit), times = bytes / n;
    char *p = mem_must(times * n + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(p + i * n, unit, n);
    return str_make(p, times * n);
}

static int setup(void **state)
{
    (void)state;
    long_data = fill("iVBORw0KGgoAAAANSUhE+/19", DATA_BYTES);
    long_text = fill("She said \\\"no\\\" – twice –\\n\\tand left C:\\\\home, 漢字.", TEXT_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free((char *)long_data.p);
    free((char *)long_text.p);
    return 0;
}

/* in with each short string replaced by the long one. */
static void lengthen(struct str in, struct buf *out)
{
    while (in.n) {
        ptrdiff_t data = str_find(in, STR(SHORT_DATA)), text = str_find(in, STR(SHORT_TEXT));
        bool is_data = data >= 0 && (text < 0 || data < text);
        ptrdiff_t at = is_data ? data : text;
        if (at < 0)
            break;
        buf_add(out, in.p, (size_t)at);
        buf_str(out, is_data ? long_data : long_text);
        in = str_from(in, (size_t)at + (is_data ? strlen(SHORT_DATA) : strlen(SHORT_TEXT)));
    }
    buf_str(out, in);
}

struct written {
    struct arena a;
    struct buf out;
    struct buf_loan room[64];
    struct buf_loans loans;
};

static void write_as(struct str body, enum llm_op from, enum llm_op to, bool plain,
                     struct written *w, bool lend)
{
    static const struct model_caps caps;
    struct json_doc d;
    struct neutral_request r;
    struct receipt receipt = {0};
    struct link link = {0};
    struct err_info info;
    struct target t = {.model = STR("up"),
                       .provider = plain ? STR("openai-compatible") : STR("openai"),
                       .caps = &caps,
                       .max_tokens_only = plain};
    err_info_init(&info);
    arena_init(&w->a, ARENA_MAX);
    buf_init(&w->out, ARENA_MAX);
    w->loans = (struct buf_loans){.e = w->room, .max = 64, .min_bytes = 16384};
    w->out.loans = lend ? &w->loans : NULL;
    assert_int_equal(json_parse(&d, body, &info), ERR_OK);
    enum err e = codec_of(from)->read_request(&r, &d, from == OP_GENERATE ? STR("m") : STR_NULL,
                                              &w->a, &info);
    if (!e)
        e = codec_of(to)->write_request(&r, &t, &w->a, &w->out, &receipt, &link, &info);
    if (e)
        fail_msg("from %d to %d: %s", from, to, info.text);
    assert_false(buf_failed(&w->out) || arena_failed(&w->a));
}

static void release(struct written *w)
{
    buf_release(&w->out);
    arena_release(&w->a);
}

/* Is it what w has, with its loans? */
static void assert_same(struct str want, const struct written *w)
{
    size_t at = 0;
    for (unsigned i = 0; i <= w->loans.n; i++) {
        bool last = i == w->loans.n;
        size_t upto = last ? w->out.n : w->loans.e[i].at;
        struct str pieces[] = {str_make(w->out.p + at, upto - at),
                               last ? STR("") : w->loans.e[i].s};
        for (int k = 0; k < 2; k++) {
            assert_true(str_starts(want, pieces[k]));
            want = str_from(want, pieces[k].n);
        }
        at = upto;
    }
    assert_int_equal(want.n, 0);
}

static void a_long_body_is_as_a_short_one_and_not_copied(void **state)
{
    (void)state;
    for (int k = 0; k < FORMS * FORMS * 2; k++) {
        enum llm_op from = forms[k / 2 / FORMS].op, to = forms[k / 2 % FORMS].op;
        bool plain = k % 2; /* a server that takes texts as strings only */
        struct str body = str_c(forms[k / 2 / FORMS].body);
        struct buf longer, want;
        struct written few, copied, lent;
        buf_init(&longer, ARENA_MAX);
        buf_init(&want, ARENA_MAX);
        lengthen(body, &longer);
        write_as(body, from, to, plain, &few, false);
        lengthen(buf_view(&few.out), &want);
        write_as(buf_view(&longer), from, to, plain, &copied, false);
        assert_true(str_eq(buf_view(&want), buf_view(&copied.out)));
        write_as(buf_view(&longer), from, to, plain, &lent, true);
        assert_same(buf_view(&want), &lent);
        assert_true(lent.out.n < COPIED_MAX);
        assert_true(lent.a.used_bytes < 65536);
        release(&few);
        release(&copied);
        release(&lent);
        buf_release(&longer);
        buf_release(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_body_is_as_a_short_one_and_not_copied),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
