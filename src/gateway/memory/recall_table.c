/* recall_table: a map, and a list by age. */
#include "gateway/memory/recall_table.h"

#include <assert.h>
#include <stddef.h>

#include "core/alloc.h"
#include "core/hash.h"

#define ENTRIES_MAX (1u << 18)
#define SLOT_BYTES  64 /* of the map, at most */
#define KEY_MAX     (9 + RECALL_ID_MAX)

struct recall_entry {
    struct str key;
    struct recall_value *value;
    struct recall_entry *older, *newer;
    uint64_t until_ms;
    char text[];
};

struct recall_value *recall_value_new(struct budget *b, struct str bytes)
{
    if (bytes.n > RECALL_VALUE_MAX || !budget_take(b, sizeof(struct recall_value) + bytes.n))
        return NULL;
    struct recall_value *v = mem_alloc(sizeof *v + bytes.n);
    if (!v) {
        budget_give(b, sizeof *v + bytes.n);
        return NULL;
    }
    atomic_init(&v->refs, 1);
    v->budget = b;
    v->n = (uint32_t)bytes.n;
    memcpy(v->bytes, bytes.p, bytes.n);
    return v;
}

struct recall_value *recall_value_ref(struct recall_value *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void recall_value_unref(struct recall_value **vp)
{
    struct recall_value *v = *vp;
    *vp = NULL;
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
        return;
    budget_give(v->budget, sizeof *v + v->n);
    mem_free(v);
}

static struct str write_key(char out[KEY_MAX], const struct recall_key *k)
{
    assert(k->id.n && k->id.n <= RECALL_ID_MAX);
    out[0] = (char)k->kind;
    memcpy(out + 1, &k->tenant_id, 8);
    memcpy(out + 9, k->id.p, k->id.n);
    return str_make(out, 9 + k->id.n);
}

uint64_t recall_hash(const struct recall_key *k)
{
    char text[KEY_MAX];
    return hash_str(write_key(text, k));
}

static uint64_t entry_bytes(struct str key)
{
    return sizeof(struct recall_entry) + key.n + SLOT_BYTES;
}

static void forget(struct recall_table *t, struct recall_entry *e)
{
    map_remove(&t->map, e->key);
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    budget_give(t->budget, entry_bytes(e->key));
    recall_value_unref(&e->value);
    mem_free(e);
}

void recall_table_init(struct recall_table *t, struct budget *b, uint64_t keep_ms)
{
    *t = (struct recall_table){.budget = b, .keep_ms = keep_ms};
    map_init(&t->map, ENTRIES_MAX);
}

void recall_table_release(struct recall_table *t)
{
    while (recall_table_evict(t))
        ;
    map_release(&t->map);
}

bool recall_table_evict(struct recall_table *t)
{
    if (!t->oldest)
        return false;
    forget(t, t->oldest);
    return true;
}

uint64_t recall_table_expire(struct recall_table *t, uint64_t now_ms)
{
    while (t->oldest && t->oldest->until_ms <= now_ms)
        forget(t, t->oldest);
    return t->oldest ? t->oldest->until_ms : 0;
}

static bool room_for(struct recall_table *t, uint64_t bytes)
{
    while (t->map.count >= ENTRIES_MAX || !budget_take(t->budget, bytes))
        if (!recall_table_evict(t))
            return false;
    return true;
}

void recall_table_put(struct recall_table *t, const struct recall_key *k, struct recall_value *v,
                      uint64_t now_ms)
{
    char text[KEY_MAX];
    struct str key = write_key(text, k);
    struct recall_entry *e = map_get(&t->map, key);
    if (e)
        forget(t, e);
    if (!room_for(t, entry_bytes(key))) {
        recall_value_unref(&v);
        return;
    }
    e = mem_zalloc(sizeof *e + key.n);
    if (e) {
        memcpy(e->text, key.p, key.n);
        e->key = str_make(e->text, key.n);
    }
    if (!e || map_put(&t->map, e->key, e)) {
        mem_free(e);
        budget_give(t->budget, entry_bytes(key));
        recall_value_unref(&v);
        return;
    }
    e->value = v;
    e->until_ms = now_ms + t->keep_ms;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

struct recall_value *recall_table_get(struct recall_table *t, const struct recall_key *k,
                                      uint64_t now_ms)
{
    char text[KEY_MAX];
    recall_table_expire(t, now_ms);
    struct recall_entry *e = map_get(&t->map, write_key(text, k));
    return e ? recall_value_ref(e->value) : NULL;
}
