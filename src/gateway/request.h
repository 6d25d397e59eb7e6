/* request: one call of one caller, from its head to its usage row.
 *
 * Belongs to its worker.  Before the commit everything it needs lies in its
 * arena; at the commit what settlement needs stays in the struct and the rest is
 * freed, so that a held stream costs little.  How a request ends is written in
 * one place: request_settle(). */
#ifndef LYSS_GATEWAY_REQUEST_H
#define LYSS_GATEWAY_REQUEST_H

#include "core/clock.h"
#include "gateway/array_form.h"
#include "gateway/choose/eligible.h"
#include "gateway/worker.h"
#include "llm/classify.h"
#include "llm/codec.h"
#include "llm/wire_openai_request.h"
#include "llm/wire_openai_response.h"

enum request_phase {
    PHASE_BODY,    /* the body is coming in */
    PHASE_PARSE,   /* a long body is being parsed in steps */
    PHASE_WAIT,    /* another worker, or another call, has the answer */
    PHASE_REPLAY,  /* another call's answer is on its way to the caller */
    PHASE_ATTEMPT, /* an upstream is asked; nothing is committed */
    PHASE_RELAY,   /* committed: bytes flow */
    PHASE_DRAIN,   /* the caller has its answer; the upstream's last bytes are awaited */
    PHASE_END      /* answered, or alone; a parsing step is on its way and frees it */
};

/* A phase of the pipeline: on with the next; pipeline_run comes again; it has answered. */
enum step { STEP_NEXT, STEP_WAIT, STEP_DONE };

#define PARSE_STEP_BYTES (1u << 20) /* of a long body, looked at in one turn */

struct idem;
struct choice;
struct hedge_share;
struct race;
struct recall_ask;
struct recall_notes;
struct pace;
struct passthrough;
struct translation;

enum torn { TORN_NOT, TORN_IN_LINE, TORN_LINE_START, TORN_LINE_CR };

#define TRIED_MAX 16

/* A second attempt, should the first one be slow. */
struct hedge_plan {
    struct hedge_share *share; /* the worker's */
    uint64_t due_ms;           /* loop time; 0: none */
    uint8_t percent, cost_percent;
};

/* A long body being parsed in steps: the caller's, then the answer's. */
struct parsing {
    struct json_steps *steps; /* NULL: none is under way */
    struct request *request;
    struct message next;   /* of the caller's body */
    struct costly reading; /* of the answer */
};

/* What only the time before the commit needs; in the arena. A second leg has a copy: what is owned
 * here, as in struct request, is to be left out in hedge.c. */
struct request_plan {
    struct str deployment, model; /* the path's; the caller's name for it */
    struct openai_edits edits;
    struct json_doc doc;     /* of the body, as long as … */
    uint64_t doc_parse;      /* … this is json_parse_count(), or … */
    struct json_steps *tape; /* … of a long one, this is there */
    struct parsing parsing;
    struct neutral_request *neutral;     /* the body's meaning, once an attempt needed it, … */
    struct arena meaning;                /* … and where it lies */
    struct recall_ask *recall;           /* what other workers were asked for it */
    int64_t pin_channel, pin_credential; /* where it must go; 0: anywhere */
    bool lacks_thoughts;                 /* its calls of tools came back without them */
    char *hold;                          /* events held before the commit */
    uint32_t hold_n, hold_cap, hold_events;
    struct buf translated;           /* the body in the upstream's form, … */
    struct buf_loans loans;          /* … and what of it is lent from the caller's */
    struct buf overridden;           /* … with the channel's own parameters */
    struct link link;                /* what its writer tells the answer's reader */
    struct passthrough *passthrough; /* NULL: it is understood */
    const char *content_type;        /* of a passthrough's answer */
    bool strict;                     /* what cannot be carried is refused */
    struct str anthropic_version, anthropic_beta;
    struct str session; /* x-lyss-session */
    struct str head;    /* of the current attempt, with its credential */
    unsigned tried_n;
    struct hedge_plan hedge;
    uint8_t unconnected;                 /* attempts that came to no connection */
    uint8_t fell_back;                   /* FAULT_… that a fallback has been taken for */
    const struct credential *credential; /* of the current attempt; the channel's */
    struct str passed;                   /* upstream's rate-limit headers, for the reply */
    struct str cors;                     /* header lines for a page of another origin */
    struct str retry_after, retry_after_ms;
    char *reply; /* the answer's body as it comes */
    size_t reply_n, reply_cap;
    uint64_t first_attempt_ms;
    uint64_t ready_ns; /* when the caller's body, and then when the answer's last bytes were here */
    struct openai_request body;
    /* What comes now, and the members' places in the body, is written before it is read: all that
     * stands before them begins as zero. */
    struct iovec iov[2 * (EDIT_IOV_MAX(OPENAI_EDITS_MAX) + 1)]; /* request, and room to send it */
    uint8_t key_digest[32];
    struct tried tried[TRIED_MAX];
};

