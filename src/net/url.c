/* url: one pass from the left, no backtracking, no allocation. The rule for numeric hosts is that
 * of the WHATWG URL standard ("ends in a number"): any resolver that would read such a host as an
 * address does so because its last label is a number, so those must be a plain dotted quad. */
#include "net/url.h"

#include <stdio.h>

enum {
    C_UNRESERVED = 1, /* RFC 3986, 2.3 */
    C_PATH = 2,       /* may stand in a path as it is: pchar and '/' */
    C_LABEL = 4,      /* may stand in a host name's label */
};

static int char_class(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return C_UNRESERVED | C_PATH | C_LABEL;
    switch (c) {
    case '-':
    case '_':
        return C_UNRESERVED | C_PATH | C_LABEL;
    case '.':
    case '~':
        return C_UNRESERVED | C_PATH;
    default:
        return c && strchr("!$&'()*+,;=:@/", c) ? C_PATH : 0;
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = str_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool all_digits(struct str s, bool hex)
{
    for (size_t i = 0; i < s.n; i++)
        if (hex ? hex_value(s.p[i]) < 0 : s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

/* Some resolver reads this last label as a part of an IPv4 address. */
static bool is_number(struct str label)
{
    if (all_digits(label, false))
        return true;
    return label.n >= 2 && label.p[0] == '0' && str_lower(label.p[1]) == 'x' &&
           all_digits(str_from(label, 2), true);
}

static enum err parse_name(struct str host, struct url *out, struct err_info *info)
{
    struct str rest = host, label = STR_NULL;
    if (host.n >= URL_HOST_MAX)
        return err_set(info, ERR_INVALID, "the URL's host is longer than 253 characters");
    while (str_split(&rest, '.', &label)) {
        if (label.n == 0)
            return err_set(info, ERR_INVALID,
                           "the URL's host has an empty label or a trailing dot");
        if (label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return err_set(info, ERR_INVALID,
                           "a part of the URL's host is too long or has a hyphen at its edge");
        for (size_t i = 0; i < label.n; i++)
            if (!(char_class((unsigned char)label.p[i]) & C_LABEL))
                return err_set(info, ERR_INVALID,
                               "the URL's host may hold letters, digits, '-', '_' and '.' only");
    }
    if (is_number(label))
        return err_set(info, ERR_INVALID,
                       "the URL's host looks like an IPv4 address but is no plain a.b.c.d");
    for (size_t i = 0; i < host.n; i++)
        out->host[i] = str_lower(host.p[i]);
    out->host_n = (uint8_t)host.n;
    return ERR_OK;
}

/* host without brackets; bracketed tells whether it had them. */
static enum err parse_host(struct str host, bool bracketed, struct url *out, struct err_info *info)
{
    if (host.n == 0)
        return err_set(info, ERR_INVALID, "the URL has no host");
    out->is_ip = addr_parse(host, out->port, &out->ip);
    if (bracketed != (out->is_ip && out->ip.family == AF_INET6))
        return err_set(info, ERR_INVALID,
                       "an IPv6 address, and nothing else, stands in brackets in a URL");
    if (!out->is_ip)
        return parse_name(host, out, info);
    char text[ADDR_TEXT_MAX];
    str_copy(out->host, sizeof out->host, str_c(addr_format_ip(&out->ip, text)));
    out->host_n = (uint8_t)strlen(out->host);
    return ERR_OK;
}

static enum err parse_port(struct str s, uint16_t *port, struct err_info *info)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 5 || s.p[0] == '0' || !str_u64(s, 65535, &v))
        return err_set(info, ERR_INVALID, "the URL's port is no number from 1 to 65535");
    *port = (uint16_t)v;
    return ERR_OK;
}

static enum err parse_authority(struct str s, struct url *out, struct err_info *info)
{
    bool bracketed = s.n && s.p[0] == '[';
    if (str_chr(s, '@') >= 0)
        return err_set(info, ERR_INVALID, "user names and passwords in URLs are refused");
    ptrdiff_t end = str_chr(s, bracketed ? ']' : ':');
    if (bracketed && end < 0)
        return err_set(info, ERR_INVALID, "the URL's host has no closing bracket");
    struct str host = str_make(s.p, end < 0 ? s.n : (size_t)end);
    struct str tail = str_from(s, host.n);
    if (bracketed) {
        host = str_from(host, 1);
        tail = str_from(tail, 1);
    }
    if (tail.n && tail.p[0] != ':')
        return err_set(info, ERR_INVALID, "the URL's host is followed by something else");
    if (tail.n) {
        enum err e = parse_port(str_from(tail, 1), &out->port, info);
        if (e)
            return e;
    }
    return parse_host(host, bracketed, out, info);
}

/* Length of the character at s, decoded into *c; 0 when it may not stand there. */
static size_t path_char(struct str s, bool query, char *c)
{
    *c = s.p[0];
    if (*c != '%')
        return (char_class((unsigned char)*c) & C_PATH) || (query && *c == '?') ? 1 : 0;
    if (s.n < 3 || hex_value(s.p[1]) < 0 || hex_value(s.p[2]) < 0)
        return 0;
    int v = hex_value(s.p[1]) * 16 + hex_value(s.p[2]);
    *c = (char)v;
    if (v < 0x20 || v == 0x7f || (!query && (v == '/' || v == '\\')))
        return 0;
    return 3;
}

static enum err check_path(struct str path, bool query, struct err_info *info)
{
    size_t dots = 0, others = 1; /* of the segment so far; what precedes the first '/' is none */
    for (size_t i = 0, step; i <= path.n; i += step) {
        char c = '/';
        step = 1;
        if (i < path.n && (step = path_char(str_from(path, i), query, &c)) == 0)
            return err_set(info, ERR_INVALID, "the URL's %s holds a character it may not",
                           query ? "query" : "path");
        if (c != '/') {
            *(c == '.' ? &dots : &others) += 1;
            continue;
        }
        if (!query && others == 0 && (dots == 1 || dots == 2))
            return err_set(info, ERR_INVALID, "the URL's path holds '.' or '..'");
        dots = others = 0;
    }
    return ERR_OK;
}

enum err url_parse(struct str text, struct url *out, struct err_info *info)
{
    *out = (struct url){.port = 80};
    if (text.n > URL_MAX)
        return err_set(info, ERR_INVALID, "the URL is longer than %d bytes", URL_MAX);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '\\' || c == '#')
            return err_set(info, ERR_INVALID,
                           "a URL may not hold blanks, controls, backslashes, '#' or anything but "
                           "ASCII (byte %zu)",
                           i);
    }
    struct str rest = text;
    if (text.n >= 8 && str_ieq(str_make(text.p, 8), STR("https://"))) {
        out->https = true;
        out->port = 443;
        rest = str_from(text, 8);
    } else if (text.n >= 7 && str_ieq(str_make(text.p, 7), STR("http://"))) {
        rest = str_from(text, 7);
    } else {
        return err_set(info, ERR_INVALID, "a URL begins with http:// or https://");
    }
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    enum err e = parse_authority(str_make(rest.p, n), out, info);
    if (e)
        return e;
    out->path = str_from(rest, n);
    ptrdiff_t mark = str_chr(out->path, '?');
    if (mark >= 0) {
        out->query = str_from(out->path, (size_t)mark + 1);
        out->path.n = (size_t)mark;
        e = check_path(out->query, true, info);
    }
    return e ? e : check_path(out->path, false, info);
}

char *url_authority(const struct url *u, char out[URL_AUTHORITY_MAX])
{
    bool v6 = u->is_ip && u->ip.family == AF_INET6;
    int n = snprintf(out, URL_AUTHORITY_MAX, v6 ? "[%.*s]" : "%.*s", (int)u->host_n, u->host);
    if (u->port != (u->https ? 443 : 80))
        snprintf(out + n, URL_AUTHORITY_MAX - (size_t)n, ":%u", u->port);
    return out;
}

enum err url_segment_encode(struct buf *out, struct str id, struct err_info *info)
{
    static const char digits[] = "0123456789ABCDEF";
    if (id.n == 0 || id.n > URL_SEGMENT_MAX)
        return err_set(info, ERR_INVALID, "the name must have 1 to %d bytes", URL_SEGMENT_MAX);
    if (str_eq(id, STR(".")) || str_find(id, STR("..")) >= 0)
        return err_set(info, ERR_INVALID, "the name may not hold '..'");
    for (size_t i = 0; i < id.n; i++) {
        unsigned char c = (unsigned char)id.p[i];
        if (c < 0x20 || c == 0x7f || memchr("?#%\\", c, 4))
            return err_set(info, ERR_INVALID,
                           "the name may not hold '?', '#', '%%', '\\' or control characters");
    }
    for (size_t i = 0; i < id.n; i++) {
        unsigned char c = (unsigned char)id.p[i];
        if (char_class(c) & C_UNRESERVED) {
            buf_char(out, (char)c);
        } else {
            char three[3] = {'%', digits[c >> 4], digits[c & 15]};
            buf_add(out, three, sizeof three);
        }
    }
    return buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

bool url_token_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '~' || !(char_class((unsigned char)s.p[i]) & C_UNRESERVED))
            return false;
    return s.n > 0 && s.n <= 128 && !str_eq(s, STR(".")) && str_find(s, STR("..")) < 0;
}
