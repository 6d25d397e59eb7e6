/* The store thread: jobs run in order and come home, the queue is bounded, changes are seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "store/datadir.h"
#include "store/repo_meta.h"
#include "store/store.h"

#define OK(call) assert_int_equal((call), ERR_OK)

static char dir[64];
static struct store *store;
static struct loop *loop;
static sem_t gate, held, changes;
static int64_t seen_rev;

struct note {
    struct store_job job;
    int number;
    int64_t rev;
    pthread_t ran_on, done_on;
};
static int order[16];
static size_t ran, home;

static void changed(void *arg, struct sql *db, int64_t rev)
{
    seen_rev = rev;
    sem_post(&changes);
}

static int setup(void **state)
{
    struct sql *db;
    struct err_info info = {0};
    snprintf(dir, sizeof dir, "/tmp/lyss-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    sem_init(&gate, 0, 0);
    sem_init(&held, 0, 0);
    sem_init(&changes, 0, 0);
    ran = home = 0;
    loop = loop_new("test");
    assert_non_null(loop);
    OK(datadir_open_config(dir, &db, &info));
    OK(store_open(&store, db,
                  &(struct store_options){.queue_max = 3, .watch_ms = 10, .changed = changed},
                  &info));
    return 0;
}

static int teardown(void **state)
{
    char path[128];
    store_close(&store);
    loop_free(&loop);
    static const char *const names[] = {"lyss.db", "lyss.db-wal", "lyss.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}

static void note_run(struct store_job *job, struct sql *db)
{
    struct note *n = (struct note *)job;
    n->ran_on = pthread_self();
    order[ran++] = n->number;
    OK(repo_meta_config_rev(db, &n->rev, NULL));
}

static void note_done(struct store_job *job)
{
    struct note *n = (struct note *)job;
    n->done_on = pthread_self();
    if (++home == 3)
        loop_stop(loop);
}

static void hold_run(struct store_job *job, struct sql *db)
{
    sem_post(&held);
    sem_wait(&gate);
}

static void jobs_run_in_order_and_come_home(void **state)
{
    struct note notes[3];
    for (int i = 0; i < 3; i++) {
        notes[i] =
            (struct note){.job = {.home = loop, .run = note_run, .done = note_done}, .number = i};
        OK(store_submit(store, &notes[i].job));
    }
    loop_run(loop);
    assert_int_equal(home, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order[i], i);
        assert_true(notes[i].rev >= 1);
        assert_false(pthread_equal(notes[i].ran_on, pthread_self()));
        assert_true(pthread_equal(notes[i].done_on, pthread_self()));
    }
}

static void a_full_queue_refuses_and_close_runs_the_rest(void **state)
{
    struct store_job hold = {.run = hold_run};
    struct note notes[4];
    OK(store_submit(store, &hold));
    sem_wait(&held); /* it runs: the queue is empty now */
    for (int i = 0; i < 4; i++) {
        notes[i] = (struct note){.job = {.run = note_run}, .number = i};
        assert_int_equal(store_submit(store, &notes[i].job), i < 3 ? ERR_OK : ERR_AGAIN);
    }
    sem_post(&gate);
    store_close(&store);
    assert_int_equal(ran, 3);
}

static void changes_of_other_connections_are_seen(void **state)
{
    struct sql *other;
    struct err_info info = {0};
    sem_wait(&changes); /* the first look */
    int64_t first = seen_rev;
    OK(datadir_open_config(dir, &other, &info));
    OK(repo_meta_bump_config_rev(other, &info));
    sem_wait(&changes);
    assert_int_equal(seen_rev, first + 1);
    sql_close(&other);
}

static void nobody_waits_for_a_lock_in_a_hurry(void **state)
{
    struct sql *one, *two;
    struct err_info info = {0};
    OK(datadir_open_config(dir, &one, &info));
    OK(datadir_open_config(dir, &two, &info));
    OK(sql_begin(one, SQL_WRITE, &info));
    sql_hurry(true);
    uint64_t from_ms = clock_mono_ms();
    assert_int_equal(sql_begin(two, SQL_WRITE, &info), ERR_AGAIN);
    assert_true(clock_mono_ms() - from_ms < 2000); /* it is 5 s else */
    sql_hurry(false);
    sql_rollback(one);
    OK(sql_begin(two, SQL_WRITE, &info));
    sql_close(&one);
    sql_close(&two);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(jobs_run_in_order_and_come_home),
        T(a_full_queue_refuses_and_close_runs_the_rest),
        T(changes_of_other_connections_are_seen),
        T(nobody_waits_for_a_lock_in_a_hurry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
