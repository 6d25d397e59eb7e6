/* journal: the two threads between the workers' rings and the database.  The journal thread copies
 * and syncs and never waits for SQL; the drain thread follows it through the segment files.  Both
 * sleep while nothing happens: the journal thread looks at the rings ten times a second then, since
 * a worker does not make a system call to wake it. */
#include "store/journal.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <linux/magic.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "store/journal_drain.h"
#include "store/journal_recovery.h"
#include "store/journal_ring.h"

#define BUSY_MS       50
#define ALWAYS_MS     2
#define IDLE_MS       100
#define DRAIN_MS      100
#define RETRY_MS      1000
#define STOP_DRAIN_MS 1000
#define STOP_FAIL_MS  400
#define NICE          5

/* A thread that sleeps until it is poked or told to stop. */
struct sleeper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool poked, stop;
};

struct journal {
    struct segment_dir dir;
    struct segment_writer writer;
    struct drain drain;
    uint32_t epoch; /* of this start */
    struct ring_shared shared;
    struct journal_ring **rings;
    unsigned workers;
    enum journal_sync sync;
    bool drains, journal_runs, drain_runs;
    uint64_t recovered, aborted, recovery_damaged;
    char data_dir[RING_DIR_MAX];
    char node[128];
    pthread_t journal_thread, drain_thread;
    struct sleeper journal_sleep, drain_sleep;
    _Atomic uint64_t write_errors, sql_errors;
};

static void sleeper_init(struct sleeper *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
}

static void sleeper_release(struct sleeper *s)
{
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
}

static void sleeper_poke(struct sleeper *s, bool stop)
{
    pthread_mutex_lock(&s->lock);
    s->poked = true;
    s->stop = s->stop || stop;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* Sleeps for ms; with pokes, ends early when poked. Tells whether to stop. The real clock: a test
 * that moves time must not make the thread spin. */
static bool sleeper_wait(struct sleeper *s, int64_t ms, bool pokes)
{
    struct timespec until = clock_wait_until(ms);
    pthread_mutex_lock(&s->lock);
    while (!s->stop && !(pokes && s->poked))
        if (pthread_cond_timedwait(&s->wake, &s->lock, &until) == ETIMEDOUT)
            break;
    if (pokes)
        s->poked = false;
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static void be_nice(int nice)
{
    /* Of this thread alone, on Linux. Going back to 0 needs a right that we may not have. */
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), nice) != 0)
        errno = 0;
}

/* ---- journal thread ------------------------------------------------------ */
static bool copy_ring(struct journal *j, struct journal_ring *r, enum err *e)
{
    const struct record *rec;
    bool any = false;
    while ((rec = ring_peek(r)) && !(*e = segment_add(&j->writer, rec))) {
        ring_stage(r, rec);
        any = true;
    }
    return any;
}

static void tell_full(struct journal *j, bool full, bool failing)
{
    if (full)
        log_event(LOG_ERROR, "journal.full", LOG_CSTR("directory", j->dir.path),
                  LOG_BOOL("disk_failing", failing),
                  LOG_CSTR("new_requests",
                           j->shared.policy == JOURNAL_OPEN ? "pass unrecorded" : "are refused"));
    else
        log_event(LOG_INFO, "journal.has_room", LOG_CSTR("directory", j->dir.path));
}

/* All rings into the segment, once around. False: nothing was there. */
static bool copy_rings(struct journal *j)
{
    enum err e = ERR_OK, flushed;
    bool any = false;
    for (unsigned i = 0; i < j->workers && !e; i++)
        any |= copy_ring(j, j->rings[i], &e);
    flushed = segment_flush(&j->writer);
    if (!flushed)
        for (unsigned i = 0; i < j->workers; i++)
            ring_release_staged(j->rings[i]);
    bool last = atomic_load(&j->dir.live) >= j->dir.max_segments;
    bool failing = flushed || (e && e != ERR_TOO_BIG);
    if (failing)
        atomic_fetch_add_explicit(&j->write_errors, 1, memory_order_relaxed);
    /* The last segment is kept for those who are in already. */
    bool full = last || failing;
    if (full != atomic_load_explicit(&j->shared.full, memory_order_relaxed))
        tell_full(j, full, failing);
    atomic_store_explicit(&j->shared.full, full, memory_order_relaxed);
    return any;
}

