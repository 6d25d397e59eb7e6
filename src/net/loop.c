/* loop: libuv behind a small face. Descriptors are polled, not streamed: the owner reads and
 * writes itself, one system call each, straight from and into the buffer where the bytes belong. */
#include "net/loop.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include "core/alloc.h"
#include "core/clock.h"

#define SLOT_MS 20
#define SLOTS   1024

struct loop {
    uv_loop_t uv; /* first */
    uv_async_t async;
    uv_timer_t tick;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* started while costly steps wait: the loop does not sleep then */
    struct costly *costly, **costly_end;
    unsigned costly_n, steps;       /* waiting; made this turn */
    _Atomic(struct message *) mail; /* newest first */
    struct message *deferred, **deferred_end;
    struct deadline *slots[SLOTS];
    uint64_t wheel_ms; /* all slots before this time have been looked at */
    bool ticking;
    uint64_t turn;
    uint64_t woken_ms; /* of the turn under way; the event library's clock */
    _Atomic uint64_t stall_max_ms;
    char name[16];
};

_Static_assert(sizeof(uv_poll_t) <= sizeof(((struct io *)0)->handle_), "io.handle_ is too small");

/* ---- messages ----------------------------------------------------------- */

static void run_mail(struct loop *l)
{
    struct message *m = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);
    struct message *in_order = NULL;
    while (m) {
        struct message *next = m->next;
        m->next = in_order;
        in_order = m;
        m = next;
    }
    while (in_order) {
        struct message *next = in_order->next;
        in_order->run(in_order);
        in_order = next;
    }
}

static void on_async(uv_async_t *a)
{
    run_mail(a->data);
}

void loop_post(struct loop *l, struct message *m)
{
    struct message *old = atomic_load_explicit(&l->mail, memory_order_relaxed);
    do
        m->next = old;
    while (!atomic_compare_exchange_weak_explicit(&l->mail, &old, m, memory_order_release,
                                                  memory_order_relaxed));
    uv_async_send(&l->async);
}

void loop_defer(struct loop *l, struct message *m)
{
    m->next = NULL;
    *l->deferred_end = m;
    l->deferred_end = &m->next;
}

static void run_deferred(struct loop *l)
{
    while (l->deferred) {
        struct message *m = l->deferred;
        l->deferred = m->next;
        if (!l->deferred)
            l->deferred_end = &l->deferred;
        m->run(m);
    }
}

/* ---- costly steps --------------------------------------------------------- */

static void on_idle(uv_idle_t *i)
{
    (void)i;
}

bool costly_run(struct loop *l, struct costly *c, bool due, void (*run)(struct costly *))
{
    if (costly_waits(c))
        return true;
    if (l->steps < LOOP_STEPS_A_TURN && !l->costly) {
        l->steps++;
        run(c);
        return true;
    }
    if (l->costly_n >= LOOP_STEPS_MAX && !due)
        return false;
    c->run = run;
    c->next = NULL;
    c->prev = l->costly_end;
    *l->costly_end = c;
    l->costly_end = &c->next;
    if (!l->costly_n++)
        uv_idle_start(&l->idle, on_idle);
    return true;
}

void costly_drop(struct loop *l, struct costly *c)
{
    if (!costly_waits(c))
        return;
    *c->prev = c->next;
    *(c->next ? &c->next->prev : &l->costly_end) = c->prev;
    c->next = NULL;
    c->prev = NULL;
    if (!--l->costly_n)
        uv_idle_stop(&l->idle);
}

/* A new turn: those that have waited come first. */
static void run_costly(struct loop *l)
{
    for (l->steps = 0; l->steps < LOOP_STEPS_A_TURN && l->costly; l->steps++) {
        struct costly *c = l->costly;
        costly_drop(l, c);
        c->run(c);
    }
}

/* ---- turns ---------------------------------------------------------------- */

/* The last thing before the loop sleeps: a turn lasts from waking up to here. */
static void on_prepare(uv_prepare_t *p)
{
    struct loop *l = p->data;
    l->turn++;
    run_costly(l);
    run_deferred(l);
    uint64_t now_ms = uv_hrtime() / 1000000;
    uint64_t spent_ms = now_ms > l->woken_ms ? now_ms - l->woken_ms : 0;
    if (l->woken_ms && spent_ms > atomic_load_explicit(&l->stall_max_ms, memory_order_relaxed))
        atomic_store_explicit(&l->stall_max_ms, spent_ms, memory_order_relaxed);
}

static void on_check(uv_check_t *c)
{
    struct loop *l = c->data;
    run_deferred(l);
    l->woken_ms = uv_now(&l->uv);
}

/* ---- deadlines ------------------------------------------------------------ */

uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv) + (uint64_t)(clock_offset_ns() / 1000000);
}

void deadline_clear(struct deadline *d)
{
    if (!d->prev)
        return;
    *d->prev = d->next;
    if (d->next)
        d->next->prev = d->prev;
    d->next = NULL;
    d->prev = NULL;
}

static void link_in(struct loop *l, struct deadline *d)
{
    struct deadline **slot = &l->slots[d->due_ms / SLOT_MS % SLOTS];
    d->next = *slot;
    d->prev = slot;
    if (*slot)
        (*slot)->prev = &d->next;
    *slot = d;
}

