/* map: string → pointer, open addressing, with a maximum number of entries.
 *
 * Owned by one thread, or immutable once built and then readable by all.  Keys
 * are borrowed: they must live as long as the entry. */
#ifndef LYSS_CORE_MAP_H
#define LYSS_CORE_MAP_H

#include "core/err.h"

struct map_slot {
    struct str key;
    void *value;
    uint64_t hash;
};

struct map {
    struct map_slot *slots;
    size_t count, cap, max;
};

void map_init(struct map *m, size_t max_entries);
void map_release(struct map *m);
/* Replaces the value of an equal key. ERR_TOO_BIG at the maximum, ERR_NOMEM. value is not NULL. */
enum err map_put(struct map *m, struct str key, void *value) MUST_CHECK;
void *map_get(const struct map *m, struct str key);
/* Returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);
/* Iterates: start with *at = 0; false at the end. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);

#endif