static void sync_segment(struct journal *j)
{
    if (segment_sync(&j->writer) != ERR_OK) {
        atomic_fetch_add_explicit(&j->write_errors, 1, memory_order_relaxed);
        return;
    }
    for (unsigned i = 0; i < j->workers; i++)
        atomic_store_explicit(&j->rings[i]->synced,
                              atomic_load_explicit(&j->rings[i]->copied, memory_order_relaxed),
                              memory_order_release);
}

static void *journal_main(void *arg)
{
    struct journal *j = arg;
    int64_t busy_ms = j->sync == JOURNAL_SYNC_ALWAYS ? ALWAYS_MS : BUSY_MS;
    int64_t idle_ms = j->sync == JOURNAL_SYNC_ALWAYS ? ALWAYS_MS : IDLE_MS;
    uint64_t spares_at_ms = 0;
    bool any = false;
    be_nice(NICE);
    for (;;) {
        bool stop = sleeper_wait(&j->journal_sleep, any ? busy_ms : idle_ms, false);
        any = copy_rings(j);
        sync_segment(j);
        if (any)
            sleeper_poke(&j->drain_sleep, false);
        if (stop)
            return NULL;
        if (clock_mono_ms() >= spares_at_ms && j->writer.spares < j->dir.max_spares) {
            spares_at_ms = clock_mono_ms() + RETRY_MS;
            if (segment_fill_spares(&j->writer) != ERR_OK)
                atomic_fetch_add_explicit(&j->write_errors, 1, memory_order_relaxed);
        }
    }
}

/* ---- drain thread -------------------------------------------------------- */
/* One batch; says when it begins and when it ceases to fail, not each time. */
static enum err drain_once(struct journal *j, bool *more, bool *failing)
{
    struct err_info info;
    err_info_init(&info);
    enum err e = drain_batch(&j->drain, more, &info);
    if (e) {
        atomic_fetch_add_explicit(&j->sql_errors, 1, memory_order_relaxed);
        if (!*failing)
            log_event(LOG_ERROR, "journal.drain_failed", LOG_CSTR("error", err_name(e)),
                      LOG_CSTR("detail", info.text), LOG_I64("pending", journal_pending(j)));
    } else if (*failing) {
        log_event(LOG_INFO, "journal.drains_again");
    }
    *failing = e != ERR_OK;
    return e;
}

/* What a stop leaves undone waits in the segments for the next start. */
static bool stop_is_over(enum err e, bool more, uint64_t since_ms)
{
    return e ? since_ms >= STOP_FAIL_MS : !more || since_ms >= STOP_DRAIN_MS;
}

static void *drain_main(void *arg)
{
    struct journal *j = arg;
    uint64_t stopped_ms = 0;
    bool eager = false, stop = false, failing = false;
    be_nice(NICE);
    for (;;) {
        bool more;
        uint64_t began_ms = clock_mono_ms();
        bool press = atomic_load(&j->dir.live) * 4 > j->dir.max_segments;
        if (press != eager) {
            eager = press;
            be_nice(eager ? 0 : NICE);
        }
        enum err e = drain_once(j, &more, &failing);
        if (stop && stopped_ms == 0)
            stopped_ms = clock_mono_ms();
        if (stop && stop_is_over(e, more, clock_mono_ms() - stopped_ms))
            return NULL;
        if (e) {
            if (stop)
                usleep(20000);
            stop = sleeper_wait(&j->drain_sleep, RETRY_MS, false);
        } else if (!more && !stop) {
            /* Woken by the journal thread; then a little later, for a batch to gather. The lull of
             * a second is for segments that could not be removed at once. */
            stop = sleeper_wait(&j->drain_sleep, RETRY_MS, true);
            int64_t since_ms = (int64_t)(clock_mono_ms() - began_ms);
            if (!stop && since_ms >= 0 && since_ms < DRAIN_MS)
                stop = sleeper_wait(&j->drain_sleep, DRAIN_MS - since_ms, false);
        }
    }
}

/* ---- start and stop ------------------------------------------------------ */
static bool is_tmpfs(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC && access(dir, W_OK) == 0;
}

