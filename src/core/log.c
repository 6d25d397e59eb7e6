/* log: lines are made by the thread that speaks, into a buffer of that thread, and travel to the
 * writer through a ring of bytes with one producer and one consumer.  What is published is always
 * whole lines, so the writer passes on the bytes as they are.  The writer sleeps on an eventfd; a
 * producer only touches it when the writer has said that it sleeps. */
#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/log_line.h"

#define RING_BYTES_DEFAULT (256 << 10)
#define RINGS_MAX          320
#define LINE_MAX_BYTES     (32 << 10)

struct ring {
    atomic_size_t head; /* bytes ever put in; the producer's */
    atomic_size_t tail; /* bytes ever taken out; the writer's */
    atomic_bool closed; /* the producer will not put any more */
    size_t cap;         /* a power of two */
    char bytes[];
};

atomic_int log_level_now = LOG_INFO;

static struct {
    int fd, wake_fd;
    struct log_style style;
    size_t ring_bytes;
    bool running; /* main thread only */
    pthread_t writer;
    pthread_mutex_t lock; /* of registration, which is rare */
    struct ring *_Atomic rings[RINGS_MAX];
    atomic_bool sleeping, stop;
    atomic_ullong dropped;
} g = {.fd = STDERR_FILENO, .wake_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static __thread struct ring *t_ring;
static __thread struct buf t_line;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&g.dropped, memory_order_relaxed);
}

static void write_all(struct iovec *v, int n)
{
    while (n > 0) {
        ssize_t done = writev(g.fd, v, n);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = g.fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return; /* nobody reads any more */
        }
        for (; n > 0 && done >= (ssize_t)v->iov_len; v++, n--)
            done -= (ssize_t)v->iov_len;
        if (n > 0 && done > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
}

static void wake_writer(void)
{
    /* With writer_sleep: either the writer sees the bytes or we see it asleep. An exchange, not a
     * fence, orders it, because the thread sanitizer knows of exchanges only. */
    if (atomic_exchange(&g.sleeping, false)) {
        uint64_t one = 1;
        ssize_t ignored = write(g.wake_fd, &one, sizeof one);
        (void)ignored;
    }
}

static bool ring_put(struct ring *r, struct str line)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t used = head - atomic_load_explicit(&r->tail, memory_order_acquire);
    if (line.n > r->cap - used)
        return false;
    size_t at = head & (r->cap - 1), first = r->cap - at;
    if (first > line.n)
        first = line.n;
    memcpy(r->bytes + at, line.p, first);
    memcpy(r->bytes, line.p + first, line.n - first);
    atomic_store_explicit(&r->head, head + line.n, memory_order_release);
    return true;
}

void log_write(enum log_level level, const struct log_field *fields, size_t n)
{
    struct buf own, *b = &own;
    if (t_ring)
        b = &t_line;
    else
        buf_init(&own, LINE_MAX_BYTES);
    buf_reset(b);
    log_line(b, &g.style, level, fields, n);
    bool lost = buf_failed(b);
    if (!lost && t_ring) {
        lost = !ring_put(t_ring, buf_view(b));
        wake_writer();
    } else if (!lost) {
        write_all(&(struct iovec){b->p, b->n}, 1);
    }
    if (lost)
        atomic_fetch_add_explicit(&g.dropped, 1, memory_order_relaxed);
    if (b == &own)
        buf_release(&own);
}

/* Writes what the ring holds; true if it held anything. */
static bool ring_drain(struct ring *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t n = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    if (!n)
        return false;
    size_t at = tail & (r->cap - 1), first = n < r->cap - at ? n : r->cap - at;
    struct iovec v[2] = {{r->bytes + at, first}, {r->bytes, n - first}};
    write_all(v, n > first ? 2 : 1);
    atomic_store_explicit(&r->tail, tail + n, memory_order_release);
    return true;
}