static void run_slot(struct loop *l, size_t slot, uint64_t now_ms)
{
    /* Moved to a list of its own, so that fire() may set and clear any deadline, also those of
     * this slot. */
    struct deadline *list = l->slots[slot];
    l->slots[slot] = NULL;
    if (list)
        list->prev = &list;
    while (list) {
        struct deadline *d = list;
        deadline_clear(d);
        if (d->due_ms <= now_ms)
            d->fire(d);
        else
            link_in(l, d);
    }
}

static void on_tick(uv_timer_t *t)
{
    struct loop *l = t->data;
    uint64_t now_ms = loop_now_ms(l);
    uint64_t from = l->wheel_ms / SLOT_MS, to = now_ms / SLOT_MS;
    if (to - from > SLOTS)
        from = to - SLOTS;
    l->wheel_ms = now_ms;
    for (; from < to; from++)
        run_slot(l, from % SLOTS, now_ms);
    size_t armed = 0;
    for (size_t i = 0; i < SLOTS && !armed; i++)
        armed += l->slots[i] != NULL;
    if (!armed) {
        uv_timer_stop(&l->tick);
        l->ticking = false;
    }
}

void deadline_set(struct loop *l, struct deadline *d, uint64_t due_ms,
                  void (*fire)(struct deadline *))
{
    deadline_clear(d);
    uint64_t now_ms = loop_now_ms(l);
    if (!l->ticking) {
        l->wheel_ms = now_ms;
        l->ticking = true;
        uv_timer_start(&l->tick, on_tick, SLOT_MS, SLOT_MS);
    }
    if (due_ms / SLOT_MS < l->wheel_ms / SLOT_MS)
        due_ms = l->wheel_ms;
    d->due_ms = due_ms;
    d->fire = fire;
    link_in(l, d);
}

/* ---- descriptors ---------------------------------------------------------- */

static uv_poll_t *handle(struct io *io)
{
    return (uv_poll_t *)(void *)io->handle_;
}

static struct io *owner(void *h)
{
    return (struct io *)((char *)h - offsetof(struct io, handle_));
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct io *io = owner(h);
    int got = 0;
    if (status < 0) {
        /* EPOLLERR: reading or writing tells which error, perhaps only after bytes that came
         * before it. libuv has stopped the handle, so it is started again. */
        got = io->events;
        io->events = 0;
        io_want(io, got);
    } else {
        got = (events & UV_READABLE ? IO_READ : 0) | (events & UV_WRITABLE ? IO_WRITE : 0);
    }
    if (got)
        io->on_ready(io, got);
}

void io_want(struct io *io, int events)
{
    if (!io->open || events == io->events)
        return;
    io->events = (uint8_t)events;
    if (!events) {
        uv_poll_stop(handle(io));
        return;
    }
    int uv = (events & IO_READ ? UV_READABLE : 0) | (events & IO_WRITE ? UV_WRITABLE : 0);
    int r = uv_poll_start(handle(io), uv, on_poll);
    assert(r == 0);
    (void)r;
}

enum err io_open(struct io *io, struct loop *l, int fd, int events,
                 void (*on_ready)(struct io *, int))
{
    io->fd = fd;
    io->events = 0;
    io->on_ready = on_ready;
    if (uv_poll_init(&l->uv, handle(io), fd))
        return ERR_IO;
    io->open = 1;
    io_want(io, events);
    return ERR_OK;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct io *io = owner(h);
    if (io->on_closed)
        io->on_closed(io);
}

void io_close(struct io *io, void (*on_closed)(struct io *))
{
    assert(io->open);
    io->open = 0;
    io->on_closed = on_closed;
    uv_close((uv_handle_t *)handle(io), on_handle_closed);
}

struct loop *io_loop(const struct io *io)
{
    return (struct loop *)((const uv_poll_t *)(const void *)io->handle_)->loop;
}

/* ---- life ------------------------------------------------------------------ */

struct loop *loop_new(const char *name)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (!l)
        return NULL;
    if (uv_loop_init(&l->uv)) {
        mem_free(l);
        return NULL;
    }
    str_copy(l->name, sizeof l->name, str_c(name));
    l->deferred_end = &l->deferred;
    l->costly_end = &l->costly;
    uv_async_init(&l->uv, &l->async, on_async);
    uv_timer_init(&l->uv, &l->tick);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->idle);
    l->async.data = l->tick.data = l->prepare.data = l->check.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    return l;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

struct stop {
    struct message m;
    struct loop *l;
};

static void do_stop(struct message *m)
{
    struct stop *s = (struct stop *)m;
    uv_stop(&s->l->uv);
    mem_free(s);
}

void loop_stop(struct loop *l)
{
    struct stop *s = mem_must(sizeof *s);
    s->m.run = do_stop;
    s->l = l;
    loop_post(l, &s->m);
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    run_mail(l);
    run_deferred(l);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    mem_free(l);
}

uint64_t loop_turn(const struct loop *l)
{
    return l->turn;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

uint64_t loop_stall_max_ms(struct loop *l)
{
    return atomic_exchange_explicit(&l->stall_max_ms, 0, memory_order_relaxed);
}
