/* passthrough: /passthrough/{channel}/…: a provider's own API by way of a channel, bytes untouched:
 * authenticated, limited and metered, but not understood.
 *
 * The worker's thread. */
#ifndef LYSS_GATEWAY_PASSTHROUGH_H
#define LYSS_GATEWAY_PASSTHROUGH_H

#include "gateway/choose/choose.h"
#include "gateway/surface.h"

/* Keeps the method, the rest of the path and the fields that go on. ERR_INVALID: a path that would
 * leave the channel's; ERR_NOT_FOUND: no such channel for this key; ERR_FORBIDDEN: the key is for
 * certain models; ERR_NOMEM. */
enum err passthrough_read(struct request *r, const struct surface *s, const struct api_key *k,
                          const struct http_head *h, struct err_info *info) MUST_CHECK;
/* The channel that the path names, if it may be asked now. */
bool passthrough_choose(struct request *r, struct choice *out, struct reasons *why);
/* Appends the upstream's head. */
void passthrough_write_head(const struct request *r, const struct choice *c, size_t length,
                            struct buf *out);
/* What an answer of this status counts as. What the caller asked for may well not be there, or not
 * be allowed to this account: below 500 it says nothing of the channel or its credential. */
enum err passthrough_error(int status);
/* The upstream has answered: status and fields go on to the caller. False: r is gone. */
bool passthrough_answer(struct request *r, const struct http_head *h);

#endif
