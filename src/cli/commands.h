/* commands: what stands behind each word after `lyss`. argv[0] is that word; the exit status is
 * returned: 0 done, 1 failed, 2 not understood. Main thread. */
#ifndef LYSS_CLI_COMMANDS_H
#define LYSS_CLI_COMMANDS_H

#include <stdbool.h>

int cmd_serve(int argc, char **argv, bool dev);
int cmd_check(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_usage(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