/* By what the caller knows this call. */
struct caller_ids {
    char request_id[65];  /* its x-request-id; cut */
    char traceparent[56]; /* W3C Trace Context, version 00; empty: none */
};

/* What all attempts so far have taken. */
struct spent {
    struct ledger_counters c;
    int64_t nusd; /* unless unpriced */
    bool estimated, unpriced;
};

struct request {
    /* What each event of a stream touches lies together: of thousands of streams little else would
     * stay in a cache. */
    struct worker *worker;
    struct http_conn *conn; /* NULL once the caller has its answer, or is gone */
    struct http_call call;
    struct channel *channel;   /* ref, of the current attempt */
    struct request_plan *plan; /* NULL after the commit */
    uint8_t phase, op, dialect, attempts;
    uint8_t at;      /* of the pipeline's phases */
    uint8_t call_op; /* what the upstream is asked for */
    uint8_t stream, sse, swallow_usage, head_sent, ping, paused, admitted, progressed, whole,
        call_live, orphan, force_stream, settled;
    uint8_t array; /* the caller's stream is a JSON array */
    struct array_form array_form;
    uint8_t torn;       /* enum torn: inside an event that was too long to be held */
    uint8_t torn_last;  /* … which is the stream's own end */
    uint8_t torn_kept;  /* … whose last bytes are kept, for they may say that it is */
    uint8_t torn_index; /* … of which candidate, as its beginning says */
    uint8_t unread_media;
    uint16_t usage_cap;              /* room at usage_raw.p */
    struct gunzip *gunzip;           /* for an answer that is compressed */
    struct translation *translation; /* of a stream that a codec reads */
    struct idem *idem;               /* NULL: it has no Idempotency-Key */
    struct pace *pace;               /* NULL: it may be as slow as it likes */
    struct recall_notes *recall;     /* what of the answer is to be remembered; mostly NULL */
    char *tail;                      /* unfinished event */
    uint32_t tail_n, tail_cap;
    uint64_t last_up_ms, last_down_ms, progress_ms; /* loop time */
    uint32_t progress_tokens;
    int16_t upstream_status;
    struct openai_stream tap;

    struct request *next, **prev; /* the worker's */
    struct gate_pass pass;        /* what the current attempt holds there */
    struct arena arena;
    struct deadline deadline;
    uint8_t id[16];
    uint32_t overhead_us;
    int64_t tenant_id, user_id, key_id, credential_id;
    int64_t started_wall_ms;
    uint64_t started_ns, attempt_ns, head_ns, first_content_ns; /* monotonic */
    uint64_t orphan_until_ms; /* the end of an orphan's time, UINT64_MAX: none; loop time */
    uint64_t body_bytes;      /* counted against the memory budget */
    uint32_t estimate_in, estimate_out;
    uint32_t ttft_ms, chunk_ms;
    const char *upstream_model;          /* in the arena; our own without a plan; may be NULL */
    struct caller_ids *ids;              /* NULL: the caller gave none */
    struct spent *spent;                 /* NULL: this is the first attempt */
    const struct catalogue_entry *entry; /* of the current attempt's model; NULL: no attempt yet */
    struct race *race;                   /* with a second attempt; mostly NULL */
    struct str usage_raw;                /* in the arena */
};

/* ---- pipeline.c: from the head to the first attempt ---- */
extern const struct http_service gateway_service;
/* Writes it into the journal: from here on it has one row, however it ends. */
enum err request_admit(struct request *r) MUST_CHECK;
/* Goes on with the phase that it waits in. */
void pipeline_run(struct request *r);
/* The same on the loop's next turn; in PHASE_PARSE only, for what is long to do. */
void pipeline_run_later(struct request *r);
/* Ends what the request still has and frees it. */
void request_free(struct request *r);
/* Frees what is kept for requests to come. */
void request_release_spares(struct worker *w);

/* Now, or `since` where that was in this turn of the loop: spares most reads of the clock. */
static inline uint64_t request_now_ns(const struct request *r, uint64_t since_ns)
{
    return loop_now_ms(r->worker->loop) * 1000000 > since_ns ? clock_mono_ns() : since_ns;
}

/* ---- refuse.c: before admission ---- */
/* Answers with an error in the caller's dialect and frees it. */
COLD void request_refuse(struct request *r, enum err e, const struct err_info *info);
/* The same while its body is being parsed: the step that is on its way frees it. */
COLD void request_refuse_parsing(struct request *r, enum err e);

/* ---- attempt.c: the one loop of retry and failover ---- */
void attempt_start(struct request *r);
/* Sends an attempt to what was chosen. */
void attempt_begin(struct request *r, const struct choice *c);
/* The current attempt has failed with `fault` before the commit: next one, or the final answer. */
COLD void attempt_failed(struct request *r, const struct fault *fault);
/* The same for an error of ours. */
COLD void attempt_error(struct request *r, enum err e, const struct err_info *info);
/* Answers with a fault while nothing of a reply has been sent. */
COLD void attempt_answer(struct request *r, const struct fault *f);
/* The credential does not outlive its use: overwrites the upstream's head, once it is sent and no
 * new connection may need it (an answer has begun, or the call is over). */
