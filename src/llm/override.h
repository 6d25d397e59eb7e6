/* override: parameters and header fields that a channel sets, whatever the caller said.
 *
 * Read once from the JSON objects of a channel's row, applied to each call's
 * body and head.  Pure functions; any thread; overridden values are lent by the
 * arena that they were read into. */
#ifndef LYSS_LLM_OVERRIDE_H
#define LYSS_LLM_OVERRIDE_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "llm/edit.h"

#define OVERRIDES_MAX       64
#define OVERRIDES_BYTES_MAX ((size_t)128 << 10) /* what a row's parameters may add to a body */

/* name: unescaped. value: of a parameter its raw JSON, empty: the member goes; of a header field
 * the text. */
struct override {
    struct str name, value;
};

struct overrides {
    struct override *o;
    unsigned n;
};

/* {"temperature": 0, "top_k": null}: sets the one, removes the other. json may be empty.
 * ERR_INVALID with a sentence for what is no object, what Lyss sets itself (model, stream,
 * stream_options), a name given twice, or more than OVERRIDES_MAX; ERR_BAD_JSON; ERR_NOMEM. Uses
 * the thread's tape. */
enum err overrides_read_params(struct overrides *out, struct str json, struct arena *a,
                               struct err_info *info) MUST_CHECK;
/* {"X-Team": "blue"}: names of letters, digits, '-' and '_', values of printable ASCII; not the
 * fields of framing, routing and credentials. */
enum err overrides_read_headers(struct overrides *out, struct str json, struct arena *a,
                                struct err_info *info) MUST_CHECK;

/* Appends the JSON object `body` to out with its top-level members as p wants them; all else of it
 * byte for byte but for white space between those members. e: *n edits within values of body, which
 * is JSON without them; those of members that stay are moved to where these are in out, the others
 * go. ERR_BAD_JSON: not an object; ERR_NOMEM. Uses the thread's tape. */
enum err overrides_put_body(const struct overrides *p, struct str body, struct edit *e, unsigned *n,
                            struct buf *out) MUST_CHECK;
/* The field lines in head from byte `from` on that h names go, and h's are appended. */
void overrides_put_lines(const struct overrides *h, struct buf *head, size_t from);

#endif
