/* gate: what each failure class does to a credential and its models, caps, budgets, and what the
 * upstream says is left; and that nothing is held after an end, whatever the threads do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/cells.h"
#include "gateway/channel.h"
#include "gateway/choose/eligible.h"
#include "llm/wire_openai_request.h"

struct world {
    struct cells *cells;
    struct channel channel;
    struct credential credentials[2];
    uint64_t now;
};

static int make(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    w.now = 10000000;
    w.cells = cells_new();
    w.channel.id = 7;
    w.channel.provider = provider_find(STR("openai"));
    w.channel.ops = OP_BIT(OP_CHAT);
    w.channel.cell = cells_channel(w.cells, 7, STR("east"));
    gate_init(&w.channel.cell->gate, w.now);
    for (int i = 0; i < 2; i++) {
        w.credentials[i].id = i + 1;
        w.credentials[i].cell = cells_credential(w.cells, w.channel.cell, i + 1);
    }
    w.channel.credentials = w.credentials;
    w.channel.credentials_n = 1;
    *state = &w;
    return 0;
}

static int done(void **state)
{
    struct world *w = *state;
    assert_int_equal(atomic_load(&w->channel.cell->gate.under_way), 0);
    cells_free(&w->cells);
    return 0;
}

static enum reason enter(struct world *w, const char *model, int64_t tokens, bool again,
                         struct gate_pass *pass)
{
    struct gate_ask ask = {gate_model(str_c(model)), tokens, again, w->now};
    enum reason look = gate_look(&w->channel, w->credentials[0].cell, &ask, NULL);
    enum reason why = gate_enter(&w->channel, w->credentials[0].cell, str_c(model), &ask, pass);
    assert_int_equal(look, why); /* nobody came in between */
    if (!why)
        gate_sent(pass, w->now);
    return why;
}

static uint64_t wait_of(struct world *w, const char *model, int64_t tokens)
{
    uint64_t wait = 0;
    struct gate_ask ask = {gate_model(str_c(model)), tokens, false, w->now};
    gate_look(&w->channel, w->credentials[0].cell, &ask, &wait);
    return wait;
}

/* One call that fails so; false: it was not let in. */
static bool break_by(struct world *w, const char *model, enum err e, unsigned kind,
                     int64_t retry_ms)
{
    struct gate_pass pass;
    struct fault f = {.err = e, .kind = kind, .retry_ms = retry_ms};
    if (enter(w, model, 10, false, &pass))
        return false;
    gate_fault(&pass, &f, w->now);
    gate_leave(&pass, -1, 0, w->now);
    return true;
}

static bool succeed(struct world *w, const char *model)
{
    struct gate_pass pass;
    if (enter(w, model, 10, false, &pass))
        return false;
    gate_leave(&pass, 1, 10, w->now);
    return true;
}

static void failures_of_the_server_open_that_model_only(void **state)
{
    struct world *w = *state;
    struct gate_pass pass;
    for (int i = 0; i < BREAKER_STREAK; i++)
        assert_true(break_by(w, "a", ERR_UPSTREAM_RESET, 0, 0));
    assert_int_equal(enter(w, "a", 1, false, &pass), REASON_BREAKER);
    assert_int_equal(wait_of(w, "a", 1), 5000);
    assert_true(gate_shut(w->credentials[0].cell, w->now));
    assert_int_equal(atomic_load(&w->channel.cell->gate.open), 1);
    assert_true(succeed(w, "b"));
    w->now += 5000;
    assert_int_equal(enter(w, "a", 1, false, &pass), REASON_NONE);
    struct gate_pass other;
    assert_int_equal(enter(w, "a", 1, false, &other), REASON_BREAKER); /* one probe at a time */
    gate_leave(&pass, 1, 1, w->now);
    assert_true(succeed(w, "a"));
    assert_int_equal(atomic_load(&w->channel.cell->gate.open), 0);
    assert_false(gate_shut(w->credentials[0].cell, w->now));
    assert_true(vitals_slow_start(&w->channel.cell->vitals, w->now) < 0.2);
}

static void other_classes_do_not_count(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 100; i++) {
        assert_true(break_by(w, "a", ERR_UPSTREAM_REQUEST, 0, 0));
        assert_true(break_by(w, "a", ERR_CLIENT_GONE, 0, 0));
        assert_true(break_by(w, "a", ERR_SHUTDOWN, 0, 0));
        assert_true(break_by(w, "a", ERR_NOMEM, 0, 0));
    }
    assert_true(succeed(w, "a"));
}

