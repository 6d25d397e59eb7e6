/* responses: what the files of the Responses form share: items in both directions, and the object
 * that an answer is.
 *
 * https://platform.openai.com/docs/api-reference/responses, and the types of the
 * official SDKs.  Internal to src/llm/responses.  Pure; memory from the arena
 * unless said otherwise. */
#ifndef LYSS_LLM_RESPONSES_RESPONSES_H
#define LYSS_LLM_RESPONSES_RESPONSES_H

#include "core/json_write.h"
#include "llm/codec.h"

/* ---- items.c: what a reasoning item holds ---- */

/* A signature or opaque block as it stands in a reasoning item's encrypted_content; a redacted
 * block of another maker is marked as such. */
struct str responses_seal(struct str own, enum issuer issuer, bool redacted, struct arena *a);
/* The reverse: fills issuer, and signature or (redacted) data, of a part whose text is set. */
void responses_unseal(struct part *p, struct str sealed);

/* Texts of a list of {type, text} (a summary, a reasoning's content), joined by blank lines. */
struct str responses_join_texts(const struct json_doc *d, uint32_t list, struct arena *a);
/* A reasoning item of a checked body: its text (the reasoning itself where it is given, else the
 * summary), id, and what is sealed in it. False: it holds neither. */
bool responses_read_reasoning(const struct json_doc *d, uint32_t item, struct arena *a,
                              struct part *p);

/* Free text that a custom tool takes or gives, as the arguments of a call: {"input": …}. */
struct str responses_custom_args(struct str input, struct arena *a);

/* ---- items.c: writing the items of an answer ---- */

/* ids of an answer's items: a prefix, our request's hexadecimal digits, the item's place. */
#define RESPONSES_ID_MAX 64
struct response_ids {
    char hex[33];
    char response[RESPONSES_ID_MAX];
};
/* upstream_id is kept where it is one of this form. */
void responses_ids_init(struct response_ids *ids, struct str request_id, struct str upstream_id);
/* Into out[RESPONSES_ID_MAX]; prefix: "rs", "msg", "fc". */
struct str responses_item_id(const struct response_ids *ids, const char *prefix, uint32_t index,
                             char *out);

/* sealed may be empty. */
void responses_put_reasoning(struct json_writer *w, struct str id, struct str text,
                             struct str sealed);
/* A content part. logprobs: raw elements, comma-separated; may be empty. */
void responses_put_content(struct json_writer *w, bool refusal, struct str text,
                           struct str logprobs);
void responses_put_call(struct json_writer *w, struct str id, struct str call_id, struct str name,
                        struct str args, struct str status);
/* Opens a message item up to inside its content array; responses_close_message closes both. */
void responses_open_message(struct json_writer *w, struct str id, struct str status);
void responses_close_message(struct json_writer *w);

/* Elements of a chat `logprobs` object's content, without the brackets; lent from raw. Any thread;
 * the thread's json_parse tape is left alone, as by the next one. */
struct str responses_logprobs(struct str raw);
/* The same elements as a list in the short form that events have: no bytes. */
void responses_put_short_logprobs(struct json_writer *w, struct str elements);

/* ---- items.c: the whole object ---- */

struct response_head {
    struct str id, model;
    int64_t created_s;
    struct str status;         /* in_progress, completed, incomplete */
    struct str reason;         /* of incomplete; empty: null */
    struct str items;          /* raw, comma-separated */
    const struct usage *usage; /* NULL: null */
};
void responses_put_response(struct json_writer *w, const struct response_head *h);

/* Why an answer is incomplete; STR_NULL: it is complete. refused: it says so itself. */
struct str responses_incomplete(enum finish finish, bool refused);

/* ---- input_in.c: the request's `input` ---- */

/* Where a reader of a request stands: path names the value in the caller's terms. */
struct responses_in {
    const struct json_doc *d;
    struct arena *a;
    struct neutral_request *r;
    struct err_info *info;
    char path[sizeof(((struct err_info *)0)->field)];
    unsigned path_n;
    struct part **system_end;
    struct turn *turn; /* the last one */
    struct part **part_end;
    uint32_t dropped; /* which kinds of item are in extras already */
};
/* Lengthens the path; returns what it was, for path_n. */
unsigned responses_in_push(struct responses_in *in, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* ERR_INVALID for value i, or what stands at path. */
enum err responses_in_bad(struct responses_in *in, uint32_t i, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A member of obj that is a string; required: else empty where absent or null. */
enum err responses_in_string(struct responses_in *in, uint32_t obj, struct str name, bool required,
                             struct str *out) MUST_CHECK;
enum err responses_in_input(struct responses_in *in, uint32_t input) MUST_CHECK;

/* ---- the codec's functions, each in the file of its name ---- */

enum err responses_read_request(struct neutral_request *out, const struct json_doc *d,
                                struct str model, struct arena *a, struct err_info *info);
enum err responses_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                                 struct buf *out, struct receipt *receipt, struct link *link,
                                 struct err_info *info);
enum err responses_read_reply(struct neutral_reply *out, const struct json_doc *d,
                              const struct link *link, struct str provider, struct arena *a,
                              struct fault *f);
void responses_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                           struct buf *out);

/* A response object that is no failure, as a reply. */
enum err responses_read_object(struct neutral_reply *out, const struct json_doc *d, uint32_t obj,
                               struct str provider, struct arena *a, struct fault *f) MUST_CHECK;

/* ---- events_in.c: reading a stream ---- */

#define RESPONSES_OPEN_CALLS 64

/* A call of the upstream's whose end has not been seen. */
struct open_call {
    uint32_t output_index, tool;
    bool open, custom;
    bool args; /* some were passed on */
};

struct responses_reader {
    bool started;   /* START was given */
    bool any;       /* output was seen */
    bool part_text; /* text of the current part was passed on */
    bool refused;
    uint8_t thought; /* which kind of text the current reasoning item gave: 0 none yet */
    uint32_t tools;  /* calls so far */
    struct open_call calls[RESPONSES_OPEN_CALLS];
};

void responses_reader_init(void *state, const struct link *link);
enum err responses_read_event(void *state, struct str provider, struct str name, struct str data,
                              struct arena *scratch, neutral_emit *emit, void *ctx,
                              struct fault *f);

/* ---- events_out.c: writing a stream ---- */

#define RESPONSES_MODEL_MAX 256

struct item; /* events_out.c */

struct responses_writer {
    struct response_ids ids;
    char request_id[40], model[RESPONSES_MODEL_MAX];
    int64_t created_s;
    bool started, ended, failed, refused;
    bool has_usage;
    uint8_t finish;
    uint32_t sequence; /* of the next event */
    uint32_t items_n;  /* made so far */
    unsigned waiting;  /* in the queue */
    struct usage usage;
    struct item *front, *back; /* not yet done; only the front one is on the wire */
    struct buf done;           /* items that are, raw, comma-separated */
    size_t held;               /* bytes in the queue */
};

void responses_writer_init(void *state, const struct answer *as);
void responses_write_event(void *state, const struct neutral_event *ev, struct buf *out);
uint32_t responses_writer_sequence(const void *state);
size_t responses_writer_held(const void *state);
void responses_writer_release(void *state);

#endif
