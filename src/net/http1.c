/* http1: the strict parser of request and response heads. */
#include "net/http1.h"

#include "core/word.h"

/* Character classes of RFC 9110, 5.6.2 and 5.5. */
enum { TOKEN = 1, VALUE = 2, TARGET = 4 };
static const uint8_t classes[256] = {
#define T TOKEN | VALUE | TARGET
    ['!'] = T,
    ['#'] = TOKEN | VALUE,
    ['$'] = T,
    ['%'] = T,
    ['&'] = T,
    ['\''] = T,
    ['*'] = T,
    ['+'] = T,
    ['-'] = T,
    ['.'] = T,
    ['^'] = TOKEN | VALUE,
    ['_'] = T,
    ['`'] = TOKEN | VALUE,
    ['|'] = T,
    ['~'] = T,
    ['0' ... '9'] = T,
    ['A' ... 'Z'] = T,
    ['a' ... 'z'] = T,
#undef T
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['"'] = VALUE,
    ['<'] = VALUE,
    ['>'] = VALUE,
    ['\\'] = VALUE,
    ['{'] = VALUE,
    ['}'] = VALUE,
    ['('] = VALUE | TARGET,
    [')'] = VALUE | TARGET,
    [','] = VALUE | TARGET,
    ['/'] = VALUE | TARGET,
    [':'] = VALUE | TARGET,
    [';'] = VALUE | TARGET,
    ['='] = VALUE | TARGET,
    ['?'] = VALUE | TARGET,
    ['@'] = VALUE | TARGET,
    ['['] = VALUE | TARGET,
    [']'] = VALUE | TARGET,
    [0x80 ... 0xff] = VALUE,
};

static const struct str known_names[HTTP_KNOWN_COUNT] = {
    [HTTP_HOST] = STR("host"),
    [HTTP_CONTENT_LENGTH] = STR("content-length"),
    [HTTP_TRANSFER_ENCODING] = STR("transfer-encoding"),
    [HTTP_CONNECTION] = STR("connection"),
    [HTTP_CONTENT_TYPE] = STR("content-type"),
    [HTTP_CONTENT_ENCODING] = STR("content-encoding"),
    [HTTP_EXPECT] = STR("expect"),
    [HTTP_AUTHORIZATION] = STR("authorization"),
    [HTTP_X_API_KEY] = STR("x-api-key"),
    [HTTP_API_KEY] = STR("api-key"),
    [HTTP_X_GOOG_API_KEY] = STR("x-goog-api-key"),
    [HTTP_ANTHROPIC_VERSION] = STR("anthropic-version"),
    [HTTP_ANTHROPIC_BETA] = STR("anthropic-beta"),
    [HTTP_TRACEPARENT] = STR("traceparent"),
    [HTTP_X_REQUEST_ID] = STR("x-request-id"),
    [HTTP_X_LYSS_STRICT] = STR("x-lyss-strict"),
    [HTTP_X_LYSS_SESSION] = STR("x-lyss-session"),
    [HTTP_IDEMPOTENCY_KEY] = STR("idempotency-key"),
    [HTTP_ORIGIN] = STR("origin"),
    [HTTP_RETRY_AFTER] = STR("retry-after"),
    [HTTP_RETRY_AFTER_MS] = STR("retry-after-ms"),
};

bool http_is_token(char c)
{
    return classes[(uint8_t)c] & TOKEN;
}

/* ---- finding the end ------------------------------------------------------- */

static enum err check_line(struct str text, size_t from, size_t to, bool request,
                           struct err_info *info)
{
    if (to - from <= HTTP_LINE_MAX)
        return ERR_OK;
    if (request && from < 4) /* the request line, perhaps behind an empty line */
        return err_set(info, ERR_URI_TOO_LONG, "the request line is longer than %d bytes",
                       HTTP_LINE_MAX);
    return err_set(info, ERR_HEAD_TOO_LARGE, "a header line is longer than %d bytes",
                   HTTP_LINE_MAX);
}

