/* http_hold: ends of replies that wait for a word of the service, such as that what they cost is on
 * the disk. All but the last byte of a reply has gone out then; the connection itself goes on, and
 * what it says next comes behind. */
#include <assert.h>

#include "net/http_conn.h"

static void hold(struct http_conn *c)
{
    struct http_server *s = c->server;
    tcp_hold(&c->tcp);
    c->held_mark = UINT64_MAX;
    if (!c->held_prev) {
        if (!s->held_first)
            s->held_last = &s->held_first;
        c->held_next = NULL;
        c->held_prev = s->held_last;
        *s->held_last = c;
        s->held_last = &c->held_next;
    }
    s->held(s);
}

void http_conn_unhold(struct http_conn *c)
{
    if (!c->held_prev)
        return;
    *c->held_prev = c->held_next;
    *(c->held_next ? &c->held_next->held_prev : &c->server->held_last) = c->held_prev;
    c->held_next = NULL;
    c->held_prev = NULL;
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
    hold(c);
    return http_conn_write(c, &last, 1);
}

void http_server_mark_held(struct http_server *s, uint64_t mark)
{
    for (struct http_conn *c = s->held_first; c; c = c->held_next)
        if (c->held_mark == UINT64_MAX)
            c->held_mark = mark;
}

bool http_server_send_held(struct http_server *s, uint64_t upto)
{
    for (struct http_conn *c = s->held_first, *next; c; c = next) {
        next = c->held_next;
        if (c->held_mark > upto)
            continue;
        http_conn_unhold(c);
        tcp_let_go(&c->tcp);
    }
    return s->held_first != NULL;
}
