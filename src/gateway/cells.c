/* cells: registries that only grow: a list that readers walk and the one builder extends. */
#include "gateway/cells.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/map.h"
#include "store/repo_key.h"

#define KEYS_MAX (1u << 20)

struct entry {
    struct channel_cell cell; /* first */
    struct entry *next;
};

struct cells {
    _Atomic(struct entry *) channels;
    size_t count;    /* channels and credentials */
    struct map keys; /* id → struct key_cell, which holds the id */
};

struct cells *cells_new(void)
{
    struct cells *c = mem_zalloc(sizeof *c);
    if (c)
        map_init(&c->keys, KEYS_MAX);
    return c;
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
    size_t at = 0;
    struct str name;
    void *key;
    while (map_next(&c->keys, &at, &name, &key))
        mem_free(key);
    map_release(&c->keys);
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

struct key_cell *cells_key(struct cells *c, int64_t tenant_id, int64_t id)
{
    struct key_cell *k = map_get(&c->keys, str_make((const char *)&id, sizeof id));
    if (k || !(k = mem_zalloc(sizeof *k)))
        return k;
    k->id = id;
    k->tenant_id = tenant_id;
    if (map_put(&c->keys, str_make((const char *)&k->id, sizeof k->id), k)) {
        mem_free(k);
        return NULL;
    }
    return k;
}

/* In the transaction that is open. */
static enum err write_keys(struct cells *c, struct sql *db)
{
    size_t at = 0;
    struct str name;
    void *value;
    enum err e = ERR_OK;
    while (!e && map_next(&c->keys, &at, &name, &value)) {
        struct key_cell *k = value;
        int64_t used_ms = atomic_load_explicit(&k->used_ms, memory_order_relaxed);
        if (used_ms <= k->written_ms)
            continue;
        e = repo_key_used(db, k->tenant_id, k->id, used_ms, NULL);
        k->written_ms = used_ms;
    }
    return e;
}

static bool any_used(const struct cells *c)
{
    size_t at = 0;
    struct str name;
    void *k;
    while (map_next(&c->keys, &at, &name, &k))
        if (atomic_load_explicit(&((struct key_cell *)k)->used_ms, memory_order_relaxed) >
            ((struct key_cell *)k)->written_ms)
            return true;
    return false;
}

void cells_write_keys(struct cells *c, struct sql *db)
{
    size_t at = 0;
    struct str name;
    void *k;
    if (!any_used(c))
        return;
    enum err e = sql_begin(db, SQL_WRITE, NULL);
    if (!e)
        e = write_keys(c, db);
    if (!e)
        e = sql_commit(db, NULL);
    if (!e)
        return;
    sql_rollback(db);
    while (map_next(&c->keys, &at, &name, &k))
        ((struct key_cell *)k)->written_ms = 0; /* nothing of it is there: once more */
    log_event(LOG_WARN, "keys.use_not_written", LOG_CSTR("reason", err_text(e)));
}

void cells_each_channel(struct cells *c, void (*f)(struct channel_cell *, void *ctx), void *ctx)
{
    for (struct entry *e = atomic_load_explicit(&c->channels, memory_order_acquire); e; e = e->next)
        f(&e->cell, ctx);
}
