/* json_write: appends JSON to a buf.
 *
 * The writer keeps track of commas; the caller keeps to the grammar, which is
 * asserted, and to 64 levels.  Failure latches in the buf (core/buf.h). */
#ifndef LYSS_CORE_JSON_WRITE_H
#define LYSS_CORE_JSON_WRITE_H

#include "core/buf.h"

struct json_writer {
    struct buf *out;
    uint64_t comma;  /* bit per open container: the next value needs a comma first */
    uint64_t object; /* bit per open container: it is an object */
    uint8_t depth;
    bool keyed; /* a member's name is written, its value is due */
};

void json_writer_init(struct json_writer *w, struct buf *out);
void json_open_object(struct json_writer *w);
void json_close_object(struct json_writer *w);
void json_open_array(struct json_writer *w);
void json_close_array(struct json_writer *w);
/* Inside an object, before each value. */
void json_key(struct json_writer *w, struct str name);
/* Escapes what RFC 8259 asks for; invalid UTF-8 becomes U+FFFD. */
void json_put_string(struct json_writer *w, struct str s);
void json_put_i64(struct json_writer *w, int64_t v);
void json_put_u64(struct json_writer *w, uint64_t v);
/* The shortest of 15 to 17 digits that reads back the same; NaN and infinity become null. */
void json_put_double(struct json_writer *w, double v);
void json_put_bool(struct json_writer *w, bool v);
void json_put_null(struct json_writer *w);
/* A value that is JSON already. */
void json_put_raw(struct json_writer *w, struct str json);
/* The same two of what outlives all that is made of the buf, which may then lend it (core/buf.h).
 */
void json_put_lent(struct json_writer *w, struct str s);
void json_put_raw_lent(struct json_writer *w, struct str json);
/* A string of several pieces, the last of them lent. */
void json_put_joined_lent(struct json_writer *w, const struct str *pieces, unsigned n);
/* Only the escaped inside of a string, without quotes, appended to b. */
void json_escape(struct buf *b, struct str s);

#define json_field_string(w, name, s) (json_key((w), STR(name)), json_put_string((w), (s)))
#define json_field_lent(w, name, s)   (json_key((w), STR(name)), json_put_lent((w), (s)))
#define json_field_i64(w, name, v)    (json_key((w), STR(name)), json_put_i64((w), (v)))
#define json_field_bool(w, name, v)   (json_key((w), STR(name)), json_put_bool((w), (v)))
#define json_field_null(w, name)      (json_key((w), STR(name)), json_put_null((w)))

#endif
