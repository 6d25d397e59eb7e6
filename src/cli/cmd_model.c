/* cmd_model: lyss model: what the catalogue says of models, with models_file laid over it. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/frame.h"
#include "cli/print.h"
#include "core/clock.h"
#include "llm/model_catalogue.h"
#include "ops/column.h"

struct model_call {
    struct frame *f;
    struct model_catalogue *own; /* with models_file; NULL: none is set */
    const struct model_catalogue *catalogue;
    int64_t now_ms;
};

static const struct option options[] = {{"provider", "KIND", "only of this kind of provider"}, {0}};

struct word {
    const char *name;
    uint32_t bit;
};

#define X(name, bit, text) {text, bit},
static const struct word abilities[] = {MODEL_ABILITIES(X){NULL, 0}};
static const struct word rules[] = {MODEL_RULES(X){NULL, 0}};
#undef X
#define X(style, text) text,
static const char *const styles[] = {THINK_STYLES(X)};
#undef X

/* ---- values ------------------------------------------------------------------------ */

static struct str words_of(const struct word *w, uint32_t bits, struct buf *b)
{
    buf_reset(b);
    for (; w->name; w++)
        if (bits & w->bit)
            buf_printf(b, "%s%s", b->n ? " " : "", w->name);
    return buf_view(b);
}

static struct str efforts_of(const struct model_caps *c, struct buf *b)
{
    buf_reset(b);
    for (int e = EFFORT_NONE; e < EFFORT_COUNT; e++)
        if (c->efforts & EFFORT_BIT(e))
            buf_printf(b, "%s%s%s", b->n ? " " : "", effort_name((enum effort)e),
                       e == c->effort_default ? "*" : "");
    return buf_view(b);
}

static const char *day(int64_t ms, char out[25])
{
    clock_iso(ms, out);
    out[10] = 0;
    return out;
}

/* ---- JSON -------------------------------------------------------------------------- */

static void put_count(struct json_writer *w, const char *name, uint32_t v)
{
    json_key(w, str_c(name));
    if (v)
        json_put_u64(w, v);
    else
        json_put_null(w);
}

static void put_text(struct json_writer *w, const char *name, struct str s)
{
    json_key(w, str_c(name));
    if (s.n)
        json_put_string(w, s);
    else
        json_put_null(w);
}

static void put_words(struct json_writer *w, const char *name, const struct word *list,
                      uint32_t bits)
{
    json_key(w, str_c(name));
    json_open_array(w);
    for (; list->name; list++)
        if (bits & list->bit)
            json_put_string(w, str_c(list->name));
    json_close_array(w);
}

static void put_thinking(struct json_writer *w, const struct model_caps *c)
{
    json_key(w, STR("thinking"));
    json_open_object(w);
    json_field_string(w, "style", str_c(styles[c->thinking]));
    json_key(w, STR("efforts"));
    json_open_array(w);
    for (int e = EFFORT_NONE; e < EFFORT_COUNT; e++)
        if (c->efforts & EFFORT_BIT(e))
            json_put_string(w, str_c(effort_name((enum effort)e)));
    json_close_array(w);
    put_text(w, "default", str_c(effort_name((enum effort)c->effort_default)));
    put_count(w, "budget_min", c->budget_min);
    put_count(w, "budget_max", c->budget_max);
    json_close_object(w);
}

