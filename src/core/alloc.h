/* alloc: the one seam through which Lyss takes memory from the heap.
 *
 * Any thread.  A debug build can make the i-th allocation of the calling thread
 * fail (mem_fail_at), which is how the out-of-memory tests walk a request. */
#ifndef LYSS_CORE_ALLOC_H
#define LYSS_CORE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when there is no memory.  The caller owns the block. */
void *mem_alloc(size_t bytes) __attribute__((malloc, warn_unused_result));
void *mem_zalloc(size_t bytes) __attribute__((malloc, warn_unused_result));
/* On failure NULL is returned and old stays valid. */
void *mem_realloc(void *old, size_t bytes) __attribute__((warn_unused_result));
void mem_free(void *p);
/* Makes *p, which is of *cap bytes, one of n (2 GiB at most) at least: its room doubles, from 256
 * on. False: there is no memory, and nothing has changed. */
bool mem_room(char **p, uint32_t *cap, size_t n) __attribute__((warn_unused_result));
/* For start-up and control code that cannot go on without: ends the process with a message. */
void *mem_must(size_t bytes) __attribute__((malloc, returns_nonnull));
char *mem_strdup(const char *z) __attribute__((malloc, returns_nonnull));

/* Debug builds: the n-th allocation of this thread from now on fails, once; 0 turns it off.
 * Returns how many allocations were made since the last call. */
uint64_t mem_fail_at(uint64_t n);
/* Debug builds: from now on the calling thread is told from outside of the process, by the file
 * that LYSS_TEST_ALLOC names: two numbers of 8 bytes, which allocation fails (0: none) and how many
 * were made since somebody set that to 0. A thread that calls it at its start; without the
 * variable, nothing. */
void mem_fail_listen(void);

#endif
