/* route: add, set and remove routes. */
#include "ops/route.h"

#include "ops/change.h"
#include "store/repo_channel.h"
#include "store/repo_route.h"

static enum err part(struct str text, struct str name, int64_t hi, int64_t *out, bool *is,
                     struct err_info *info)
{
    uint64_t v;
    *is = str_starts(text, name);
    if (!*is)
        return ERR_OK;
    if (!str_u64(str_from(text, name.n), (uint64_t)hi, &v))
        return field_set(info, "channel", ERR_INVALID, "\"%.*s\": expected a number up to %lld",
                         (int)(text.n < 60 ? text.n : 60), text.p, (long long)hi);
    *out = (int64_t)v;
    return ERR_OK;
}

enum err route_candidate_parse(struct str text, struct route_candidate *out, struct err_info *info)
{
    struct str rest = text, word, upstream;
    *out = (struct route_candidate){.priority = ROW_NULL, .weight = ROW_NULL};
    str_split(&rest, ',', &word);
    upstream = word;
    str_split(&upstream, '=', &out->channel);
    out->upstream = upstream.p ? upstream : STR("");
    while (str_split(&rest, ',', &word)) {
        bool is = false;
        enum err e = part(word, STR("priority="), 100, &out->priority, &is, info);
        if (!e && !is)
            e = part(word, STR("weight="), 1000, &out->weight, &is, info);
        if (!e && (!is || out->weight == 0))
            e = field_set(info, "channel", ERR_INVALID,
                          "\"%.*s\": expected NAME[=UPSTREAM][,priority=0…100][,weight=1…1000]",
                          (int)(text.n < 80 ? text.n : 80), text.p);
        if (e)
            return e;
    }
    return ERR_OK;
}

enum err ops_route_find(struct ops *o, int64_t tenant, struct str name, struct arena *a,
                        struct route_row *row, struct err_info *info)
{
    enum err e = change_missing(&thing_route, name,
                                repo_route_find(o->db, tenant, name, a, row, info), info);
    return e ? e : repo_route_load_candidates(o->db, tenant, a, row, 1, info);
}

enum err ops_route_list(struct ops *o, int64_t tenant, struct arena *a, struct route_row **rows,
                        size_t *n, struct err_info *info)
{
    enum err e = repo_route_list(o->db, tenant, a, rows, n, info);
    return e ? e : repo_route_load_candidates(o->db, tenant, a, *rows, *n, info);
}

/* Copies the candidates with the ids of their channels, which must be the tenant's. */
static enum err find_channels(struct change *c, int64_t tenant, const struct route_request *req,
                              struct route_candidate **out)
{
    if (!req->n_candidates || req->n_candidates > ROUTE_CANDIDATES_MAX)
        return field_set(c->info, "channel", ERR_INVALID, "a route has 1 to %d channels",
                         ROUTE_CANDIDATES_MAX);
    struct route_candidate *all = arena_alloc(&c->arena, req->n_candidates * sizeof *all);
    if (!all)
        return ERR_NOMEM;
    memcpy(all, req->candidates, req->n_candidates * sizeof *all);
    for (size_t i = 0; i < req->n_candidates; i++) {
        struct channel_row channel;
        enum err e =
            repo_channel_find(c->ops->db, tenant, all[i].channel, &c->arena, &channel, c->info);
        if (e == ERR_NOT_FOUND)
            return field_set(c->info, "channel", e, "there is no channel \"%.*s\"",
                             (int)(all[i].channel.n < 100 ? all[i].channel.n : 100),
                             all[i].channel.n ? all[i].channel.p : "");
        if (e)
            return e;
        int64_t priority = all[i].priority, weight = all[i].weight;
        if ((priority != ROW_NULL && (priority < 0 || priority > 100)) ||
            (weight != ROW_NULL && (weight < 1 || weight > 1000)))
            return field_set(c->info, "channel", ERR_INVALID,
                             "channel %.*s: priority goes from 0 to 100, weight from 1 to 1000",
                             STR_FMT(channel.name));
        if (all[i].upstream.n && !model_name_ok(all[i].upstream, false))
            return field_set(c->info, "channel", ERR_INVALID,
                             "channel %.*s: the upstream's model name will not do",
                             STR_FMT(channel.name));
        all[i].channel_id = channel.row.id;
    }
    *out = all;
    return ERR_OK;
}

static enum err save_candidates(struct change *c, int64_t tenant, int64_t route,
                                const struct route_request *req)
{
    struct route_candidate *all;
    enum err e = find_channels(c, tenant, req, &all);
    if (!e)
        e = repo_route_set_candidates(c->ops->db, tenant, route, all, req->n_candidates, c->info);
    if (e == ERR_EXISTS)
        field_set(c->info, "channel", ERR_INVALID, "a channel is given twice");
    return e == ERR_EXISTS ? ERR_INVALID : e;
}

/* Ends a change with the route as it is now, candidates included, in the audit. */
static enum err end_with(struct change *c, enum err e, const char *action, int64_t tenant,
                         int64_t id)
{
    struct route_row row = {0};
    if (!e)
        e = repo_route_get(c->ops->db, tenant, id, &c->arena, &row, c->info);
    if (!e)
        e = repo_route_load_candidates(c->ops->db, tenant, &c->arena, &row, 1, c->info);
    return change_end(c, e, action, id, &row);
}

enum err ops_route_add(struct ops *o, int64_t tenant, struct route_request *req, struct arena *a,
                       struct err_info *info)
{
    struct route_row *row = &req->row;
    enum err e = row_complete(&thing_route, row, req->set, 0, a, info);
    if (e)
        return e;
    struct change c;
    e = change_begin(&c, o, &thing_route, tenant, info);
    if (!e)
        e = change_exists(&thing_route, row, repo_route_add(o->db, tenant, row, info), info);
    if (!e)
        e = save_candidates(&c, tenant, row->row.id, req);
    return end_with(&c, e, "add", tenant, row->row.id);
}

enum err ops_route_set(struct ops *o, int64_t tenant, struct str name,
                       const struct route_request *req, struct err_info *info)
{
    struct change c;
    struct route_row row = {0};
    enum err e = change_begin(&c, o, &thing_route, tenant, info);
    if (!e)
        e = ops_route_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = row_merge(&thing_route, &row, &req->row, req->set, info);
    }
    if (!e)
        e = change_exists(&thing_route, &row, repo_route_save(o->db, tenant, &row, info), info);
    if (!e && req->set_candidates)
        e = save_candidates(&c, tenant, row.row.id, req);
    return end_with(&c, e, "set", tenant, row.row.id);
}

enum err ops_route_remove(struct ops *o, int64_t tenant, struct str name, struct err_info *info)
{
    struct change c;
    struct route_row row = {0};
    enum err e = change_begin(&c, o, &thing_route, tenant, info);
    if (!e)
        e = ops_route_find(o, tenant, name, &c.arena, &row, info);
    if (!e) {
        change_before(&c, &row);
        e = repo_route_remove(o->db, tenant, row.row.id, info);
    }
    return change_end(&c, e, "rm", row.row.id, NULL);
}
