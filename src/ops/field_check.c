/* field_check: what a column's text must look like. */
#include "ops/field_check.h"

#include <stdio.h>

#include "core/json_read.h"
#include "net/url.h"

static bool all_of(struct str s, bool (*ok)(char))
{
    for (size_t i = 0; i < s.n; i++)
        if (!ok(s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_slug_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static bool is_name_char(char c)
{
    return is_slug_char(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == ':';
}

static bool is_plain_char(char c)
{
    return (unsigned char)c >= 0x20 && c != 0x7f;
}

/* Model ids may hold '/', ':' and '@'; globs '*'. What could not be a path segment is refused. */
static bool is_model_char(char c)
{
    return c > ' ' && c < 0x7f && !strchr("?#%\\\"'<>", c);
}

static bool is_email(struct str s)
{
    ptrdiff_t at = str_chr(s, '@');
    return at > 0 && (size_t)at + 1 < s.n && str_chr(str_from(s, (size_t)at + 1), '@') < 0 &&
           str_chr(s, ' ') < 0 && all_of(s, is_plain_char);
}

static bool one_of(struct str s, const char *words)
{
    struct str rest = str_c(words), word;
    while (str_split(&rest, '|', &word))
        if (str_eq(word, s))
            return true;
    return false;
}

bool field_url_ok(struct str text, char *why, size_t cap)
{
    struct url u;
    struct err_info info;
    err_info_init(&info);
    snprintf(why, cap, "want http:// or https:// with a host, and no user, query or fragment");
    if (!url_parse(text, &u, &info)) {
        if (!u.query.p)
            return true;
    } else if (info.text[0]) {
        snprintf(why, cap, "%.*s", (int)cap - 1, info.text);
    }
    return false;
}

static bool is_object(struct str text, char *why, size_t cap)
{
    struct json_doc doc;
    struct err_info info;
    err_info_init(&info);
    snprintf(why, cap, "want a JSON object such as {\"a\": 1}");
    if (!text.n)
        return true;
    if (json_parse(&doc, text, &info)) {
        snprintf(why, cap, "not JSON: %.150s", info.text);
        return false;
    }
    return doc.n > 0 && doc.e[0].type == JSON_OBJECT;
}

static bool form_ok(const struct column *c, struct str text, char *why, size_t cap)
{
    switch ((enum column_check)c->check) {
    case CHECK_NAME:
        snprintf(why, cap, "want letters, digits, '.', '_', ':' and '-'");
        return all_of(text, is_name_char);
    case CHECK_SLUG:
        snprintf(why, cap, "want small letters, digits and '-'");
        return all_of(text, is_slug_char);
    case CHECK_EMAIL:
        snprintf(why, cap, "want an address such as ada@example.com");
        return is_email(text);
    case CHECK_MODEL:
        snprintf(why, cap, "want a model id or glob without blanks and without any of ? # %% \\");
        return all_of(text, is_model_char) && str_find(text, STR("..")) < 0;
    case CHECK_WORDS:
        snprintf(why, cap, "want one of %s", c->words);
        return one_of(text, c->words);
    case CHECK_URL:
        return field_url_ok(text, why, cap);
    case CHECK_OBJECT:
        return is_object(text, why, cap);
    case CHECK_LENGTH:
        snprintf(why, cap, "control characters are not allowed");
        return !text.n || all_of(text, is_plain_char);
    case CHECK_NONE:
    case CHECK_RANGE:
    case CHECK_TIME:
        break;
    }
    return true;
}

bool field_text_ok(const struct column *c, struct str text, char *why, size_t cap)
{
    if (c->check == CHECK_NONE)
        return true;
    if (c->check != CHECK_WORDS && (text.n < (size_t)c->lo || text.n > (size_t)c->hi)) {
        /* An empty text is the default of what need not be given. */
        if (text.n == 0 && c->dflt && !c->dflt[0])
            return true;
        snprintf(why, cap, "want %lld to %lld characters", (long long)c->lo, (long long)c->hi);
        return false;
    }
    if (text.n == 0 && c->dflt && !c->dflt[0])
        return true;
    return form_ok(c, text, why, cap);
}