static enum err check_options(struct journal *j, const struct journal_options *o,
                              struct journal_options *use, struct err_info *info)
{
    char real[PATH_MAX];
    *use = *o;
    use->max_bytes = o->max_bytes ? o->max_bytes : 1ull << 30;
    use->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_BYTES_MAX;
    use->ring_bytes = o->ring_bytes ? o->ring_bytes : 2u << 20;
    use->reserve_bytes = o->reserve_bytes ? o->reserve_bytes : 64ull << 20;
    if (use->reserve_bytes > use->max_bytes / 4)
        use->reserve_bytes = use->max_bytes / 4;
    if (!realpath(o->data_dir, real) || strlen(real) >= sizeof j->data_dir)
        return err_set(info, ERR_IO, "%s: %s", o->data_dir, strerror(errno));
    if (!o->workers || use->segment_bytes % JOURNAL_PAGE ||
        use->segment_bytes > SEGMENT_BYTES_MAX || use->ring_bytes < 65536 ||
        use->ring_bytes & (use->ring_bytes - 1) || use->max_bytes < 2ull * use->segment_bytes)
        return err_set(info, ERR_INVALID, "the journal's sizes do not fit each other");
    str_copy(j->data_dir, sizeof j->data_dir, str_c(real));
    str_copy(j->node, sizeof j->node, str_c(o->node ? o->node : "local"));
    return ERR_OK;
}

static enum err recover(struct journal *j, const char *ring_dir, struct err_info *info)
{
    struct recovery rc = {.dir = &j->dir, .data_dir = j->data_dir, .ring_dirs = {ring_dir, NULL}};
    if (strcmp(ring_dir, j->dir.path) != 0)
        rc.ring_dirs[1] = j->dir.path;
    /* What a dead process left must be taken over however full the journal is. */
    uint64_t max = j->dir.max_segments;
    j->dir.max_segments = UINT64_MAX;
    enum err e = recovery_run(&rc, &j->writer, info);
    j->dir.max_segments = max;
    j->recovered = rc.records;
    j->aborted = rc.aborted;
    j->recovery_damaged = rc.damaged;
    if (!e && (rc.aborted || rc.damaged))
        log_event(LOG_WARN, "journal.recovered", LOG_I64("records", rc.records),
                  LOG_I64("aborted", rc.aborted), LOG_I64("damaged", rc.damaged));
    j->drain.epoch = rc.first;
    j->epoch = rc.epoch;
    j->drain.segment = j->drain.oldest = rc.oldest;
    return e;
}

static enum err make_rings(struct journal *j, const struct journal_options *o, const char *ring_dir,
                           struct err_info *info)
{
    j->rings = mem_zalloc(o->workers * sizeof *j->rings);
    if (!j->rings)
        return ERR_NOMEM;
    enum err e = ERR_OK;
    for (; j->workers < o->workers; j->workers++) {
        struct ring_options ro = {ring_dir, j->data_dir,          j->dir.uuid, o->ring_bytes,
                                  j->epoch, (uint16_t)j->workers, &j->shared};
        if ((e = ring_new(&j->rings[j->workers], &ro, info)))
            return e;
    }
    return e;
}

static void free_rings(struct journal *j)
{
    for (unsigned i = 0; i < j->workers; i++) {
        struct journal_ring *r = j->rings[i];
        ring_free(&j->rings[i], atomic_load(&r->copied) < atomic_load(&r->appended));
    }
    mem_free(j->rings);
    j->rings = NULL;
    j->workers = 0;
}

/* In the tmpfs; where there is none, or it is too small, in the data directory. */
static enum err place_rings(struct journal *j, const struct journal_options *o,
                            const char *ring_dir, struct err_info *info)
{
    enum err e = make_rings(j, o, ring_dir, info);
    if (e == ERR_IO && !o->ring_dir && ring_dir != j->dir.path) {
        free_rings(j);
        ring_dir = j->dir.path;
        e = make_rings(j, o, ring_dir, info);
    }
    if (!e && ring_dir == j->dir.path)
        log_event(LOG_WARN, "journal.no_tmpfs", LOG_CSTR("directory", ring_dir),
                  LOG_CSTR("detail", "the rings lie on a disk, which costs time on each request"));
    return e;
}

static void release(struct journal *j)
{
    free_rings(j);
    drain_release(&j->drain);
    segment_writer_close(&j->writer);
    segment_dir_close(&j->dir);
    sleeper_release(&j->journal_sleep);
    sleeper_release(&j->drain_sleep);
    mem_free(j);
}

