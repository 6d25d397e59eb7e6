/* addr: an IP address and port, and lists of networks.
 *
 * Plain data without ownership; the functions are pure and may be used from
 * any thread. Ports are in host byte order. */
#ifndef LYSS_NET_ADDR_H
#define LYSS_NET_ADDR_H

#include <sys/socket.h>

#include "core/err.h"

struct addr {
    uint8_t bytes[16]; /* network order; IPv4 uses the first 4, the rest are zero */
    uint16_t port;
    uint8_t family; /* AF_INET, AF_INET6; 0: no address */
};

enum { ADDR_TEXT_MAX = 56 /* "[" 45 characters "]:65535" NUL */ };

/* Exactly a dotted quad (no leading zeros) or RFC 4291 text, no brackets, no zone id. */
bool addr_parse(struct str s, uint16_t port, struct addr *out) MUST_CHECK;
/* Canonical text (RFC 5952) without and with the port; both return out. */
char *addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX]);
char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* Address and port. */
bool addr_eq(const struct addr *a, const struct addr *b);
/* Fills out, returns its length; 0 when there is no address. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);
/* False for families other than IPv4 and IPv6. */
bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out) MUST_CHECK;

/* A network: the first bits of an address. */
struct cidr {
    uint8_t bytes[16];
    uint8_t family, bits;
};

enum { CIDR_LIST_MAX = 64 };

struct cidr_list {
    struct cidr items[CIDR_LIST_MAX];
    size_t n;
};

/* "10.0.0.0/8, 127.0.0.1 ::1": networks or single addresses between commas or blanks. ERR_INVALID
 * names what it does not understand, a network with host bits set among them. Empty text is an
 * empty list. */
enum err cidr_list_parse(struct str text, struct cidr_list *out, struct err_info *info) MUST_CHECK;
/* Same family and equal first bits; the port plays no part. An IPv4 network never holds an
 * IPv4-mapped address. */
bool cidr_holds(const struct cidr *c, const struct addr *a);

#endif
