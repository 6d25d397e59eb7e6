/* journal_segment: plain files, written from front to back by one thread and read behind it by
 * another.  A segment is allocated whole before its first record, so that a disk that fills up
 * meanwhile does not tear it. */
#include "store/journal_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/rng.h"

#define CHUNK     (256u * 1024)
#define CARRY_MAX (512u << 20)

struct segment_head {
    char magic[8]; /* "LYSSJRN1" */
    uint64_t number;
    uint8_t uuid[16];
    uint8_t spare[32];
};
static_assert(sizeof(struct segment_head) == SEGMENT_HEAD, "stored");

static void name_of(char out[40], uint64_t number, const char *kind)
{
    snprintf(out, 40, "%010llu.%s", (unsigned long long)number, kind);
}

static bool write_all(int fd, const void *p, size_t n, off_t at)
{
    while (n) {
        ssize_t got = pwrite(fd, p, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p = (const char *)p + got;
        n -= (size_t)got;
        at += got;
    }
    return true;
}

/* Writes a small file so that it is there whole or not at all. */
static enum err put_file(struct segment_dir *d, const char *name, const void *p, size_t n)
{
    char tmp[48];
    snprintf(tmp, sizeof tmp, "%s.new", name);
    int fd = openat(d->fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    bool ok = write_all(fd, p, n, 0) && fdatasync(fd) == 0;
    close(fd);
    return ok && renameat(d->fd, tmp, d->fd, name) == 0 && fsync(d->fd) == 0 ? ERR_OK : ERR_IO;
}

static bool hex_uuid(const char *text, uint8_t out[16])
{
    int n = 0;
    for (const char *p = text; *p && n < 32; p++) {
        int v = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (v < 0)
            continue;
        out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | v : v);
        n++;
    }
    return n == 32;
}

static enum err identity(struct segment_dir *d)
{
    char text[37] = "";
    int fd = openat(d->fd, "instance", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, 36);
        close(fd);
        return n == 36 && hex_uuid(text, d->uuid) ? ERR_OK : ERR_CORRUPT;
    }
    rng_uuid7(clock_wall_ms(), d->uuid);
    uuid_format(d->uuid, text);
    return put_file(d, "instance", text, 36);
}

enum err segment_dir_open(struct segment_dir *d, const char *data_dir, struct err_info *info)
{
    *d = (struct segment_dir){.fd = -1, .segment_bytes = SEGMENT_BYTES_MAX};
    snprintf(d->path, sizeof d->path, "%s/journal", data_dir);
    if (mkdir(d->path, 0700) != 0 && errno != EEXIST)
        return err_set(info, ERR_IO, "%s: %s", d->path, strerror(errno));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = d->fd < 0 ? ERR_IO : identity(d);
    if (e == ERR_CORRUPT)
        return err_set(info, e, "%s/instance does not hold a UUID", d->path);
    return e ? err_set(info, e, "%s: %s", d->path, strerror(errno)) : ERR_OK;
}

void segment_dir_close(struct segment_dir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum err segment_list(struct segment_dir *d, uint64_t **numbers, size_t *n, uint64_t *next)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    *numbers = NULL;
    *n = 0;
    *next = 1;
    DIR *dir = opendir(d->path);
    if (!dir)
        return ERR_IO;
    for (struct dirent *e; (e = readdir(dir));) {
        struct str kind = str_c(e->d_name), digits;
        uint64_t number;
        if (!str_split(&kind, '.', &digits) || !str_u64(digits, UINT32_MAX - 1, &number))
            continue;
        bool segment = str_eq(kind, STR("segment"));
        if (segment)
            buf_add(&out, &number, sizeof number);
        if (segment && number >= *next)
            *next = number + 1;
        if (str_eq(kind, STR("carry")) && number > *next)
            *next = number;
    }
    closedir(dir);
    if (buf_failed(&out)) {
        buf_release(&out);
        return ERR_NOMEM;
    }
    *n = out.n / sizeof **numbers;
    *numbers = (uint64_t *)out.p; /* taken over from the buffer */
    if (*n)
        qsort(*numbers, *n, sizeof **numbers, by_number);
    return ERR_OK;
}

void segment_remove(struct segment_dir *d, uint64_t number)
{
    char name[40];
    name_of(name, number, "segment");
    if (unlinkat(d->fd, name, 0) == 0)
        atomic_fetch_sub(&d->live, 1);
    name_of(name, number, "carry");
    unlinkat(d->fd, name, 0);
}

