/* json_read: the pass that turns a text into a tape.
 *
 * A loop over tokens with an explicit stack, so that depth costs no machine
 * stack and the loop can stop at any token and go on later: json_parse and
 * json_step are the same loop with different limits.  Whatever a hostile text
 * could make long (blanks, escapes, digits) is bounded by the limit or by a
 * maximum of its own.  The accessors are in json_get.c. */
#include "core/json_read.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "core/json_scan.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define TAPE_FIRST 256                                   /* entries, 4 KiB */
#define SKIP_ROOM  64                                    /* more than json_skip leaves over */
#define TAPE_KEPT  (1048576 / sizeof(struct json_entry)) /* a longer one is not kept */

/* What the next token may be. */
enum expect {
    VALUE,
    VALUE_OR_CLOSE, /* just after '[' */
    KEY,
    KEY_OR_CLOSE, /* just after '{' */
    COLON,
    STRING, /* inside the string whose entry is the last one */
    AFTER   /* a value is complete: comma, close, or the end */
};

struct parser {
    const char *base, *end, *p;
    struct json_entry *e;
    uint32_t n, cap, cap_max;
    uint32_t depth;
    uint64_t objects; /* a bit for each open container, the innermost lowest: is it an object? */
    enum expect expect;
    enum err err;
    const char *why;                   /* with err: a sentence, */
    const char *at;                    /* and where */
    uint32_t open[JSON_DEPTH_MAX + 1]; /* entry of the open container at each depth, from 1 */
};

_Static_assert(JSON_DEPTH_MAX <= 64, "objects has a bit for each");

size_t json_entries_max(size_t text_bytes)
{
    return text_bytes / 4 + 4096;
}

static COLD const char *fail_as(struct parser *s, enum err err, const char *at, const char *why)
{
    s->err = err;
    s->at = at;
    s->why = why;
    return NULL;
}

static COLD const char *fail(struct parser *s, const char *at, const char *why)
{
    return fail_as(s, ERR_BAD_JSON, at, why);
}

static COLD bool grow(struct parser *s, const char *at)
{
    if (s->cap >= s->cap_max) {
        fail_as(s, ERR_TOO_BIG, at, "the JSON text holds too many values for its length");
        return false;
    }
    uint32_t cap = s->cap ? s->cap : TAPE_FIRST / 2;
    cap = cap > s->cap_max / 2 ? s->cap_max : cap * 2;
    struct json_entry *e = mem_realloc(s->e, cap * sizeof *e);
    if (!e) {
        fail_as(s, ERR_NOMEM, at, "no memory for the JSON tape");
        return false;
    }
    s->e = e;
    s->cap = cap;
    return true;
}

/* Appends the entry of a value that starts at `at`; its end is set by the caller. */
static inline struct json_entry *push(struct parser *s, const char *at, enum json_type type,
                                      unsigned flags)
{
    if (unlikely(s->n == s->cap) && !grow(s, at))
        return NULL;
    struct json_entry *e = &s->e[s->n++];
    *e = (struct json_entry){.off = (uint32_t)(at - s->base),
                             .next = s->n,
                             .type = (uint8_t)type,
                             .flags = (uint8_t)flags,
                             .depth = (uint16_t)s->depth};
    return e;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* The four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = str_lower(p[i]);
        if (c >= '0' && c <= '9')
            v = v * 16 + c - '0';
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + c - 'a' + 10;
        else
            return -1;
    }
    return v;
}

/* p is at a backslash; returns past the escape. */
static const char *skip_escape(struct parser *s, const char *p)
{
    if (s->end - p < 2)
        return fail(s, s->end, "the text ends inside a string");
    if (json_is_escape(p[1]))
        return p + 2;
    if (p[1] != 'u')
        return fail(s, p, "unknown escape in a string");
    s->e[s->n - 1].flags |= JSON_UNICODE;
    int unit = hex4(p + 2, s->end);
    if (unit < 0)
        return fail(s, p, "\\u wants four hexadecimal digits");
    if ((unit & 0xf800) != 0xd800)
        return p + 6;
    int low = s->end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, s->end) : -1;
    if (unit >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
        return fail(s, p, "unpaired surrogate escape in a string");
    return p + 12;
}

static inline const char *string_end(const struct parser *s, struct json_entry *e,
                                     const char *quote)
{
    e->end = (uint32_t)(quote + 1 - s->base);
    return quote + 1;
}

