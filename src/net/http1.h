/* http1: HTTP/1.1 messages as bytes: heads (RFC 9112) and the chunked coding, strictly.
 *
 * Pure parsing over bytes lent by the caller; any thread; no allocation. What
 * RFC 9112 calls malformed is refused, never repaired: bare CR or LF, obs-fold,
 * space before the colon, Content-Length beside Transfer-Encoding, and so on. */
#ifndef LYSS_NET_HTTP1_H
#define LYSS_NET_HTTP1_H

#include "core/err.h"

#define HTTP_HEAD_MAX   65536
#define HTTP_LINE_MAX   8192
#define HTTP_FIELDS_MAX 100

/* Fields that Lyss looks at, by index; the names are in http1.c. */
enum http_known {
    HTTP_HOST,
    HTTP_CONTENT_LENGTH,
    HTTP_TRANSFER_ENCODING,
    HTTP_CONNECTION,
    HTTP_CONTENT_TYPE,
    HTTP_CONTENT_ENCODING,
    HTTP_EXPECT,
    HTTP_AUTHORIZATION,
    HTTP_X_API_KEY,
    HTTP_API_KEY,
    HTTP_X_GOOG_API_KEY,
    HTTP_ANTHROPIC_VERSION,
    HTTP_ANTHROPIC_BETA,
    HTTP_TRACEPARENT,
    HTTP_X_REQUEST_ID,
    HTTP_X_LYSS_STRICT,
    HTTP_X_LYSS_SESSION,
    HTTP_IDEMPOTENCY_KEY,
    HTTP_ORIGIN,
    HTTP_RETRY_AFTER,
    HTTP_RETRY_AFTER_MS,
    HTTP_KNOWN_COUNT
};

struct http_field {
    struct str name, value; /* value without surrounding blanks */
};

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_EOF };

/* All spans point into the text that was parsed, or are constants. */
struct http_head {
    struct str method, target, path, query; /* requests; path as sent, query without '?' */
    struct str host; /* the target's own where it is absolute, else the Host field's */
    int status;      /* responses */
    int minor;       /* 0: HTTP/1.0; 1: HTTP/1.1 or later */
    enum http_framing framing;
    uint64_t length;
    bool keep_alive, expect_continue, host_twice;
    uint8_t framings; /* fields that tell a length: Content-Length, Transfer-Encoding */
    unsigned n;
    uint8_t known[HTTP_KNOWN_COUNT]; /* index + 1 of the first of each, 0: absent */
    struct http_field f[HTTP_FIELDS_MAX];
};

static inline bool http_has(const struct http_head *h, enum http_known k)
{
    return h->known[k] != 0;
}
/* Value, or {NULL, 0}. */
static inline struct str http_get(const struct http_head *h, enum http_known k)
{
    return h->known[k] ? h->f[h->known[k] - 1].value : STR_NULL;
}

/* Looks for the end of a head in text, from *scan on (0 at first; kept between calls), where the
 * head may still be growing. ERR_AGAIN: not there yet; ERR_OK: the head is text[0..*scan), its
 * empty line included. Refuses at once what can never become a valid head. */
enum err http_head_find(struct str text, size_t *scan, bool request,
                        struct err_info *info) MUST_CHECK;

/* Parses a whole head, as found. */
enum err http_request_parse(struct http_head *h, struct str head, struct err_info *info) MUST_CHECK;
/* no_body: the answer to a HEAD request. */
enum err http_response_parse(struct http_head *h, struct str head, bool no_body,
                             struct err_info *info) MUST_CHECK;

/* ---- chunked coding ---------------------------------------------------- */
struct http_chunked {
    uint64_t left;
    uint32_t line; /* bytes of the current size or trailer line */
    uint8_t state, digits;
};

/* Zero-initialised to begin. Decodes bytes[0..*n) in place: the data is moved together to the
 * front. *n becomes the data's length, *used the bytes of input consumed (all of them, unless the
 * end was reached). ERR_AGAIN: more to come; ERR_OK: the last chunk and the trailer are done. */
enum err http_chunked_decode(struct http_chunked *c, char *bytes, size_t *n, size_t *used,
                             struct err_info *info) MUST_CHECK;

/* A character of methods and field names (RFC 9110, 5.6.2)? */
bool http_is_token(char c);
/* Reason phrase for a status that Lyss sends. */
const char *http_reason(int status);

#endif