static void a_throttled_credential_cools_down(void **state)
{
    struct world *w = *state;
    struct gate_pass pass;
    assert_true(break_by(w, "a", ERR_UPSTREAM_THROTTLE, 0, 3000));
    assert_int_equal(enter(w, "b", 1, false, &pass), REASON_COOLING);
    assert_int_equal(wait_of(w, "b", 1), 3000);
    w->now += 3000;
    assert_true(succeed(w, "a"));
    /* without a word of when: a moment, growing, and less than a second */
    static const uint64_t steps[] = {200, 400, 800, 800, 800};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_true(break_by(w, "a", ERR_UPSTREAM_THROTTLE, 0, 0));
        assert_int_equal(wait_of(w, "a", 1), steps[i]);
        w->now += steps[i];
    }
    assert_true(succeed(w, "a"));
    assert_true(break_by(w, "a", ERR_UPSTREAM_THROTTLE, 0, 0));
    assert_int_equal(wait_of(w, "a", 1), 200);
    w->now += 200;
    assert_true(break_by(w, "a", ERR_UPSTREAM_THROTTLE, 0, 86400000));
    assert_int_equal(wait_of(w, "a", 1), GATE_COOL_TOLD_MS);
}

static void many_429_at_once_are_one(void **state)
{
    struct world *w = *state;
    struct gate_pass pass[10];
    struct fault f = {.err = ERR_UPSTREAM_THROTTLE};
    for (int i = 0; i < 10; i++)
        assert_int_equal(enter(w, "a", 1, false, &pass[i]), REASON_NONE);
    for (int i = 0; i < 10; i++) {
        gate_fault(&pass[i], &f, w->now);
        gate_leave(&pass[i], -1, 0, w->now);
    }
    assert_int_equal(wait_of(w, "a", 1), 200);
}

static void a_refused_credential_is_put_aside_and_comes_back(void **state)
{
    struct world *w = *state;
    uint64_t ms = GATE_ASIDE_MS;
    for (int i = 0; i < 8; i++) {
        assert_true(break_by(w, "a", ERR_UPSTREAM_KEY, 0, 0));
        assert_int_equal(wait_of(w, "other", 1), ms);
        w->now += ms;
        ms = ms * 2 < GATE_ASIDE_MAX_MS ? ms * 2 : GATE_ASIDE_MAX_MS;
    }
    assert_true(succeed(w, "a"));
    assert_true(break_by(w, "a", ERR_UPSTREAM_KEY, FAULT_NO_CREDIT, 0));
    assert_int_equal(wait_of(w, "a", 1), GATE_ASIDE_MS);
    gate_checked(w->credentials[0].cell, NULL, true, w->now); /* somebody has paid */
    assert_true(succeed(w, "a"));
}

static void a_check_of_a_wrong_mapping_says_nothing_of_the_credential(void **state)
{
    struct world *w = *state;
    struct fault f = {.err = ERR_UPSTREAM_KEY, .kind = FAULT_MAPPING};
    gate_checked(w->credentials[0].cell, &f, false, w->now);
    assert_true(succeed(w, "a"));
    f.kind = FAULT_PERMISSION;
    gate_checked(w->credentials[0].cell, &f, false, w->now);
    assert_int_equal(wait_of(w, "a", 1), GATE_ASIDE_MS);
}

static void a_wrong_mapping_shuts_that_model_only(void **state)
{
    struct world *w = *state;
    struct gate_pass pass;
    assert_true(break_by(w, "a", ERR_UPSTREAM_KEY, FAULT_MAPPING, 0));
    assert_int_equal(enter(w, "a", 1, false, &pass), REASON_BREAKER);
    assert_true(succeed(w, "b"));
}

static void what_is_never_sent_is_given_back(void **state)
{
    struct world *w = *state;
    struct gate_pass pass;
    struct gate_ask ask = {gate_model(STR("a")), 100, false, w->now};
    w->channel.rpm = 2;
    w->channel.tpm = 150;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(gate_enter(&w->channel, w->credentials[0].cell, STR("a"), &ask, &pass),
                         REASON_NONE);
        assert_int_equal(gate_look(&w->channel, w->credentials[0].cell, &ask, NULL), REASON_TPM);
        gate_leave(&pass, 0, 0, w->now);
    }
    w->channel.tpm = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(enter(w, "a", 1, false, &pass), REASON_NONE);
        gate_leave(&pass, 1, 1, w->now);
    }
    assert_int_equal(enter(w, "a", 1, false, &pass), REASON_RPM);
}

