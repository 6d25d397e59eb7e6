/* base64: RFC 4648, the standard alphabet (section 4) and the one for URLs (section 5).
 *
 * Pure; any thread. */
#ifndef LYSS_CORE_BASE64_H
#define LYSS_CORE_BASE64_H

#include "core/str.h"

/* Room that encoding n bytes takes at most; no NUL is written. */
#define BASE64_ROOM(n) (((n) + 2) / 3 * 4)

/* Standard alphabet, padded. Returns the length. */
size_t base64_encode(char *dst, struct str bytes);
/* Alphabet for URLs, without padding. */
size_t base64url_encode(char *dst, struct str bytes);
/* Either alphabet, padded or not, nothing else between. dst has room for s.n / 4 * 3 + 3 bytes.
 * False: malformed. */
bool base64_decode(char *dst, size_t *n, struct str s);

#endif
