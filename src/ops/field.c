/* field: text into rows and out of them. */
#include "ops/field.h"

#include <stdio.h>
#include <time.h>

#include "core/clock.h"
#include "ops/field_check.h"

static enum err refuse(const struct column *c, struct err_info *info, const char *what,
                       struct str text)
{
    if (info)
        str_copy(info->field, sizeof info->field, str_c(c->flag[0] ? c->flag : c->name));
    return err_set(info, ERR_INVALID, "--%s '%.*s': %s", c->flag[0] ? c->flag : c->name,
                   (int)(text.n > 80 ? 80 : text.n), text.p ? text.p : "", what);
}

static bool is_unset(struct str s)
{
    return str_eq(s, STR("none")) || str_eq(s, STR("never")) || str_eq(s, STR("default"));
}

/* "2026-12-31" or "2026-12-31T23:59:59Z", UTC. */
static bool parse_date(struct str text, int64_t *ms)
{
    char z[32];
    struct tm tm = {0};
    str_copy(z, sizeof z, text);
    const char *end = text.n < sizeof z ? strptime(z, "%Y-%m-%d", &tm) : NULL;
    if (end && *end == 'T')
        end = strptime(end, "T%H:%M:%SZ", &tm);
    if (!end || *end)
        return false;
    time_t t = timegm(&tm);
    *ms = (int64_t)t * 1000;
    return true;
}

/* "30d", "12h", "45m" from now, or a date. */
static bool parse_time(struct str text, int64_t *ms)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'d', 86400000}, {'h', 3600000}, {'m', 60000}};
    uint64_t n;
    for (size_t i = 0; text.n && i < sizeof units / sizeof *units; i++) {
        if (text.p[text.n - 1] == units[i].letter &&
            str_u64(str_make(text.p, text.n - 1), 100000, &n)) {
            *ms = clock_wall_ms() + (int64_t)n * units[i].ms;
            return true;
        }
    }
    return parse_date(text, ms);
}

static enum err parse_number(const struct column *c, struct str text, int64_t *out,
                             struct err_info *info)
{
    uint64_t n;
    if (c->type != COLUMN_INT && is_unset(text)) {
        *out = ROW_NULL;
        return ERR_OK;
    }
    if (c->type == COLUMN_TIME)
        return parse_time(text, out)
                   ? ERR_OK
                   : refuse(c, info, "want 30d, 12h, 45m, 2026-12-31 or never", text);
    if (c->type == COLUMN_BOOL) {
        bool on = str_eq(text, STR("on")) || str_eq(text, STR("true"));
        *out = on;
        return on || str_eq(text, STR("off")) || str_eq(text, STR("false"))
                   ? ERR_OK
                   : refuse(c, info, "want on or off", text);
    }
    if (!str_u64(text, INT64_MAX, &n))
        return refuse(c, info, "want a whole number", text);
    *out = (int64_t)n;
    return ERR_OK;
}

static enum err check_one(const struct column *c, struct str text, struct err_info *info)
{
    char why[200];
    return field_text_ok(c, text, why, sizeof why) ? ERR_OK : refuse(c, info, why, text);
}

enum err field_set(const struct column *c, void *row, struct str text, bool more, struct arena *a,
                   struct err_info *info)
{
    if (!column_is_text(c)) {
        int64_t v;
        enum err e = parse_number(c, text, &v, info);
        if (!e)
            *row_int(row, c) = v;
        return e ? e : field_check(c, row, info);
    }
    struct str *at = row_text(row, c);
    if (c->type == COLUMN_LIST && text.n == 0) {
        *at = STR("");
        return ERR_OK;
    }
    enum err e = check_one(c, text, info);
    if (e)
        return e;
    *at = c->type == COLUMN_LIST && more && at->n
              ? arena_printf(a, "%.*s\n%.*s", STR_FMT(*at), STR_FMT(text))
              : arena_dup(a, text);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err field_check(const struct column *c, const void *row, struct err_info *info)
{
    char why[200];
    if (!column_is_text(c)) {
        int64_t v = *row_int(row, c);
        if (c->check != CHECK_RANGE || v == ROW_NULL || (v >= c->lo && v <= c->hi))
            return ERR_OK;
        snprintf(why, sizeof why, "want a number from %lld to %lld", (long long)c->lo,
                 (long long)c->hi);
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)v);
        return refuse(c, info, why, str_c(number));
    }
    struct str value = *row_text(row, c), word;
    if (c->type != COLUMN_LIST) {
        if (!value.n && !c->dflt)
            return refuse(c, info, "it must be given", value);
        return check_one(c, value, info);
    }
    while (list_next(&value, &word)) {
        enum err e = check_one(c, word, info);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err field_check_all(const struct thing *t, const void *row, struct err_info *info)
{
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < t->n; i++)
        if (t->columns[i].check != CHECK_NONE)
            e = field_check(&t->columns[i], row, info);
    return e;
}

enum err field_defaults(const struct thing *t, void *row, struct arena *a, struct err_info *info)
{
    enum err e = ERR_OK;
    memset(row, 0, t->row_bytes);
    for (size_t i = 0; !e && i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if (column_is_text(c))
            *row_text(row, c) = c->dflt ? str_c(c->dflt) : STR("");
        else if (c->dflt && c->dflt[0])
            e = field_set(c, row, str_c(c->dflt), false, a, info);
    }
    return e;
}

void field_merge(const struct thing *t, void *dst, const void *src, uint64_t given)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if (!(given >> i & 1))
            continue;
        if (column_is_text(c))
            *row_text(dst, c) = *row_text(src, c);
        else
            *row_int(dst, c) = *row_int(src, c);
    }
}