static void caps_hold(void **state)
{
    struct world *w = *state;
    struct gate_pass pass[4];
    w->channel.concurrency = 2;
    assert_int_equal(enter(w, "a", 1, false, &pass[0]), REASON_NONE);
    assert_int_equal(enter(w, "a", 1, false, &pass[1]), REASON_NONE);
    assert_int_equal(enter(w, "a", 1, false, &pass[2]), REASON_CONCURRENCY);
    gate_leave(&pass[0], 1, 1, w->now);
    gate_leave(&pass[1], 1, 1, w->now);
    gate_leave(&pass[1], 1, 1, w->now); /* held no longer: harmless */
    w->channel.concurrency = 0;
    w->channel.rpm = 3;
    for (int i = 0; i < 3; i++)
        assert_true(succeed(w, "a"));
    assert_int_equal(enter(w, "a", 1, false, &pass[0]), REASON_RPM);
    assert_in_range(wait_of(w, "a", 1), 58000, 60000);
    w->now += 60000;
    w->channel.rpm = 0;
    w->channel.tpm = 100;
    assert_int_equal(enter(w, "a", 60, false, &pass[0]), REASON_NONE);
    assert_int_equal(enter(w, "a", 60, false, &pass[1]), REASON_TPM);
    gate_leave(&pass[0], 1, 20, w->now); /* it used less than was reserved */
    assert_int_equal(enter(w, "a", 60, false, &pass[1]), REASON_NONE);
    gate_leave(&pass[1], 1, 60, w->now);
    assert_int_equal(enter(w, "a", 60, false, &pass[1]), REASON_TPM);
    w->now += 60000;
    assert_int_equal(enter(w, "a", 5000, false, &pass[0]), REASON_NONE); /* alone, it may */
    gate_leave(&pass[0], 1, 5000, w->now);
}

static void retries_have_a_budget(void **state)
{
    struct world *w = *state;
    struct gate_pass pass;
    unsigned passed = 0;
    for (int i = 0; i < 50; i++)
        if (!enter(w, "a", 1, true, &pass)) {
            passed++;
            gate_leave(&pass, 0, 0, w->now);
        }
    assert_int_equal(passed, 10);
    assert_int_equal(enter(w, "a", 1, true, &pass), REASON_BUDGET);
    for (int i = 0; i < 100; i++)
        assert_true(succeed(w, "a"));
    for (passed = 0; !enter(w, "a", 1, true, &pass); passed++)
        gate_leave(&pass, 0, 0, w->now);
    assert_int_equal(passed, 10); /* 20 in all: 20 % of 100 */
    w->now += 10000;
    assert_int_equal(enter(w, "a", 1, true, &pass), REASON_NONE);
    gate_leave(&pass, 0, 0, w->now);
}

static void say(struct world *w, int64_t limit, int64_t left, int64_t reset_ms)
{
    struct gate_pass pass;
    struct ratelimit r;
    ratelimit_init(&r);
    r.requests = (struct ratelimit_one){limit, left, reset_ms};
    assert_int_equal(enter(w, "a", 1, false, &pass), REASON_NONE);
    gate_limits(&pass, &r, w->now);
    gate_leave(&pass, 1, 1, w->now);
}

static void what_the_upstream_has_left_is_not_passed(void **state)
{
    struct world *w = *state;
    struct gate_pass pass[3];
    say(w, 100, 2, 20000); /* a window that begins anew in 20 s */
    assert_int_equal(enter(w, "a", 1, false, &pass[0]), REASON_NONE);
    assert_int_equal(enter(w, "a", 1, false, &pass[1]), REASON_NONE);
    assert_int_equal(enter(w, "a", 1, false, &pass[2]), REASON_HEADROOM);
    assert_int_equal(wait_of(w, "a", 1), 20000);
    assert_true(succeed(w, "b"));
    gate_leave(&pass[0], 1, 1, w->now);
    gate_leave(&pass[1], 1, 1, w->now);
    w->now += 20000;
    say(w, 600, 0, 60000); /* a bucket that gets one back each 100 ms */
    assert_int_equal(enter(w, "a", 1, false, &pass[0]), REASON_HEADROOM);
    assert_in_range(wait_of(w, "a", 1), 100, 101);
    w->now += 101;
    assert_true(succeed(w, "a"));
    assert_int_equal(enter(w, "a", 1, false, &pass[0]), REASON_HEADROOM);
    w->now += 60000;
    say(w, 10, 10, 0);
    assert_true(succeed(w, "a"));
}

static void more_models_than_cells_take_turns(void **state)
{
    struct world *w = *state;
    char name[32];
    unsigned shared = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "m-%d", i);
        for (int k = 0; k < BREAKER_STREAK; k++)
            shared += !break_by(w, name, ERR_CONNECT, 0, 0);
    }
    assert_true(shared > 0);
    int64_t open = atomic_load(&w->channel.cell->gate.open);
    assert_in_range(open, 20, GATE_MODELS + 1);
    w->now += BREAKER_OPEN_MAX_MS + GATE_MODEL_STALE_MS; /* nobody asks for them any more */
    for (int i = 1000; i < 1100; i++) {
        snprintf(name, sizeof name, "m-%d", i);
        assert_true(succeed(w, name));
        assert_true(break_by(w, name, ERR_CONNECT, 0, 0));
    }
    assert_in_range(atomic_load(&w->channel.cell->gate.open), 0, open - 1);
}

