/* change: the frame around every change, so that none forgets its audit row or the revision. */
#include "ops/change.h"

#include "store/repo_meta.h"

enum { AUDIT_BYTES_MAX = 1 << 20 };

enum err change_begin(struct change *c, struct ops *o, const struct thing *t, int64_t tenant,
                      struct err_info *info)
{
    *c = (struct change){.ops = o, .thing = t, .tenant = tenant, .info = info};
    arena_init(&c->arena, OPS_ARENA_BYTES);
    buf_init(&c->before, AUDIT_BYTES_MAX);
    enum err e = sql_begin(o->db, SQL_WRITE, info);
    c->begun = !e;
    return e;
}

static void channel_parts(const struct channel_row *row, struct json_writer *w)
{
    json_key(w, STR("models"));
    json_open_object(w);
    for (size_t i = 0; i < row->n_models; i++) {
        json_key(w, row->models[i].pattern);
        json_put_string(w, row->models[i].upstream);
    }
    json_close_object(w);
    json_key(w, STR("credentials"));
    json_open_array(w);
    for (size_t i = 0; i < row->n_credentials; i++)
        json_put_string(w, row->credentials[i].fingerprint);
    json_close_array(w);
}

static void route_parts(const struct route_row *row, struct json_writer *w)
{
    json_key(w, STR("channels"));
    json_open_array(w);
    for (size_t i = 0; i < row->n_candidates; i++) {
        const struct route_candidate *k = &row->candidates[i];
        json_open_object(w);
        json_field_string(w, "channel", k->channel);
        json_field_string(w, "upstream", k->upstream);
        if (k->priority != ROW_NULL)
            json_field_i64(w, "priority", k->priority);
        if (k->weight != ROW_NULL)
            json_field_i64(w, "weight", k->weight);
        json_close_object(w);
    }
    json_close_array(w);
}

/* What the audit keeps of a row: all columns but header_overrides, which may carry secrets, and of
 * credentials the fingerprints. */
static void audit_json(const struct thing *t, const void *row, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    for (size_t i = 0; i < t->n; i++) {
        const struct column *col = &t->columns[i];
        if (col->type == COLUMN_BLOB)
            continue;
        json_key(&w, str_c(col->name));
        if (t == &thing_channel && str_eq(str_c(col->name), STR("header_overrides")))
            json_put_string(&w, row_text(row, col)->n ? STR("(set)") : STR(""));
        else
            column_json(col, row, &w);
    }
    if (t == &thing_channel)
        channel_parts(row, &w);
    else if (t == &thing_route)
        route_parts(row, &w);
    json_close_object(&w);
}

void change_before(struct change *c, const void *row)
{
    buf_reset(&c->before);
    audit_json(c->thing, row, &c->before);
}

enum err change_audit(struct change *c, const struct thing *t, const char *action, int64_t id,
                      const void *after)
{
    struct buf json;
    buf_init(&json, AUDIT_BYTES_MAX);
    if (after)
        audit_json(t, after, &json);
    struct audit_entry entry = {.actor = c->ops->actor,
                                .action = str_c(action),
                                .thing = str_c(t->name),
                                .thing_id = id,
                                .before = buf_view(&c->before),
                                .after = buf_view(&json)};
    enum err e = buf_failed(&json) || buf_failed(&c->before)
                     ? ERR_NOMEM
                     : repo_audit_add(c->ops->db, c->tenant, &entry, c->info);
    buf_release(&json);
    buf_reset(&c->before);
    return e;
}

enum err change_end(struct change *c, enum err e, const char *action, int64_t id, const void *after)
{
    if (!e)
        e = change_audit(c, c->thing, action, id, after);
    if (!e)
        e = repo_meta_bump_config_rev(c->ops->db, c->info);
    if (!e && arena_failed(&c->arena))
        e = ERR_NOMEM;
    if (!e)
        e = sql_commit(c->ops->db, c->info);
    if (e && c->begun)
        sql_rollback(c->ops->db);
    buf_release(&c->before);
    arena_release(&c->arena);
    return e;
}

enum err change_missing(const struct thing *t, struct str name, enum err e, struct err_info *info)
{
    if (e != ERR_NOT_FOUND)
        return e;
    return field_set(info, column_of_name(t)->name, e, "there is no %s \"%.*s\"", t->name,
                     (int)(name.n < 100 ? name.n : 100), name.n ? name.p : "");
}

enum err change_exists(const struct thing *t, const void *row, enum err e, struct err_info *info)
{
    const struct column *c = column_of_name(t);
    struct str name = *row_text(row, c);
    if (e != ERR_EXISTS)
        return e;
    return field_set(info, c->name, e, "there is already a %s \"%.*s\"", t->name,
                     (int)(name.n < 100 ? name.n : 100), name.n ? name.p : "");
}
