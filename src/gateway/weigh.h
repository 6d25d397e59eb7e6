/* weigh: what a request takes of the memory budget.
 *
 * r->body_bytes is its part of the worker's sum.  The worker's thread. */
#ifndef LYSS_GATEWAY_WEIGH_H
#define LYSS_GATEWAY_WEIGH_H

#include "gateway/request.h"

/* What is smaller neither counts against the memory budget nor fails for it. */
#define COUNTED_BYTES 65536

/* Counts all that r takes now: its arena with the caller's body and what was held of answers, the
 * body's other forms, what its values are noted in, and what a stream keeps. */
void weigh_request(struct request *r);
/* The same after a stream has moved on. False: the budget is all taken, and this has a large part.
 */
bool weigh_stream(struct request *r) MUST_CHECK;
/* The same after a step of a parse: what is noted may come to four times a text of many values. */
bool weigh_parsing(struct request *r) MUST_CHECK;

#endif
