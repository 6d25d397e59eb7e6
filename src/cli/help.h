/* help: texts of --help, made from the tables. They go to stdout; the exit status is returned. */
#ifndef LYSS_CLI_HELP_H
#define LYSS_CLI_HELP_H

#include "cli/group.h"

/* verb NULL: the whole group. */
int help_group(const struct group *g, const struct verb *verb);
/* A text of the command's own, then the shared flags; settings: also those of the process. */
int help_command(const char *usage, const struct option *options, const char *examples,
                 bool settings);

#endif
