/* gate: whether an attempt may go to a channel's credential now, what it holds while it is under
 * way, and what its end teaches.
 *
 * Three kinds of cells, all of atomics, shared by the workers without a lock:
 * of a channel (caps, retry budget), of each of its credentials (cooling down,
 * put aside), and of each model of a credential (breaker, what the upstream says
 * is left).  They outlive snapshots (gateway/cells.h).  A model gets a cell when
 * there is something to remember: at the first failure, or the first header
 * about limits; a credential has GATE_MODELS of them, and a model that needs
 * one takes that of another whose breaker is closed, or was opened long ago.
 *
 * Failure classes: `server` counts in the breaker; `throttle` lets the
 * credential cool down until Retry-After (or for a moment, growing, at most
 * GATE_COOL_MAX_MS); `key` puts it aside for a while that grows, never for ever,
 * but where the fault is the mapping's only that model's breaker opens;
 * `request` and `client` say nothing.
 *
 * Times are milliseconds of the monotonic clock and parameters.  Any thread. */
#ifndef LYSS_GATEWAY_GATE_H
#define LYSS_GATEWAY_GATE_H

#include "gateway/health/breaker.h"
#include "gateway/limit.h"
#include "gateway/choose/reason.h"
#include "llm/classify.h"
#include "llm/ratelimit.h"

#define GATE_MODELS         64
#define GATE_MODEL_STALE_MS 60000  /* open, but nobody has asked for it for so long */
#define GATE_COOL_MS        200    /* after a 429 that names no time; doubles … */
#define GATE_COOL_MAX_MS    800    /* … up to this */
#define GATE_COOL_TOLD_MS   600000 /* the longest Retry-After that is believed */
#define GATE_ASIDE_MS       10000  /* a refused credential is put aside; doubles … */
#define GATE_ASIDE_MAX_MS   300000 /* … up to this */
#define GATE_BUDGET_MIN     10     /* retries to a channel in 10 s, or … */
#define GATE_BUDGET_PERCENT 20     /* … this share of its requests, whichever is more */
#define GATE_BUDGET_TICK_MS 1000

struct channel;
struct channel_cell;

/* What an upstream has left of a limit, by its own word. */
struct gate_quota {
    _Atomic int64_t left;
    _Atomic uint64_t at_ms, until_ms; /* when it said so; when all is back */
    _Atomic uint64_t unit_us;         /* one comes back so often; 0: all at once at until_ms */
};

struct model_cell {
    _Atomic uint64_t model; /* gate_model() of its name */
    struct breaker breaker;
    struct gate_quota requests, tokens;
};

struct credential_cell {
    int64_t id;
    struct channel_cell *channel;
    struct credential_cell *next; /* the channel's */
    _Atomic uint64_t cool_until_ms, aside_until_ms;
    _Atomic uint32_t throttled, refused; /* in a row */
    _Atomic uint64_t proved_ms;          /* it last worked; 0: never */
    _Atomic uint64_t heard_ms;           /* anything was last learned of it; 0: never */
    _Atomic uint64_t checked_ms;         /* a health check last began; 0: never */
    _Atomic uint32_t last_check;         /* enum probe_kind + 1; 0: none */
    struct model_cell rest;              /* of models that find all taken and open */
    _Atomic(struct model_cell *) models[GATE_MODELS];
};

struct channel_gate {
    _Atomic int64_t under_way;   /* attempts that hold a place */
    struct limit_cell rpm, tpm;  /* of the last minute */
    struct tally tries;          /* first tries, and tries after another's failure */
    _Atomic uint64_t changes[3]; /* of breakers, by the state they went to */
    _Atomic int64_t open;        /* breakers that are not closed */
};

/* What an attempt asks for. */
struct gate_ask {
    uint64_t model; /* gate_model() of what the upstream calls it */
    int64_t tokens; /* estimated, in and out */
    bool again;     /* another upstream was asked for the same request before */
    uint64_t now_ms;
};

/* What an attempt holds. Zero: nothing. */
struct gate_pass {
    struct credential_cell *credential;
    uint64_t model, ticket;
    int64_t asked;    /* tokens, by estimate */
    int64_t tokens;   /* reserved under tpm */
    const char *name; /* of the model, for the log; whoever keeps the pass keeps it */
    bool tpm;
    bool rpm;    /* a place under rpm that is not used yet */
    bool taught; /* what its failure says has been taken in */
};

void gate_init(struct channel_gate *g, uint64_t now_ms);
uint64_t gate_model(struct str upstream_model);

/* May an attempt go there? Changes nothing. REASON_NONE, or why not; then *wait_ms (may be NULL) is
 * how long until it may, 0: unknown. */
enum reason gate_look(const struct channel *ch, struct credential_cell *c,
                      const struct gate_ask *ask, uint64_t *wait_ms);
/* The same, and takes what it needs: until gate_leave it counts. On refusal nothing is held. */
enum reason gate_enter(const struct channel *ch, struct credential_cell *c, struct str model,
                       const struct gate_ask *ask, struct gate_pass *pass);
/* The attempt is sent: from now on it counts as one of the minute. Left without, it never was. */
void gate_sent(struct gate_pass *pass, uint64_t now_ms);
/* The attempt has failed so; gate_leave is still to come. */
void gate_fault(struct gate_pass *pass, const struct fault *f, uint64_t now_ms);
/* It has ended: gives back what it held; tokens is what it really used. verdict: 1 it succeeded, -1
 * it failed by the upstream's doing, 0 nothing can be said (and gate_fault has nothing to say). */
void gate_leave(struct gate_pass *pass, int verdict, int64_t tokens, uint64_t now_ms);
/* What the head of an answer says of the upstream's limits. */
void gate_limits(struct gate_pass *pass, const struct ratelimit *r, uint64_t now_ms);

/* A health check of the credential has ended. ok: it is proved. */
void gate_checked(struct credential_cell *c, const struct fault *f, bool ok, uint64_t now_ms);
/* Is it put aside, or a breaker of it open (and not merely left so, because nobody asks)? */
bool gate_shut(struct credential_cell *c, uint64_t now_ms);
void gate_release(struct credential_cell *c); /* frees its model cells; nobody uses it any more */

#endif
