/* config_value: what the value of a setting may look like.
 *
 * One parser per type, plus the named forms (address, cidr, server, origin,
 * host) that a row may ask for.  Sizes take KiB, MiB and GiB, times ms, s, m
 * and h; without a unit they are bytes and milliseconds. */
#include "core/config_value.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX 256

static bool is_ip(struct str s, int *bits)
{
    char z[64];
    unsigned char addr[16];
    if (s.n >= sizeof z || memchr(s.p, 0, s.n))
        return false;
    str_copy(z, sizeof z, s);
    if (inet_pton(AF_INET, z, addr) == 1)
        return *bits = 32, true;
    return *bits = 128, inet_pton(AF_INET6, z, addr) == 1;
}

bool config_split_address(struct str s, struct str *host, uint16_t *port)
{
    ptrdiff_t colon = -1;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ':')
            colon = (ptrdiff_t)i;
    uint64_t n;
    int bits;
    if (colon < 0 || !str_u64(str_from(s, (size_t)colon + 1), 65535, &n))
        return false;
    struct str h = str_make(s.p, (size_t)colon);
    bool brackets = h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']';
    if (brackets)
        h = str_make(h.p + 1, h.n - 2);
    if (!is_ip(h, &bits) || brackets != (bits == 128))
        return false;
    *host = h;
    *port = (uint16_t)n;
    return true;
}

static bool is_address(struct str s)
{
    struct str host;
    uint16_t port;
    return config_split_address(s, &host, &port);
}

static bool is_cidr(struct str s)
{
    struct str rest = s, ip;
    int bits;
    uint64_t prefix;
    if (!str_split(&rest, '/', &ip) || !is_ip(ip, &bits))
        return false;
    return !rest.p || str_u64(rest, (uint64_t)bits, &prefix);
}

static bool is_server(struct str s)
{
    int bits;
    return is_ip(s, &bits) || is_address(s);
}

static bool is_host(struct str s)
{
    if (str_starts(s, STR("*.")))
        s = str_from(s, 2);
    for (size_t i = 0; i < s.n; i++) {
        char c = str_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-._:[]", c)) || !c)
            return false;
    }
    return s.n > 0;
}

static bool is_origin(struct str s)
{
    if (str_eq(s, STR("*")))
        return true;
    struct str host = str_starts(s, STR("https://"))  ? str_from(s, 8)
                      : str_starts(s, STR("http://")) ? str_from(s, 7)
                                                      : STR_NULL;
    return host.n && host.p[0] != '*' && is_host(host);
}

static const struct form {
    const char *name;
    bool (*ok)(struct str);
    const char *expected;
} forms[] = {
    {"address", is_address, "a numeric address and a port such as 127.0.0.1:8003 or [::1]:8003"},
    {"cidr", is_cidr, "networks such as 10.0.0.0/8 or ::1/128"},
    {"server", is_server, "addresses such as 9.9.9.9 or 127.0.0.1:5353"},
    {"origin", is_origin, "origins such as https://app.example.com, without a path"},
    {"host", is_host, "host names such as api.example.com or *.example.com"},
};

static const struct form *form_of(const struct config_setting *s)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, s->form) == 0)
            return &forms[i];
    return NULL;
}

/* A number with a unit of the table; false when malformed or past int64. */
struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit byte_units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                         {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"K", 1 << 10},
                                         {"M", 1 << 20},   {"G", 1 << 30},   {NULL, 0}};
static const struct unit ms_units[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                       {"m", 60000}, {"h", 3600000}, {NULL, 0}};

static bool parse_number(struct str text, const struct unit *units, int64_t *out)
{
    size_t digits = 0;
    uint64_t n;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (!str_u64(str_make(text.p, digits), INT64_MAX, &n))
        return false;
    struct str unit = str_trim(str_from(text, digits));
    for (; units->name; units++)
        if (str_ieq(unit, str_c(units->name)))
            return !__builtin_mul_overflow((int64_t)n, units->factor, out);
    return false;
}

static enum err set_number(const struct config_setting *s, struct str text, int64_t *field,
                           char *why, size_t cap)
{
    const struct unit *units = s->type == CONFIG_BYTES ? byte_units
                               : s->type == CONFIG_MS  ? ms_units
                                                       : no_units;
    int64_t n;
    if (parse_number(text, units, &n) && n >= s->min && n <= s->max) {
        *field = n;
        return ERR_OK;
    }
    const char *what = s->type == CONFIG_BYTES ? "a size in bytes, or such as 64KiB or 32MiB,"
                       : s->type == CONFIG_MS  ? "a time in milliseconds, or such as 500ms or 10s,"
                                               : "a whole number";
    snprintf(why, cap, "expected %s from %lld to %lld", what, (long long)s->min, (long long)s->max);
    return ERR_INVALID;
}

static enum err set_bool(struct str text, bool *field, char *why, size_t cap)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_ieq(text, str_c(words[i].word))) {
            *field = words[i].value;
            return ERR_OK;
        }
    snprintf(why, cap, "expected true or false");
    return ERR_INVALID;
}

