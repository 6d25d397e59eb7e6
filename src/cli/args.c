/* args: one reader for every command. A flag is looked for among the columns of the thing at hand,
 * then the options of the command, then what all commands share, then the settings of the process.
 */
#include "cli/args.h"

#include <unistd.h>

#include "ops/column.h"

#define FLAG_MAX 64

struct reader {
    struct args *a;
    const struct args_form *form;
    int argc, at;
    char **argv;
    struct str name, value; /* of the flag at hand; value.p NULL: no '=' */
    struct err_info *info;
};

/* The value of the flag at hand: behind '=', or the next argument. */
static bool take_value(struct reader *r)
{
    if (r->value.p)
        return true;
    if (r->at + 1 >= r->argc)
        return false;
    r->value = str_c(r->argv[++r->at]);
    return true;
}

static enum err need_value(struct reader *r)
{
    if (take_value(r))
        return ERR_OK;
    return err_set(r->info, ERR_INVALID, "--%.*s: a value must follow", STR_FMT(r->name));
}

static bool is_switch(struct str s)
{
    static const char *const words[] = {"on", "off", "true", "false", "yes", "no"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(s, str_c(words[i])))
            return true;
    return false;
}

static const struct column *find_column(const struct reader *r)
{
    char name[FLAG_MAX];
    if (!r->form->thing || r->name.n >= sizeof name)
        return NULL;
    const struct column *c = thing_column(r->form->thing, r->name);
    if (!c) {
        str_copy(name, sizeof name, r->name);
        for (char *p = name; *p; p++)
            *p = *p == '-' ? '_' : *p;
        c = thing_column(r->form->thing, str_c(name));
    }
    return c && c->flag[0] ? c : NULL;
}

static enum err take_column(struct reader *r, const struct column *c)
{
    const struct thing *t = r->form->thing;
    uint64_t bit = column_bit(t, c);
    bool list = c->type == COLUMN_LIST;
    if (c->type == COLUMN_BOOL && !r->value.p) {
        bool next = r->at + 1 < r->argc && is_switch(str_c(r->argv[r->at + 1]));
        r->value = next ? str_c(r->argv[++r->at]) : STR("on");
    }
    enum err e = need_value(r);
    if (!e && !list && (r->a->set & bit))
        e = err_set(r->info, ERR_INVALID, "--%.*s is given twice", STR_FMT(r->name));
    if (!e)
        e = column_parse(t, c, r->value, list && (r->a->set & bit), r->form->row, &r->a->arena,
                         r->info);
    if (!e && list && memchr(r->value.p, '\n', r->value.n))
        e = err_set(r->info, ERR_INVALID, "--%.*s: the value holds a line break", STR_FMT(r->name));
    r->a->set |= bit;
    return e;
}

static enum err take_option(struct reader *r, const struct option *o)
{
    if (!o->value && r->value.p)
        return err_set(r->info, ERR_INVALID, "--%s takes no value", o->flag);
    enum err e = o->value ? need_value(r) : ERR_OK;
    void *items = r->a->given;
    struct given *g = e ? NULL : row_more(&r->a->arena, &items, &r->a->n_given, sizeof *g);
    if (!e && !g)
        e = ERR_NOMEM;
    if (!e) {
        r->a->given = items;
        *g = (struct given){o, r->value};
    }
    return e;
}

static enum err take_setting(struct reader *r, char *flag, bool more)
{
    struct args *a = r->a;
    if (a->n_settings + 2 > ARGS_SETTINGS_MAX)
        return err_set(r->info, ERR_INVALID, "too many settings on the command line");
    a->settings[a->n_settings++] = flag;
    if (!more)
        return ERR_OK;
    enum err e = need_value(r);
    a->settings[a->n_settings++] = (char *)(uintptr_t)r->value.p;
    return e;
}

