/* unix_socket: stream sockets that have a path in place of an address: for programs of this
 * machine, kept apart by the rights of a file.
 *
 * The descriptors are what tcp_listen and tcp_open take.  Any thread. */
#ifndef LYSS_NET_UNIX_SOCKET_H
#define LYSS_NET_UNIX_SOCKET_H

#include "core/err.h"

enum { UNIX_PATH_MAX = 108 }; /* the system's, with the NUL */

/* A bound, listening descriptor; the socket has mode 0600 from its first moment. One that stands
 * there already is removed: whoever calls knows that nobody listens on it. -1 and info: it cannot
 * be (ERR_TOO_BIG: the path is too long). */
int unix_listen(const char *path, enum err *e, struct err_info *info);
/* A connected descriptor; does not wait. -1: ERR_NOT_FOUND nobody listens there; ERR_TOO_BIG, and
 * ERR_IO with info. */
int unix_connect(const char *path, enum err *e, struct err_info *info);

#endif
