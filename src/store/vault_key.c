/* vault_key: reading and making the key-encryption key. */
#include "store/vault_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/rng.h"

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool vault_key_hex(struct str s, uint8_t *out, size_t n)
{
    if (s.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_digit(s.p[2 * i]), lo = hex_digit(s.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

bool vault_key_parse(struct str s, uint8_t out[VAULT_KEY_BYTES])
{
    s = str_trim(s);
    if (vault_key_hex(s, out, VAULT_KEY_BYTES))
        return true;
    if (s.n == 44 && s.p[43] == '=')
        s.n--;
    if (s.n != 43)
        return false;
    unsigned bits = 0, held = 0;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int d = base64_digit(s.p[i]);
        if (d < 0)
            return false;
        bits = bits << 6 | (unsigned)d;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    return n == VAULT_KEY_BYTES && (bits & 3) == 0;
}

static enum err read_file(const char *file, uint8_t out[VAULT_KEY_BYTES], struct err_info *info)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT
                   ? err_set(info, ERR_NOT_FOUND, "the encryption key file %s is not there", file)
                   : err_set(info, ERR_IO, "the encryption key file %s cannot be read: %s", file,
                             strerror(errno));
    char text[256];
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    bool ok = n > 0 && vault_key_parse(str_make(text, (size_t)n), out);
    explicit_bzero(text, sizeof text);
    return ok ? ERR_OK
              : err_set(info, ERR_INVALID,
                        "%s does not hold an encryption key: 32 bytes as 64 hex digits or base64 "
                        "(make one with: openssl rand -hex 32)",
                        file);
}

/* Written beside, synced, then linked into place: a file that exists is always whole, and an
 * existing one is never replaced. */
static enum err create_file(const char *file, struct err_info *info)
{
    uint8_t key[VAULT_KEY_BYTES];
    char text[2 * VAULT_KEY_BYTES + 2], beside[4096];
    rng_bytes(key, sizeof key);
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    text[sizeof text - 2] = '\n';
    snprintf(beside, sizeof beside, "%s.new.%ld", file, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1 &&
              fsync(fd) == 0 && (link(beside, file) == 0 || errno == EEXIST);
    int why = errno;
    if (fd >= 0) {
        close(fd);
        unlink(beside);
    }
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, sizeof text);
    return ok ? ERR_OK
              : err_set(info, ERR_IO, "the encryption key file %s cannot be made: %s", file,
                        strerror(why));
}

enum err vault_key_find(struct str text, const char *file, bool may_create,
                        uint8_t out[VAULT_KEY_BYTES], struct err_info *info)
{
    if (text.n)
        return vault_key_parse(text, out)
                   ? ERR_OK
                   : err_set(info, ERR_INVALID,
                             "LYSS_ENCRYPTION_KEY is not a key: 32 bytes as 64 hex digits or "
                             "base64 (make one with: openssl rand -hex 32)");
    enum err e = read_file(file, out, info);
    if (e == ERR_NOT_FOUND && may_create) {
        e = create_file(file, info);
        if (!e)
            e = read_file(file, out, info);
    }
    return e;
}
