/* main: which command. Each is one row here; what it does is in a file of its own. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/group.h"
#include "cli/print.h"
#include "core/clock.h"
#include "net/tls.h"

static int serve(int argc, char **argv)
{
    return cmd_serve(argc, argv, false);
}

static int dev(int argc, char **argv)
{
    return cmd_serve(argc, argv, true);
}

static const struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
    const struct group *group;
} commands[] = {
    {"serve", "serve, with what the data directory holds", serve, NULL},
    {"dev", "serve with a demo tenant and a built-in demo provider", dev, NULL},
    {"check", "check settings, data directory, key and schema", cmd_check, NULL},
    {"migrate", "bring the databases up to date", cmd_migrate, NULL},
    {"provider", "kinds of upstreams", NULL, &group_provider},
    {"channel", "ways to upstreams: address, credentials, models", NULL, &group_channel},
    {"route", "which channels answer for a model", NULL, &group_route},
    {"model", "what is known of models: limits, abilities, prices", cmd_model, NULL},
    {"tenant", "organizations that are kept apart", NULL, &group_tenant},
    {"user", "people and programs of a tenant", NULL, &group_user},
    {"key", "API keys of users", NULL, &group_key},
    {"usage", "what was asked and what it took", cmd_usage, NULL},
    {"simulate", "try the balancing algorithms on made-up channels", cmd_simulate, NULL},
    {"version", "print the version", cmd_version, NULL},
};

#define COMMANDS (sizeof commands / sizeof *commands)

static int help(void)
{
    struct buf out;
    struct err_info info;
    err_info_init(&info);
    buf_init(&out, 64 << 10);
    buf_lit(&out, "lyss: an AI gateway in one binary\n\nUsage:\n  lyss COMMAND [flags]\n\n"
                  "Commands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        buf_printf(&out, "  %-10s%s\n", commands[i].name, commands[i].summary);
    buf_lit(&out, "\nExamples:\n"
                  "  lyss dev                      try it out: prints an address and a key\n"
                  "  lyss channel add main --provider openai --model 'gpt-*' "
                  "--credential-stdin <key.txt\n"
                  "  lyss channel --help           all flags, with defaults\n"
                  "  lyss usage --since 24h\n"
                  "\nSettings are listed in docs/configuration.md; `lyss check` prints those in "
                  "force.\n");
    int status = print_out(&out, &info) ? 1 : 0;
    buf_release(&out);
    return status;
}

int cmd_version(int argc, char **argv)
{
    bool json = false;
    for (int i = 1; i < argc; i++)
        json |= !strcmp(argv[i], "--json");
#if LYSS_DEBUG
    const char *build = "debug";
#elif LYSS_PROFILED
    const char *build = "release, profiled";
#else
    const char *build = "release";
#endif
    printf(json ? "{\"version\":\"%s\",\"build\":\"%s\"}\n" : "lyss %s (%s)\n", LYSS_VERSION,
           build);
    return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (!tls_memory_init())
        print_note("OpenSSL was in use before its memory could be routed");
    signal(SIGPIPE, SIG_IGN);
    clock_init();
    if (argc < 2) {
        print_note("a command must follow\n      see: lyss --help");
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return help();
    if (!strcmp(argv[1], "--version"))
        return cmd_version(argc - 1, argv + 1);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        return commands[i].group ? group_run(commands[i].group, argc - 1, argv + 1)
                                 : commands[i].run(argc - 1, argv + 1);
    }
    print_note("there is no command \"%.40s\"\n      see: lyss --help", argv[1]);
    return 2;
}
