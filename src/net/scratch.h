/* scratch: two areas a thread, for bytes that do not outlive a callback.
 *
 * No idle connection owns a buffer: bytes are read into scratch_read and, if a
 * message is whole, go on from there. scratch_write is where a message is put
 * together for one send. */
#ifndef LYSS_NET_SCRATCH_H
#define LYSS_NET_SCRATCH_H

#define SCRATCH_BYTES 65536

#include "core/buf.h"

/* Growing buffers of a thread, each for one purpose, so that two in use never meet. */
enum scratch_buf {
    SCRATCH_SSE_DATA,      /* data lines of one event, joined */
    SCRATCH_REPLY_HEADERS, /* header lines for a caller */
    SCRATCH_REPLY_BODY,    /* an error for a caller */
    SCRATCH_CALL_HEAD,     /* a request's head for an upstream */
    SCRATCH_DECODED,       /* what a compressed answer decodes to */
    SCRATCH_TRANSLATED,    /* an answer, or some events of it, in the caller's form */
    SCRATCH_BUFS
};

/* Emptied, with this maximum; valid until the thread asks for the same one again. */
struct buf *scratch_buf(enum scratch_buf which, size_t max_bytes);

/* SCRATCH_BYTES each, made at a thread's first use. */
char *scratch_read(void);
char *scratch_write(void);
/* At the end of the thread. */
void scratch_release(void);

#endif
