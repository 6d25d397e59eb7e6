/* idempotency: a request's side of its Idempotency-Key: what it is known by, the claim at the
 * worker that owns the key, the copy of the answer, and the answer that another call has made. */
#include "gateway/memory/idempotency.h"

#include <openssl/evp.h>
#include <stddef.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/rng.h"
#include "gateway/memory/errand.h"
#include "gateway/memory/idempotency_table.h"
#include "llm/dialect.h"
#include "net/scratch.h"

#define SHARE_MAX   8     /* one answer takes at most this part of the budget */
#define SWEEP_MS    1000  /* what is too old goes at most so much later */
#define PIECE_BYTES 65536 /* of a stored answer, written at a time */

struct idem_shard {
    struct idem_table table;
    struct worker *worker;
    struct deadline sweep;
};

enum idem_state {
    IDEM_NEW,
    IDEM_ASKING,   /* the claim is out */
    IDEM_ANSWERED, /* it is back */
    IDEM_CALLING,  /* the call is this request's */
    IDEM_TOLD      /* the call's end is known to the owner, or on its way there */
};

struct idem {
    struct errand errand, leave;
    struct message alone;
    struct worker *home, *owner; /* of the request, and of the key; any thread */
    bool errand_out, leave_out;
    uint8_t state;           /* enum idem_state */
    bool whole;              /* the last byte was taken */
    bool lost;               /* the answer outgrew its share */
    struct request *request; /* NULL: it has ended */
    struct idem_claim claim;
    _Atomic bool alone_out; /* the message is on its way; of both threads */
    EVP_MD_CTX *digest;
    size_t digested, sent;
    /* the answer, as it is taken */
    char *body;
    size_t n, cap;
    int status;
    const char *type;
    enum idem_outcome outcome;
    struct idem_answer *answer; /* on its way to the owner */
    char key[];
};

static struct budget *budget_of(const struct worker *w)
{
    return &w->gateway->idem_budget;
}

/* ---- the owner's side ---------------------------------------------------------------- */

static void on_sweep(struct deadline *d);

static void sweep(struct idem_shard *s)
{
    struct loop *l = s->worker->loop;
    uint64_t next_ms = idem_table_expire(&s->table, loop_now_ms(l));
    if (next_ms && !deadline_armed(&s->sweep))
        deadline_set(l, &s->sweep, next_ms + SWEEP_MS, on_sweep);
}

static void on_sweep(struct deadline *d)
{
    sweep((struct idem_shard *)((char *)d - offsetof(struct idem_shard, sweep)));
}

static struct idem *of_claim(struct idem_claim *c)
{
    return (struct idem *)((char *)c - offsetof(struct idem, claim));
}

static struct idem *of_errand(struct errand *e)
{
    return (struct idem *)((char *)e - offsetof(struct idem, errand));
}

static struct idem *of_leave(struct errand *e)
{
    return (struct idem *)((char *)e - offsetof(struct idem, leave));
}

static void on_settled(struct idem_claim *c)
{
    errand_return(&of_claim(c)->errand);
}

static void on_alone(struct message *m);

static void post_alone(struct idem_claim *c)
{
    struct idem *x = of_claim(c);
    if (atomic_exchange(&x->alone_out, true))
        return;
    x->alone.run = on_alone;
    errand_post(x->home, &x->alone);
}

static void claim_there(struct errand *e)
{
    if (idem_table_claim(&e->owner->idem->table, &of_errand(e)->claim, clock_mono_ms()))
        errand_return(e);
}

static void publish_there(struct errand *e)
{
    struct idem_shard *s = e->owner->idem;
    struct idem *x = of_errand(e);
    struct idem_answer *answer = x->answer;
    x->answer = NULL;
    idem_table_publish(&s->table, &x->claim, x->outcome, answer, clock_mono_ms());
    if (!e->owner->gateway->stopped)
        sweep(s);
    errand_return(e);
}

