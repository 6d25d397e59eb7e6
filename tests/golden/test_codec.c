/* golden/codec: runs the cases of one folder, given as the one argument.
 *
 * A case is a file `<name>.request.json`, `.reply.json` or `.stream.json` that
 * holds one object.  What stands in `in` is read by the codec of `read` and
 * written by the codec of `write`; the result must mean the same JSON as `out`
 * (members in any order; numbers letter by letter).  Codecs go by the name of
 * their operation (chat, responses, messages, generate_content, …); `neutral`
 * is the neutral form itself, spelled as in neutral_json.h, so that each half
 * of a codec can be tested alone.  Members of a case:
 *
 * - `about`: a sentence on what is shown.  `read`, `write`, `in`, `out`.
 * - request: `model` (where the path names it); `target` {model, provider, stream, max_tokens_only,
 * mark_cache, reserve_output, rules [names of model_caps.h], can [abilities], cannot [abilities],
 * thinking, efforts [steps], effort_default, output_tokens, budget_min, budget_max}; `receipt`: the
 * names left out, comma-separated; `schema_tool`: true when the link says so; `refused` {field, at,
 * says} in place of `out`: at is how the text at the error's offset begins, says a part of its
 * sentence.
 * - reply and stream: `provider`; `link` {schema_tool, answers}; `answer` {op, request_id, model,
 * created, estimate_in, include_usage, base64}; `fault` {err, status, says}: reading ends so (a
 * reply: in place of `out`; a stream: after `out`).
 * - stream: `in` and `out` are arrays of events.  An event is its data: a string stands for itself
 *   ("[DONE]"), JSON for its text; or {"event": name, "data": …}; `out` may also hold
 *   {"comment": "ping"}.  `named`: true says that each event's name is the `type` of its data.
 *
 * Every stream is fed once byte by byte, then with CRLF, with comments and empty events between the
 * events, and with the data of each event on two lines: it must always come out the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <glob.h>
#include <cmocka.h>

#include "llm/codec.h"
#include "net/sse.h"
#include "neutral_json.h"

static const char *folder;
static unsigned cases_run;
static struct arena a;

/* A case, read. */
struct kase {
    struct json_doc d;
    const struct codec *read, *write;
    struct target target;
    struct model_caps caps;
    struct link link;
    struct answer answer;
    struct str provider;
};

/* ---- JSON that means the same ---- */

static struct json_doc doc_of(struct str text)
{
    struct err_info info;
    struct json_doc d = {.cap = (uint32_t)(text.n + 16)};
    err_info_init(&info);
    d.e = arena_alloc(&a, d.cap * sizeof *d.e);
    assert_non_null(d.e);
    if (json_parse_onto(&d, text, &info))
        fail_msg("%s at %lld of %.*s", info.text, (long long)info.offset, STR_FMT(text));
    return d;
}

static bool same(const struct json_doc *x, uint32_t i, const struct json_doc *y, uint32_t j);

static bool same_members(const struct json_doc *x, uint32_t i, const struct json_doc *y, uint32_t j)
{
    for (uint32_t k = json_child(x, i); k != JSON_NONE; k = json_sibling(x, i, k + 1)) {
        struct str name;
        assert_true(json_string(x, k, &a, &name));
        if (json_count(x, i, name) != 1 || !same(x, k + 1, y, json_get(y, j, name)))
            return false;
    }
    return json_size(x, i) == json_size(y, j);
}

static bool same_elements(const struct json_doc *x, uint32_t i, const struct json_doc *y,
                          uint32_t j)
{
    uint32_t m = json_child(x, i), n = json_child(y, j);
    for (; m != JSON_NONE && n != JSON_NONE; m = json_sibling(x, i, m), n = json_sibling(y, j, n))
        if (!same(x, m, y, n))
            return false;
    return m == n;
}

