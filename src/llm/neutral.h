/* neutral: what a call means, whatever dialect it came in: the form between two codecs.
 *
 * A codec (llm/codec.h) of the caller's dialect reads a body into it, a codec of
 * the upstream's writes it out again.  Everything is borrowed: strings point
 * into the body that was read or into the arena that the reader was given.
 * "Raw" strings are JSON text as it stood; numbers are kept raw so that no digit
 * changes.  An empty string means that the caller said nothing.  Plain data. */
#ifndef LYSS_LLM_NEUTRAL_H
#define LYSS_LLM_NEUTRAL_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json_read.h"
#include "core/json_write.h"
#include "llm/effort.h"
#include "llm/op.h"
#include "llm/usage.h"

/* Who made a signature or an opaque block: only its maker can take it back. */
enum issuer { ISSUER_NONE, ISSUER_OPENAI, ISSUER_ANTHROPIC, ISSUER_GEMINI, ISSUER_DEEPSEEK };

enum part_type {
    PART_TEXT,
    PART_IMAGE,
    PART_DOCUMENT,
    PART_AUDIO,
    PART_TOOL_USE,    /* the model calls a tool */
    PART_TOOL_RESULT, /* what the tool gave */
    PART_REASONING,   /* what the model thought; perhaps opaque */
    PART_REFUSAL      /* text by which the model declines */
};

enum cache_mark { CACHE_NONE, CACHE_5M, CACHE_1H };

/* Of an image, a document or a sound exactly one of data, url and file_id is given. */
struct media {
    struct str mime;    /* "image/png"; empty: unknown */
    struct str data;    /* base64, standard alphabet */
    struct str url;     /* http(s)://, gs:// */
    struct str file_id; /* of an upload to one provider */
    struct str name;    /* file name or title */
    struct str detail;  /* OpenAI: low, high, auto */
};

struct part {
    struct part *next, *last; /* last: of a list's first member, a way to its end */
    uint8_t type;             /* enum part_type */
    uint8_t cache;            /* enum cache_mark: the prompt up to here is to be cached */
    uint8_t issuer;
    bool is_error; /* TOOL_RESULT */
    bool redacted; /* REASONING: text is empty, data is all there is */
    struct str text;
    struct str escaped; /* TEXT, REFUSAL: a long text as it stands in JSON, with its quotes; `text`
                           is empty then, until neutral_plain() */
    struct str id;      /* TOOL_USE, TOOL_RESULT: as the caller knows it; REASONING: its item id */
    struct str name;    /* TOOL_USE; TOOL_RESULT where known (neutral_link fills it in) */
    struct str args;    /* TOOL_USE: JSON text as the model wrote it; may be empty or broken */
    struct str signature; /* REASONING, TOOL_USE (Gemini): as its issuer gave it */
    struct str data;      /* redacted or encrypted REASONING */
    struct media media;
    struct part *parts; /* TOOL_RESULT: text, images, documents */
};

enum role { ROLE_USER, ROLE_ASSISTANT };

/* System and developer messages are in neutral_request.system; a tool's results stand in a user
 * turn. Neighbours may have the same role: neutral_merge joins them. */
struct turn {
    struct turn *next, *last;
    uint8_t role;
    struct str name; /* of the participant; OpenAI */
    struct part *parts;
};

struct tool {
    struct tool *next, *last;
    struct str name, description;
    struct str schema; /* raw JSON schema of its arguments; empty: none */
    struct str kind;   /* empty: a function; else the provider's own tool, e.g. "web_search" */
    struct str raw;    /* of a provider's own tool: the whole definition */
    int8_t strict;     /* -1: not said */
    uint8_t cache;
};

enum tool_choice { CHOICE_UNSET, CHOICE_AUTO, CHOICE_NONE, CHOICE_REQUIRED, CHOICE_NAMED };
enum format { FORMAT_UNSET, FORMAT_TEXT, FORMAT_JSON, FORMAT_SCHEMA };
struct text_list {
    struct text_list *next, *last;
    struct str s;
};

/* A field that the neutral form has no place for. */
struct extra {
    struct extra *next;
    struct str name, raw;
};

struct neutral_request {
    enum llm_op op; /* whose form it was read from */
    struct str model;
    bool stream;
    bool include_usage; /* chat, completions: the caller asked for the usage chunk */
    struct part *system;
    struct turn *turns;
    struct tool *tools;
    uint8_t choice; /* enum tool_choice */
    struct str choice_name;
    int8_t parallel; /* parallel tool calls: -1 not said, 0, 1 */
    /* raw numbers */
    struct str temperature, top_p, top_k, frequency_penalty, presence_penalty, seed, n, max_tokens,
        top_logprobs;
    int8_t logprobs;       /* -1 not said */
    struct str logit_bias; /* raw object */
    struct text_list *stop;
    uint8_t format;                                     /* enum format */
    struct str schema_name, schema_description, schema; /* FORMAT_SCHEMA; schema is raw */
    int8_t schema_strict;                               /* -1 not said */
    uint8_t effort;                                     /* enum effort */
    int64_t thinking_budget; /* tokens; -1 not said; 0 off (with effort NONE) */
    bool thinking_dynamic;   /* Gemini -1, Anthropic adaptive: the model decides */
    int8_t thinking_visible; /* thoughts are wanted in the answer; -1 not said */
    struct str verbosity;    /* OpenAI low, medium, high */
    struct str user;         /* end user's id, for the provider's abuse checks */
    struct str metadata;     /* raw object */
    struct str service_tier, prompt_cache_key;
    struct str previous_response_id; /* Responses */
    int8_t store;                    /* -1 not said */
    struct str safety;               /* Gemini safetySettings, raw */
    struct str modalities;           /* raw array */
    struct str prompt_suffix;        /* completions */
    struct extra *extras;
    /* embeddings */
    struct text_list *inputs;
    unsigned inputs_n;
    struct str dimensions;       /* raw number */
    struct str task_type, title; /* Gemini */
    bool base64;                 /* OpenAI encoding_format */
    bool single;                 /* one input, not a list of one */
};

