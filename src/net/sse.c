/* sse: finds event borders with one memchr a line; a usual event is one data line and a blank one.
 */
#include "net/sse.h"

#include "net/scratch.h"

static bool field(struct str line, struct str name, struct str *value)
{
    if (!str_starts(line, name) || (line.n > name.n && line.p[name.n] != ':'))
        return false;
    struct str v = line.n > name.n ? str_from(line, name.n + 1) : str_make(line.p + line.n, 0);
    *value = v.n && v.p[0] == ' ' ? str_from(v, 1) : v;
    return true;
}

static void take_line(struct sse_event *ev, struct str line, unsigned *data_lines,
                      struct buf **joined)
{
    struct str v;
    if (field(line, STR("data"), &v)) {
        ev->has_data = true;
        if ((*data_lines)++ == 0) {
            ev->data = v;
            return;
        }
        if (*data_lines == 2) {
            *joined = scratch_buf(SCRATCH_SSE_DATA, SSE_EVENT_MAX * 2);
            buf_str(*joined, ev->data);
        }
        buf_char(*joined, '\n');
        buf_str(*joined, v);
        ev->data = buf_view(*joined);
    } else if (field(line, STR("event"), &v)) {
        ev->name = v;
    }
}

bool sse_next(struct str *in, struct sse_event *ev)
{
    *ev = (struct sse_event){0};
    size_t at = 0;
    unsigned data_lines = 0;
    struct buf *joined = NULL;
    while (at < in->n) {
        const char *nl = memchr(in->p + at, '\n', in->n - at);
        if (!nl)
            return false;
        size_t end = (size_t)(nl - in->p);
        struct str line = str_make(in->p + at, end - at);
        at = end + 1;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n) {
            take_line(ev, line, &data_lines, &joined);
            continue;
        }
        ev->raw = str_make(in->p, at);
        *in = str_from(*in, at);
        return true;
    }
    return false;
}
