/* cmd_migrate: lyss migrate: both databases brought up to date, or what that would do. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/frame.h"
#include "core/json_write.h"
#include "ops/ops.h"

static const struct {
    const struct migration_set *set;
    const char *file;
    enum sql_role role;
} databases[] = {{&migrations_lyss, "lyss.db", SQL_CONFIG},
                 {&migrations_ledger, "ledger.db", SQL_LEDGER}};

/* How many steps are in: 0 when the file is not there. run: takes those to come. */
static enum err migrate_one(const struct config *c, size_t i, bool run, size_t *from,
                            struct err_info *info)
{
    char path[OPS_PATH_MAX];
    struct sql *db = NULL;
    *from = 0;
    enum err e = ops_path(c, databases[i].file, path, info);
    if (e || (!run && access(path, F_OK)))
        return e;
    e = sql_open(&sql_sqlite, path, databases[i].role, &db, info);
    if (!e)
        e = migrate_plan(db, databases[i].set, from, info);
    if (!e && run)
        e = migrate_run(db, databases[i].set, NULL, info);
    if (db)
        sql_close(&db);
    return e;
}

static void put_step(struct buf *out, struct json_writer *w, bool json, size_t i, size_t step)
{
    const struct migration_set *set = databases[i].set;
    if (!json) {
        buf_printf(out, "%s: %s\n", databases[i].file, set->steps[step].name);
        return;
    }
    json_open_object(w);
    json_field_string(w, "database", str_c(databases[i].file));
    json_field_string(w, "step", str_c(set->steps[step].name));
    json_close_object(w);
}

static enum err migrate_both(struct frame *f)
{
    const struct args *a = &f->args;
    struct config *c = &f->config;
    struct buf *out = &f->out;
    struct err_info *info = &f->info;
    struct json_writer w;
    size_t steps = 0;
    bool plan = args_has(a, "plan");
    if (a->n_words)
        return err_set(info, ERR_INVALID, "migrate takes no words");
    json_writer_init(&w, out);
    if (a->json)
        json_open_array(&w);
    enum err e = plan ? ERR_OK : ops_data_dir(c, info);
    for (size_t i = 0; !e && i < sizeof databases / sizeof *databases; i++) {
        size_t from;
        e = migrate_one(c, i, !plan, &from, info);
        for (size_t k = from; !e && k < databases[i].set->n; k++, steps++)
            put_step(out, &w, a->json, i, k);
    }
    if (a->json && !e)
        json_close_array(&w), buf_char(out, '\n');
    if (!a->json)
        buf_printf(out, steps ? "%zu step%s %s\n" : "nothing to do\n", steps, steps == 1 ? "" : "s",
                   plan ? "to come: run lyss migrate" : "done");
    return e;
}

int cmd_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"plan", NULL, "only list the steps to come"}, {0}};
    static const struct command command = {
        .name = "migrate",
        .usage = "lyss migrate: bring the databases up to date; serve and dev do so "
                 "by themselves\n\nUsage:\n  lyss migrate [--plan] [flags]\n",
        .examples = "  lyss migrate --plan\n  lyss migrate --data /var/lib/lyss\n",
        .options = options,
        .run = migrate_both,
    };
    return frame_run(&command, argc, argv);
}
