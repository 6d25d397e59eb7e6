/* gemini: what the files of this folder share: Gemini generateContent and countTokens.
 *
 * Documentation: https://ai.google.dev/api/generate-content and, for streamed
 * arguments, Vertex AI's reference of the same name.  Pure but for the state of
 * a stream, which one thread owns. */
#ifndef LYSS_LLM_GEMINI_GEMINI_H
#define LYSS_LLM_GEMINI_GEMINI_H

#include "core/json_write.h"
#include "llm/codec.h"

/* ---- schemas (schema.c, schema_in.c) ---- */

/* A schema's rewritten form is at most this long … */
#define GEMINI_SCHEMA_MAX ((size_t)256 << 10)
/* … and at most this many containers deep. */
#define GEMINI_SCHEMA_DEPTH 48

/* Appends a raw JSON schema as Gemini's Schema (a part of OpenAPI 3.0): references inlined, allOf
 * flattened, null unions made nullable, what it does not know left out.  params: of a function's
 * parameters: an object without members writes nothing at all.  steps: what the schemas of a
 * request took so far, 0 at first: they share a bound.
 * ERR_INVALID: not a schema, longer than GEMINI_SCHEMA_MAX when written out, or too much to look
 * at; ERR_NOMEM. Uses the thread's json_parse tape. */
enum err gemini_schema_write(struct str schema, bool params, size_t *steps, struct arena *a,
                             struct buf *out, struct err_info *info) MUST_CHECK;
/* Of an object without members? Uses the thread's json_parse tape. */
bool gemini_schema_is_empty(struct str schema, struct arena *a);
/* The reverse: Gemini's Schema as raw JSON schema, in the arena; STR_NULL once that is latched. */
struct str gemini_schema_read(const struct json_doc *d, uint32_t schema, struct arena *a);

/* ---- requests ---- */
enum err gemini_read_request(struct neutral_request *out, const struct json_doc *d,
                             struct str model, struct arena *a, struct err_info *info);
enum err gemini_read_count(struct neutral_request *out, const struct json_doc *d, struct str model,
                           struct arena *a, struct err_info *info);
enum err gemini_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                              struct buf *out, struct receipt *receipt, struct link *link,
                              struct err_info *info);
enum err gemini_write_count(struct neutral_request *r, const struct target *t, struct arena *a,
                            struct buf *out, struct receipt *receipt, struct link *link,
                            struct err_info *info);

/* contents_out.c: the members systemInstruction and contents. */
enum err gemini_put_contents(struct json_writer *w, const struct neutral_request *r,
                             const struct model_caps *caps, struct arena *a,
                             struct err_info *info) MUST_CHECK;

/* contents_in.c: contents (an array, one Content, or a string) and systemInstruction. */
enum err gemini_read_contents(struct neutral_request *out, const struct json_doc *d, uint32_t at,
                              struct arena *a, struct err_info *info) MUST_CHECK;
enum err gemini_read_system(struct neutral_request *out, const struct json_doc *d, uint32_t at,
                            struct arena *a, struct err_info *info) MUST_CHECK;
/* A member by its camelCase name, or by that name in snake_case. */
uint32_t gemini_get(const struct json_doc *d, uint32_t obj, const char *camel);
/* ERR_INVALID with field (printf) and the place of value at (JSON_NONE: none). */
enum err gemini_refuse(const struct json_doc *d, uint32_t at, struct err_info *info,
                       const char *field, const char *why) MUST_CHECK;

/* ---- answers ---- */

/* One part of an answer, whole or streamed. */
enum gemini_part_kind { GPART_NONE, GPART_TEXT, GPART_THOUGHT, GPART_CALL };
struct gemini_part {
    enum gemini_part_kind kind;
    struct str text, signature;
    struct str name, id;
    struct str args; /* raw; empty: none */
    uint32_t call;   /* the functionCall object */
};
/* False: the arena is latched. Code that the model ran and images that it drew become text. */
bool gemini_read_part(const struct json_doc *d, uint32_t at, struct arena *a,
                      struct gemini_part *out);
