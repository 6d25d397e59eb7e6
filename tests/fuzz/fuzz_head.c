/* fuzz_head: any bytes as a request.  A head fed in pieces (the first byte says how long) must come
 * to the same end as one fed whole, and what the parser accepts must hold its promises: every span
 * inside the head, clean of line ends, one meaning for the body's length. */
#include "head.h"

static void check_span(struct str s, struct str head)
{
    must(!s.p || (s.p >= head.p && s.p + s.n <= head.p + head.n));
    must(str_chr(s, '\r') < 0 && str_chr(s, '\n') < 0 && str_chr(s, 0) < 0);
}

/* Path and query are the target, or what follows the host in one that is absolute. */
static void check_target(const struct http_head *h, struct str head)
{
    bool absolute = h->target.p[0] != '/' && h->target.p[0] != '*';
    size_t front = absolute ? (size_t)(h->host.p - h->target.p) + h->host.n : 0;
    struct str rest = str_from(h->target, front);
    bool bare = absolute && (!rest.n || rest.p[0] == '?');
    check_span(h->host, head);
    must(!absolute || (h->host.n && front >= 8 && front <= h->target.n));
    must(rest.n == (bare ? 0 : h->path.n) + (h->query.p ? 1 + h->query.n : 0));
    must(bare ? str_eq(h->path, STR("/")) : h->path.p == rest.p);
    must(h->path.n && str_chr(h->path, '?') < 0);
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
    check_target(h, head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head h;
    struct err_info info;
    size_t n;
    char *block = find_both_ways(data, size, true, &n);
    if (!block)
        return 0;
    must(n >= 4 && n <= HTTP_HEAD_MAX && !memcmp(block + n - 4, "\r\n\r\n", 4));
    err_info_init(&info);
    if (http_request_parse(&h, str_make(block, n), &info) == ERR_OK)
        check_head(&h, str_make(block, n));
    else
        must(info.text[0]);
    free(block);
    return 0;
}
