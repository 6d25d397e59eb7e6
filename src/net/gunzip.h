/* gunzip: decodes a gzip or zlib body piece by piece, under caps on what it may grow to.
 *
 * For upstreams that compress although they were asked not to.  Owned by one
 * thread. */
#ifndef LYSS_NET_GUNZIP_H
#define LYSS_NET_GUNZIP_H

#include "core/buf.h"
#include "core/err.h"

/* A decoded body may be this many times as long as what came in, beyond its first
 * GUNZIP_FREE_BYTES. */
#define GUNZIP_RATIO_MAX  200
#define GUNZIP_FREE_BYTES 65536

struct gunzip;

/* True for the content codings that are decoded: gzip, x-gzip, deflate (in any case). */
bool gunzip_knows(struct str coding);

/* NULL: no memory. */
struct gunzip *gunzip_new(void) MUST_CHECK;
void gunzip_free(struct gunzip **z);

/* Appends what `in` decodes to. ERR_UPSTREAM_PROTOCOL: not a gzip or zlib text, or it grows beyond
 * the caps (those above, and out's own maximum); ERR_NOMEM. After an error only free it. */
enum err gunzip_feed(struct gunzip *z, struct str in, struct buf *out,
                     struct err_info *info) MUST_CHECK;
/* Has the text come to its own end? A body that ends before is cut. */
bool gunzip_ended(const struct gunzip *z);

#endif
