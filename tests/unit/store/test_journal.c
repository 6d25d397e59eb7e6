/* journal: from appended records to rows, through kills, damage, full journals and lost databases.
 * LYSS_TORTURE multiplies the kills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/rng.h"
#include "store/journal.h"
#include "store/journal_segment.h"
#include "store/migrate.h"
#include "store/repo_price.h"
#include "store/repo_usage.h"
#include "store/sql.h"

#define TENANT 7

static char dir[64];

static enum err open_ledger(void *ctx, struct sql **out, struct err_info *info)
{
    char path[128];
    if (ctx && atomic_load((atomic_bool *)ctx)) /* the database is gone */
        return ERR_STORE;
    snprintf(path, sizeof path, "%s/ledger.db", dir);
    enum err e = sql_open(&sql_sqlite, path, SQL_LEDGER, out, info);
    e = e ? e : migrate_run(*out, &migrations_ledger, NULL, info);
    if (e)
        sql_close(out);
    return e;
}

static struct journal_options options(void)
{
    return (struct journal_options){.data_dir = dir,
                                    .ring_dir = dir,
                                    .workers = 2,
                                    .max_bytes = 64 << 20,
                                    .reserve_bytes = 1,
                                    .segment_bytes = 1 << 20,
                                    .ring_bytes = 65536,
                                    .open_sql = open_ledger};
}

static struct journal *start(const struct journal_options *o)
{
    struct journal *j;
    struct err_info info;
    enum err e = journal_start(&j, o, &info);
    if (e)
        fail_msg("%s: %s", err_name(e), info.text);
    return j;
}

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/lyss-journal-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static void id_of(uint8_t id[16], uint64_t n)
{
    memset(id, 0, 16);
    memcpy(id + 8, &n, sizeof n);
}

static struct ledger_admitted admitted(uint64_t n)
{
    struct ledger_admitted a = {.tenant_id = TENANT,
                                .user_id = 2,
                                .key_id = 3,
                                .route_id = 4,
                                .at_ms = 1795000000000 + (int64_t)n,
                                .stream = 1,
                                .est_in = 50,
                                .est_out = 1024,
                                .model = STR("gpt-4o")};
    id_of(a.request_id, n);
    return a;
}

static struct ledger_settled settled(uint64_t n)
{
    struct ledger_settled s = {.state = LEDGER_COMPLETED,
                               .attempts = 1,
                               .status = 200,
                               .ended_ms = 1795000001000,
                               .ttft_us = 1200,
                               .total_us = 90000,
                               .overhead_us = 40,
                               .channel_id = 9,
                               .credential_id = 8,
                               .c = {.in_uncached = 11, .cache_read = 5, .out_text = 7},
                               .cost_nusd = 1234,
                               .has_cost = true,
                               .price_id = 55,
                               .upstream_model = STR("gpt-4o-2024-11-20"),
                               .usage_json = STR("{\"prompt_tokens\":16,\"completion_tokens\":7}")};
    id_of(s.request_id, n);
    return s;
}

static void admit(struct journal *j, uint64_t n)
{
    struct ledger_admitted a = admitted(n);
    assert_int_equal(journal_admitted(journal_ring(j, n % 2), &a), ERR_OK);
}

static void settle(struct journal *j, uint64_t n)
{
    struct ledger_settled s = settled(n);
    journal_settled(journal_ring(j, n % 2), &s);
}

static void progress(struct journal *j, uint64_t n, int64_t out_text)
{
    struct ledger_progress p = {.so_far = {.out_text = out_text}, .channel_id = 9};
    id_of(p.request_id, n);
    journal_progress(journal_ring(j, n % 2), &p);
}

static void attempt(struct journal *j, uint64_t n, uint8_t number, enum err outcome)
{
    struct ledger_attempt a = {.number = number,
                               .channel_id = 20 + number,
                               .outcome = outcome,
                               .status = 503,
                               .start_ms = 1795000000000,
                               .c = {.out_text = 1}};
    id_of(a.request_id, n);
    journal_attempt(journal_ring(j, n % 2), &a);
}

