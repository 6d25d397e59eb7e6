/* frame: what a command that belongs to no group does around its work: its flags, its help, the
 * settings, what it prints, and how it fails. Main thread. */
#ifndef LYSS_CLI_FRAME_H
#define LYSS_CLI_FRAME_H

#include "cli/args.h"

struct frame {
    struct args args;
    struct config config;
    struct buf out; /* goes to stdout when run has succeeded */
    struct err_info info;
};

struct command {
    const char *name;
    const char *usage, *examples; /* of its help, see help_command */
    const struct option *options;
    /* The work; flags and settings have been read. */
    enum err (*run)(struct frame *f);
};

/* The exit status. */
int frame_run(const struct command *c, int argc, char **argv);

#endif
