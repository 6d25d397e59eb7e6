/* openai: what the files of this folder share: chat completions, completions and embeddings.
 *
 * https://platform.openai.com/docs/api-reference/chat, /completions, /embeddings;
 * https://api-docs.deepseek.com/api/create-chat-completion; and reasoning_details as
 * https://openrouter.ai/docs/use-cases/reasoning-tokens has them.  Internal to
 * src/llm/openai.  Pure but for the state of a stream; memory from the arena. */
#ifndef LYSS_LLM_OPENAI_OPENAI_H
#define LYSS_LLM_OPENAI_OPENAI_H

#include "core/json_write.h"
#include "llm/codec.h"

/* Each value in a list of `d`, by its index on the tape. */
#define OPENAI_EACH(d, i, list)                                                                    \
    for (uint32_t i = json_child((d), (list)); i != JSON_NONE; i = json_sibling((d), (list), i))

/* ---- request_in.c: reading a request's values; the first fault latches ---- */

#define OPENAI_EXTRAS_MAX 256
struct openai_in {
    const struct json_doc *d;
    struct arena *a;
    struct neutral_request *r;
    struct err_info *info;
    enum err err;
    /* where the next member of a list goes: appending costs the same however long the list is */
    struct part **system_end;
    struct turn **turn_end;
    struct tool **tool_end;
    struct str legacy_id; /* of the last call in the old function_call form */
    unsigned legacy_n, extras_n;
    bool max_tokens_new; /* max_completion_tokens was given: it wins */
    uint32_t allowed;    /* tool_choice.allowed_tools.tools */
    uint32_t choice;     /* the value of tool_choice or function_call, for faults */
    struct str safety_identifier;
};

/* ERR_INVALID at value i: the sentence is the value's path and then fmt. member: of object i,
 * which lacks it; NULL: i itself. */
void openai_fail(struct openai_in *in, uint32_t i, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A member; JSON_NONE where it is absent or null. */
uint32_t openai_get(const struct openai_in *in, uint32_t obj, const char *name);
/* False, and *out as it was: absent, or at fault. */
bool openai_string(struct openai_in *in, uint32_t i, struct str *out);
bool openai_member_string(struct openai_in *in, uint32_t obj, const char *name, bool needed,
                          struct str *out);
bool openai_member_object(struct openai_in *in, uint32_t obj, const char *name, bool needed,
                          uint32_t *out);

/* How a member of the body is read, and where its value goes. */
enum openai_kind { IN_TEXT, IN_NUMBER, IN_INTEGER, IN_SWITCH, IN_FLAG, IN_OBJECT, IN_ARRAY, IN_FN };
struct openai_field {
    struct str name;
    enum openai_kind kind;
    size_t at;        /* in neutral_request; unused with fn */
    double low, high; /* of numbers */
    void (*fn)(struct openai_in *in, uint32_t i);
};
/* Walks the members of the body by a table of at most 64 rows; what is in none becomes an extra. A
 * null counts as absent. */
void openai_read_fields(struct openai_in *in, const struct openai_field *fields, size_t n);
/* The model: from the path where that names it, else the member, which must be there. */
void openai_read_model(struct openai_in *in, struct str by_path);
/* stream_options.include_usage; stop; the same in chat and completions. */
void openai_in_stream_options(struct openai_in *in, uint32_t i);
void openai_in_stop(struct openai_in *in, uint32_t i);
enum err openai_in_end(const struct openai_in *in) MUST_CHECK;

/* ---- chat_messages_in.c, chat_tools_in.c ---- */
void chat_in_messages(struct openai_in *in, uint32_t i);
void chat_in_tools(struct openai_in *in, uint32_t i);
void chat_in_functions(struct openai_in *in, uint32_t i);
void chat_in_tool_choice(struct openai_in *in, uint32_t i);
void chat_in_function_call(struct openai_in *in, uint32_t i);
/* Once all is read: does the choice fit the tools? */
void chat_in_check_tools(struct openai_in *in);
enum cache_mark chat_in_cache(struct openai_in *in, uint32_t obj);

/* ---- chat_reasoning.c ---- */

/* Reasoning parts of a message that has reasoning_details, reasoning_content or reasoning, appended
 * at *end. What does not fit is passed over. */
void chat_reasoning_read(const struct json_doc *d, uint32_t message, struct arena *a,
                         struct part **end);
enum issuer chat_issuer(const struct json_doc *d, uint32_t detail);
/* An element of reasoning_details; members without a value are left out. */
struct chat_detail {
    struct str text, signature, data, id;
    enum issuer issuer;
    uint32_t index;
    bool has_text; /* write text though it is empty */
};
void chat_put_detail(struct json_writer *w, const struct chat_detail *t);
/* Members reasoning_content and reasoning_details; nothing where there is no reasoning. */
void chat_put_reasoning(struct json_writer *w, const struct part *parts, struct arena *a);

/* ---- chat_messages_out.c ---- */

/* What writing a request is about. */
struct chat_out {
    struct json_writer w;
    struct neutral_request *r;
    const struct target *t;
    struct arena *a;
    struct receipt *receipt;
    struct err_info *info;
    enum err err;
    bool plain;    /* a server that is sure of strings only as the content of text */
    bool deepseek; /* reasoning_content goes back with tool calls */
    bool own;      /* the caller's form is this very one */
    bool openai;   /* the caller speaks OpenAI's dialect */
};
void chat_put_messages(struct chat_out *o, struct str note);
/* Text parts of a list joined by sep; others are passed over. One part is lent. */
struct str chat_join(const struct part *p, enum part_type type, struct str sep, struct arena *a);
/* receipt_add of a name that does not end in NUL. */
void openai_receipt(struct receipt *r, struct str name);
/* ERR_INVALID that latches: this cannot be sent to the target. */
void chat_refuse(struct chat_out *o, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Where the caller's form has its messages. */
const char *chat_messages_field(const struct neutral_request *r);

/* ---- chat_reply.c ---- */
enum finish chat_finish(const struct json_doc *d, uint32_t reason, bool called);
const char *chat_finish_name(enum finish f);
/* A usage object. */
void openai_put_usage(struct json_writer *w, const struct usage *u);
/* prefix and the upstream's id, or ours. */
struct str openai_reply_id(const char *prefix, struct str id, struct str request_id,
                           struct arena *a);
/* An error inside d, or nothing of this form: fills f and returns its error. */
enum err openai_reply_error(const struct json_doc *d, struct str provider,
                            struct fault *f) MUST_CHECK;
#define OPENAI_STARVED "the upstream ran out of resources"

/* ---- the codecs' functions ---- */
enum err chat_read_request(struct neutral_request *out, const struct json_doc *d, struct str model,
                           struct arena *a, struct err_info *info);
enum err chat_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                            struct buf *out, struct receipt *receipt, struct link *link,
                            struct err_info *info);
enum err chat_read_reply(struct neutral_reply *out, const struct json_doc *d,
                         const struct link *link, struct str provider, struct arena *a,
                         struct fault *f);
void chat_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                      struct buf *out);