/* A process that dies here: its rings stay as they are, its threads do no more. */
static void in_a_process_that_dies(void (*run)(struct journal *), const struct journal_options *o)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct journal *j;
        if (journal_start(&j, o, NULL) != ERR_OK)
            _exit(1);
        run(j);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int64_t query(const char *text)
{
    struct sql *db;
    assert_int_equal(open_ledger(NULL, &db, NULL), ERR_OK);
    struct sql_stmt *q = sql_query(db, text);
    assert_true(sql_next(q));
    int64_t v = sql_i64(q, 0);
    assert_int_equal(sql_end(q, NULL), ERR_OK);
    sql_close(&db);
    return v;
}

static void wait_until_drained(struct journal *j)
{
    uint64_t until_ms = clock_mono_ms() + 10000;
    while (journal_pending(j) && clock_mono_ms() < until_ms)
        usleep(5000);
    assert_int_equal(journal_pending(j), 0);
}

static void recover_twice(const struct journal_options *o)
{
    for (int i = 0; i < 2; i++) {
        struct journal *j = start(o);
        wait_until_drained(j); /* stopping waits for a second only */
        journal_stop(&j);
    }
}

/* ---- tests ----------------------------------------------------------------- */
static void rows_arrive(void **state)
{
    struct journal_options o = options();
    struct journal *j = start(&o);
    for (uint64_t n = 0; n < 100; n++) {
        admit(j, n);
        progress(j, n, 3);
        settle(j, n);
    }
    wait_until_drained(j);
    struct journal_stats st;
    journal_stats(j, &st);
    assert_int_equal(st.rows, 100);
    assert_int_equal(st.sql_errors + st.write_errors + st.orphans + st.damaged, 0);
    journal_stop(&j);
    assert_int_equal(query("SELECT count(*) FROM usage"), 100);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), 100);
    assert_int_equal(query("SELECT count(*) FROM usage_attempts"), 100);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_minute"), 100);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_hour"), 100);
    assert_int_equal(query("SELECT requests FROM rollup_day"), 100);
    assert_int_equal(query("SELECT sum(cost_nusd) FROM rollup_day"), 123400);
    assert_int_equal(query("SELECT sum(cache_read) FROM rollup_hour"), 500);
}

static void reads_back(void **state)
{
    struct journal_options o = options();
    struct journal *j = start(&o);
    for (uint64_t n = 0; n < 10; n++) {
        struct ledger_settled s = settled(n);
        if (n == 4) {
            s.state = LEDGER_UPSTREAM_ERROR;
            s.err = ERR_UPSTREAM_ERROR;
            s.has_cost = false;
        }
        admit(j, n);
        journal_settled(journal_ring(j, n % 2), &s);
    }
    journal_stop(&j);
    struct sql *db;
    struct arena arena;
    struct usage_row *rows;
    struct usage_totals t;
    size_t n;
    struct usage_filter f = {.model = STR("gpt-4o")};
    arena_init(&arena, 1 << 20);
    assert_int_equal(open_ledger(NULL, &db, NULL), ERR_OK);
    assert_int_equal(repo_usage_list(db, TENANT, &f, 0, 6, &arena, &rows, &n, NULL), ERR_OK);
    assert_int_equal(n, 6);
    assert_true(str_eq(rows[0].upstream_model, STR("gpt-4o-2024-11-20")));
    assert_int_equal(rows[0].c.in_uncached, 11);
    assert_int_equal(rows[0].ttft_us, 1200);
    assert_int_equal(rows[0].est_in, 50);
    int64_t before = rows[5].id;
    assert_int_equal(repo_usage_list(db, TENANT, &f, before, 6, &arena, &rows, &n, NULL), ERR_OK);
    assert_int_equal(n, 4);
    f.by_state = true;
    f.state = LEDGER_UPSTREAM_ERROR;
    assert_int_equal(repo_usage_list(db, TENANT, &f, 0, 6, &arena, &rows, &n, NULL), ERR_OK);
    assert_int_equal(n, 1);
    assert_false(rows[0].has_cost);
    assert_true(str_eq(rows[0].error, str_c(err_name(ERR_UPSTREAM_ERROR))));
    f.by_state = false;
    assert_int_equal(repo_usage_totals(db, TENANT, &f, &t, NULL), ERR_OK);
    assert_int_equal(t.requests, 10);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.unpriced, 1);
    assert_int_equal(t.cost_nusd, 9 * 1234);
    assert_int_equal(rows[0].price_id, 55);
    assert_int_equal(repo_usage_totals(db, TENANT + 1, &f, &t, NULL), ERR_OK);
    assert_int_equal(t.requests, 0);
    sql_close(&db);
    arena_release(&arena);
}

