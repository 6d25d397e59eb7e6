/* hold: a reply's end is marked with the last record of its turn, in which its request was settled,
 * and sent once the journal's thread has that one on the disk. The thread is asked rather than let
 * call: at most every slot of the deadlines' wheel, and only while ends wait. */
#include "gateway/hold.h"

static void look(struct worker *w);

static void on_look(struct deadline *d)
{
    look((struct worker *)((char *)d - offsetof(struct worker, hold_look)));
}

static void look(struct worker *w)
{
    if (http_server_send_held(&w->server, journal_synced(w->ring)) &&
        !deadline_armed(&w->hold_look))
        deadline_set(w->loop, &w->hold_look, loop_now_ms(w->loop) + 1, on_look);
}

static void on_turn_end(struct message *m)
{
    struct worker *w = (struct worker *)((char *)m - offsetof(struct worker, hold_turn));
    w->hold_pending = false;
    http_server_mark_held(&w->server, journal_mark(w->ring));
    look(w);
}

static void on_held(struct http_server *s)
{
    struct worker *w = s->user;
    if (w->hold_pending)
        return;
    w->hold_pending = true;
    w->hold_turn.run = on_turn_end;
    loop_defer(w->loop, &w->hold_turn);
}

void hold_init(struct worker *w)
{
    if (w->settings.sync_always)
        w->server.held = on_held;
}

void hold_stop(struct worker *w)
{
    deadline_clear(&w->hold_look);
}
