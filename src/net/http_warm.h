/* http_warm: keeps connections to the origins that are in use, so that the call that comes after a
 * pause finds one. What it shares with http_client.c, of which it is a part. */
#ifndef LYSS_NET_HTTP_WARM_H
#define LYSS_NET_HTTP_WARM_H

#include "net/http_client.h"

/* A call to o begins. */
void http_warm_touch(struct http_client *c, struct http_origin *o);
/* A last time: forgets all origins, closes what is being made. */
void http_warm_stop(struct http_client *c);

/* ---- http_connect.c ---- */
/* Begins a connection, for no call yet; NULL: no memory. */
struct http_upstream *http_upstream_new(struct http_client *c, struct http_origin *o);
/* ---- http_client.c ---- */
/* At once, whatever it does; its call, if any, hears nothing. */
void http_upstream_close(struct http_upstream *u);

#endif
