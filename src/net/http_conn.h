/* http_conn: what the two halves of the HTTP server share: http_server.c reads, http_reply.c
 * writes. For these two only. */
#ifndef LYSS_NET_HTTP_CONN_H
#define LYSS_NET_HTTP_CONN_H

#include "net/http_server.h"

enum { HEAD, BODY, SERVING, STREAMING, LINGER, FLUSH_CLOSE, CLOSED };

/* Writes; false: the peer is gone, which failed() tells on the next turn. Arms the write stall. */
bool http_conn_write(struct http_conn *c, const struct iovec *iov, unsigned n);
/* The same for a reply's last bytes, of which the last one waits where ends are held. */
bool http_conn_write_end(struct http_conn *c, const struct iovec *iov, unsigned n);
/* It is being closed. */
void http_conn_unhold(struct http_conn *c);
/* The reply is written: the next request, or the end. */
void http_conn_request_done(struct http_conn *c);
/* Closes once what is queued has gone out. */
void http_conn_close_when_sent(struct http_conn *c);
/* The reply's end could not be written: nothing more is owed to the service. */
void http_conn_end_unsent(struct http_conn *c);

#endif
