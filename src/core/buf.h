/* buf: a growing byte buffer with a maximum chosen at init.
 *
 * Owned by one thread.  Appends that would pass the maximum, or that the heap
 * refuses, latch the buffer: they and later ones do nothing; look at
 * buf_failed() once at the end.  p is NUL-terminated whenever p is not NULL.
 *
 * A buffer with loans takes long pieces as they lie rather than copy them: what
 * is copied stays in p, and each loan says in front of which byte it stands. */
#ifndef LYSS_CORE_BUF_H
#define LYSS_CORE_BUF_H

#include "core/str.h"

/* A piece that is not in p: it stands in front of p[at], behind the loans before it. */
struct buf_loan {
    size_t at;
    struct str s;
};

/* Owned by whoever gave them to the buffer, and to be set to n 0 where that is emptied. */
struct buf_loans {
    struct buf_loan *e; /* in order */
    unsigned n, max;
    size_t min_bytes; /* what is shorter is copied */
};

struct buf {
    char *p;
    size_t n, cap, max;
    bool failed;
    struct buf_loans *loans; /* NULL: everything is copied */
};

void buf_init(struct buf *b, size_t max_bytes);
/* Frees the memory; the buffer is empty and usable again. */
void buf_release(struct buf *b);
/* Empties without freeing and opens the latch. */
void buf_reset(struct buf *b);
void buf_add_slow(struct buf *b, const void *p, size_t n);
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (b->failed || n >= b->cap - b->n) { /* cap 0: n 0 */
        buf_add_slow(b, p, n);
        return;
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}
void buf_str(struct buf *b, struct str s);
static inline void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Would a piece of n bytes be lent? */
static inline bool buf_lends(const struct buf *b, size_t n)
{
    return b->loans && n >= b->loans->min_bytes && b->loans->n < b->loans->max;
}
/* Appends s: lent, and then s must outlive what is made of b; or copied, as by buf_str. */
void buf_lend(struct buf *b, struct str s);
/* Gives back the room behind the end. */
void buf_fit(struct buf *b);
/* Room for n more bytes at the end, or NULL once latched; buf_advance makes them count. */
char *buf_reserve(struct buf *b, size_t n) __attribute__((warn_unused_result));
void buf_advance(struct buf *b, size_t n);
static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}
static inline struct str buf_view(const struct buf *b)
{
    return str_make(b->p ? b->p : "", b->n);
}
#define buf_lit(b, lit) buf_add((b), "" lit, sizeof(lit) - 1)

#endif
