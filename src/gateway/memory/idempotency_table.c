/* idempotency_table: a map by API key and Idempotency-Key, a list of those who wait at each call
 * that is under way, and a queue by age of the answers that are kept. */
#include "gateway/memory/idempotency_table.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/hash.h"

#define ENTRIES_MAX (1u << 18)
#define SLOT_BYTES  64 /* of the map, at most */

struct idem_entry {
    struct str id; /* key_id and key */
    uint8_t digest[32];
    struct idem_claim *caller;          /* makes the call; NULL: it has ended */
    struct idem_claim *waiting, **last; /* first come first */
    struct idem_answer *answer;         /* NULL: under way */
    struct idem_entry *newer;
    uint64_t until_ms;
    char text[];
};

/* ---- answers --------------------------------------------------------------------- */

struct idem_answer *idem_answer_new(struct budget *b, char *body, size_t n, uint64_t charged)
{
    struct idem_answer *a = mem_zalloc(sizeof *a);
    if (!a)
        return NULL;
    atomic_init(&a->refs, 1);
    a->budget = b;
    a->charged_bytes = charged;
    a->body = body;
    a->n = n;
    return a;
}

struct idem_answer *idem_answer_ref(struct idem_answer *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void idem_answer_unref(struct idem_answer **ap)
{
    struct idem_answer *a = *ap;
    *ap = NULL;
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1)
        return;
    budget_give(a->budget, a->charged_bytes);
    mem_free(a->body);
    mem_free(a);
}

/* ---- entries ----------------------------------------------------------------------- */

static struct str write_id(char out[8 + IDEMPOTENCY_KEY_MAX], int64_t key_id, struct str key)
{
    assert(key.n <= IDEMPOTENCY_KEY_MAX);
    memcpy(out, &key_id, 8);
    memcpy(out + 8, key.p, key.n);
    return str_make(out, 8 + key.n);
}

uint64_t idem_hash(int64_t key_id, struct str key)
{
    char id[8 + IDEMPOTENCY_KEY_MAX];
    return hash_str(write_id(id, key_id, key));
}

static uint64_t entry_bytes(struct str id)
{
    return sizeof(struct idem_entry) + id.n + SLOT_BYTES;
}

static struct idem_entry *entry_new(struct idem_table *t, struct str id)
{
    uint64_t bytes = entry_bytes(id);
    if (!budget_take(t->budget, bytes))
        return NULL;
    struct idem_entry *e = mem_zalloc(sizeof *e + id.n);
    if (e) {
        memcpy(e->text, id.p, id.n);
        e->id = str_make(e->text, id.n);
        e->last = &e->waiting;
        if (!map_put(&t->map, e->id, e))
            return e;
    }
    mem_free(e);
    budget_give(t->budget, bytes);
    return NULL;
}

static void entry_free(struct idem_table *t, struct idem_entry *e)
{
    map_remove(&t->map, e->id);
    budget_give(t->budget, entry_bytes(e->id));
    idem_answer_unref(&e->answer);
    mem_free(e);
}

void idem_table_init(struct idem_table *t, struct budget *b, uint64_t keep_ms)
{
    *t = (struct idem_table){.budget = b, .keep_ms = keep_ms};
    map_init(&t->map, ENTRIES_MAX);
}

void idem_table_release(struct idem_table *t)
{
    idem_table_expire(t, UINT64_MAX);
    assert(!t->map.count);
    map_release(&t->map);
}

uint64_t idem_table_expire(struct idem_table *t, uint64_t now_ms)
{
    struct idem_entry *e;
    while ((e = t->oldest) && e->until_ms <= now_ms) {
        t->oldest = e->newer;
        if (!t->oldest)
            t->newest = NULL;
        entry_free(t, e);
    }
    return e ? e->until_ms : 0;
}

/* ---- claims ------------------------------------------------------------------------- */

static void wait_for(struct idem_entry *e, struct idem_claim *c)
{
    c->entry = e;
    c->next = NULL;
    c->prev = e->last;
    *e->last = c;
    e->last = &c->next;
    atomic_fetch_add_explicit(&e->caller->joiners, 1, memory_order_relaxed);
}

static void unlink_waiting(struct idem_claim *c)
{
    struct idem_entry *e = c->entry;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        e->last = c->prev;
    c->prev = NULL;
    c->entry = NULL;
}

static enum idem_verdict judge(struct idem_table *t, struct idem_claim *c)
{
    char text[8 + IDEMPOTENCY_KEY_MAX];
    struct str id = write_id(text, c->key_id, c->key);
    struct idem_entry *e = map_get(&t->map, id);
    if (!e) {
        e = entry_new(t, id);
        if (!e)
            return IDEM_FULL;
        memcpy(e->digest, c->digest, sizeof e->digest);
        e->caller = c;
        c->entry = e;
        return IDEM_FIRST;
    }
    if (memcmp(e->digest, c->digest, sizeof e->digest))
        return IDEM_CONFLICT;
    if (!e->answer) {
        wait_for(e, c);
        return IDEM_JOINED;
    }
    c->answer = idem_answer_ref(e->answer);
    return IDEM_STORED;
}

bool idem_table_claim(struct idem_table *t, struct idem_claim *c, uint64_t now_ms)
{
    idem_table_expire(t, now_ms);
    c->verdict = judge(t, c);
    return c->verdict != IDEM_JOINED;
}

/* The first of those who wait makes the call; the others go on waiting. False: nobody waits. */
static bool promote(struct idem_table *t, struct idem_entry *e)
{
    struct idem_claim *c = e->waiting;
    if (!c)
        return false;
    unsigned left = atomic_load_explicit(&e->caller->joiners, memory_order_relaxed) - 1;
    unlink_waiting(c);
    e->caller = c;
    c->entry = e;
    atomic_store_explicit(&c->joiners, left, memory_order_relaxed);
    c->verdict = IDEM_FIRST;
    t->settled(c);
    return true;
}

void idem_table_publish(struct idem_table *t, struct idem_claim *c, enum idem_outcome outcome,
                        struct idem_answer *answer, uint64_t now_ms)
{
    struct idem_entry *e = c->entry;
    struct idem_claim *next;
    assert(e && e->caller == c);
    c->entry = NULL;
    if (outcome == IDEM_REPEAT && promote(t, e))
        return;
    e->caller = NULL;
    while ((next = e->waiting)) {
        unlink_waiting(next);
        next->verdict = answer ? IDEM_JOINED : IDEM_LOST;
        next->answer = answer ? idem_answer_ref(answer) : NULL;
        t->settled(next);
    }
    e->answer = answer;
    if (outcome != IDEM_KEEP) {
        entry_free(t, e);
        return;
    }
    e->until_ms = now_ms + t->keep_ms;
    if (t->newest)
        t->newest->newer = e;
    else
        t->oldest = e;
    t->newest = e;
}

void idem_table_leave(struct idem_table *t, struct idem_claim *c)
{
    if (!c->prev)
        return;
    struct idem_claim *caller = c->entry->caller;
    unlink_waiting(c);
    c->verdict = IDEM_LEFT;
    if (atomic_fetch_sub_explicit(&caller->joiners, 1, memory_order_relaxed) == 1)
        t->alone(caller);
    t->settled(c);
}
