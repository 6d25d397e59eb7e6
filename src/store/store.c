/* store: one thread, one connection, one bounded queue. */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "store/repo_meta.h"

#define QUEUE_MAX 256
#define NICE      5

struct store {
    struct store_options o;
    struct sql *db;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    struct store_job *first, **last;
    size_t queued;
    bool closing;
    /* The store thread's own. */
    int64_t rev;
    enum err health;
    struct timespec watch_at;
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

static void schedule_watch(struct store *s)
{
    clock_gettime(CLOCK_MONOTONIC, &s->watch_at);
    s->watch_at.tv_nsec += (long)(s->o.watch_ms % 1000) * 1000000;
    s->watch_at.tv_sec += s->o.watch_ms / 1000 + s->watch_at.tv_nsec / 1000000000;
    s->watch_at.tv_nsec %= 1000000000;
}

static bool watch_is_due(const struct store *s)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return s->o.watch_ms &&
           (now.tv_sec > s->watch_at.tv_sec ||
            (now.tv_sec == s->watch_at.tv_sec && now.tv_nsec >= s->watch_at.tv_nsec));
}

/* With the mutex held: waits for a job, a due watch or the end. NULL: no job. */
static struct store_job *next_job(struct store *s)
{
    while (!s->first && !s->closing && !watch_is_due(s)) {
        if (s->o.watch_ms)
            pthread_cond_timedwait(&s->wake, &s->mutex, &s->watch_at);
        else
            pthread_cond_wait(&s->wake, &s->mutex);
    }
    struct store_job *job = s->first;
    if (job) {
        s->first = job->next_;
        if (!s->first)
            s->last = &s->first;
        s->queued--;
    }
    return job;
}

static void *run(void *arg)
{
    struct store *s = arg;
    pthread_setname_np(pthread_self(), "lyss-store");
    /* Of this thread alone on Linux: what it does in the background gives way to the loops. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    bool going = true;
    while (going) {
        if (watch_is_due(s)) {
            watch(s);
            schedule_watch(s);
        }
        pthread_mutex_lock(&s->mutex);
        struct store_job *job = next_job(s);
        going = job || !s->closing;
        pthread_mutex_unlock(&s->mutex);
        if (job)
            run_job(s, job);
    }
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
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->mutex, NULL);
    int failed = pthread_create(&s->thread, NULL, run, s);
    if (!failed) {
        *out = s;
        return ERR_OK;
    }
    sql_close(&s->db);
    pthread_cond_destroy(&s->wake);
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
        pthread_cond_signal(&s->wake);
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
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    sql_close(&s->db);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    mem_free(s);
    *sp = NULL;
}
