/* demo: the built-in provider, an upstream inside the process that speaks the OpenAI wire.
 *
 * It lets Lyss be tried without any account: its answers are canned, say so,
 * and carry "lyss-demo" as their fingerprint.  One struct demo per worker, owned
 * by the worker's thread and living on its loop; the gateway talks HTTP/1.1 to it
 * over a socket pair as to any other upstream.
 *
 * Models: any name that is "demo" or begins with "demo-".  Some have a manner:
 * demo-fast answers without pacing, demo-slow slowly, demo-parallel calls two
 * tools at once, demo-error fails with 500, demo-ratelimit with 429 and
 * Retry-After, demo-cut breaks off in the middle. */
#ifndef LYSS_GATEWAY_DEMO_H
#define LYSS_GATEWAY_DEMO_H

#include "core/err.h"
#include "net/loop.h"

struct demo;

/* The loop must outlive it. ERR_NOMEM. */
enum err demo_new(struct demo **out, struct loop *l) MUST_CHECK;
/* A new connection: the caller's end of a socket pair (non-blocking, close-on-exec), which becomes
 * the caller's to close; -1: no descriptors or too many connections. */
int demo_open(struct demo *d);
/* Requests that are being answered. */
unsigned demo_busy(const struct demo *d);
/* Breaks off whatever is under way. After the loop has stopped and before loop_free, which takes
 * the connections' last callbacks. */
void demo_close(struct demo **d);

#endif
