/* map: linear probing over a power of two, at most 3/4 full, backward-shift removal. */
#include "core/map.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/hash.h"

void map_init(struct map *m, size_t max_entries)
{
    *m = (struct map){.max = max_entries};
}

void map_release(struct map *m)
{
    mem_free(m->slots);
    map_init(m, m->max);
}

static struct map_slot *find(const struct map *m, struct str key, uint64_t h)
{
    size_t i = h & (m->cap - 1);
    while (m->slots[i].value && !(m->slots[i].hash == h && str_eq(m->slots[i].key, key)))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static enum err grow(struct map *m)
{
    struct map old = *m;
    size_t cap = old.cap ? old.cap * 2 : 16;
    struct map_slot *slots = mem_zalloc(cap * sizeof *slots);
    if (!slots)
        return ERR_NOMEM;
    m->slots = slots;
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value)
            *find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    mem_free(old.slots);
    return ERR_OK;
}

enum err map_put(struct map *m, struct str key, void *value)
{
    assert(value);
    uint64_t h = hash_str(key);
    if (m->cap) {
        struct map_slot *s = find(m, key, h);
        if (s->value) {
            s->key = key;
            s->value = value;
            return ERR_OK;
        }
    }
    if (m->count >= m->max)
        return ERR_TOO_BIG;
    if ((m->count + 1) * 4 > m->cap * 3) {
        enum err e = grow(m);
        if (e)
            return e;
    }
    *find(m, key, h) = (struct map_slot){key, value, h};
    m->count++;
    return ERR_OK;
}

void *map_get(const struct map *m, struct str key)
{
    return m->count ? find(m, key, hash_str(key))->value : NULL;
}

void *map_remove(struct map *m, struct str key)
{
    if (!m->count)
        return NULL;
    struct map_slot *s = find(m, key, hash_str(key));
    void *value = s->value;
    if (!value)
        return NULL;
    size_t mask = m->cap - 1, hole = (size_t)(s - m->slots), i = hole;
    for (;;) {
        i = (i + 1) & mask;
        if (!m->slots[i].value)
            break;
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value)
{
    while (*at < m->cap) {
        const struct map_slot *s = &m->slots[(*at)++];
        if (s->value) {
            *key = s->key;
            *value = s->value;
            return true;
        }
    }
    return false;
}
