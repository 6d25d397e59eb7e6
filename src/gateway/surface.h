/* surface: which paths are served, and as what. Constant tables and pure functions; any thread. */
#ifndef LYSS_GATEWAY_SURFACE_H
#define LYSS_GATEWAY_SURFACE_H

#include "core/arena.h"
#include "core/err.h"
#include "llm/op.h"
#include "net/http1.h"

enum page { PAGE_NONE, PAGE_ROOT, PAGE_HEALTH, PAGE_LIVE, PAGE_READY, PAGE_METRICS };

struct surface {
    enum page page; /* a page of the gateway's own, without a credential */
    enum llm_op op;
    enum dialect dialect;
    bool force_stream;
    bool array;      /* what is streamed is one JSON array, not events */
    bool head;       /* a HEAD request: the answer has no body */
    struct str rest; /* PASSTHROUGH: what follows the channel's name */
    struct str name; /* still percent-encoded: a deployment, or a model's id; p NULL: none */
};

/* ERR_NOT_FOUND; ERR_METHOD_NOT_ALLOWED with *allow (a constant) for a path that has another
 * method. */
enum err surface_find(struct str method, struct str path, struct surface *out,
                      const char **allow) MUST_CHECK;
/* Reads what a query says of the answer's form: Gemini streams events only to who asks for them. */
void surface_query(struct surface *s, struct str query);
/* What the caller of a path that several dialects share, or that is not served, speaks. */
enum dialect surface_dialect(const struct http_head *h);
/* Decodes %XX once. False: malformed, or a control character. */
bool surface_decode(struct str in, struct arena *a, struct str *out);

#endif
