/* journal_recovery: run at each start, before the threads.  Each step only appends to the journal
 * or removes what is in it already, so that a recovery cut off in the middle is simply run again:
 * the names of records (epoch, worker, seq) tell what was taken over, and a request that was given
 * its aborted settlement is open no more. */
#include "store/journal_recovery.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "store/journal_ring.h"

#define OPEN_MAX  (16u << 20)
#define LAST_MAX  (1u << 20)
#define PATHS_MAX (4u << 20)

/* The highest seq seen of each ring. */
struct last_seq {
    uint64_t seq;
    uint32_t epoch;
    uint16_t worker;
};

struct state {
    struct recovery *rc;
    struct segment_writer *w;
    struct open_table open;
    struct buf last;  /* struct last_seq */
    struct buf paths; /* of our rings, NUL after each */
    uint32_t epochs;  /* the highest that a record or a ring has */
};

static struct last_seq *find_last(struct state *st, uint32_t epoch, uint16_t worker)
{
    struct last_seq *l = (struct last_seq *)st->last.p;
    /* From the newest on: records of one start lie together. */
    for (size_t i = st->last.n / sizeof *l; i-- > 0;)
        if (l[i].epoch == epoch && l[i].worker == worker)
            return &l[i];
    return NULL;
}

static void see_epoch(struct state *st, uint32_t epoch)
{
    if (epoch > st->epochs)
        st->epochs = epoch;
}

static enum err note(struct state *st, const struct record *r)
{
    see_epoch(st, r->epoch);
    struct last_seq *l = find_last(st, r->epoch, r->worker);
    if (l) {
        l->seq = r->seq > l->seq ? r->seq : l->seq;
    } else {
        struct last_seq fresh = {r->seq, r->epoch, r->worker};
        buf_add(&st->last, &fresh, sizeof fresh);
        if (buf_failed(&st->last))
            return ERR_NOMEM;
    }
    st->rc->records++;
    if (r->type != JOURNAL_SETTLED)
        return open_add(&st->open, r);
    struct open_request *o = open_take(&st->open, ((const struct record_settled *)r)->id);
    open_request_free(&o);
    return ERR_OK;
}

static enum err read_segments(struct state *st, struct err_info *info)
{
    struct recovery *rc = st->rc;
    struct segment_reader rd;
    uint64_t *numbers, next;
    size_t n;
    enum err e = segment_list(rc->dir, &numbers, &n, &next);
    if (e || (e = segment_reader_init(&rd, rc->dir))) {
        mem_free(numbers);
        return err_set(info, e, "%s cannot be read", rc->dir->path);
    }
    atomic_store(&rc->dir->live, n);
    rc->first = next;
    rc->oldest = n ? numbers[0] : next;
    e = segment_carry_load(rc->dir, rc->oldest, &st->open);
    for (size_t i = 0; i < n && !e; i++) {
        enum err opened = segment_reader_open(&rd, numbers[i]);
        rc->damaged += opened && opened != ERR_NOT_FOUND;
        if (opened)
            continue; /* nothing is to be had from it */
        for (const struct record *r; !e && (r = segment_read(&rd, rd.size));)
            e = note(st, r);
        rc->damaged += rd.walk.damaged;
    }
    segment_reader_release(&rd);
    mem_free(numbers);
    return e ? err_set(info, e, "%s cannot be taken over", rc->dir->path) : ERR_OK;
}

static uint64_t after(void *ctx, uint32_t epoch, uint16_t worker)
{
    see_epoch(ctx, epoch);
    struct last_seq *l = find_last(ctx, epoch, worker);
    return l ? l->seq : 0;
}

static enum err take_over(void *ctx, const struct record *r)
{
    struct state *st = ctx;
    enum err e = segment_add(st->w, r);
    return e ? e : note(st, r);
}

/* Takes over the rings of this journal in dir; notes their paths for the end. */
static enum err read_rings(struct state *st, const char *dir, struct err_info *info)
{
    struct ring_recovery rr = {.ctx = st, .after = after, .each = take_over};
    char path[SEGMENT_PATH_MAX + 300];
    enum err e = ERR_OK;
    DIR *d = dir ? opendir(dir) : NULL;
    if (!d)
        return ERR_OK;
    for (struct dirent *en; !e && (en = readdir(d));) {
        if (!str_glob(STR("lyss-*.ring"), str_c(en->d_name)))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, en->d_name);
        enum ring_owner owner = ring_owner(path, st->rc->data_dir, st->rc->dir->uuid);
        if (owner == RING_DEAD)
            unlink(path);
        if (owner != RING_OURS)
            continue;
        e = ring_recover(path, &rr, info);
        if (e == ERR_CORRUPT) { /* cut short or overwritten: there is nothing to be had */
            rr.damaged++;
            e = ERR_OK;
        }
        buf_add(&st->paths, path, strlen(path) + 1);
    }
    closedir(d);
    st->rc->damaged += rr.damaged;
    return e ? e : buf_failed(&st->paths) ? ERR_NOMEM : ERR_OK;
}

static bool has_input(const struct ledger_counters *c)
{
    return c->in_uncached || c->cache_read || c->cache_write_5m || c->cache_write_1h || c->audio_in;
}

