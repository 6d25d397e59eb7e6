/* http_read: what a caller sends: heads, bodies, and what is pipelined behind them, read to where
 * they belong. */
#include "net/http_conn.h"

#include <assert.h>

#include "core/alloc.h"
#include "net/scratch.h"

#define PIPELINE_MAX 16384
#define READS_A_TURN 16
/* Of a message that begins: what follows of a longer body is read to where it belongs, and need not
 * be copied there. A request up to this long takes one read. */
#define FIRST_READ 16384
/* Behind a request with a body of these lengths comes most likely another: read into a block that
 * can hold it, it takes one read and no copy. */
#define LONG_MIN  32768u
#define LONG_MAX  1048576u
#define LONG_HEAD 4096u /* room for its head */
/* So many of these are begun in a turn, and a share of those that the last turn has put off, so
 * that looking at them again and again stays cheap; no more than so many are put off. */
#define LONG_A_TURN 4
#define LONG_SHARE  32
#define PUT_OFF_MAX 256

/* ---- bodies ------------------------------------------------------------------------ */

/* What still comes of the request is read and thrown away; the reply is the connection's last. */
void http_conn_fail_body(struct http_conn *c, enum err e, struct err_info *info)
{
    c->state = SERVING;
    c->incoming = NULL;
    c->due_ms = 0;
    c->keep_alive = false;
    c->server->service->failed(c, e, info);
}

static bool keep_input(struct http_conn *c, const char *p, size_t n, size_t max)
{
    if (n > max - c->in_len)
        return false;
    if (!mem_room(&c->in, &c->in_cap, c->in_len + n))
        return false;
    memcpy(c->in + c->in_len, p, n);
    c->in_len += (uint32_t)n;
    return true;
}

static void pipelined(struct http_conn *c, const char *p, size_t n)
{
    if (!n || c->discarding)
        return;
    if (!c->keep_alive || !keep_input(c, p, n, PIPELINE_MAX)) {
        c->discarding = true;
        http_conn_forget_input(c);
    }
}

static enum err too_large(const struct http_conn *c, struct err_info *info)
{
    return err_set(info, ERR_BODY_TOO_LARGE, "the body is larger than %llu bytes",
                   (unsigned long long)c->server->limits.body_max_bytes);
}

/* rest[0..n) came behind the body. */
static void body_complete(struct http_conn *c, const char *rest, size_t n)
{
    struct str body = str_make(c->incoming->p, (size_t)c->incoming->n);
    c->state = SERVING;
    c->incoming = NULL;
    c->long_body = body.n >= LONG_MIN && body.n <= LONG_MAX ? (uint32_t)body.n : 0;
    c->due_ms = 0;
    c->keep_alive = c->may_keep && !c->server->closing;
    pipelined(c, rest, n);
    c->server->service->body(c, body);
}

/* Decoded bytes of a chunked body are gathered in the arena by doubling. */
static enum err gather(struct http_conn *c, const char *bytes, size_t n, struct err_info *info)
{
    struct http_incoming *b = c->incoming;
    if (n > c->server->limits.body_max_bytes - b->n)
        return too_large(c, info);
    if (b->n + n > b->cap) {
        uint64_t cap = b->cap ? b->cap * 2 : 4096;
        while (cap < b->n + n)
            cap *= 2;
        char *p = arena_alloc(b->arena, (size_t)cap);
        if (!p)
            return ERR_NOMEM;
        if (b->n)
            memcpy(p, b->p, (size_t)b->n);
        b->p = p;
        b->cap = cap;
    }
    if (n)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
    return ERR_OK;
}

/* Takes body bytes from p[0..n), which it may change. */
static void body_bytes(struct http_conn *c, char *p, size_t n)
{
    if (c->framing == HTTP_BODY_LENGTH) {
        struct http_incoming *b = c->incoming;
        size_t k = n < b->cap - b->n ? n : (size_t)(b->cap - b->n);
        if (k)
            memcpy(b->p + b->n, p, k);
        b->n += k;
        if (b->n == b->cap)
            body_complete(c, p + k, n - k);
        return;
    }
    struct err_info info;
    err_info_init(&info);
    size_t data = n, used;
    enum err e = http_chunked_decode(&c->incoming->chunked, p, &data, &used, &info);
    if (e == ERR_OK || e == ERR_AGAIN) {
        enum err g = gather(c, p, data, &info);
        if (g) {
            http_conn_fail_body(c, g, &info);
            return;
        }
    }
    if (e == ERR_AGAIN)
        return;
    if (e) {
        http_conn_fail_body(c, e, &info);
        return;
    }
    body_complete(c, p + used, n - used);
}

