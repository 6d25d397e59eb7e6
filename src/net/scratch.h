/* scratch: two areas a thread, for bytes that do not outlive a callback.
 *
 * No idle connection owns a buffer: bytes are read into scratch_read and, if a
 * message is whole, go on from there. scratch_write is where a message is put
 * together for one send. */
#ifndef LYSS_NET_SCRATCH_H
#define LYSS_NET_SCRATCH_H

#define SCRATCH_BYTES 65536

/* SCRATCH_BYTES each, made at a thread's first use. */
char *scratch_read(void);
char *scratch_write(void);
void scratch_release(void);

#endif
