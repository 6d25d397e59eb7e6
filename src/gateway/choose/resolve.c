/* resolve: one look-up of key and route for all phases of a turn. */
#include "gateway/choose/resolve.h"

#include "gateway/request.h"

const struct resolved *resolve(struct request *r)
{
    struct worker *w = r->worker;
    struct resolved *v = &w->resolved;
    struct str model = r->plan->model;
    /* By id, not by address: another request may lie where one was freed, and its name as well. */
    if (v->in == w->snapshot && v->model.p == model.p && v->model.n == model.n &&
        !memcmp(v->request_id, r->id, sizeof r->id))
        return v;
    memcpy(v->request_id, r->id, sizeof r->id);
    v->in = w->snapshot;
    v->model = model;
    v->key = snapshot_key(w->snapshot, r->plan->key_digest);
    v->found = v->key && snapshot_route(v->key->tenant, model, &v->route, v->scratch);
    return v;
}

void resolve_forget(struct worker *w)
{
    w->resolved.in = NULL;
}
