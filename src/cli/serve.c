/* serve: `lyss serve` and `lyss dev`: opens the data directory, hands it to the gateway and says
 * where it is served. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "core/json_write.h"
#include "core/log.h"
#include "gateway/control.h"
#include "ops/setup.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

static const char help_text[] =
    "Usage: lyss %s [--data DIR] [--listen ADDRESS] [--json] [setting flags]\n"
    "\n"
    "%s\n"
    "\n"
    "  --data DIR        data directory; made with mode 0700 (./data)\n"
    "  --listen ADDRESS  address and port (127.0.0.1:8003)\n"
    "  --config FILE     lyss.conf to read\n"
    "  --json            print one line of JSON when ready to serve, and nothing else\n"
    "\n"
    "Every setting of docs/configuration.md is a flag too. SIGTERM lets what is under way finish\n"
    "(drain_timeout_ms), ends what is left in-band and exits 0; a second one does not wait.\n"
    "\n"
    "Examples:\n"
    "  lyss %s --data ./data --listen 127.0.0.1:8003\n"
    "  LYSS_UPSTREAM_ALLOW=127.0.0.0/8 lyss %s --json\n";

static int print_help(bool dev)
{
    const char *name = dev ? "dev" : "serve";
    printf(help_text, name,
           dev ? "Serves with a demo tenant, a fresh API key for it and a built-in demo model, for "
                 "trying\n"
                 "Lyss out."
               : "Serves the tenants and channels of the data directory.",
           name, name);
    return EXIT_OK;
}

/* A core or a debugger would see keys and prompts. */
static void close_to_debuggers(const struct config *c)
{
    if (c->core)
        return;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* the leak check looks in */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

static void put_or_null(struct json_writer *j, const char *name, const char *value)
{
    json_key(j, str_c(name));
    if (value[0])
        json_put_string(j, str_c(value));
    else
        json_put_null(j);
}

static void print_json(const char *url, const char *key, const char *token)
{
    struct buf b;
    struct json_writer j;
    buf_init(&b, 4096);
    json_writer_init(&j, &b);
    json_open_object(&j);
    json_field_string(&j, "url", str_c(url));
    put_or_null(&j, "api_key", key);
    put_or_null(&j, "setup_token", token);
    json_field_i64(&j, "pid", getpid());
    json_close_object(&j);
    buf_char(&b, '\n');
    ssize_t n =
        write(STDOUT_FILENO, b.p, b.n); /* one write: a reader gets the whole line or none */
    (void)n;
    buf_release(&b);
}

static void print_text(const char *url, const char *key, const char *token, bool dev)
{
    printf("\nLyss %s serves on %s%s\n\n", LYSS_VERSION, url, dev ? " with its demo model" : "");
    if (key[0])
        printf("  API key      %s\n", key);
    if (token[0])
        printf("  setup token  %s  (once, for the first administrator)\n", token);
    if (key[0])
        printf("\nTry it:\n\n"
               "  curl -N %s/v1/chat/completions \\\n"
               "    -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \\\n"
               "    -d "
               "'{\"model\":\"demo\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
               "\"Hello\"}]}'\n",
               url, key);
    printf("\nCtrl-C stops it. Add a channel from another terminal: lyss channel add --help\n\n");
    fflush(stdout);
}

static int report(const char *what, enum err e, const struct err_info *info)
{
    fprintf(stderr, "lyss: %s: %s\n", what, info->text[0] ? info->text : err_text(e));
    return EXIT_FAILED;
}

static void log_warnings(const struct config *c)
{
    struct str rest = buf_view(&c->warnings), line;
    while (rest.n && str_split(&rest, '\n', &line))
        if (line.n)
            log_event(LOG_WARN, "config.warning", LOG_STR("text", line));
}

/* For trying Lyss out: less strict, and gone as soon as Ctrl-C is pressed. */
static enum err dev_defaults(struct config *c, struct err_info *info)
{
    static const struct {
        enum config_id id;
        struct str value;
    } rows[] = {{CONFIG_ID_environment, STR("development")},
                {CONFIG_ID_drain_timeout_ms, STR("0")}};
    enum err e = ERR_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !e; i++)
        if (c->sources[rows[i].id] == SOURCE_DEFAULT)
            e = config_set(c, rows[i].id, rows[i].value, SOURCE_DEFAULT, "lyss dev", info);
    return e;
}

/* What a reload reads again. */
struct source {
    struct args *args;
    bool dev;
};

static enum err load_settings(void *source, struct config *out, struct err_info *info)
{
    struct source *s = source;
    enum err e = args_config(s->args, out, info);
    if (e)
        return e;
    e = s->dev ? dev_defaults(out, info) : ERR_OK;
    if (e)
        config_release(out);
    else
        log_warnings(out);
    return e;
}

static int serve(struct config *c, struct source *source)
{
    bool dev = source->dev, json = source->args->json;
    struct err_info info;
    struct ops ops;
    struct control *control = NULL;
    char key[APIKEY_TEXT_MAX] = "", token[SETUP_TOKEN_MAX] = "";
    err_info_init(&info);
    enum err e = log_init(STDERR_FILENO, (enum config_log_format)c->log_format,
                          (enum log_level)c->log_level, 0);
    if (e)
        return report("log", e, &info);
    log_warnings(c);
    ops = (struct ops){0};
    e = ops_data_dir(c, &info);
    if (!e)
        e = control_new(&control, c, &info);
    if (!e)
        e = ops_open(&ops, c, dev ? STR("dev") : STR("serve"), &info);
    if (!e && dev)
        e = ops_dev_prepare(&ops, key, &info);
    if (!e)
        e = ops_setup_token(&ops, token, &info);
    struct control_options o = {.config = c,
                                .source = {load_settings, source},
                                .db = ops.db,
                                .vault = ops.vault,
                                .demo = dev};
    if (!e) {
        ops.db = NULL; /* the gateway's from now on */
        e = control_start(control, &o, &info);
    }
    int code = EXIT_FAILED;
    if (e) {
        report(dev ? "dev" : "serve", e, &info);
    } else {
        if (json)
            print_json(control_url(control), key, token);
        else
            print_text(control_url(control), key, token, dev);
        control_run(control);
        code = EXIT_OK;
    }
    explicit_bzero(key, sizeof key);
    explicit_bzero(token, sizeof token);
    control_free(&control);
    ops_close(&ops);
    log_release();
    return code;
}

int cmd_serve(int argc, char **argv, bool dev)
{
    struct args args;
    struct config config;
    struct args_form form = {0};
    struct err_info info;
    int code = EXIT_USAGE;
    err_info_init(&info);
    if (args_parse(&args, &form, argc, argv, &info) || (args.n_words && !args.help)) {
        fprintf(stderr, "lyss: %s\nRun 'lyss %s --help'.\n",
                info.text[0] ? info.text : "no further word is expected", argv[0]);
    } else if (args.help) {
        code = print_help(dev);
    } else if (args_config(&args, &config, &info)) {
        fprintf(stderr, "lyss: %s\nRun 'lyss check' to see every setting.\n", info.text);
    } else {
        enum err e = dev ? dev_defaults(&config, &info) : ERR_OK;
        close_to_debuggers(&config);
        struct source source = {&args, dev};
        code = e ? report("settings", e, &info) : serve(&config, &source);
        config_release(&config);
    }
    args_release(&args);
    return code;
}
