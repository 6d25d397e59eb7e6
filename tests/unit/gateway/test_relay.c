/* relay: one worker on the test's own thread, callers and upstreams at the other ends of
 * socketpairs, the journal a recorder. What a caller gets is compared byte by byte, however the
 * upstream's answer is cut and wherever it ends; every admitted request must settle exactly once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "gateway/memory/idempotency.h"
#include "gateway/memory/recall.h"
#include "net/scratch.h"

/* ---- the journal, as a recorder --------------------------------------------------------- */

static unsigned admitted, settled, attempts, progressed;
static bool caller_was_first; /* it had a byte before the first progress was journaled */
static int caller = -1;       /* our end */
static struct ledger_settled last;
static struct ledger_attempt last_attempt;

struct journal_ring *journal_ring(struct journal *j, unsigned worker)
{
    return NULL;
}

enum err journal_admitted(struct journal_ring *r, const struct ledger_admitted *a)
{
    admitted++;
    return ERR_OK;
}

void journal_progress(struct journal_ring *r, const struct ledger_progress *p)
{
    char byte;
    if (!progressed++)
        caller_was_first = recv(caller, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void journal_attempt(struct journal_ring *r, const struct ledger_attempt *a)
{
    attempts++;
    progressed = 0; /* what was noted before is forgotten: see journal_open.c */
    last_attempt = *a;
}

void journal_settled(struct journal_ring *r, const struct ledger_settled *s)
{
    settled++;
    last = *s;
}

uint64_t journal_mark(const struct journal_ring *r)
{
    return 0;
}

uint64_t journal_synced(const struct journal_ring *r)
{
    return 0;
}

bool journal_usable(struct journal *j)
{
    return true;
}

void journal_stats(struct journal *j, struct journal_stats *out)
{
    memset(out, 0, sizeof *out);
}

/* ---- the bench ------------------------------------------------------------------------------ */

#define UPSTREAMS 16
#define CHANNELS  3

static struct gateway gateway;
static struct worker *worker;
static struct snapshot *snapshot;
static struct apikey_pepper pepper;
static char key_text[APIKEY_TEXT_MAX];
static struct channel *channels[CHANNELS];
static struct channel_cell cells[CHANNELS];
static struct credential_cell credential_cells[CHANNELS][2];
static struct tenant tenant;
static struct api_key key;
static struct route route;
static struct candidate candidates[CHANNELS];
static int upstream[UPSTREAMS]; /* our ends */
static unsigned opened;
static struct buf got; /* by the caller */
static bool caller_eof;

static void make_pair(int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

static int open_upstream(void *unused)
{
    int fd[2];
    if (opened == UPSTREAMS)
        return -1;
    make_pair(fd);
    upstream[opened++] = fd[0];
    return fd[1];
}

/* What earlier requests have taught is forgotten. */
static void forget(void)
{
    for (int i = 0; i < CHANNELS; i++) {
        memset(&cells[i].gate, 0, sizeof cells[i].gate);
        gate_init(&cells[i].gate, clock_mono_ms());
        for (int k = 0; k < 2; k++) {
            gate_release(&credential_cells[i][k]);
            credential_cells[i][k] = (struct credential_cell){.channel = &cells[i]};
        }
    }
}

static struct channel *make_channel(int64_t id, int priority)
{
    struct channel *ch = channel_new();
    ch->id = id;
    ch->name = STR("c");
    ch->provider = provider_find(STR("demo"));
    str_copy(ch->url.host, sizeof ch->url.host, STR("demo.invalid"));
    ch->url.host_n = 12;
    ch->url.port = 80;
    ch->at.prefix = STR("/v1");
    ch->ops = ch->provider->ops;
    ch->priority = priority;
    ch->weight = 1;
    ch->connect_ms = 5000;
    ch->ttft_ms = 120000;
    ch->chunk_ms = 60000;
    ch->total_ms = 600000;
    ch->credentials = arena_zalloc(&ch->arena, 2 * sizeof *ch->credentials);
    ch->credentials[0].id = id * 10;
    ch->credentials[1].id = id * 10 + 1;
    ch->credentials_n = 1;
    ch->cell = &cells[id - 1];
    vitals_init(&ch->cell->vitals, clock_mono_ms());
    for (int i = 0; i < 2; i++)
        ch->credentials[i].cell = &credential_cells[id - 1][i];
    assert_int_equal(channel_seal(ch), ERR_OK);
    return ch;
}

static void make_snapshot(void)
{
    struct apikey_hasher hasher;
    uint8_t digest[32];
    apikey_mint(key_text);
    apikey_hasher_init(&hasher, &pepper);
    apikey_digest(&hasher, str_c(key_text), digest);
    snapshot = mem_zalloc(sizeof *snapshot);
    atomic_init(&snapshot->refs, 1);
    arena_init(&snapshot->arena, 1 << 20);
    map_init(&snapshot->keys, 16);
    map_init(&tenant.exact, 16);
    for (int i = 0; i < CHANNELS; i++) {
        channels[i] = make_channel(i + 1, CHANNELS - i);
        candidates[i] = (struct candidate){channels[i], STR_NULL, ROW_NULL, ROW_NULL};
    }
    route = (struct route){
        .name = STR("m"), .algorithm = balance_default(), .candidates = candidates, .n = CHANNELS};
    tenant.id = 7;
    assert_int_equal(map_put(&tenant.exact, STR("m"), &route), ERR_OK);
    memcpy(key.digest, digest, 32);
    key.id = 3;
    key.tenant = &tenant;
    assert_int_equal(map_put(&snapshot->keys, str_make((const char *)key.digest, 32), &key),
                     ERR_OK);
}

static int setup_all(void **state)
{
    struct err_info info;
    clock_init();
    signal(SIGPIPE, SIG_IGN);
    gateway.catalogue = model_catalogue_builtin();
    gateway.settings = (struct gateway_settings){.workers = 1,
                                                 .max_body_bytes = 8 << 20,
                                                 .max_held_bytes = 1 << 20,
                                                 .memory_budget_bytes = 1 << 30,
                                                 .head_ms = 10000,
                                                 .idle_ms = 75000,
                                                 .body_stall_ms = 30000,
                                                 .write_stall_ms = 60000,
                                                 .linger_ms = 1000,
                                                 .dns_ms = 5000,
                                                 .ping_ms = 15000,
                                                 .pool_idle_ms = 50000,
                                                 .attempts_max = 3,
                                                 .retry_wall_ms = 600000,
                                                 .stop_ms = 1000};
    gateway.pepper = &pepper;
    gateway.demo_open = open_upstream;
    make_snapshot();
    buf_init(&got, 32 << 20);
    enum err e = worker_new(&gateway, 0, snapshot, &info);
    worker = gateway.workers[0];
    return e != ERR_OK;
}

static void release_map(struct map *m)
{
    size_t at = 0;
    struct str k;
    void *v;
    while (map_next(m, &at, &k, &v))
        mem_free(v);
    map_release(m);
}

/* The thread of the loop is ours; what loop_free still runs is part of the test. */
static int teardown_all(void **state)
{
    http_server_release(&worker->server);
    http_client_release(&worker->client);
    dns_close(&worker->dns);
    loop_free(&worker->loop);
    release_map(&worker->routes);
    idem_shard_free(&worker->idem);
    recall_shard_free(&worker->recall);
    release_map(&worker->origins);
    snapshot_unref(&worker->snapshot);
    snapshot_unref(&snapshot);
    map_release(&tenant.exact);
    for (int i = 0; i < CHANNELS; i++)
        channel_unref(&channels[i]);
    forget();
    mem_free(worker);
    buf_release(&got);
    scratch_release();
    return 0;
}

struct spin {
    struct message m;
    unsigned left;
};

static void on_spin(struct message *m)
{
    struct spin *s = (struct spin *)m;
    if (s->left-- == 0)
        loop_stop(worker->loop);
    else
        loop_post(worker->loop, &s->m);
}

static void read_caller(void)
{
    static char piece[65536];
    ssize_t n;
    while (caller >= 0 && (n = read(caller, piece, sizeof piece)) >= 0) {
        if (n == 0) {
            caller_eof = true;
            break;
        }
        buf_add(&got, piece, (size_t)n);
    }
}

/* Lets the loop turn until everything that can happen has happened. */
static void turn(void)
{
    struct spin s = {.m.run = on_spin, .left = 8};
    loop_post(worker->loop, &s.m);
    loop_run(worker->loop);
    read_caller();
}

/* Minutes pass. */
static void wait_ms(uint64_t ms)
{
    clock_test_offset_ns(clock_offset_ns() + (int64_t)ms * 1000000);
    for (int i = 0; i < 6; i++) {
        usleep(10000);
        turn();
    }
}

static void begin(const char *path, const char *body)
{
    int fd[2];
    char text[4096];
    struct addr peer = {0};
    admitted = settled = attempts = progressed = opened = 0;
    caller_was_first = false;
    forget();
    caller_eof = false;
    memset(&last, 0, sizeof last);
    buf_reset(&got);
    make_pair(fd);
    caller = fd[0];
    http_server_accept(&worker->server, fd[1], &peer);
    int n = snprintf(text, sizeof text,
                     "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     path, key_text, strlen(body));
    (void)!write(caller, text, (size_t)n); /* a connection that had no memory is closed already */
    (void)!write(caller, body, strlen(body));
    turn();
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void end(void)
{
    close_fd(&caller);
    for (unsigned i = 0; i < opened; i++)
        close_fd(&upstream[i]);
    turn();
    assert_null(worker->requests);
    assert_int_equal(worker->requests_n, 0);
    assert_int_equal(admitted, settled);
    assert_int_equal(atomic_load(&worker->body_bytes), 0);
    for (int i = 0; i < CHANNELS; i++)
        assert_int_equal(vitals_in_flight(&cells[i].vitals), 0);
    for (int i = 0; i < CHANNELS; i++)
        assert_int_equal(atomic_load(&cells[i].gate.under_way), 0);
}

static void say_bytes(unsigned up, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(upstream[up], p, n);
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (errno != EAGAIN) {
            return; /* Lyss has closed it */
        }
        turn();
    }
}

static void say(unsigned up, const char *z)
{
    say_bytes(up, z, strlen(z));
}

static void hang_up(unsigned up)
{
    close_fd(&upstream[up]);
    turn();
}

/* The reply's body, its chunks joined. *whole: the last chunk was there. */
static struct str body_of(bool *whole)
{
    static struct buf b;
    b.max = 32 << 20;
    buf_reset(&b);
    *whole = false;
    ptrdiff_t at = str_find(buf_view(&got), STR("\r\n\r\n"));
    if (at < 0)
        return STR_NULL;
    struct str in = str_from(buf_view(&got), (size_t)at + 4);
    if (str_find(str_make(got.p, (size_t)at), STR("Transfer-Encoding: chunked")) < 0) {
        buf_str(&b, in);
        in.n = 0;
    }
    while (in.n) {
        char *stop;
        size_t n = strtoul(in.p, &stop, 16);
        in = str_from(in, (size_t)(stop - in.p) + 2);
        *whole = n == 0;
        if (!n)
            break;
        buf_add(&b, in.p, n);
        in = str_from(in, n + 2);
    }
    char *copy = test_malloc(b.n + 1); /* so that an overrun of it is seen */
    memcpy(copy, buf_view(&b).p, b.n);
    copy[b.n] = 0;
    struct str s = str_make(copy, b.n);
    return s;
}

static void expect_body(const char *want, size_t want_n, bool want_whole)
{
    bool whole;
    struct str s = body_of(&whole);
    if (s.n != want_n || memcmp(s.p, want, want_n) != 0)
        fail_msg("want %zu bytes:\n%.300s\ngot %zu:\n%.300s", want_n, want, s.n, s.p ? s.p : "");
    assert_int_equal(whole, want_whole);
    test_free((void *)s.p);
}

static bool got_has(const char *z)
{
    return str_find(buf_view(&got), str_c(z)) >= 0;
}

static bool got_status(const char *code)
{
    return got.n > 12 && memcmp(got.p + 9, code, 3) == 0;
}

#define CHAT "/v1/chat/completions"
#define ASK_STREAM                                                                                 \
    "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_WHOLE "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define HEAD_STREAM                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define ROLE                                                                                       \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define WORD(w) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" w "\"}}]}\n\n"
#define STOP    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"                \
    "\"total_tokens\":14}}\n\n"
#define DONE "data: [DONE]\n\n"

static void reply_status(unsigned up, const char *status, const char *more, const char *body)
{
    char text[2048];
    snprintf(text, sizeof text,
             "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, more,
             strlen(body), body);
    say(up, text);
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static const char full[] = ROLE ": a comment\n\n" WORD(
    "one") "\n"
           "data: {\"choices\":[{\"index\":0,\r\n"
           "data: \"delta\":{\"content\":\" two\"}}]}\r\n\r\n" STOP USAGE DONE;
/* The usage was not asked for, and what came before the commit as a comment only fed the timer. */
static const char seen[] =
    ROLE WORD("one") "\n"
                     "data: {\"choices\":[{\"index\":0,\r\n"
                     "data: \"delta\":{\"content\":\" two\"}}]}\r\n\r\n" STOP DONE;

static void expect_completed(void)
{
    assert_int_equal(settled, 1);
    assert_int_equal(last.state, LEDGER_COMPLETED);
    assert_int_equal(last.c.in_uncached, 9);
    assert_int_equal(last.c.out_text, 5);
    assert_false(last.estimated);
    expect_body(seen, sizeof seen - 1, true);
}

static void test_stream(void **state)
{
    begin(CHAT, ASK_STREAM);
    say(0, HEAD_STREAM);
    say(0, full);
    expect_completed();
    end();
    for (size_t cut = 1; cut < sizeof full - 1; cut++) { /* in two */
        begin(CHAT, ASK_STREAM);
        say(0, HEAD_STREAM);
        say_bytes(0, full, cut);
        say_bytes(0, full + cut, sizeof full - 1 - cut);
        expect_completed();
        end();
    }
    begin(CHAT, ASK_STREAM); /* byte by byte, behind its end too */
    say(0, HEAD_STREAM);
    for (size_t i = 0; i < sizeof full - 1; i++)
        say_bytes(0, full + i, 1);
    say(0, WORD("late"));
    expect_completed();
    end();
}

/* Where the first event of content ends in `full`. */
static size_t commit_at(void)
{
    return (size_t)str_find(str_c(full), STR("one")) + strlen("one\"}}]}\n\n");
}

static void test_stream_cut(void **state)
{
    worker->settings.attempts_max = 1;
    for (size_t cut = 0; cut < sizeof full - 1; cut++) {
        begin(CHAT, ASK_STREAM);
        say(0, HEAD_STREAM);
        say_bytes(0, full, cut);
        hang_up(0);
        assert_int_equal(settled, 1);
        assert_int_equal(last.state, LEDGER_INCOMPLETE);
        assert_false(got_has("[DONE]"));
        if (cut < commit_at()) {
            assert_true(got_status("502"));
        } else {
            bool whole;
            struct str body = body_of(&whole);
            ptrdiff_t at = str_find(body, STR("data: {\"error\""));
            assert_false(whole);
            assert_true(at > 0);
            assert_true(caller_eof);
            assert_memory_equal(body.p, seen, (size_t)at); /* whole events, in order */
            assert_true(str_find(body, STR("\"retryable\":true")) > 0);
            test_free((void *)body.p);
        }
        end();
    }
    worker->settings.attempts_max = 3;
}

static void test_failover(void **state)
{
    static const char *const faults[] = {
        ROLE, "", ROLE "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n",
        "data: {\"id\":\"half", "data: <html>\n\n"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        begin(CHAT, ASK_STREAM);
        say(0, HEAD_STREAM);
        say(0, faults[i]);
        hang_up(0);
        assert_int_equal(opened, 2);
        assert_int_equal(got.n, 0);
        int64_t first_in = last_attempt.c.in_uncached;
        assert_true(first_in > 0); /* it had answered */
        say(1, HEAD_STREAM);
        say(1, full);
        assert_int_equal(last.c.in_uncached, last_attempt.c.in_uncached + first_in);
        last.c = last_attempt.c; /* the row holds the sums */
        last.estimated = 0;
        expect_completed();
        assert_int_equal(last.attempts, 2);
        assert_int_equal(attempts, 2);
        assert_int_equal(last.channel_id, 2);
        assert_true(got_has("x-lyss-attempts: 2\r\n"));
        end();
    }
}

static void test_error_in_the_middle(void **state)
{
    begin(CHAT, ASK_STREAM);
    say(0, HEAD_STREAM);
    say(0, ROLE WORD("one") "data: {\"error\":{\"message\":\"broken\"}}\n\n" WORD("two") DONE);
    bool whole;
    struct str body = body_of(&whole);
    assert_false(whole);
    assert_memory_equal(body.p, ROLE WORD("one"), strlen(ROLE WORD("one")));
    test_free((void *)body.p);
    assert_true(got_has("broken"));
    assert_false(got_has("two"));
    assert_false(got_has("[DONE]"));
    assert_int_equal(last.state, LEDGER_UPSTREAM_ERROR);
    end();
}

static void fill(struct buf *b, size_t n)
{
    buf_lit(b, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
    for (size_t i = 0; i < n; i++)
        buf_char(b, (char)('a' + i % 26));
    buf_lit(b, "\"}}]}\r\ndata: \r\n\r\n");
}

static void test_torn(void **state)
{
    struct buf all;
    buf_init(&all, 1 << 20);
    buf_lit(&all, ROLE WORD("one"));
    fill(&all, 200000);
    size_t torn_end = all.n;
    buf_lit(&all, WORD("two") STOP DONE);
    for (size_t back = 0; back < 16; back++) { /* the pieces meet around the torn event's end */
        begin(CHAT, ASK_STREAM);
        say(0, HEAD_STREAM);
        say_bytes(0, all.p, torn_end - back);
        say_bytes(0, all.p + torn_end - back, all.n - torn_end + back);
        assert_int_equal(last.state, LEDGER_COMPLETED);
        expect_body(all.p, all.n, true);
        end();
    }
    begin(CHAT, ASK_STREAM); /* a failure inside it is told by the end alone */
    say(0, HEAD_STREAM);
    say_bytes(0, all.p, 150000);
    hang_up(0);
    assert_int_equal(last.state, LEDGER_INCOMPLETE);
    assert_true(caller_eof);
    expect_body(all.p, 150000, false);
    end();
    begin(CHAT, ASK_STREAM); /* behind it, in-band again; and pings */
    say(0, HEAD_STREAM);
    say_bytes(0, all.p, torn_end);
    wait_ms(16000);
    assert_true(got_has(": ping\n\n"));
    hang_up(0);
    assert_int_equal(last.state, LEDGER_INCOMPLETE);
    assert_true(got_has("data: {\"error\""));
    end();
    buf_release(&all);
}

/* A first ping fixes the head, not the commit. */
static void test_ping_before_commit(void **state)
{
    begin(CHAT, ASK_STREAM);
    say(0, HEAD_STREAM ROLE "data: {\"cho");
    wait_ms(16000);
    expect_body(": ping\n\n", 8, false);
    hang_up(0);
    assert_int_equal(opened, 2);
    assert_int_equal(settled, 0);
    reply_status(1, "500 Oops", "", "{\"error\":{\"message\":\"no\"}}");
    assert_int_equal(opened, 3);
    say(2, HEAD_STREAM);
    say(2, full);
    assert_int_equal(last.state, LEDGER_COMPLETED);
    char want[sizeof seen + 8];
    memcpy(want, ": ping\n\n", 8);
    memcpy(want + 8, seen, sizeof seen);
    expect_body(want, 8 + sizeof seen - 1, true);
    end();
    begin(CHAT, ASK_STREAM); /* all attempts fail: told in-band */
    wait_ms(16000);
    for (unsigned i = 0; i < 3; i++)
        reply_status(i, "500 Oops", "", "{\"error\":{\"message\":\"no\"}}");
    assert_true(got_has(": ping\n\n"));
    assert_true(got_has("data: {\"error\""));
    assert_true(caller_eof);
    assert_int_equal(last.state, LEDGER_UPSTREAM_ERROR);
    assert_int_equal(last.status, 200);
    end();
}

static void test_timers(void **state)
{
    begin(CHAT, ASK_STREAM); /* comments do not put the first token off */
    say(0, HEAD_STREAM);
    for (int i = 0; i < 4; i++) {
        wait_ms(29000);
        say(0, ": busy\n\n");
    }
    assert_int_equal(opened, 1);
    wait_ms(5000);
    assert_int_equal(opened, 2);
    say(1, HEAD_STREAM ROLE WORD("one"));
    for (int i = 0; i < 3; i++) { /* but they keep the gap between chunks open */
        wait_ms(40000);
        say(1, ": busy\n\n");
    }
    assert_int_equal(settled, 0);
    wait_ms(61000);
    assert_int_equal(settled, 1);
    assert_int_equal(last.state, LEDGER_TIMEOUT);
    assert_true(got_has("data: {\"error\""));
    end();
}

/* ---- failures before the commit
 * ------------------------------------------------------------------- */

static void test_statuses(void **state)
{
    static const struct {
        const char *status, *got;
        unsigned tries;
    } rows[] = {
        {"400 Bad", "400", 1},  {"404 No", "404", 1},   {"422 No", "422", 1},
        {"429 Slow", "429", 3}, {"500 Oops", "500", 3}, {"503 Oops", "503", 3},
        {"529 Full", "503", 3}, {"401 Key", "502", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(CHAT, ASK_WHOLE);
        for (unsigned k = 0; k < rows[i].tries; k++)
            reply_status(k, rows[i].status, "Retry-After: 3\r\nx-ratelimit-limit-requests: 5\r\n",
                         "{\"error\":{\"message\":\"no\"}}");
        assert_int_equal(opened, rows[i].tries);
        assert_true(got_status(rows[i].got));
        ptrdiff_t at = str_find(buf_view(&got), STR("etry-"));
        assert_true(at > 0);
        assert_true(str_find(str_from(buf_view(&got), (size_t)at + 1), STR("etry-A")) <
                    0); /* once */
        assert_int_equal(settled, 1);
        assert_int_equal(attempts, rows[i].tries > 1 ? rows[i].tries : 0);
        end();
    }
}

static void test_next_credential(void **state)
{
    channels[0]->credentials_n = 2;
    begin(CHAT, ASK_WHOLE);
    reply_status(0, "401 Key", "", "{}");
    assert_int_equal(opened, 2);
    reply_status(1, "200 OK", "Content-Type: application/json\r\n",
                 "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}");
    assert_true(got_status("200"));
    assert_int_equal(last.channel_id, 1);
    assert_int_equal(attempts, 2);
    assert_int_equal(last.credential_id + last_attempt.credential_id, 2 * last.credential_id);
    end();
    channels[0]->credentials_n = 1;
}

static void test_whole(void **state)
{
    static const char good[] =
        "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}";
    static const char *const bad[] = {"", "<html>", "{\"choices\":[", "[]", "{} x"};
    begin(CHAT, ASK_WHOLE);
    for (unsigned i = 0; i < 2; i++)
        reply_status(i, "200 OK", "", bad[i]);
    reply_status(2, "200 OK", "", good);
    assert_true(got_status("200"));
    expect_body(good, sizeof good - 1, false);
    assert_int_equal(last_attempt.c.in_uncached,
                     4); /* the row adds the estimates of the first two */
    assert_int_equal(last.attempts, 3);
    end();
    for (size_t i = 2; i < sizeof bad / sizeof *bad; i++) {
        begin(CHAT, ASK_WHOLE);
        for (unsigned k = 0; k < 3; k++)
            reply_status(k, "200 OK", "", bad[i]);
        assert_true(got_status("502"));
        end();
    }
}

/* A slow caller stops the reading of its answer, not that of the connection's next one. */
static void test_pause_and_reuse(void **state)
{
    struct buf b;
    buf_init(&b, 4 << 20);
    buf_lit(&b, "{\"object\":\"list\",\"data\":[0");
    while (b.n < 2 << 20)
        buf_lit(&b, ",0.25");
    buf_lit(&b, "]}");
    char head[200];
    begin("/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}");
    int slow = caller;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", b.n);
    say(0, head);
    caller = -1; /* takes nothing */
    size_t sent = 0;
    for (int i = 0; i < 200; i++) {
        ssize_t k = write(upstream[0], b.p + sent, b.n - sent);
        sent += k > 0 ? (size_t)k : 0;
        turn();
    }
    assert_non_null(worker->requests);
    assert_true(worker->requests->paused);
    assert_true(sent < b.n);
    caller = slow;
    say_bytes(0, b.p + sent, b.n - sent);
    turn();
    assert_int_equal(last.state, LEDGER_COMPLETED);
    expect_body(b.p, b.n, true);
    close_fd(&caller);
    turn();
    int kept = upstream[0];
    begin(CHAT, ASK_WHOLE); /* over the connection that was kept */
    assert_int_equal(opened, 0);
    upstream[opened++] = kept;
    reply_status(0, "200 OK", "", "{\"choices\":[{\"message\":{},\"finish_reason\":\"stop\"}]}");
    assert_int_equal(last.state, LEDGER_COMPLETED);
    end();
    buf_release(&b);
}

/* What Lyss waits for is not its own time. */
static void test_overhead(void **state)
{
    begin(CHAT, ASK_WHOLE);
    say(0, "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n");
    wait_ms(5000);
    say(0, "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}");
    assert_int_equal(last.state, LEDGER_COMPLETED);
    assert_true(last.overhead_us < 4000000);
    assert_true(last.total_us > 4000000);
    end();
}

/* Longer than what is held: passed on as it comes, its usage read from its last bytes. */
static void test_long_whole(void **state)
{
    struct buf b;
    buf_init(&b, 4 << 20);
    buf_lit(&b, "{\"object\":\"list\",\"data\":[{\"embedding\":[0");
    while (b.n < 2 << 20)
        buf_lit(&b, ",0.25");
    buf_lit(&b, "]}],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8},\"id\":\"x\"}\n");
    for (int cut = 0; cut < 2; cut++) {
        char head[200];
        begin("/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}");
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", b.n);
        say(0, head);
        say_bytes(0, b.p, cut ? b.n - 1 : b.n);
        hang_up(0);
        assert_int_equal(last.state, cut ? LEDGER_INCOMPLETE : LEDGER_COMPLETED);
        assert_int_equal(last.c.out_text, 0);
        if (!cut)
            assert_int_equal(last.c.in_uncached, 8);
        expect_body(b.p, cut ? b.n - 1 : b.n, !cut);
        end();
    }
    buf_release(&b);
}

/* A process killed between the two would give away what the journal does not know. */
static void what_a_caller_gets_is_journaled_first(void **state)
{
    char head[200];
    begin(CHAT, ASK_STREAM);
    say(0, HEAD_STREAM ROLE);
    say(0, WORD("one"));
    assert_true(got_has("one"));
    assert_int_equal(progressed, 1);
    assert_false(caller_was_first);
    end();
    begin("/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}"); /* whole, too long to be held */
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n{", 8u << 20);
    say(0, head);
    for (size_t n = 0; n < 2u << 20; n += sizeof head)
        say_bytes(0, memset(head, ' ', sizeof head), sizeof head);
    assert_true(got.n > 1 << 20);
    assert_int_equal(progressed, 1);
    assert_false(caller_was_first);
    wait_ms(1001);
    say(0, " ");
    assert_int_equal(progressed, 2);
    end();
}

/* The record of the leg that lost does not hide what the other has begun. */
static void what_a_caller_gets_of_two_legs_is_journaled_first(void **state)
{
    route.hedge_percent = route.hedge_cost_percent = 100;
    for (int i = 0; i < 10; i++)
        vitals_first(&cells[0].vitals, loop_now_ms(worker->loop), 10);
    for (int both = 0; both < 2; both++) {
        begin(CHAT, ASK_STREAM);
        wait_ms(1000);
        assert_int_equal(opened, 2);
        say(1, HEAD_STREAM ROLE);
        if (both)
            say(0, HEAD_STREAM ROLE);
        assert_int_equal(attempts, 0);
        say(1, WORD("one"));
        assert_true(got_has("one"));
        assert_int_equal(attempts, 1);
        assert_int_equal(progressed, 1);
        assert_false(caller_was_first);
        end();
    }
    route.hedge_percent = route.hedge_cost_percent = 0;
}

/* ---- the memory budget ------------------------------------------------------------------ */

#define BIG_ASK_BYTES (100u << 10)

/* A question of BIG_ASK_BYTES. */
static const char *big_ask(void)
{
    static char text[BIG_ASK_BYTES + 1];
    int n = snprintf(text, sizeof text, "%.*s", (int)sizeof ASK_WHOLE - 5, ASK_WHOLE);
    memset(text + n, 'x', BIG_ASK_BYTES - (size_t)n);
    memcpy(text + BIG_ASK_BYTES - 4, "\"}]}", 4);
    return text;
}

/* The head of an answer of n bytes and its first byte. */
static void begin_reply(unsigned up, size_t n)
{
    char head[200];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n{", n);
    say(up, head);
}

static void take_budget(bool all)
{
    gateway.settings.memory_budget_bytes = all ? 0 : 1 << 30;
}

/* What an upstream has begun to write is paid for: it is not asked of another one. */
static void a_full_budget_is_no_reason_to_ask_again(void **state)
{
    const char *const asks[] = {ASK_WHOLE, big_ask()};
    for (int i = 0; i < 4; i++) {
        begin(CHAT, asks[i % 2]);
        take_budget(true);
        if (i < 2) {
            begin_reply(0, 65537);
        } else { /* its length is not told */
            say(0, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{");
            for (int k = 0; k < 9 && !settled; k++)
                say_bytes(0, big_ask(), 8192);
        }
        assert_int_equal(opened, 1);
        assert_true(got_status("503"));
        assert_int_equal(last.state, LEDGER_UPSTREAM_ERROR);
        assert_int_equal(last.attempts, 1);
        assert_true(last.estimated && last.c.in_uncached > 0);
        take_budget(false);
        end();
    }
}

static void a_small_answer_needs_no_budget(void **state)
{
    static const char answer[] =
        "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}";
    begin(CHAT, big_ask());
    take_budget(true);
    reply_status(0, "200 OK", "", answer);
    assert_true(got_status("200"));
    expect_body(answer, sizeof answer - 1, false);
    take_budget(false);
    end();
    begin(CHAT, big_ask());
    take_budget(true);
    reply_status(0, "400 Bad Request", "", "{\"error\":{\"message\":\"so not\"}}");
    assert_int_equal(opened, 1);
    assert_true(got_status("400") && got_has("so not"));
    take_budget(false);
    end();
}

/* A little more counts: the request's plan, and what is small. */
static void expect_counted(size_t bytes)
{
    uint64_t n = atomic_load(&worker->body_bytes);
    if (n < bytes || n > bytes + (32u << 10))
        fail_msg("%llu bytes are counted, want %zu", (unsigned long long)n, bytes);
}

/* What answers have taken stays in the arena until the request has ended. */
static void what_is_held_counts_as_a_whole(void **state)
{
    static const size_t doubled = 508u << 10; /* 4 and 8 to 256 KiB */
    begin(CHAT, ASK_WHOLE);
    for (unsigned up = 0; up < 2; up++) {
        say(up, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n");
        for (int i = 0; i < 50; i++)
            say_bytes(up, big_ask(), 4096);
        expect_counted((up + 1) * doubled);
        hang_up(up);
    }
    end();
}

static void the_body_of_two_legs_counts_once(void **state)
{
    static const char start[] = "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n{";
    for (int lost = 0; lost < 2; lost++) {
        uint64_t now_ms = loop_now_ms(worker->loop);
        route.hedge_percent = route.hedge_cost_percent = 100;
        for (int i = 0; i < 10; i++)
            vitals_first(&cells[0].vitals, now_ms, 10);
        begin(CHAT, big_ask());
        expect_counted(BIG_ASK_BYTES);
        wait_ms(1000);
        assert_int_equal(opened, 2);
        say(1, start);
        expect_counted(BIG_ASK_BYTES);
        if (lost) { /* the second goes on alone */
            hang_up(0);
            assert_int_equal(opened, 2);
            expect_counted(BIG_ASK_BYTES);
        }
        say(0, start);
        expect_counted(BIG_ASK_BYTES);
        end();
    }
    route.hedge_percent = route.hedge_cost_percent = 0;
}

/* The budget is full when the answer's last bytes come, and what waits goes with the connection. */
static void a_cut_answer_is_not_complete(void **state)
{
    size_t held = gateway.settings.max_held_bytes, n = held + 1000;
    char *answer = test_malloc(n);
    memset(answer, ' ', n);
    begin("/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}");
    begin_reply(0, n);
    int slow = caller;
    caller = -1; /* takes nothing */
    say_bytes(0, answer, held - 1000);
    assert_int_equal(worker->requests->phase, PHASE_ATTEMPT);
    take_budget(true);
    say_bytes(0, answer, 1999);
    assert_int_equal(last.state, LEDGER_CLIENT_GONE);
    caller = slow;
    take_budget(false);
    turn();
    assert_true(caller_eof && got.n < n);
    end();
    test_free(answer);
}

/* ---- the caller goes
 * ---------------------------------------------------------------------------------- */

static void test_caller_gone(void **state)
{
    for (size_t cut = 0; cut < sizeof full - sizeof(DONE); cut += 7) {
        char c;
        begin(CHAT, ASK_STREAM);
        if (cut)
            say(0, HEAD_STREAM);
        say_bytes(0, full, cut);
        close_fd(&caller);
        turn();
        assert_int_equal(settled, 1);
        assert_int_equal(last.state, LEDGER_CLIENT_GONE);
        assert_int_equal(opened, 1);
        while (read(upstream[0], &c, 1) > 0)
            ;
        assert_int_equal(read(upstream[0], &c, 1), 0); /* closed */
        end();
    }
}

/* ---- the gateway goes
 * ------------------------------------------------------------------------------- */

static void test_shutdown(void **state)
{
    begin(CHAT, ASK_STREAM);
    say(0, HEAD_STREAM ROLE WORD("one"));
    relay_shutdown(worker->requests);
    turn();
    assert_int_equal(last.state, LEDGER_SHUTDOWN);
    assert_true(got_has("data: {\"error\""));
    assert_true(caller_eof);
    end();
}

/* A body of several parsing steps; returns with the second step on its way. */
static void begin_parsing(void)
{
    struct buf b;
    int fd[2];
    struct addr peer = {0};
    admitted = settled = opened = 0;
    caller_eof = false;
    buf_reset(&got);
    buf_init(&b, 8 << 20);
    buf_lit(&b, "{\"model\":\"m\",\"messages\":[],\"x\":[0");
    while (b.n < 15 << 19)
        buf_lit(&b, ",\"0123456789abcdef\"");
    buf_lit(&b, "]}");
    make_pair(fd);
    caller = fd[0];
    http_server_accept(&worker->server, fd[1], &peer);
    dprintf(
        caller,
        "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
        CHAT, key_text, b.n);
    size_t at = 0;
    while (!worker->requests || worker->requests->phase == PHASE_BODY) {
        ssize_t k = write(caller, b.p + at, b.n - at);
        at += k > 0 ? (size_t)k : 0;
        struct spin s = {.m.run = on_spin, .left = 0};
        loop_post(worker->loop, &s.m);
        loop_run(worker->loop);
    }
    assert_int_equal(worker->requests->phase, PHASE_PARSE);
    buf_release(&b);
}

static void test_parsing_ends(void **state)
{
    begin_parsing();
    relay_shutdown(worker->requests);
    turn();
    assert_null(worker->requests);
    assert_true(got_status("503"));
    end();
    begin_parsing();
    close_fd(&caller);
    turn();
    assert_null(worker->requests);
    end();
}

/* What the values of a body are noted in counts as the body does, and like it has to be there. */
static void a_parse_in_steps_takes_of_the_budget(void **state)
{
    begin_parsing();
    struct request *r = worker->requests;
    uint64_t noted = json_steps_bytes(r->plan->parsing.steps);
    assert_true(noted > 500000);
    assert_int_equal(atomic_load(&worker->body_bytes), r->body_bytes);
    assert_true(r->body_bytes >= r->plan->body.body.n + noted);
    turn();
    assert_int_equal(opened, 1);
    assert_true(atomic_load(&worker->body_bytes) < r->plan->body.body.n + (64u << 10));
    end();
    begin_parsing();
    take_budget(true);
    turn();
    assert_true(got_status("503"));
    assert_int_equal(admitted, 0);
    take_budget(false);
    end();
}

/* ---- no memory
 * ---------------------------------------------------------------------------------------- */

static const char whole_reply[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    "Connection: close\r\n\r\n"
    "3e\r\n{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}\r\n"
    "2\r\n]}\r\n0\r\n\r\n";

/* Fails the n-th allocation of one request. False: it had fewer. */
static bool starve(uint64_t n, const char *ask, const char *answer)
{
    scratch_release();
    mem_fail_at(n);
    begin(CHAT, ask);
    for (unsigned i = 0; i < opened; i++)
        for (size_t at = 0, len = strlen(answer); at < len; at += 97)
            say_bytes(i, answer + at, len - at < 97 ? len - at : 97);
    bool hit = mem_fail_at(0) >= n;
    assert_int_equal(admitted, settled);
    bool whole;
    struct str body = body_of(&whole);
    const char *end_mark = strstr(ask, "stream") ? "[DONE]" : "\"stop\"}]}";
    bool complete = str_find(body, str_c(end_mark)) >= 0;
    bool told = str_find(body, STR("\"error\"")) >= 0;
    if (settled)
        assert_int_equal(last.state == LEDGER_COMPLETED, complete);
    if (!complete && !told && !(got_status("503") && body.n == 0) && !(got.n == 0 && caller_eof))
        if ((!got_status("200") || !caller_eof || whole)) /* no room for words */
            fail_msg("allocation %u: %.*s", (unsigned)n, STR_FMT(buf_view(&got)));
    if (body.p)
        test_free((void *)body.p);
    end();
    return hit;
}

static void test_no_memory(void **state)
{
    static const char stream[] = HEAD_STREAM ROLE WORD("one") WORD("two") STOP USAGE DONE;
    uint64_t n = 1;
    while (starve(n, ASK_WHOLE, whole_reply))
        n++;
    assert_true(n > 5);
    assert_int_equal(last.state, LEDGER_COMPLETED);
    n = 1;
    while (starve(n, ASK_STREAM, stream))
        n++;
    assert_true(n > 10);
}

/* ---- the credential ---------------------------------------------------------------- */

#define CANARY "sk-canary-7f3a"

/* How often it stands in the arena of the one request. */
static unsigned canaries(void)
{
    struct block {
        struct block *next;
        size_t size;
    };
    const struct request *r = worker->requests;
    unsigned n = 0;
    for (const struct block *b = (const struct block *)(const void *)r->arena.head; b;
         b = b->next) {
        const char *p = (const char *)b;
        struct str rest = str_make(p, malloc_usable_size((void *)b));
        for (ptrdiff_t at; (at = str_find(rest, STR(CANARY))) >= 0; n++)
            rest = str_from(rest, (size_t)at + 1);
    }
    return n;
}

static void set_credential(const char *line)
{
    for (int i = 0; i < CHANNELS; i++) {
        secret_release(&channels[i]->credentials[0].header);
        channels[i]->credentials[0].header = secret_take_copy(str_c(line));
    }
}

static void a_credential_goes_when_it_was_used(void **state)
{
    set_credential("Authorization: Bearer " CANARY "\r\n");
    begin(CHAT, ASK_STREAM);
    assert_int_equal(canaries(), 1); /* a dead connection may need it again */
    say(0, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    say(0, ROLE); /* nothing is committed */
    assert_int_equal(canaries(), 0);
    assert_non_null(worker->requests->plan);
    say(0, WORD("a") STOP USAGE DONE);
    end();
    begin(CHAT, ASK_STREAM);
    hang_up(0);
    turn();
    assert_int_equal(opened, 2);
    assert_int_equal(canaries(), 1); /* of the second attempt, not of the first */
    end();
    set_credential("");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_cut),
        cmocka_unit_test(test_failover),
        cmocka_unit_test(test_error_in_the_middle),
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_ping_before_commit),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_next_credential),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_pause_and_reuse),
        cmocka_unit_test(test_overhead),
        cmocka_unit_test(test_long_whole),
        cmocka_unit_test(what_a_caller_gets_is_journaled_first),
        cmocka_unit_test(what_a_caller_gets_of_two_legs_is_journaled_first),
        cmocka_unit_test(a_full_budget_is_no_reason_to_ask_again),
        cmocka_unit_test(a_small_answer_needs_no_budget),
        cmocka_unit_test(what_is_held_counts_as_a_whole),
        cmocka_unit_test(the_body_of_two_legs_counts_once),
        cmocka_unit_test(a_cut_answer_is_not_complete),
        cmocka_unit_test(test_caller_gone),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_parsing_ends),
        cmocka_unit_test(a_parse_in_steps_takes_of_the_budget),
        cmocka_unit_test(a_credential_goes_when_it_was_used),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