static void many_attempts(void **state)
{
    struct journal_options o = options();
    struct journal *j = start(&o);
    admit(j, 1);
    attempt(j, 1, 1, ERR_UPSTREAM_ERROR);
    attempt(j, 1, 2, ERR_OK);
    struct ledger_settled s = settled(1);
    s.attempts = 2;
    journal_settled(journal_ring(j, 1), &s);
    journal_stop(&j);
    assert_int_equal(query("SELECT count(*) FROM usage_attempts"), 2);
    assert_int_equal(query("SELECT channel_id FROM attempt WHERE error = 'UPSTREAM_ERROR'"), 21);
    assert_int_equal(query("SELECT tenant_id FROM attempt WHERE number = 2"), TENANT);
    assert_int_equal(query("SELECT sum(errors_server) FROM rollup_day"), 0);
}

static void leave_some_open(struct journal *j)
{
    for (uint64_t n = 0; n < 40; n++)
        admit(j, n);
    for (uint64_t n = 0; n < 20; n++)
        settle(j, n);
    progress(j, 30, 4);
    progress(j, 30, 9);
    attempt(j, 31, 1, ERR_UPSTREAM_ERROR);
    progress(j, 31, 2);
    usleep(rng_below(3) * 60000);
}

static void open_requests_become_aborted(void **state)
{
    struct journal_options o = options();
    in_a_process_that_dies(leave_some_open, &o);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), 40);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), 40);
    assert_int_equal(query("SELECT count(*) FROM usage WHERE state = 7 AND estimated = 1"), 20);
    /* Without a byte from upstream: nothing. */
    assert_int_equal(query("SELECT count(*) FROM usage WHERE state = 7 AND in_uncached = 0"
                           " AND out_text = 0 AND cost_nusd = 0"),
                     18);
    assert_int_equal(query("SELECT in_uncached FROM usage WHERE out_text = 9"), 50);
    assert_int_equal(query("SELECT attempts FROM usage WHERE out_text = 3"), 2);
    assert_int_equal(query("SELECT count(*) FROM attempt"), 2);
    assert_int_equal(query("SELECT sum(out_text) FROM attempt"), 3);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_hour"), 40);
    /* Nothing but the identity and what marks the place is left. */
    struct segment_dir d;
    uint64_t *numbers, next;
    size_t n;
    assert_int_equal(segment_dir_open(&d, dir, NULL), ERR_OK);
    assert_int_equal(segment_list(&d, &numbers, &n, &next), ERR_OK);
    assert_true(n <= 1 && next > 1);
    free(numbers);
    segment_dir_close(&d);
}

/* 1: everything is priced. 2: a try without a price. 3: what was spent is more than can be said. */
static void leave_priced_open(struct journal *j)
{
    for (uint64_t n = 1; n <= 3; n++) {
        admit(j, n);
        struct ledger_attempt a = {.number = 1,
                                   .channel_id = 21,
                                   .outcome = ERR_UPSTREAM_ERROR,
                                   .c = {.in_uncached = 5},
                                   .cost_nusd = n == 3 ? INT64_MAX : 100,
                                   .has_cost = n != 2,
                                   .price_id = n == 2 ? 0 : 77,
                                   .upstream_model = STR("a")};
        id_of(a.request_id, n);
        journal_attempt(journal_ring(j, n % 2), &a);
        struct ledger_progress p = {.so_far = {.in_uncached = 7, .out_text = (int64_t)n},
                                    .channel_id = 9,
                                    .cost_nusd = 11,
                                    .has_cost = true,
                                    .price_id = 88};
        id_of(p.request_id, n);
        journal_progress(journal_ring(j, n % 2), &p);
    }
    admit(j, 4);
    struct ledger_progress only = {
        .so_far = {.in_uncached = 7}, .cost_nusd = 13, .has_cost = true, .price_id = 99};
    id_of(only.request_id, 4);
    journal_progress(journal_ring(j, 0), &only);
}

