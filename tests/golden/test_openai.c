/* golden/openai: runs the cases of openai/ (see its README.md), given as the one argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <glob.h>
#include <cmocka.h>

#include "llm/provider.h"
#include "llm/wire_openai_request.h"
#include "llm/wire_openai_response.h"

static const char *folder;
static struct arena a;

/* The next line of a file: its first word and the rest. False at the end. Kept in the arena. */
static bool next_line(FILE *f, struct str *word, struct str *rest)
{
    static char *line;
    static size_t cap;
    ssize_t n = getline(&line, &cap, f);
    if (n <= 0) {
        free(line);
        line = NULL;
        cap = 0;
        return false;
    }
    *rest = arena_dup(&a, str_trim(str_make(line, (size_t)n)));
    *word = STR_NULL;
    ptrdiff_t at = str_chr(*rest, ' ');
    *word = at < 0 ? *rest : str_make(rest->p, (size_t)at);
    *rest = at < 0 ? STR("") : str_from(*rest, (size_t)at + 1);
    return true;
}

static void equal(struct str got, struct str want)
{
    assert_string_equal(arena_dup(&a, got).p, arena_dup(&a, want).p);
}

static void usage_equal(const struct usage *u, struct str want)
{
    struct str got = STR("");
#define X(name, input) got = arena_printf(&a, "%.*s%s%u", STR_FMT(got), got.n ? " " : "", u->name);
    USAGE_COUNTERS(X)
#undef X
    equal(got, want);
}

static unsigned flags_of(struct str words)
{
    static const struct {
        const char *name;
        unsigned flag;
    } names[] = {{"lifecycle", EV_LIFECYCLE},
                 {"content", EV_CONTENT},
                 {"usage", EV_USAGE},
                 {"usage-only", EV_USAGE_ONLY},
                 {"terminal", EV_TERMINAL},
                 {"error", EV_ERROR},
                 {"bad", EV_BAD},
                 {"after-end", EV_AFTER_END}};
    unsigned flags = 0;
    struct str word;
    while (str_split(&words, ' ', &word)) {
        unsigned flag = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (str_eq(word, str_c(names[i].name)))
                flag = names[i].flag;
        assert_true(flag != 0);
        flags |= flag;
    }
    return flags;
}

static void request_case(FILE *f)
{
    struct openai_edit_plan plan = {.quirks = NULL};
    struct openai_request r = {.op = OP_NONE};
    struct openai_edits o = {.n = 0};
    struct err_info info;
    enum err e = ERR_OK;
    enum llm_op op = OP_NONE;
    struct str word, rest, deployment = STR_NULL, dropped = STR("");
    struct buf b;
    buf_init(&b, 1 << 20);
    err_info_init(&info);
    while (next_line(f, &word, &rest)) {
        if (str_eq(word, STR("op")))
            op = op_find(rest);
        else if (str_eq(word, STR("deployment")))
            deployment = rest;
        else if (str_eq(word, STR("upstream")))
            plan.upstream_model = rest;
        else if (str_eq(word, STR("provider")))
            plan.quirks = provider_find(rest)->quirks;
        else if (str_eq(word, STR("inject")))
            plan.inject_usage = true;
        else if (str_eq(word, STR("force")))
            plan.force_stream = true;
        else if (str_eq(word, STR("drop-options")))
            plan.drop_stream_options = true;
        else if (str_eq(word, STR("in")))
            e = openai_request_read(&r, op, rest, deployment, &a, &info);
        else if (str_eq(word, STR("refused")))
            equal(rest, arena_printf(&a, "%s %lld", info.field, (long long)info.offset));
        else if (str_eq(word, STR("out"))) {
            assert_int_equal(e, ERR_OK);
            assert_int_equal(openai_request_edits(&r, &plan, &a, &o), ERR_OK);
            edits_write(r.body, o.e, o.n, &b);
            equal(buf_view(&b), rest);
        } else if (str_eq(word, STR("swallow")))
            assert_int_equal(o.swallow_usage, str_eq(rest, STR("yes")));
        else if (str_eq(word, STR("dropped")))
            dropped = rest;
        else
            fail_msg("unknown word %.*s", STR_FMT(word));
    }
    equal(o.dropped.p ? o.dropped : STR(""), dropped);
    buf_release(&b);
}

static void stream_case(FILE *f)
{
    struct openai_stream s;
    struct openai_event ev;
    unsigned flags = 0;
    struct str word, rest, name = STR_NULL;
    while (next_line(f, &word, &rest)) {
        if (str_eq(word, STR("op")))
            openai_stream_init(&s, op_find(rest));
        else if (str_eq(word, STR("event")))
            name = rest;
        else if (str_eq(word, STR("data"))) {
            flags = openai_stream_event(&s, STR("openai"), name, rest, &ev);
            name = STR_NULL;
        } else if (str_eq(word, STR("flags")))
            assert_int_equal(flags, flags_of(rest));
        else if (str_eq(word, STR("fault")))
            equal(arena_printf(&a, "%s %d %s", err_name(ev.fault.err), ev.fault.status,
                               ev.fault.message),
                  rest);
        else if (str_eq(word, STR("usage")))
            usage_equal(&s.usage, rest);
        else
            fail_msg("unknown word %.*s", STR_FMT(word));
    }
}

static void reply_case(FILE *f)
{
    struct openai_reply r;
    enum llm_op op = OP_NONE;
    enum err e = ERR_OK;
    struct str word, rest;
    while (next_line(f, &word, &rest)) {
        if (str_eq(word, STR("op")))
            op = op_find(rest);
        else if (str_eq(word, STR("in")))
            e = openai_reply_read(&r, op, STR("openai"), rest, NULL);
        else if (str_eq(word, STR("err")))
            equal(str_c(err_name(e)), rest);
        else if (str_eq(word, STR("usage")))
            usage_equal(&r.usage, rest);
        else
            fail_msg("unknown word %.*s", STR_FMT(word));
    }
}

static void run_all(const char *pattern, void (*run)(FILE *))
{
    glob_t g;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    assert_int_equal(glob(path, 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        FILE *f = fopen(g.gl_pathv[i], "r");
        assert_non_null(f);
        print_message("%s\n", g.gl_pathv[i]);
        arena_init(&a, 1 << 20);
        run(f);
        arena_release(&a);
        fclose(f);
    }
    globfree(&g);
}

static void requests(void **state)
{
    run_all("*.request.txt", request_case);
}

static void streams(void **state)
{
    run_all("*.stream.txt", stream_case);
}

static void replies(void **state)
{
    run_all("*.reply.txt", reply_case);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    folder = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(streams),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests_name("golden/openai", tests, NULL, NULL);
}
