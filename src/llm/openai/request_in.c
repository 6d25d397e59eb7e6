/* request_in: values of a caller's body, checked as they are read.
 *
 * Nothing keeps track of where it is: the path of a value at fault is found by a
 * walk from the root, once, since the first fault is the last. */
#include "llm/openai/openai.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- faults ---- */

/* Appends to path[n], cut where it is full. */
static void path_add(char *path, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void path_add(char *path, size_t cap, const char *fmt, ...)
{
    size_t n = strlen(path);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path + n, cap - n, fmt, ap);
    va_end(ap);
}

/* "messages[2].content[0].type" of value i. */
static void path_of(const struct json_doc *d, uint32_t i, char *path, size_t cap)
{
    uint32_t at = json_root(d);
    path[0] = 0;
    while (at < i && at < d->n) {
        bool object = json_is(d, at, JSON_OBJECT);
        uint32_t c = json_child(d, at), n = 0;
        for (; c != JSON_NONE; c = json_sibling(d, at, object ? c + 1 : c), n++)
            if (i < d->e[object ? c + 1 : c].next)
                break;
        if (c == JSON_NONE)
            return;
        struct str key = json_raw(d, c);
        if (object)
            path_add(path, cap, "%s%.*s", *path ? "." : "", key.n - 2 > 40 ? 40 : (int)key.n - 2,
                     key.p + 1);
        else
            path_add(path, cap, "[%u]", n);
        at = object ? c + 1 : c;
    }
}

void openai_fail(struct openai_in *in, uint32_t i, const char *member, const char *fmt, ...)
{
    char path[sizeof in->info->field], text[320];
    va_list ap;
    if (in->err)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    path_of(in->d, i, path, sizeof path);
    if (member)
        path_add(path, sizeof path, "%s%s", *path ? "." : "", member);
    in->err = err_set(in->info, ERR_INVALID, "%s %s", path, text);
    if (in->info) {
        str_copy(in->info->field, sizeof in->info->field, str_c(path));
        in->info->offset = i < in->d->n ? (int64_t)in->d->e[i].off : -1;
    }
}

/* ---- values ---- */

uint32_t openai_get(const struct openai_in *in, uint32_t obj, const char *name)
{
    uint32_t i = json_get(in->d, obj, str_c(name));
    return json_is(in->d, i, JSON_NULL) ? JSON_NONE : i;
}

bool openai_string(struct openai_in *in, uint32_t i, struct str *out)
{
    if (!json_is(in->d, i, JSON_STRING))
        openai_fail(in, i, NULL, "must be a string");
    else if (!json_string(in->d, i, in->a, out))
        in->err = in->err ? in->err : ERR_NOMEM;
    else
        return true;
    return false;
}

bool openai_member_string(struct openai_in *in, uint32_t obj, const char *name, bool needed,
                          struct str *out)
{
    uint32_t i = openai_get(in, obj, name);
    if (i == JSON_NONE) {
        if (needed)
            openai_fail(in, obj, name, "is missing: it must be a string");
        return false;
    }
    if (!openai_string(in, i, out))
        return false;
    if (needed && !out->n)
        openai_fail(in, i, NULL, "must not be empty");
    return out->n > 0;
}

bool openai_member_object(struct openai_in *in, uint32_t obj, const char *name, bool needed,
                          uint32_t *out)
{
    uint32_t i = openai_get(in, obj, name);
    *out = i;
    if (i == JSON_NONE && needed)
        openai_fail(in, obj, name, "is missing: it must be an object");
    if (i == JSON_NONE)
        return false;
    if (json_is(in->d, i, JSON_OBJECT))
        return true;
    openai_fail(in, i, NULL, "must be an object");
    return false;
}

/* ---- members of the body ---- */

static void read_number(struct openai_in *in, const struct openai_field *f, uint32_t i,
                        struct str *out)
{
    double v;
    bool whole = f->kind == IN_INTEGER;
    if (!json_is(in->d, i, JSON_NUMBER) || (whole && in->d->e[i].flags & JSON_FLOAT))
        openai_fail(in, i, NULL, whole ? "must be an integer" : "must be a number");
    else if (f->low < f->high && (!json_double(in->d, i, &v) || v < f->low || v > f->high))
        openai_fail(in, i, NULL, "must be between %g and %g", f->low, f->high);
    else
        *out = json_raw(in->d, i);
}

