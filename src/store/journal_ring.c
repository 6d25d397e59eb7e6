/* journal_ring: appending without a system call.  The producer zeroes the word behind each record
 * before it publishes the record, so that a word that is not yet written is never taken for a
 * length; the consumer clears nothing.  Room for the bare settled record of every open request is
 * kept free at all times: whoever was let in can always be settled. */
#include "store/journal_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/rng.h"

#define BARE           sizeof(struct record_settled)
#define BARE_PER_PAGE  (JOURNAL_PAGE / BARE)
#define UNRECORDED_MAX 65536

static_assert(BARE % 8 == 0, "the reserve is counted in whole records");

/* What the names of a journal's rings begin with. */
static void name_start(char *out, size_t cap, const char *data_dir, const uint8_t id[16])
{
    char uuid[37];
    uuid_format(id, uuid);
    /* The directory's sum tells a copied data directory from its original. */
    snprintf(out, cap, "lyss-%s-%08x-", uuid, hash_crc32c(0, data_dir, strlen(data_dir)));
}

static void ring_name(char *out, size_t cap, const struct ring_options *o)
{
    char start[64];
    name_start(start, sizeof start, o->data_dir, o->uuid);
    snprintf(out, cap, "%s/%s%u.ring", o->ring_dir, start, o->worker);
}

static enum err map_file(struct journal_ring *r, const struct ring_options *o)
{
    uint64_t bytes = JOURNAL_PAGE + r->size;
    r->fd = open(r->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->fd < 0 || flock(r->fd, LOCK_EX | LOCK_NB) != 0)
        return ERR_IO;
    /* Allocated now: a full tmpfs must fail here, not by SIGBUS at some append. */
    if (posix_fallocate(r->fd, 0, (off_t)bytes) != 0)
        return ERR_IO;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, 0);
    if (p == MAP_FAILED)
        return ERR_IO;
    r->head = p;
    r->data = (unsigned char *)p + JOURNAL_PAGE;
    return ERR_OK;
}

enum err ring_new(struct journal_ring **out, const struct ring_options *o, struct err_info *info)
{
    struct journal_ring *r = mem_zalloc(sizeof *r);
    *out = NULL;
    if (!r)
        return ERR_NOMEM;
    r->fd = -1;
    r->size = o->bytes;
    r->epoch = o->epoch;
    r->worker = o->worker;
    r->shared = o->shared;
    open_init(&r->unrecorded, UNRECORDED_MAX);
    ring_name(r->path, sizeof r->path, o);
    enum err e = map_file(r, o);
    if (e) {
        err_set(info, e, "%s: %s", r->path, strerror(errno));
        ring_free(&r, r->fd < 0);
        return e;
    }
    struct ring_head *h = r->head;
    h->bytes = o->bytes;
    h->epoch = o->epoch;
    h->worker = o->worker;
    memcpy(h->uuid, o->uuid, 16);
    str_copy(h->data_dir, sizeof h->data_dir, str_c(o->data_dir));
    atomic_thread_fence(memory_order_release); /* the last: who dies before has made no ring */
    memcpy(h->magic, "LYSSRNG1", 8);
    *out = r;
    return ERR_OK;
}

void ring_free(struct journal_ring **rp, bool keep_file)
{
    struct journal_ring *r = *rp;
    if (!r)
        return;
    if (r->head)
        munmap(r->head, JOURNAL_PAGE + r->size);
    if (!keep_file)
        unlink(r->path);
    if (r->fd >= 0)
        close(r->fd);
    open_release(&r->unrecorded);
    mem_free(r);
    *rp = NULL;
}

static inline _Atomic uint32_t *len_word(const struct journal_ring *r, uint64_t pos)
{
    return (_Atomic uint32_t *)(r->data + (pos & (r->size - 1)));
}

/* Bytes that n bare settled records take from a page's begin on, and one page's rest before it. */
static inline uint64_t reserve_bytes(uint64_t n)
{
    return (n / BARE_PER_PAGE + 2) * JOURNAL_PAGE;
}

/* Room for len bytes, with keep bytes staying free behind them, or NULL. Ends the page before it
 * when the record does not fit there. */
static struct record *claim(struct journal_ring *r, size_t len, uint64_t keep)
{
    size_t left = JOURNAL_PAGE - (size_t)(r->at % JOURNAL_PAGE), need = JOURNAL_ALIGN(len);
    uint64_t start = left < need ? r->at + left : r->at;
    if (start + need + 8 + keep - r->tail_seen > r->size) {
        r->tail_seen = atomic_load_explicit(&r->head->tail, memory_order_acquire);
        if (start + need + 8 + keep - r->tail_seen > r->size)
            return NULL;
    }
    if (start != r->at) {
        atomic_store_explicit(len_word(r, start), 0, memory_order_relaxed);
        atomic_store_explicit(len_word(r, r->at), JOURNAL_PAD | (uint32_t)left,
                              memory_order_release);
        r->at = start;
    }
    atomic_store_explicit(len_word(r, start + need), 0, memory_order_relaxed);
    return (struct record *)len_word(r, start);
}

