/* fuzz_response: any bytes as an upstream's head.  In pieces as whole, spans inside, one framing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static char *exact(const void *p, size_t n) /* so that one byte too far is seen */
{
    char *block = malloc(n ? n : 1);
    must(block);
    if (n)
        memcpy(block, p, n);
    return block;
}

static enum err find(const uint8_t *data, size_t size, size_t step, size_t *head_n)
{
    enum err e = ERR_AGAIN;
    *head_n = 0;
    for (size_t n = 0; e == ERR_AGAIN && n < size;) {
        n = size - n < step ? size : n + step;
        char *block = exact(data, n);
        e = http_head_find(str_make(block, n), head_n, false, NULL);
        must(*head_n <= n);
        free(block);
    }
    return e;
}

static void check_head(const struct http_head *h, struct str head, bool no_body)
{
    bool length = http_has(h, HTTP_CONTENT_LENGTH), coding = http_has(h, HTTP_TRANSFER_ENCODING);
    must(h->status >= 100 && h->status <= 999 && h->n <= HTTP_FIELDS_MAX);
    must(!(length && coding));
    for (unsigned i = 0; i < h->n; i++) {
        struct str v = h->f[i].value;
        must(h->f[i].name.n && h->f[i].name.p > head.p && v.p + v.n <= head.p + head.n);
        must(str_chr(v, '\r') < 0 && str_chr(v, '\n') < 0 && str_chr(v, 0) < 0);
    }
    if (no_body || h->status < 200 || h->status == 204 || h->status == 304)
        must(h->framing == HTTP_BODY_NONE);
    else if (coding)
        must(h->framing == HTTP_BODY_CHUNKED);
    else if (length)
        must(h->framing == (h->length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE));
    else
        must(h->framing == HTTP_BODY_EOF && !h->keep_alive);
    must(!h->method.p && !h->path.p && !h->expect_continue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head h;
    size_t whole, pieces;
    if (!size)
        return 0;
    size_t step = data[0] % 32 + 1;
    bool no_body = data[0] >= 128;
    data++;
    size--;
    enum err e = find(data, size, size ? size : 1, &whole);
    must(find(data, size, step, &pieces) == e && (e || whole == pieces));
    if (e)
        return 0;
    char *block = exact(data, whole);
    e = http_response_parse(&h, str_make(block, whole), no_body, NULL);
    must(e == ERR_OK || e == ERR_UPSTREAM_PROTOCOL);
    if (!e)
        check_head(&h, str_make(block, whole), no_body);
    free(block);
    return 0;
}
