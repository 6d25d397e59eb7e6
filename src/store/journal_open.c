/* journal_open: a table of ids with linear probing and deletion by shifting back, so that it needs
 * no tombstones however long the process lives. */
#include "store/journal_open.h"

#include "core/alloc.h"

void open_init(struct open_table *t, size_t max)
{
    *t = (struct open_table){.max = max};
}

void open_release(struct open_table *t)
{
    for (size_t i = 0; i < t->cap; i++)
        open_request_free(&t->slots[i]);
    mem_free(t->slots);
    open_init(t, t->max);
}

static size_t home(const struct open_table *t, const uint8_t id[16])
{
    uint64_t a, b;
    memcpy(&a, id, 8);
    memcpy(&b, id + 8, 8);
    return (size_t)(((a ^ b) * 0x9e3779b97f4a7c15u) >> 32) & (t->cap - 1);
}

/* The id's slot, or the empty slot where it would go. */
static size_t seek(const struct open_table *t, const uint8_t id[16])
{
    size_t i = home(t, id);
    while (t->slots[i] && memcmp(t->slots[i]->r.id, id, 16) != 0)
        i = (i + 1) & (t->cap - 1);
    return i;
}

struct open_request *open_find(const struct open_table *t, const uint8_t id[16])
{
    return t->count ? t->slots[seek(t, id)] : NULL;
}

static enum err grow(struct open_table *t)
{
    if (t->count >= t->max)
        return ERR_TOO_BIG;
    if (t->cap && t->count < t->cap / 2)
        return ERR_OK;
    struct open_table bigger = {.cap = t->cap ? t->cap * 2 : 64, .count = t->count, .max = t->max};
    bigger.slots = mem_zalloc(bigger.cap * sizeof *bigger.slots);
    if (!bigger.slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i])
            bigger.slots[seek(&bigger, t->slots[i]->r.id)] = t->slots[i];
    mem_free(t->slots);
    *t = bigger;
    return ERR_OK;
}

static enum err put(struct open_table *t, struct open_request *o)
{
    enum err e = grow(t);
    if (e) {
        open_request_free(&o);
        return e;
    }
    t->slots[seek(t, o->r.id)] = o;
    t->count++;
    return ERR_OK;
}

enum err open_add_id(struct open_table *t, const uint8_t id[16])
{
    struct open_request *o = mem_zalloc(sizeof *o);
    if (!o)
        return ERR_NOMEM;
    memcpy(o->r.id, id, 16);
    return put(t, o);
}

static enum err add_admitted(struct open_table *t, const struct record_admitted *r)
{
    if (open_find(t, r->id))
        return ERR_OK;
    struct open_request *o = mem_alloc(offsetof(struct open_request, r) + JOURNAL_ALIGN(r->h.len));
    if (!o)
        return ERR_NOMEM;
    memset(o, 0, offsetof(struct open_request, r));
    memcpy(&o->r, r, r->h.len);
    return put(t, o);
}

static enum err add_attempt(struct open_request *o, const struct record_attempt *r)
{
    struct open_attempt **last = &o->attempts;
    while (*last) {
        if ((*last)->r.number == r->number)
            return ERR_OK;
        last = &(*last)->next;
    }
    struct open_attempt *a = mem_alloc(offsetof(struct open_attempt, r) + JOURNAL_ALIGN(r->h.len));
    if (!a)
        return ERR_NOMEM;
    a->next = NULL;
    memcpy(&a->r, r, r->h.len);
    *last = a;
    /* The try has ended: what it had so far is in its record now. */
    o->so_far = (struct open_progress){.channel_id = 0};
    return ERR_OK;
}

enum err open_add(struct open_table *t, const struct record *r)
{
    if (r->type == JOURNAL_ADMITTED)
        return add_admitted(t, (const struct record_admitted *)r);
    /* Every other type has its id in the same place. */
    const struct record_progress *p = (const struct record_progress *)r;
    struct open_request *o = open_find(t, p->id);
    if (!o)
        return ERR_OK;
    if (r->type == JOURNAL_ATTEMPT)
        return add_attempt(o, (const struct record_attempt *)r);
    bool priced = r->version >= 2;
    o->so_far = (struct open_progress){.channel_id = p->channel_id,
                                       .credential_id = p->credential_id,
                                       .cost_nusd = priced ? p->cost_nusd : INT64_MIN,
                                       .price_id = priced ? p->price_id : 0,
                                       .c = p->c,
                                       .has_progress = true};
    return ERR_OK;
}

void open_request_progress(const struct open_request *o, struct ledger_progress *out)
{
    const struct open_progress *p = &o->so_far;
    *out = (struct ledger_progress){.channel_id = p->channel_id,
                                    .credential_id = p->credential_id,
                                    .has_cost = p->has_progress && p->cost_nusd != INT64_MIN,
                                    .price_id = p->price_id};
    out->cost_nusd = out->has_cost ? p->cost_nusd : 0;
    memcpy(out->request_id, o->r.id, 16);
    record_unpack_counters(&p->c, &out->so_far);
}

struct open_request *open_take(struct open_table *t, const uint8_t id[16])
{
    if (!t->count)
        return NULL;
    size_t hole = seek(t, id);
    struct open_request *o = t->slots[hole];
    if (!o)
        return NULL;
    t->slots[hole] = NULL;
    t->count--;
    for (size_t i = (hole + 1) & (t->cap - 1); t->slots[i]; i = (i + 1) & (t->cap - 1)) {
        size_t h = home(t, t->slots[i]->r.id);
        if (((i - h) & (t->cap - 1)) < ((i - hole) & (t->cap - 1)))
            continue;
        t->slots[hole] = t->slots[i];
        t->slots[i] = NULL;
        hole = i;
    }
    return o;
}

void open_request_free(struct open_request **o)
{
    if (!*o)
        return;
    for (struct open_attempt *a = (*o)->attempts, *next; a; a = next) {
        next = a->next;
        mem_free(a);
    }
    mem_free(*o);
    *o = NULL;
}

struct open_request *open_next(const struct open_table *t, size_t *at)
{
    while (*at < t->cap)
        if (t->slots[(*at)++])
            return t->slots[*at - 1];
    return NULL;
}
