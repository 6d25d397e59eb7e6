/* arena: bump allocation in blocks of 1 KiB and up; large pieces get a block of their own. Blocks
 * of the usual sizes are kept for the thread's next arena, so that most requests ask the heap for
 * nothing.
 * With -DARENA_DEBUG (sanitizer builds) each piece is a block of its own, so that an overrun is
 * seen by the sanitizer. */
#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"

#define PIECE_MAX 4096 /* a larger piece has a block of its own */
#ifdef ARENA_DEBUG
enum { APART = 1, SPARE = 0 };
#else
enum { APART = 0, SPARE = 1 };
#endif

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* behind this header */
};

/* With their headers; the first with malloc's own just under 1 KiB. */
static const size_t sizes[] = {1000, 4096, 8192};
enum { SIZES = sizeof sizes / sizeof *sizes };
/* Kept of each: 210 KiB a thread. Most requests have one or two of 4 KiB. */
static const unsigned spares_max[SIZES] = {SPARE * 16, SPARE * 32, SPARE * 8};

static __thread struct {
    struct arena_block *first[SIZES];
    unsigned n[SIZES];
} spare;

/* Which of the usual sizes a block is; SIZES: none. */
static unsigned size_of(const struct arena_block *b)
{
    unsigned i = 0;
    while (i < SIZES && b->bytes + sizeof *b != sizes[i])
        i++;
    return i;
}

static void block_free(struct arena_block *b)
{
    unsigned i = size_of(b);
    if (i == SIZES || spare.n[i] == spares_max[i]) {
        mem_free(b);
        return;
    }
    b->next = spare.first[i];
    spare.first[i] = b;
    spare.n[i]++;
}

void arena_release_spares(void)
{
    for (unsigned i = 0; i < SIZES; i++)
        while (spare.first[i]) {
            struct arena_block *b = spare.first[i];
            spare.first[i] = b->next;
            spare.n[i]--;
            mem_free(b);
        }
}

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

void arena_release(struct arena *a)
{
    struct arena_block *b = a->head;
    while (b) {
        struct arena_block *next = b->next;
        block_free(b);
        b = next;
    }
    arena_init(a, a->max_bytes);
}

static bool has_room(const struct arena *a, size_t bytes)
{
    return bytes <= a->max_bytes && a->used_bytes <= a->max_bytes - bytes;
}

/* A block with room for exactly so many bytes. */
static struct arena_block *block_new(struct arena *a, size_t bytes)
{
    if (!has_room(a, bytes)) {
        a->failed = a->full = true;
        return NULL;
    }
    struct arena_block *b = arena_block_new(bytes);
    a->failed = !b;
    return b;
}

/* A block of a usual size, larger the more blocks the arena has. */
static struct arena_block *block_usual(struct arena *a, size_t bytes)
{
    unsigned i = !a->head ? 0 : a->used_bytes < sizes[2] ? 1 : 2;
    while (sizes[i] - sizeof(struct arena_block) < bytes)
        i++;
    size_t room = sizes[i] - sizeof(struct arena_block);
    struct arena_block *b = spare.first[i];
    if (!has_room(a, room))
        return block_new(a, bytes);
    if (!b)
        return block_new(a, room);
    spare.first[i] = b->next;
    spare.n[i]--;
    return b;
}

static void *take(struct arena *a, struct arena_block *b)
{
    if (!b)
        return NULL;
    b->next = a->head;
    a->head = b;
    a->used_bytes += b->bytes;
    return b + 1;
}

struct arena_block *arena_block_new(size_t bytes)
{
    struct arena_block *b = mem_alloc(sizeof *b + bytes);
    if (b)
        b->bytes = bytes;
    return b;
}

char *arena_block_bytes(struct arena_block *b)
{
    return (char *)(b + 1);
}

size_t arena_block_size(const struct arena_block *b)
{
    return b->bytes;
}

void arena_block_free(struct arena_block **b)
{
    mem_free(*b);
    *b = NULL;
}

bool arena_adopt(struct arena *a, struct arena_block **b)
{
    if (a->failed || !has_room(a, (*b)->bytes))
        return false;
    take(a, *b);
    *b = NULL;
    return true;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    if (a->failed)
        return NULL;
    if (bytes > SIZE_MAX / 2) {
        a->failed = true;
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (!APART && (size_t)(a->end - a->at) >= bytes) {
        void *p = a->at;
        a->at += bytes;
        return p;
    }
    if (!APART && bytes <= PIECE_MAX) {
        char *p = take(a, block_usual(a, bytes));
        if (p) {
            a->at = p + bytes;
            a->end = p + a->head->bytes;
        }
        return p;
    }
    return take(a, block_new(a, bytes));
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    void *p = arena_alloc(a, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

struct str arena_dup(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return str_make(p, s.n);
}

struct str arena_join(struct arena *a, const struct str *pieces, unsigned n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += pieces[i].n;
    char *p = arena_alloc(a, bytes + 1), *at = p;
    if (!p)
        return STR_NULL;
    for (unsigned i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    *at = 0;
    return str_make(p, bytes);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? str_make(p, (size_t)n) : STR_NULL;
}