static enum err set_enum(const struct config_setting *s, struct str text, int *field, char *why,
                         size_t cap)
{
    struct str rest = str_c(s->form), choice;
    for (int i = 0; str_split(&rest, '|', &choice); i++)
        if (str_eq(choice, text)) {
            *field = i;
            return ERR_OK;
        }
    snprintf(why, cap, "expected one of %s", s->form);
    return ERR_INVALID;
}

static enum err dup_str(struct str text, struct str *out)
{
    char *p = mem_alloc(text.n + 1);
    if (!p)
        return ERR_NOMEM;
    str_copy(p, text.n + 1, text);
    *out = str_make(p, text.n);
    return ERR_OK;
}

static enum err set_string(const struct config_setting *s, struct str text, struct str *field,
                           char *why, size_t cap)
{
    const struct form *form = form_of(s);
    struct str copy;
    if (form && !form->ok(text)) {
        snprintf(why, cap, "expected %s", form->expected);
        return ERR_INVALID;
    }
    enum err e = dup_str(text, &copy);
    if (e)
        return e;
    mem_free((char *)field->p);
    *field = copy;
    return ERR_OK;
}

static void release_list(struct config_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free((char *)l->items[i].p);
    mem_free(l->items);
    *l = (struct config_list){NULL, 0};
}

/* Cuts the next word at commas and white space off *rest. */
static bool next_word(struct str *rest, struct str *word)
{
    size_t i = 0, n = 0;
    while (i < rest->n && strchr(", \t", rest->p[i]))
        i++;
    while (i + n < rest->n && !strchr(", \t", rest->p[i + n]))
        n++;
    *word = str_make(rest->p + i, n);
    *rest = str_from(*rest, i + n);
    return n > 0;
}

static enum err set_list(const struct config_setting *s, struct str text, struct config_list *field,
                         char *why, size_t cap)
{
    const struct form *form = form_of(s);
    struct config_list list = {mem_zalloc(LIST_MAX * sizeof(struct str)), 0};
    struct str rest = text, word;
    enum err e = list.items ? ERR_OK : ERR_NOMEM;
    while (!e && next_word(&rest, &word)) {
        if (form && !form->ok(word)) {
            snprintf(why, cap, "expected %s, separated by commas or spaces", form->expected);
            e = ERR_INVALID;
        } else if (list.n == LIST_MAX) {
            snprintf(why, cap, "expected at most %d items", LIST_MAX);
            e = ERR_INVALID;
        } else {
            e = dup_str(word, &list.items[list.n]);
            list.n += !e;
        }
    }
    if (e) {
        release_list(&list);
        return e;
    }
    release_list(field);
    *field = list;
    return ERR_OK;
}

static enum err set_secret(struct str text, struct secret *field)
{
    struct secret copy = secret_take_copy(text);
    if (text.n && secret_empty(&copy))
        return ERR_NOMEM;
    secret_release(field);
    *field = copy;
    return ERR_OK;
}

enum err config_value_parse(const struct config_setting *s, struct str text, void *field, char *why,
                            size_t cap)
{
    switch (s->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        return set_string(s, text, field, why, cap);
    case CONFIG_SECRET:
        return set_secret(text, field);
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_MS:
        return set_number(s, text, field, why, cap);
    case CONFIG_BOOL:
        return set_bool(text, field, why, cap);
    case CONFIG_LIST:
        return set_list(s, text, field, why, cap);
    case CONFIG_ENUM:
        return set_enum(s, text, field, why, cap);
    }
    return ERR_INTERNAL;
}

void config_value_release(const struct config_setting *s, void *field)
{
    if (s->type == CONFIG_STRING || s->type == CONFIG_PATH) {
        mem_free((char *)((struct str *)field)->p);
        *(struct str *)field = STR_NULL;
    } else if (s->type == CONFIG_SECRET) {
        secret_release(field);
    } else if (s->type == CONFIG_LIST) {
        release_list(field);
    }
}

void config_value_show(const struct config_setting *s, const void *field, struct buf *out)
{
    switch (s->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        buf_str(out, *(const struct str *)field);
        break;
    case CONFIG_SECRET:
        if (!secret_empty(field))
            buf_lit(out, "(set)");
        break;
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_MS:
        buf_i64(out, *(const int64_t *)field);
        break;
    case CONFIG_BOOL:
        buf_str(out, *(const bool *)field ? STR("true") : STR("false"));
        break;
    case CONFIG_LIST: {
        const struct config_list *l = field;
        for (size_t i = 0; i < l->n; i++) {
            if (i)
                buf_lit(out, ", ");
            buf_str(out, l->items[i]);
        }
        break;
    }
    case CONFIG_ENUM: {
        struct str rest = str_c(s->form), choice;
        for (int i = 0; str_split(&rest, '|', &choice); i++)
            if (i == *(const int *)field)
                buf_str(out, choice);
        break;
    }
    }
}
