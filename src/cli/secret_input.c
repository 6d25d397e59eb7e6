/* secret_input: a secret is read into one buffer, copied into its struct, and the buffer wiped. */
#include "cli/secret_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 8192 };

/* Reads to the end, or on a terminal to the end of the line. */
static ssize_t read_all(int fd, bool terminal, char *to, size_t room)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = read(fd, to + n, room - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        n += (size_t)got;
        if (!got || (terminal && n && to[n - 1] == '\n'))
            break;
    }
    return (ssize_t)n;
}

static ssize_t read_typed(int fd, char *to, size_t room)
{
    struct termios was, quiet;
    if (tcgetattr(fd, &was))
        return -1;
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs("credential (not shown): ", stderr);
    if (tcsetattr(fd, TCSAFLUSH, &quiet))
        return -1;
    ssize_t n = read_all(fd, true, to, room);
    tcsetattr(fd, TCSAFLUSH, &was);
    fputc('\n', stderr);
    return n;
}

enum err secret_read(const char *file, struct secret *out, struct err_info *info)
{
    char text[SECRET_BYTES_MAX + 2];
    const char *from = file ? file : "stdin";
    *out = (struct secret){0};
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0)
        return err_set(info, ERR_IO, "%s cannot be read: %s", from, strerror(errno));
    ssize_t n =
        isatty(fd) ? read_typed(fd, text, sizeof text) : read_all(fd, false, text, sizeof text);
    int why = errno;
    enum err e = ERR_OK;
    if (file)
        close(fd);
    struct str s = str_trim(str_make(text, n > 0 ? (size_t)n : 0));
    if (n < 0)
        e = err_set(info, ERR_IO, "%s cannot be read: %s", from, strerror(why));
    else if (!s.n)
        e = err_set(info, ERR_INVALID, "%s holds no credential", from);
    else if (s.n > SECRET_BYTES_MAX)
        e = err_set(info, ERR_INVALID, "%s holds more than %d bytes", from, SECRET_BYTES_MAX);
    if (!e)
        *out = secret_take_copy(s);
    if (!e && secret_empty(out))
        e = ERR_NOMEM;
    explicit_bzero(text, sizeof text);
    return e;
}
