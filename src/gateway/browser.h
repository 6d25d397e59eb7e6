/* browser: what matters only when the caller may be a web page: whose host name it used, and which
 * origins may read the answer. Pure; any thread. */
#ifndef LYSS_GATEWAY_BROWSER_H
#define LYSS_GATEWAY_BROWSER_H

#include "core/buf.h"
#include "net/http1.h"

struct browser_rules {
    const struct str *hosts; /* names or *.names that may be asked for; n 0: any */
    size_t hosts_n;
    const struct str *origins; /* exact */
    size_t origins_n;
    bool any_localhost; /* development: every origin on this machine */
};

/* Is the Host header's name (its port aside) one that is served here? */
bool browser_host_ok(const struct browser_rules *b, struct str host);
bool browser_origin_ok(const struct browser_rules *b, struct str origin);
/* Appends the lines that let a page of this origin read the reply; nothing for another. */
void browser_put_cors(const struct browser_rules *b, struct str origin, struct buf *out);
/* Appends those of the answer to a preflight (Fetch standard, CORS preflight), which comes before
 * any credential. */
void browser_put_preflight(const struct browser_rules *b, struct str origin, struct buf *out);

#endif
