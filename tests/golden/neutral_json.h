/* neutral_json: the neutral form (llm/neutral.h) spelled as JSON, so that a test can show it, give
 * it and compare it.
 *
 * It is a codec like any other, under the name "neutral": what a codec reads
 * can be written by it, what it reads another codec can write.  Members that
 * say nothing are left out.  Names are those of the structs; enumerations go by
 * name in lower case, raw values as the JSON that they are, switches (-1, 0, 1)
 * as booleans, extras as an object. */
#ifndef LYSS_TESTS_NEUTRAL_JSON_H
#define LYSS_TESTS_NEUTRAL_JSON_H

#include "llm/codec.h"

extern const struct codec codec_neutral;

/* Appends the JSON of a request, of an answer, of an event. */
void neutral_json_request(const struct neutral_request *r, struct buf *out);
void neutral_json_reply(const struct neutral_reply *r, struct buf *out);
void neutral_json_event(const struct neutral_event *ev, struct buf *out);

#endif
