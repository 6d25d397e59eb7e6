/* simulate: balancing tried out on made-up channels: the algorithms and the vitals that serve, run
 * through a queue of events on a clock of their own.
 *
 * Nothing of a serving process is touched; no socket, no sleep.  The same options give the same
 * result: randomness is core/rng, seeded, so the caller's thread has a new seed afterwards.  All
 * algorithms meet the same requests, at the same moments, with the same luck. */
#ifndef LYSS_GATEWAY_SIMULATE_H
#define LYSS_GATEWAY_SIMULATE_H

#include "core/buf.h"
#include "core/err.h"
#include "gateway/balance/balance.h"

#define SIMULATE_CHANNELS_MAX 6
#define SIMULATE_SLOTS        60 /* of time, in a result's history */
#define SIMULATE_WARM_UP      200
#define SIMULATE_PICKS_MAX    1000000

/* A channel that is not there. What is zero does not happen. */
struct simulate_channel {
    const char *name;
    double weight;
    double ttft_ms, spread; /* median when idle; of its logarithm */
    double tokens_per_s;
    double price_nusd;           /* an output token */
    unsigned crowd;              /* so many in flight double the TTFT */
    double failing, failing_ms;  /* share of calls that fail, and after how long */
    double swing, swing_s;       /* TTFT goes up and down by this share in so many seconds */
    double swing_at;             /* where in the swing it begins, 0 … 1 */
    double flap_s, down_s, up_s; /* of each flap_s it is down for down_s, from up_s on */
    unsigned rpm;                /* more than that is answered 429 */
    double joins_s, cold;        /* comes then, at first with TTFTs so many times longer */
};

struct simulate_scenario {
    const char *name, *summary;
    double per_s; /* requests */
    bool prices;  /* they differ: the mean cost counts */
    struct simulate_channel channels[SIMULATE_CHANNELS_MAX];
    unsigned n;
};

/* NULL past the last. */
const struct simulate_scenario *simulate_scenario_at(unsigned i);
const struct simulate_scenario *simulate_scenario_find(struct str name);

struct simulate_options {
    unsigned picks; /* requests, 1 … SIMULATE_PICKS_MAX */
    uint64_t seed;
    const struct balance_objective *objective; /* of `adaptive`; NULL: the default */
};

/* What callers saw: of all requests, or of those after the warm-up. */
struct simulate_score {
    double p95_ttft_ms, mean_ttft_ms;
    double errors;    /* share of requests that got no answer */
    double cost_nusd; /* mean of an answer */
    double objective; /* p95 TTFT in ms × (1 + 10 × errors) × (prices ? cost in nUSD : 1) */
};

struct simulate_result {
    const struct simulate_scenario *scenario;
    const struct balance *algorithm;
    struct simulate_score warm, all; /* after the warm-up; with it */
    unsigned requests, attempts;
    double share[SIMULATE_CHANNELS_MAX];                     /* of attempts after the warm-up */
    unsigned history[SIMULATE_SLOTS][SIMULATE_CHANNELS_MAX]; /* attempts by time */
    double seconds;
};

/* ERR_NOMEM. */
enum err simulate_run(const struct simulate_scenario *s, const struct balance *algorithm,
                      const struct simulate_options *o, struct simulate_result *out) MUST_CHECK;

/* Several scenarios by several algorithms. */
#define SIMULATE_MANY 16
struct simulate_report {
    const struct simulate_scenario *scenarios[SIMULATE_MANY];
    const struct balance *algorithms[SIMULATE_MANY];
    unsigned scenarios_n, algorithms_n;
    struct simulate_result *results; /* scenario by scenario */
};

/* Runs what the report names (all of either where it names none). simulate_report_release must
 * follow in any case. ERR_NOMEM. */
enum err simulate_all(struct simulate_report *r, const struct simulate_options *o) MUST_CHECK;
void simulate_report_release(struct simulate_report *r);
static inline const struct simulate_result *simulate_at(const struct simulate_report *r,
                                                        unsigned scenario, unsigned algorithm)
{
    return &r->results[scenario * r->algorithms_n + algorithm];
}
/* An algorithm's objective in a scenario by that of the scenario's best one: 1 for the best. */
double simulate_relative(const struct simulate_report *r, unsigned scenario, unsigned algorithm);
/* The geometric mean of an algorithm's objectives over the scenarios. */
double simulate_overall(const struct simulate_report *r, unsigned algorithm);
/* {"scenarios": […], "overall": […]}, with a line end. */
void simulate_json(const struct simulate_report *r, const struct simulate_options *o,
                   struct buf *out);
/* A picture of one scenario. */
void simulate_svg(const struct simulate_report *r, unsigned scenario, struct buf *out);

#endif
