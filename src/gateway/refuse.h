/* refuse: answers of our own, in the caller's dialect, to what is not admitted. Each counts as
 * refused and has a line in the log, for it has no row. What belongs to a request already is
 * refused by request_refuse(), see request.h. The worker's thread. */
#ifndef LYSS_GATEWAY_REFUSE_H
#define LYSS_GATEWAY_REFUSE_H

#include "gateway/request.h"
#include "gateway/surface.h"

#define HEADERS_MAX 16384 /* bytes of an answer's header lines */

/* For what has no request yet. s NULL: its shape is not known; origin STR_NULL: it is not a page's;
 * allow NULL or, for ERR_METHOD_NOT_ALLOWED, the methods that there are. */
COLD void refuse_bare(struct http_conn *c, const struct surface *s, struct str origin, enum err e,
                      const struct err_info *info, const char *allow);

#endif
