/* pick_bench: what it takes to choose one of many channels, in nanoseconds, by algorithm.
 *
 *     pick_bench [channels [seconds]]
 *
 * A line an algorithm: its name, the pick (statistics of each channel read, then the algorithm),
 * and the whole choice (each channel looked at by the filter too, a place taken and given back).
 * The channels differ in speed, success and price, and time passes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/rng.h"
#include "gateway/choose/choose.h"

static struct gateway gateway;
static struct worker worker;
static struct snapshot snapshot;
static struct tenant tenant;
static struct api_key key;
static struct route route;
static struct candidate candidates[CANDIDATES_MAX];
static struct channel_cell cells[CANDIDATES_MAX];
static struct credential_cell credential_cells[CANDIDATES_MAX];
static struct credential credentials[CANDIDATES_MAX];
static struct channel channels[CANDIDATES_MAX];

static void make(unsigned n)
{
    const struct catalogue_entry *entry;
    gateway.catalogue = model_catalogue_builtin();
    entry = model_resolve(gateway.catalogue, STR("openai"), STR("gpt-4o"), STR("gpt-4o"));
    for (unsigned i = 0; i < n; i++) {
        cells[i].id = channels[i].id = i + 1;
        vitals_init(&cells[i].vitals, clock_mono_ms());
        gate_init(&cells[i].gate, clock_mono_ms());
        credential_cells[i].channel = &cells[i];
        credentials[i] = (struct credential){.id = i + 1, .cell = &credential_cells[i]};
        channels[i].provider = provider_find(STR("openai"));
        channels[i].ops = channels[i].provider->ops;
        channels[i].weight = 1 + (int)i % 5;
        channels[i].credentials = &credentials[i];
        channels[i].credentials_n = 1;
        channels[i].cell = &cells[i];
        candidates[i] = (struct candidate){&channels[i], STR_NULL, ROW_NULL, ROW_NULL, entry};
    }
    route = (struct route){.name = STR("gpt-4o"), .candidates = candidates, .n = n};
    tenant.id = key.id = 1;
    key.tenant = &tenant;
    map_init(&tenant.exact, 4);
    map_init(&snapshot.keys, 4);
    if (map_put(&tenant.exact, route.name, &route) ||
        map_put(&snapshot.keys, str_make((const char *)key.digest, 32), &key))
        abort();
    worker.gateway = &gateway;
    worker.snapshot = &snapshot;
    worker.loop = loop_new("pick");
    map_init(&worker.routes, 16);
}

/* CPU time: others on the machine do not count. */
static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Calls of the past, so that there is something to weigh. */
static void live(unsigned n, uint64_t now_ms)
{
    for (unsigned k = 0; k < 20 * n; k++) {
        unsigned i = (unsigned)rng_below(n);
        bool ok = rng_below(20) != 0;
        vitals_started(&cells[i].vitals, now_ms);
        vitals_first(&cells[i].vitals, now_ms, 100 + 10 * i + rng_below(50));
        vitals_finished(&cells[i].vitals, now_ms, ok ? VITALS_OK : VITALS_FAILED, 900, 300, 4000);
    }
}

static double per_pick_ns(const struct balance *how, unsigned n, double seconds)
{
    static struct balance_state state;
    struct contender c[CANDIDATES_MAX];
    uint64_t picks = 0, sum = 0;
    double begin = cpu_ns(), end = begin;
    memset(&state, 0, sizeof state);
    for (; end - begin < seconds * 1e9; end = cpu_ns()) {
        uint64_t now_ms = clock_mono_ms();
        for (int k = 0; k < 64; k++, picks++) {
            struct balance_ask ask = {.now_ms = now_ms, .hash = how->hashed ? picks + 1 : 0};
            for (unsigned i = 0; i < n; i++) {
                c[i] = balance_contender(i + 1, 1 + i % 5, &cells[i].vitals, ask.now_ms);
                c[i].price_pusd = 1000 + i % 7;
                c[i].headroom = 1;
            }
            sum += how->pick(how->stateful ? &state : NULL, &ask, c, n);
        }
    }
    if (sum == UINT64_MAX) /* it is used */
        puts("");
    return (end - begin) / (double)picks;
}

static double per_choice_ns(const struct balance *how, double seconds)
{
    struct request r = {.worker = &worker, .op = OP_CHAT, .estimate_in = 300, .estimate_out = 1024};
    struct request_plan p = {.model = STR("gpt-4o")};
    uint64_t n = 0;
    double begin = cpu_ns(), end = begin;
    r.plan = &p;
    route.algorithm = how;
    for (; end - begin < seconds * 1e9; end = cpu_ns()) {
        uint64_t now_ms = clock_mono_ms();
        resolve_forget(&worker); /* what a request looks up once */
        for (int k = 0; k < 64; k++, n++) {
            struct choice c;
            struct reasons why;
            if (!choose(&r, 0, &c, &why)) {
                fputs("pick_bench: no channel was eligible\n", stderr);
                exit(1);
            }
            gate_leave(&c.pass, 1, 0, now_ms);
        }
    }
    return (end - begin) / (double)n;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 50;
    double seconds = argc > 2 ? atof(argv[2]) : 0.5;
    if (n < 1 || n > CANDIDATES_MAX || seconds <= 0) {
        fprintf(stderr, "usage: pick_bench [channels, 1 to %d [seconds]]\n", CANDIDATES_MAX);
        return 2;
    }
    rng_seed(1);
    make(n);
    live(n, clock_mono_ms());
    for (unsigned i = 0; balance_at(i); i++)
        printf("%s %.1f %.1f\n", balance_at(i)->name, per_pick_ns(balance_at(i), n, seconds),
               per_choice_ns(balance_at(i), seconds));
    return 0;
}
