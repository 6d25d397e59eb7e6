/* anthropic: what the files of the Messages form share: names and words of the wire in both
 * directions, and the state of writing one request.
 *
 * https://docs.anthropic.com/en/api/messages, and the types of the official SDKs.
 * Internal to src/llm/anthropic.  Pure but for what a state holds; memory from
 * the arena unless said otherwise. */
#ifndef LYSS_LLM_ANTHROPIC_ANTHROPIC_H
#define LYSS_LLM_ANTHROPIC_ANTHROPIC_H

#include "core/json_write.h"
#include "llm/codec.h"
#include "llm/estimate.h"

/* ---- names.c ---- */

/* Whose a signature is that this provider's Messages interface gives: DeepSeek's own, or
 * Anthropic's, whoever hosts it. */
enum issuer anthropic_issuer(struct str provider);

/* A tool's name in the charset of the wire ([a-zA-Z0-9_-], at most 128): other bytes become _xHH_,
 * and so does an underscore that would read as the beginning of one. STR_NULL: too long. */
struct str anthropic_name_fit(struct str name, struct arena *a);
/* The reverse. */
struct str anthropic_name_own(struct str sent, struct arena *a);

/* FINISH_NONE for an empty reason. */
enum finish anthropic_finish(struct str stop_reason);
/* tools: the answer calls some. Never NULL. */
const char *anthropic_stop_reason(enum finish finish, bool tools);

/* Is it a block of a tool that runs at Anthropic, which nobody else has? */
bool anthropic_server_block(struct str type);

/* Only white space, or nothing. */
bool anthropic_blank(struct str s);

/* A reasoning's signature or opaque data as it stands in Anthropic's field. OpenAI's goes together
 * with its item's id. */
struct str anthropic_signature_join(struct str own, struct str id, enum issuer issuer,
                                    struct arena *a);
/* Fills issuer, and signature, or data and id, of a reasoning part. */
void anthropic_signature_split(struct part *p, struct str field);

/* ---- writing a request ---- */

#define ANTHROPIC_MARKS_MAX       4 /* cache_control marks in one request */
#define ANTHROPIC_BUDGET_MIN      1024
#define ANTHROPIC_MAX_TOKENS_ELSE 4096

enum thinking_mode { THINKING_UNSAID, THINKING_OFF, THINKING_ENABLED, THINKING_ADAPTIVE };
enum schema_mode { SCHEMA_NONE, SCHEMA_NATIVE, SCHEMA_AS_TOOL, SCHEMA_IN_WORDS };

/* A field, for naming it in the caller's terms. */
enum field {
    F_MESSAGES,
    F_TOOLS,
    F_CHOICE,
    F_FORMAT,
    F_THINKING,
    F_MAX_TOKENS,
    F_TEMPERATURE,
    F_TOP_P,
    F_TOP_K,
    F_STOP,
    F_N,
    F_SEED,
    F_FREQUENCY,
    F_PRESENCE,
    F_LOGPROBS,
    F_TOP_LOGPROBS,
    F_PARALLEL,
    F_SERVICE_TIER,
    F_COUNT
};

struct request_out {
    const struct neutral_request *r;
    const struct target *t;
    struct arena *a;
    struct json_writer w;
    struct receipt *receipt;
    struct link *link;
    struct err_info *info;
    enum err err;       /* the first refusal */
    enum issuer issuer; /* whose thinking blocks the target takes back */
    bool count;         /* for count_tokens: no limits, no sampling */
    /* planned before the first byte */
    enum schema_mode schema;
    enum tool_choice choice;
    bool stubs; /* tools that only the history knows are declared */
    bool prefill_note;
    enum thinking_mode thinking;
    uint32_t budget;
    enum effort effort;
    uint32_t max_tokens;
    unsigned marks_skip; /* the first cache marks, over the maximum */
    /* where marks are placed for a caller who has placed none; NULL: nowhere */
    const struct tool *mark_tool;
    const struct part *mark_system, *mark_turn;
};