static void reasons_are_counted_and_the_first_recovery_told(void **state)
{
    struct world *w = *state;
    char text[256];
    struct reasons r = {0};
    struct eligible e;
    struct eligible_ask ask = {.op = OP_CHAT, .now_ms = w->now};
    assert_string_equal(reasons_text(&r, text), "it has none");
    assert_true(break_by(w, "a", ERR_UPSTREAM_THROTTLE, 0, 3000));
    eligible_look(&ask, &w->channel, STR("a"), &e);
    assert_int_equal(e.why, REASON_COOLING);
    reasons_add(&r, e.why, e.wait_ms);
    reasons_add(&r, REASON_RPM, 9000);
    assert_true(reasons_throttled(&r));
    assert_int_equal(r.wait_ms, 3000);
    reasons_add(&r, REASON_BREAKER, 400);
    reasons_add(&r, REASON_BREAKER, 500);
    assert_false(reasons_throttled(&r));
    assert_int_equal(r.wait_ms, 400);
    assert_string_equal(reasons_text(&r, text), "2 breaker open, 1 cooling down, 1 over rpm");
    w->channel.credentials_n = 2; /* the second one takes over */
    eligible_look(&ask, &w->channel, STR("a"), &e);
    assert_int_equal(e.why, REASON_NONE);
    assert_int_equal(e.credential->id, 2);
    struct tried tried[] = {{7, 2}, {7, -1}};
    ask.tried = tried;
    ask.tried_n = 1;
    eligible_look(&ask, &w->channel, STR("a"), &e);
    assert_int_equal(e.why, REASON_COOLING);
    ask.tried_n = 2;
    eligible_look(&ask, &w->channel, STR("a"), &e);
    assert_int_equal(e.why, REASON_TRIED);
    ask.tried_n = 0;
    ask.op = OP_EMBEDDINGS;
    eligible_look(&ask, &w->channel, STR("a"), &e);
    assert_int_equal(e.why, REASON_OPERATION);
}

enum { THREADS = 4, ROUNDS = 4000 };
static struct world *shared;
static _Atomic int64_t inside, worst;

static void *hammer(void *arg)
{
    static const enum err ends[] = {ERR_OK,     ERR_UPSTREAM_RESET, ERR_UPSTREAM_THROTTLE,
                                    ERR_OK,     ERR_UPSTREAM_KEY,   ERR_UPSTREAM_REQUEST,
                                    ERR_CONNECT};
    struct credential_cell *c = shared->credentials[0].cell;
    char name[16];
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct gate_pass pass;
        snprintf(name, sizeof name, "m%d", (int)(i % 90));
        struct gate_ask ask = {gate_model(str_c(name)), 5, i % 7 == 0, shared->now + i * 100};
        gate_look(&shared->channel, c, &ask, NULL);
        if (gate_enter(&shared->channel, c, str_c(name), &ask, &pass))
            continue;
        int64_t n = atomic_fetch_add(&inside, 1) + 1, w = atomic_load(&worst);
        while (n > w && !atomic_compare_exchange_weak(&worst, &w, n))
            ;
        if (i % 3)
            gate_sent(&pass, ask.now_ms);
        struct fault f = {.err = ends[i % 7]};
        if (f.err)
            gate_fault(&pass, &f, ask.now_ms);
        atomic_fetch_sub(&inside, 1);
        gate_leave(&pass, f.err ? -1 : 1, 5, ask.now_ms);
        gate_checked(c, NULL, true, ask.now_ms);
    }
    return NULL;
}

static void threads_hold_the_caps(void **state)
{
    pthread_t t[THREADS];
    shared = *state;
    shared->channel.concurrency = 2;
    shared->channel.rpm = 1000;
    shared->channel.tpm = 100000;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_in_range(worst, 1, 2);
    assert_int_equal(atomic_load(&shared->channel.cell->gate.tpm.in_flight), 0);
    assert_int_equal(atomic_load(&shared->channel.cell->gate.rpm.in_flight), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(failures_of_the_server_open_that_model_only),
        T(other_classes_do_not_count),
        T(a_throttled_credential_cools_down),
        T(many_429_at_once_are_one),
        T(a_refused_credential_is_put_aside_and_comes_back),
        T(a_check_of_a_wrong_mapping_says_nothing_of_the_credential),
        T(a_wrong_mapping_shuts_that_model_only),
        T(what_is_never_sent_is_given_back),
        T(caps_hold),
        T(retries_have_a_budget),
        T(what_the_upstream_has_left_is_not_passed),
        T(more_models_than_cells_take_turns),
        T(reasons_are_counted_and_the_first_recovery_told),
        T(threads_hold_the_caps),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
