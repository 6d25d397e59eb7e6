/* http_conn: what the parts of the HTTP server share: http_server.c is a connection's life,
 * http_read.c reads, http_reply.c writes, http_hold.c holds ends back. For these only. */
#ifndef LYSS_NET_HTTP_CONN_H
#define LYSS_NET_HTTP_CONN_H

#include "net/http_server.h"

enum { HEAD, BODY, SERVING, STREAMING, LINGER, FLUSH_CLOSE, CLOSED };

/* ---- http_server.c ---- */
/* The state that it is in lasts at most so long. */
void http_conn_set_due(struct http_conn *c, uint32_t ms);
/* Frees what was kept of its input. */
void http_conn_forget_input(struct http_conn *c);
/* The caller is gone, or closed its side: nothing more can be said to it. c may be freed. */
COLD void http_conn_gone(struct http_conn *c);
/* What is kept, or what TLS holds, is read on the next turn. */
void http_conn_look_again(struct http_conn *c);

/* ---- http_read.c ---- */
/* Takes what is there, no more than is fair to the others. */
void http_conn_read(struct http_conn *c);
/* Goes on with what was kept of its input. */
void http_conn_read_kept(struct http_conn *c);
/* The body cannot be taken: what still comes of it is read and thrown away; the reply is the
 * connection's last. */
COLD void http_conn_fail_body(struct http_conn *c, enum err e, struct err_info *info);

/* ---- writing ---- */
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
