/* wire_openai_request: what Lyss must know of an OpenAI request, and the byte edits it needs.
 *
 * The body is never re-serialised.  openai_request_read takes from one parse
 * the facts that choose a channel and the places that may change; for each
 * attempt openai_request_edits makes the edits for that channel out of them.
 * Both work on the calling thread only; a struct openai_request borrows body
 * and arena. */
#ifndef LYSS_LLM_WIRE_OPENAI_REQUEST_H
#define LYSS_LLM_WIRE_OPENAI_REQUEST_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json_read.h"
#include "llm/edit.h"
#include "llm/op.h"
#include "llm/quirk.h"

#define OPENAI_MODEL_MAX_BYTES 256
#define OPENAI_EDITS_MAX       8

/* What a channel must be able to do to serve a request. */
enum {
    NEED_TOOLS = 1,
    NEED_VISION = 2,
    NEED_JSON_SCHEMA = 4,
    NEED_THINKING = 8,
    NEED_PINNED = 16, /* refers to a stored response: goes where that was made */
};

/* Where a top-level member stands in the body; end is 0 when it is absent. */
struct openai_member {
    uint32_t key, value, end; /* opening quote of the key; first byte of the value; one past it */
    uint32_t index;           /* which member of the body, from 0 */
};

struct openai_request {
    enum llm_op op;
    bool by_path;          /* the path named the model */
    bool stream;           /* the caller asked for a stream */
    bool asks_usage;       /* stream_options.include_usage is true */
    bool schema;           /* response_format is json_schema */
    bool forced_tool;      /* tool_choice is "required" or names a tool */
    bool thinks;           /* asked for thinking or effort, not turned off */
    uint8_t needs;         /* NEED_… */
    uint32_t n;            /* how many answers: 1 unless asked for more */
    uint32_t max_output;   /* the caller's limit of output tokens for one answer, 0: none given */
    uint32_t estimate_in;  /* input tokens, estimated */
    uint32_t members;      /* of the body's object */
    struct str body;       /* borrowed */
    struct str model;      /* unescaped; lent from body, deployment or arena */
    uint32_t open;         /* offset of the body's '{' */
    uint32_t options_open; /* offset of stream_options' '{' (it is an object), else 0 */
    bool options_empty;    /* … and holds nothing */
    uint32_t include_usage, include_usage_end; /* value of that member; end 0 when absent */
    struct openai_member at[FIELD_COUNT];
};

/* Parses and reads. deployment: the model that the path names (Azure's URL shape), STR_NULL else;
 * where it is given it wins and the body needs no model.
 * ERR_BAD_JSON with info->offset; ERR_INVALID with info->field (and offset) for: not an object,
 * model, stream or stream_options twice or of a wrong type, model missing, empty or longer than
 * OPENAI_MODEL_MAX_BYTES; ERR_NOMEM. The calling thread's json_parse tape is used. */
enum err openai_request_read(struct openai_request *r, enum llm_op op, struct str body,
                             struct str deployment, struct arena *a,
                             struct err_info *info) MUST_CHECK;
/* The same from a doc that is parsed already (json_step, for long bodies on a loop). */
enum err openai_request_read_doc(struct openai_request *r, enum llm_op op,
                                 const struct json_doc *doc, struct str deployment, struct arena *a,
                                 struct err_info *info) MUST_CHECK;

struct openai_edit_plan {
    struct str upstream_model;  /* STR_NULL: as the caller wrote it */
    bool inject_usage;          /* ask for the usage chunk where the caller did not (streams of chat
                                   and completions; elsewhere it does nothing) */
    bool force_stream;          /* stream whatever the body says */
    bool drop_stream_options;   /* the server refuses the field; wins over inject_usage */
    const struct quirk *quirks; /* NULL: none */
};

struct openai_edits {
    struct edit e[OPENAI_EDITS_MAX]; /* for llm/edit.h, on r->body */
    unsigned n;
    bool swallow_usage; /* the caller did not ask for the usage chunk but it will come */
    struct str
        dropped; /* receipt: names, comma-separated, for x-lyss-dropped-params; may be empty */
};

/* Insertions are made in the arena. ERR_NOMEM. */
enum err openai_request_edits(const struct openai_request *r, const struct openai_edit_plan *plan,
                              struct arena *a, struct openai_edits *out) MUST_CHECK;

#endif