static void add(struct ledger_settled *s, const struct ledger_counters *c, bool has_cost,
                int64_t cost_nusd)
{
#define X(field) s->c.field += c->field;
    LEDGER_COUNTERS(X)
#undef X
    s->has_cost =
        s->has_cost && has_cost && !__builtin_add_overflow(s->cost_nusd, cost_nusd, &s->cost_nusd);
    s->attempts++;
}

/* What a request owes that nobody settled: its tries, and of the one under way the output counted
 * so far and, once a byte came back, the input. */
static void charge(const struct open_request *o, struct ledger_progress *p,
                   struct ledger_settled *s)
{
    s->has_cost = true;
    if (o->so_far.has_progress) {
        if (!has_input(&p->so_far) && o->r.est_in) {
            p->so_far.in_uncached = o->r.est_in;
            p->has_cost = false; /* the worker priced what it had counted */
        }
        add(s, &p->so_far, p->has_cost, p->cost_nusd);
        s->channel_id = p->channel_id;
        s->credential_id = p->credential_id;
        s->price_id = o->attempts ? 0 : p->price_id;
    }
    for (struct open_attempt *t = o->attempts; t; t = t->next) {
        struct ledger_attempt a;
        record_unpack_attempt(&t->r, &a);
        add(s, &a.c, a.has_cost, a.cost_nusd);
        if (!o->so_far.has_progress) {
            s->channel_id = a.channel_id;
            s->credential_id = a.credential_id;
        }
    }
    s->attempts = s->attempts ? s->attempts : 1;
}

static enum err write_record(struct state *st, struct record *r, enum journal_type type, size_t len,
                             uint64_t *seq)
{
    *r = (struct record){.len = (uint32_t)len,
                         .seq = ++*seq,
                         .epoch = st->rc->epoch,
                         .worker = JOURNAL_RECOVERY,
                         .type = (uint8_t)type,
                         .version = JOURNAL_VERSION};
    r->crc = record_crc(r, r->len);
    return segment_add(st->w, r);
}

/* The try under way gets a record of its own where there were others. */
static enum err end_try(struct state *st, const struct open_request *o,
                        const struct ledger_progress *so_far, uint64_t *seq, int64_t now_ms)
{
    struct {
        struct record_attempt r;
        int64_t price_id;
    } room;
    struct ledger_attempt a = {
        .channel_id = so_far->channel_id,
        .credential_id = so_far->credential_id,
        .start_ms = now_ms,
        .c = so_far->so_far,
        .outcome = ERR_INTERNAL,
        .number = 1,
        .estimated = 1,
        .cost_nusd = so_far->cost_nusd,
        .has_cost = so_far->has_cost,
        .price_id = so_far->price_id,
    };
    memcpy(a.request_id, o->r.id, 16);
    for (struct open_attempt *p = o->attempts; p; p = p->next)
        a.number = p->r.number >= a.number ? (uint8_t)(p->r.number + 1) : a.number;
    record_pack_attempt(&room.r, &a);
    return write_record(st, &room.r.h, JOURNAL_ATTEMPT, record_attempt_size(&a), seq);
}

static enum err abort_open(struct state *st)
{
    size_t at = 0;
    uint64_t seq = 0;
    int64_t now_ms = clock_wall_ms();
    enum err e = ERR_OK;
    for (struct open_request *o; !e && (o = open_next(&st->open, &at));) {
        struct {
            struct record_settled r;
            int64_t price_id;
        } room;
        struct ledger_settled s = {
            .state = LEDGER_ABORTED, .estimated = 1, .err = ERR_INTERNAL, .ended_ms = now_ms};
        struct ledger_progress so_far;
        open_request_progress(o, &so_far);
        memcpy(s.request_id, o->r.id, 16);
        charge(o, &so_far, &s);
        if (o->so_far.has_progress && o->attempts)
            e = end_try(st, o, &so_far, &seq, now_ms);
        record_pack_settled(&room.r, &s, false);
        e = e ? e : write_record(st, &room.r.h, JOURNAL_SETTLED, record_settled_size(&s), &seq);
        st->rc->aborted += !e;
    }
    st->rc->records += seq;
    return e;
}

enum err recovery_run(struct recovery *rc, struct segment_writer *w, struct err_info *info)
{
    struct state st = {.rc = rc, .w = w};
    open_init(&st.open, OPEN_MAX);
    buf_init(&st.last, LAST_MAX);
    buf_init(&st.paths, PATHS_MAX);
    enum err e = read_segments(&st, info);
    if (!e) {
        segment_writer_init(w, rc->dir, rc->first);
        for (size_t i = 0; i < 2 && !e; i++)
            e = read_rings(&st, rc->ring_dirs[i], info);
        /* One that died before its first segment was made has left its epoch in a ring, and what
         * was taken from there lies in a segment now: whoever took the same again would lose what
         * it counts below that. */
        rc->epoch = st.epochs >= rc->first ? st.epochs + 1 : (uint32_t)rc->first;
        e = e ? e : abort_open(&st);
        e = e ? e : segment_flush(w);
        e = e ? e : segment_sync(w);
        if (e)
            err_set(info, e, "%s cannot be written", rc->dir->path);
    }
    for (size_t i = 0; !e && i < st.paths.n; i += strlen(st.paths.p + i) + 1)
        unlink(st.paths.p + i);
    open_release(&st.open);
    buf_release(&st.last);
    buf_release(&st.paths);
    return e;
}
