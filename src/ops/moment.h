/* moment: moments as people type them. Pure; any thread. */
#ifndef LYSS_OPS_MOMENT_H
#define LYSS_OPS_MOMENT_H

#include "core/str.h"

/* "2027-01-31", "2027-01-31T12:00", "2027-01-31T12:00:00Z" (always UTC), to milliseconds since
 * 1970; or a span like "90s", "15m", "12h", "30d", counted from now_ms. False: none of these. */
bool moment_parse(struct str s, int64_t now_ms, int64_t *out);
/* A span alone, in milliseconds. */
bool moment_span(struct str s, int64_t *out);

#endif
