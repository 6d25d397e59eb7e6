/* simulate_report: many runs, compared, and as JSON. */
#include <math.h>

#include "core/alloc.h"
#include "core/json_write.h"
#include "gateway/simulate/simulate.h"

enum err simulate_all(struct simulate_report *r, const struct simulate_options *o)
{
    if (!r->scenarios_n)
        while (r->scenarios_n < SIMULATE_MANY && simulate_scenario_at(r->scenarios_n)) {
            r->scenarios[r->scenarios_n] = simulate_scenario_at(r->scenarios_n);
            r->scenarios_n++;
        }
    if (!r->algorithms_n)
        while (r->algorithms_n < SIMULATE_MANY && balance_at(r->algorithms_n)) {
            r->algorithms[r->algorithms_n] = balance_at(r->algorithms_n);
            r->algorithms_n++;
        }
    r->results = mem_zalloc((size_t)r->scenarios_n * r->algorithms_n * sizeof *r->results);
    enum err e = r->results ? ERR_OK : ERR_NOMEM;
    for (unsigned i = 0; i < r->scenarios_n && !e; i++)
        for (unsigned k = 0; k < r->algorithms_n && !e; k++)
            e = simulate_run(r->scenarios[i], r->algorithms[k], o,
                             &r->results[i * r->algorithms_n + k]);
    return e;
}

void simulate_report_release(struct simulate_report *r)
{
    mem_free(r->results);
    r->results = NULL;
}

double simulate_relative(const struct simulate_report *r, unsigned scenario, unsigned algorithm)
{
    double best = INFINITY;
    for (unsigned k = 0; k < r->algorithms_n; k++)
        best = fmin(best, simulate_at(r, scenario, k)->warm.objective);
    return best > 0 ? simulate_at(r, scenario, algorithm)->warm.objective / best : 1;
}

double simulate_overall(const struct simulate_report *r, unsigned algorithm)
{
    double sum = 0;
    for (unsigned i = 0; i < r->scenarios_n; i++)
        sum += log(simulate_at(r, i, algorithm)->warm.objective);
    return r->scenarios_n ? exp(sum / r->scenarios_n) : 0;
}

static void put_double(struct json_writer *w, const char *name, double v)
{
    json_key(w, str_c(name));
    json_put_double(w, v);
}

static void put_score(struct json_writer *w, const char *name, const struct simulate_score *s)
{
    json_key(w, str_c(name));
    json_open_object(w);
    put_double(w, "p95_ttft_ms", s->p95_ttft_ms);
    put_double(w, "mean_ttft_ms", s->mean_ttft_ms);
    put_double(w, "error_rate", s->errors);
    put_double(w, "mean_cost_usd", s->cost_nusd / 1e9);
    put_double(w, "objective", s->objective);
    json_close_object(w);
}

static void put_result(struct json_writer *w, const struct simulate_result *r, double relative)
{
    json_open_object(w);
    json_field_string(w, "algorithm", str_c(r->algorithm->name));
    put_score(w, "after_warm_up", &r->warm);
    put_score(w, "all", &r->all);
    put_double(w, "relative", relative);
    json_field_i64(w, "attempts", r->attempts);
    json_key(w, STR("share"));
    json_open_object(w);
    for (unsigned i = 0; i < r->scenario->n; i++)
        put_double(w, r->scenario->channels[i].name, r->share[i]);
    json_close_object(w);
    json_close_object(w);
}

void simulate_json(const struct simulate_report *r, const struct simulate_options *o,
                   struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_i64(&w, "picks", o->picks);
    json_field_i64(&w, "seed", (int64_t)o->seed);
    json_key(&w, STR("scenarios"));
    json_open_array(&w);
    for (unsigned i = 0; i < r->scenarios_n; i++) {
        json_open_object(&w);
        json_field_string(&w, "name", str_c(r->scenarios[i]->name));
        json_field_string(&w, "summary", str_c(r->scenarios[i]->summary));
        put_double(&w, "seconds", simulate_at(r, i, 0)->seconds);
        json_key(&w, STR("results"));
        json_open_array(&w);
        for (unsigned k = 0; k < r->algorithms_n; k++)
            put_result(&w, simulate_at(r, i, k), simulate_relative(r, i, k));
        json_close_array(&w);
        json_close_object(&w);
    }
    json_close_array(&w);
    json_key(&w, STR("overall"));
    json_open_object(&w);
    for (unsigned k = 0; k < r->algorithms_n; k++)
        put_double(&w, r->algorithms[k]->name, simulate_overall(r, k));
    json_close_object(&w);
    json_close_object(&w);
    buf_char(out, '\n');
}
