/* store: the thread that owns the connection to the configuration database.
 *
 * Loops never wait for SQL: they submit a job, which the store thread runs with
 * its connection, and get it back by a message on their own loop.  The queue has
 * a maximum.  The thread (lyss-store, nice 5) also watches config_rev, so that
 * changes made by any process are seen. */
#ifndef LYSS_STORE_STORE_H
#define LYSS_STORE_STORE_H

#include "net/loop.h"
#include "store/sql.h"

struct store;

/* Embedded in what it is about; in place from store_submit until done has been called. */
struct store_job {
    struct message message_; /* brings it home */
    struct store_job *next_;
    struct loop *home; /* where done runs; NULL: done runs on the store thread */
    void (*run)(struct store_job *job, struct sql *db); /* on the store thread */
    void (*done)(struct store_job *job);                /* frees or reuses the job; may be NULL */
};

struct store_options {
    size_t queue_max; /* jobs waiting; 0: 256 */
    int64_t watch_ms; /* how often config_rev is read; 0: never */
    /* On the store thread, at start and whenever config_rev is another. May be NULL. */
    void (*changed)(void *arg, struct sql *db, int64_t rev);
    /* On the store thread, when reading config_rev begins or ceases to fail. May be NULL. */
    void (*health)(void *arg, enum err e);
    /* On the store thread, each minute, and once more before the connection closes. May be NULL. */
    void (*each_minute)(void *arg, struct sql *db);
    void *arg;
};

/* Takes db (also on failure). ERR_NOMEM, ERR_INTERNAL. */
enum err store_open(struct store **out, struct sql *db, const struct store_options *o,
                    struct err_info *info) MUST_CHECK;
/* From any thread. ERR_AGAIN: the queue is full, or the store is closing; the job stays the
 * caller's and done is not called. */
enum err store_submit(struct store *s, struct store_job *job) MUST_CHECK;
/* Runs what is queued, ends the thread, closes the connection. Homes must still be able to take
 * messages. Not from the store thread. */
void store_close(struct store **s);

#endif
