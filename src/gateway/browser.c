/* browser: host names and origins are compared exactly; nothing is ever echoed that is not listed.
 */
#include "gateway/browser.h"

static struct str without_port(struct str host)
{
    if (host.n && host.p[0] == '[') {
        ptrdiff_t end = str_chr(host, ']');
        return end < 0 ? host : str_make(host.p, (size_t)end + 1);
    }
    ptrdiff_t colon = str_chr(host, ':');
    return colon < 0 ? host : str_make(host.p, (size_t)colon);
}

bool browser_host_ok(const struct browser_rules *b, struct str host)
{
    struct str name = without_port(host);
    for (size_t i = 0; i < b->hosts_n; i++) {
        struct str want = b->hosts[i];
        if (str_ieq(name, want))
            return true;
        if (str_starts(want, STR("*.")) && name.n > want.n - 1 &&
            str_ieq(str_from(name, name.n - (want.n - 1)), str_from(want, 1)))
            return true;
    }
    return b->hosts_n == 0;
}

static bool is_localhost(struct str origin)
{
    struct str rest = origin;
    if (str_starts(rest, STR("http://")))
        rest = str_from(rest, 7);
    else if (str_starts(rest, STR("https://")))
        rest = str_from(rest, 8);
    else
        return false;
    struct str name = without_port(rest);
    return str_eq(name, STR("localhost")) || str_eq(name, STR("127.0.0.1")) ||
           str_eq(name, STR("[::1]"));
}

bool browser_origin_ok(const struct browser_rules *b, struct str origin)
{
    for (size_t i = 0; i < b->origins_n; i++)
        if (str_eq(b->origins[i], origin))
            return true;
    return b->any_localhost && is_localhost(origin);
}

void browser_put_cors(const struct browser_rules *b, struct str origin, struct buf *out)
{
    if (!origin.n || !browser_origin_ok(b, origin))
        return;
    buf_lit(out, "Access-Control-Allow-Origin: ");
    buf_str(out, origin);
    buf_lit(out, "\r\nVary: Origin\r\nAccess-Control-Expose-Headers: x-request-id, x-lyss-channel, "
                 "x-lyss-provider, x-lyss-attempts, x-lyss-overhead-us, x-lyss-dropped-params, "
                 "x-lyss-idempotency, "
                 "Retry-After\r\n");
}

void browser_put_preflight(const struct browser_rules *b, struct str origin, struct buf *out)
{
    browser_put_cors(b, origin, out);
    if (out->n)
        buf_lit(
            out,
            "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
            "Access-Control-Allow-Headers: authorization, content-type, x-api-key, api-key, "
            "x-goog-api-key, anthropic-version, idempotency-key, x-lyss-strict, x-stainless-arch, "
            "x-stainless-lang, x-stainless-os, x-stainless-package-version, "
            "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
            "x-stainless-timeout\r\nAccess-Control-Max-Age: 86400\r\n");
}