static void read_field(struct openai_in *in, const struct openai_field *f, uint32_t i)
{
    char *at = (char *)in->r + f->at;
    struct str *text = (void *)at;
    bool on = false;
    switch (f->kind) {
    case IN_TEXT:
        openai_string(in, i, text);
        break;
    case IN_NUMBER:
    case IN_INTEGER:
        read_number(in, f, i, text);
        break;
    case IN_SWITCH:
    case IN_FLAG:
        if (!json_bool(in->d, i, &on))
            openai_fail(in, i, NULL, "must be true or false");
        else if (f->kind == IN_FLAG)
            *(bool *)at = on;
        else
            *(int8_t *)at = on;
        break;
    case IN_OBJECT:
    case IN_ARRAY:
        if (!json_is(in->d, i, f->kind == IN_OBJECT ? JSON_OBJECT : JSON_ARRAY))
            openai_fail(in, i, NULL, "must be an %s", f->kind == IN_OBJECT ? "object" : "array");
        else
            *text = json_raw(in->d, i);
        break;
    case IN_FN:
        f->fn(in, i);
        break;
    }
}

static void read_extra(struct openai_in *in, uint32_t key)
{
    struct str name;
    if (in->extras_n++ == OPENAI_EXTRAS_MAX)
        openai_fail(in, key + 1, NULL, "is one unknown member too many: there may be %d",
                    OPENAI_EXTRAS_MAX);
    else if (json_string(in->d, key, in->a, &name))
        neutral_extra(in->a, &in->r->extras, name, json_raw(in->d, key + 1));
    else
        in->err = ERR_NOMEM;
}

void openai_read_fields(struct openai_in *in, const struct openai_field *fields, size_t n)
{
    const struct json_doc *d = in->d;
    uint32_t root = json_root(d);
    uint64_t seen = 0;
    if (!json_is(d, root, JSON_OBJECT)) {
        in->err = err_set(in->info, ERR_INVALID, "the body must be a JSON object");
        return;
    }
    for (uint32_t k = json_child(d, root); k != JSON_NONE && !in->err;
         k = json_sibling(d, root, k + 1)) {
        size_t f = 0;
        if (json_is(d, k + 1, JSON_NULL))
            continue;
        while (f < n && !json_string_is(d, k, fields[f].name))
            f++;
        if (f == n) {
            read_extra(in, k);
            continue;
        }
        if (seen & UINT64_C(1) << f)
            openai_fail(in, k + 1, NULL, "is given twice");
        seen |= UINT64_C(1) << f;
        if (!in->err)
            read_field(in, &fields[f], k + 1);
    }
}

void openai_read_model(struct openai_in *in, struct str by_path)
{
    if (by_path.n)
        in->r->model = by_path;
    else if (!in->err)
        openai_member_string(in, json_root(in->d), "model", true, &in->r->model);
}

void openai_in_stream_options(struct openai_in *in, uint32_t i)
{
    uint32_t v = openai_get(in, i, "include_usage");
    if (!json_is(in->d, i, JSON_OBJECT))
        openai_fail(in, i, NULL, "must be an object");
    else if (v != JSON_NONE && !json_bool(in->d, v, &in->r->include_usage))
        openai_fail(in, v, NULL, "must be true or false");
}

void openai_in_stop(struct openai_in *in, uint32_t i)
{
    struct text_list **end = &in->r->stop;
    struct str s;
    if (json_is(in->d, i, JSON_STRING)) {
        if (openai_string(in, i, &s) && s.n)
            neutral_text(in->a, end, s);
        return;
    }
    if (!json_is(in->d, i, JSON_ARRAY)) {
        openai_fail(in, i, NULL, "must be a string or an array of strings");
        return;
    }
    OPENAI_EACH(in->d, e, i)
    {
        if (!openai_string(in, e, &s))
            return;
        if (s.n)
            neutral_text(in->a, end, s);
        if (*end)
            end = &(*end)->next;
    }
}

enum err openai_in_end(const struct openai_in *in)
{
    if (!in->err && arena_failed(in->a))
        return ERR_NOMEM;
    return in->err;
}