static void aborted_requests_keep_their_cost(void **state)
{
    struct journal_options o = options();
    in_a_process_that_dies(leave_priced_open, &o);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), 4);
    assert_int_equal(query("SELECT cost_nusd FROM usage WHERE out_text = 1"), 111);
    assert_int_equal(query("SELECT price_id IS NULL FROM usage WHERE out_text = 1"), 1);
    assert_int_equal(query("SELECT cost_nusd IS NULL FROM usage WHERE out_text = 2"), 1);
    assert_int_equal(query("SELECT cost_nusd IS NULL FROM usage WHERE out_text = 3"), 1);
    assert_int_equal(query("SELECT cost_nusd FROM usage WHERE attempts = 1"), 13);
    assert_int_equal(query("SELECT price_id FROM usage WHERE attempts = 1"), 99);
    assert_int_equal(query("SELECT count(*) FROM attempt WHERE number = 2 AND cost_nusd = 11"
                           " AND price_id = 88"),
                     3);
    assert_int_equal(query("SELECT count(*) FROM attempt WHERE number = 1 AND price_id = 77"), 2);
    assert_int_equal(query("SELECT count(*) FROM usage_attempts WHERE price_id IS NOT NULL"), 6);
    assert_int_equal(query("SELECT sum(unpriced) FROM rollup_day"), 2);
    assert_int_equal(query("SELECT sum(cost_nusd) FROM rollup_hour"), 111 + 13);
}

static void prices_are_kept(void **state)
{
    struct sql *db;
    assert_int_equal(open_ledger(NULL, &db, NULL), ERR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(repo_price_keep(db, model_catalogue_builtin(), NULL), ERR_OK);
    sql_close(&db);
    const struct catalogue_entry *m =
        model_find(model_catalogue_builtin(), STR("openai"), STR("gpt-4o"));
    char text[200];
    snprintf(text, sizeof text, "SELECT in_uncached + out_text FROM price WHERE id = %lld",
             (long long)m->prices.rows[0].id);
    assert_int_equal(query(text),
                     m->prices.rows[0].rates.in_uncached + m->prices.rows[0].rates.out_text);
    assert_int_equal(query("SELECT count(*) FROM price WHERE images IS NOT NULL"), 0);
    assert_true(query("SELECT count(*) FROM price WHERE source LIKE 'https://%'") > 80);
    assert_int_equal(query("SELECT count(*) = count(DISTINCT id) FROM price"), 1);
}

static void numbers_never_fall(void **state)
{
    struct journal_options o = options();
    for (uint64_t n = 0; n < 6; n++) {
        struct journal *j = start(&o);
        if (n % 3 == 0) { /* a start without a record between two with */
            admit(j, n);
            settle(j, n);
        }
        journal_stop(&j);
    }
    assert_int_equal(query("SELECT count(*) FROM usage"), 2);
}

/* The database as it was before: everything is replayed, nothing is twice. */
static void replay(void **state)
{
    struct journal_options o = options();
    atomic_bool gone = true;
    o.open_ctx = &gone;
    in_a_process_that_dies(leave_some_open, &o);
    gone = false;
    struct journal *j = start(&o);
    for (uint64_t n = 100; n < 120; n++) {
        admit(j, n);
        settle(j, n);
    }
    wait_until_drained(j);
    journal_stop(&j);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), 60);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), 60);
}

