/* secret: bytes that no formatter accepts. To use one, name what it is for: secret_expose(). */
#ifndef LYSS_CORE_SECRET_H
#define LYSS_CORE_SECRET_H

#include "core/alloc.h"
#include "core/str.h"

struct secret {
    unsigned char *bytes_;
    size_t n_;
};

/* Copies; the secret owns its copy. Empty on lack of memory. */
static inline struct secret secret_take_copy(struct str s)
{
    unsigned char *p = s.n ? (unsigned char *)mem_alloc(s.n) : NULL;
    if (p)
        memcpy(p, s.p, s.n);
    return (struct secret){p, p ? s.n : 0};
}

/* Lends the bytes to the one call that needs them. */
static inline struct str secret_expose(const struct secret *s)
{
    return str_make((const char *)s->bytes_, s->n_);
}

static inline bool secret_empty(const struct secret *s)
{
    return s->n_ == 0;
}

/* Wipes and frees. */
static inline void secret_release(struct secret *s)
{
    if (s->bytes_) {
        explicit_bzero(s->bytes_, s->n_);
        mem_free(s->bytes_);
    }
    *s = (struct secret){NULL, 0};
}

#endif