enum finish {
    FINISH_NONE, /* not said */
    FINISH_STOP,
    FINISH_STOP_SEQUENCE,
    FINISH_LENGTH,
    FINISH_TOOL_CALLS,
    FINISH_CONTENT_FILTER, /* blocked, or refused by the model */
    FINISH_REFUSAL,
    FINISH_PAUSE /* Anthropic pause_turn */
};

struct neutral_candidate {
    struct neutral_candidate *next;
    struct part *parts;
    uint8_t finish; /* enum finish */
    struct str stop_sequence;
    struct str logprobs; /* raw, OpenAI's form */
};

struct neutral_vector {
    struct neutral_vector *next;
    struct str raw;    /* JSON array of numbers, or … */
    struct str base64; /* … little-endian float32 */
};

/* A whole answer. */
struct neutral_reply {
    struct str id, model;
    int64_t created_s; /* 0: not said */
    struct neutral_candidate *candidates;
    bool has_usage;
    struct usage usage;
    struct neutral_vector *vectors; /* embeddings */
    uint64_t tokens;                /* count_tokens */
};

/* One thing that happened in a streamed answer. Strings are lent for the call. */
enum event_type {
    EVENT_START,     /* id, model; perhaps usage of the input */
    EVENT_TEXT,      /* text */
    EVENT_REASONING, /* text */
    EVENT_SIGNATURE, /* of the reasoning just ended: text, issuer; id: the item's */
    EVENT_REDACTED,  /* an opaque reasoning block: text, issuer; id: the item's */
    EVENT_REFUSAL,   /* text */
    EVENT_TOOL,      /* a call begins: tool, id, name; Gemini: signature in text */
    EVENT_TOOL_ARGS, /* tool, text: a fragment */
    EVENT_TOOL_END,  /* tool: its arguments are complete (none at all: they are {}) */
    EVENT_FINISH,    /* finish; stop sequence in text */
    EVENT_USAGE,     /* usage: cumulative, to be assigned */
    EVENT_LOGPROBS,  /* text: raw, OpenAI's form */
    EVENT_END,       /* the upstream's own terminal event: the stream is complete */
    EVENT_PING       /* a sign of life */
};

struct neutral_event {
    enum event_type type;
    uint32_t candidate; /* which answer of n */
    uint32_t tool;      /* counts calls of a candidate from 0, in order */
    uint8_t finish, issuer;
    struct str text, id, name, model;
    const struct usage *usage;
};

/* ---- helpers; memory from the arena, which latches ---- */
struct part *neutral_part(struct arena *a, enum part_type type, struct part **list);
struct turn *neutral_turn(struct arena *a, enum role role, struct turn **list);
struct tool *neutral_tool(struct arena *a, struct tool **list);
void neutral_text(struct arena *a, struct text_list **list, struct str s);
void neutral_extra(struct arena *a, struct extra **list, struct str name, struct str raw);
/* Everything unset. */
void neutral_request_init(struct neutral_request *r, enum llm_op op);
/* Joins neighbouring turns of the same role. */
void neutral_merge(struct neutral_request *r);
/* Gives each TOOL_RESULT the name of the call with its id; one without a call keeps no name. */
void neutral_link(struct neutral_request *r);
/* Is the string at i a long text with escapes? A reader that does not look at it keeps json_raw of
 * it in `escaped`. */
bool neutral_is_long(const struct json_doc *d, uint32_t i);
/* Gives a TEXT or REFUSAL the string at i, so or plain. False: not a string, or the arena is
 * latched. */
bool neutral_read_text(struct part *p, const struct json_doc *d, uint32_t i, struct arena *a);
/* Has a TEXT or REFUSAL any text? */
static inline bool neutral_says(const struct part *p)
{
    return p->text.n || p->escaped.n;
}
/* Writes the text of a TEXT or REFUSAL as a string; lent (core/json_write.h). */
void neutral_put_text(struct json_writer *w, const struct part *p);
/* Gives every part its plain `text`. A writer that looks at texts calls it first; one that only
 * passes them on need not, and spares a long text being unescaped and escaped again. */
void neutral_plain(struct neutral_request *r, struct arena *a);
void neutral_plain_part(struct part *p, struct arena *a);
/* A call's arguments as JSON object text: "{}" for none; what is no object becomes
 * {"arguments": "<as it was>"}. */
struct str neutral_args_object(struct str args, struct arena *a);
/* A raw number; false: empty or not a number. */
bool neutral_number(struct str raw, double *out);

/* Names of what could not be carried, for x-lyss-dropped-params: once each, comma-separated; one
 * that is not fit for a header is "unknown". */
struct receipt {
    char names[480];
    unsigned n;
};
void receipt_add(struct receipt *r, const char *name);

#endif