/* A call's id where the upstream gives none: unique by answer, candidate and call. */
struct str gemini_call_id(struct str response, uint32_t candidate, uint32_t call, struct arena *a);
/* What a finishReason means. *broken: the model failed (a malformed call): no answer if nothing
 * of it was said. */
enum finish gemini_finish(const struct json_doc *d, uint32_t reason, bool called, bool *broken);
const char *gemini_finish_name(enum finish f);
/* {"error":…} inside an answer, perhaps wrapped in an array, fills f. */
bool gemini_is_error(const struct json_doc *d, uint32_t root, struct str provider, struct fault *f);
void gemini_put_usage(struct json_writer *w, const struct usage *u);
/* logprobsResult from OpenAI's form and to it; STR_NULL: none. */
struct str gemini_logprobs_read(const struct json_doc *d, uint32_t result, struct arena *a);
void gemini_logprobs_put(struct json_writer *w, struct str openai);

enum err gemini_read_reply(struct neutral_reply *out, const struct json_doc *d,
                           const struct link *link, struct str provider, struct arena *a,
                           struct fault *f);
enum err gemini_read_tokens(struct neutral_reply *out, const struct json_doc *d,
                            const struct link *link, struct str provider, struct arena *a,
                            struct fault *f);
void gemini_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                        struct buf *out);
void gemini_write_tokens(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                         struct buf *out);

/* ---- streams ---- */

/* args.c: streamed arguments: values with their JSON paths, in order, become JSON text. */
#define GEMINI_PATH_MAX 32
struct gemini_args {
    uint32_t seg[GEMINI_PATH_MAX]; /* by which segment each open container was entered */
    uint32_t array, filled;        /* bits by container: it is an array; it has a member */
    uint32_t leaf;                 /* the path of the open string */
    uint8_t depth;                 /* open containers */
    bool in_string;
};
/* Appends what a list of partialArgs adds. False: no path that can be followed. */
bool gemini_args_add(struct gemini_args *g, const struct json_doc *d, uint32_t list,
                     struct arena *a, struct buf *out) MUST_CHECK;
/* Closes what is open; appends nothing when nothing was ever added. */
void gemini_args_end(struct gemini_args *g, struct buf *out);

#define GEMINI_CANDIDATES_MAX 16
struct gemini_reader {
    uint32_t asked, seen, finished; /* bits by candidate; asked: 0 where not known */
    uint32_t calls[GEMINI_CANDIDATES_MAX];
    struct gemini_args args;
    uint32_t open_candidate; /* whose call's arguments are coming in pieces: open */
    bool started, spoke, open, closing;
    char id[64]; /* of the answer */
};
void gemini_reader_init(void *state, const struct link *link);
enum err gemini_read_event(void *state, struct str provider, struct str name, struct str data,
                           struct arena *scratch, neutral_emit *emit, void *ctx, struct fault *f);
bool gemini_reader_ends(const void *state);

/* Arguments of calls that are not complete, all together, and how many calls. */
#define GEMINI_ARGS_HELD  ((size_t)1 << 20)
#define GEMINI_CALLS_HELD 128
struct gemini_call;
struct gemini_writer {
    struct gemini_call *calls; /* begun, in order */
    unsigned calls_n;
    size_t held_bytes;
    uint32_t seen; /* bits by candidate */
    uint8_t finish[GEMINI_CANDIDATES_MAX];
    struct usage usage;
    char id[64], model[128];
};
void gemini_writer_init(void *state, const struct answer *as);
void gemini_write_event(void *state, const struct neutral_event *ev, struct buf *out);
void gemini_writer_release(void *state);

/* A signature in a thoughtSignature, which SDKs hold as bytes: another's is base64 of
 * llm/carry's form. Redacted: an opaque block. */
struct str gemini_signature_join(struct str signature, enum issuer issuer, bool redacted,
                                 struct arena *a);
void gemini_signature_split(struct str field, enum issuer *issuer, struct str *signature,
                            bool *redacted, struct arena *a);

#endif