static bool same(const struct json_doc *x, uint32_t i, const struct json_doc *y, uint32_t j)
{
    struct str s, t;
    if (i == JSON_NONE || j == JSON_NONE || json_type(x, i) != json_type(y, j))
        return false;
    switch (json_type(x, i)) {
    case JSON_NUMBER:
        return str_eq(json_raw(x, i), json_raw(y, j));
    case JSON_STRING:
        return json_string(x, i, &a, &s) && json_string(y, j, &a, &t) && str_eq(s, t);
    case JSON_OBJECT:
        return same_members(x, i, y, j);
    case JSON_ARRAY:
        return same_elements(x, i, y, j);
    default:
        return true;
    }
}

static void must_mean(struct str got, const struct json_doc *d, uint32_t want)
{
    struct json_doc g = doc_of(got);
    if (!same(&g, 0, d, want))
        fail_msg("\ngot:  %.*s\nwant: %.*s", STR_FMT(got), STR_FMT(json_raw(d, want)));
}

/* ---- what a case says ---- */

static struct str text_of(const struct json_doc *d, uint32_t obj, const char *name)
{
    struct str s = STR("");
    uint32_t i = json_get(d, obj, str_c(name));
    assert_true(i == JSON_NONE || json_string(d, i, &a, &s));
    return s;
}

static int64_t number_of(const struct json_doc *d, uint32_t obj, const char *name)
{
    int64_t v = 0;
    uint32_t i = json_get(d, obj, str_c(name));
    assert_true(i == JSON_NONE || json_i64(d, i, &v));
    return v;
}

static bool flag_of(const struct json_doc *d, uint32_t obj, const char *name)
{
    bool v = false;
    uint32_t i = json_get(d, obj, str_c(name));
    assert_true(i == JSON_NONE || json_bool(d, i, &v));
    return v;
}

struct bit {
    const char *name;
    uint32_t bit;
};

static const struct bit rules[] = {
#define X(rule, bit, name) {name, bit},
    MODEL_RULES(X)
#undef X
        {NULL, 0}};
static const struct bit abilities[] = {
#define X(ability, bit, name) {name, bit},
    MODEL_ABILITIES(X)
#undef X
        {NULL, 0}};
static const struct bit styles[] = {
#define X(style, name) {name, THINK_##style},
    THINK_STYLES(X)
#undef X
        {NULL, 0}};

static uint32_t bit_of(struct str name, const struct bit *b)
{
    while (b->name && !str_eq(name, str_c(b->name)))
        b++;
    if (!b->name)
        fail_msg("no such name: %.*s", STR_FMT(name));
    return b->bit;
}

static uint32_t bits_of(const struct json_doc *d, uint32_t obj, const char *name,
                        const struct bit *b)
{
    uint32_t bits = 0, list = json_get(d, obj, str_c(name));
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i)) {
        struct str s;
        assert_true(json_string(d, i, &a, &s));
        bits |= b ? bit_of(s, b) : EFFORT_BIT(effort_find(s));
    }
    return bits;
}

static const struct codec *codec_by_name(struct str name)
{
    if (str_eq(name, STR("neutral")))
        return &codec_neutral;
    const struct codec *c = codec_of(op_find(name));
    if (!c)
        fail_msg("no codec %.*s", STR_FMT(name));
    return c;
}

static void read_target(struct kase *k, uint32_t t)
{
    const struct json_doc *d = &k->d;
    struct str thinking = text_of(d, t, "thinking");
    uint32_t cannot = bits_of(d, t, "cannot", abilities);
    k->caps = (struct model_caps){
        .output_tokens = (uint32_t)number_of(d, t, "output_tokens"),
        .abilities = bits_of(d, t, "can", abilities),
        .rules = bits_of(d, t, "rules", rules),
        .thinking = thinking.n ? (uint8_t)bit_of(thinking, styles) : THINK_UNKNOWN,
        .efforts = (uint8_t)bits_of(d, t, "efforts", NULL),
        .effort_default = (uint8_t)effort_find(text_of(d, t, "effort_default")),
        .budget_min = (uint32_t)number_of(d, t, "budget_min"),
        .budget_max = (uint32_t)number_of(d, t, "budget_max"),
    };
    k->caps.known_abilities = k->caps.abilities | cannot;
    k->target = (struct target){
        .model = text_of(d, t, "model"),
        .provider = text_of(d, t, "provider"),
        .caps = &k->caps,
        .reserve_output = (uint32_t)number_of(d, t, "reserve_output"),
        .stream = flag_of(d, t, "stream"),
        .max_tokens_only = flag_of(d, t, "max_tokens_only"),
        .mark_cache = flag_of(d, t, "mark_cache"),
    };
}

