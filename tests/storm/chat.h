/* chat: the wire of the storm's upstream: reads requests strictly and makes answers. */
#ifndef STORM_CHAT_H
#define STORM_CHAT_H

#include <stddef.h>

enum { REQUEST_MAX = 8192, ANSWER_MAX = 16384, PARTS_MAX = 48 };

/* An answer, all of it, and where each part ends: the head, each event or the body, the last chunk.
 * The first two parts, and the last two, belong together; between the others there is a pause. */
struct answer {
    char data[ANSWER_MAX];
    size_t end[PARTS_MAX];
    unsigned parts;
};

/* What callers have to show, and the pieces of every answer's text, each as a JSON string. Neither
 * is copied. */
void chat_init(const char *key, char *const *pieces, unsigned n);

/* How long the request is that begins at in (REQUEST_MAX bytes, n of them filled): 0 until it is
 * whole, -1 when it is not what a gateway may send, and *why says so. */
long chat_length(char *in, size_t n, const char **why);

/* Answers a whole request, whose body is followed by a 0. */
void chat_answer(const char *request, struct answer *a);

#endif
