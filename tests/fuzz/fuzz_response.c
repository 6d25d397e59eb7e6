/* fuzz_response: any bytes as an upstream's head.  In pieces as whole, spans inside, one framing.
 */
#include "head.h"

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
    size_t n;
    char *block = find_both_ways(data, size, false, &n);
    if (!block)
        return 0;
    bool no_body = data[0] >= 128;
    enum err e = http_response_parse(&h, str_make(block, n), no_body, NULL);
    must(e == ERR_OK || e == ERR_UPSTREAM_PROTOCOL);
    if (!e)
        check_head(&h, str_make(block, n), no_body);
    free(block);
    return 0;
}
