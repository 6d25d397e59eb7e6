/* classify: what an upstream's failure means, from its status, headers and error object.
 *
 * One table decides (classify.c).  A struct fault is plain data: strings are
 * copied, cut to size and scrubbed of credentials and account names, so that
 * they may reach a tenant.  Any thread (the thread's json_parse tape is used). */
#ifndef LYSS_LLM_CLASSIFY_H
#define LYSS_LLM_CLASSIFY_H

#include "core/err.h"
#include "core/json_read.h"

enum {
    FAULT_CONTEXT = 1,     /* the prompt is too long: a route's context fallback may help */
    FAULT_POLICY = 2,      /* content policy: a route's policy fallback may help */
    FAULT_MAPPING = 4,     /* class key, but the fault is this channel's model mapping */
    FAULT_NO_CREDIT = 8,   /* class key: the account is out of money; tell the operator */
    FAULT_PERMISSION = 16, /* class key: whom it belongs to is known, but may not do this */
    FAULT_MODEL = 32,      /* class request: there is no such model */
    FAULT_NO_ROOM = 64,    /* class request: max_tokens left no room for any answer */
};

struct fault {
    enum err err;     /* ERR_UPSTREAM_REQUEST, _KEY, _THROTTLE, _ERROR, _TIMEOUT, _PROTOCOL */
    int status;       /* what the caller gets, should this be the last attempt */
    unsigned kind;    /* FAULT_… */
    int64_t retry_ms; /* the upstream's own word on when to come back, 0: none */
    int64_t offset;   /* of an error of ours: where in the caller's body, -1: none */
    char message[512], type[64], code[64], param[96]; /* scrubbed; may be empty */
};

struct fault_headers {
    struct str retry_after, retry_after_ms; /* header values, empty when absent */
    int64_t now_s;                          /* Unix time, for a Retry-After that is a date */
};

/* From a response whose status is not 2xx. provider: the row's name. body: as much of it as was
 * read; need not be JSON. */
void fault_from_response(struct fault *f, struct str provider, int status,
                         const struct fault_headers *h, struct str body);
/* From an error object found inside a 2xx answer or a stream (value of `error`, a string too). */
void fault_from_object(struct fault *f, struct str provider, const struct json_doc *d,
                       uint32_t error);
/* A fault of ours: err, its status and sentence. */
void fault_from_err(struct fault *f, enum err err, const struct err_info *info);
/* The same in so many words; returns err. */
enum err fault_set(struct fault *f, enum err err, const char *why) MUST_CHECK;
/* Parses a whole answer onto the thread's tape. ERR_UPSTREAM_PROTOCOL: it is no JSON object, and f
 * says so; ERR_NOMEM, of which f says nothing. */
enum err fault_unless_object(struct json_doc *d, struct str body, struct fault *f) MUST_CHECK;
/* The same of a body that was parsed with this outcome. */
enum err fault_unless_parsed(enum err e, const struct json_doc *d, struct fault *f) MUST_CHECK;

/* Milliseconds to wait by these headers; 0: unknown. retry-after-ms wins; at most 24 hours. */
int64_t retry_after_ms(const struct fault_headers *h);

/* Copies text into dst[cap], NUL-terminated, without what looks like a credential or an account
 * (sk-…, Bearer …, org-…, long runs of base64): each becomes "[…]". Control characters become
 * spaces. Cut at a character's edge. */
void scrub(char *dst, size_t cap, struct str text);

#endif
