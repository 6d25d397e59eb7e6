/* route: changes to routes. */
#include "ops/route.h"

#include "ops/field.h"
#include "ops/step.h"
#include "store/repo_channel.h"
#include "store/repo_route.h"

static enum err resolve_one(struct ops *o, int64_t tenant, struct route_candidate *c,
                            struct err_info *info)
{
    struct channel_row row;
    enum err e = repo_channel_find(o->db, tenant, c->channel, o->arena, &row, info);
    if (e)
        return ops_explain(&thing_channel, c->channel, e, info);
    c->channel_id = row.row.id;
    if (c->priority != ROW_NULL && (c->priority < 0 || c->priority > 100))
        return err_set(info, ERR_INVALID, "--candidate '%.*s': want a priority from 0 to 100",
                       STR_FMT(c->channel));
    if (c->weight != ROW_NULL && (c->weight < 1 || c->weight > 1000))
        return err_set(info, ERR_INVALID, "--candidate '%.*s': want a weight from 1 to 1000",
                       STR_FMT(c->channel));
    if (c->upstream.n > 256)
        return err_set(info, ERR_INVALID, "--candidate '%.*s': the model is longer than 256",
                       STR_FMT(c->channel));
    return ERR_OK;
}

static enum err store_candidates(struct ops *o, int64_t tenant, int64_t route,
                                 struct route_change *c, struct err_info *info)
{
    enum err e = ERR_OK;
    if (!c->candidates_given)
        return ERR_OK;
    for (size_t i = 0; !e && i < c->n_candidates; i++)
        e = resolve_one(o, tenant, &c->candidates[i], info);
    if (!e)
        e = repo_route_set_candidates(o->db, tenant, route, c->candidates, c->n_candidates, info);
    if (e == ERR_EXISTS)
        err_set(info, e = ERR_INVALID, "--candidate: the same channel and model are given twice");
    return e;
}

enum err ops_route_add(struct ops *o, int64_t tenant, struct route_change *c, struct err_info *info)
{
    struct route_row *row = &c->row;
    enum err e = field_check_all(&thing_route, row, info);
    if (!e && !c->n_candidates)
        e = err_set(info, ERR_INVALID, "a route needs at least one --candidate CHANNEL");
    if (!e)
        e = ops_begin(o, info);
    if (e)
        return e;
    c->candidates_given = true;
    e = repo_route_add(o->db, tenant, row, info);
    if (e)
        ops_explain(&thing_route, row->name, e, info);
    else
        e = store_candidates(o, tenant, row->row.id, c, info);
    return ops_end(o, e, &(struct ops_step){&thing_route, "add", tenant, row->row.id, NULL, row},
                   info);
}

enum err ops_route_set(struct ops *o, int64_t tenant, struct str name, struct route_change *c,
                       struct err_info *info)
{
    struct route_row before = {0}, after = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_route_find(o->db, tenant, name, o->arena, &before, info);
    if (e)
        ops_explain(&thing_route, name, e, info);
    if (!e) {
        after = before;
        field_merge(&thing_route, &after, &c->row, c->given);
        e = field_check_all(&thing_route, &after, info);
    }
    if (!e) {
        e = repo_route_save(o->db, tenant, &after, info);
        if (e)
            ops_explain(&thing_route, after.name, e, info);
    }
    if (!e)
        e = store_candidates(o, tenant, after.row.id, c, info);
    c->row = after;
    return ops_end(
        o, e, &(struct ops_step){&thing_route, "set", tenant, after.row.id, &before, &after}, info);
}

enum err ops_route_remove(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct route_row before = {0};
    enum err e = ops_begin(o, info);
    if (e)
        return e;
    e = repo_route_find(o->db, tenant, name, o->arena, &before, info);
    if (!e)
        e = repo_route_remove(o->db, tenant, before.row.id, info);
    if (e)
        ops_explain(&thing_route, name, e, info);
    return ops_end(o, e,
                   &(struct ops_step){&thing_route, "remove", tenant, before.row.id, &before, NULL},
                   info);
}
