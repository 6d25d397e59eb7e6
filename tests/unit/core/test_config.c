/* config: precedence, and every error with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/config.h"

static char *conf_file(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/lyss-test-config-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static enum err load(struct config *c, const char *file_text, char *flag, struct err_info *info)
{
    char *argv[] = {"lyss", "serve", flag, NULL};
    char *file = file_text ? conf_file(file_text) : NULL;
    enum err e = config_load(c, file, flag ? 3 : 2, argv, info);
    if (file)
        unlink(file);
    return e;
}

static void must_load(struct config *c, const char *file_text, char *flag)
{
    struct err_info info;
    err_info_init(&info);
    enum err e = load(c, file_text, flag, &info);
    if (e)
        fail_msg("%s", info.text);
}

static void defaults_hold(void **state)
{
    struct config c;
    must_load(&c, NULL, NULL);
    assert_string_equal(c.listen.p, "127.0.0.1:8003");
    assert_string_equal(c.data_dir.p, "./data");
    assert_int_equal(c.max_body_bytes, 32 << 20);
    assert_int_equal(c.journal_max_bytes, 1 << 30);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_int_equal(c.environment, ENVIRONMENT_PRODUCTION);
    assert_true(c.upstream_tls_verify);
    assert_int_equal(c.metrics_allow.n, 2);
    assert_string_equal(c.metrics_allow.items[1].p, "::1/128");
    assert_int_equal(c.sources[CONFIG_ID_listen], SOURCE_DEFAULT);
    assert_true(config_workers(&c) >= 1);
    assert_true(config_memory_budget_bytes(&c) > 1 << 20);
    config_release(&c);
}

static void later_places_win(void **state)
{
    struct config c;
    const char *file = "# settings\n\n workers = 2 # two\nping_ms = 1s\nlog_level = \"warn\"\r\n"
                       "listen=127.0.0.1:1\n";
    setenv("LYSS_WORKERS", "3", 1);
    setenv("LYSS_LISTEN", "127.0.0.1:2", 1);
    must_load(&c, file, "--listen=127.0.0.1:0");
    assert_int_equal(c.ping_ms, 1000);
    assert_int_equal(c.log_level, LOG_WARN);
    assert_int_equal(c.workers, 3);
    assert_string_equal(c.listen.p, "127.0.0.1:0");
    assert_int_equal(c.sources[CONFIG_ID_ping_ms], SOURCE_FILE);
    assert_int_equal(c.sources[CONFIG_ID_workers], SOURCE_ENV);
    assert_int_equal(c.sources[CONFIG_ID_listen], SOURCE_FLAG);
    assert_int_equal(c.sources[CONFIG_ID_core], SOURCE_DEFAULT);
    config_release(&c);
    unsetenv("LYSS_WORKERS");
    unsetenv("LYSS_LISTEN");
}

static void errors_say_what_where_and_how(void **state)
{
    static const struct {
        const char *file;
        char *flag;
        const char *variable, *value;
        const char *says[3];
    } rows[] = {
        {.file = "\nworker = 1\n", .says = {"config-", ":2: ", "did you mean \"workers\"?"}},
        {.file = "qqqqqqqqqqqq = 1", .says = {":1: unknown", "docs/configuration.md"}},
        {.file = "workers\n", .says = {":1: ", "key = value"}},
        {.file = "workers=1\nworkers=1", .says = {":2: ", "set twice"}},
        {.file = "workers=-1", .says = {":1: workers", "\"-1\"", "0 to 64"}},
        {.file = "workers=257", .says = {"0 to 64"}},
        {.file = "workers=", .says = {"0 to 64"}},
        {.file = "workers=1KiB", .says = {"0 to 64"}},
        {.file = "max_body_bytes=1TiB", .says = {"32MiB"}},
        {.file = "max_body_bytes=99999999999GiB", .says = {"32MiB"}},
        {.file = "ping_ms=1 fortnight", .says = {"10s"}},
        {.file = "core=maybe", .says = {"true or false"}},
        {.file = "log_format=xml", .says = {"auto|json|text"}},
        {.file = "upstream_allow=10.0.0.0/8, 10.0.0.0/33", .says = {"upstream_allow", "::1/128"}},
        {.file = "upstream_allow=localhost", .says = {"upstream_allow", "10.0.0.0/8"}},
        {.file = "dns_servers=dns.example", .says = {"9.9.9.9"}},
        {.file = "cors_origins=https://a.example/path", .says = {"without a path"}},
        {.file = "cors_origins=*", .says = {"cors_origins", "production"}},
        {.file = "upstream_tls_verify=no", .says = {"upstream_ca_file"}},
        {.file = "tls_cert_file=a.pem", .says = {"tls_key_file", "set both or neither"}},
        {.file = "encryption_key=a\nencryption_key_file=b", .says = {"both set"}},
        {.variable = "LYSS_LISTEN", .value = "8003", .says = {"LYSS_LISTEN", "127.0.0.1:8003"}},
        {.variable = "LYSS_LISTEN", .value = "::1:8003", .says = {"LYSS_LISTEN"}},
        {.variable = "LYSS_LISTEN", .value = "1.2.3.4:65536", .says = {"LYSS_LISTEN"}},
        {.flag = "--listen=host:1", .says = {"--listen", "\"host:1\""}},
        {.flag = "--listen", .says = {"--listen", "must follow"}},
        {.flag = "--encryption-key=x", .says = {"--encryption-key:", "environment or a file"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c;
        struct err_info info;
        err_info_init(&info);
        if (rows[i].variable)
            setenv(rows[i].variable, rows[i].value, 1);
        assert_int_equal(load(&c, rows[i].file, rows[i].flag, &info), ERR_INVALID);
        for (int k = 0; k < 3 && rows[i].says[k]; k++)
            if (!strstr(info.text, rows[i].says[k]))
                fail_msg("row %zu: \"%s\" does not say \"%s\"", i, info.text, rows[i].says[k]);
        if (rows[i].variable)
            unsetenv(rows[i].variable);
    }
}

static void a_missing_file_is_an_error(void **state)
{
    struct config c;
    struct err_info info;
    err_info_init(&info);
    assert_int_equal(config_load(&c, "/nonexistent/lyss.conf", 0, NULL, &info), ERR_IO);
    assert_non_null(strstr(info.text, "/nonexistent/lyss.conf"));
}

static void an_unknown_variable_is_a_warning(void **state)
{
    struct config c;
    setenv("LYSS_LISTNE", "x", 1);
    setenv("LYSS_TEST_CLOCK", "x", 1);
    must_load(&c, NULL, NULL);
    assert_non_null(strstr(c.warnings.p, "LYSS_LISTNE"));
    assert_null(strstr(c.warnings.p, "LYSS_TEST_CLOCK"));
    config_release(&c);
    unsetenv("LYSS_LISTNE");
    unsetenv("LYSS_TEST_CLOCK");
}

static void flags_of_others_are_left(void **state)
{
    struct config c;
    struct err_info info;
    char *argv[] = {"lyss", "--json", "--workers", "4", "--core", "x", "--", "--workers", "5"};
    assert_int_equal(config_flag_args("--json"), 0);
    assert_int_equal(config_flag_args("--workers"), 2);
    assert_int_equal(config_flag_args("--workers=1"), 1);
    assert_int_equal(config_flag_args("--core"), 1);
    assert_int_equal(config_flag_args("--data_dir"), 0);
    assert_int_equal(config_load(&c, NULL, 9, argv, &info), ERR_OK);
    assert_int_equal(c.workers, 4);
    assert_true(c.core);
    config_release(&c);
}

static void secrets_are_not_shown(void **state)
{
    struct config c;
    struct buf b;
    buf_init(&b, 4096);
    setenv("LYSS_ENCRYPTION_KEY", "hunter2", 1);
    must_load(&c, NULL, NULL);
    assert_true(str_eq(secret_expose(&c.encryption_key), STR("hunter2")));
    config_show(&c, CONFIG_ID_encryption_key, &b);
    buf_char(&b, '/');
    config_show(&c, CONFIG_ID_metrics_allow, &b);
    buf_char(&b, '/');
    config_show(&c, CONFIG_ID_log_requests, &b);
    assert_string_equal(b.p, "(set)/127.0.0.0/8, ::1/128/errors");
    config_release(&c);
    buf_release(&b);
    unsetenv("LYSS_ENCRYPTION_KEY");
}

static void no_allocation_failure_leaks_or_passes(void **state)
{
    struct config c;
    struct err_info info;
    unsetenv("LYSS_FIXTURES"); /* variables of the test runner: their warnings may fail unseen */
    unsetenv("LYSS_BIN");
    must_load(&c, NULL, NULL);
    config_release(&c);
    mem_fail_at(0);
    must_load(&c, NULL, NULL);
    uint64_t total = mem_fail_at(0);
    config_release(&c);
    for (uint64_t i = 1; i <= total; i++) {
        mem_fail_at(i);
        assert_int_equal(config_load(&c, NULL, 0, NULL, &info), ERR_NOMEM);
    }
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold),
        cmocka_unit_test(later_places_win),
        cmocka_unit_test(errors_say_what_where_and_how),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(an_unknown_variable_is_a_warning),
        cmocka_unit_test(flags_of_others_are_left),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(no_allocation_failure_leaks_or_passes),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
