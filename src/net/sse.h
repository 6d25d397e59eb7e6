/* sse: server-sent events (WHATWG HTML, 9.2), cut into events without changing a byte.
 *
 * Pure; the spans point into the input, but for data of several lines, which is
 * joined in a buffer of the calling thread and valid until its next call. */
#ifndef LYSS_NET_SSE_H
#define LYSS_NET_SSE_H

#include "core/err.h"

#define SSE_EVENT_MAX 65536

struct sse_event {
    struct str raw;  /* the event as it came, its empty line included */
    struct str name; /* last `event:` value, else empty */
    struct str data; /* `data:` values joined by LF */
    bool has_data;   /* false: comments and blank lines only */
};

/* Cuts the next complete event off *in. False when *in holds none; it then is the unfinished tail.
 * Lines end in LF or CRLF. */
bool sse_next(struct str *in, struct sse_event *ev) MUST_CHECK;

#endif