const char *request_out_field(const struct request_out *o, enum field f);
void request_out_drop(struct request_out *o, enum field f);
/* Latches ERR_INVALID; the first one stays. */
void request_out_refuse(struct request_out *o, enum field f, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Each writes its members, or plans its part; order as declared. */
void request_out_plan_tools(struct request_out *o);
void request_out_plan_thinking(struct request_out *o);
void request_out_plan_messages(struct request_out *o);
void request_out_thinking(struct request_out *o); /* thinking, output_config */
void request_out_sampling(struct request_out *o);
void request_out_system(struct request_out *o);
void request_out_messages(struct request_out *o);
void request_out_tools(struct request_out *o); /* tools, tool_choice */
/* Writes cache_control where the mark is among the last four. */
void request_out_mark(struct request_out *o, enum cache_mark mark);
/* Which marks stay; where they are placed for a caller who has placed none. */
void request_out_plan_marks(struct request_out *o);
/* A part's own mark (a result's: or one on what it holds), or the one that was planned for it. */
enum cache_mark request_out_mark_of(const struct request_out *o, const struct part *p);
/* Does the tool go out at all? */
bool request_out_has_tool(const struct request_out *o, const struct tool *t);
bool request_out_has_part(const struct request_out *o, const struct turn *t, const struct part *p);
/* Is a part of text more than blank? */
bool request_out_says(const struct part *p);
/* The next turn from t on, t included, that has something to say. */
const struct turn *request_out_sendable(const struct request_out *o, const struct turn *t);
/* Turns of one role that stand together once those without content are left out: [from, end). */
struct turn_group {
    const struct turn *from, *end;
};
struct turn_group request_out_group(const struct request_out *o, const struct turn *from);

/* Appends the schema with `additionalProperties: false` in every object that does not speak of it;
 * at most ANTHROPIC_CLOSED_TIMES as long. Uses the thread's tape (core/json_read.h). */
#define ANTHROPIC_CLOSED_TIMES 4
void anthropic_close_schema(struct str schema, struct buf *out);

/* ---- reading a stream ---- */

#define ANTHROPIC_OPEN_MAX 16 /* blocks open at once; the real thing opens one */

enum block_kind { BLOCK_OTHER, BLOCK_TEXT, BLOCK_TOOL, BLOCK_ANSWER, BLOCK_THINKING };

struct open_block {
    uint32_t index, tool;
    uint8_t kind; /* enum block_kind */
    bool whole;   /* its input came with its head */
    bool any;     /* a fragment has come */
};

struct anthropic_reader {
    struct link link;
    bool started, ended, said, finished;
    uint8_t finish_at_head; /* enum finish that came with message_start */
    uint32_t tools, answers;
    struct open_block open[ANTHROPIC_OPEN_MAX];
    unsigned open_n;
    struct buf signature; /* of the thinking block that is open */
    struct usage usage;
};

/* ---- writing a stream ---- */

enum out_block { OUT_NONE, OUT_TEXT, OUT_THINKING, OUT_REDACTED, OUT_TOOL };

struct held_event;

struct anthropic_writer {
    char request_id[40], model[256], stop_sequence[256];
    bool started, ended, has_usage;
    bool tools;         /* the answer calls some */
    uint8_t open;       /* enum out_block */
    uint8_t finish;     /* enum finish */
    uint32_t index;     /* of the open block, or the next */
    uint32_t open_tool; /* OUT_TOOL: which */
    struct usage usage;
    struct estimate said;
    struct held_event *held, **held_end; /* events that wait for the open call's end */
    size_t held_bytes;
};

/* ---- the rest of the codec ---- */
enum err anthropic_write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                                 struct buf *out, struct receipt *receipt, struct link *link,
                                 struct err_info *info);
enum err anthropic_write_count(struct neutral_request *r, const struct target *t, struct arena *a,
                               struct buf *out, struct receipt *receipt, struct link *link,
                               struct err_info *info);
enum err anthropic_read_reply(struct neutral_reply *out, const struct json_doc *d,
                              const struct link *link, struct str provider, struct arena *a,
                              struct fault *f);
enum err anthropic_read_event(void *state, struct str provider, struct str name, struct str data,
                              struct arena *scratch, neutral_emit *emit, void *ctx,
                              struct fault *f);
void anthropic_reader_init(void *state, const struct link *link);
void anthropic_reader_release(void *state);

enum err anthropic_read_request(struct neutral_request *out, const struct json_doc *d,
                                struct str model, struct arena *a, struct err_info *info);
enum err anthropic_read_count(struct neutral_request *out, const struct json_doc *d,
                              struct str model, struct arena *a, struct err_info *info);
void anthropic_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                           struct buf *out);
void anthropic_writer_init(void *state, const struct answer *as);
void anthropic_write_event(void *state, const struct neutral_event *ev, struct buf *out);
void anthropic_writer_release(void *state);
/* A `usage` object; head: that of a whole message or of message_start. */
void anthropic_put_usage(struct json_writer *w, const struct usage *u, bool head);

enum err anthropic_read_count_reply(struct neutral_reply *out, const struct json_doc *d,
                                    const struct link *link, struct str provider, struct arena *a,
                                    struct fault *f);
void anthropic_write_count_reply(const struct neutral_reply *r, const struct answer *as,
                                 struct arena *a, struct buf *out);

#endif
