/* str: a borrowed run of bytes, passed by value.
 *
 * A struct str never owns what it points at and need not end in NUL.  The
 * functions are pure and may be used from any thread. */
#ifndef LYSS_CORE_STR_H
#define LYSS_CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf: printf("%.*s", STR_FMT(s)) */
#define STR_FMT(s) (int)(s).n, (s).p

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){p, n};
}

static inline struct str str_c(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline struct str str_from(struct str s, size_t at)
{
    return at >= s.n ? (struct str){s.p + s.n, 0} : (struct str){s.p + at, s.n - at};
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0;
}

static inline char str_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for the case of ASCII letters. */
bool str_ieq(struct str a, struct str b);
int str_cmp(struct str a, struct str b);
/* Index of the first occurrence, or -1. */
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_chr(struct str s, char c);
/* Without leading and trailing space, tab, CR and LF. */
struct str str_trim(struct str s);
/* Cuts the part before sep off *rest and returns it; all of *rest when there is no sep.
 * Returns false once *rest.p is NULL (set after the last part). */
bool str_split(struct str *rest, char sep, struct str *part);
/* Whole string as a decimal number without sign, in [0, max]. */
bool str_u64(struct str s, uint64_t max, uint64_t *out);
/* '*' matches any run of characters, '?' one; iterative, so no pattern is exponential. */
bool str_glob(struct str pattern, struct str s);
/* Compares in a time that depends on the lengths only. */
bool str_eq_secret(struct str a, struct str b);
/* Copies into dst[cap], always NUL-terminated, cut where too long; returns dst. */
char *str_copy(char *dst, size_t cap, struct str s);

#endif