/* From inside the last entry's string to behind its closing quote; or to a place at which it can go
 * on, at stop or a little later, where s->expect becomes STRING. fresh: from the string's first
 * byte. */
static const char *string_rest(struct parser *s, const char *p, const char *stop, bool fresh)
{
    struct json_entry *e = &s->e[s->n - 1];
    const char *limit = s->end - stop > SKIP_ROOM ? stop + SKIP_ROOM : s->end;
    for (;; fresh = false) {
        unsigned seen = 0;
        p = json_skip(p, limit, &seen);
        if (seen & JSON_SEEN_ESCAPE)
            e->flags |= JSON_ESCAPED;
        if (likely(p < s->end && *p == '"')) {
            if (fresh && !(seen & JSON_SEEN_WIDE))
                e->flags |= JSON_NARROW;
            return string_end(s, e, p);
        }
        if (p >= stop && p < s->end)
            break;
        p = json_scan(p, s->end);
        if (unlikely(p == s->end))
            return fail(s, p, "the text ends inside a string");
        if (*p == '"')
            return string_end(s, e, p);
        if (*p != '\\')
            return fail(s, p,
                        (signed char)*p < 0 ? "invalid UTF-8 in a string"
                                            : "control character in a string");
        e->flags |= JSON_ESCAPED;
        p = skip_escape(s, p);
        if (!p)
            return NULL;
        if (p >= stop && p < s->end)
            break;
    }
    s->expect = STRING;
    return p;
}

static inline const char *string(struct parser *s, const char *p, const char *stop, unsigned flags)
{
    struct json_entry *e = push(s, p, JSON_STRING, flags);
    if (unlikely(!e))
        return NULL;
    const char *quote = json_scan_short(p + 1, s->end);
    if (likely(quote != NULL)) {
        e->flags |= JSON_NARROW;
        return string_end(s, e, quote);
    }
    return string_rest(s, p + 1, stop, true);
}

static inline const char *skip_digits(const char *p, const char *end)
{
    while (p < end && (unsigned)(*p - '0') < 10)
        p++;
    return p;
}

static const char *number(struct parser *s, const char *p)
{
    const char *from = p, *end = s->end, *digits;
    unsigned flags = 0;
    if (end - p > JSON_NUMBER_MAX)
        end = p + JSON_NUMBER_MAX;
    if (*p == '-')
        p++;
    digits = p;
    p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
    if (p == digits)
        return fail(s, p, "a number wants a digit here");
    if (p < end && *p == '.') {
        flags = JSON_FLOAT;
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return fail(s, p, "a number wants a digit after its point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        flags = JSON_FLOAT;
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return fail(s, p, "a number wants a digit in its exponent");
    }
    if (p == end && end < s->end)
        return fail(s, from, "a number is too long");
    struct json_entry *e = push(s, from, JSON_NUMBER, flags);
    if (!e)
        return NULL;
    e->end = (uint32_t)(p - s->base);
    return p;
}

static inline const char *word(struct parser *s, const char *p, struct str w, enum json_type type)
{
    if ((size_t)(s->end - p) < w.n || memcmp(p, w.p, w.n) != 0)
        return fail(s, p, "a value is expected here");
    struct json_entry *e = push(s, p, type, 0);
    if (!e)
        return NULL;
    p += w.n;
    e->end = (uint32_t)(p - s->base);
    return p;
}

static inline const char *open_container(struct parser *s, const char *p, enum json_type type)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, p, "the JSON text is nested too deeply");
    if (!push(s, p, type, 0))
        return NULL;
    s->open[++s->depth] = s->n - 1;
    s->objects = s->objects << 1 | (type == JSON_OBJECT);
    return p + 1;
}

static const char *close_container(struct parser *s, const char *p)
{
    struct json_entry *e = &s->e[s->open[s->depth--]];
    e->end = (uint32_t)(++p - s->base);
    e->next = s->n;
    s->objects >>= 1;
    return p;
}

/* A value that is neither a string nor a container. */
static const char *plain_value(struct parser *s, const char *p)
{
    switch (*p) {
    case 't':
        return word(s, p, STR("true"), JSON_TRUE);
    case 'f':
        return word(s, p, STR("false"), JSON_FALSE);
    case 'n':
        return word(s, p, STR("null"), JSON_NULL);
    case '-':
    case '0' ... '9':
        return number(s, p);
    default:
        return fail(s, p, "a value is expected here");
    }
}

