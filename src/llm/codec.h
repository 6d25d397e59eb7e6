/* codec: one form of body (an operation's) in both directions, on both sides of Lyss.
 *
 * As the caller's form: read_request, write_reply, and a writer for streams.
 * As the upstream's: write_request, read_reply, and a reader for streams.  A
 * translation joins the two halves of different codecs through llm/neutral.h.
 * Codecs are const and pure; a stream's state is a struct that the codec sizes
 * and one thread owns. */
#ifndef LYSS_LLM_CODEC_H
#define LYSS_LLM_CODEC_H

#include "core/buf.h"
#include "llm/classify.h"
#include "llm/model_caps.h"
#include "llm/neutral.h"

/* Where a request goes. Borrowed. */
struct target {
    struct str model;              /* the upstream's name for it */
    struct str provider;           /* the row's name */
    const struct model_caps *caps; /* never NULL */
    uint32_t reserve_output; /* where a limit is mandatory and neither caller nor caps say one */
    bool stream;             /* ask for a stream, whatever r->stream says */
    bool max_tokens_only;    /* a compatible server that knows only max_tokens and system */
    bool mark_cache; /* the prompt is marked for the upstream's cache where the caller has not */
};

/* What the request's writer tells the answer's reader. Plain data, small. */
struct link {
    bool schema_tool; /* a JSON schema went as a forced hidden tool named SCHEMA_TOOL: its arguments
                         are the answer's text */
    uint8_t answers;  /* how many were asked for; 0: not known */
};
#define SCHEMA_TOOL "lyss_json_answer"

/* What the writers of answers need to know. Borrowed for the call of init only. */
struct answer {
    enum llm_op op;        /* the caller's */
    struct str request_id; /* ours, 36 characters: for ids where the upstream gives none */
    struct str model;      /* to name where the upstream names none */
    int64_t created_s;
    uint32_t estimate_in; /* input tokens, until the upstream says */
    bool include_usage;   /* chat, completions: send the usage chunk */
    bool base64;          /* embeddings: as base64 of float32 */
};

typedef void neutral_emit(void *ctx, const struct neutral_event *ev);

struct codec {
    enum llm_op op;
    /* Reads a parsed body. model: where the path names it (Gemini, Azure), else STR_NULL.
     * ERR_INVALID with info->field in the caller's terms and info->offset; ERR_NOMEM. */
    enum err (*read_request)(struct neutral_request *out, const struct json_doc *d,
                             struct str model, struct arena *a, struct err_info *info);
    /* Appends the upstream's body. What cannot be carried goes into receipt. ERR_INVALID: it cannot
     * be sent there at all (info says what and why, in the caller's terms); ERR_NOMEM. Does not
     * change what r points to, but for neutral_merge and neutral_link. */
    enum err (*write_request)(struct neutral_request *r, const struct target *t, struct arena *a,
                              struct buf *out, struct receipt *receipt, struct link *link,
                              struct err_info *info);
    /* Reads a whole 2xx body. ERR_UPSTREAM_…: f is filled (not an answer, or an error inside);
     * ERR_NOMEM. */
    enum err (*read_reply)(struct neutral_reply *out, const struct json_doc *d,
                           const struct link *link, struct str provider, struct arena *a,
                           struct fault *f);
    /* Appends the caller's body; out latches. */
    void (*write_reply)(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                        struct buf *out);

    /* Streams, upstream's side. State of reader_bytes, zeroed by the caller before init. */
    size_t reader_bytes;
    void (*reader_init)(void *state, const struct link *link);
    /* One SSE event (name may be empty): emits what it means. scratch is the caller's, emptied
     * after each event; strings of emitted events live in it or in data. ERR_OK; else f is filled:
     * an error inside the stream, or data that is no event of this form. After EVENT_END or an
     * error nothing more is read. */
    enum err (*read_event)(void *state, struct str provider, struct str name, struct str data,
                           struct arena *scratch, neutral_emit *emit, void *ctx, struct fault *f);
    /* The body has ended after whole events: is that the stream's own end? NULL: never, the form
     * has an event for it. */
    bool (*reader_ends)(const void *state);
    void (*reader_release)(void *state); /* NULL: nothing to release */

    /* Streams, caller's side. */
    size_t writer_bytes;
    void (*writer_init)(void *state, const struct answer *as);
    /* Appends complete SSE events, perhaps none; out latches. EVENT_END writes the dialect's
     * terminal event: only then is a stream complete. */
    void (*write_event)(void *state, const struct neutral_event *ev, struct buf *out);
    /* sequence_number that an in-band error of ours must carry (Responses); NULL: none. */
    uint32_t (*writer_sequence)(const void *state);
    /* Bytes that it keeps of what has passed, for its last event; NULL: none. */
    size_t (*writer_held)(const void *state);
    void (*writer_release)(void *state);
};

/* NULL: that operation has no codec. */
const struct codec *codec_of(enum llm_op op);

extern const struct codec codec_chat, codec_completions, codec_responses, codec_messages,
    codec_generate, codec_embeddings, codec_gemini_embed, codec_gemini_embeds, codec_count_tokens,
    codec_gemini_count;

#endif
