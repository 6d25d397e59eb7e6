/* step: what all changes have in common. */
#include "ops/step.h"

#include "ops/field.h"
#include "store/repo_meta.h"

#define AUDIT_MAX (64 << 10)

enum err ops_begin(struct ops *o, struct err_info *info)
{
    return sql_begin(o->db, SQL_WRITE, info);
}

static void row_json(const struct thing *t, const void *row, struct buf *out)
{
    struct json_writer w;
    buf_init(out, AUDIT_MAX);
    if (!row)
        return;
    json_writer_init(&w, out);
    field_json_open(t, row, &w);
    json_close_object(&w);
}

static enum err audit(struct ops *o, const struct ops_step *step, struct err_info *info)
{
    struct buf before, after;
    row_json(step->thing, step->before, &before);
    row_json(step->thing, step->after, &after);
    struct audit_entry entry = {.actor = o->actor,
                                .action = str_c(step->action),
                                .thing = str_c(step->thing->name),
                                .thing_id = step->id,
                                .before = buf_view(&before),
                                .after = buf_view(&after)};
    enum err e = buf_failed(&before) || buf_failed(&after)
                     ? ERR_NOMEM
                     : repo_audit_add(o->db, step->tenant, &entry, info);
    buf_release(&before);
    buf_release(&after);
    return e;
}

enum err ops_end(struct ops *o, enum err e, const struct ops_step *step, struct err_info *info)
{
    if (!e)
        e = audit(o, step, info);
    if (!e)
        e = repo_meta_bump_config_rev(o->db, info);
    if (!e)
        return sql_commit(o->db, info);
    sql_rollback(o->db);
    return e;
}

enum err ops_explain(const struct thing *t, struct str name, enum err e, struct err_info *info)
{
    int n = (int)(name.n > 100 ? 100 : name.n);
    switch (e) {
    case ERR_NOT_FOUND:
        return err_set(info, e, "there is no %s '%.*s'; see: lyss %s list", t->name, n, name.p,
                       t->name);
    case ERR_EXISTS:
        return err_set(info, e, "there is a %s '%.*s' already; change it with: lyss %s set",
                       t->name, n, name.p, t->name);
    case ERR_CONFLICT:
        return err_set(info, e,
                       "the %s '%.*s' is still used by something else, or names what is "
                       "not there",
                       t->name, n, name.p);
    default:
        return e;
    }
}