void attempt_wipe_head(struct request *r);
/* How a request ends that fails by e. */
enum ledger_state attempt_end_state(enum err e);

/* ---- relay.c: answers on their way to the caller ---- */
extern const struct http_call_events relay_events;
/* The caller's socket is empty again. */
void relay_sent(struct request *r);
void relay_set_deadline(struct request *r);
/* Does the caller's form of a stream have signs of life, and does the key want them? */
bool relay_may_ping(const struct request *r);
/* Ends a stream (or a reply that has begun) that cannot be completed. */
COLD void relay_break(struct request *r, enum ledger_state state, enum err e,
                      const struct err_info *info, const struct fault *fault);
/* The caller has gone: goes on without it for the sake of the usage, where the channel says so and
 * an answer has begun. False: the request is to be cancelled. */
COLD bool relay_orphan(struct request *r);
/* Ends an orphan that went on for the sake of others, who have left too. */
COLD void relay_abandon(struct request *r);
/* The caller, who has a part of a stream, is told of a fault by its last event; the connection
 * breaks. r->conn is NULL afterwards. */
COLD void relay_tell_fault(struct request *r, const struct fault *f, uint32_t tokens);
/* Ends whatever the request is doing because Lyss is stopping. */
COLD void relay_shutdown(struct request *r);

/* Sends data (may be empty with `last`), the head in front of the first. False: the caller is
 * gone, which the server tells on its next turn, unless this was the last. */
bool relay_send_down(struct request *r, struct str data, bool last);
/* Sends data of an answer that goes on; before its first byte the journal knows that there is
 * something to charge. False: as above. */
bool relay_pass_on(struct request *r, struct str data);
/* From here on nothing is retried. */
void relay_commit(struct request *r);
/* The upstream's status is 2xx. */
bool relay_is_success(const struct request *r);

/* The caller has its whole answer; the upstream's last bytes are awaited so that its connection can
 * be used again. */
void relay_drain(struct request *r);
/* After the first bytes have gone out (the reply's headers came from the plan). */
void relay_shed_plan(struct request *r);

/* ---- relay_events.c ---- */
void relay_stream_bytes(struct request *r, char *p, size_t n);
/* Its body has ended. True: that was its own end, and the request has ended, too. */
bool relay_stream_end(struct request *r) MUST_CHECK;

/* ---- relay_whole.c ---- */
/* What is being parsed in steps is not wanted any more. */
void relay_drop_reading(struct request *r);
/* The longest answer that is held. */
uint64_t relay_held_most(const struct request *r);
/* Room for an answer that is held. False: there is none, or the memory budget is all taken and the
 * answer long. */
bool relay_hold_whole(struct request *r, size_t cap) MUST_CHECK;
void relay_whole_bytes(struct request *r, const char *p, size_t n);
void relay_whole_end(struct request *r);
/* Of what is passed on as it comes, the last bytes are kept (in r->tail): the usage stands there.
 */
void relay_keep_last(struct request *r, const char *p, size_t n);
void relay_read_last_usage(struct request *r);
/* The candidate that one of Gemini's events names before its content; 0: none, or the first. */
uint8_t relay_first_index(struct str event);
/* What the last bytes of one of Gemini's events say of its end: an event of its own, in out. False:
 * nothing. */
bool relay_read_last_event(const struct request *r, struct buf *out) MUST_CHECK;
/* Counts n bytes of output that is not read, which begins so: as text, or, where it holds a picture
 * or a sound, as one. r->unread_media says which, for the bytes that follow. */
void relay_count_unread(struct request *r, struct str start, size_t n);

/* ---- settle.c: how it ended ---- */
/* Writes the one usage row, the metrics and the log line. status: what the caller got, 0: nothing.
 */
void request_settle(struct request *r, enum ledger_state state, int status, enum err e);
/* A failed attempt that will be followed by another. */
COLD void settle_attempt(struct request *r, enum err outcome);
/* Journals what the live call has used so far, for the case that nobody settles it: at the first
 * call, then once a second or each thousand tokens. */
void settle_progress(struct request *r);
/* What the call has used so far by what passed, for the model that it is with. */
struct usage settle_estimate(const struct request *r);
/* Output tokens of the live call so far, as they would be charged. */
uint32_t settle_output(const struct request *r);
/* The live call's first content has come. */
void settle_first(struct request *r);
/* The call that is live, if any, has ended so: for the channel's vitals. */
void settle_vitals(struct request *r, enum vitals_end end);

/* ---- reply.c: heads of replies ---- */
/* Header lines of a reply, in a buffer of the thread; content_type NULL: none. */
struct str reply_headers(struct request *r, const char *content_type);

#endif