void http_accept(struct http_conn *c, struct arena *arena)
{
    c->incoming = arena_zalloc(arena, sizeof *c->incoming);
    if (c->incoming)
        c->incoming->arena = arena;
}

/* ---- heads --------------------------------------------------------------------------- */

static COLD void refuse(struct http_conn *c, enum err e, struct err_info *info)
{
    c->keep_alive = false;
    c->server->service->malformed(c, e, info);
}

/* The body that begins at rest[0..n) can stay in the block that it was read into: it fits, and
 * wastes little of it. */
static bool stays_in(struct http_conn *c, struct arena_block **block, uint64_t length, char *rest,
                     size_t n)
{
    struct http_incoming *b = c->incoming;
    if (!*block)
        return false;
    size_t size = arena_block_size(*block), used = (size_t)(rest - arena_block_bytes(*block));
    if (length < size - size / 4 || length > size - used || !arena_adopt(b->arena, block))
        return false;
    b->p = rest;
    b->n = n < length ? n : length;
    return true;
}

/* The service has seen the head: rest[0..n) is what followed it, perhaps in a block. */
static void after_head(struct http_conn *c, uint64_t length, char *rest, size_t n,
                       struct arena_block **block)
{
    struct err_info info;
    err_info_init(&info);
    if (c->state != BODY) { /* it has replied, or begun to */
        if (c->state == HEAD || c->state == STREAMING)
            pipelined(c, rest, n);
        if (c->state == HEAD && c->in_len) {
            http_conn_set_due(c, c->server->limits.head_ms);
            http_conn_look_again(c);
        }
        return;
    }
    struct http_incoming *b = c->incoming;
    if (!b) {
        http_conn_fail_body(c, ERR_NOMEM, &info);
        return;
    }
    if (c->framing == HTTP_BODY_LENGTH) {
        if (length > c->server->limits.body_max_bytes) {
            http_conn_fail_body(c, too_large(c, &info), &info);
            return;
        }
        b->cap = length;
        if (stays_in(c, block, length, rest, n)) {
            if (b->n == length) {
                body_complete(c, rest + length, n - (size_t)length);
                return;
            }
            n = 0;
        } else if (!(b->p = arena_alloc(b->arena, (size_t)length))) {
            http_conn_fail_body(c, ERR_NOMEM, &info);
            return;
        }
    } else if (c->framing == HTTP_BODY_NONE) {
        body_complete(c, rest, n);
        return;
    }
    if (n) {
        body_bytes(c, rest, n);
        if (c->state != BODY)
            return;
    }
    if (c->expects_continue) {
        struct iovec v = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
        if (!http_conn_write(c, &v, 1))
            return;
    }
    b->mark = b->n;
    http_conn_set_due(c, c->server->limits.body_stall_ms);
}

/* A reply given before the body leaves it unread. When all of it is here already the connection can
 * go on; else it closes behind the reply. */
static bool body_is_here(const struct http_head *h, size_t n)
{
    return h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && n >= h->length);
}

static void serve(struct http_conn *c, char *text, size_t n, size_t head_n,
                  struct arena_block **block)
{
    static __thread struct http_head h;
    struct err_info info;
    err_info_init(&info);
    enum err e = http_request_parse(&h, str_make(text, head_n), &info);
    c->minor = (uint8_t)h.minor;
    if (e) {
        refuse(c, e, &info);
        return;
    }
    char *rest = text + head_n;
    size_t rest_n = n - head_n;
    c->may_keep = h.keep_alive && !c->server->closing;
    c->keep_alive = c->may_keep && body_is_here(&h, rest_n);
    c->framing = (uint8_t)h.framing;
    c->expects_continue = h.expect_continue;
    c->discarding = false;
    c->incoming = NULL;
    c->state = BODY;
    c->due_ms = 0;
    uint64_t length = h.length;
    c->server->service->head(c, &h);
    if (c->state != BODY && h.framing == HTTP_BODY_LENGTH && rest_n >= length) {
        rest += length; /* answered without it */
        rest_n -= (size_t)length;
    }
    after_head(c, length, rest, rest_n, block);
}

/* New bytes while a head is awaited; text may be changed, and lies in the block, if there is one.
 */