static void leave_there(struct errand *e)
{
    idem_table_leave(&e->owner->idem->table, &of_leave(e)->claim);
    errand_return(e);
}

struct idem_shard *idem_shard_new(struct worker *w)
{
    struct idem_shard *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->worker = w;
    idem_table_init(&s->table, budget_of(w), w->settings.idempotency_ms);
    s->table.settled = on_settled;
    s->table.alone = post_alone;
    return s;
}

void idem_shard_free(struct idem_shard **sp)
{
    struct idem_shard *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    idem_table_release(&s->table);
    mem_free(s);
}

/* ---- ends ------------------------------------------------------------------------------ */

static void drop_copy(struct idem *x, struct worker *w)
{
    budget_give(budget_of(w), x->cap);
    mem_free(x->body);
    x->body = NULL;
    x->n = x->cap = 0;
}

/* Once the request has ended and nothing of it is under way any more. */
static void free_if_alone(struct idem *x)
{
    if (x->request || x->errand_out || x->leave_out || atomic_load(&x->alone_out))
        return;
    EVP_MD_CTX_free(x->digest);
    idem_answer_unref(&x->claim.answer);
    mem_free(x);
}

static void on_back(struct errand *e);

static void tell_owner(struct idem *x)
{
    x->state = IDEM_TOLD;
    x->errand_out = true;
    if (errand_start(&x->errand, x->home, x->owner, publish_there, on_back))
        on_back(&x->errand);
}

/* The claim is back, or the word of the call's end. */
static void on_back(struct errand *e)
{
    struct idem *x = of_errand(e);
    x->errand_out = false;
    if (x->state == IDEM_ASKING) {
        x->state = IDEM_ANSWERED;
        if (x->request) {
            pipeline_run(x->request);
            return;
        }
        if (x->claim.verdict == IDEM_FIRST) { /* too late: another is to make the call */
            x->outcome = IDEM_REPEAT;
            tell_owner(x);
            return;
        }
    }
    free_if_alone(x);
}

void idempotency_move(struct request *from, struct request *to)
{
    to->idem = from->idem;
    from->idem = NULL;
    if (to->idem)
        to->idem->request = to;
}

static void on_left(struct errand *e)
{
    struct idem *x = of_leave(e);
    x->leave_out = false;
    free_if_alone(x);
}

void idempotency_drop(struct request *r)
{
    struct idem *x = r->idem;
    if (!x)
        return;
    r->idem = NULL;
    x->request = NULL;
    drop_copy(x, r->worker);
    if (x->state == IDEM_CALLING) {
        x->outcome = IDEM_REPEAT;
        tell_owner(x);
        return;
    }
    if (x->state == IDEM_ASKING) {
        x->leave_out = true;
        if (errand_start(&x->leave, r->worker, x->owner, leave_there, on_left))
            on_left(&x->leave);
        return;
    }
    free_if_alone(x);
}

/* All who waited have left. If the call's own caller has, too, nobody wants it. */
static void on_alone(struct message *m)
{
    struct idem *x = (struct idem *)((char *)m - offsetof(struct idem, alone));
    struct request *r = x->request;
    atomic_store(&x->alone_out, false);
    if (!r) {
        free_if_alone(x);
        return;
    }
    if (r->orphan && !r->settled && !idempotency_wanted(r))
        relay_abandon(r);
}

/* ---- the head, and what the request is known by ------------------------------------------ */

enum err idempotency_read(struct request *r, const struct http_head *h, struct err_info *info)
{
    struct str key = http_get(h, HTTP_IDEMPOTENCY_KEY);
    enum op_kind kind = op_row((enum llm_op)r->op)->kind;
    if (!http_has(h, HTTP_IDEMPOTENCY_KEY) || (kind != KIND_GENERATE && kind != KIND_EMBED))
        return ERR_OK;
    if (!key.n || key.n > IDEMPOTENCY_KEY_MAX)
        return err_set(info, ERR_INVALID, "Idempotency-Key has between 1 and %d characters.",
                       IDEMPOTENCY_KEY_MAX);
    struct idem *x = mem_zalloc(sizeof *x + key.n);
    if (!x)
        return ERR_NOMEM;
    memcpy(x->key, key.p, key.n);
    x->claim.key = str_make(x->key, key.n);
    x->claim.key_id = r->key_id;
    x->request = r;
    x->home = r->worker;
    x->owner = errand_owner(r->worker, idem_hash(r->key_id, x->claim.key));
    r->idem = x;
    return ERR_OK;
}

