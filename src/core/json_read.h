/* json_read: one validating pass over a complete JSON text that records where each value lies.
 *
 * Strict RFC 8259, UTF-8 checked (RFC 3629, no surrogates, no overlong forms;
 * an unpaired \u surrogate escape is an error).  The result is a flat tape of
 * entries in document order, so that a passthrough can edit bytes and leave
 * unknown fields untouched.  Strings are unescaped only when asked for.
 *
 * In an object each key (a JSON_STRING entry with JSON_KEY set) is followed by
 * its value.  Indices refer to the tape; JSON_NONE means "no such value", and
 * every accessor accepts it.  Pure; any thread; the text must outlive the doc. */
#ifndef LYSS_CORE_JSON_READ_H
#define LYSS_CORE_JSON_READ_H

#include "core/arena.h"
#include "core/err.h"

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

enum {
    JSON_ESCAPED = 1,
    JSON_KEY = 2,
    JSON_FLOAT = 4,   /* number with '.', 'e' or 'E' */
    JSON_UNICODE = 8, /* ESCAPED, and at least one escape is a \uXXXX */
    JSON_NARROW = 16  /* string known to hold no byte from 0xE0 on; absent where it is not known */
};

struct json_entry {
    uint32_t off;  /* first byte of the value; of a string: its opening quote */
    uint32_t end;  /* one past its last byte */
    uint32_t next; /* index of the entry after this value and all it holds */
    uint8_t type;  /* enum json_type */
    uint8_t flags;
    uint16_t depth; /* 0 for the root */
};

#define JSON_NONE       UINT32_MAX
#define JSON_DEPTH_MAX  64
#define JSON_NUMBER_MAX 4096 /* a number must have fewer bytes */

struct json_doc {
    struct str text;
    struct json_entry *e;
    uint32_t n, cap;
};

/* Entries granted to a text of this length: a quarter of it and 4 096. JSON from the field needs
 * far fewer; a text that wants more is there to cost memory. */
size_t json_entries_max(size_t text_bytes);

/* Parses all of text onto the calling thread's own tape (grown as needed, at most
 * json_entries_max(text.n) entries, shrunk again after a large text). The doc is valid until the
 * thread's next json_parse. Text under 4 GiB - 1 bytes.
 * ERR_BAD_JSON (also for too many values): info->text says what is wrong, info->offset where.
 * ERR_NOMEM. */
enum err json_parse(struct json_doc *doc, struct str text, struct err_info *info) MUST_CHECK;

/* The same of a text that was `bytes` long before parts of it were left out, with the entries that
 * are granted to that. */
enum err json_parse_outline(struct json_doc *doc, struct str text, size_t bytes,
                            struct err_info *info) MUST_CHECK;

/* How many texts the calling thread has begun to parse with json_parse: while this is what it was
 * right after a parse, that parse's doc is still valid (if its text is). */
uint64_t json_parse_count(void);

/* The same onto entries of the caller's: doc->e and doc->cap are given. ERR_TOO_BIG when they
 * are full. */
enum err json_parse_onto(struct json_doc *doc, struct str text, struct err_info *info) MUST_CHECK;

/* The same in steps of about `budget` bytes, for long texts on a loop: json_step returns ERR_AGAIN
 * until the text is done, doc being empty meanwhile. The entries are the parser's own;
 * json_steps_free frees them. */
struct json_steps;
enum err json_steps_new(struct json_steps **out, struct str text) MUST_CHECK;
enum err json_step(struct json_steps *s, size_t budget, struct json_doc *doc,
                   struct err_info *info) MUST_CHECK;
/* What the entries take; 0 for NULL. */
size_t json_steps_bytes(const struct json_steps *s);
void json_steps_free(struct json_steps **s);

static inline uint32_t json_root(const struct json_doc *d)
{
    return d->n ? 0 : JSON_NONE;
}
/* JSON_NULL also for JSON_NONE: use json_is to tell. */
static inline enum json_type json_type(const struct json_doc *d, uint32_t i)
{
    return i < d->n ? (enum json_type)d->e[i].type : JSON_NULL;
}
static inline bool json_is(const struct json_doc *d, uint32_t i, enum json_type t)
{
    return i < d->n && d->e[i].type == t;
}
/* Bytes of the value as they stand in the text (a string with its quotes). */
static inline struct str json_raw(const struct json_doc *d, uint32_t i)
{
    return i < d->n ? str_make(d->text.p + d->e[i].off, d->e[i].end - d->e[i].off) : STR_NULL;
}
/* Value of the first member with this name in object obj; keys are compared unescaped. */
uint32_t json_get(const struct json_doc *d, uint32_t obj, struct str name);
/* How many members have this name. */
unsigned json_count(const struct json_doc *d, uint32_t obj, struct str name);
/* First child of a container (of an object: its first key), or JSON_NONE. */
uint32_t json_child(const struct json_doc *d, uint32_t container);
/* Next sibling of a value inside container, or JSON_NONE. (Of an object's key use key + 1 for the
 * value, json_sibling(value) for the next key.) */
uint32_t json_sibling(const struct json_doc *d, uint32_t container, uint32_t i);
/* Members of an object, or elements of an array. */
unsigned json_size(const struct json_doc *d, uint32_t container);

/* A string that holds no escape is lent from the text; another is unescaped into the arena.
 * False: not a string, or the arena is latched. */
bool json_string(const struct json_doc *d, uint32_t i, struct arena *a, struct str *out);
/* Is it a string that unescapes to s? No allocation. */
bool json_string_is(const struct json_doc *d, uint32_t i, struct str s);
/* Integers only; false for floats, overflow and other types. */
bool json_i64(const struct json_doc *d, uint32_t i, int64_t *out);
bool json_double(const struct json_doc *d, uint32_t i, double *out);
bool json_bool(const struct json_doc *d, uint32_t i, bool *out);

#endif
