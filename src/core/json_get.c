/* json_get: looking things up on a tape and turning entries into C values.  Members are found by
 * walking: the objects of an API call are small, and a walk over 16-byte entries that skips what
 * members hold beats any index that would have to be built first. */
#include "core/json_read.h"

#include <math.h>
#include <stdlib.h>

uint32_t json_child(const struct json_doc *d, uint32_t container)
{
    if (container >= d->n || d->e[container].next == container + 1)
        return JSON_NONE;
    uint8_t type = d->e[container].type;
    return type == JSON_OBJECT || type == JSON_ARRAY ? container + 1 : JSON_NONE;
}

uint32_t json_sibling(const struct json_doc *d, uint32_t container, uint32_t i)
{
    if (container >= d->n || i >= d->n)
        return JSON_NONE;
    uint32_t next = d->e[i].next;
    return next < d->e[container].next ? next : JSON_NONE;
}

static inline bool key_is(const struct json_doc *d, uint32_t key, struct str name)
{
    const struct json_entry *e = &d->e[key];
    if (__builtin_expect(e->flags & JSON_ESCAPED, 0))
        return json_string_is(d, key, name);
    return e->end - e->off - 2 == name.n &&
           (name.n == 0 || memcmp(d->text.p + e->off + 1, name.p, name.n) == 0);
}

uint32_t json_get(const struct json_doc *d, uint32_t obj, struct str name)
{
    if (!json_is(d, obj, JSON_OBJECT))
        return JSON_NONE;
    for (uint32_t key = obj + 1, end = d->e[obj].next; key < end; key = d->e[key + 1].next)
        if (key_is(d, key, name))
            return key + 1;
    return JSON_NONE;
}

unsigned json_count(const struct json_doc *d, uint32_t obj, struct str name)
{
    unsigned n = 0;
    if (!json_is(d, obj, JSON_OBJECT))
        return 0;
    for (uint32_t key = obj + 1, end = d->e[obj].next; key < end; key = d->e[key + 1].next)
        n += key_is(d, key, name);
    return n;
}

unsigned json_size(const struct json_doc *d, uint32_t container)
{
    unsigned n = 0;
    bool object = json_is(d, container, JSON_OBJECT);
    for (uint32_t i = json_child(d, container); i != JSON_NONE;
         i = json_sibling(d, container, object ? i + 1 : i))
        n++;
    return n;
}

/* The escaped inside of a string entry. */
static struct str inside(const struct json_entry *e, struct str text)
{
    return str_make(text.p + e->off + 1, e->end - e->off - 2);
}

static unsigned hex4(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)str_lower(p[i]);
        v = v * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return v;
}

static size_t utf8_put(unsigned c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Decodes the escape at *p, which the parser has checked, into out; returns its length. */
static size_t unescape(const char **p, char out[4])
{
    const char *at = *p;
    *p += 2;
    switch (at[1]) {
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    case 'u':
        break;
    default: /* the quote, the backslash and the slash stand for themselves */
        out[0] = at[1];
        return 1;
    }
    unsigned c = hex4(at + 2);
    *p += 4;
    if ((c & 0xfc00) == 0xd800) {
        c = 0x10000 + ((c & 0x3ff) << 10) + (hex4(at + 8) & 0x3ff);
        *p += 6;
    }
    return utf8_put(c, out);
}

/* The run up to the next escape or the end. */
static struct str plain_run(struct str s)
{
    const char *slash = s.n ? memchr(s.p, '\\', s.n) : NULL;
    return str_make(s.p, slash ? (size_t)(slash - s.p) : s.n);
}

bool json_string(const struct json_doc *d, uint32_t i, struct arena *a, struct str *out)
{
    if (!json_is(d, i, JSON_STRING))
        return false;
    struct str in = inside(&d->e[i], d->text);
    if (!(d->e[i].flags & JSON_ESCAPED)) {
        *out = in;
        return true;
    }
    char *to = arena_alloc(a, in.n + 1), *at = to;
    if (!to)
        return false;
    while (in.n) {
        struct str run = plain_run(in);
        memcpy(at, run.p, run.n);
        at += run.n;
        in = str_from(in, run.n);
        if (in.n) {
            const char *p = in.p;
            at += unescape(&p, at); /* never longer than the escape was */
            in = str_from(in, (size_t)(p - in.p));
        }
    }
    *at = 0;
    *out = str_make(to, (size_t)(at - to));
    return true;
}

bool json_string_is(const struct json_doc *d, uint32_t i, struct str s)
{
    if (!json_is(d, i, JSON_STRING))
        return false;
    struct str in = inside(&d->e[i], d->text);
    if (!(d->e[i].flags & JSON_ESCAPED))
        return str_eq(in, s);
    while (in.n) {
        struct str run = plain_run(in);
        if (!str_starts(s, run))
            return false;
        s = str_from(s, run.n);
        in = str_from(in, run.n);
        if (in.n) {
            char c[4];
            const char *p = in.p;
            size_t n = unescape(&p, c);
            if (!str_starts(s, str_make(c, n)))
                return false;
            s = str_from(s, n);
            in = str_from(in, (size_t)(p - in.p));
        }
    }
    return s.n == 0;
}

bool json_i64(const struct json_doc *d, uint32_t i, int64_t *out)
{
    if (!json_is(d, i, JSON_NUMBER) || d->e[i].flags & JSON_FLOAT)
        return false;
    struct str s = json_raw(d, i);
    bool minus = s.p[0] == '-';
    uint64_t v;
    if (!str_u64(str_from(s, minus), (uint64_t)INT64_MAX + minus, &v))
        return false;
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool json_double(const struct json_doc *d, uint32_t i, double *out)
{
    char copy[JSON_NUMBER_MAX + 1];
    if (!json_is(d, i, JSON_NUMBER))
        return false;
    struct str s = json_raw(d, i);
    const char *p = s.p;
    /* In mid-text strtod stops by itself: what follows a number there belongs to no number. */
    if (d->e[i].end == d->text.n)
        p = str_copy(copy, sizeof copy, s);
    double v = strtod(p, NULL);
    if (!isfinite(v))
        return false;
    *out = v;
    return true;
}

bool json_bool(const struct json_doc *d, uint32_t i, bool *out)
{
    if (!json_is(d, i, JSON_TRUE) && !json_is(d, i, JSON_FALSE))
        return false;
    *out = d->e[i].type == JSON_TRUE;
    return true;
}
