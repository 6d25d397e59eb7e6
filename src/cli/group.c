/* group: the one way that all commands about things go. */
#include "cli/group.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/choose.h"
#include "cli/help.h"
#include "cli/print.h"
#include "core/clock.h"
#include "ops/column.h"

/* ---- output ---------------------------------------------------------------- */

static void put_row(struct call *c, const void *row, struct json_writer *w)
{
    const struct row *base = row;
    char iso[25];
    json_open_object(w);
    row_json(c->group->thing, row, w);
    if (c->group->json)
        c->group->json(c, row, w);
    clock_iso(base->created_ms, iso);
    json_field_string(w, "created", str_c(iso));
    clock_iso(base->updated_ms, iso);
    json_field_string(w, "updated", str_c(iso));
    json_close_object(w);
}

void group_done(struct call *c, const void *row, const char *done)
{
    struct json_writer w;
    const struct column *name = column_of_name(c->group->thing);
    if (!c->args.json) {
        buf_printf(&c->out, "%s \"%.*s\" %s\n", c->group->thing->name,
                   STR_FMT(*row_text(row, name)), done);
        return;
    }
    json_writer_init(&w, &c->out);
    put_row(c, row, &w);
    buf_char(&c->out, '\n');
}

void group_removed(struct call *c)
{
    struct json_writer w;
    if (!c->args.json) {
        buf_printf(&c->out, "%s \"%.*s\" %s\n", c->group->thing->name, STR_FMT(c->name),
                   c->group->thing == &thing_key ? "revoked" : "removed");
        return;
    }
    json_writer_init(&w, &c->out);
    json_open_object(&w);
    json_field_string(&w, "removed", c->name);
    json_close_object(&w);
    buf_char(&c->out, '\n');
}

static void cell_text(struct call *c, struct str word, const void *row, struct buf *out)
{
    const struct column *column = thing_column(c->group->thing, word);
    buf_reset(out);
    if (column)
        column_show(column, row, out);
    else
        c->group->cell(c, word, row, out);
}

void group_list(struct call *c, const void *rows, size_t n)
{
    const struct thing *t = c->group->thing;
    const char *at = rows;
    struct json_writer w;
    if (c->args.json) {
        json_writer_init(&w, &c->out);
        json_open_array(&w);
        for (size_t i = 0; i < n; i++)
            put_row(c, at + i * t->row_bytes, &w);
        json_close_array(&w);
        buf_char(&c->out, '\n');
        return;
    }
    struct table table;
    struct buf text;
    struct str rest = str_c(c->group->table_columns), word;
    size_t columns = 0;
    while (str_split(&rest, ' ', &word))
        columns++;
    table_init(&table, columns);
    buf_init(&text, 1 << 20);
    rest = str_c(c->group->table_columns);
    for (size_t k = 0; str_split(&rest, ' ', &word); k++) {
        const struct column *column = thing_column(t, word);
        table.right[k] = column && (column->type == COLUMN_INT || column->type == COLUMN_OPT);
        table_cell(&table, word);
    }
    for (size_t i = 0; i < n; i++) {
        rest = str_c(c->group->table_columns);
        while (str_split(&rest, ' ', &word)) {
            cell_text(c, word, at + i * t->row_bytes, &text);
            table_cell(&table, buf_view(&text));
        }
    }
    buf_release(&text);
    table_end(&table, &c->out);
}

void group_show(struct call *c, const void *row)
{
    const struct thing *t = c->group->thing;
    struct json_writer w;
    struct table table;
    struct buf text;
    if (c->args.json) {
        json_writer_init(&w, &c->out);
        put_row(c, row, &w);
        buf_char(&c->out, '\n');
        return;
    }
    table_init(&table, 2);
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < t->n; i++) {
        if (t->columns[i].type == COLUMN_BLOB)
            continue;
        table_cell(&table, str_c(t->columns[i].name));
        cell_text(c, str_c(t->columns[i].name), row, &text);
        table_cell(&table, buf_view(&text));
    }
    struct str rest = str_c(c->group->table_columns), word;
    while (str_split(&rest, ' ', &word)) {
        if (thing_column(t, word))
            continue;
        table_cell(&table, word);
        cell_text(c, word, row, &text);
        table_cell(&table, buf_view(&text));
    }
    buf_release(&text);
    table_end(&table, &c->out);
}

