/* loop: one event loop per thread: descriptors, deadlines, and messages from other threads.
 *
 * A loop belongs to the thread that runs it; only loop_post and loop_stop may
 * be called from others.  No callback runs before the call that started it has
 * returned, and none after the matching stop or close. */
#ifndef LYSS_NET_LOOP_H
#define LYSS_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct loop;

/* NULL on lack of memory. name: the thread's name for logs (copied). */
struct loop *loop_new(const char *name);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
/* From any thread: makes loop_run return after the current turn. */
void loop_stop(struct loop *l);
/* After loop_run has returned and everything on it is closed. */
void loop_free(struct loop **l);
/* Milliseconds of the monotonic clock at the start of this turn (core/clock, cached). */
uint64_t loop_now_ms(const struct loop *l);
/* Counts the turns. */
uint64_t loop_turn(const struct loop *l);
const char *loop_name(const struct loop *l);
/* Longest turn since the last call, in ms; any thread. */
uint64_t loop_stall_max_ms(struct loop *l);

/* ---- descriptors ---------------------------------------------------- */
enum { IO_READ = 1, IO_WRITE = 2 };

/* Embedded in its owner; must stay in place from io_open until the io_close callback. */
struct io {
    union {
        void (*on_ready)(struct io *io, int events); /* while it is open */
        void (*on_closed)(struct io *io);
    };
    int fd;
    uint8_t events;
    uint8_t open;
    /* 160 bytes of the event library's handle. */
    uint64_t handle_[20];
};

/* Starts watching fd (non-blocking) for events. The descriptor stays the caller's. */
enum err io_open(struct io *io, struct loop *l, int fd, int events,
                 void (*on_ready)(struct io *, int)) MUST_CHECK;
/* Changes what is watched; cheap when nothing changes; 0 pauses. */
void io_want(struct io *io, int events);
/* Stops at once; on_closed (may be NULL) runs later on the loop, then the memory may go.
 * The caller closes the descriptor right after this call. */
void io_close(struct io *io, void (*on_closed)(struct io *));
struct loop *io_loop(const struct io *io);

/* ---- deadlines: a coarse wheel, 20 ms a slot ------------------------- */
struct deadline {
    struct deadline *next, **prev;
    void (*fire)(struct deadline *d);
    uint64_t due_ms;
};

/* Fires once, not before due_ms (loop_now_ms scale) and at most about 40 ms after it. Setting an
 * armed deadline moves it. */
void deadline_set(struct loop *l, struct deadline *d, uint64_t due_ms,
                  void (*fire)(struct deadline *));
void deadline_clear(struct deadline *d);
static inline bool deadline_armed(const struct deadline *d)
{
    return d->prev != NULL;
}

/* ---- messages --------------------------------------------------------- */
struct message {
    struct message *next;
    void (*run)(struct message *m); /* on the receiving loop; frees or reuses m */
};

/* From any thread; takes m until run is called. Messages of one sender arrive in order. Messages
 * posted after the loop has stopped are run by loop_free. */
void loop_post(struct loop *l, struct message *m);
/* On the loop: run once at the end of this turn (before it sleeps). For work that must not happen
 * inside the current callback. */
void loop_defer(struct loop *l, struct message *m);

/* ---- costly steps ------------------------------------------------------- */
enum { LOOP_STEPS_A_TURN = 2, LOOP_STEPS_MAX = 1024 };

/* A step that takes long, such as one of a TLS handshake: of these only so many are made in a turn,
 * so that a rush of them delays the others' bytes little. Embedded in its owner, zero at first. */
struct costly {
    struct costly *next, **prev; /* prev NULL: it does not wait */
    void (*run)(struct costly *c);
};

/* Runs c now, or where the turn has had its share, on a later turn, in order. False: as many wait
 * as may, and it must not be `due` all the same; it does not run. */
bool costly_run(struct loop *l, struct costly *c, bool due,
                void (*run)(struct costly *)) MUST_CHECK;
static inline bool costly_waits(const struct costly *c)
{
    return c->prev != NULL;
}
/* Waits no longer; harmless when it did not. */
void costly_drop(struct loop *l, struct costly *c);

#endif
