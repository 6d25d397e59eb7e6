/* cmd_simulate: lyss simulate: what the algorithms make of channels that are not there. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/commands.h"
#include "cli/group.h"
#include "cli/help.h"
#include "cli/print.h"
#include "gateway/simulate/simulate.h"
#include "ops/column.h"

static const struct option options[] = {
    {"scenario", "NAME", "only this one (may be repeated); see below for all"},
    {"algorithm", "NAME", "only this one (may be repeated)"},
    {"picks", "N", "requests of a run, 1 to 1000000 (default 3000); the first 200 are warm-up"},
    {"seed", "N", "the same seed gives the same result (default 1)"},
    {"svg", "DIR", "also draw a picture of each scenario there"},
    {0}};

struct simulate_call {
    struct args args;
    struct simulate_report report;
    struct simulate_options o;
    struct buf out;
    struct err_info *info;
};

/* ---- what is asked for ------------------------------------------------------ */

static enum err take_named(struct simulate_call *c, const struct given *g)
{
    struct simulate_report *r = &c->report;
    bool scenario = !strcmp(g->option->flag, "scenario");
    unsigned *n = scenario ? &r->scenarios_n : &r->algorithms_n;
    if (*n == SIMULATE_MANY)
        return field_set(c->info, g->option->flag, ERR_INVALID, "given too often");
    if (scenario)
        r->scenarios[*n] = simulate_scenario_find(g->value);
    else
        r->algorithms[*n] = balance_find(g->value);
    if (scenario ? !r->scenarios[*n] : !r->algorithms[*n])
        return field_set(c->info, g->option->flag, ERR_INVALID, "there is no %s \"%.*s\"",
                         g->option->flag, (int)(g->value.n < 60 ? g->value.n : 60), g->value.p);
    ++*n;
    return ERR_OK;
}

static enum err take_number(struct simulate_call *c, const char *flag, uint64_t lo, uint64_t hi,
                            uint64_t *out)
{
    struct str s = args_value(&c->args, flag);
    if (!s.p || (str_u64(s, hi, out) && *out >= lo))
        return ERR_OK;
    return field_set(c->info, flag, ERR_INVALID, "expected a number from %llu to %llu",
                     (unsigned long long)lo, (unsigned long long)hi);
}

static enum err take(struct simulate_call *c)
{
    uint64_t picks = 3000, seed = 1;
    enum err e = ERR_OK;
    if (c->args.n_words)
        return err_set(c->info, ERR_INVALID, "simulate takes no words");
    for (size_t i = 0; i < c->args.n_given && !e; i++)
        if (!strcmp(c->args.given[i].option->flag, "scenario") ||
            !strcmp(c->args.given[i].option->flag, "algorithm"))
            e = take_named(c, &c->args.given[i]);
    if (!e)
        e = take_number(c, "picks", 1, SIMULATE_PICKS_MAX, &picks);
    if (!e)
        e = take_number(c, "seed", 0, INT64_MAX, &seed);
    c->o = (struct simulate_options){.picks = (unsigned)picks, .seed = seed};
    return e;
}

/* ---- what is told ----------------------------------------------------------- */

static void cell(struct table *t, const char *format, double v)
{
    char text[32];
    snprintf(text, sizeof text, format, v);
    table_cell(t, str_c(text));
}

static void shares(const struct simulate_result *r, struct table *t)
{
    char text[256];
    size_t n = 0;
    for (unsigned i = 0; i < r->scenario->n && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %.0f", i ? ", " : "",
                              r->scenario->channels[i].name, 100 * r->share[i]);
    table_cell(t, str_c(text));
}

