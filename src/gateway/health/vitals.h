/* vitals: what a channel is doing and how it has done lately, live, for balancing and health.
 *
 * Shared by all workers without a lock.  Averages are kept as sums that halve every
 * VITALS_HALF_LIFE_MS: pairs of floats in one 64-bit word, changed by compare and swap, so that
 * none of a pair's updates is lost and no reader sees half of one.  Whoever finds the sums older
 * than a tick (250 ms) brings them up to date: exactly one thread does, the others go on; so a
 * reading costs a few loads and no exponential.  A value that is read while it is brought up to
 * date may be off by one tick's decay.
 *
 * Times are milliseconds of the monotonic clock and always parameters.  A struct
 * vitals needs vitals_init; any thread may call the rest. */
#ifndef LYSS_GATEWAY_VITALS_H
#define LYSS_GATEWAY_VITALS_H

#include "gateway/limit.h"

#define VITALS_HALF_LIFE_MS  30000
#define VITALS_TROUBLE_MS    5000 /* half-life of a run of failures */
#define VITALS_TICK_MS       250
#define VITALS_SLOW_START_MS 30000
/* Successes that are taken for granted: a first failure is no verdict, and what was long ago is
 * forgiven. */
#define VITALS_PRIOR 2

struct vitals {
    _Atomic int32_t in_flight;
    _Atomic uint64_t at_ms;         /* the moment the sums stand at */
    _Atomic uint64_t outcome;       /* pair: successes, all */
    _Atomic uint64_t trouble;       /* pair: failures since the last success, 0; halves fast */
    _Atomic uint64_t ttft, ttft_sq; /* pairs: ms, samples; ms², samples */
    _Atomic uint64_t load;          /* pair: calls in flight when one began, calls */
    _Atomic uint64_t rate;          /* pair: tokens, seconds */
    _Atomic uint64_t peak; /* pair: ms by which the latest peak of TTFT passed the mean, 0 */
    _Atomic uint64_t recovered_ms;      /* when slow start began; 0: never */
    struct limit_cell requests, tokens; /* of the last minute */
};

enum vitals_end {
    VITALS_OK,
    VITALS_FAILED, /* the channel's doing */
    VITALS_NEUTRAL /* says nothing of the channel: the caller left, or asked what cannot be */
};

void vitals_init(struct vitals *v, uint64_t now_ms);
/* A call begins. */
void vitals_started(struct vitals *v, uint64_t now_ms);
/* Its first content has come, so long after its beginning; not called where none comes. */
void vitals_first(struct vitals *v, uint64_t now_ms, uint64_t ttft_ms);
/* The call has ended. tokens: in and out; out_tokens of them came within flow_ms after the first
 * content, which is what the rate is made of (either 0: not known). */
void vitals_finished(struct vitals *v, uint64_t now_ms, enum vitals_end end, uint64_t tokens,
                     uint64_t out_tokens, uint64_t flow_ms);
/* The channel serves again after it was shut out: slow start begins, and what was counted of its
 * failures is forgotten. */
void vitals_recovering(struct vitals *v, uint64_t now_ms);

/* Share of calls that succeeded, in (0, 1]; 1 where nothing is known. */
double vitals_success(struct vitals *v, uint64_t now_ms);
/* Calls that the share stands on, decayed. */
double vitals_calls(struct vitals *v, uint64_t now_ms);
/* Mean time to the first token in ms; 0: nothing is known. */
double vitals_ttft(struct vitals *v, uint64_t now_ms);
/* The same, but it jumps up with a slow answer at once and comes down with the half-life. */
double vitals_ttft_peak(struct vitals *v, uint64_t now_ms);
/* Output tokens a second after the first; 0: nothing is known. */
double vitals_rate(struct vitals *v, uint64_t now_ms);
/* 0.1 at recovery, 1 from VITALS_SLOW_START_MS on. */
double vitals_slow_start(struct vitals *v, uint64_t now_ms);
/* weight × success × slow start. */
double vitals_weight(struct vitals *v, double weight, uint64_t now_ms);

/* What adaptive choice looks at, in one reading: decaying sums, all 0 where nothing is known. */
struct vitals_view {
    float trouble;               /* failures since the last success, halved every 5 s */
    float ttft, square, samples; /* ms, ms², and of how many */
    float load, calls;           /* in flight when a call began, and of how many calls */
    float tokens, seconds;       /* of output after the first content */
    int32_t in_flight;
};
void vitals_look(struct vitals *v, uint64_t now_ms, struct vitals_view *out);

int64_t vitals_requests_per_minute(struct vitals *v, uint64_t now_ms);
int64_t vitals_tokens_per_minute(struct vitals *v, uint64_t now_ms);

static inline int32_t vitals_in_flight(const struct vitals *v)
{
    return atomic_load_explicit(&v->in_flight, memory_order_relaxed);
}

#endif