enum err http_head_find(struct str text, size_t *scan, bool request, struct err_info *info)
{
    size_t line = *scan; /* start of the line being looked at */
    if (request && line == 0 && text.n && !http_is_token(text.p[0]) && text.p[0] != '\r')
        return err_set(info, ERR_BAD_REQUEST, "this is not an HTTP request");
    for (;;) {
        const char *nl = line < text.n ? memchr(text.p + line, '\n', text.n - line) : NULL;
        size_t end = nl ? (size_t)(nl - text.p) : text.n;
        enum err e = check_line(text, line, end, request, info);
        if (e)
            return e;
        if (end >= HTTP_HEAD_MAX)
            return err_set(info, ERR_HEAD_TOO_LARGE, "the header block is larger than %d bytes",
                           HTTP_HEAD_MAX);
        if (!nl) {
            *scan = line;
            return ERR_AGAIN;
        }
        if (end == line || text.p[end - 1] != '\r')
            return err_set(info, ERR_BAD_REQUEST, "a line ends with LF alone at byte %zu", end);
        if (end == line + 1 && !(request && line == 0)) {
            *scan = end + 1;
            return ERR_OK;
        }
        line = end + 1;
    }
}

/* ---- fields ------------------------------------------------------------------ */

static bool all_in(struct str s, uint8_t cls)
{
    uint8_t all = 0xff;
    for (size_t i = 0; i < s.n; i++)
        all &= classes[(uint8_t)s.p[i]];
    return (all & cls) != 0;
}

/* The class VALUE is all but control characters, and TAB: eight bytes at a time for what has none
 * of them. */
static bool is_value(struct str s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t w = word_at(s.p + i);
        if (word_below(w, 0x20) | word_has(w, 0x7f))
            break;
    }
    return i == s.n || all_in(str_from(s, i), VALUE);
}

/* Indices into known_names by length, so that few are compared. */
static uint32_t known_by_length[32];

__attribute__((constructor)) static void sort_known_names(void)
{
    _Static_assert(HTTP_KNOWN_COUNT <= 32, "a bit each");
    for (unsigned k = 0; k < HTTP_KNOWN_COUNT; k++)
        known_by_length[known_names[k].n % 32] |= 1u << k;
}

/* Of a token, and a known name of letters and '-': there bit 5 is all the difference of case. */
static bool is_known(struct str name, struct str known)
{
    size_t i = 0;
    if (name.n != known.n)
        return false;
    while (i < name.n && (name.p[i] | 0x20) == known.p[i])
        i++;
    return i == name.n;
}

static void note_known(struct http_head *h, struct str name)
{
    for (uint32_t rest = known_by_length[name.n % 32]; rest; rest &= rest - 1) {
        unsigned k = (unsigned)__builtin_ctz(rest);
        if (!is_known(name, known_names[k]))
            continue;
        h->framings += k == HTTP_CONTENT_LENGTH || k == HTTP_TRANSFER_ENCODING;
        if (!h->known[k])
            h->known[k] = (uint8_t)h->n;
        else if (k == HTTP_HOST)
            h->host_twice = true;
        return;
    }
}

static enum err parse_fields(struct http_head *h, struct str s, struct err_info *info)
{
    h->n = 0;
    h->host_twice = false;
    h->framings = 0;
    memset(h->known, 0, sizeof h->known);
    while (s.n > 2) { /* the last CRLF is the empty line */
        const char *cr = memchr(s.p, '\r', s.n);
        if (cr[1] != '\n')
            return err_set(info, ERR_BAD_REQUEST, "a CR stands alone in the header");
        struct str line = str_make(s.p, (size_t)(cr - s.p));
        s = str_from(s, line.n + 2);
        struct str name = str_make(line.p, 0);
        while (http_is_token(line.p[name.n])) /* the CR is none */
            name.n++;
        if (!name.n || line.p[name.n] != ':')
            return err_set(info, ERR_BAD_REQUEST, "header line %u is malformed", h->n + 1);
        struct str value = str_trim(str_from(line, name.n + 1));
        if (!is_value(value))
            return err_set(info, ERR_BAD_REQUEST, "a control character in header field %.*s",
                           STR_FMT(str_make(name.p, name.n < 64 ? name.n : 64)));
        if (h->n == HTTP_FIELDS_MAX)
            return err_set(info, ERR_HEAD_TOO_LARGE, "more than %d header fields", HTTP_FIELDS_MAX);
        h->f[h->n++] = (struct http_field){name, value};
        note_known(h, name);
    }
    return ERR_OK;
}

/* Does a comma-separated list hold this token? */
static bool list_has(struct str list, struct str token)
{
    struct str part;
    while (str_split(&list, ',', &part))
        if (str_ieq(str_trim(part), token))
            return true;
    return false;
}

