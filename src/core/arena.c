/* arena: bump allocation in blocks of 1 KiB and up; large pieces get a block of their own.
 * With -DARENA_DEBUG (sanitizer builds) each piece is a block of its own, so that an overrun is
 * seen by the sanitizer. */
#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"

#define FIRST_BLOCK 1000 /* with malloc's header just under 1 KiB */
#define BLOCK_MAX   16384

struct arena_block {
    struct arena_block *next;
    size_t bytes;
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

void arena_release(struct arena *a)
{
    struct arena_block *b = a->head;
    while (b) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
    arena_init(a, a->max_bytes);
}

static struct arena_block *block_new(struct arena *a, size_t bytes)
{
    if (bytes > a->max_bytes || a->used_bytes > a->max_bytes - bytes) {
        a->failed = a->full = true;
        return NULL;
    }
    struct arena_block *b = mem_alloc(sizeof *b + bytes);
    if (!b) {
        a->failed = true;
        return NULL;
    }
    b->bytes = bytes;
    b->next = a->head;
    a->head = b;
    a->used_bytes += bytes;
    return b;
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
#ifndef ARENA_DEBUG
    if ((size_t)(a->end - a->at) >= bytes) {
        void *p = a->at;
        a->at += bytes;
        return p;
    }
    if (bytes < BLOCK_MAX / 4) {
        size_t room = a->head ? (a->used_bytes * 2 < BLOCK_MAX ? a->used_bytes * 2 : BLOCK_MAX)
                              : FIRST_BLOCK - sizeof(struct arena_block);
        room &= ~(size_t)15;
        if (room < bytes)
            room = bytes;
        if (room > a->max_bytes - a->used_bytes)
            room = bytes;
        struct arena_block *b = block_new(a, room);
        if (!b)
            return NULL;
        a->at = (char *)(b + 1) + bytes;
        a->end = (char *)(b + 1) + room;
        return b + 1;
    }
#endif
    struct arena_block *b = block_new(a, bytes);
    return b ? b + 1 : NULL;
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
