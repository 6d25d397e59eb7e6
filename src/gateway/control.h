/* control: the life of a serving process: start, watching the configuration, stop.
 *
 * Runs on the main thread, whose loop does nothing that blocks; rows are read by
 * the store thread. */
#ifndef LYSS_GATEWAY_CONTROL_H
#define LYSS_GATEWAY_CONTROL_H

#include "core/config.h"
#include "gateway/worker.h"

struct control;

/* Where the settings come from, for SIGHUP. */
struct settings_source {
    /* Fills *out anew; on failure nothing is left in it. On the store thread. */
    enum err (*load)(void *arg, struct config *out, struct err_info *info);
    void *arg;
};

struct control_options {
    struct config *config; /* taken, also on failure: zeroed */
    struct settings_source source;
    struct sql *db;      /* lyss.db; taken, also on failure */
    struct vault *vault; /* lent until control_free; its thread is the store thread from now on */
    bool demo;           /* add the built-in demo channel */
};

/* Claims the data directory (which exists), so that nothing of a server that runs there is touched.
 * ERR_CONFLICT: another process serves it. On failure *out still wants control_free. */
enum err control_new(struct control **out, const struct config *config,
                     struct err_info *info) MUST_CHECK;
/* Takes the port, starts the journal, the workers and the store thread. */
enum err control_start(struct control *c, const struct control_options *o,
                       struct err_info *info) MUST_CHECK;
/* The address that is served, as a URL; lent. */
const char *control_url(const struct control *c);
/* Serves until SIGTERM or SIGINT; then lets what is under way finish (drain.h), ends what is left
 * in-band and flushes the journal. A second signal ends the waiting. SIGHUP reads the settings
 * again. */
void control_run(struct control *c);
void control_free(struct control **c);

#endif