static void publish(struct journal_ring *r, struct record *rec, enum journal_type type, size_t len)
{
    rec->seq = ++r->seq;
    rec->epoch = r->epoch;
    rec->worker = r->worker;
    rec->type = (uint8_t)type;
    rec->version = type == JOURNAL_SETTLED && len == BARE ? 1 : JOURNAL_VERSION;
    rec->crc = record_crc(rec, (uint32_t)len);
    atomic_store_explicit((_Atomic uint32_t *)&rec->len, (uint32_t)len, memory_order_release);
    r->at += JOURNAL_ALIGN(len);
    atomic_store_explicit(&r->appended, r->seq, memory_order_relaxed);
}

static void count(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* The journal is full and open: the request goes on, known only by its id, so that what comes of
 * it later is left out too. */
static enum err pass_unrecorded(struct journal_ring *r, const uint8_t id[16])
{
    if (open_add_id(&r->unrecorded, id) != ERR_OK)
        return ERR_OVERLOADED;
    count(&r->passed);
    return ERR_OK;
}

enum err journal_admitted(struct journal_ring *r, const struct ledger_admitted *a)
{
    if (atomic_load_explicit(&r->shared->full, memory_order_relaxed))
        return r->shared->policy == JOURNAL_OPEN ? pass_unrecorded(r, a->request_id)
                                                 : ERR_OVERLOADED;
    size_t len = record_admitted_size(a);
    /* An eighth stays for attempts and progress of those who are in. */
    struct record *rec = claim(r, len, reserve_bytes(r->open + 1) + r->size / 8);
    if (!rec)
        return ERR_OVERLOADED;
    record_pack_admitted((struct record_admitted *)rec, a);
    publish(r, rec, JOURNAL_ADMITTED, len);
    r->open++;
    return ERR_OK;
}

static bool is_unrecorded(const struct journal_ring *r, const uint8_t id[16])
{
    return r->unrecorded.count && open_find(&r->unrecorded, id);
}

void journal_progress(struct journal_ring *r, const struct ledger_progress *p)
{
    if (is_unrecorded(r, p->request_id))
        return;
    struct record *rec = claim(r, sizeof(struct record_progress), reserve_bytes(r->open));
    if (!rec) {
        count(&r->dropped);
        return;
    }
    record_pack_progress((struct record_progress *)rec, p);
    publish(r, rec, JOURNAL_PROGRESS, sizeof(struct record_progress));
}

void journal_attempt(struct journal_ring *r, const struct ledger_attempt *a)
{
    if (is_unrecorded(r, a->request_id))
        return;
    size_t len = record_attempt_size(a);
    struct record *rec = claim(r, len, reserve_bytes(r->open));
    if (!rec) {
        count(&r->dropped);
        return;
    }
    record_pack_attempt((struct record_attempt *)rec, a);
    publish(r, rec, JOURNAL_ATTEMPT, len);
}

void journal_settled(struct journal_ring *r, const struct ledger_settled *s)
{
    if (r->unrecorded.count) {
        struct open_request *o = open_take(&r->unrecorded, s->request_id);
        if (o) {
            open_request_free(&o);
            return;
        }
    }
    assert(r->open > 0);
    size_t len = record_settled_size(s);
    struct record *rec = claim(r, len, reserve_bytes(r->open - 1));
    bool bare = !rec;
    if (bare) {
        len = BARE;
        rec = claim(r, len, 0);
        assert(rec);
    }
    record_pack_settled((struct record_settled *)rec, s, bare);
    publish(r, rec, JOURNAL_SETTLED, len);
    r->open--;
}

uint64_t journal_mark(const struct journal_ring *r)
{
    return r->seq;
}

uint64_t journal_synced(const struct journal_ring *r)
{
    return atomic_load_explicit(&r->synced, memory_order_acquire);
}

const struct record *ring_peek(struct journal_ring *r)
{
    for (;;) {
        _Atomic uint32_t *word = len_word(r, r->cursor);
        uint32_t len = atomic_load_explicit(word, memory_order_acquire);
        if (len == 0)
            return NULL;
        if (len & JOURNAL_PAD) {
            r->cursor += len & ~JOURNAL_PAD;
            continue;
        }
        return (const struct record *)word;
    }
}

void ring_stage(struct journal_ring *r, const struct record *rec)
{
    r->cursor += JOURNAL_ALIGN(rec->len);
    r->staged = rec->seq;
}

void ring_release_staged(struct journal_ring *r)
{
    atomic_store_explicit(&r->copied, r->staged, memory_order_relaxed);
    atomic_store_explicit(&r->head->tail_seq, r->staged, memory_order_release);
    atomic_store_explicit(&r->head->tail, r->cursor, memory_order_release);
}

/* Reads a whole ring file, its head first. The caller frees. NULL: not a ring. */
static struct ring_head *load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    struct ring_head *h = NULL;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && st.st_size > JOURNAL_PAGE && st.st_size <= (1 << 30) + JOURNAL_PAGE)
        h = mem_alloc((size_t)st.st_size);
    size_t n = 0;
    while (h && n < (size_t)st.st_size) {
        ssize_t got = read(fd, (char *)h + n, (size_t)st.st_size - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (h &&
        (n < (size_t)st.st_size || memcmp(h->magic, "LYSSRNG1", 8) != 0 ||
         h->bytes != n - JOURNAL_PAGE || h->bytes & (h->bytes - 1) || h->bytes < JOURNAL_PAGE)) {
        mem_free(h);
        h = NULL;
    }
    return h;
}

/* One lap from tail on (the first records may be in a segment already, if the process died before
 * it moved the tail). What lies beyond the last record is of an earlier lap: its seq is lower
 * than what was seen, which is how it is told from what follows a damaged place. */
enum err ring_recover(const char *path, struct ring_recovery *rec, struct err_info *info)
{
    struct ring_head *h = load(path);
    if (!h)
        return err_set(info, ERR_CORRUPT, "%s is not a ring", path);
    const unsigned char *data = (const unsigned char *)h + JOURNAL_PAGE;
    uint64_t tail = atomic_load(&h->tail), last = atomic_load(&h->tail_seq);
    uint64_t after = rec->after(rec->ctx, h->epoch, h->worker);
    last = after > last ? after : last;
    enum err e = ERR_OK;
    for (uint64_t at = tail; !e && at < tail + h->bytes;) {
        size_t skip = at % JOURNAL_PAGE;
        uint64_t page = (at - skip) & (h->bytes - 1);
        struct record_walk w = {.base = data + page, .at = skip, .end = JOURNAL_PAGE};
        const struct record *r;
        while (!e && (r = record_next(&w))) {
            if (r->epoch != h->epoch || r->worker != h->worker || r->seq <= last)
                continue;
            last = r->seq;
            e = rec->each(rec->ctx, r);
        }
        rec->damaged += w.damaged;
        at += JOURNAL_PAGE - skip;
    }
    mem_free(h);
    return e;
}

/* Does that directory hold the journal of that identity? */
static bool is_home(const char *data_dir, const uint8_t uuid[16])
{
    char path[RING_DIR_MAX + 32], want[37], got[37] = "";
    snprintf(path, sizeof path, "%s/journal/instance", data_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    uuid_format(uuid, want);
    ssize_t n = read(fd, got, 36);
    close(fd);
    return n == 36 && strcmp(want, got) == 0;
}

/* One of this directory's by its name, whose maker died before it had a head. */
static bool is_unfinished(const char *path, const struct ring_head *h, ssize_t n,
                          const char *data_dir, const uint8_t uuid[16])
{
    static const char none[sizeof h->magic];
    char start[64];
    const char *name = strrchr(path, '/');
    name_start(start, sizeof start, data_dir, uuid);
    return (n < (ssize_t)sizeof *h || !memcmp(h->magic, none, sizeof none)) &&
           str_starts(str_c(name ? name + 1 : path), str_c(start));
}

enum ring_owner ring_owner(const char *path, const char *data_dir, const uint8_t uuid[16])
{
    struct ring_head h;
    enum ring_owner owner = RING_FOREIGN;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return RING_FOREIGN;
    bool dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
    ssize_t n = dead ? read(fd, &h, sizeof h) : -1;
    if (n >= 0 && is_unfinished(path, &h, n, data_dir, uuid)) {
        owner = RING_DEAD;
    } else if (n == (ssize_t)sizeof h && memcmp(h.magic, "LYSSRNG1", 8) == 0 &&
               memchr(h.data_dir, 0, sizeof h.data_dir)) {
        bool here = strcmp(h.data_dir, data_dir) == 0, home = here || is_home(h.data_dir, h.uuid);
        if (memcmp(h.uuid, uuid, 16) == 0)
            owner = here || !home ? RING_OURS : RING_FOREIGN;
        else
            owner = here || !home ? RING_DEAD : RING_FOREIGN;
    }
    close(fd);
    return owner;
}
