/* guard: which addresses Lyss may connect to.
 *
 * A channel's URL comes from a tenant, and a name's addresses from whoever runs
 * its DNS; neither may lead into the operator's own network.  So every upstream
 * socket is opened to a struct checked_addr, and only guard_check and
 * guard_check_all make one: public addresses pass, every other class is refused
 * unless the operator's list (LYSS_UPSTREAM_ALLOW) admits it.
 *
 * How the list admits:
 * - A network of the list admits the addresses in it, of its own family.
 * - Metadata services and the unspecified address are admitted only by an entry
 *   for that very address (/32 or /128), so that a wide network does not open
 *   them by accident.
 * - IPv6 forms that carry an IPv4 address (mapped, compatible, translated,
 *   NAT64, 6to4, Teredo) need both: an IPv6 network that holds the form, and an
 *   IPv4 address inside that would itself pass.  127.0.0.0/8 does not admit
 *   ::ffff:127.0.0.1, and 64:ff9b::/96 does not admit 64:ff9b::127.0.0.1.
 *
 * A guard is immutable once made and may be used from any thread. */
#ifndef LYSS_NET_GUARD_H
#define LYSS_NET_GUARD_H

#include "net/addr.h"

enum addr_class {
    ADDR_PUBLIC,
    ADDR_UNSPECIFIED,
    ADDR_LOOPBACK,
    ADDR_PRIVATE,
    ADDR_CGNAT,
    ADDR_LINK_LOCAL,
    ADDR_METADATA,
    ADDR_MULTICAST,
    ADDR_BROADCAST,
    ADDR_RESERVED,
    ADDR_DOCUMENTATION,
    ADDR_BENCHMARKING,
    ADDR_IPV4_MAPPED,
    ADDR_IPV4_COMPATIBLE,
    ADDR_IPV4_TRANSLATED,
    ADDR_NAT64,
    ADDR_6TO4,
    ADDR_TEREDO,
    ADDR_CLASS_COUNT
};

enum addr_class addr_classify(const struct addr *a);
/* "private", "link-local", … */
const char *addr_class_name(enum addr_class c);

/* Zeroed: nothing but public addresses. */
struct guard {
    struct cidr_list allow;
};

/* An address that has passed. Its member is for guard.c and checked_addr_get only. */
struct checked_addr {
    struct addr addr_;
};

/* Lends the address for connect(); asserts that it was checked. */
const struct addr *checked_addr_get(const struct checked_addr *c);

/* ERR_ADDRESS_REFUSED, with the class and its RFC (never the address, which a tenant may not know)
 * in info; out is then empty. A port of 0 is refused too. */
enum err guard_check(const struct guard *g, const struct addr *a, struct checked_addr *out,
                     struct err_info *info) MUST_CHECK;
/* For the n answers of one name: all pass or none does, so that an answer that mixes public and
 * refused addresses is refused as a whole. No answer at all is ERR_DNS. out holds n. */
enum err guard_check_all(const struct guard *g, const struct addr *a, size_t n,
                         struct checked_addr *out, struct err_info *info) MUST_CHECK;

#endif
