/* local_client: a command's question to the process that serves its data directory
 * (local_server.h). Blocks, on a loop of its own. */
#ifndef LYSS_GATEWAY_LOCAL_CLIENT_H
#define LYSS_GATEWAY_LOCAL_CLIENT_H

#include "core/buf.h"
#include "core/err.h"

/* POSTs body to path; the answer's status, and its body into reply (the caller's, initialised).
 * ERR_NOT_FOUND: no process serves this directory. Any other error: one may, but did not answer;
 * info says why. */
enum err local_ask(const char *data_dir, const char *path, struct str body, int *status,
                   struct buf *reply, struct err_info *info) MUST_CHECK;

#endif
