/* column: one reader, one check and one writer for the columns of every thing, driven by the tables
 * of store/rows.h, so that the command line and the management API cannot differ. */
#include "ops/column.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/clock.h"
#include "ops/moment.h"

enum err field_set(struct err_info *info, const char *field, enum err e, const char *fmt, ...)
{
    if (info) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->text, sizeof info->text, fmt, ap);
        va_end(ap);
        str_copy(info->field, sizeof info->field, str_c(field));
    }
    return e;
}

uint64_t column_bit(const struct thing *t, const struct column *c)
{
    return UINT64_C(1) << (c - t->columns);
}

uint64_t column_bits(const struct thing *t, const char *names)
{
    struct str rest = str_c(names), name;
    uint64_t bits = 0;
    while (str_split(&rest, ' ', &name))
        bits |= column_bit(t, thing_column(t, name));
    return bits;
}

const struct column *column_of_name(const struct thing *t)
{
    size_t i = 0;
    while (!t->columns[i].flag[0])
        i++;
    return &t->columns[i];
}

/* ---- from text ------------------------------------------------------------- */

static bool word_is(struct str s, const char *one, const char *two, const char *three)
{
    return str_eq(s, str_c(one)) || str_eq(s, str_c(two)) || str_eq(s, str_c(three));
}

static enum err parse_bool(const struct column *c, struct str s, int64_t *v, struct err_info *info)
{
    bool on = word_is(s, "on", "true", "yes");
    if (!on && !word_is(s, "off", "false", "no"))
        return field_set(info, c->name, ERR_INVALID, "expected on or off, not \"%.*s\"",
                         (int)(s.n < 40 ? s.n : 40), s.n ? s.p : "");
    *v = on;
    return ERR_OK;
}

static enum err parse_number(const struct column *c, struct str s, int64_t *v,
                             struct err_info *info)
{
    if (c->type == COLUMN_OPT && (!s.n || str_eq(s, STR("none")))) {
        *v = ROW_NULL;
        return ERR_OK;
    }
    uint64_t u = 0;
    if (!str_u64(s, INT64_MAX, &u))
        return field_set(info, c->name, ERR_INVALID, "expected a whole number%s, not \"%.*s\"",
                         c->type == COLUMN_OPT ? " or none" : "", (int)(s.n < 40 ? s.n : 40),
                         s.n ? s.p : "");
    *v = (int64_t)u;
    return ERR_OK;
}

static enum err parse_time(const struct column *c, struct str s, int64_t *v, struct err_info *info)
{
    if (!s.n || str_eq(s, STR("never"))) {
        *v = ROW_NULL;
        return ERR_OK;
    }
    if (!moment_parse(s, clock_wall_ms(), v))
        return field_set(info, c->name, ERR_INVALID,
                         "expected never, a UTC time like 2027-01-31 or 2027-01-31T12:00:00Z, or a "
                         "time from now like 30d, 12h or 15m");
    return ERR_OK;
}