/* To the next token, which is expected to be `what`; stops where stop comes first. */
#define TO_NEXT(what)                                                                              \
    do {                                                                                           \
        if (unlikely(p >= stop || (unsigned char)*p <= ' ')) {                                     \
            p = skip_space(p, stop);                                                               \
            if (p >= stop) {                                                                       \
                s->expect = what;                                                                  \
                return p;                                                                          \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* The string that comes next behind `sign`, at once or after one blank, as most writers have it;
 * NULL: something else does. */
static inline const char *string_behind(char sign, const char *p, const char *stop)
{
    if (unlikely(stop - p <= 2) || *p != sign)
        return NULL;
    return p[1] == '"' ? p + 1 : p[1] == ' ' && p[2] == '"' ? p + 2 : NULL;
}

/* From p, where s->expect is due, to stop or a little later. NULL: the text is wrong. The order of
 * JSON's tokens is the order of the labels; it is one function, long as it is, because each token
 * then goes straight to the next. */
static const char *tokens(struct parser *s, const char *p, const char *stop)
{
    const char *next;
    switch (s->expect) {
    case VALUE:
        goto value;
    case VALUE_OR_CLOSE:
        goto value_or_close;
    case KEY:
        goto key;
    case KEY_OR_CLOSE:
        goto key_or_close;
    case COLON:
        goto colon;
    case STRING:
        s->expect = VALUE;
        p = string_rest(s, p, stop, false);
        if (!p || s->expect == STRING)
            return p;
        if (s->e[s->n - 1].flags & JSON_KEY)
            goto colon;
        break;
    case AFTER:
        break;
    }
after:
    if (s->objects & 1 && (next = string_behind(',', p, stop))) {
        p = next;
        goto string_key;
    }
    TO_NEXT(AFTER);
    if (unlikely(!s->depth))
        return fail(s, p, "the JSON text goes on after its value");
    if (*p == ',') {
        p++;
        if (s->objects & 1)
            goto key;
        goto value;
    }
    if (*p != (s->objects & 1 ? '}' : ']'))
        return fail(s, p,
                    s->objects & 1 ? "a comma or '}' is expected here"
                                   : "a comma or ']' is expected here");
    p = close_container(s, p);
    goto after;
key_or_close:
    TO_NEXT(KEY_OR_CLOSE);
    if (*p == '}') {
        p = close_container(s, p);
        goto after;
    }
key:
    TO_NEXT(KEY);
    if (unlikely(*p != '"'))
        return fail(s, p, "a member's name is expected here");
string_key:
    p = string(s, p, stop, JSON_KEY);
    if (unlikely(!p || s->expect == STRING))
        return p;
colon:
    if ((next = string_behind(':', p, stop))) {
        p = next;
        goto string_value;
    }
    TO_NEXT(COLON);
    if (unlikely(*p != ':'))
        return fail(s, p, "a colon is expected here");
    p++;
    goto value;
value_or_close:
    TO_NEXT(VALUE_OR_CLOSE);
    if (*p == ']') {
        p = close_container(s, p);
        goto after;
    }
value:
    TO_NEXT(VALUE);
    switch (*p) {
    case '"':
    string_value:
        p = string(s, p, stop, 0);
        if (unlikely(!p || s->expect == STRING))
            return p;
        goto after;
    case '{':
        if (!(p = open_container(s, p, JSON_OBJECT)))
            return NULL;
        goto key_or_close;
    case '[':
        if (!(p = open_container(s, p, JSON_ARRAY)))
            return NULL;
        goto value_or_close;
    default:
        if (!(p = plain_value(s, p)))
            return NULL;
        goto after;
    }
}

/* ERR_AGAIN when stop was reached before the end of the text. */
static enum err run(struct parser *s, const char *stop)
{
    const char *p = tokens(s, s->p, stop);
    if (!p)
        return s->err;
    s->p = p;
    if (p < s->end)
        return ERR_AGAIN;
    if (s->expect == AFTER && s->depth == 0)
        return ERR_OK;
    fail(s, p, s->n ? "the JSON text ends too early" : "the JSON text is empty");
    return s->err;
}

static enum err start(struct parser *s, struct str text)
{
    s->base = s->p = text.p ? text.p : "";
    s->n = s->depth = 0;
    s->objects = 0;
    s->expect = VALUE;
    s->err = ERR_OK;
    if (text.n >= UINT32_MAX) {
        s->end = s->base;
        fail_as(s, ERR_TOO_BIG, s->base, "the JSON text is longer than 4 GiB");
        return s->err;
    }
    s->end = s->base + text.n;
    return ERR_OK;
}

/* Hands the outcome out. */
static enum err finish(const struct parser *s, enum err e, struct str text, struct json_doc *doc,
                       struct err_info *info)
{
    *doc = (struct json_doc){text, s->e, e == ERR_OK ? s->n : 0, s->cap};
    if (e == ERR_OK || e == ERR_AGAIN)
        return e;
    err_set(info, e, "%s", s->why);
    if (info)
        info->offset = s->at - s->base;
    return e;
}

enum err json_parse_onto(struct json_doc *doc, struct str text, struct err_info *info)
{
    struct parser s;
    s.e = doc->e;
    s.cap = s.cap_max = doc->cap;
    enum err e = start(&s, text);
    if (e == ERR_OK)
        e = run(&s, s.end);
    return finish(&s, e, text, doc, info);
}

/* Too many values for the reader's own tape is the text's fault, not ours. */
static enum err blame_text(struct parser *s, enum err e)
{
    return e == ERR_TOO_BIG ? s->err = ERR_BAD_JSON : e;
}

/* The calling thread's tape. The key is there only for its destructor. */
static __thread struct json_entry *t_tape;
static __thread uint64_t t_parses;
static __thread uint32_t t_tape_cap;
static pthread_once_t tape_once = PTHREAD_ONCE_INIT;
static pthread_key_t tape_key;
static bool tape_key_made;

static void tape_free(void *unused)
{
    mem_free(t_tape);
    t_tape = NULL;
    t_tape_cap = 0;
}

static void tape_key_make(void)
{
    tape_key_made = pthread_key_create(&tape_key, tape_free) == 0;
}

/* Remembers a tape that moved, so that the thread's end frees it. */
static void tape_keep(const struct parser *s)
{
    t_tape = s->e;
    t_tape_cap = s->cap;
    pthread_once(&tape_once, tape_key_make);
    if (tape_key_made)
        pthread_setspecific(tape_key, t_tape);
}

uint64_t json_parse_count(void)
{
    return t_parses;
}

enum err json_parse(struct json_doc *doc, struct str text, struct err_info *info)
{
    return json_parse_outline(doc, text, text.n, info);
}

enum err json_parse_outline(struct json_doc *doc, struct str text, size_t bytes,
                            struct err_info *info)
{
    struct parser s;
    size_t most = json_entries_max(bytes);
    t_parses++;
    if (unlikely(t_tape_cap > TAPE_KEPT) && most <= TAPE_KEPT)
        tape_free(NULL);
    s.e = t_tape;
    s.cap_max = (uint32_t)most;
    s.cap = t_tape_cap < s.cap_max ? t_tape_cap : s.cap_max;
    enum err e = start(&s, text);
    if (e == ERR_OK)
        e = run(&s, s.end);
    if (unlikely(s.cap > t_tape_cap))
        tape_keep(&s);
    return finish(&s, blame_text(&s, e), text, doc, info);
}

struct json_steps {
    struct str text;
    struct parser parser;
};

enum err json_steps_new(struct json_steps **out, struct str text)
{
    struct json_steps *s = *out = mem_alloc(sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->text = text;
    s->parser.e = NULL;
    s->parser.cap = 0;
    s->parser.cap_max = (uint32_t)json_entries_max(text.n);
    enum err e = start(&s->parser, text); /* a failure is told by the first step */
    return e == ERR_TOO_BIG ? ERR_OK : e;
}

enum err json_step(struct json_steps *s, size_t budget, struct json_doc *doc, struct err_info *info)
{
    struct parser *ps = &s->parser;
    enum err e = ps->err;
    if (e == ERR_OK) {
        size_t left = (size_t)(ps->end - ps->p);
        budget = budget ? budget : 1;
        e = run(ps, ps->p + (budget < left ? budget : left));
    }
    return finish(ps, blame_text(ps, e), s->text, doc, info);
}

size_t json_steps_bytes(const struct json_steps *s)
{
    return s ? s->parser.cap * sizeof *s->parser.e : 0;
}

void json_steps_free(struct json_steps **s)
{
    if (*s) {
        mem_free((*s)->parser.e);
        mem_free(*s);
    }
    *s = NULL;
}
