/* array_form: events on their way out, turned into the elements of one JSON array.
 *
 * What Google's streamGenerateContent answers with where nobody asks for alt=sse:
 * https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
 * The data of each event is an element; comments and other fields are left out.
 * Works on any pieces of the stream, byte by byte if need be, without memory of
 * its own. Belongs to its request. */
#ifndef LYSS_GATEWAY_ARRAY_FORM_H
#define LYSS_GATEWAY_ARRAY_FORM_H

#include "core/str.h"

struct array_form {
    uint8_t line;    /* where in a line of the stream: array_form.c */
    uint8_t matched; /* of "data:" */
    bool element;    /* this event's element has begun */
    bool any;        /* an element has been written */
};

/* Zero is the start of a stream. Writes what the next bytes of *in become to out (room for cap,
 * at least 8) and returns how much; *in becomes what did not fit. */
size_t array_form_feed(struct array_form *a, struct str *in, char *out, size_t cap);
/* Writes what completes the array, at most 2 bytes. */
size_t array_form_end(const struct array_form *a, char *out);

#endif
