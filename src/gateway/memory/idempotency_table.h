/* idempotency_table: the calls that one worker answers for by their Idempotency-Key: those under
 * way, with who waits for them, and the answers of those that have ended.
 *
 * Owned by that worker's thread.  An answer is immutable and refcounted: any
 * thread.  Its bytes and the table's count in a budget that all tables share. */
#ifndef LYSS_GATEWAY_IDEMPOTENCY_TABLE_H
#define LYSS_GATEWAY_IDEMPOTENCY_TABLE_H

#include "core/map.h"
#include "gateway/budget.h"

#define IDEMPOTENCY_KEY_MAX 255

/* What a caller got. */
struct idem_answer {
    _Atomic unsigned refs;
    struct budget *budget;
    uint64_t charged_bytes;
    char *body;
    size_t n;
    const char *type; /* a constant */
    int status;
    enum err err;
    bool broken; /* the stream could not be completed */
};

/* Takes body, which charged bytes of the budget pay for. NULL: no memory (body is still the
 * caller's). */
struct idem_answer *idem_answer_new(struct budget *b, char *body, size_t n, uint64_t charged);
struct idem_answer *idem_answer_ref(struct idem_answer *a);
void idem_answer_unref(struct idem_answer **a);

enum idem_verdict {
    IDEM_FIRST,    /* the key is new: make the call, then publish */
    IDEM_FULL,     /* no room: make the call, nothing is kept */
    IDEM_CONFLICT, /* the key was used with another body */
    IDEM_STORED,   /* the answer of a call that had ended */
    IDEM_JOINED,   /* the answer of a call that was under way */
    IDEM_LOST,     /* that answer was too long to be kept */
    IDEM_LEFT      /* it left before there was an answer */
};

enum idem_outcome {
    IDEM_KEEP,   /* the answer is stored */
    IDEM_HAND,   /* only those who wait get it: the next one may fare better */
    IDEM_REPEAT, /* there is no answer: one of those who wait makes the call */
    IDEM_DROP    /* the answer could not be kept */
};

struct idem_entry;

/* A request's claim on a key. The strings stay until it is out of the table. */
struct idem_claim {
    int64_t key_id;
    struct str key;
    uint8_t digest[32];
    /* the table's: */
    enum idem_verdict verdict;
    struct idem_answer *answer; /* IDEM_STORED, IDEM_JOINED: a ref */
    struct idem_entry *entry;   /* while it waits, or makes the call */
    struct idem_claim *next, **prev;
    _Atomic unsigned joiners; /* of one that makes the call: who wait; read by any thread */
};

struct idem_table {
    struct map map;
    struct budget *budget;
    uint64_t keep_ms;
    struct idem_entry *oldest, *newest;    /* that have ended */
    void (*settled)(struct idem_claim *c); /* a waiting claim has its verdict */
    void (*alone)(struct idem_claim *c);   /* nobody waits any more for the call that c makes */
};

void idem_table_init(struct idem_table *t, struct budget *b, uint64_t keep_ms);
/* Of entries that are left none is waited for, nor under way. */
void idem_table_release(struct idem_table *t);
/* The same for every use of a key. */
uint64_t idem_hash(int64_t key_id, struct str key);
/* True: the verdict stands. False: it waits; settled() will tell. */
bool idem_table_claim(struct idem_table *t, struct idem_claim *c, uint64_t now_ms);
/* The call of c (IDEM_FIRST) has ended. Takes answer; NULL with IDEM_REPEAT and IDEM_DROP. */
void idem_table_publish(struct idem_table *t, struct idem_claim *c, enum idem_outcome outcome,
                        struct idem_answer *answer, uint64_t now_ms);
/* A claim that may be waiting goes: if it was, settled() is called with IDEM_LEFT. */
void idem_table_leave(struct idem_table *t, struct idem_claim *c);
/* Forgets what has been kept long enough. When the next will have been; 0: none. */
uint64_t idem_table_expire(struct idem_table *t, uint64_t now_ms);

#endif