static void head_bytes(struct http_conn *c, char *text, size_t n, struct arena_block **block)
{
    struct err_info info;
    err_info_init(&info);
    bool kept = c->in_len > 0;
    if (kept) {
        if (text != c->in && !keep_input(c, text, n, HTTP_HEAD_MAX + SCRATCH_BYTES)) {
            refuse(c, ERR_HEAD_TOO_LARGE, &info);
            return;
        }
        text = c->in;
        n = c->in_len;
    }
    size_t scan = c->scan;
    enum err e = http_head_find(str_make(text, n), &scan, true, &info);
    c->scan = (uint32_t)scan;
    if (e == ERR_AGAIN) {
        if (!kept) {
            if (!keep_input(c, text, n, HTTP_HEAD_MAX + SCRATCH_BYTES)) {
                refuse(c, ERR_NOMEM, &info);
                return;
            }
            http_conn_set_due(c, c->server->limits.head_ms);
        }
        return;
    }
    if (e) {
        refuse(c, e, &info);
        return;
    }
    /* Detached, so that what is pipelined behind can be kept anew. */
    char *own = kept ? c->in : NULL;
    c->in = kept ? NULL : c->in;
    if (kept)
        c->in_len = c->in_cap = 0;
    c->scan = 0;
    serve(c, text, n, scan, block);
    mem_free(own);
}

/* ---- reading -------------------------------------------------------------------------- */

/* One read. False: there was nothing, or c is gone. */
static bool read_some(struct http_conn *c, char *to, size_t cap, size_t *n)
{
    enum tcp_io r = tcp_read(&c->tcp, to, cap, n);
    if (r != TCP_OK && r != TCP_AGAIN)
        http_conn_gone(c);
    return r == TCP_OK;
}

/* These take what one read gives. False: nothing. *full: all that there was room for. */
static bool take_first_bytes(struct http_conn *c, bool *full)
{
    struct arena_block *block = NULL;
    char *to = scratch_read();
    size_t cap = FIRST_READ, n;
    if (c->long_body && !c->in_len && (block = arena_block_new(LONG_HEAD + c->long_body))) {
        to = arena_block_bytes(block);
        cap = arena_block_size(block);
    }
    bool got = read_some(c, to, cap, &n);
    if (got)
        head_bytes(c, to, n, &block);
    arena_block_free(&block);
    *full = n == cap;
    return got;
}

static bool take_body_bytes(struct http_conn *c, bool *full)
{
    char *to = scratch_read();
    size_t n;
    if (c->framing != HTTP_BODY_LENGTH) {
        if (!read_some(c, to, SCRATCH_BYTES, &n))
            return false;
        body_bytes(c, to, n);
        *full = n == SCRATCH_BYTES;
        return true;
    }
    struct http_incoming *b = c->incoming;
    if (!read_some(c, b->p + b->n, (size_t)(b->cap - b->n), &n))
        return false;
    b->n += n;
    if (b->n == b->cap)
        body_complete(c, NULL, 0);
    return true;
}

static bool take_bytes_behind(struct http_conn *c)
{
    char *to = scratch_read();
    size_t n;
    if (!read_some(c, to, SCRATCH_BYTES, &n))
        return false;
    if (c->state == SERVING || c->state == STREAMING)
        pipelined(c, to, n);
    return true;
}

/* True: more is here, or most likely. */
static bool take_bytes(struct http_conn *c)
{
    bool full = false;
    bool got = c->state == HEAD   ? take_first_bytes(c, &full)
               : c->state == BODY ? take_body_bytes(c, &full)
                                  : take_bytes_behind(c);
    return got && ((full && c->state == BODY) || (c->state != CLOSED && tcp_has_more(&c->tcp)));
}

/* A crowd of long requests would keep everybody's streams waiting while it is read in one turn, and
 * its bodies would push each other out of the cache. False: the descriptor tells again on the next
 * turn (of what TLS holds it does not). */
static bool may_begin(struct http_conn *c)
{
    if (c->state != HEAD || !c->long_body || c->in_len || tcp_has_more(&c->tcp))
        return true;
    struct http_long_turn *t = &c->server->longs;
    uint64_t turn = loop_turn(c->server->loop);
    if (t->turn != turn)
        *t = (struct http_long_turn){.turn = turn,
                                     .put_off_before = t->turn + 1 == turn ? t->put_off : 0};
    if (t->begun < LONG_A_TURN + t->put_off_before / LONG_SHARE || t->put_off == PUT_OFF_MAX) {
        t->begun++;
        return true;
    }
    t->put_off++;
    return false;
}

/* What TLS holds is taken at once, but no more than is fair to the others. */
void http_conn_read(struct http_conn *c)
{
    if (!may_begin(c))
        return;
    for (int i = 0; i < READS_A_TURN; i++)
        if (!take_bytes(c))
            return;
    http_conn_look_again(c);
}

void http_conn_read_kept(struct http_conn *c)
{
    if (c->state == HEAD && c->in_len) /* a request that was pipelined behind the last one */
        head_bytes(c, c->in, c->in_len, &(struct arena_block *){NULL});
    if (c->state != CLOSED && tcp_has_more(&c->tcp))
        http_conn_read(c);
}
