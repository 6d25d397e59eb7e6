/* request_in: the state of reading one Messages request, and where in it the reading is.
 *
 * Refusals name their place as Anthropic does: "messages.0.content.1.text: Field
 * required".  Internal to src/llm/anthropic. */
#ifndef LYSS_LLM_ANTHROPIC_REQUEST_IN_H
#define LYSS_LLM_ANTHROPIC_REQUEST_IN_H

#include "llm/anthropic/anthropic.h"

struct request_in {
    const struct json_doc *d;
    struct arena *a;
    struct neutral_request *r;
    struct err_info *info;
    enum err err;             /* the first refusal */
    struct part **system_end; /* where the next block of the system prompt goes */
    unsigned server_blocks;   /* kinds of blocks that were left out */
    char path[sizeof((struct err_info *)0)->field];
    unsigned path_n;
};

/* Lengthens the path; returns what request_in_pop takes. */
unsigned request_in_push(struct request_in *in, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void request_in_pop(struct request_in *in, unsigned to);

/* Refuses the value at i (JSON_NONE: no place) whose name below the path is `name`, "" the path
 * itself. */
void request_in_fail(struct request_in *in, uint32_t i, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Members of obj. A null counts as absent. An absent one is refused when it is needed; a wrong one
 * always. */
uint32_t request_in_get(struct request_in *in, uint32_t obj, const char *name);
bool request_in_string(struct request_in *in, uint32_t obj, const char *name, bool needed,
                       struct str *out);
bool request_in_bool(struct request_in *in, uint32_t obj, const char *name, bool *out);
bool request_in_is(struct request_in *in, uint32_t obj, const char *name, struct str value);
enum cache_mark request_in_cache(struct request_in *in, uint32_t obj);

/* Where blocks stand. */
enum place { PLACE_SYSTEM, PLACE_USER, PLACE_ASSISTANT, PLACE_RESULT };
/* A content: a string or an array of blocks. */
void request_in_content(struct request_in *in, uint32_t content, enum place place,
                        struct part **end);

#endif