static bool drain_all(void)
{
    bool any = false;
    for (int i = 0; i < RINGS_MAX; i++) {
        struct ring *r = atomic_load_explicit(&g.rings[i], memory_order_acquire);
        if (!r)
            continue;
        bool closed = atomic_load_explicit(&r->closed, memory_order_acquire);
        if (ring_drain(r)) {
            any = true;
        } else if (closed) {
            atomic_store_explicit(&g.rings[i], NULL, memory_order_release);
            mem_free(r);
        }
    }
    return any;
}

static void writer_sleep(void)
{
    uint64_t n;
    atomic_exchange(&g.sleeping, true);
    if (drain_all() || atomic_load(&g.stop)) {
        atomic_store_explicit(&g.sleeping, false, memory_order_relaxed);
        return;
    }
    struct pollfd p = {.fd = g.wake_fd, .events = POLLIN};
    poll(&p, 1, 1000);
    ssize_t ignored = read(g.wake_fd, &n, sizeof n);
    (void)ignored;
}

static void *writer_main(void *arg)
{
    uint64_t told = 0;
    pthread_setname_np(pthread_self(), "lyss-log");
    for (;;) {
        bool stop = atomic_load(&g.stop); /* read before the last look, so that it misses nothing */
        bool any = drain_all();
        uint64_t dropped = log_dropped();
        if (dropped != told) {
            log_event(LOG_WARN, "log.dropped", LOG_I64("records", dropped - told),
                      LOG_I64("total", dropped));
            told = dropped;
        }
        if (stop && !any)
            return NULL;
        if (!any)
            writer_sleep();
    }
}

enum err log_init(int fd, enum config_log_format format, enum log_level level, size_t ring_bytes)
{
    bool terminal = isatty(fd);
    const char *no_color = getenv("NO_COLOR");
    g.fd = fd;
    g.style.text = format == LOG_FORMAT_TEXT || (format == LOG_FORMAT_AUTO && terminal);
    g.style.color = terminal && !(no_color && *no_color);
    g.ring_bytes = ring_bytes ? ring_bytes : RING_BYTES_DEFAULT;
    log_set_level(level);
    atomic_store(&g.stop, false);
    g.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (g.wake_fd < 0)
        return ERR_IO;
    sigset_t all, old; /* signals are for the thread that waits for them */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int failed = pthread_create(&g.writer, NULL, writer_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed) {
        close(g.wake_fd);
        g.wake_fd = -1;
        return ERR_NOMEM;
    }
    g.running = true;
    return ERR_OK;
}

void log_release(void)
{
    uint64_t one = 1;
    log_thread_release();
    if (!g.running)
        return;
    atomic_store(&g.stop, true);
    ssize_t ignored = write(g.wake_fd, &one, sizeof one);
    (void)ignored;
    pthread_join(g.writer, NULL);
    close(g.wake_fd);
    g.wake_fd = -1;
    g.running = false;
}

void log_thread_init(const char *name)
{
    char shortened[16];
    pthread_setname_np(pthread_self(), str_copy(shortened, sizeof shortened, str_c(name)));
    if (g.wake_fd < 0 || t_ring)
        return;
    struct ring *r = mem_zalloc(sizeof *r + g.ring_bytes);
    if (!r)
        return;
    r->cap = g.ring_bytes;
    pthread_mutex_lock(&g.lock);
    for (int i = 0; i < RINGS_MAX && !t_ring; i++)
        if (!atomic_load(&g.rings[i])) {
            atomic_store_explicit(&g.rings[i], r, memory_order_release);
            t_ring = r;
        }
    pthread_mutex_unlock(&g.lock);
    if (t_ring)
        buf_init(&t_line, LINE_MAX_BYTES);
    else
        mem_free(r);
}

void log_thread_release(void)
{
    if (!t_ring)
        return;
    atomic_store_explicit(&t_ring->closed, true, memory_order_release);
    t_ring = NULL;
    buf_release(&t_line);
    wake_writer();
}
