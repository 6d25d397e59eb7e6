/* log: what a line looks like, that no field can forge one, and that a full ring drops and counts
 * rather than waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/log.h"
#include "core/log_line.h"

static void json_lines_are_escaped(void **state)
{
    struct buf b;
    struct log_style json = {0};
    struct log_field f[] = {LOG_STR("event", STR("test.event")),
                            LOG_STR("text", STR("a\"\n\x01\xff{")),
                            LOG_I64("n", -5),
                            LOG_F64("f", 0.5),
                            LOG_BOOL("yes", true),
                            LOG_STR("null", STR_NULL)};
    buf_init(&b, 65536);
    log_line(&b, &json, LOG_WARN, f, 6);
    assert_null(memchr(b.p, '\n', b.n - 1));
    assert_int_equal(b.p[b.n - 1], '\n');
    assert_memory_equal(b.p, "{\"time\":\"20", 11);
    assert_non_null(strstr(b.p, ",\"level\":\"warn\",\"event\":\"test.event\",\"text\":\"a\\\"\\n"
                                "\\u0001\xef\xbf\xbd{\",\"n\":-5,\"f\":0.5,\"yes\":true,"
                                "\"null\":\"\"}\n"));
    buf_release(&b);
}

static void text_lines_quote_what_is_not_a_word(void **state)
{
    struct buf b;
    struct log_style text = {.text = true};
    struct log_field f[] = {LOG_STR("event", STR("test.event")), LOG_CSTR("word", "a:1"),
                            LOG_CSTR("forged", "x\ny=1"), LOG_CSTR("empty", ""), LOG_I64("n", 7)};
    buf_init(&b, 65536);
    log_line(&b, &text, LOG_INFO, f, 5);
    assert_non_null(strstr(b.p, " INFO  test.event word=a:1 forged=\"x\\ny=1\" empty=\"\" n=7\n"));
    buf_release(&b);
}

static void long_strings_are_cut(void **state)
{
    static char big[20000];
    struct buf b;
    struct log_style json = {0};
    memset(big, 'x', sizeof big);
    struct log_field f[] = {LOG_STR("event", STR("e")), LOG_STR("s", str_make(big, sizeof big))};
    buf_init(&b, 65536);
    log_line(&b, &json, LOG_INFO, f, 2);
    assert_false(buf_failed(&b));
    assert_in_range(b.n, 4096, 4300);
    buf_release(&b);
}

struct sink {
    int fd;
    unsigned lines, broken;
    unsigned long long dropped_told;
};

/* Reads to the end; every line must be a whole record. */
static void *read_all(void *arg)
{
    struct sink *s = arg;
    FILE *f = fdopen(s->fd, "r");
    char line[4096];
    unsigned long long n;
    while (fgets(line, sizeof line, f)) {
        size_t len = strlen(line);
        if (line[0] != '{' || len < 3 || strcmp(line + len - 2, "}\n") != 0)
            s->broken++;
        char *told = strstr(line, "\"log.dropped\",\"records\":");
        if (told && sscanf(told + 24, "%llu", &n) == 1)
            s->dropped_told += n;
        else
            s->lines++;
    }
    fclose(f);
    return NULL;
}

#define THREADS 3
#define RECORDS 2000

static void *speak(void *arg)
{
    log_thread_init("speaker");
    for (int i = 0; i < RECORDS; i++)
        log_event(LOG_INFO, "test.record", LOG_I64("i", i),
                  LOG_STR("pad", STR("0123456789abcdef")));
    log_event(LOG_DEBUG, "test.below_level");
    log_thread_release();
    return NULL;
}

static void a_full_ring_drops_and_counts(void **state)
{
    int p[2];
    pthread_t speakers[THREADS], reader;
    uint64_t before = log_dropped();
    assert_int_equal(pipe(p), 0);
    assert_int_equal(log_init(p[1], LOG_FORMAT_JSON, LOG_INFO, 8192), ERR_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&speakers[i], NULL, speak, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(speakers[i], NULL); /* ends although nobody reads the pipe */
    uint64_t dropped = log_dropped() - before;
    assert_true(dropped > 0);
    struct sink s = {.fd = p[0]};
    assert_int_equal(pthread_create(&reader, NULL, read_all, &s), 0);
    log_release();
    close(p[1]);
    pthread_join(reader, NULL);
    assert_int_equal(s.broken, 0);
    assert_int_equal(s.lines + dropped, THREADS * RECORDS);
    assert_int_equal(s.dropped_told, dropped);
}

static void without_a_ring_lines_are_written_at_once(void **state)
{
    int p[2];
    char line[512];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(log_init(p[1], LOG_FORMAT_JSON, LOG_WARN, 0), ERR_OK);
    log_event(LOG_INFO, "test.hidden");
    log_event(LOG_ERROR, "test.seen");
    ssize_t n = read(p[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = 0;
    assert_non_null(strstr(line, "test.seen"));
    assert_null(strstr(line, "test.hidden"));
    log_release();
    close(p[0]);
    close(p[1]);
}

static void a_quiet_ring_is_written_soon(void **state)
{
    int p[2];
    char line[512];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(log_init(p[1], LOG_FORMAT_JSON, LOG_INFO, 0), ERR_OK);
    log_thread_init("test");
    for (int i = 0; i < 50; i++) {
        struct pollfd wait = {.fd = p[0], .events = POLLIN};
        log_event(LOG_INFO, "test.one", LOG_I64("i", i));
        assert_int_equal(poll(&wait, 1, 10000), 1);
        assert_true(read(p[0], line, sizeof line) > 0);
    }
    log_release();
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_are_escaped),
        cmocka_unit_test(text_lines_quote_what_is_not_a_word),
        cmocka_unit_test(long_strings_are_cut),
        cmocka_unit_test(a_full_ring_drops_and_counts),
        cmocka_unit_test(without_a_ring_lines_are_written_at_once),
        cmocka_unit_test(a_quiet_ring_is_written_soon),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
