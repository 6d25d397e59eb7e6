/* buf: doubling growth under a hard maximum, with a failure latch. */
#include "core/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_release(struct buf *b)
{
    mem_free(b->p);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->max || b->n > b->max - n) {
        b->failed = true;
        return NULL;
    }
    if (b->n + n + 1 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        while (cap < b->n + n + 1)
            cap *= 2;
        if (cap > b->max + 1)
            cap = b->max + 1;
        char *p = mem_realloc(b->p, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_advance(struct buf *b, size_t n)
{
    assert(b->n + n < b->cap);
    b->n += n;
    b->p[b->n] = 0;
}

void buf_add_slow(struct buf *b, const void *p, size_t n)
{
    char *to = buf_reserve(b, n);
    if (!to)
        return;
    if (n)
        memcpy(to, p, n);
    buf_advance(b, n);
}

void buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_lend(struct buf *b, struct str s)
{
    if (b->failed || !buf_lends(b, s.n)) {
        buf_str(b, s);
        return;
    }
    b->loans->e[b->loans->n++] = (struct buf_loan){b->n, s};
}

void buf_fit(struct buf *b)
{
    char *p = b->n + 1 < b->cap ? mem_realloc(b->p, b->n + 1) : NULL;
    if (!p)
        return; /* it is as good as it was */
    b->p = p;
    b->cap = b->n + 1;
}

void buf_u64(struct buf *b, uint64_t v)
{
    char t[20];
    int i = 20;
    do
        t[--i] = (char)('0' + v % 10);
    while (v /= 10);
    buf_add(b, t + i, (size_t)(20 - i));
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_char(b, '-');
    buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *to = n < 0 ? NULL : buf_reserve(b, (size_t)n);
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, again);
        buf_advance(b, (size_t)n);
    }
    va_end(again);
}