/* One request stays open while segments roll by and are removed. */
static void a_long_stream_pins_nothing(void **state)
{
    struct journal_options o = options();
    o.segment_bytes = 65536;
    o.max_bytes = 1 << 20;
    struct journal *j = start(&o);
    admit(j, 1000000);
    progress(j, 1000000, 5);
    for (uint64_t n = 0; n < 8000;) {
        struct ledger_admitted a = admitted(n);
        if (journal_admitted(journal_ring(j, n % 2), &a) != ERR_OK) {
            usleep(5000);
            continue;
        }
        settle(j, n++);
    }
    uint64_t until_ms = clock_mono_ms() + 10000;
    struct journal_stats st;
    do {
        usleep(10000);
        journal_stats(j, &st);
    } while ((st.pending || st.segments > 1) && clock_mono_ms() < until_ms);
    assert_int_equal(st.pending, 0);
    assert_int_equal(st.segments, 1);
    struct ledger_settled s = settled(1000000);
    s.c.out_text = 77;
    journal_settled(journal_ring(j, 0), &s);
    journal_stop(&j);
    assert_int_equal(query("SELECT count(*) FROM usage"), 8001);
    assert_int_equal(query("SELECT est_in FROM usage WHERE out_text = 77"), 50);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_hour"), 8001);
}

static void roll_and_die(struct journal *j)
{
    admit(j, 1000000);
    progress(j, 1000000, 5);
    for (uint64_t n = 0; n < 3000;) {
        struct ledger_admitted a = admitted(n);
        if (journal_admitted(journal_ring(j, n % 2), &a) == ERR_OK)
            settle(j, n++);
        else
            usleep(5000);
    }
    usleep(400000);
}

static void a_long_stream_outlives_its_segment(void **state)
{
    struct journal_options o = options();
    o.segment_bytes = 65536;
    in_a_process_that_dies(roll_and_die, &o);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), 3001);
    assert_int_equal(query("SELECT out_text FROM usage WHERE state = 7"), 5);
    assert_int_equal(query("SELECT tenant_id FROM usage WHERE state = 7"), TENANT);
}

static bool pass(struct journal *j, uint64_t n)
{
    struct ledger_admitted a = admitted(n);
    struct ledger_settled s = settled(n);
    if (journal_admitted(journal_ring(j, 0), &a) != ERR_OK)
        return false;
    journal_settled(journal_ring(j, 0), &s);
    return true;
}

/* Fills the journal while the database is gone; once full, 200 more try. Then it comes back. */
static void full_journal(enum journal_full policy)
{
    atomic_bool gone = true;
    struct journal_options o = options();
    struct journal_stats st;
    uint64_t in = 0, n = 0, until_ms = clock_mono_ms() + 20000;
    o.segment_bytes = 65536;
    o.max_bytes = 4 * 65536;
    o.ring_bytes = 1 << 20; /* the ring is not what fills */
    o.full = policy;
    o.open_ctx = &gone;
    struct journal *j = start(&o);
    do {
        for (int i = 0; i < 50; i++)
            in += pass(j, n++);
        usleep(20000);
        journal_stats(j, &st);
    } while (!st.full && clock_mono_ms() < until_ms);
    assert_true(st.full && st.pending > 0 && st.sql_errors > 0);
    assert_int_equal(journal_usable(j), policy == JOURNAL_OPEN);
    uint64_t before = st.unrecorded, more = 0;
    for (int i = 0; i < 200; i++)
        more += pass(j, n++);
    journal_stats(j, &st);
    assert_int_equal(more, policy == JOURNAL_OPEN ? 200 : 0);
    assert_int_equal(st.unrecorded - before, more);
    atomic_store(&gone, false);
    until_ms = clock_mono_ms() + 20000;
    do {
        usleep(10000);
        journal_stats(j, &st);
    } while ((st.pending || st.full) && clock_mono_ms() < until_ms);
    assert_false(st.full);
    in += more + pass(j, n++);
    journal_stop(&j);
    assert_int_equal(query("SELECT count(*) FROM usage"), in - st.unrecorded);
}

static void full_closed(void **state)
{
    full_journal(JOURNAL_CLOSED);
}

static void full_open(void **state)
{
    full_journal(JOURNAL_OPEN);
}

static void damage(const char *kind, off_t at, size_t n)
{
    char command[200], path[200] = "";
    snprintf(command, sizeof command, "ls %s/journal/*.%s | head -1", dir, kind);
    FILE *p = popen(command, "r");
    assert_true(p && fgets(path, sizeof path, p));
    pclose(p);
    path[strcspn(path, "\n")] = 0;
    int fd = open(path, O_RDWR);
    char junk[256];
    memset(junk, 0xa5, sizeof junk);
    assert_true(fd >= 0 && pwrite(fd, junk, n, at) == (ssize_t)n);
    close(fd);
}