/* ---- the way --------------------------------------------------------------- */

enum err group_take_name(struct call *c)
{
    const struct column *name = column_of_name(c->group->thing);
    uint64_t bit = column_bit(c->group->thing, name);
    if (c->args.set & bit)
        return field_set(c->info, name->name, ERR_INVALID,
                         "the name is given twice: as a word and by the flag");
    *row_text(&c->u, name) = c->name;
    c->args.set |= bit;
    return ERR_OK;
}

static const struct verb *find_verb(const struct group *g, const char *word)
{
    for (const struct verb *v = g->verbs; v->name; v++)
        if (!strcmp(v->name, word))
            return v;
    return NULL;
}

static enum err open_ops(struct call *c)
{
    static char actor[32];
    char path[OPS_PATH_MAX];
    struct tenant_row tenant = {0};
    enum err e = args_config(&c->args, &c->config, c->info);
    if (e)
        return e;
    if (!(c->verb->flags & VERB_CREATES)) {
        e = ops_path(&c->config, "lyss.db", path, c->info);
        if (!e && access(path, F_OK))
            e = field_set(c->info, "data", ERR_NOT_FOUND, "there is no database in %.*s",
                          STR_FMT(c->config.data_dir));
    }
    snprintf(actor, sizeof actor, "cli:uid=%u", (unsigned)getuid());
    if (!e)
        e = ops_open(&c->ops, &c->config, str_c(actor), c->info);
    if (!e && c->group->of_tenant)
        e = choose_tenant(&c->ops, c->args.tenant, &c->args.arena, &tenant, c->info);
    c->tenant = tenant.row.id;
    return e;
}

static enum err take_words(struct call *c)
{
    size_t want = c->verb->flags & VERB_NAMED ? 1 : 0;
    const char *what = c->group->thing == &thing_user     ? "an e-mail address"
                       : c->group->thing == &thing_tenant ? "a slug"
                                                          : "a name";
    if (c->args.n_words < want)
        return err_set(c->info, ERR_INVALID, "%s %s: %s must follow", c->group->thing->name,
                       c->verb->name, what);
    if (c->args.n_words > want)
        return err_set(c->info, ERR_INVALID, "%s %s: \"%.*s\" is one word too many",
                       c->group->thing->name, c->verb->name, STR_FMT(c->args.words[want]));
    c->name = want ? c->args.words[0] : STR_NULL;
    if (want && !c->name.n)
        return err_set(c->info, ERR_INVALID, "the name is empty");
    if ((c->verb->flags & VERB_CHANGES) && !c->args.set && !c->args.n_given)
        return err_set(c->info, ERR_INVALID, "%s %s: a flag must say what to change",
                       c->group->thing->name, c->verb->name);
    return ERR_OK;
}

