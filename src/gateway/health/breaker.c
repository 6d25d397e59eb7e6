/* breaker: the whole state is one word, so that each change is one compare-and-swap and exactly one
 * thread makes it; the word as a call found it is the call's ticket. */
#include "gateway/health/breaker.h"

/* state (2 bits), times opened in a row (6 bits), milliseconds (56 bits): until when it is open, by
 * when a probe must have reported, or since when it is closed. */
#define AT_BITS   56
#define AT_MASK   ((UINT64_C(1) << AT_BITS) - 1)
#define TIMES_MAX 63

static uint64_t pack(enum breaker_state s, unsigned times, uint64_t at_ms)
{
    return (uint64_t)s << 62 | (uint64_t)times << AT_BITS | (at_ms & AT_MASK);
}

static enum breaker_state state_of(uint64_t word)
{
    return (enum breaker_state)(word >> 62);
}

static unsigned times_of(uint64_t word)
{
    return word >> AT_BITS & TIMES_MAX;
}

static uint64_t at_of(uint64_t word)
{
    return word & AT_MASK;
}

static uint64_t open_ms(unsigned times)
{
    uint64_t ms = BREAKER_OPEN_MS;
    for (unsigned i = 1; i < times && ms < BREAKER_OPEN_MAX_MS; i++)
        ms *= 2;
    return ms < BREAKER_OPEN_MAX_MS ? ms : BREAKER_OPEN_MAX_MS;
}

/* Moves from word to next; false: somebody else was first. */
static bool move(struct breaker *b, uint64_t word, uint64_t next, struct breaker_change *change)
{
    if (!atomic_compare_exchange_strong(&b->word, &word, next))
        return false;
    *change = (struct breaker_change){state_of(word), state_of(next), 0};
    return true;
}

static bool open_it(struct breaker *b, uint64_t word, uint64_t now_ms,
                    struct breaker_change *change)
{
    unsigned times = times_of(word);
    if (state_of(word) == BREAKER_CLOSED && now_ms >= at_of(word) + BREAKER_CALM_MS)
        times = 0;
    times += times < TIMES_MAX;
    if (!move(b, word, pack(BREAKER_OPEN, times, now_ms + open_ms(times)), change))
        return false;
    change->open_ms = open_ms(times);
    return true;
}

const char *breaker_state_name(enum breaker_state s)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return names[s];
}

enum breaker_state breaker_look(struct breaker *b, uint64_t now_ms, uint64_t *wait_ms)
{
    uint64_t word = atomic_load(&b->word), at = at_of(word);
    if (wait_ms)
        *wait_ms = state_of(word) != BREAKER_CLOSED && at > now_ms ? at - now_ms : 0;
    return state_of(word);
}

bool breaker_stale(struct breaker *b, uint64_t now_ms, uint64_t ms)
{
    uint64_t word = atomic_load(&b->word);
    return state_of(word) == BREAKER_CLOSED || now_ms >= at_of(word) + ms;
}

bool breaker_enter(struct breaker *b, uint64_t now_ms, uint64_t *ticket,
                   struct breaker_change *change)
{
    uint64_t word = atomic_load(&b->word);
    *change = (struct breaker_change){state_of(word), state_of(word), 0};
    *ticket = word;
    if (state_of(word) == BREAKER_CLOSED)
        return true;
    if (now_ms < at_of(word))
        return false;
    *ticket = pack(BREAKER_HALF_OPEN, times_of(word), now_ms + BREAKER_PROBE_MS);
    return move(b, word, *ticket, change);
}

static void count(struct breaker *b, uint64_t word, bool ok, uint64_t now_ms,
                  struct breaker_change *change)
{
    tally_add(&b->calls, BREAKER_BUCKET_MS, now_ms, 1, !ok);
    if (ok) {
        atomic_store(&b->streak, 0);
        return;
    }
    uint32_t streak = atomic_fetch_add(&b->streak, 1) + 1;
    struct tally_sum s = tally_sum(&b->calls, BREAKER_BUCKET_MS, now_ms);
    if (streak >= BREAKER_STREAK || (s.all >= BREAKER_CALLS && 2 * s.marked >= s.all))
        open_it(b, word, now_ms, change);
}

void breaker_report(struct breaker *b, uint64_t ticket, bool ok, uint64_t now_ms,
                    struct breaker_change *change)
{
    uint64_t word = atomic_load(&b->word);
    *change = (struct breaker_change){state_of(word), state_of(word), 0};
    if (word != ticket)
        return; /* it began in another state */
    if (state_of(word) == BREAKER_CLOSED) {
        count(b, word, ok, now_ms, change);
    } else if (!ok) {
        open_it(b, word, now_ms, change);
    } else {
        /* Emptied first: nobody counts before the word says closed. */
        atomic_store(&b->streak, 0);
        tally_clear(&b->calls);
        move(b, word, pack(BREAKER_CLOSED, times_of(word), now_ms), change);
    }
}

void breaker_forget(struct breaker *b, uint64_t ticket, uint64_t now_ms)
{
    struct breaker_change change;
    if (state_of(ticket) == BREAKER_HALF_OPEN)
        move(b, ticket, pack(BREAKER_OPEN, times_of(ticket), now_ms), &change);
}

void breaker_trip(struct breaker *b, uint64_t now_ms, struct breaker_change *change)
{
    uint64_t word = atomic_load(&b->word);
    *change = (struct breaker_change){state_of(word), state_of(word), 0};
    if (state_of(word) != BREAKER_OPEN || now_ms >= at_of(word))
        open_it(b, word, now_ms, change);
}

void breaker_clear(struct breaker *b)
{
    tally_clear(&b->calls);
    atomic_store(&b->streak, 0);
    atomic_store(&b->word, 0);
}