static enum err unknown(struct reader *r)
{
    if (str_find(r->name, STR("credential")) >= 0 || str_find(r->name, STR("secret")) >= 0 ||
        str_find(r->name, STR("api-key")) >= 0)
        return err_set(r->info, ERR_INVALID,
                       "--%.*s: secrets are not taken from the command line, where everyone on the "
                       "machine can see them; use --credential-stdin or --credential-file FILE",
                       (int)(r->name.n < 40 ? r->name.n : 40), r->name.p);
    return err_set(r->info, ERR_INVALID, "unknown flag --%.*s",
                   (int)(r->name.n < 60 ? r->name.n : 60), r->name.p);
}

/* The flags of every command. *known tells whether it was one. */
static enum err take_common(struct reader *r, bool *known)
{
    struct args *a = r->a;
    *known = true;
    if (str_eq(r->name, STR("json")) && !r->value.p) {
        a->json = true;
        return ERR_OK;
    }
    if (str_eq(r->name, STR("data")))
        return take_setting(r, "--data-dir", true);
    if (str_eq(r->name, STR("config"))) {
        enum err e = need_value(r);
        a->config_file = r->value.p;
        return e;
    }
    if (r->form->tenant && str_eq(r->name, STR("tenant"))) {
        enum err e = need_value(r);
        a->tenant = r->value;
        return !e && !a->tenant.n ? err_set(r->info, ERR_INVALID, "--tenant: a slug must follow")
                                  : e;
    }
    *known = false;
    return ERR_OK;
}

static enum err take_flag(struct reader *r)
{
    struct str rest = str_c(r->argv[r->at] + 2);
    str_split(&rest, '=', &r->name);
    r->value = rest;
    const struct column *c = find_column(r);
    if (c)
        return take_column(r, c);
    for (const struct option *o = r->form->options; o && o->flag; o++)
        if (str_eq(r->name, str_c(o->flag)))
            return take_option(r, o);
    bool known;
    enum err e = take_common(r, &known);
    if (known)
        return e;
    int n = config_flag_args(r->argv[r->at]);
    return n ? take_setting(r, r->argv[r->at], n == 2) : unknown(r);
}

enum err args_parse(struct args *a, const struct args_form *form, int argc, char **argv,
                    struct err_info *info)
{
    struct reader r = {.a = a, .form = form, .argc = argc, .argv = argv, .info = info};
    *a = (struct args){0};
    arena_init(&a->arena, 16 << 20);
    a->settings[a->n_settings++] = "lyss";
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        a->help |= !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    enum err e = ERR_OK;
    bool flags = true;
    for (r.at = 1; !e && !a->help && r.at < argc; r.at++) {
        const char *arg = argv[r.at];
        if (flags && !strcmp(arg, "--"))
            flags = false;
        else if (flags && arg[0] == '-' && arg[1] == '-')
            e = take_flag(&r);
        else if (flags && arg[0] == '-' && arg[1])
            e = err_set(info, ERR_INVALID, "unknown flag %.40s", arg);
        else if (a->n_words == ARGS_WORDS_MAX)
            e = err_set(info, ERR_INVALID, "\"%.60s\" is one word too many", arg);
        else
            a->words[a->n_words++] = str_c(arg);
    }
    a->settings[a->n_settings] = NULL;
    return e ? e : arena_failed(&a->arena) ? ERR_NOMEM : ERR_OK;
}

void args_release(struct args *a)
{
    arena_release(&a->arena);
}

struct str args_value(const struct args *a, const char *flag)
{
    struct str v = STR_NULL;
    for (size_t i = 0; i < a->n_given; i++)
        if (!strcmp(a->given[i].option->flag, flag))
            v = a->given[i].value;
    return v;
}

bool args_has(const struct args *a, const char *flag)
{
    for (size_t i = 0; i < a->n_given; i++)
        if (!strcmp(a->given[i].option->flag, flag))
            return true;
    return false;
}

enum err args_config(struct args *a, struct config *c, struct err_info *info)
{
    const char *file = a->config_file;
    if (!file && !access("lyss.conf", F_OK))
        file = "lyss.conf";
    return config_load(c, file, a->n_settings, a->settings, info);
}