static enum err parse_word(const struct column *c, struct str s, bool add, struct str *list,
                           struct arena *a, struct err_info *info)
{
    if (add && memchr(s.n ? s.p : "", '\n', s.n))
        return field_set(info, c->name, ERR_INVALID, "a word holds no line break");
    if (add && list->n && s.n)
        *list = arena_printf(a, "%.*s\n%.*s", STR_FMT(*list), STR_FMT(s));
    else if (!add || s.n)
        *list = arena_dup(a, s);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err column_parse(const struct thing *t, const struct column *c, struct str text, bool add,
                      void *row, struct arena *a, struct err_info *info)
{
    switch ((enum column_type)c->type) {
    case COLUMN_BOOL:
        return parse_bool(c, text, row_int(row, c), info);
    case COLUMN_INT:
    case COLUMN_OPT:
        return parse_number(c, text, row_int(row, c), info);
    case COLUMN_TIME:
        return parse_time(c, text, row_int(row, c), info);
    case COLUMN_LIST:
        return parse_word(c, text, add, row_text(row, c), a, info);
    case COLUMN_TEXT:
    case COLUMN_BLOB:
        break;
    }
    *row_text(row, c) = arena_dup(a, text);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- whole rows ------------------------------------------------------------ */

static enum err take_default(const struct thing *t, const struct column *c, void *row,
                             struct arena *a, struct err_info *info)
{
    if (!c->dflt)
        return field_set(info, c->name, ERR_INVALID, "a %s needs it: %s", t->name, c->doc);
    if (c->type == COLUMN_INT && !c->dflt[0]) {
        *row_int(row, c) = 0;
        return ERR_OK;
    }
    if (column_is_text(c)) {
        *row_text(row, c) = str_c(c->dflt); /* a constant */
        return ERR_OK;
    }
    return column_parse(t, c, str_c(c->dflt), false, row, a, info);
}

enum err row_complete(const struct thing *t, void *row, uint64_t set, uint64_t own, struct arena *a,
                      struct err_info *info)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if ((set >> i & 1) && !c->flag[0])
            return field_set(info, c->name, ERR_INVALID, "it is not set by hand");
        enum err e = (set | own) >> i & 1 ? ERR_OK : take_default(t, c, row, a, info);
        if (!e)
            e = column_check(c, row, info);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err row_merge(const struct thing *t, void *row, const void *from, uint64_t set,
                   struct err_info *info)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if (!(set >> i & 1))
            continue;
        if (!c->flag[0])
            return field_set(info, c->name, ERR_INVALID, "it is not set by hand");
        if (column_is_text(c))
            *row_text(row, c) = *row_text(from, c);
        else
            *row_int(row, c) = *row_int(from, c);
        enum err e = column_check(c, row, info);
        if (e)
            return e;
    }
    return ERR_OK;
}

/* ---- to text --------------------------------------------------------------- */

void column_show(const struct column *c, const void *row, struct buf *out)
{
    if (c->type == COLUMN_BLOB)
        return;
    if (column_is_text(c)) {
        struct str rest = *row_text(row, c), word;
        bool more = false;
        while (c->type == COLUMN_LIST && list_next(&rest, &word)) {
            buf_str(out, more ? STR(" ") : STR(""));
            buf_str(out, word);
            more = true;
        }
        if (c->type != COLUMN_LIST)
            buf_str(out, rest);
        return;
    }
    int64_t v = *row_int(row, c);
    char iso[25];
    if (c->type == COLUMN_BOOL)
        buf_str(out, v ? STR("on") : STR("off"));
    else if (v == ROW_NULL)
        buf_str(out, c->type == COLUMN_TIME ? STR("never") : STR("none"));
    else if (c->type == COLUMN_TIME)
        clock_iso(v, iso), buf_str(out, str_c(iso));
    else
        buf_i64(out, v);
}

static void text_json(const struct column *c, struct str v, struct json_writer *w)
{
    struct str word;
    if (c->type == COLUMN_LIST) {
        json_open_array(w);
        while (list_next(&v, &word))
            json_put_string(w, word);
        json_close_array(w);
    } else if (c->check == CHECK_OBJECT) {
        if (v.n)
            json_put_raw(w, v);
        else
            json_put_null(w);
    } else {
        json_put_string(w, v);
    }
}

void column_json(const struct column *c, const void *row, struct json_writer *w)
{
    char iso[25];
    if (c->type == COLUMN_BLOB) {
        json_put_null(w);
    } else if (column_is_text(c)) {
        text_json(c, *row_text(row, c), w);
    } else {
        int64_t v = *row_int(row, c);
        if (c->type == COLUMN_BOOL)
            json_put_bool(w, v != 0);
        else if (v == ROW_NULL)
            json_put_null(w);
        else if (c->type == COLUMN_TIME)
            clock_iso(v, iso), json_put_string(w, str_c(iso));
        else
            json_put_i64(w, v);
    }
}

void row_json(const struct thing *t, const void *row, struct json_writer *w)
{
    json_field_i64(w, "id", ((const struct row *)row)->id);
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if (c->type == COLUMN_BLOB)
            continue;
        json_key(w, str_c(c->name));
        column_json(c, row, w);
    }
}