static bool is_field(const struct http_field *f, enum http_known k)
{
    return str_ieq(f->name, known_names[k]);
}

static bool wants_keep_alive(const struct http_head *h)
{
    bool keep = h->minor >= 1;
    if (http_has(h, HTTP_CONNECTION))
        for (unsigned i = 0; i < h->n; i++)
            if (is_field(&h->f[i], HTTP_CONNECTION)) {
                if (list_has(h->f[i].value, STR("close")))
                    return false;
                keep |= list_has(h->f[i].value, STR("keep-alive"));
            }
    return keep;
}

/* RFC 9112, 6: which of the framing fields holds; anything ambiguous is refused. */
static enum err parse_framing(struct http_head *h, struct err_info *info)
{
    h->framing = HTTP_BODY_NONE;
    h->length = 0;
    if (h->framings > 1)
        return err_set(
            info, ERR_BAD_REQUEST,
            "the message's length is given more than once (Content-Length, Transfer-Encoding)");
    if (http_has(h, HTTP_TRANSFER_ENCODING)) {
        if (h->minor == 0 || !str_ieq(http_get(h, HTTP_TRANSFER_ENCODING), STR("chunked")))
            return err_set(info, ERR_BAD_REQUEST, "Transfer-Encoding other than chunked");
        h->framing = HTTP_BODY_CHUNKED;
    } else if (http_has(h, HTTP_CONTENT_LENGTH)) {
        if (!str_u64(http_get(h, HTTP_CONTENT_LENGTH), INT64_MAX, &h->length))
            return err_set(info, ERR_BAD_REQUEST, "Content-Length is not a number");
        h->framing = h->length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    }
    h->keep_alive = wants_keep_alive(h);
    return ERR_OK;
}

static bool parse_version(struct str s, int *minor)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/1.", 7) || s.p[7] < '0' || s.p[7] > '9')
        return false;
    *minor = s.p[7] != '0'; /* a later one is spoken to as 1.1 (RFC 9110, 2.5) */
    return true;
}

/* ---- requests ------------------------------------------------------------------ */

static bool is_host(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool ok = (c >= '0' && c <= '9') || (str_lower(c) >= 'a' && str_lower(c) <= 'z') ||
                  strchr("-._:[]%~", c);
        if (!ok || c == 0)
            return false;
    }
    return true;
}

/* "http://host:port/path": takes the host off *path (RFC 9112, 3.2.2; RFC 9110, 4.2.4: no user). */
static enum err parse_absolute(struct http_head *h, struct str *path, struct err_info *info)
{
    ptrdiff_t colon = str_chr(*path, ':');
    struct str scheme = str_make(path->p, colon < 0 ? 0 : (size_t)colon);
    struct str rest = str_from(*path, scheme.n);
    if ((!str_ieq(scheme, STR("http")) && !str_ieq(scheme, STR("https"))) ||
        !str_starts(rest, STR("://")))
        return err_set(info, ERR_BAD_REQUEST,
                       "the request target must begin with '/', or with http:// and a host");
    rest = str_from(rest, 3);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    h->host = str_make(rest.p, n);
    if (!n || rest.p[0] == ':' || !is_host(h->host))
        return err_set(info, ERR_BAD_REQUEST, "the host in the request target is malformed");
    *path = str_from(rest, n);
    return ERR_OK;
}

static enum err parse_target(struct http_head *h, struct err_info *info)
{
    struct str path = h->target;
    h->host = STR_NULL;
    if (path.p[0] != '/' && !str_eq(path, STR("*"))) {
        enum err e = parse_absolute(h, &path, info);
        if (e)
            return e;
    }
    ptrdiff_t q = str_chr(path, '?');
    h->path = q < 0 ? path : str_make(path.p, (size_t)q);
    h->query = q < 0 ? STR_NULL : str_from(path, (size_t)q + 1);
    if (!h->path.n)
        h->path = STR("/");
    return ERR_OK;
}

