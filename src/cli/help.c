/* help: what can be typed, from the same tables that read it. */
#include "cli/help.h"

#include <stdio.h>

#include "cli/print.h"
#include "ops/column.h"

enum { FLAG_WIDTH = 30, TEXT_WIDTH = 66 };

/* "  --flag VALUE      doc …", the doc wrapped. */
static void put_flag(struct buf *out, const char *flag, const char *value, const char *doc)
{
    size_t start = out->n;
    buf_printf(out, "  --%s%s%s", flag, value ? " " : "", value ? value : "");
    size_t used = out->n - start;
    buf_printf(out, "%*s", used + 2 > FLAG_WIDTH ? 2 : (int)(FLAG_WIDTH - used), "");
    struct str rest = str_c(doc), word;
    size_t at = 0;
    while (str_split(&rest, ' ', &word)) {
        if (at && at + word.n + 1 > TEXT_WIDTH) {
            buf_printf(out, "\n%*s", FLAG_WIDTH, "");
            at = 0;
        }
        buf_str(out, at ? STR(" ") : STR(""));
        buf_str(out, word);
        at += word.n + 1;
    }
    buf_char(out, '\n');
}

static const char *value_of(const struct column *c, char text[160])
{
    static const char *const by_check[] = {
        [CHECK_NONE] = "TEXT",   [CHECK_LENGTH] = "TEXT",   [CHECK_NAME] = "NAME",
        [CHECK_SLUG] = "SLUG",   [CHECK_EMAIL] = "ADDRESS", [CHECK_URL] = "URL",
        [CHECK_MODEL] = "MODEL", [CHECK_WORDS] = "WORD",    [CHECK_RANGE] = "N",
        [CHECK_OBJECT] = "JSON", [CHECK_TIME] = "TIME"};
    if (c->type == COLUMN_BOOL)
        return "on|off";
    if (c->check == CHECK_WORDS)
        snprintf(text, 160, "%s", c->words);
    else if (c->check == CHECK_RANGE)
        snprintf(text, 160, "%lld-%lld", (long long)c->lo, (long long)c->hi);
    else
        return by_check[c->check];
    return text;
}

static void put_columns(struct buf *out, const struct thing *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        char value[160], doc[512];
        if (!c->flag[0] || c == column_of_name(t))
            continue;
        const char *form = value_of(c, value);
        bool wide = strlen(form) > 24;
        snprintf(doc, sizeof doc, "%s%s%s%s%s%s%s%s%s", c->doc, wide ? "; " : "", wide ? form : "",
                 c->type == COLUMN_LIST ? "; may be repeated" : "", !c->dflt ? " (needed)" : "",
                 c->dflt && c->dflt[0] ? " (default " : "", c->dflt ? c->dflt : "",
                 c->dflt && c->dflt[0] ? ")" : "", "");
        put_flag(out, c->flag, wide ? "VALUE" : form, doc);
    }
}

static void put_options(struct buf *out, const struct option *o)
{
    for (; o && o->flag; o++)
        put_flag(out, o->flag, o->value, o->doc);
}

static void put_common(struct buf *out, bool tenant)
{
    if (tenant)
        put_flag(out, "tenant", "SLUG",
                 "whose; not needed where there is one tenant, or one named demo");
    put_flag(out, "data", "DIR", "data directory (default ./data, or the setting data_dir)");
    put_flag(out, "config", "FILE", "settings (default lyss.conf where there is one)");
    put_flag(out, "json", NULL, "print one line of JSON");
    put_flag(out, "help", NULL, "print this");
}

static int put_out(struct buf *out)
{
    struct err_info info;
    err_info_init(&info);
    int status = print_out(out, &info) ? 1 : 0;
    buf_release(out);
    return status;
}

static void put_verb(struct buf *out, const struct group *g, const struct verb *v)
{
    char usage[128];
    snprintf(usage, sizeof usage, "lyss %s %s%s%s", g->thing->name, v->name,
             !(v->flags & VERB_NAMED)    ? ""
             : g->thing == &thing_user   ? " EMAIL"
             : g->thing == &thing_tenant ? " SLUG"
                                         : " NAME",
             v->flags & (VERB_COLUMNS | VERB_OPTIONS) ? " [flags]" : "");
    buf_printf(out, "  %-36s%s\n", usage, v->summary);
}

int help_group(const struct group *g, const struct verb *verb)
{
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    buf_printf(&out, "lyss %s: %s\n\nUsage:\n", g->thing->name, g->summary);
    for (const struct verb *v = g->verbs; v->name; v++)
        if (!verb || v == verb)
            put_verb(&out, g, v);
    unsigned flags = verb ? verb->flags : VERB_COLUMNS | VERB_OPTIONS;
    if (flags & (VERB_COLUMNS | VERB_OPTIONS)) {
        buf_lit(&out, "\nFlags:\n");
        if (flags & VERB_COLUMNS)
            put_columns(&out, g->thing);
        if (flags & VERB_OPTIONS)
            put_options(&out, verb && verb->options ? verb->options : g->options);
    }
    buf_lit(&out, "\nEverywhere:\n");
    put_common(&out, g->of_tenant);
    buf_printf(&out, "\nExamples:\n%s", g->examples);
    return put_out(&out);
}

int help_command(const char *usage, const struct option *options, const char *examples,
                 bool settings)
{
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    buf_printf(&out, "%s\nFlags:\n", usage);
    put_options(&out, options);
    put_common(&out, false);
    for (int i = 0; settings && i < CONFIG_COUNT; i++) {
        const struct config_setting *s = &config_settings[i];
        char flag[64], doc[768];
        if (s->type == CONFIG_SECRET)
            continue;
        snprintf(flag, sizeof flag, "%s", s->name);
        for (char *p = flag; *p; p++)
            *p = *p == '_' ? '-' : *p;
        snprintf(doc, sizeof doc, "%s%s%s%s", s->doc, s->def[0] ? " (default " : "", s->def,
                 s->def[0] ? ")" : "");
        put_flag(&out, flag, s->type == CONFIG_BOOL ? NULL : "VALUE", doc);
    }
    buf_printf(&out, "\nExamples:\n%s", examples);
    return put_out(&out);
}
