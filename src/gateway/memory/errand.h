/* errand: reaches data that one worker owns from any other: there by a message, back by another.
 *
 * What is kept across requests is divided among the workers by a hash of its
 * key, so that each datum has one owner and needs no lock.  An errand is
 * embedded in what it carries; from start to return it is the owner's, before
 * and after it is home's.  Where the owner is home itself no message is sent. */
#ifndef LYSS_GATEWAY_ERRAND_H
#define LYSS_GATEWAY_ERRAND_H

#include "gateway/worker.h"

struct errand {
    struct message m; /* in the mailbox of either */
    struct worker *home, *owner;
    void (*there)(struct errand *e); /* on the owner's thread; calls errand_return, then or later */
    void (*back)(struct errand *e);  /* on home's thread */
    bool starting, returned;
};

/* The worker that owns what has this hash. */
struct worker *errand_owner(const struct worker *w, uint64_t hash);
/* On home's thread. True: it is done and back already, and back() is not called; only where the
 * owner is home. False: back() comes on a later turn of home's loop. */
bool errand_start(struct errand *e, struct worker *home, struct worker *owner,
                  void (*there)(struct errand *), void (*back)(struct errand *)) MUST_CHECK;
/* On the owner's thread, once for each start. */
void errand_return(struct errand *e);
/* loop_post, but once all loops have stopped the message is run at once. */
void errand_post(struct worker *to, struct message *m);

#endif
