/* fuzz_json: any bytes.  The reader, whole and in steps, must agree with itself; what it accepts
 * must keep its tape's promises and, written again, read back equal. */
#include <stdio.h>
#include <stdlib.h>

#include "core/json_read.h"
#include "core/json_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

/* JSON_NARROW is knowledge, not meaning: steps that end inside a string do not gather it. */
static bool same_entry(struct json_entry one, struct json_entry other)
{
    one.flags &= (uint8_t)~JSON_NARROW;
    other.flags &= (uint8_t)~JSON_NARROW;
    return memcmp(&one, &other, sizeof one) == 0;
}

/* Budgets vary with the input so that the steps end in different places. */
static void check_steps(const struct json_doc *whole, enum err want, const struct err_info *why,
                        struct str text)
{
    struct json_steps *s;
    struct json_doc d;
    struct err_info info;
    enum err e;
    must(json_steps_new(&s, text) == ERR_OK);
    size_t budget = text.n % 7;
    while ((e = json_step(s, budget, &d, &info)) == ERR_AGAIN)
        budget = (budget + 5) % 11;
    must(e == want);
    if (e == ERR_OK) {
        must(d.n == whole->n);
        for (uint32_t i = 0; i < d.n; i++)
            must(same_entry(d.e[i], whole->e[i]));
    } else {
        must(info.offset == why->offset && strcmp(info.text, why->text) == 0);
    }
    json_steps_free(&s);
}

static void check_tape(const struct json_doc *d)
{
    must(d->e[0].next == d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct json_entry *e = &d->e[i];
        must(e->off < e->end && e->end <= d->text.n);
        must(e->next > i && e->next <= d->n && e->depth < JSON_DEPTH_MAX + 1);
        if (i)
            must(e->off > d->e[i - 1].off);
        if (e->next < d->n)
            must(d->e[e->next].off >= e->end);
        for (uint32_t at = e->off; (e->flags & JSON_NARROW) && at < e->end; at++)
            must((unsigned char)d->text.p[at] < 0xe0);
    }
}

static void copy(const struct json_doc *d, uint32_t i, struct json_writer *w, struct arena *a)
{
    struct str s;
    bool object = json_is(d, i, JSON_OBJECT);
    int64_t v;
    double f;
    switch (json_type(d, i)) {
    case JSON_NULL:
        json_put_null(w);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        json_put_bool(w, json_is(d, i, JSON_TRUE));
        return;
    case JSON_NUMBER:
        must(!json_i64(d, i, &v) || json_double(d, i, &f));
        json_put_raw(w, json_raw(d, i));
        return;
    case JSON_STRING:
        must(json_string(d, i, a, &s) && json_string_is(d, i, s));
        json_put_string(w, s);
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    object ? json_open_object(w) : json_open_array(w);
    for (uint32_t c = json_child(d, i); c != JSON_NONE; c = json_sibling(d, i, c)) {
        if (object) {
            must(json_string(d, c, a, &s) && json_count(d, i, s) > 0);
            must(json_get(d, i, s) <= c + 1);
            json_key(w, s);
            c++;
        }
        copy(d, c, w, a);
    }
    object ? json_close_object(w) : json_close_array(w);
}

static void check_copy(const struct json_doc *d)
{
    struct buf one, other;
    struct arena a;
    struct json_writer w;
    struct json_doc again;
    arena_init(&a, 64 << 20);
    buf_init(&one, 64 << 20);
    buf_init(&other, 64 << 20);
    json_writer_init(&w, &one);
    copy(d, 0, &w, &a);
    must(!buf_failed(&one));
    must(json_parse(&again, buf_view(&one), NULL) == ERR_OK); /* d is gone now */
    json_writer_init(&w, &other);
    copy(&again, 0, &w, &a);
    must(str_eq(buf_view(&one), buf_view(&other)));
    buf_release(&one);
    buf_release(&other);
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_doc d;
    struct err_info info;
    char *exact = malloc(size ? size : 1); /* so that one byte too far is seen */
    must(exact);
    if (size)
        memcpy(exact, data, size);
    struct str text = str_make(exact, size);
    enum err e = json_parse(&d, text, &info);
    must(e == ERR_OK || e == ERR_BAD_JSON);
    must(e == ERR_OK || (info.offset >= 0 && (size_t)info.offset <= size));
    check_steps(&d, e, &info, text);
    if (e == ERR_OK) {
        check_tape(&d);
        check_copy(&d);
    }
    free(exact);
    return 0;
}
