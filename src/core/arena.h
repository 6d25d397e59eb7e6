/* arena: the memory of one request: many small allocations, one free.
 *
 * Owned by one thread at a time.  An arena has a maximum chosen at init; an
 * allocation that would pass it, or that the heap refuses, latches the arena:
 * it and every later one return NULL, and arena_failed() tells at the next
 * phase boundary.  So code between boundaries checks pointers only before
 * writing through them.  Nothing is freed singly. */
#ifndef LYSS_CORE_ARENA_H
#define LYSS_CORE_ARENA_H

#include "core/str.h"

struct arena_block;

struct arena {
    struct arena_block *head; /* newest block first */
    char *at, *end;           /* free room of the newest block */
    size_t used_bytes, max_bytes;
    bool failed, full; /* full: it was max_bytes that latched it, not the heap */
};

/* No allocation is made before the first arena_alloc. */
void arena_init(struct arena *a, size_t max_bytes);
/* Frees everything; the arena is empty and usable again, its latch open. */
void arena_release(struct arena *a);
/* Frees the blocks that the thread keeps for its next arenas (210 KiB at most); for the end of one
 * that does not end with the process. */
void arena_release_spares(void);
/* Aligned to 16 bytes, not zeroed. NULL once latched. */
void *arena_alloc(struct arena *a, size_t bytes) __attribute__((malloc, warn_unused_result));
void *arena_zalloc(struct arena *a, size_t bytes) __attribute__((malloc, warn_unused_result));
/* Copy, NUL-terminated behind its end. {NULL,0} once latched. */
struct str arena_dup(struct arena *a, struct str s);
/* The pieces one behind the other, NUL-terminated behind their end. */
struct str arena_join(struct arena *a, const struct str *pieces, unsigned n);
/* printf into the arena; of long strings it is slow. */
struct str arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A block that is filled before it is known whose it will be: an arena adopts it, or it is freed
 * (NULL: nothing). NULL: no memory. */
struct arena_block *arena_block_new(size_t bytes) __attribute__((warn_unused_result));
char *arena_block_bytes(struct arena_block *b);
size_t arena_block_size(const struct arena_block *b);
void arena_block_free(struct arena_block **b);
/* Then *b is NULL, and its bytes live as long as the arena's. False: it has no room for so many;
 * the block stays the caller's. */
bool arena_adopt(struct arena *a, struct arena_block **b) __attribute__((warn_unused_result));

static inline bool arena_failed(const struct arena *a)
{
    return a->failed;
}

#endif
