/* json_check: the JSON reader as a filter, for comparison with other parsers.
 *
 * Standard input holds documents, each after a line with its length in bytes.  For each a line
 * comes out: "reject OFFSET REASON", or "accept " and the document as the reader understood it:
 * strings unescaped and escaped anew, numbers read and printed. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json_read.h"
#include "core/json_write.h"

#define TEXT_MAX ((size_t)64 << 20)

static void put_number(const struct json_doc *d, uint32_t i, struct json_writer *w)
{
    int64_t v;
    double f;
    if (json_i64(d, i, &v)) {
        json_put_i64(w, v);
    } else if (d->e[i].flags & JSON_FLOAT && json_double(d, i, &f)) {
        size_t from = w->out->n;
        json_put_double(w, f);
        if (!strpbrk(w->out->p + from, ".e"))
            buf_lit(w->out, ".0"); /* so that it reads as a float */
    } else {
        json_put_raw(w, json_raw(d, i)); /* beyond either type */
    }
}

static void put(const struct json_doc *d, uint32_t i, struct json_writer *w, struct arena *a)
{
    struct str s = STR_NULL;
    bool b = false, object = json_is(d, i, JSON_OBJECT);
    switch (json_type(d, i)) {
    case JSON_NULL:
        json_put_null(w);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        json_put_bool(w, json_bool(d, i, &b) && b);
        return;
    case JSON_NUMBER:
        put_number(d, i, w);
        return;
    case JSON_STRING:
        if (json_string(d, i, a, &s))
            json_put_string(w, s);
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    object ? json_open_object(w) : json_open_array(w);
    for (uint32_t c = json_child(d, i); c != JSON_NONE; c = json_sibling(d, i, c)) {
        if (object && json_string(d, c++, a, &s))
            json_key(w, s);
        put(d, c, w, a);
    }
    object ? json_close_object(w) : json_close_array(w);
}

static void answer(struct str text)
{
    struct json_doc d;
    struct err_info info;
    struct buf out;
    struct arena a;
    struct json_writer w;
    if (json_parse(&d, text, &info) != ERR_OK) {
        printf("reject %lld %s\n", (long long)info.offset, info.text);
        return;
    }
    buf_init(&out, 8 * TEXT_MAX);
    arena_init(&a, 8 * TEXT_MAX);
    json_writer_init(&w, &out);
    put(&d, json_root(&d), &w, &a);
    printf("accept %.*s\n", STR_FMT(buf_view(&out)));
    buf_release(&out);
    arena_release(&a);
}

int main(void)
{
    size_t n;
    while (scanf("%zu", &n) == 1) {
        char *p = n <= TEXT_MAX && getchar() == '\n' ? malloc(n ? n : 1) : NULL;
        if (!p || fread(p, 1, n, stdin) != n) {
            fputs("json_check: bad input\n", stderr);
            return 2;
        }
        answer(str_make(p, n));
        free(p);
    }
    return 0;
}