static void read_case(struct kase *k, struct str text)
{
    *k = (struct kase){.d = doc_of(text)};
    const struct json_doc *d = &k->d;
    uint32_t as = json_get(d, 0, STR("answer"));
    k->read = codec_by_name(text_of(d, 0, "read"));
    k->write = codec_by_name(text_of(d, 0, "write"));
    k->provider = text_of(d, 0, "provider");
    k->link.schema_tool = flag_of(d, json_get(d, 0, STR("link")), "schema_tool");
    k->link.answers = (uint8_t)number_of(d, json_get(d, 0, STR("link")), "answers");
    read_target(k, json_get(d, 0, STR("target")));
    struct str op = text_of(d, as, "op"), id = text_of(d, as, "request_id");
    k->answer = (struct answer){
        .op = op.n ? op_find(op) : k->write->op,
        .request_id = id.n ? id : STR("01234567-89ab-7cde-8f01-23456789abcd"),
        .model = text_of(d, as, "model"),
        .created_s = number_of(d, as, "created"),
        .estimate_in = (uint32_t)number_of(d, as, "estimate_in"),
        .include_usage = flag_of(d, as, "include_usage"),
        .base64 = flag_of(d, as, "base64"),
    };
}

static void must_say(const char *got, struct str want)
{
    if (want.n && str_find(str_c(got), want) < 0)
        fail_msg("\ngot:  %s\nwant: %.*s", got, STR_FMT(want));
}

/* ---- requests ---- */

static void must_refuse(const struct kase *k, enum err e, const struct err_info *info,
                        struct str body)
{
    uint32_t want = json_get(&k->d, 0, STR("refused"));
    struct str at = text_of(&k->d, want, "at");
    assert_int_equal(e, ERR_INVALID);
    assert_string_equal(info->field, arena_dup(&a, text_of(&k->d, want, "field")).p);
    must_say(info->text, text_of(&k->d, want, "says"));
    assert_true(info->text[0] != 0);
    if (at.n) {
        assert_true(info->offset >= 0);
        assert_true(str_starts(str_from(body, (size_t)info->offset), at));
    }
}

static void request_case(struct kase *k)
{
    struct neutral_request r;
    struct receipt receipt = {.n = 0};
    struct link link = {false};
    struct err_info info;
    struct buf b;
    struct str body = json_raw(&k->d, json_get(&k->d, 0, STR("in")));
    struct json_doc in = doc_of(body);
    uint32_t model = json_get(&k->d, 0, STR("model"));
    bool refused = json_get(&k->d, 0, STR("refused")) != JSON_NONE;
    buf_init(&b, 1 << 20);
    err_info_init(&info);
    enum err e = k->read->read_request(
        &r, &in, model == JSON_NONE ? STR_NULL : text_of(&k->d, 0, "model"), &a, &info);
    if (!e)
        e = k->write->write_request(&r, &k->target, &a, &b, &receipt, &link, &info);
    if (refused) {
        must_refuse(k, e, &info, body);
    } else {
        if (e)
            fail_msg("refused: %s: %s", info.field, info.text);
        must_mean(buf_view(&b), &k->d, json_get(&k->d, 0, STR("out")));
        assert_string_equal(receipt.names, arena_dup(&a, text_of(&k->d, 0, "receipt")).p);
        assert_int_equal(link.schema_tool, flag_of(&k->d, 0, "schema_tool"));
    }
    assert_false(buf_failed(&b) || arena_failed(&a));
    buf_release(&b);
}

/* ---- whole answers ---- */

static void must_fault(const struct kase *k, enum err e, const struct fault *f)
{
    uint32_t want = json_get(&k->d, 0, STR("fault"));
    struct str err = text_of(&k->d, want, "err");
    assert_int_equal(e, f->err);
    assert_string_equal(err_name(e), arena_dup(&a, err).p);
    assert_int_equal(f->status, number_of(&k->d, want, "status"));
    must_say(f->message, text_of(&k->d, want, "says"));
}

