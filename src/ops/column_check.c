/* column_check: what each kind of check of store/rows.h accepts, and the sentence it refuses with.
 */
#include "ops/column.h"

#include <stdio.h>

#include "core/json_read.h"
#include "net/url.h"

static bool alnum(char c)
{
    char l = str_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9');
}

/* UTF-8 (no surrogates, no overlong forms) without control characters. */
static bool text_ok(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7F)
            return false;
        size_t more = c < 0x80                 ? 0
                      : c >= 0xC2 && c <= 0xDF ? 1
                      : c >= 0xE0 && c <= 0xEF ? 2
                      : c >= 0xF0 && c <= 0xF4 ? 3
                                               : 4;
        if (more == 4 || i + more >= s.n + (more == 0))
            return false;
        uint32_t point = more ? c & (0x3Fu >> more) : c;
        for (size_t k = 1; k <= more; k++) {
            unsigned char d = (unsigned char)s.p[i + k];
            if ((d & 0xC0) != 0x80)
                return false;
            point = point << 6 | (d & 0x3F);
        }
        if ((more == 2 && (point < 0x800 || (point >= 0xD800 && point <= 0xDFFF))) ||
            (more == 3 && (point < 0x10000 || point > 0x10FFFF)) || (point >= 0x80 && point < 0xA0))
            return false;
        i += more + 1;
    }
    return true;
}

static bool name_ok(struct str s, const char *more, bool upper)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(alnum(c) && (upper || c == str_lower(c))) && !(c && strchr(more, c)))
            return false;
    }
    return true;
}

bool model_name_ok(struct str s, bool glob)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c >= 0x7F || strchr(glob ? "#%\\=" : "#%\\=?*", c))
            return false;
    }
    return s.n && str_find(s, STR("..")) < 0;
}

static bool email_ok(struct str s)
{
    ptrdiff_t at = str_chr(s, '@');
    struct str host = at < 0 ? STR_NULL : str_from(s, (size_t)at + 1);
    if (at < 1 || !host.n || host.p[0] == '.' || host.p[0] == '-' || host.p[host.n - 1] == '.')
        return false;
    return name_ok(str_make(s.p, (size_t)at), ".!#$%&'*+/=?^_`{|}~-", true) &&
           name_ok(host, ".-", true);
}

static bool among(const char *words, struct str s)
{
    struct str rest = str_c(words), word;
    while (str_split(&rest, '|', &word))
        if (str_eq(word, s))
            return true;
    return false;
}

static enum err bad(const struct column *c, struct err_info *info, struct str s, const char *want)
{
    return field_set(info, c->name, ERR_INVALID, "\"%.*s\" will not do: %s",
                     (int)(s.n < 60 ? s.n : 60), s.n ? s.p : "", want);
}

static enum err check_url(const struct column *c, struct str s, struct err_info *info)
{
    struct url u;
    struct err_info why;
    err_info_init(&why);
    if (!s.n && c->lo == 0)
        return ERR_OK;
    enum err e = url_parse(s, &u, &why);
    if (e)
        return field_set(info, c->name, e, "%s", why.text);
    if (u.query.p)
        return field_set(info, c->name, ERR_INVALID, "the URL has a query; leave it out");
    return ERR_OK;
}

static enum err check_object(const struct column *c, struct str s, struct err_info *info)
{
    struct json_doc doc;
    struct err_info why;
    err_info_init(&why);
    if (!s.n)
        return ERR_OK;
    if ((int64_t)s.n > c->hi)
        return field_set(info, c->name, ERR_INVALID, "it is longer than %lld bytes",
                         (long long)c->hi);
    enum err e = json_parse(&doc, s, &why);
    if (e == ERR_NOMEM)
        return e;
    if (e)
        return field_set(info, c->name, ERR_INVALID, "it is no JSON: %s (at byte %lld)", why.text,
                         (long long)why.offset);
    if (!json_is(&doc, json_root(&doc), JSON_OBJECT))
        return field_set(info, c->name, ERR_INVALID, "expected a JSON object like {\"a\":1}");
    return ERR_OK;
}

static enum err check_length(const struct column *c, struct str s, struct err_info *info)
{
    if ((int64_t)s.n >= c->lo && (int64_t)s.n <= c->hi)
        return ERR_OK;
    return field_set(info, c->name, ERR_INVALID, "it must have %lld to %lld bytes, not %zu",
                     (long long)c->lo, (long long)c->hi, s.n);
}

/* One text, or one word of a list. */
static enum err check_text(const struct column *c, struct str s, struct err_info *info)
{
    char want[256];
    if (c->check == CHECK_NONE)
        return ERR_OK;
    if (c->check == CHECK_WORDS) {
        snprintf(want, sizeof want, "expected one of %s", c->words);
        return among(c->words, s) ? ERR_OK : bad(c, info, s, want);
    }
    if (c->check == CHECK_OBJECT)
        return check_object(c, s, info);
    enum err e = check_length(c, s, info);
    if (e || !s.n)
        return e;
    switch ((enum column_check)c->check) {
    case CHECK_LENGTH:
        return text_ok(s) ? ERR_OK
                          : bad(c, info, STR("it"), "UTF-8 text without control characters");
    case CHECK_NAME:
        return name_ok(s, "._-", true) ? ERR_OK
                                       : bad(c, info, s, "letters, digits, '.', '_' and '-' only");
    case CHECK_SLUG:
        return name_ok(s, "-", false) && s.p[0] != '-' && s.p[s.n - 1] != '-'
                   ? ERR_OK
                   : bad(c, info, s, "lower-case letters and digits, '-' between them");
    case CHECK_EMAIL:
        return email_ok(s) ? ERR_OK : bad(c, info, s, "expected an address like ann@example.com");
    case CHECK_URL:
        return check_url(c, s, info);
    case CHECK_MODEL:
        return model_name_ok(s, true)
                   ? ERR_OK
                   : bad(c, info, s,
                         "a model name is printable ASCII without blanks, #, %, \\, = and ..");
    default:
        return ERR_OK;
    }
}

static enum err check_number(const struct column *c, int64_t v, struct err_info *info)
{
    if (v == ROW_NULL && (c->type == COLUMN_OPT || c->type == COLUMN_TIME))
        return ERR_OK;
    if (c->check == CHECK_RANGE && (v < c->lo || v > c->hi))
        return field_set(info, c->name, ERR_INVALID, "it must be from %lld to %lld, not %lld",
                         (long long)c->lo, (long long)c->hi, (long long)v);
    if (c->type == COLUMN_BOOL && v != 0 && v != 1)
        return field_set(info, c->name, ERR_INVALID, "expected on or off");
    if (c->check == CHECK_TIME && v < 0)
        return field_set(info, c->name, ERR_INVALID, "expected a time after 1970");
    return ERR_OK;
}

enum err column_check(const struct column *c, const void *row, struct err_info *info)
{
    if (!column_is_text(c))
        return check_number(c, *row_int(row, c), info);
    struct str s = *row_text(row, c), word;
    if (c->type != COLUMN_LIST)
        return check_text(c, s, info);
    for (size_t n = 0; list_next(&s, &word); n++) {
        enum err e = n < COLUMN_WORDS_MAX ? check_text(c, word, info) : ERR_INVALID;
        if (n == COLUMN_WORDS_MAX)
            return field_set(info, c->name, e, "at most %d of them", COLUMN_WORDS_MAX);
        if (e)
            return e;
    }
    return ERR_OK;
}
