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
    size_t count;
};

struct cells *cells_new(void)
{
    return mem_zalloc(sizeof(struct cells));
}

void cells_free(struct cells **cp)
{
    struct cells *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    for (struct entry *e = atomic_load(&c->channels), *next; e; e = next) {
        next = e->next;
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
    str_copy(e->cell.name, sizeof e->cell.name, name);
    e->next = first;
    c->count++;
    atomic_store_explicit(&c->channels, e, memory_order_release);
    return &e->cell;
}

void cells_each_channel(struct cells *c, void (*f)(struct channel_cell *, void *ctx), void *ctx)
{
    for (struct entry *e = atomic_load_explicit(&c->channels, memory_order_acquire); e; e = e->next)
        f(&e->cell, ctx);
}