static void write_and_wait(struct journal *j)
{
    for (uint64_t n = 0; n < 100; n++) {
        admit(j, n);
        settle(j, n);
    }
    usleep(600000); /* without a drain nothing tells that it was copied */
}

/* A damaged page of a segment costs the records in it, no more. */
static void damaged_segment(void **state)
{
    struct journal_options o = options();
    o.open_sql = NULL;
    in_a_process_that_dies(write_and_wait, &o);
    damage("segment", 2 * 4096 + 1500, 100);
    o.open_sql = open_ledger;
    struct journal *j = start(&o);
    struct journal_stats st;
    journal_stats(j, &st);
    assert_true(st.damaged >= 1);
    journal_stop(&j);
    int64_t rows = query("SELECT count(*) FROM usage");
    assert_true(rows >= 85 && rows <= 100);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), rows);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), rows);
}

/* The database fails in the middle of a batch: the batch is done again, whole. */
static void failing_batch(void **state)
{
    struct journal_options o = options();
    struct journal_stats st;
    struct sql *db;
    assert_int_equal(open_ledger(NULL, &db, NULL), ERR_OK);
    assert_int_equal(sql_exec(db,
                              "CREATE TRIGGER fail BEFORE INSERT ON usage"
                              " WHEN (SELECT count(*) FROM usage) >= 50"
                              " BEGIN SELECT RAISE(ABORT, 'no'); END",
                              NULL),
                     ERR_OK);
    struct journal *j = start(&o);
    admit(j, 1000);
    for (uint64_t n = 0; n < 80; n++) {
        admit(j, n);
        settle(j, n);
    }
    uint64_t until_ms = clock_mono_ms() + 10000;
    do {
        usleep(5000);
        journal_stats(j, &st);
    } while (!st.sql_errors && clock_mono_ms() < until_ms);
    assert_true(st.sql_errors > 0 && st.pending > 0);
    assert_int_equal(sql_exec(db, "DROP TRIGGER fail", NULL), ERR_OK);
    sql_close(&db);
    settle(j, 1000);
    wait_until_drained(j);
    journal_stats(j, &st);
    assert_int_equal(st.rows, 81);
    assert_int_equal(st.orphans, 0);
    journal_stop(&j);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), 81);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_day"), 81);
}

static uint64_t first_id;

static void settle_thirty(struct journal *j)
{
    for (uint64_t n = first_id; n < first_id + 30; n++) {
        admit(j, n);
        settle(j, n);
    }
}

/* Each dies before its first segment is made, so that the next one finds nothing but its ring. */
static void dies_at_once_again_and_again(void **state)
{
    struct journal_options o = options();
    for (int i = 0; i < 6; i++, first_id += 30)
        in_a_process_that_dies(settle_thirty, &o);
    recover_twice(&o);
    assert_int_equal(query("SELECT count(*) FROM usage"), 180);
    assert_int_equal(query("SELECT count(*) FROM usage WHERE state = 0"), 180);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), 180);
}

static unsigned rings(char names[][128], unsigned most)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (str_glob(STR("lyss-*.ring"), str_c(e->d_name)) && n < most)
            str_copy(names[n++], sizeof names[0], str_c(e->d_name));
    closedir(d);
    return n;
}

/* Killed while it made its rings: the files are there, and say nothing of whose they are. */
static void a_ring_that_was_never_finished_is_in_nobodys_way(void **state)
{
    struct journal_options o = options();
    char names[8][128], path[2048];
    struct journal *j = start(&o);
    unsigned n = rings(names, 8);
    assert_int_equal(n, 2);
    journal_stop(&j);
    for (unsigned k = 0; k < 3; k++) { /* the third of a process with more workers */
        if (k == 2) {
            str_copy(names[2], sizeof names[2], str_c(names[0]));
            names[2][strlen(names[2]) - sizeof "0.ring" + 1] = '7';
        }
        snprintf(path, sizeof path, "%s/%s", dir, names[k]);
        FILE *f = fopen(path, "wx");
        assert_non_null(f);
        assert_int_equal(ftruncate(fileno(f), k * 40000), 0);
        fclose(f);
    }
    j = start(&o);
    assert_int_equal(rings(names, 8), 2);
    admit(j, 1);
    settle(j, 1);
    journal_stop(&j);
    assert_int_equal(rings(names, 8), 0);
    assert_int_equal(query("SELECT count(*) FROM usage"), 1);
}

