/* fuzz_head: any bytes as a request.  A head fed in pieces (the first byte says how long) must come
 * to the same end as one fed whole, and what the parser accepts must hold its promises: every span
 * inside the head, clean of line ends, one meaning for the body's length. */
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
        e = http_head_find(str_make(block, n), head_n, true, NULL);
        must(*head_n <= n);
        free(block);
    }
    return e;
}

static void check_span(struct str s, struct str head)
{
    must(!s.p || (s.p >= head.p && s.p + s.n <= head.p + head.n));
    must(str_chr(s, '\r') < 0 && str_chr(s, '\n') < 0 && str_chr(s, 0) < 0);
}

static void check_head(const struct http_head *h, struct str head)
{
    unsigned lengths = 0, codings = 0, hosts = 0;
    must(h->n <= HTTP_FIELDS_MAX && (h->minor == 0 || h->minor == 1));
    for (unsigned i = 0; i < h->n; i++) {
        check_span(h->f[i].name, head);
        check_span(h->f[i].value, head);
        must(h->f[i].name.n && str_eq(str_trim(h->f[i].value), h->f[i].value));
        for (size_t k = 0; k < h->f[i].name.n; k++)
            must(http_is_token(h->f[i].name.p[k]));
        lengths += str_ieq(h->f[i].name, STR("content-length"));
        codings += str_ieq(h->f[i].name, STR("transfer-encoding"));
        hosts += str_ieq(h->f[i].name, STR("host"));
    }
    must(lengths + codings <= 1 && hosts <= 1 && (hosts || !h->minor));
    must((h->framing == HTTP_BODY_CHUNKED) == (codings == 1));
    must((h->framing == HTTP_BODY_LENGTH) == (h->length > 0));
    must(h->framing != HTTP_BODY_EOF);
    for (int k = 0; k < HTTP_KNOWN_COUNT; k++)
        check_span(http_get(h, (enum http_known)k), head);
    check_span(h->method, head);
    check_span(h->target, head);
    must(h->target.n == h->path.n + (h->query.p ? 1 + h->query.n : 0));
    must(h->path.p == h->target.p && h->path.n && str_chr(h->path, '?') < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head h;
    struct err_info info;
    size_t whole, pieces;
    if (!size)
        return 0;
    size_t step = data[0] % 32 + 1;
    data++;
    size--;
    enum err e = find(data, size, size ? size : 1, &whole);
    must(find(data, size, step, &pieces) == e && (e || whole == pieces));
    if (e)
        return 0;
    must(whole >= 4 && whole <= HTTP_HEAD_MAX && !memcmp(data + whole - 4, "\r\n\r\n", 4));
    char *block = exact(data, whole);
    err_info_init(&info);
    if (http_request_parse(&h, str_make(block, whole), &info) == ERR_OK)
        check_head(&h, str_make(block, whole));
    else
        must(info.text[0]);
    free(block);
    return 0;
}
