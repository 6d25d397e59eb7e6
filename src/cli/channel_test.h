/* channel_test: `lyss channel test NAME`. Main thread. */
#ifndef LYSS_CLI_CHANNEL_TEST_H
#define LYSS_CLI_CHANNEL_TEST_H

#include "cli/group.h"

extern const struct option channel_test_options[];
/* The verb: prints what each credential's probe found; the exit status is 1 where one failed. */
enum err channel_test(struct call *c);

#endif
