/* http_warm: a look every other second at the origins that were called of late. A connection is
 * made where there are too few, whether they went idle for too long or the upstream closed them;
 * the gap between two is there for upstreams that close, or refuse, at once. */
#include "net/http_warm.h"

#define LOOK_MS 2000

static void on_look(struct deadline *d)
{
    struct http_client *c =
        (struct http_client *)((char *)d - offsetof(struct http_client, warm_look));
    uint64_t now_ms = loop_now_ms(c->loop);
    struct http_origin **at = &c->warm, *o;
    while ((o = *at)) {
        if (now_ms - o->used_ms >= HTTP_WARM_MS && !o->warming) {
            *at = o->warm_next;
            o->warm = false;
            continue;
        }
        if (o->open_n < c->warm_n && now_ms - o->connect_at_ms >= HTTP_WARM_GAP_MS)
            o->warming = http_upstream_new(c, o);
        at = &o->warm_next;
    }
    if (c->warm)
        deadline_set(c->loop, d, now_ms + LOOK_MS, on_look);
}

void http_warm_touch(struct http_client *c, struct http_origin *o)
{
    o->used_ms = loop_now_ms(c->loop);
    if (o->warm || !c->warm_n || o->open)
        return;
    o->warm = true;
    o->warm_next = c->warm;
    c->warm = o;
    if (!deadline_armed(&c->warm_look))
        deadline_set(c->loop, &c->warm_look, o->used_ms + LOOK_MS, on_look);
}

void http_warm_stop(struct http_client *c)
{
    deadline_clear(&c->warm_look);
    for (struct http_origin *o; (o = c->warm); c->warm = o->warm_next) {
        o->warm = false;
        if (o->warming)
            http_upstream_close(o->warming);
    }
}