static enum err start_threads(struct journal *j, struct err_info *info)
{
    j->journal_runs = pthread_create(&j->journal_thread, NULL, journal_main, j) == 0;
    if (j->journal_runs)
        pthread_setname_np(j->journal_thread, "lyss-journal");
    j->drain_runs =
        j->journal_runs && j->drains && pthread_create(&j->drain_thread, NULL, drain_main, j) == 0;
    if (j->drain_runs)
        pthread_setname_np(j->drain_thread, "lyss-drain");
    return j->journal_runs && j->drain_runs == j->drains
               ? ERR_OK
               : err_set(info, ERR_NOMEM, "the journal's threads cannot be started");
}

enum err journal_start(struct journal **out, const struct journal_options *o, struct err_info *info)
{
    struct journal_options use;
    struct journal *j = mem_zalloc(sizeof *j);
    *out = NULL;
    if (!j)
        return ERR_NOMEM;
    j->dir.fd = j->writer.fd = -1;
    j->writer.dir = &j->dir;
    sleeper_init(&j->journal_sleep);
    sleeper_init(&j->drain_sleep);
    drain_init(&j->drain);
    enum err e = check_options(j, o, &use, info);
    e = e ? e : segment_dir_open(&j->dir, j->data_dir, info);
    if (!e) {
        j->dir.segment_bytes = use.segment_bytes;
        j->dir.max_segments = use.max_bytes / use.segment_bytes;
        j->dir.max_spares = use.reserve_bytes / use.segment_bytes;
        j->sync = use.sync;
        j->shared.policy = use.full;
        j->drains = use.open_sql != NULL;
        j->drain.dir = &j->dir;
        j->drain.synced = &j->writer.synced;
        j->drain.node = j->node;
        j->drain.open_sql = use.open_sql;
        j->drain.open_ctx = use.open_ctx;
        const char *ring_dir = use.ring_dir ? use.ring_dir : "/dev/shm";
        if (!use.ring_dir && !is_tmpfs(ring_dir))
            ring_dir = j->dir.path;
        e = recover(j, ring_dir, info);
        e = e ? e : place_rings(j, &use, ring_dir, info);
        e = e ? e : start_threads(j, info);
    }
    *out = j;
    if (e)
        journal_stop(out);
    return e;
}

void journal_stop(struct journal **jp)
{
    struct journal *j = *jp;
    if (!j)
        return;
    if (j->journal_runs) {
        sleeper_poke(&j->journal_sleep, true);
        pthread_join(j->journal_thread, NULL);
    }
    if (j->drain_runs) {
        sleeper_poke(&j->drain_sleep, true);
        pthread_join(j->drain_thread, NULL);
    }
    release(j);
    *jp = NULL;
}

struct journal_ring *journal_ring(struct journal *j, unsigned worker)
{
    assert(worker < j->workers);
    return j->rings[worker];
}

uint64_t journal_pending(struct journal *j)
{
    uint64_t done = atomic_load_explicit(&j->drain.done, memory_order_relaxed);
    uint64_t all = j->recovered;
    for (unsigned i = 0; i < j->workers; i++)
        all += atomic_load_explicit(&j->rings[i]->appended, memory_order_relaxed);
    return all > done ? all - done : 0;
}

void journal_set_full(struct journal *j, enum journal_full full)
{
    atomic_store(&j->shared.policy, full);
}

bool journal_usable(struct journal *j)
{
    return !atomic_load_explicit(&j->shared.full, memory_order_relaxed) ||
           j->shared.policy == JOURNAL_OPEN;
}

void journal_stats(struct journal *j, struct journal_stats *out)
{
    *out = (struct journal_stats){
        .pending = journal_pending(j),
        .rows = atomic_load(&j->drain.all_rows),
        .orphans = atomic_load(&j->drain.all_orphans),
        .damaged = j->recovery_damaged + atomic_load(&j->drain.damaged),
        .aborted = j->aborted,
        .segments = atomic_load(&j->dir.live),
        .write_errors = atomic_load(&j->write_errors),
        .sql_errors = atomic_load(&j->sql_errors),
        .full = atomic_load(&j->shared.full),
    };
    for (unsigned i = 0; i < j->workers; i++) {
        out->unrecorded += atomic_load(&j->rings[i]->passed);
        out->dropped += atomic_load(&j->rings[i]->dropped);
    }
}
