/* catalogues: what is known of models, as models_file changes while Lyss serves.
 *
 * Requests, snapshots and prices lend from a catalogue, so one that has been replaced stays until
 * the process ends; how many there may be is bounded. The control thread's, then the store
 * thread's. */
#ifndef LYSS_GATEWAY_CATALOGUES_H
#define LYSS_GATEWAY_CATALOGUES_H

#include <sys/stat.h>

#include "llm/model_catalogue.h"

enum { CATALOGUES_MAX = 256 };

struct catalogues {
    struct model_catalogue *all[CATALOGUES_MAX];
    unsigned n;
    struct stat file; /* of the newest */
};

/* The catalogue with the file at path laid over it; path empty: what is built in. The one of the
 * last call when the file has not changed. ERR_CONFLICT: it has changed too often for one process;
 * else as model_catalogue_open. */
enum err catalogues_open(struct catalogues *c, const char *path, const struct model_catalogue **out,
                         struct err_info *info) MUST_CHECK;
void catalogues_release(struct catalogues *c);

#endif
