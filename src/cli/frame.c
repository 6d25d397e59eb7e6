/* frame: the same steps for each command, and the same end however far it came. */
#include "cli/frame.h"

#include "cli/group.h"
#include "cli/help.h"
#include "cli/print.h"

int frame_run(const struct command *c, int argc, char **argv)
{
    struct frame f = {.out = {0}};
    struct args_form form = {.options = c->options};
    int status = 0;
    err_info_init(&f.info);
    buf_init(&f.out, PRINT_BYTES_MAX);
    buf_init(&f.config.warnings, 1);
    enum err e = args_parse(&f.args, &form, argc, argv, &f.info);
    if (!e && f.args.help) {
        status = help_command(c->usage, c->options, c->examples, false);
    } else {
        if (!e)
            e = args_config(&f.args, &f.config, &f.info);
        if (!e)
            e = c->run(&f);
        if (!e)
            e = print_out(&f.out, &f.info);
        if (e)
            status = cli_failed(e, &f.info, NULL, c->name);
    }
    buf_release(&f.out);
    config_release(&f.config);
    args_release(&f.args);
    return status;
}
