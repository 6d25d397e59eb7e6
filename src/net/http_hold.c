/* http_hold: ends of replies that wait for a word of the service, such as that what they cost is on
 * the disk. All but the last byte of a reply has gone out then; the connection itself goes on, and
 * what it says next comes behind. */
#include <assert.h>

#include "core/alloc.h"
#include "net/http_conn.h"

struct http_held {
    struct http_conn *conn;
    struct http_held *next, **prev;
    uint64_t mark; /* UINT64_MAX: not given yet */
};

/* False: no memory to remember it by, so it does not wait. */
static bool hold(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_held *h = c->held;
    if (!h) {
        h = c->held = mem_zalloc(sizeof *h);
        if (!h)
            return false;
        if (!s->held_first)
            s->held_last = &s->held_first;
        h->conn = c;
        h->prev = s->held_last;
        *s->held_last = h;
        s->held_last = &h->next;
    }
    tcp_hold(&c->tcp);
    h->mark = UINT64_MAX;
    s->held(s);
    return true;
}

void http_conn_unhold(struct http_conn *c)
{
    struct http_held *h = c->held;
    if (!h)
        return;
    c->held = NULL;
    *h->prev = h->next;
    *(h->next ? &h->next->prev : &c->server->held_last) = h->prev;
    mem_free(h);
}

bool http_conn_write_end(struct http_conn *c, const struct iovec *iov, unsigned n)
{
    struct iovec most[4], last;
    if (!c->server->held || !c->user)
        return http_conn_write(c, iov, n);
    while (n && !iov[n - 1].iov_len)
        n--;
    assert(n && n <= sizeof most / sizeof *most);
    memcpy(most, iov, n * sizeof *iov);
    last = (struct iovec){(char *)most[n - 1].iov_base + --most[n - 1].iov_len, 1};
    if (!http_conn_write(c, most, n))
        return false;
    (void)hold(c); /* false: short of memory, an answer at once is better than none */
    return http_conn_write(c, &last, 1);
}

void http_server_mark_held(struct http_server *s, uint64_t mark)
{
    for (struct http_held *h = s->held_first; h; h = h->next)
        if (h->mark == UINT64_MAX)
            h->mark = mark;
}

bool http_server_send_held(struct http_server *s, uint64_t upto)
{
    for (struct http_held *h = s->held_first, *next; h; h = next) {
        struct http_conn *c = h->conn;
        next = h->next;
        if (h->mark > upto)
            continue;
        http_conn_unhold(c);
        tcp_let_go(&c->tcp);
    }
    return s->held_first != NULL;
}