static enum err parse_request_line(struct http_head *h, struct str line, struct err_info *info)
{
    struct str rest = line, version;
    if (!str_split(&rest, ' ', &h->method) || !str_split(&rest, ' ', &h->target) || !rest.p)
        return err_set(info, ERR_BAD_REQUEST, "the request line is malformed");
    version = rest;
    if (!h->method.n || h->method.n > 32 || !all_in(h->method, TOKEN) || !h->target.n ||
        !all_in(h->target, TARGET))
        return err_set(info, ERR_BAD_REQUEST, "the request line is malformed");
    if (!parse_version(version, &h->minor)) {
        bool http = version.n == 8 && !memcmp(version.p, "HTTP/", 5) && version.p[6] == '.' &&
                    version.p[5] >= '0' && version.p[5] <= '9' && version.p[7] >= '0' &&
                    version.p[7] <= '9';
        return err_set(info, http ? ERR_VERSION_UNSUPPORTED : ERR_BAD_REQUEST,
                       "only HTTP/1.x is spoken here");
    }
    return parse_target(h, info);
}

static enum err check_host(struct http_head *h, struct err_info *info)
{
    if (h->host_twice)
        return err_set(info, ERR_BAD_REQUEST, "more than one Host header");
    if (!h->known[HTTP_HOST])
        return h->minor == 0 ? ERR_OK : err_set(info, ERR_BAD_REQUEST, "no Host header");
    struct str host = http_get(h, HTTP_HOST);
    if (!is_host(host))
        return err_set(info, ERR_BAD_REQUEST, "the Host header is malformed");
    if (!h->host.p)
        h->host = host;
    return ERR_OK;
}

/* The first line of head, which is cut off *rest; a leading empty line is skipped (RFC 9112, 2.2).
 */
static enum err first_line(struct str head, struct str *line, struct str *rest,
                           struct err_info *info)
{
    if (str_starts(head, STR("\r\n")))
        head = str_from(head, 2);
    const char *cr = memchr(head.p, '\r', head.n);
    if (!cr || cr[1] != '\n')
        return err_set(info, ERR_BAD_REQUEST, "a CR stands alone in the header");
    *line = str_make(head.p, (size_t)(cr - head.p));
    *rest = str_from(head, line->n + 2);
    return ERR_OK;
}

enum err http_request_parse(struct http_head *h, struct str head, struct err_info *info)
{
    struct str line = STR_NULL, rest = STR_NULL;
    h->minor = 1; /* of a head that does not come as far as to say */
    enum err e = first_line(head, &line, &rest, info);
    if (!e)
        e = parse_request_line(h, line, info);
    if (!e)
        e = parse_fields(h, rest, info);
    if (!e)
        e = check_host(h, info);
    if (!e)
        e = parse_framing(h, info);
    if (e)
        return e;
    h->status = 0;
    struct str expect = http_get(h, HTTP_EXPECT);
    h->expect_continue = h->minor >= 1 && str_ieq(expect, STR("100-continue"));
    if (expect.p && h->minor >= 1 && !h->expect_continue)
        return err_set(info, ERR_EXPECTATION_FAILED, "only Expect: 100-continue is known");
    return ERR_OK;
}

/* ---- responses ------------------------------------------------------------------ */

enum err http_response_parse(struct http_head *h, struct str head, bool no_body,
                             struct err_info *info)
{
    struct str line, rest, version;
    enum err e = first_line(head, &line, &rest, info);
    if (e)
        return ERR_UPSTREAM_PROTOCOL;
    struct str s = line;
    uint64_t status = 0;
    if (!str_split(&s, ' ', &version) || !parse_version(version, &h->minor) || !s.p || s.n < 3 ||
        !str_u64(str_make(s.p, 3), 999, &status) || status < 100 || (s.n > 3 && s.p[3] != ' ') ||
        !all_in(s, VALUE))
        return err_set(info, ERR_UPSTREAM_PROTOCOL, "the upstream's status line is malformed");
    h->status = (int)status;
    h->method = h->target = h->path = h->query = h->host = STR_NULL;
    h->expect_continue = false;
    if (parse_fields(h, rest, info) || parse_framing(h, info))
        return ERR_UPSTREAM_PROTOCOL;
    if (no_body || status < 200 || status == 204 || status == 304)
        h->framing = HTTP_BODY_NONE;
    else if (h->framing == HTTP_BODY_NONE && !http_has(h, HTTP_CONTENT_LENGTH)) {
        h->framing = HTTP_BODY_EOF;
        h->keep_alive = false;
    }
    return ERR_OK;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {499, "Client Closed Request"}, /* as nginx has it; never sent */
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Status";
}
