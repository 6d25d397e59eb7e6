/* simulate_scenarios: the channels of each scenario, as data. */
#include "gateway/simulate/simulate.h"

#define PRICED(nusd)                                                                               \
    .weight = 1, .spread = 0.35, .tokens_per_s = 60, .crowd = 24, .price_nusd = nusd
#define TYPICAL PRICED(600)

static const struct simulate_scenario table[] = {
    {.name = "equal",
     .summary = "five channels that are alike",
     .per_s = 10,
     .n = 5,
     .channels = {{"a", TYPICAL, .ttft_ms = 400},
                  {"b", TYPICAL, .ttft_ms = 400},
                  {"c", TYPICAL, .ttft_ms = 400},
                  {"d", TYPICAL, .ttft_ms = 400},
                  {"e", TYPICAL, .ttft_ms = 400}}},
    {.name = "one-slow",
     .summary = "one of five takes four times as long",
     .per_s = 10,
     .n = 5,
     .channels = {{"slow", TYPICAL, .ttft_ms = 1600},
                  {"b", TYPICAL, .ttft_ms = 400},
                  {"c", TYPICAL, .ttft_ms = 400},
                  {"d", TYPICAL, .ttft_ms = 400},
                  {"e", TYPICAL, .ttft_ms = 400}}},
    {.name = "one-failing-20pct",
     .summary = "one of four fails a fifth of its calls, after a second",
     .per_s = 10,
     .n = 4,
     .channels = {{"failing", TYPICAL, .ttft_ms = 400, .failing = 0.2, .failing_ms = 1000},
                  {"b", TYPICAL, .ttft_ms = 400},
                  {"c", TYPICAL, .ttft_ms = 400},
                  {"d", TYPICAL, .ttft_ms = 400}}},
    {.name = "latency-drift",
     .summary = "four channels swing between fast and slow, each at its own time",
     .per_s = 10,
     .n = 4,
     .channels = {{"a", TYPICAL, .ttft_ms = 500, .swing = 0.7, .swing_s = 240},
                  {"b", TYPICAL, .ttft_ms = 500, .swing = 0.7, .swing_s = 240, .swing_at = 0.25},
                  {"c", TYPICAL, .ttft_ms = 500, .swing = 0.7, .swing_s = 240, .swing_at = 0.5},
                  {"d", TYPICAL, .ttft_ms = 500, .swing = 0.7, .swing_s = 240, .swing_at = 0.75}}},
    {.name = "rate-limited",
     .summary = "the fastest of three takes 120 requests a minute and answers 429 beyond",
     .per_s = 8,
     .n = 3,
     .channels = {{"limited", TYPICAL, .ttft_ms = 300, .rpm = 120},
                  {"b", TYPICAL, .ttft_ms = 400},
                  {"c", TYPICAL, .ttft_ms = 400}}},
    {.name = "price-differences",
     .summary = "four channels with other prices and other speeds",
     .per_s = 8,
     .prices = true,
     .n = 4,
     .channels = {{"cheap", PRICED(400), .ttft_ms = 450},
                  {"fair", PRICED(600), .ttft_ms = 400},
                  {"quick", PRICED(1200), .ttft_ms = 250},
                  {"dear", PRICED(2000), .ttft_ms = 400}}},
    {.name = "flapping",
     .summary = "two of four are down for 15 seconds of every minute, at other times",
     .per_s = 10,
     .n = 4,
     .channels = {{"a", TYPICAL, .ttft_ms = 400, .failing_ms = 500, .flap_s = 60, .down_s = 15,
                   .up_s = 20},
                  {"b", TYPICAL, .ttft_ms = 400, .failing_ms = 500, .flap_s = 60, .down_s = 15,
                   .up_s = 45},
                  {"c", TYPICAL, .ttft_ms = 400},
                  {"d", TYPICAL, .ttft_ms = 400}}},
    {.name = "cold-start",
     .summary = "two of four join later, cold: at first they take five times as long",
     .per_s = 10,
     .n = 4,
     .channels = {{"a", TYPICAL, .ttft_ms = 400},
                  {"b", TYPICAL, .ttft_ms = 400},
                  {"new", TYPICAL, .ttft_ms = 300, .joins_s = 60, .cold = 4},
                  {"newer", TYPICAL, .ttft_ms = 300, .joins_s = 120, .cold = 4}}},
};

const struct simulate_scenario *simulate_scenario_at(unsigned i)
{
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const struct simulate_scenario *simulate_scenario_find(struct str name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_eq(name, str_c(table[i].name)))
            return &table[i];
    return NULL;
}