enum err completions_read_request(struct neutral_request *out, const struct json_doc *d,
                                  struct str model, struct arena *a, struct err_info *info);
enum err completions_write_request(struct neutral_request *r, const struct target *t,
                                   struct arena *a, struct buf *out, struct receipt *receipt,
                                   struct link *link, struct err_info *info);
enum err completions_read_reply(struct neutral_reply *out, const struct json_doc *d,
                                const struct link *link, struct str provider, struct arena *a,
                                struct fault *f);
void completions_write_reply(const struct neutral_reply *r, const struct answer *as,
                             struct arena *a, struct buf *out);
enum err embeddings_read_request(struct neutral_request *out, const struct json_doc *d,
                                 struct str model, struct arena *a, struct err_info *info);
enum err embeddings_write_request(struct neutral_request *r, const struct target *t,
                                  struct arena *a, struct buf *out, struct receipt *receipt,
                                  struct link *link, struct err_info *info);
enum err embeddings_read_reply(struct neutral_reply *out, const struct json_doc *d,
                               const struct link *link, struct str provider, struct arena *a,
                               struct fault *f);
void embeddings_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                            struct buf *out);
/* Base64 of float32 as an array of numbers. */
void openai_put_floats(struct json_writer *w, struct str base64, struct arena *a);

/* ---- chat_events_in.c: streams of chat completions and of completions ---- */

#define CHAT_CHOICES_MAX 128
#define CHAT_CALLS_MAX   128
struct chat_call {
    uint32_t index; /* the upstream's; UINT32_MAX: it gave none */
    uint32_t id;    /* a hash; 0: it has no id */
    uint32_t tool;  /* ours */
    uint8_t choice;
    bool ended;
    /* how far its arguments are */
    bool begun, in_string, escaped;
    uint16_t depth;
};
struct chat_reader {
    bool completions;
    bool started;
    uint8_t calls_n;
    uint8_t tools[CHAT_CHOICES_MAX]; /* calls of each choice */
    uint64_t finished[CHAT_CHOICES_MAX / 64];
    struct chat_call calls[CHAT_CALLS_MAX];
};
void chat_reader_init(void *state, const struct link *link);
void completions_reader_init(void *state, const struct link *link);
enum err chat_read_event(void *state, struct str provider, struct str name, struct str data,
                         struct arena *scratch, neutral_emit *emit, void *ctx, struct fault *f);

/* ---- chat_events_out.c ---- */

#define CHAT_OPEN_MAX 32
struct chat_writer {
    bool completions, include_usage, has_usage;
    bool headed;    /* head is made */
    uint16_t block; /* reasoning_details counts them */
    uint8_t open_n;
    struct {
        uint32_t candidate, tool;
    } open[CHAT_OPEN_MAX]; /* calls without a fragment so far */
    uint64_t begun[CHAT_CHOICES_MAX / 64];
    struct usage usage;
    int64_t created_s;
    char request_id[40], model[128];
    uint16_t head_n;
    char head[1600]; /* what each chunk begins with */
};
void chat_writer_init(void *state, const struct answer *as);
void completions_writer_init(void *state, const struct answer *as);
void chat_write_event(void *state, const struct neutral_event *ev, struct buf *out);

#endif
