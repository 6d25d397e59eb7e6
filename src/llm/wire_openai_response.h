/* wire_openai_response: what Lyss must know of an OpenAI answer, whole or streamed.
 *
 * Bytes pass untouched; these functions look at them: is it an answer or an
 * error, is it complete, what did it use.  Any thread, one stream on one thread
 * (the thread's json_parse tape is used); no allocation but of that tape. */
#ifndef LYSS_LLM_WIRE_OPENAI_RESPONSE_H
#define LYSS_LLM_WIRE_OPENAI_RESPONSE_H

#include "llm/classify.h"
#include "llm/estimate.h"
#include "llm/op.h"
#include "llm/usage.h"

/* ---- whole answers ---------------------------------------------------- */
struct openai_reply {
    bool has_usage;
    bool finished;        /* says why it ended (finish_reason, status); embeddings: has data */
    struct usage usage;   /* zero unless has_usage */
    struct str usage_raw; /* the usage object's bytes, lent from body; empty unless has_usage */
    struct str model_raw; /* the model's value with its quotes, lent from body; may be empty */
    struct estimate out;  /* of its text: for answers without usage */
};

/* A 2xx body. ERR_UPSTREAM_PROTOCOL: not JSON or not an object. Otherwise an error object inside is
 * returned as its class, f (may be NULL) filled. provider: the row's name. */
enum err openai_reply_read(struct openai_reply *r, enum llm_op op, struct str provider,
                           struct str body, struct fault *f) MUST_CHECK;

/* ---- streams ---------------------------------------------------------- */
enum {
    EV_LIFECYCLE = 1,  /* nothing for the caller yet: role chunk, empty delta, response.created,
                          Azure's filter chunk */
    EV_CONTENT = 2,    /* output, or anything unknown: commits */
    EV_USAGE = 4,      /* carries usage: s->usage is new, ev->usage_raw is its text */
    EV_USAGE_ONLY = 8, /* …and nothing else (choices: []): swallow it if the caller did not ask */
    EV_TERMINAL = 16,  /* the stream's own end: completed */
    EV_ERROR = 32,     /* an error in-band; ev->fault says which. Never together with TERMINAL */
    EV_BAD = 64,       /* data is not a JSON object (nor [DONE]) */
    EV_AFTER_END = 128, /* came after a terminal event or an error: do not forward */
};

/* Zero it and set op. */
struct openai_stream {
    uint8_t op; /* enum llm_op */
    bool ended; /* TERMINAL or ERROR was seen */
    bool has_usage;
    bool finished;          /* a finish_reason was seen (chat, completions) */
    uint32_t next_sequence; /* Responses: sequence_number of an event of ours */
    struct usage usage;     /* latest: values are cumulative and assigned */
    struct estimate out;    /* of the output so far */
    uint32_t told_out; /* … in tokens, when usage was last told: what came since is not in it */
};

struct openai_event {
    unsigned flags;       /* EV_…; what follows is valid only where they say so */
    struct str usage_raw; /* lent from data */
    struct fault fault;   /* EV_ERROR; EV_BAD: ERR_UPSTREAM_PROTOCOL */
};

void openai_stream_init(struct openai_stream *s, enum llm_op op);
/* One SSE event: its name (may be empty) and its data lines joined. An event without data (a
 * comment) is LIFECYCLE. Returns ev->flags. */
unsigned openai_stream_event(struct openai_stream *s, struct str provider, struct str name,
                             struct str data, struct openai_event *ev);

#endif
