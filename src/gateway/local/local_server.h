/* local_server: what a command on this machine may ask the serving process, over the socket
 * `control.sock` in the data directory.
 *
 * HTTP/1.1, read by the parser that reads callers, on the loop of one worker.
 * Whoever may open the socket (mode 0600) may ask; nothing that it answers
 * changes anything. Made and freed by the control thread, before the worker's thread starts
 * and after it has ended; between them the worker's. */
#ifndef LYSS_GATEWAY_LOCAL_SERVER_H
#define LYSS_GATEWAY_LOCAL_SERVER_H

#include "gateway/worker.h"

#define LOCAL_SOCKET "control.sock"

struct local_server;

/* Makes the socket in a data directory that this process has locked and listens on the worker's
 * loop. NULL: it cannot be, which is logged; the process serves without. */
struct local_server *local_server_new(struct worker *w, const char *data_dir);
/* On the worker's thread: accepts no more. */
void local_server_stop(struct local_server *s);
/* Removes the socket. After the loop has stopped, and before loop_free. s may be NULL. */
void local_server_free(struct local_server **s);

#endif