/* What is asked for beside the body: the path may say it. */
static bool digest_begin(struct idem *x, const struct request *r)
{
    const uint8_t how[5] = {r->op, r->dialect, r->stream, r->array, r->plan->deployment.p != NULL};
    x->digest = EVP_MD_CTX_new();
    return x->digest && EVP_DigestInit_ex(x->digest, EVP_sha256(), NULL) &&
           EVP_DigestUpdate(x->digest, how, sizeof how) &&
           EVP_DigestUpdate(x->digest, &(uint32_t){(uint32_t)r->plan->model.n}, 4) &&
           EVP_DigestUpdate(x->digest, r->plan->model.p, r->plan->model.n);
}

/* One step of the body. ERR_AGAIN: there is more. */
static enum err digest_step(struct idem *x, const struct request *r)
{
    struct str rest = str_from(r->plan->body.body, x->digested);
    size_t n = rest.n < PARSE_STEP_BYTES ? rest.n : PARSE_STEP_BYTES;
    if ((!x->digest && !digest_begin(x, r)) || !EVP_DigestUpdate(x->digest, rest.p, n))
        return ERR_NOMEM;
    x->digested += n;
    if (n < rest.n)
        return ERR_AGAIN;
    bool ok = EVP_DigestFinal_ex(x->digest, x->claim.digest, NULL);
    EVP_MD_CTX_free(x->digest);
    x->digest = NULL;
    return ok ? ERR_OK : ERR_NOMEM;
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void on_wait(struct deadline *d);

static void wait_on(struct request *r)
{
    uint32_t every_ms = r->worker->settings.ping_ms;
    r->phase = PHASE_WAIT;
    if (relay_may_ping(r))
        deadline_set(r->worker->loop, &r->deadline, loop_now_ms(r->worker->loop) + every_ms,
                     on_wait);
}

/* A sign of life for one who waits for another's stream. */
static void on_wait(struct deadline *d)
{
    struct request *r = (struct request *)((char *)d - offsetof(struct request, deadline));
    struct str ping = dialect_of((enum dialect)r->dialect)->ping;
    bool ok = r->head_sent
                  ? http_stream_write(r->conn, ping)
                  : http_stream_start(r->conn, 200, reply_headers(r, "text/event-stream"), ping);
    r->head_sent = 1;
    if (ok)
        wait_on(r);
}

/* ---- another's answer ------------------------------------------------------------------- */

static void log_replay(const struct request *r, const struct idem_answer *a, const char *word)
{
    if (!r->worker->settings.log_requests)
        return;
    char id[37];
    uuid_format(r->id, id);
    log_event(LOG_INFO, "request.replay", LOG_STR("request_id", str_c(id)),
              LOG_I64("tenant_id", r->tenant_id), LOG_I64("key_id", r->key_id),
              LOG_STR("op", str_c(op_row((enum llm_op)r->op)->name)), LOG_I64("status", a->status),
              LOG_STR("idempotency", str_c(word)));
}

static void replay_ended(struct request *r)
{
    struct http_conn *c = r->conn;
    r->conn = NULL;
    if (r->idem->claim.answer->broken)
        http_stream_break(c);
    else
        http_stream_finish(c);
    request_free(r);
}

/* Writes as much of an answer as the caller takes. */
static void replay_on(struct request *r)
{
    struct idem *x = r->idem;
    const struct idem_answer *a = x->claim.answer;
    while (x->sent < a->n || !r->head_sent) {
        size_t n = a->n - x->sent < PIECE_BYTES ? a->n - x->sent : PIECE_BYTES;
        struct str piece = str_make(a->body + x->sent, n);
        x->sent += n;
        bool ok = r->head_sent
                      ? http_stream_write(r->conn, piece)
                      : http_stream_start(r->conn, a->status, reply_headers(r, a->type), piece);
        r->head_sent = 1;
        if (!ok)
            return; /* the server tells */
        if (tcp_queued(&r->conn->tcp))
            return;
    }
    replay_ended(r);
}

void idempotency_sent(struct request *r)
{
    replay_on(r);
}

void idempotency_stop(struct request *r)
{
    struct http_conn *c = r->conn;
    r->conn = NULL;
    http_stream_break(c);
    request_free(r);
}

/* An error of the other call, or that there is none, for one who has had a ping already. */
static void fail_in_band(struct request *r, enum err e)
{
    struct fault f;
    fault_from_err(&f, e, NULL);
    relay_tell_fault(r, &f, 0);
    request_free(r);
}

static enum step replay(struct request *r)
{
    struct idem *x = r->idem;
    const struct idem_answer *a = x->claim.answer;
    struct worker_metrics *m = &r->worker->metrics;
    bool stored = x->claim.verdict == IDEM_STORED;
    counter_add(stored ? &m->idem_replayed : &m->idem_joined, 1);
    counter_add(&m->statuses[a->status / 100 % STATUS_CLASSES], 1);
    log_replay(r, a, stored ? "replayed" : "joined");
    bool stream = str_eq(str_c(a->type), STR("text/event-stream"));
    bool pieces = a->n > PIECE_BYTES && (stream || !r->head_sent);
    if (pieces || (stream && (a->broken || r->head_sent))) {
        r->phase = PHASE_REPLAY;
        replay_on(r);
        return STEP_DONE;
    }
    if (r->head_sent) {
        fail_in_band(r, a->err);
        return STEP_DONE;
    }
    struct http_conn *c = r->conn;
    r->conn = NULL;
    if (a->broken) { /* a long answer that was cut short */
        if (http_stream_start(c, a->status, reply_headers(r, a->type), str_make(a->body, a->n)))
            http_stream_break(c);
    } else {
        http_reply(c, a->status, reply_headers(r, a->type), str_make(a->body, a->n));
    }
    request_free(r);
    return STEP_DONE;
}

static enum step refuse(struct request *r, enum err e, const char *text)
{
    struct err_info info;
    err_info_init(&info);
    (void)!err_set(&info, e, "%s", text);
    request_refuse(r, e, &info);
    return STEP_DONE;
}

static enum step answered(struct request *r)
{
    struct idem *x = r->idem;
    struct worker_metrics *m = &r->worker->metrics;
    deadline_clear(&r->deadline);
    switch (x->claim.verdict) {
    case IDEM_FIRST:
        x->state = IDEM_CALLING;
        return STEP_NEXT;
    case IDEM_STORED:
    case IDEM_JOINED:
        return replay(r);
    case IDEM_CONFLICT:
        counter_add(&m->idem_conflicts, 1);
        return refuse(r, ERR_CONFLICT, "This Idempotency-Key was used with another request.");
    case IDEM_LOST:
        return refuse(r, ERR_OVERLOADED,
                      "The answer to the first request with this Idempotency-Key was too long to "
                      "be kept.");
    default:
        counter_add(&m->idem_not_stored, 1);
        return STEP_NEXT;
    }
}

enum step idempotency_phase(struct request *r)
{
    struct idem *x = r->idem;
    if (!x)
        return STEP_NEXT;
    if (r->worker->stopping) {
        request_refuse(r, ERR_SHUTDOWN, NULL);
        return STEP_DONE;
    }
    if (x->state == IDEM_NEW) {
        enum err e = digest_step(x, r);
        if (e == ERR_AGAIN) {
            pipeline_run_later(r);
            return STEP_WAIT;
        }
        if (e) {
            request_refuse(r, e, NULL);
            return STEP_DONE;
        }
        x->state = IDEM_ASKING;
        x->errand_out = true;
        wait_on(r);
        if (!errand_start(&x->errand, r->worker, x->owner, claim_there, on_back))
            return STEP_WAIT;
        x->errand_out = false;
        x->state = IDEM_ANSWERED;
    }
    return answered(r);
}

/* ---- the copy of the answer ------------------------------------------------------------ */

static bool grow(struct idem *x, struct worker *w, size_t need, bool last)
{
    struct budget *b = budget_of(w);
    size_t cap = x->cap ? x->cap * 2 : 1024;
    while (cap < need)
        cap *= 2;
    if (last)
        cap = need;
    if (cap > b->max_bytes / SHARE_MAX || !budget_take(b, cap - x->cap))
        return false;
    char *p = mem_realloc(x->body, cap);
    if (!p) {
        budget_give(b, cap - x->cap);
        return false;
    }
    x->body = p;
    x->cap = cap;
    return true;
}

void idempotency_take(struct request *r, int status, const char *type, struct str data, bool last)
{
    struct idem *x = r->idem;
    if (!x || x->state != IDEM_CALLING || x->lost)
        return;
    if (!x->status) {
        x->status = status;
        x->type = type;
    }
    if (x->n + data.n > x->cap && !grow(x, r->worker, x->n + data.n, last)) {
        x->lost = true;
        drop_copy(x, r->worker);
        counter_add(&r->worker->metrics.idem_not_stored, 1);
        return;
    }
    if (data.n)
        memcpy(x->body + x->n, data.p, data.n);
    x->n += data.n;
    x->whole = last;
}

bool idempotency_begun(const struct request *r)
{
    return r->idem && (r->idem->status || r->idem->lost);
}

bool idempotency_wanted(const struct request *r)
{
    const struct idem *x = r->idem;
    return x && x->state == IDEM_CALLING &&
           atomic_load_explicit(&x->claim.joiners, memory_order_relaxed) > 0;
}

static enum idem_outcome outcome_of(const struct idem *x, enum ledger_state state, enum err e)
{
    if (x->lost)
        return IDEM_DROP;
    if (x->whole)
        return x->status < 400 || err_class(e) == CLASS_REQUEST ? IDEM_KEEP : IDEM_HAND;
    return state == LEDGER_CLIENT_GONE || !x->status ? IDEM_REPEAT : IDEM_HAND;
}

void idempotency_publish(struct request *r, enum ledger_state state, enum err e)
{
    struct idem *x = r->idem;
    if (!x || x->state != IDEM_CALLING)
        return;
    x->outcome = outcome_of(x, state, e);
    if (x->outcome == IDEM_KEEP || x->outcome == IDEM_HAND) {
        x->answer = idem_answer_new(budget_of(r->worker), x->body, x->n, x->cap);
        if (x->answer) {
            x->answer->status = x->status;
            x->answer->type = x->type;
            x->answer->err = e;
            x->answer->broken = !x->whole;
            x->body = NULL;
            x->n = x->cap = 0;
        } else {
            x->outcome = IDEM_DROP;
        }
    }
    drop_copy(x, r->worker);
    tell_owner(x);
}

const char *idempotency_word(const struct request *r)
{
    const struct idem *x = r->idem;
    if (!x || x->state == IDEM_NEW)
        return NULL;
    if (x->state == IDEM_ASKING)
        return "joined";
    if (x->lost || (x->state == IDEM_ANSWERED && x->claim.verdict == IDEM_FULL))
        return "not-stored";
    if (x->state != IDEM_ANSWERED)
        return NULL;
    return x->claim.verdict == IDEM_STORED   ? "replayed"
           : x->claim.verdict == IDEM_JOINED ? "joined"
                                             : NULL;
}
