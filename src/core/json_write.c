/* json_write: JSON out, straight into a buf.  Commas are the writer's business; a caller that
 * breaks the grammar is a bug and asserts. */
#include "core/json_write.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json_scan.h"
#include "core/word.h"

#define WRITE_DEPTH_MAX 64

static uint64_t bit(const struct json_writer *w)
{
    return (uint64_t)1 << (w->depth - 1);
}

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

static bool in_object(const struct json_writer *w)
{
    return w->depth && w->object & bit(w);
}

static void comma(struct json_writer *w)
{
    if (!w->depth)
        return;
    if (w->comma & bit(w))
        buf_char(w->out, ',');
    w->comma |= bit(w);
}

/* Before each value. */
static void begin(struct json_writer *w)
{
    assert(w->keyed == in_object(w));
    if (!w->keyed)
        comma(w);
    w->keyed = false;
}

static void open_container(struct json_writer *w, bool object)
{
    begin(w);
    assert(w->depth < WRITE_DEPTH_MAX);
    w->depth++;
    w->comma &= ~bit(w);
    w->object = object ? w->object | bit(w) : w->object & ~bit(w);
    buf_char(w->out, object ? '{' : '[');
}

static void close_container(struct json_writer *w, bool object)
{
    assert(w->depth && !w->keyed && in_object(w) == object);
    w->depth--;
    buf_char(w->out, object ? '}' : ']');
}

void json_open_object(struct json_writer *w)
{
    open_container(w, true);
}

void json_close_object(struct json_writer *w)
{
    close_container(w, true);
}

void json_open_array(struct json_writer *w)
{
    open_container(w, false);
}

void json_close_array(struct json_writer *w)
{
    close_container(w, false);
}

/* Eight bytes that stand for themselves in a string: ASCII, printable, neither quote nor
 * backslash. */
static inline bool plain_8(uint64_t w)
{
    return !((w & WORD_TOP_BITS) | word_below(w, 0x20) | word_has(w, '"') | word_has(w, '\\'));
}

/* A string of 8 to 64 bytes may be looked at in words; a shorter one in its halves, which overlap.
 */
static bool is_short_and_plain(struct str s)
{
    uint32_t first, last;
    if (s.n < 4 || s.n > 64)
        return false;
    if (s.n < 8) {
        memcpy(&first, s.p, 4);
        memcpy(&last, s.p + s.n - 4, 4);
        return plain_8((uint64_t)last << 32 | first);
    }
    for (size_t i = 0; i + 8 < s.n; i += 8)
        if (!plain_8(word_at(s.p + i)))
            return false;
    return plain_8(word_at(s.p + s.n - 8));
}

/* Names, and most values, are short and nothing in them is to be escaped. */
static void quoted(struct buf *b, struct str s)
{
    char *p = is_short_and_plain(s) ? buf_reserve(b, s.n + 2) : NULL;
    if (p) {
        p[0] = p[s.n + 1] = '"';
        memcpy(p + 1, s.p, s.n);
        buf_advance(b, s.n + 2);
        return;
    }
    buf_char(b, '"');
    json_escape(b, s);
    buf_char(b, '"');
}

void json_key(struct json_writer *w, struct str name)
{
    assert(in_object(w) && !w->keyed);
    comma(w);
    quoted(w->out, name);
    buf_char(w->out, ':');
    w->keyed = true;
}

void json_put_string(struct json_writer *w, struct str s)
{
    begin(w);
    quoted(w->out, s);
}

void json_put_i64(struct json_writer *w, int64_t v)
{
    begin(w);
    buf_i64(w->out, v);
}

void json_put_u64(struct json_writer *w, uint64_t v)
{
    begin(w);
    buf_u64(w->out, v);
}

void json_put_double(struct json_writer *w, double v)
{
    char t[40];
    if (!isfinite(v)) {
        json_put_null(w);
        return;
    }
    begin(w);
    /* 17 digits always read back the same; most values need fewer. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(t, sizeof t, "%.*g", digits, v);
        if (strtod(t, NULL) == v)
            break;
    }
    buf_str(w->out, str_c(t));
}

void json_put_bool(struct json_writer *w, bool v)
{
    begin(w);
    buf_str(w->out, v ? STR("true") : STR("false"));
}

void json_put_null(struct json_writer *w)
{
    begin(w);
    buf_lit(w->out, "null");
}

void json_put_raw(struct json_writer *w, struct str json)
{
    begin(w);
    buf_str(w->out, json);
}

void json_put_raw_lent(struct json_writer *w, struct str json)
{
    begin(w);
    buf_lend(w->out, json);
}

/* One look is less than a copy, and mostly finds nothing to be escaped in what is long. */
static void escape_lent(struct buf *b, struct str s)
{
    if (buf_lends(b, s.n) && json_scan(s.p, s.p + s.n) == s.p + s.n)
        buf_lend(b, s);
    else
        json_escape(b, s);
}

void json_put_lent(struct json_writer *w, struct str s)
{
    json_put_joined_lent(w, &s, 1);
}

void json_put_joined_lent(struct json_writer *w, const struct str *pieces, unsigned n)
{
    begin(w);
    buf_char(w->out, '"');
    for (unsigned i = 0; i + 1 < n; i++)
        json_escape(w->out, pieces[i]);
    escape_lent(w->out, pieces[n - 1]);
    buf_char(w->out, '"');
}

/* What stands for the byte c, which may not stand in a string as it is. */
static void escape_byte(struct buf *b, unsigned char c)
{
    static const char letters[128] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                      ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    if (c < sizeof letters && letters[c]) {
        char two[2] = {'\\', letters[c]};
        buf_add(b, two, 2);
        return;
    }
    if (c < 0x20)
        buf_printf(b, "\\u%04x", c);
    else
        buf_lit(b, "\xef\xbf\xbd"); /* U+FFFD for a byte that is not UTF-8 */
}

void json_escape(struct buf *b, struct str s)
{
    if (!s.n) /* perhaps without a pointer */
        return;
    const char *p = s.p, *end = s.p + s.n;
    while (p < end) {
        const char *stop = json_scan(p, end);
        buf_add(b, p, (size_t)(stop - p));
        p = stop;
        if (p < end)
            escape_byte(b, (unsigned char)*p++);
    }
}