static void reply_case(struct kase *k)
{
    struct neutral_reply r;
    struct fault f = {ERR_OK};
    struct buf b;
    struct json_doc in = doc_of(json_raw(&k->d, json_get(&k->d, 0, STR("in"))));
    buf_init(&b, 1 << 20);
    enum err e = k->read->read_reply(&r, &in, &k->link, k->provider, &a, &f);
    if (json_get(&k->d, 0, STR("fault")) != JSON_NONE) {
        must_fault(k, e, &f);
        return;
    }
    if (e)
        fail_msg("%s: %s", err_name(e), f.message);
    k->write->write_reply(&r, &k->answer, &a, &b);
    must_mean(buf_view(&b), &k->d, json_get(&k->d, 0, STR("out")));
    assert_false(buf_failed(&b) || arena_failed(&a));
    buf_release(&b);
}

/* ---- streams ---- */

/* How the events of a stream are put into bytes. */
enum framing { PLAIN, CRLF, COMMENTS, TWO_LINES, FRAMINGS };

/* Name and data of an event in `in` or `out`. */
static void event_of(const struct json_doc *d, uint32_t i, bool named, struct str *name,
                     struct str *data)
{
    uint32_t inner = json_get(d, i, STR("data"));
    bool wrapped = inner != JSON_NONE && json_size(d, i) <= 2;
    *name = wrapped ? text_of(d, i, "event") : STR("");
    if (wrapped)
        i = inner;
    if (!json_string(d, i, &a, data))
        *data = json_raw(d, i);
    if (named && !name->n)
        *name = text_of(d, i, "type");
}

/* Data on one line: line ends within JSON become spaces. */
static void add_data(struct buf *b, struct str data, enum framing f)
{
    const char *nl = f == CRLF ? "\r\n" : "\n";
    size_t start = b->n;
    buf_lit(b, "data: ");
    for (size_t i = 0; i < data.n; i++) {
        buf_char(b, data.p[i] == '\n' || data.p[i] == '\r' ? ' ' : data.p[i]);
        if (f == TWO_LINES && i == 0 && data.p[0] == '{')
            buf_lit(b, "\ndata:");
    }
    assert_true(b->n > start);
    buf_str(b, str_c(nl));
    buf_str(b, str_c(nl));
}

static void frame(const struct kase *k, enum framing f, struct buf *b)
{
    uint32_t list = json_get(&k->d, 0, STR("in"));
    bool named = flag_of(&k->d, 0, "named");
    for (uint32_t i = json_child(&k->d, list); i != JSON_NONE; i = json_sibling(&k->d, list, i)) {
        struct str name, data;
        event_of(&k->d, i, named, &name, &data);
        if (f == COMMENTS)
            buf_lit(b, ": keep-alive\n\n\n\nevent: \ndata:\n\n");
        if (name.n)
            buf_printf(b, "event: %.*s%s", STR_FMT(name), f == CRLF ? "\r\n" : "\n");
        add_data(b, data, f);
    }
}

struct run {
    const struct codec *write;
    void *writer;
    struct buf out;
    bool over; /* EVENT_END came */
};

static void take(void *ctx, const struct neutral_event *ev)
{
    struct run *run = ctx;
    assert_false(run->over);
    run->over = ev->type == EVENT_END;
    run->write->write_event(run->writer, ev, &run->out);
}

/* Feeds bytes[0, n) one at a time, as a relay does: complete events are read at once. */
static enum err feed(const struct kase *k, struct str bytes, void *reader, struct run *run,
                     struct fault *f)
{
    struct str tail = str_make(bytes.p, 0);
    struct arena scratch;
    struct sse_event ev;
    enum err e = ERR_OK;
    arena_init(&scratch, 1 << 20);
    while (!e && !run->over && tail.p + tail.n < bytes.p + bytes.n) {
        tail.n++;
        if (!sse_next(&tail, &ev) || !ev.has_data)
            continue;
        /* a copy of just its size, so that a sanitizer sees whoever reads past its end */
        char *data = malloc(ev.data.n ? ev.data.n : 1);
        memcpy(data, ev.data.p, ev.data.n);
        struct str name = arena_dup(&a, ev.name);
        e = k->read->read_event(reader, k->provider, name, str_make(data, ev.data.n), &scratch,
                                take, run, f);
        free(data);
        assert_false(arena_failed(&scratch));
        arena_release(&scratch);
    }
    if (!e && !run->over && !tail.n && k->read->reader_ends && k->read->reader_ends(reader))
        take(run, &(struct neutral_event){.type = EVENT_END});
    return e;
}