/* ---- kills ------------------------------------------------------------------- */
struct seen {
    _Atomic uint64_t admitted;
    _Atomic uint64_t next; /* id */
    _Atomic uint64_t settled;
    struct {
        _Atomic uint64_t at_ms; /* when it was settled */
    } request[200000];
};

static void append_until_killed(struct seen *seen, uint64_t first)
{
    struct journal_options o = options();
    struct journal *j;
    o.ring_bytes = 1 << 20;
    o.segment_bytes = 256 << 10;
    if (journal_start(&j, &o, NULL) != ERR_OK)
        _exit(1);
    for (uint64_t n = first; n < 200000; n++) {
        struct ledger_admitted a = admitted(n);
        struct ledger_settled s = settled(n);
        atomic_store(&seen->next, n + 1); /* whoever comes next takes no id twice */
        while (journal_admitted(journal_ring(j, n % 2), &a) != ERR_OK)
            usleep(1000);
        atomic_fetch_add(&seen->admitted, 1);
        if (n % 3 == 0)
            progress(j, n, 2);
        if (n % 7 == 0) /* an open one now and then */
            continue;
        journal_settled(journal_ring(j, n % 2), &s);
        atomic_store(&seen->request[n].at_ms, clock_mono_ms());
        if (n % 16 == 0)
            usleep(200);
    }
    for (;;)
        pause();
}

static void killed_anywhere(void **state)
{
    const char *torture = getenv("LYSS_TORTURE");
    int kills = 20 * (torture && atoi(torture) > 0 ? atoi(torture) : 1);
    size_t bytes = sizeof(struct seen);
    struct seen *seen =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(seen != MAP_FAILED);
    rng_seed(11);
    for (int i = 0; i < kills; i++) {
        uint64_t first = atomic_load(&seen->next);
        pid_t pid = fork();
        if (pid == 0)
            append_until_killed(seen, first);
        /* Every third dies while it takes over what the one before it left. */
        usleep((useconds_t)(i % 3 == 2 ? rng_below(6000) : 20000 + rng_below(250000)));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    struct journal_options o = options();
    recover_twice(&o);
    uint64_t n = atomic_load(&seen->admitted);
    assert_true(n > 1000);
    /* The last one may have been on its way, a kill. */
    int64_t rows = query("SELECT count(*) FROM usage");
    assert_in_range((uint64_t)rows, n, n + (uint64_t)kills);
    assert_int_equal(query("SELECT count(DISTINCT request_id) FROM usage"), rows);
    assert_int_equal(query("SELECT sum(requests) FROM rollup_minute"), rows);
    int64_t ended = 0;
    for (uint64_t k = 0; k < atomic_load(&seen->next); k++)
        ended += atomic_load(&seen->request[k].at_ms) != 0;
    int64_t completed = query("SELECT count(*) FROM usage WHERE state = 0");
    assert_true(completed >= ended && completed <= ended + kills);
    assert_int_equal(query("SELECT count(*) FROM usage WHERE tenant_id <> 7"), 0);
    munmap(seen, bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rows_arrive),
        T(reads_back),
        T(many_attempts),
        T(open_requests_become_aborted),
        T(aborted_requests_keep_their_cost),
        T(prices_are_kept),
        T(numbers_never_fall),
        T(replay),
        T(a_long_stream_pins_nothing),
        T(a_long_stream_outlives_its_segment),
        T(full_closed),
        T(full_open),
        T(damaged_segment),
        T(failing_batch),
        T(dies_at_once_again_and_again),
        T(a_ring_that_was_never_finished_is_in_nobodys_way),
        T(killed_anywhere),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
