/* url: an upstream's URL, parsed strictly, and the pieces that Lyss puts into one.
 *
 * What two parsers could read differently is refused rather than repaired:
 * user-info, backslashes, blanks, controls, anything but ASCII, fragments, a
 * trailing dot, zone ids, numeric hosts that are not a plain dotted quad (short,
 * octal, hexadecimal, decimal), dot segments, and encoded slashes.  Pure
 * functions, any thread. */
#ifndef LYSS_NET_URL_H
#define LYSS_NET_URL_H

#include "core/buf.h"
#include "core/err.h"
#include "net/addr.h"

enum { URL_MAX = 2048, URL_HOST_MAX = 254, URL_AUTHORITY_MAX = 264, URL_SEGMENT_MAX = 256 };

struct url {
    bool https;
    bool is_ip;     /* the host is a literal, in ip */
    struct addr ip; /* with the port */
    uint16_t port;  /* 443 or 80 when not given */
    uint8_t host_n;
    char host[URL_HOST_MAX]; /* lower case, NUL-terminated, without brackets */
    struct str path;         /* borrowed from the text; begins with '/' or is empty */
    struct str query;        /* borrowed, behind the '?'; p is NULL when there is none */
};

/* ERR_INVALID with a sentence in info. The text must outlive path and query. */
enum err url_parse(struct str text, struct url *out, struct err_info *info) MUST_CHECK;
static inline struct str url_host(const struct url *u)
{
    return str_make(u->host, u->host_n);
}
/* What a Host header holds: brackets around IPv6, the port unless it is the scheme's own. */
char *url_authority(const struct url *u, char out[URL_AUTHORITY_MAX]);

/* Appends id, percent-encoded into one path segment: '/', ':' and '@' lose their meaning.
 * ERR_INVALID for an empty or overlong id, ".", one that holds "..", any of ?#%\ or a control. */
enum err url_segment_encode(struct buf *out, struct str id, struct err_info *info) MUST_CHECK;
/* Resource, deployment and API version names: [A-Za-z0-9._-]+, at most 128, not "." nor with "..".
 */
bool url_token_valid(struct str s);

#endif
