/* unix_socket: bind and connect by path. */
#include "net/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int fail(int fd, enum err *e, enum err why, struct err_info *info)
{
    int was = errno;
    if (fd >= 0)
        close(fd);
    *e = err_set(info, why, "%s", strerror(was));
    return -1;
}

static int open_socket(const char *path, struct sockaddr_un *at, enum err *e, struct err_info *info)
{
    size_t n = strlen(path);
    *e = ERR_OK;
    if (n >= sizeof at->sun_path) {
        *e = err_set(info, ERR_TOO_BIG, "the path has %zu bytes, of which a socket's may have %zu",
                     n, sizeof at->sun_path - 1);
        return -1;
    }
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(at->sun_path, path, n + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : fail(fd, e, ERR_IO, info);
}

int unix_listen(const char *path, enum err *e, struct err_info *info)
{
    struct sockaddr_un at;
    struct stat there;
    int fd = open_socket(path, &at, e, info);
    if (fd < 0)
        return -1;
    if (!lstat(path, &there) && S_ISSOCK(there.st_mode))
        unlink(path);
    /* Before bind: what is bound takes the descriptor's mode, so that there is no moment in which
     * the umask alone decides. */
    if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, BACKLOG))
        return fail(fd, e, ERR_IO, info);
    return fd;
}

int unix_connect(const char *path, enum err *e, struct err_info *info)
{
    struct sockaddr_un at;
    int fd = open_socket(path, &at, e, info);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at))
        return fail(fd, e, errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_IO, info);
    return fd;
}