static void put_price(struct json_writer *w, const struct price *p, bool in_force)
{
    char text[32];
    json_open_object(w);
    snprintf(text, sizeof text, "%lld", (long long)p->id);
    json_field_string(w, "id", str_c(text));
    json_field_string(w, "from", str_c(day(p->from_ms, text)));
    json_field_i64(w, "above_input_tokens", p->above_tokens);
    json_field_bool(w, "in_force", in_force);
    json_key(w, STR("usd_per_million"));
    json_open_object(w);
#define X(name, input)                                                                             \
    if (p->rates.name >= 0)                                                                        \
        json_field_string(w, #name, str_c(price_format(p->rates.name, text)));
    USAGE_COUNTERS(X)
#undef X
    json_close_object(w);
    put_text(w, "source", p->source);
    json_close_object(w);
}

/* Is it the one that a request of its size would pay now? */
static bool in_force(const struct model_call *m, const struct catalogue_entry *e,
                     const struct price *p)
{
    return price_at(&e->prices, m->now_ms, (uint64_t)p->above_tokens + 1) == p ||
           (!p->above_tokens && price_at(&e->prices, m->now_ms, 0) == p);
}

static void put_json(const struct model_call *m, const struct catalogue_entry *e,
                     struct json_writer *w)
{
    json_open_object(w);
    json_field_string(w, "provider", e->provider);
    json_field_string(w, "model", e->pattern);
    json_field_bool(w, "pattern", e->glob);
    json_field_bool(w, "override", e->override);
    put_count(w, "context_tokens", e->caps.context_tokens);
    put_count(w, "output_tokens", e->caps.output_tokens);
    put_words(w, "can", abilities, e->caps.abilities);
    put_words(w, "cannot", abilities, e->caps.known_abilities & ~e->caps.abilities);
    put_thinking(w, &e->caps);
    put_words(w, "rules", rules, e->caps.rules);
    put_count(w, "estimate_percent", e->caps.estimate_percent);
    json_key(w, STR("prices"));
    json_open_array(w);
    for (uint32_t i = 0; i < e->prices.n; i++)
        put_price(w, &e->prices.rows[i], in_force(m, e, &e->prices.rows[i]));
    json_close_array(w);
    put_text(w, "source", e->source);
    json_close_object(w);
}

/* ---- text -------------------------------------------------------------------------- */

static void cell_count(struct table *t, uint32_t v)
{
    char text[16] = "";
    if (v)
        snprintf(text, sizeof text, "%u", v);
    table_cell(t, str_c(text));
}

static void cell_rate(struct table *t, int64_t pusd)
{
    char text[32] = "";
    table_cell(t, str_c(pusd < 0 ? text : price_format(pusd, text)));
}

static void put_row(struct table *t, const struct model_call *m, const struct catalogue_entry *e)
{
    const struct price *p = price_at(&e->prices, m->now_ms, 0);
    table_cell(t, e->provider);
    table_cell(t, e->pattern);
    cell_count(t, e->caps.context_tokens);
    cell_count(t, e->caps.output_tokens);
    table_cell(t, str_c(styles[e->caps.thinking]));
    cell_rate(t, p ? p->rates.in_uncached : PRICE_UNKNOWN);
    cell_rate(t, p ? p->rates.cache_read : PRICE_UNKNOWN);
    cell_rate(t, p ? p->rates.out_text : PRICE_UNKNOWN);
}

static void put_line(struct buf *out, const char *name, struct str value)
{
    if (value.n)
        buf_printf(out, "%-14s%.*s\n", name, STR_FMT(value));
}

static void put_number(struct buf *out, const char *name, uint32_t v)
{
    if (v)
        buf_printf(out, "%-14s%u\n", name, v);
}

static void put_rates(struct buf *out, const struct price *p, bool now)
{
    char text[32];
    buf_printf(out, "\nprice from %s", day(p->from_ms, text));
    if (p->above_tokens)
        buf_printf(out, ", requests that read more than %u tokens", p->above_tokens);
    buf_printf(out, "%s\n", now ? " (in force)" : "");
#define X(name, input)                                                                             \
    if (p->rates.name >= 0)                                                                        \
        buf_printf(out, "  %-16s%s\n", #name, price_format(p->rates.name, text));
    USAGE_COUNTERS(X)
#undef X
    if (p->source.n)
        buf_printf(out, "  %s\n", p->source.p);
}

static void put_all(struct model_call *m, const struct catalogue_entry *e)
{
    struct buf *out = &m->f->out, b;
    const struct model_caps *c = &e->caps;
    buf_init(&b, 4096);
    put_line(out, "provider", e->provider);
    put_line(out, "model", e->pattern);
    put_number(out, "context", c->context_tokens);
    put_number(out, "output", c->output_tokens);
    put_line(out, "can", words_of(abilities, c->abilities, &b));
    put_line(out, "cannot", words_of(abilities, c->known_abilities & ~c->abilities, &b));
    put_line(out, "thinking", str_c(styles[c->thinking]));
    put_line(out, "efforts", efforts_of(c, &b));
    put_number(out, "budget from", c->budget_min);
    put_number(out, "budget to", c->budget_max);
    put_line(out, "rules", words_of(rules, c->rules, &b));
    put_number(out, "estimate %", c->estimate_percent);
    put_line(out, "source", e->source);
    if (!e->prices.n)
        buf_lit(out, "\nno price is known\n");
    else
        buf_lit(out, "\nUSD per million:\n");
    for (uint32_t i = 0; i < e->prices.n; i++)
        put_rates(out, &e->prices.rows[i], in_force(m, e, &e->prices.rows[i]));
    buf_release(&b);
}

/* ---- verbs ------------------------------------------------------------------------- */

static enum err list(struct model_call *m)
{
    static const char *const heads[] = {"provider", "model", "context", "output",
                                        "thinking", "input", "cached",  "output_usd"};
    struct str provider = args_value(&m->f->args, "provider");
    const struct catalogue_entry *e;
    struct json_writer w;
    struct table t;
    json_writer_init(&w, &m->f->out);
    table_init(&t, sizeof heads / sizeof *heads);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        t.right[i] = i > 1 && i != 4;
        table_cell(&t, str_c(heads[i]));
    }
    if (m->f->args.json)
        json_open_array(&w);
    for (size_t i = 0; (e = model_at(m->catalogue, i)); i++) {
        if (provider.p ? !str_eq(provider, e->provider) : e->lent)
            continue;
        if (m->f->args.json)
            put_json(m, e, &w);
        else
            put_row(&t, m, e);
    }
    if (m->f->args.json)
        json_close_array(&w);
    struct buf drop;
    buf_init(&drop, PRINT_BYTES_MAX);
    table_end(&t, m->f->args.json ? &drop : &m->f->out);
    buf_release(&drop);
    if (m->f->args.json)
        buf_char(&m->f->out, '\n');
    return ERR_OK;
}

/* The entry of a name: of the provider given, or of the only one that has it as its own. */
static enum err find(struct model_call *m, struct str name, const struct catalogue_entry **out)
{
    struct str provider = args_value(&m->f->args, "provider"), last = STR_NULL;
    const struct catalogue_entry *e;
    *out = NULL;
    for (size_t i = 0; (e = model_at(m->catalogue, i)); i++) {
        if (str_eq(e->provider, last) || (provider.p && !str_eq(provider, e->provider)))
            continue;
        last = e->provider;
        const struct catalogue_entry *found = model_find(m->catalogue, e->provider, name);
        if (!found->pattern.n || (found->lent && !provider.p))
            continue;
        if (*out)
            return field_set(&m->f->info, "provider", ERR_INVALID,
                             "%.*s and %.*s have a model of that name: say which",
                             STR_FMT((*out)->provider), STR_FMT(e->provider));
        *out = found;
    }
    if (!*out)
        return err_set(&m->f->info, ERR_NOT_FOUND, "nothing is known of \"%.*s\"",
                       (int)(name.n < 80 ? name.n : 80), name.p);
    return ERR_OK;
}

static enum err show(struct model_call *m, struct str name)
{
    const struct catalogue_entry *e;
    struct json_writer w;
    enum err failed = find(m, name, &e);
    if (failed)
        return failed;
    if (!m->f->args.json) {
        put_all(m, e);
        return ERR_OK;
    }
    json_writer_init(&w, &m->f->out);
    put_json(m, e, &w);
    buf_char(&m->f->out, '\n');
    return ERR_OK;
}

static enum err answer(struct model_call *m)
{
    const struct args *args = &m->f->args;
    char path[4096];
    enum err e;
    str_copy(path, sizeof path, m->f->config.models_file);
    if (path[0] && (e = model_catalogue_open(&m->own, path, &m->f->info)))
        return e;
    m->catalogue = m->own ? m->own : model_catalogue_builtin();
    m->now_ms = clock_wall_ms();
    if (args->n_words == 1 && str_eq(args->words[0], STR("list")))
        return list(m);
    if (args->n_words == 2 && str_eq(args->words[0], STR("show")))
        return show(m, args->words[1]);
    return err_set(&m->f->info, ERR_INVALID, "expected `list`, or `show` and a name");
}

static enum err run(struct frame *f)
{
    struct model_call m = {.f = f};
    enum err e = answer(&m);
    model_catalogue_free(&m.own);
    return e;
}

int cmd_model(int argc, char **argv)
{
    static const struct command command = {
        .name = "model",
        .usage = "lyss model: what is known of models: limits, abilities, prices\n\n"
                 "Usage:\n  lyss model list [flags]\n  lyss model show NAME [flags]\n",
        .examples = "  lyss model list --provider anthropic\n"
                    "  lyss model show claude-haiku-4-5 --json\n"
                    "  lyss model list --models-file /etc/lyss-models.json\n",
        .options = options,
        .run = run,
    };
    return frame_run(&command, argc, argv);
}