/* ---- writing ------------------------------------------------------------ */
void segment_writer_init(struct segment_writer *w, struct segment_dir *d, uint64_t number)
{
    memset(w, 0, offsetof(struct segment_writer, stage));
    w->dir = d;
    w->fd = -1;
    w->number = number - 1;
}

/* A new file with its blocks; -1 with errno. */
static int create_file(struct segment_dir *d, const char *name)
{
    int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (fallocate(fd, 0, 0, d->segment_bytes) == 0 ||
        (errno == EOPNOTSUPP && ftruncate(fd, d->segment_bytes) == 0))
        return fd;
    close(fd);
    unlinkat(d->fd, name, 0);
    return -1;
}

static enum err next_segment(struct segment_writer *w)
{
    struct segment_dir *d = w->dir;
    char name[40], spare[40];
    if (atomic_load(&d->live) >= d->max_segments)
        return ERR_TOO_BIG;
    name_of(name, w->number + 1, "segment");
    int fd = create_file(d, name);
    if (fd < 0 && w->spares) {
        name_of(spare, w->spares, "spare");
        if (renameat(d->fd, spare, d->fd, name) == 0)
            fd = openat(d->fd, name, O_RDWR | O_CLOEXEC);
        w->spares--;
    }
    if (fd < 0 || fsync(d->fd) != 0) {
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    if (w->fd >= 0)
        close(w->fd);
    atomic_fetch_add(&d->live, 1);
    w->fd = fd;
    w->number++;
    struct segment_head h = {.magic = "LYSSJRN", .number = w->number};
    h.magic[7] = '1';
    memcpy(h.uuid, d->uuid, 16);
    memcpy(w->stage, &h, sizeof h);
    w->flushed = 0;
    w->at = SEGMENT_HEAD;
    return ERR_OK;
}

enum err segment_flush(struct segment_writer *w)
{
    if (w->fd < 0 || w->at == w->flushed)
        return ERR_OK;
    if (!write_all(w->fd, w->stage, w->at - w->flushed, w->flushed))
        return ERR_IO;
    w->flushed = w->at;
    w->dirty = true;
    return ERR_OK;
}

enum err segment_sync(struct segment_writer *w)
{
    if (!w->dirty)
        return ERR_OK;
    if (fdatasync(w->fd) != 0)
        return ERR_IO;
    w->dirty = false;
    atomic_store_explicit(&w->synced, SEGMENT_POS(w->number, w->flushed), memory_order_release);
    return ERR_OK;
}

enum err segment_add(struct segment_writer *w, const struct record *r)
{
    uint32_t need = (uint32_t)JOURNAL_ALIGN(r->len), left = JOURNAL_PAGE - w->at % JOURNAL_PAGE;
    uint32_t pad = left < need ? left : 0;
    enum err e;
    if (w->fd < 0 || w->at + pad + need >= w->dir->segment_bytes) {
        if ((e = segment_flush(w)) || (e = segment_sync(w)) || (e = next_segment(w)))
            return e;
        pad = 0;
    } else if (w->at - w->flushed + pad + need > SEGMENT_STAGE) {
        if ((e = segment_flush(w)))
            return e;
    }
    unsigned char *p = w->stage + (w->at - w->flushed);
    if (pad) {
        uint32_t word = JOURNAL_PAD | pad;
        memset(p, 0, pad);
        memcpy(p, &word, sizeof word);
    }
    memcpy(p + pad, r, r->len);
    memset(p + pad + r->len, 0, need - r->len);
    w->at += pad + need;
    return ERR_OK;
}

enum err segment_fill_spares(struct segment_writer *w)
{
    while (w->spares < w->dir->max_spares) {
        char name[40];
        name_of(name, w->spares + 1, "spare");
        unlinkat(w->dir->fd, name, 0);
        int fd = create_file(w->dir, name);
        if (fd < 0)
            return ERR_IO;
        close(fd);
        w->spares++;
    }
    return ERR_OK;
}

void segment_writer_close(struct segment_writer *w)
{
    char name[40];
    if (w->fd >= 0 && (ftruncate(w->fd, w->flushed) != 0 || close(w->fd) != 0))
        w->fd = -1;
    w->fd = -1;
    for (; w->spares; w->spares--) {
        name_of(name, w->spares, "spare");
        unlinkat(w->dir->fd, name, 0);
    }
}

/* ---- reading ------------------------------------------------------------ */
enum err segment_reader_init(struct segment_reader *r, struct segment_dir *d)
{
    *r = (struct segment_reader){.dir = d, .fd = -1};
    r->buf = mem_alloc(CHUNK);
    return r->buf ? ERR_OK : ERR_NOMEM;
}

void segment_reader_release(struct segment_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    mem_free(r->buf);
    *r = (struct segment_reader){.fd = -1};
}

enum err segment_reader_open(struct segment_reader *r, uint64_t number)
{
    char name[40];
    struct segment_head h;
    struct stat st;
    if (r->fd >= 0)
        close(r->fd);
    name_of(name, number, "segment");
    r->fd = openat(r->dir->fd, name, O_RDONLY | O_CLOEXEC);
    r->number = number;
    r->at = SEGMENT_HEAD;
    r->walk = (struct record_walk){.base = r->buf};
    r->size = 0;
    if (r->fd < 0 || fstat(r->fd, &st) != 0)
        return ERR_IO;
    static const struct segment_head blank;
    if (pread(r->fd, &h, sizeof h, 0) != (ssize_t)sizeof h || !memcmp(&h, &blank, sizeof h))
        return ERR_NOT_FOUND;
    if (memcmp(h.magic, "LYSSJRN1", 8) != 0 || memcmp(h.uuid, r->dir->uuid, 16) != 0)
        return ERR_CORRUPT;
    r->size = (uint64_t)st.st_size;
    return ERR_OK;
}

const struct record *segment_read(struct segment_reader *r, uint64_t limit)
{
    for (;;) {
        const struct record *rec = record_next(&r->walk);
        r->at = rec || r->walk.end ? r->chunk + r->walk.at : r->at;
        if (rec)
            return rec;
        if (r->at >= limit)
            return NULL;
        r->chunk = r->at - r->at % JOURNAL_PAGE;
        uint64_t want = limit - r->chunk < CHUNK ? limit - r->chunk : CHUNK;
        ssize_t n = pread(r->fd, r->buf, want, (off_t)r->chunk);
        uint64_t skip = r->at - r->chunk, damaged = r->walk.damaged;
        if (n <= (ssize_t)skip)
            return NULL;
        r->walk = (struct record_walk){r->buf, skip, (size_t)n, damaged};
    }
}

/* ---- carry files --------------------------------------------------------- */
static void carry(struct buf *b, const struct record *r)
{
    size_t left = JOURNAL_PAGE - b->n % JOURNAL_PAGE, need = JOURNAL_ALIGN(r->len);
    static const char zeroes[JOURNAL_PAGE];
    if (left < need) {
        uint32_t word = JOURNAL_PAD | (uint32_t)left;
        buf_add(b, &word, sizeof word);
        buf_add(b, zeroes, left - sizeof word);
    }
    buf_add(b, r, r->len);
    buf_add(b, zeroes, need - r->len);
}

enum err segment_carry_write(struct segment_dir *d, uint64_t number, const struct open_table *open)
{
    struct buf b;
    char name[40];
    size_t at = 0;
    struct open_request *o;
    buf_init(&b, CARRY_MAX);
    while ((o = open_next(open, &at))) {
        carry(&b, &o->r.h);
        for (struct open_attempt *a = o->attempts; a; a = a->next)
            carry(&b, &a->r.h);
        if (o->so_far.has_progress) {
            struct ledger_progress so_far;
            struct record_progress p = {
                .h = {.len = sizeof p, .type = JOURNAL_PROGRESS, .version = JOURNAL_VERSION}};
            open_request_progress(o, &so_far);
            record_pack_progress(&p, &so_far);
            p.h.crc = record_crc(&p.h, p.h.len);
            carry(&b, &p.h);
        }
    }
    name_of(name, number, "carry");
    enum err e = buf_failed(&b) ? ERR_NOMEM : put_file(d, name, buf_view(&b).p, b.n);
    buf_release(&b);
    return e;
}

enum err segment_carry_load(struct segment_dir *d, uint64_t number, struct open_table *open)
{
    char name[40];
    struct stat st;
    enum err e = ERR_OK;
    name_of(name, number, "carry");
    int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    if (fstat(fd, &st) != 0 || st.st_size > CARRY_MAX)
        e = ERR_IO;
    size_t size = e ? 0 : (size_t)st.st_size;
    unsigned char *p = size ? mem_alloc(size) : NULL;
    if (size && !p)
        e = ERR_NOMEM;
    else if (size && pread(fd, p, size, 0) != (ssize_t)size)
        e = ERR_IO;
    struct record_walk w = {.base = p, .end = e ? 0 : size};
    for (const struct record *r; !e && (r = record_next(&w));)
        e = open_add(open, r);
    close(fd);
    mem_free(p);
    return e;
}
