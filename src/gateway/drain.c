/* drain: what is under way when Lyss is asked to stop gets the time to end by itself. */
#include "gateway/drain.h"

#include "gateway/worker.h"

#define QUIET_MS      500
#define ACCEPT_MAX_MS 5000
#define LAST_HEAD_MS  100 /* for a connection accepted last to say what it wants */

/* ---- on the worker's thread -------------------------------------------------------------- */

static void on_look(struct message *m)
{
    struct drain_seat *seat = (struct drain_seat *)m;
    struct worker *w = seat->worker;
    uint8_t stage = atomic_load(&seat->wanted);
    if (stage >= DRAIN_ANNOUNCE)
        http_server_end_keep_alive(&w->server);
    if (stage >= DRAIN_REFUSE)
        tcp_listener_close(&w->listener);
    if (stage >= DRAIN_FINISH)
        http_server_close_idle(&w->server);
    atomic_store(&seat->left, w->server.count + w->requests_n);
    atomic_store(&seat->reached, stage);
    atomic_store(&seat->asked, false);
}

/* ---- on the control thread ---------------------------------------------------------------- */

/* Asks every worker again. What they said last: false while one has not come this far. */
static bool all_done(struct drain *d)
{
    bool done = true;
    for (unsigned i = 0; i < d->gateway->settings.workers; i++) {
        struct worker *w = d->gateway->workers[i];
        struct drain_seat *seat = &w->drain;
        bool asked = atomic_load(&seat->asked);
        done &= !asked && atomic_load(&seat->reached) == d->stage && !atomic_load(&seat->left);
        if (asked)
            continue;
        seat->worker = w;
        seat->m.run = on_look;
        atomic_store(&seat->wanted, (uint8_t)d->stage);
        atomic_store(&seat->asked, true);
        loop_post(w->loop, &seat->m);
    }
    return done;
}

static uint64_t accepted(const struct gateway *g)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < g->settings.workers; i++)
        n += counter_read(&g->workers[i]->metrics.accepted);
    return n;
}

static void enter(struct drain *d, enum drain_stage stage, uint64_t now_ms)
{
    d->stage = stage;
    d->stage_ms = now_ms;
}

void drain_start(struct drain *d, struct gateway *g, uint64_t now_ms, uint64_t timeout_ms)
{
    *d = (struct drain){.gateway = g,
                        .began_ms = now_ms,
                        .until_ms = now_ms + timeout_ms,
                        .quiet_ms = now_ms,
                        .accepted = accepted(g)};
    enter(d, DRAIN_ANNOUNCE, now_ms);
    (void)!all_done(d);
}

bool drain_step(struct drain *d, uint64_t now_ms)
{
    uint64_t n = accepted(d->gateway);
    if (n != d->accepted)
        d->quiet_ms = now_ms;
    d->accepted = n;
    if (d->stage == DRAIN_ANNOUNCE &&
        (now_ms - d->quiet_ms >= QUIET_MS || now_ms - d->began_ms >= ACCEPT_MAX_MS))
        enter(d, DRAIN_REFUSE, now_ms);
    else if (d->stage == DRAIN_REFUSE && now_ms - d->stage_ms >= LAST_HEAD_MS)
        enter(d, DRAIN_FINISH, now_ms);
    bool done = all_done(d);
    return now_ms >= d->until_ms || (d->stage == DRAIN_FINISH && done);
}
