/* openai_recordings: recorded traffic of the real thing, where there is any.
 *
 * LYSS_FIXTURES names a folder with provider recordings (openai/ in it or one
 * below): *.json is a whole body, *.chunks.txt one SSE data payload a line.
 * What the recording says of its usage is found by text search, so that the
 * code under test is not asked about itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/provider.h"
#include "llm/wire_openai_response.h"
#include "recordings.h"

static glob_t found;
static unsigned estimates_checked;

/* The number after "key":, or 0. */
static unsigned long number(const char *text, const char *key)
{
    const char *p = text ? strstr(text, key) : NULL;
    return p ? strtoul(p + strlen(key) + strspn(p + strlen(key), "\": "), NULL, 10) : 0;
}

/* The last usage object in the text, or NULL. */
static const char *last_usage(const char *text)
{
    const char *last = NULL;
    for (const char *p = text; (p = strstr(p, "\"usage\"")); p += 7) {
        const char *v = p + 7 + strspn(p + 7, ": \n");
        if (*v == '{')
            last = v;
    }
    return last;
}

static void same_usage(const struct usage *u, const char *recorded)
{
    unsigned long in = number(recorded, "\"prompt_tokens\"") + number(recorded, "\"input_tokens\"");
    unsigned long out =
        number(recorded, "\"completion_tokens\"") + number(recorded, "\"output_tokens\"");
    assert_int_equal(usage_input_tokens(u), in);
    assert_int_equal(usage_output_tokens(u), out);
    assert_int_equal(u->cache_read, number(recorded, "\"cached_tokens\""));
    assert_int_equal(u->out_reasoning, number(recorded, "\"reasoning_tokens\""));
}

static enum llm_op op_of(const char *text)
{
    if (strstr(text, "\"object\":\"text_completion\"") ||
        strstr(text, "\"object\": \"text_completion\""))
        return OP_COMPLETIONS;
    if (strstr(text, "\"embedding\""))
        return OP_EMBEDDINGS;
    if (strstr(text, "\"chat.completion"))
        return OP_CHAT;
    return OP_RESPONSES;
}

static void whole_bodies(void **state)
{
    recordings_find(&found, "openai", "*.json");
    unsigned with_usage = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct openai_reply r;
        struct fault f;
        char *text = recordings_read(found.gl_pathv[i]);
        bool is_error = strstr(text, "\"error\": {") || strstr(text, "\"error\":{");
        print_message("%s\n", found.gl_pathv[i]);
        enum err e = openai_reply_read(&r, op_of(text), STR("openai"), str_c(text), &f);
        assert_int_equal(e != ERR_OK, is_error);
        assert_int_equal(r.has_usage, last_usage(text) != NULL);
        if (r.has_usage) {
            same_usage(&r.usage, last_usage(text));
            assert_true(r.finished);
            with_usage++;
        } else if (is_error) {
            assert_true(f.message[0] != 0);
        }
        free(text);
    }
    assert_true(with_usage > 10);
    globfree(&found);
}

static bool parses(struct str line)
{
    struct json_doc d;
    return json_parse(&d, line, NULL) == ERR_OK;
}

/* Held for replies whose text is all there: hidden and abridged output has nothing to count. */
static void close_estimate(const struct estimate *e, uint32_t real)
{
    double ratio = (double)provider_estimate(provider_find(STR("openai")), e) / real;
    print_message("estimate is %.2f of %u tokens\n", ratio, real);
    assert_true(ratio >= 0.75 && ratio <= 1.6);
    estimates_checked++;
}

/* Feeds one line as it would come by SSE. A file may hold several streams one after another. */
static unsigned feed(struct openai_stream *s, struct str line)
{
    static const struct str key = {"\"type\":\"", 8};
    struct openai_event ev;
    struct str name = STR_NULL;
    ptrdiff_t at = s->op == OP_RESPONSES ? str_find(line, key) : -1;
    if (at >= 0) {
        name = str_from(line, (size_t)at + key.n);
        name.n = (size_t)str_chr(name, '"');
    }
    return openai_stream_event(s, STR("openai"), name, line, &ev);
}

static void stream(const char *text)
{
    struct openai_stream s;
    struct str rest = str_trim(str_c(text)), line;
    unsigned terminals = 0, errors = 0, ends = 0, broken = 0, pieces = 0;
    enum llm_op op = op_of(text);
    openai_stream_init(&s, op);
    while (str_split(&rest, '\n', &line)) {
        bool end = str_find(line, STR("{\"type\":\"response.completed\"")) == 0;
        if (!parses(line)) { /* one recording holds lines that are not whole */
            assert_int_equal(feed(&s, line), EV_BAD);
            broken++;
            continue;
        }
        ends += end;
        if (s.ended && !errors)
            openai_stream_init(&s, op);
        unsigned flags = feed(&s, line);
        assert_false(flags & EV_BAD);
        assert_int_equal((flags & EV_TERMINAL) != 0, end);
        terminals += (flags & EV_TERMINAL) != 0;
        errors += (flags & EV_ERROR) != 0;
        pieces += (flags & EV_CONTENT) != 0;
    }
    if (op != OP_RESPONSES) {
        assert_int_equal(feed(&s, STR("[DONE]")), EV_TERMINAL);
        assert_int_equal(feed(&s, STR("[DONE]")), EV_AFTER_END);
        assert_true(s.finished);
    }
    assert_int_equal(terminals, ends);
    assert_int_equal(errors, strstr(text, "{\"type\":\"error\"") != NULL);
    if (s.has_usage) {
        if (s.usage.out_text >= 50 && pieces >= s.usage.out_text / 2)
            close_estimate(&s.out, s.usage.out_text);
        same_usage(&s.usage, last_usage(text));
    } else
        assert_true(errors || broken);
}

static void streams(void **state)
{
    recordings_find(&found, "openai", "*.chunks.txt");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = recordings_read(found.gl_pathv[i]);
        print_message("%s\n", found.gl_pathv[i]);
        stream(text);
        free(text);
    }
    assert_true(estimates_checked >= 3);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_bodies),
        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests_name("openai_recordings", tests, NULL, NULL);
}