static void put_tables(struct simulate_call *c)
{
    static const char *const heads[] = {"algorithm",          "p95_ttft_ms", "errors_%",
                                        "usd_per_1k",         "objective",   "to_best",
                                        "share of calls in %"};
    const unsigned columns = sizeof heads / sizeof *heads;
    const struct simulate_report *r = &c->report;
    for (unsigned i = 0; i < r->scenarios_n; i++) {
        struct table t;
        buf_printf(&c->out, "%s: %s\n", r->scenarios[i]->name, r->scenarios[i]->summary);
        table_init(&t, columns);
        for (unsigned k = 0; k < columns; k++) {
            t.right[k] = k > 0 && k + 1 < columns;
            table_cell(&t, str_c(heads[k]));
        }
        for (unsigned k = 0; k < r->algorithms_n; k++) {
            const struct simulate_result *one = simulate_at(r, i, k);
            table_cell(&t, str_c(one->algorithm->name));
            cell(&t, "%.0f", one->warm.p95_ttft_ms);
            cell(&t, "%.2f", 100 * one->warm.errors);
            cell(&t, "%.4f", one->warm.cost_nusd / 1e6);
            cell(&t, "%.4g", one->warm.objective);
            cell(&t, "%.2f", simulate_relative(r, i, k));
            shares(one, &t);
        }
        table_end(&t, &c->out);
        buf_char(&c->out, '\n');
    }
    buf_lit(&c->out, "over all, geometric mean of the objectives:\n");
    for (unsigned k = 0; k < r->algorithms_n; k++)
        buf_printf(&c->out, "  %-18s %.1f\n", r->algorithms[k]->name, simulate_overall(r, k));
}

static enum err write_file(const char *path, const struct buf *b, struct err_info *info)
{
    FILE *f = buf_failed(b) ? NULL : fopen(path, "w");
    bool ok = f && fwrite(b->p, 1, b->n, f) == b->n;
    ok = f && fclose(f) == 0 && ok;
    return ok ? ERR_OK : field_set(info, "svg", ERR_IO, "%s: %s", path, strerror(errno));
}

static enum err draw(struct simulate_call *c, const char *dir)
{
    enum err e = ERR_OK;
    if (mkdir(dir, 0777) && errno != EEXIST)
        return field_set(c->info, "svg", ERR_IO, "%s: %s", dir, strerror(errno));
    for (unsigned i = 0; i < c->report.scenarios_n && !e; i++) {
        struct buf svg;
        char path[4096];
        buf_init(&svg, 1 << 20);
        simulate_svg(&c->report, i, &svg);
        int n =
            snprintf(path, sizeof path, "%s/simulate-%s.svg", dir, c->report.scenarios[i]->name);
        if (n < 0 || (size_t)n >= sizeof path)
            e = field_set(c->info, "svg", ERR_INVALID, "the path is too long");
        else
            e = write_file(path, &svg, c->info);
        buf_release(&svg);
    }
    return e;
}

static enum err run(struct simulate_call *c)
{
    struct str dir = args_value(&c->args, "svg");
    enum err e = take(c);
    if (!e)
        e = simulate_all(&c->report, &c->o);
    if (!e && dir.p)
        e = draw(c, dir.p);
    if (e)
        return e;
    if (c->args.json)
        simulate_json(&c->report, &c->o, &c->out);
    else
        put_tables(c);
    return print_out(&c->out, c->info);
}

static int help(void)
{
    struct buf text;
    buf_init(&text, 16384);
    buf_lit(&text, "lyss simulate: try the balancing algorithms on made-up channels\n\n"
                   "Usage:\n  lyss simulate [flags]\n\nScenarios:\n");
    for (unsigned i = 0; simulate_scenario_at(i); i++)
        buf_printf(&text, "  %-19s%s\n", simulate_scenario_at(i)->name,
                   simulate_scenario_at(i)->summary);
    buf_lit(&text, "\nThe objective is p95 TTFT x (1 + 10 x error rate) x mean cost where prices "
                   "differ;\nless is better. to_best: against the best of the table.\n");
    int status = help_command(buf_failed(&text) ? "" : text.p, options,
                              "  lyss simulate\n"
                              "  lyss simulate --scenario one-slow --algorithm adaptive "
                              "--algorithm round_robin\n"
                              "  lyss simulate --seed 7 --picks 20000 --svg pictures --json\n",
                              false);
    buf_release(&text);
    return status;
}

int cmd_simulate(int argc, char **argv)
{
    struct err_info info;
    struct simulate_call c = {.info = &info};
    struct args_form form = {.options = options};
    int status = 0;
    err_info_init(&info);
    buf_init(&c.out, PRINT_BYTES_MAX);
    enum err e = args_parse(&c.args, &form, argc, argv, &info);
    if (!e && c.args.help) {
        status = help();
    } else {
        if (!e)
            e = run(&c);
        if (e)
            status = cli_failed(e, &info, NULL, "simulate");
    }
    simulate_report_release(&c.report);
    buf_release(&c.out);
    args_release(&c.args);
    return status;
}
