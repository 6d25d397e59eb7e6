/* errand: messages to the worker that owns a datum, and back. */
#include "gateway/memory/errand.h"

#include <stddef.h>

static struct errand *of_message(struct message *m)
{
    return (struct errand *)((char *)m - offsetof(struct errand, m));
}

struct worker *errand_owner(const struct worker *w, uint64_t hash)
{
    const struct gateway *g = w->gateway;
    return g->workers[(hash >> 32) * g->settings.workers >> 32];
}

void errand_post(struct worker *to, struct message *m)
{
    if (to->gateway->stopped)
        m->run(m);
    else
        loop_post(to->loop, m);
}

static void on_there(struct message *m)
{
    struct errand *e = of_message(m);
    e->there(e);
}

static void on_back(struct message *m)
{
    struct errand *e = of_message(m);
    e->back(e);
}

bool errand_start(struct errand *e, struct worker *home, struct worker *owner,
                  void (*there)(struct errand *), void (*back)(struct errand *))
{
    e->home = home;
    e->owner = owner;
    e->there = there;
    e->back = back;
    e->starting = e->returned = false;
    if (owner != home) {
        e->m.run = on_there;
        errand_post(owner, &e->m);
        return false;
    }
    e->starting = true;
    there(e);
    e->starting = false;
    return e->returned;
}

void errand_return(struct errand *e)
{
    if (e->starting) {
        e->returned = true;
        return;
    }
    e->m.run = on_back;
    errand_post(e->home, &e->m);
}
