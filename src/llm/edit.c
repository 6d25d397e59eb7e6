/* edit: the pieces between edits, and the edits, in order. */
#include "llm/edit.h"

#include <assert.h>

/* Of two at one place the mere insertion comes first. */
static bool before(const struct edit *x, const struct edit *y)
{
    return x->off < y->off || (x->off == y->off && (!x->removed || y->removed));
}

void edits_sort(struct edit *e, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        struct edit one = e[i];
        unsigned k = i;
        for (; k > 0 && !before(&e[k - 1], &one); k--)
            e[k] = e[k - 1];
        e[k] = one;
    }
}

size_t edits_length(struct str text, const struct edit *e, unsigned n)
{
    size_t total = text.n;
    for (unsigned i = 0; i < n; i++)
        total = total - e[i].removed + e[i].text.n;
    return total;
}

unsigned edits_iov(struct str text, const struct edit *e, unsigned n, struct iovec *iov)
{
    unsigned used = 0;
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        assert(e[i].off >= at && e[i].off + (size_t)e[i].removed <= text.n);
        if (e[i].off > at)
            iov[used++] = (struct iovec){(void *)(text.p + at), e[i].off - at};
        if (e[i].text.n)
            iov[used++] = (struct iovec){(void *)e[i].text.p, e[i].text.n};
        at = e[i].off + (size_t)e[i].removed;
    }
    if (text.n > at)
        iov[used++] = (struct iovec){(void *)(text.p + at), text.n - at};
    return used;
}

void edits_write(struct str text, const struct edit *e, unsigned n, struct buf *out)
{
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        buf_add(out, text.p + at, e[i].off - at);
        buf_str(out, e[i].text);
        at = e[i].off + (size_t)e[i].removed;
    }
    buf_add(out, text.p + at, text.n - at);
}
