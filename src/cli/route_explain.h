/* route_explain: `lyss route explain MODEL`. Main thread. */
#ifndef LYSS_CLI_ROUTE_EXPLAIN_H
#define LYSS_CLI_ROUTE_EXPLAIN_H

#include "cli/group.h"

extern const struct option route_explain_options[];
/* The verb: each candidate with the reason it would or would not be taken. */
enum err route_explain(struct call *c);

#endif