static void must_write(const struct kase *k, struct str got)
{
    uint32_t list = json_get(&k->d, 0, STR("out")), i = json_child(&k->d, list);
    bool named = flag_of(&k->d, 0, "named");
    struct str all = got, name, data;
    struct sse_event ev;
    while (sse_next(&got, &ev)) {
        if (i == JSON_NONE)
            fail_msg("more events than wanted: %.*s", STR_FMT(ev.raw));
        struct str comment = text_of(&k->d, i, "comment");
        event_of(&k->d, i, named, &name, &data);
        if (comment.n)
            assert_true(str_eq(str_trim(str_from(ev.raw, 1)), comment));
        else if (json_is(&k->d, i, JSON_STRING))
            assert_true(str_eq(ev.data, data));
        else {
            struct json_doc want = doc_of(data);
            must_mean(ev.data, &want, 0);
        }
        if (!str_eq(ev.name, name))
            fail_msg("event is named %.*s, wanted %.*s", STR_FMT(ev.name), STR_FMT(name));
        i = json_sibling(&k->d, list, i);
    }
    assert_int_equal(got.n, 0);
    if (i != JSON_NONE)
        fail_msg("wanted next: %.*s\nhad:\n%.*s", STR_FMT(json_raw(&k->d, i)), STR_FMT(all));
}

static void stream_once(const struct kase *k, enum framing framing)
{
    struct buf in;
    struct fault f = {ERR_OK};
    struct run run = {.write = k->write, .writer = calloc(1, k->write->writer_bytes)};
    void *reader = calloc(1, k->read->reader_bytes);
    buf_init(&in, 1 << 20);
    buf_init(&run.out, 1 << 20);
    frame(k, framing, &in);
    k->read->reader_init(reader, &k->link);
    k->write->writer_init(run.writer, &k->answer);
    enum err e = feed(k, buf_view(&in), reader, &run, &f);
    if (e && json_get(&k->d, 0, STR("fault")) == JSON_NONE)
        fail_msg("%s: %s", err_name(e), f.message);
    must_write(k, buf_view(&run.out));
    if (json_get(&k->d, 0, STR("fault")) != JSON_NONE)
        must_fault(k, e, &f);
    assert_false(buf_failed(&in) || buf_failed(&run.out));
    if (k->read->reader_release)
        k->read->reader_release(reader);
    if (k->write->writer_release)
        k->write->writer_release(run.writer);
    buf_release(&in);
    buf_release(&run.out);
    free(reader);
    free(run.writer);
}

static void stream_case(struct kase *k)
{
    for (enum framing f = PLAIN; f < FRAMINGS; f++)
        stream_once(k, f);
}

/* ---- all of a folder ---- */

static struct str slurp(const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *p = arena_alloc(&a, (size_t)n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)n, f), n);
    fclose(f);
    return str_make(p, (size_t)n);
}

static void run_all(const char *pattern, void (*run)(struct kase *))
{
    glob_t g;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    if (glob(path, 0, NULL, &g) != 0)
        return;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct kase k;
        print_message("%s\n", g.gl_pathv[i]);
        arena_init(&a, 64 << 20);
        read_case(&k, slurp(g.gl_pathv[i]));
        run(&k);
        arena_release(&a);
        cases_run++;
    }
    globfree(&g);
}

static void requests(void **state)
{
    run_all("*.request.json", request_case);
}

static void replies(void **state)
{
    run_all("*.reply.json", reply_case);
}

static void streams(void **state)
{
    run_all("*.stream.json", stream_case);
    assert_true(cases_run > 0);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    folder = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(replies),
        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests_name("golden/codec", tests, NULL, NULL);
}
