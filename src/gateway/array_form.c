/* array_form: a line of an event stream is looked at as far as its field's name; of data lines the
 * value goes out, with what an array wants between its elements before the first of each event. */
#include "gateway/array_form.h"

#include <string.h>

enum { LINE_START, LINE_NAME, LINE_COLON, LINE_DATA, LINE_OTHER };

static const struct str name = STR("data:");

/* What a byte at the beginning of a line, or in its field's name, leads to. */
static void look(struct array_form *a, char c)
{
    if (c == '\n') {
        if (a->line == LINE_START)
            a->element = false; /* an empty line ends the event */
        a->line = LINE_START;
        return;
    }
    if (a->line == LINE_START && c == '\r')
        return;
    if (a->line == LINE_START)
        a->matched = 0;
    if (a->line == LINE_OTHER || c != name.p[a->matched])
        a->line = LINE_OTHER;
    else
        a->line = ++a->matched == name.n ? LINE_COLON : LINE_NAME;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Bytes of a data line, which may lack its beginning and its end. */
static size_t put_data(struct array_form *a, struct str *in, char *out, size_t cap)
{
    size_t n = 0;
    const char *nl = memchr(in->p, '\n', in->n);
    struct str value = str_make(in->p, nl ? (size_t)(nl - in->p) : in->n);
    while (!a->element && value.n && blank(value.p[0]))
        value = str_from(value, 1);
    if (!a->element && value.n) {
        struct str sep = a->any ? STR(",\r\n") : STR("[");
        memcpy(out, sep.p, sep.n);
        n = sep.n;
        a->any = a->element = true;
    }
    size_t fits = value.n - (value.n && value.p[value.n - 1] == '\r');
    if (fits > cap - n)
        fits = cap - n;
    memcpy(out + n, value.p, fits);
    value = str_from(value, fits);
    if (value.n == 1 && value.p[0] == '\r')
        value = str_from(value, 1); /* of the line's end */
    *in = str_from(*in, (size_t)(value.p - in->p));
    return n + fits;
}

size_t array_form_feed(struct array_form *a, struct str *in, char *out, size_t cap)
{
    size_t n = 0;
    while (in->n && cap - n >= 8) {
        if (a->line == LINE_COLON) {
            a->line = LINE_DATA;
            if (in->p[0] == ' ')
                *in = str_from(*in, 1);
        } else if (a->line == LINE_DATA && in->p[0] != '\n') {
            n += put_data(a, in, out + n, cap - n);
        } else {
            if (a->line == LINE_DATA)
                a->line = LINE_OTHER; /* its line ends here */
            look(a, in->p[0]);
            *in = str_from(*in, 1);
        }
    }
    return n;
}

size_t array_form_end(const struct array_form *a, char *out)
{
    memcpy(out, a->any ? "]" : "[]", a->any ? 1 : 2);
    return a->any ? 1 : 2;
}
