/* store: one thread, one connection, one bounded queue. */
#include "store/store.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "store/repo_meta.h"

#define MINUTE_MS 60000
#define QUEUE_MAX 256
#define NICE      5

struct store {
    struct store_options o;
    struct sql *db;
    pthread_t thread;
    int wake;              /* an eventfd: the thread sleeps on it */
    pthread_mutex_t mutex; /* guards what follows */
    struct store_job *first, **last;
    size_t queued;
    bool closing;
    /* The store thread's own. */
    int64_t rev;
    enum err health;
    uint64_t watch_at_ms, minute_at_ms;
};

static void on_home(struct message *m)
{
    struct store_job *job = (struct store_job *)m; /* message_ is its first field */
    job->done(job);
}
_Static_assert(offsetof(struct store_job, message_) == 0, "a message is its job");

static void run_job(struct store *s, struct store_job *job)
{
    job->run(job, s->db);
    sql_rollback(s->db); /* a job that failed half-way leaves nothing open */
    if (!job->done)
        return;
    if (job->home) {
        job->message_.run = on_home;
        loop_post(job->home, &job->message_);
    } else {
        job->done(job);
    }
}

static void watch(struct store *s)
{
    int64_t rev;
    enum err e = repo_meta_config_rev(s->db, &rev, NULL);
    if (e != s->health && s->o.health)
        s->o.health(s->o.arg, e);
    s->health = e;
    if (!e && rev != s->rev) {
        s->rev = rev;
        if (s->o.changed)
            s->o.changed(s->o.arg, s->db, rev);
    }
}

static void each_minute(struct store *s)
{
    if (!s->o.each_minute)
        return;
    s->o.each_minute(s->o.arg, s->db);
    sql_rollback(s->db); /* as after a job */
}

/* Milliseconds until the next look at config_rev; -1: never. */
static int until_watch(const struct store *s)
{
    if (!s->o.watch_ms)
        return -1;
    uint64_t now = clock_mono_ms();
    return now >= s->watch_at_ms ? 0 : (int)(s->watch_at_ms - now);
}

/* NULL: none waits. *closing is read at the same moment. */
static struct store_job *next_job(struct store *s, bool *closing)
{
    pthread_mutex_lock(&s->mutex);
    struct store_job *job = s->first;
    if (job) {
        s->first = job->next_;
        if (!s->first)
            s->last = &s->first;
        s->queued--;
    }
    *closing = s->closing;
    pthread_mutex_unlock(&s->mutex);
    return job;
}

static void sleep_until_woken(struct store *s)
{
    uint64_t count;
    struct pollfd p = {.fd = s->wake, .events = POLLIN};
    if (poll(&p, 1, until_watch(s)) > 0 && read(s->wake, &count, sizeof count) < 0)
        return; /* taken already: the queue is looked at in any case */
}

static void wake(struct store *s)
{
    uint64_t one = 1;
    if (write(s->wake, &one, sizeof one) < 0)
        return; /* the counter is full, so the thread is being woken */
}

static void *run(void *arg)
{
    struct store *s = arg;
    pthread_setname_np(pthread_self(), "lyss-store");
    /* Of this thread alone on Linux: what it does in the background gives way to the loops. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    for (bool closing = false;;) {
        if (until_watch(s) == 0) {
            watch(s);
            s->watch_at_ms = clock_mono_ms() + (uint64_t)s->o.watch_ms;
            if (clock_mono_ms() >= s->minute_at_ms) {
                each_minute(s);
                s->minute_at_ms = clock_mono_ms() + MINUTE_MS;
            }
        }
        struct store_job *job = next_job(s, &closing);
        if (job)
            run_job(s, job);
        else if (closing)
            break;
        else
            sleep_until_woken(s);
    }
    each_minute(s);
    return NULL;
}

enum err store_open(struct store **out, struct sql *db, const struct store_options *o,
                    struct err_info *info)
{
    *out = NULL;
    struct store *s = mem_zalloc(sizeof *s);
    if (!s) {
        sql_close(&db);
        return ERR_NOMEM;
    }
    s->o = *o;
    s->o.queue_max = o->queue_max ? o->queue_max : QUEUE_MAX;
    s->db = db;
    s->last = &s->first;
    s->rev = -1; /* no revision: the first look is a change */
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->mutex, NULL);
    int failed = s->wake < 0 ? errno : pthread_create(&s->thread, NULL, run, s);
    if (!failed) {
        *out = s;
        return ERR_OK;
    }
    sql_close(&s->db);
    if (s->wake >= 0)
        close(s->wake);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
    return err_set(info, ERR_INTERNAL, "the store thread cannot be started: %s", strerror(failed));
}

enum err store_submit(struct store *s, struct store_job *job)
{
    enum err e = ERR_OK;
    job->next_ = NULL;
    pthread_mutex_lock(&s->mutex);
    if (s->closing || s->queued >= s->o.queue_max) {
        e = ERR_AGAIN;
    } else {
        *s->last = job;
        s->last = &job->next_;
        s->queued++;
        wake(s); /* with the mutex held: store_close cannot have closed it yet */
    }
    pthread_mutex_unlock(&s->mutex);
    return e;
}

void store_close(struct store **sp)
{
    struct store *s = *sp;
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    wake(s);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    sql_close(&s->db);
    close(s->wake);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
    *sp = NULL;
}