int group_run(const struct group *g, int argc, char **argv)
{
    struct err_info info;
    struct call c = {.group = g, .info = &info};
    char command[64];
    int status = 0;
    err_info_init(&info);
    snprintf(command, sizeof command, "%s", g->thing->name);
    if (argc < 2 || argv[1][0] == '-' || !strcmp(argv[1], "help")) {
        bool asked = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
                                  !strcmp(argv[1], "help"));
        if (asked)
            return help_group(g, NULL);
        err_set(&info, ERR_INVALID, "%s: a command must follow: add, set, list …", g->thing->name);
        return cli_failed(ERR_INVALID, &info, g->thing, command);
    }
    c.verb = find_verb(g, argv[1]);
    if (!c.verb) {
        err_set(&info, ERR_INVALID, "%s has no command \"%.40s\"", g->thing->name, argv[1]);
        return cli_failed(ERR_INVALID, &info, g->thing, command);
    }
    snprintf(command, sizeof command, "%s %s", g->thing->name, c.verb->name);
    struct args_form form = {.thing = c.verb->flags & VERB_COLUMNS ? g->thing : NULL,
                             .row = &c.u,
                             .options = c.verb->options                ? c.verb->options
                                        : c.verb->flags & VERB_OPTIONS ? g->options
                                                                       : NULL,
                             .tenant = g->of_tenant};
    buf_init(&c.out, PRINT_BYTES_MAX);
    buf_init(&c.config.warnings, 1);
    enum err e = args_parse(&c.args, &form, argc - 1, argv + 1, &info);
    if (!e && c.args.help) {
        status = help_group(g, c.verb);
    } else {
        if (!e)
            e = take_words(&c);
        if (!e)
            e = open_ops(&c);
        if (!e)
            e = c.verb->run(&c);
        if (!e)
            e = print_out(&c.out, &info);
        if (e)
            status = cli_failed(e, &info, g->thing, command);
        else
            status = c.status;
    }
    if (c.out.p)
        explicit_bzero(c.out.p, c.out.cap); /* it may have held a new key */
    buf_release(&c.out);
    ops_close(&c.ops);
    config_release(&c.config);
    args_release(&c.args);
    return status;
}

/* ---- errors ---------------------------------------------------------------- */

/* The flag that sets a field; the field itself where there is none. */
static void flag_of(const struct thing *t, const char *field, char out[128])
{
    const struct column *c = t ? thing_column(t, str_c(field)) : NULL;
    if (c && c->flag[0])
        snprintf(out, 128, "--%s: ", c->flag);
    else
        snprintf(out, 128, "%s%s: ", strcmp(field, "credential") ? "--" : "", field);
}

static void next_step(enum err e, const char *field, const struct thing *t, const char *command)
{
    static const char *const others[] = {"provider", "channel", "user", "tenant"};
    char fields[2][32] = {"", ""};
    snprintf(fields[0], sizeof fields[0], "%s", field);
    if (!strcmp(field, "allowed_channels"))
        snprintf(fields[0], sizeof fields[0], "channel");
    if (e == ERR_INVALID) {
        fprintf(stderr, "      see: lyss %s --help\n", command);
    } else if (e == ERR_NOT_FOUND && !strcmp(field, "data")) {
        fprintf(stderr, "      give another by --data DIR, or make one: lyss dev, lyss serve, "
                        "lyss tenant add NAME\n");
    } else if (e == ERR_NOT_FOUND || e == ERR_EXISTS || e == ERR_CONFLICT) {
        const char *what = t ? t->name : !strcmp(command, "model") ? command : "tenant";
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (!strcmp(fields[0], others[i]))
                what = others[i];
        fprintf(stderr, "      see: lyss %s list\n", what);
    } else if (e == ERR_AGAIN) {
        fprintf(stderr, "      another process holds the database; try again\n");
    } else if (e == ERR_KEY_MISMATCH || e == ERR_IO || e == ERR_CONFLICT) {
        fprintf(stderr, "      see: lyss check\n");
    }
}

int cli_failed(enum err e, const struct err_info *info, const struct thing *thing,
               const char *command)
{
    char flag[128] = "";
    if (info->field[0] && strcmp(info->field, "data") != 0)
        flag_of(thing, info->field, flag);
    const struct column *name = thing ? column_of_name(thing) : NULL;
    if (name && !strcmp(info->field, name->name))
        flag[0] = 0; /* it was given as a word */
    print_note("%s%s", flag, info->text[0] ? info->text : err_text(e));
    next_step(e, info->field, thing, command);
    return e == ERR_INVALID ? 2 : 1;
}
