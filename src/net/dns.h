/* dns: names to addresses, on the loop, with a cache.
 *
 * One struct dns per worker, owned by its thread.  Equal names asked at once
 * share one query.  What comes back are plain addresses: the caller takes them
 * through guard_check_all before it connects.  In order: literal addresses,
 * "localhost" (always 127.0.0.1: to reach ::1 write it), the hosts file as it
 * was at start, the cache, the servers. */
#ifndef LYSS_NET_DNS_H
#define LYSS_NET_DNS_H

#include "net/addr.h"
#include "net/loop.h"

enum {
    DNS_ADDRS_MAX = 16,   /* of one answer, IPv4 first; the rest is dropped */
    DNS_CACHE_MAX = 1024, /* names */
    DNS_TTL_MIN_S = 1,    /* also for a TTL of 0 */
    DNS_TTL_MAX_S = 300,
    DNS_NO_NAME_TTL_S = 5,   /* the name does not exist, or has no address */
    DNS_NO_ANSWER_TTL_S = 1, /* no server could tell */
};

/* ---- hosts file ---------------------------------------------------------- */

struct dns_hosts;
/* Reads path (usually /etc/hosts; at most 1 MiB and 4096 names of it). A file that is not there is
 * an empty one. Immutable: to be shared by all threads. NULL on lack of memory. */
struct dns_hosts *dns_hosts_new(const char *path);
void dns_hosts_free(struct dns_hosts **h);
/* Copies up to max addresses of a lower-case name, with port; returns how many. h may be NULL. */
size_t dns_hosts_find(const struct dns_hosts *h, struct str name, uint16_t port, struct addr *out,
                      size_t max);

/* ---- resolver ------------------------------------------------------------ */

struct dns;

struct dns_options {
    const char *servers;           /* "127.0.0.1:5353,[::1]:53"; NULL: those of the system */
    uint32_t timeout_ms;           /* of one dns_resolve; 0: 5000 */
    const struct dns_hosts *hosts; /* borrowed, outlives the dns; may be NULL */
};

/* At start, before the loop runs (reads /etc/resolv.conf). With servers given, names are complete:
 * the system's search domains are not tried. ERR_INVALID for servers that are not understood. */
enum err dns_new(struct dns **out, struct loop *l, const struct dns_options *o,
                 struct err_info *info) MUST_CHECK;
/* Cancels what is waiting; the memory goes once the loop has closed its sockets. Not from within a
 * callback of its own. */
void dns_close(struct dns **d);

/* Embedded in its owner, zeroed before first use; in place until the callback or dns_cancel. */
struct dns_query {
    struct dns_query *next, **prev;
    struct dns *dns;
    struct dns_answer *answer;
    /* addrs are lent for the call, in the order to try them. n > 0 with ERR_OK, else 0 with
     * ERR_DNS, ERR_DNS_TIMEOUT, ERR_OVERLOADED or ERR_NOMEM. */
    void (*done)(struct dns_query *q, enum err e, const struct addr *addrs, size_t n);
    struct deadline timeout;
    enum err err;
    uint16_t port;
};

/* done runs once, later on the loop, unless cancelled. host is copied. */
void dns_resolve(struct dns *d, struct dns_query *q, struct str host, uint16_t port,
                 void (*done)(struct dns_query *q, enum err e, const struct addr *addrs, size_t n));
/* Nothing to do for a query that is done, or was never started. */
void dns_cancel(struct dns_query *q);
/* What is known without asking: ERR_OK and the addresses, ERR_DNS or ERR_DNS_TIMEOUT (the name was
 * asked for in vain a moment ago), or ERR_AGAIN: use dns_resolve. */
enum err dns_lookup_cached(struct dns *d, struct str host, uint16_t port,
                           struct addr out[DNS_ADDRS_MAX], size_t *n) MUST_CHECK;

#endif
