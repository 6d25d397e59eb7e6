/* cells: registries that only grow: a list that readers walk and the one builder extends. */
#include "gateway/cells.h"

#include "core/alloc.h"
#include "core/clock.h"

struct entry {
    struct channel_cell cell; /* first */
    struct entry *next;
};

struct cells {
    _Atomic(struct entry *) channels;
    size_t count; /* channels and credentials */
};

struct cells *cells_new(void)
{
    return mem_zalloc(sizeof(struct cells));
}

static void free_credentials(struct channel_cell *cell)
{
    for (struct credential_cell *k = atomic_load(&cell->credentials), *next; k; k = next) {
        next = k->next;
        gate_release(k);
        mem_free(k);
    }
}

void cells_free(struct cells **cp)
{
    struct cells *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    for (struct entry *e = atomic_load(&c->channels), *next; e; e = next) {
        next = e->next;
        free_credentials(&e->cell);
        mem_free(e);
    }
    mem_free(c);
}

struct channel_cell *cells_channel(struct cells *c, int64_t id, struct str name)
{
    struct entry *first = atomic_load_explicit(&c->channels, memory_order_relaxed);
    for (struct entry *e = first; e; e = e->next)
        if (e->cell.id == id)
            return &e->cell;
    struct entry *e = c->count < CELLS_MAX ? mem_zalloc(sizeof *e) : NULL;
    if (!e)
        return NULL;
    e->cell.id = id;
    vitals_init(&e->cell.vitals, clock_mono_ms());
    gate_init(&e->cell.gate, clock_mono_ms());
    str_copy(e->cell.name, sizeof e->cell.name, name);
    e->next = first;
    c->count++;
    atomic_store_explicit(&c->channels, e, memory_order_release);
    return &e->cell;
}

struct credential_cell *cells_credential(struct cells *c, struct channel_cell *channel, int64_t id)
{
    struct credential_cell *first =
        atomic_load_explicit(&channel->credentials, memory_order_relaxed);
    for (struct credential_cell *k = first; k; k = k->next)
        if (k->id == id)
            return k;
    struct credential_cell *k = c->count < CELLS_MAX ? mem_zalloc(sizeof *k) : NULL;
    if (!k)
        return NULL;
    k->id = id;
    k->channel = channel;
    k->next = first;
    c->count++;
    atomic_store_explicit(&channel->credentials, k, memory_order_release);
    return k;
}

void cells_each_channel(struct cells *c, void (*f)(struct channel_cell *, void *ctx), void *ctx)
{
    for (struct entry *e = atomic_load_explicit(&c->channels, memory_order_acquire); e; e = e->next)
        f(&e->cell, ctx);
}
