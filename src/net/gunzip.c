/* gunzip: zlib's inflate with our allocator and a limit on how much a small body may become, so
 * that an upstream cannot fill the memory with a bomb. */
#include "net/gunzip.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "core/alloc.h"

#define STEP_BYTES 16384

struct gunzip {
    z_stream s;
    uint64_t in, out;
    bool ended;
};

static void *take(void *unused, unsigned n, unsigned size)
{
    return mem_alloc((size_t)n * size);
}

static void give(void *unused, void *p)
{
    mem_free(p);
}

bool gunzip_knows(struct str coding)
{
    return str_ieq(coding, STR("gzip")) || str_ieq(coding, STR("x-gzip")) ||
           str_ieq(coding, STR("deflate"));
}

struct gunzip *gunzip_new(void)
{
    struct gunzip *z = mem_zalloc(sizeof *z);
    if (!z)
        return NULL;
    z->s.zalloc = take;
    z->s.zfree = give;
    if (inflateInit2(&z->s, MAX_WBITS + 32) == Z_OK) /* + 32: either header */
        return z;
    mem_free(z);
    return NULL;
}

void gunzip_free(struct gunzip **z)
{
    if (!*z)
        return;
    inflateEnd(&(*z)->s);
    mem_free(*z);
    *z = NULL;
}

bool gunzip_ended(const struct gunzip *z)
{
    return z->ended;
}

/* One call of inflate into the room at the end of out. */
static enum err step(struct gunzip *z, struct buf *out, struct err_info *info)
{
    char *room = buf_reserve(out, STEP_BYTES);
    if (!room)
        return err_set(info, ERR_UPSTREAM_PROTOCOL, "the upstream's compressed answer is too long");
    unsigned in_before = z->s.avail_in;
    z->s.next_out = (unsigned char *)room;
    z->s.avail_out = STEP_BYTES;
    int rc = inflate(&z->s, Z_SYNC_FLUSH);
    size_t made = STEP_BYTES - z->s.avail_out;
    buf_advance(out, made);
    z->in += in_before - z->s.avail_in;
    z->out += made;
    z->ended = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return ERR_NOMEM;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return err_set(info, ERR_UPSTREAM_PROTOCOL, "the upstream's compressed answer is damaged");
    if (z->out > GUNZIP_FREE_BYTES && z->out / GUNZIP_RATIO_MAX > z->in)
        return err_set(info, ERR_UPSTREAM_PROTOCOL,
                       "the upstream's compressed answer grows too much");
    return ERR_OK;
}

enum err gunzip_feed(struct gunzip *z, struct str in, struct buf *out, struct err_info *info)
{
    if (in.n > UINT_MAX)
        return ERR_TOO_BIG;
    z->s.next_in = (unsigned char *)in.p;
    z->s.avail_in = (unsigned)in.n;
    bool more = in.n > 0;
    while (more) {
        if (z->ended && inflateReset(&z->s) != Z_OK) /* another member follows */
            return ERR_INTERNAL;
        enum err e = step(z, out, info);
        if (e)
            return e;
        more = z->s.avail_in || (!z->ended && !z->s.avail_out);
    }
    return ERR_OK;
}
