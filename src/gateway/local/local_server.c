/* local_server: a listener of its own, and a table of what may be asked. */
#include "gateway/local/local_server.h"

#include <stdio.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/json_write.h"
#include "core/log.h"
#include "gateway/choose/explain_form.h"
#include "net/unix_socket.h"
#include "store/datadir.h"

enum {
    CONNECTIONS_MAX = 16,
    BODY_MAX_BYTES = 64 << 10,
    ARENA_MAX_BYTES = 4 * BODY_MAX_BYTES, /* a chunked body grows by doubling */
    ANSWER_MAX_BYTES = 4 << 20,           /* most of it the ids of a tenant's channels */
    ERROR_MAX_BYTES = 4096,
};

#define JSON_HEADERS STR("Content-Type: application/json\r\nCache-Control: no-store\r\n")

struct local_server {
    struct tcp_listener listener;
    struct http_server server;
    struct worker *worker;
    struct inquiry *inquiries; /* all of them */
    char path[UNIX_PATH_MAX];
};

/* ---- what may be asked ----------------------------------------------------------------------- */

static enum err answer_explain(struct worker *w, struct str body, struct arena *a, struct buf *out,
                               struct err_info *info)
{
    struct explain_query q;
    enum err e = explain_query_get(&q, body, a, info);
    return e ? e
             : explain_answer(w->snapshot, atomic_load(&w->gateway->catalogue), &q,
                              loop_now_ms(w->loop), out, info);
}

static const struct topic {
    struct str path;
    /* Appends the answer to a body; the snapshot is the worker's for the call. */
    enum err (*answer)(struct worker *w, struct str body, struct arena *a, struct buf *out,
                       struct err_info *info);
} topics[] = {{{"/explain", 8}, answer_explain}};

static const struct topic *find_topic(struct str path)
{
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (str_eq(path, topics[i].path))
            return &topics[i];
    return NULL;
}

/* ---- a request ------------------------------------------------------------------------------- */

struct inquiry {
    struct inquiry *next, **prev;
    struct arena arena;
    const struct topic *topic;
};

static struct inquiry *inquiry_new(struct local_server *s, const struct topic *topic)
{
    struct inquiry *q = mem_zalloc(sizeof *q);
    if (!q)
        return NULL;
    arena_init(&q->arena, ARENA_MAX_BYTES);
    q->topic = topic;
    q->next = s->inquiries;
    q->prev = &s->inquiries;
    if (q->next)
        q->next->prev = &q->next;
    s->inquiries = q;
    return q;
}

static void inquiry_free(struct inquiry *q)
{
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    arena_release(&q->arena);
    mem_free(q);
}

static void reply_error(struct http_conn *c, enum err e, const struct err_info *info)
{
    struct local_server *s = c->server->user;
    struct buf b;
    struct json_writer w;
    buf_init(&b, ERROR_MAX_BYTES);
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_i64(&w, "rev", s->worker->snapshot->rev);
    json_field_string(&w, "error", str_c(info && info->text[0] ? info->text : err_text(e)));
    json_close_object(&w);
    http_reply(c, err_status(e), JSON_HEADERS, buf_view(&b));
    buf_release(&b);
}

static void on_head(struct http_conn *c, const struct http_head *h)
{
    struct local_server *s = c->server->user;
    const struct topic *topic = find_topic(h->path);
    struct inquiry *q;
    if (!topic)
        reply_error(c, ERR_NOT_FOUND, NULL);
    else if (!str_eq(h->method, STR("POST")))
        reply_error(c, ERR_METHOD_NOT_ALLOWED, NULL);
    else if (!(q = inquiry_new(s, topic)))
        reply_error(c, ERR_NOMEM, NULL);
    else {
        c->user = q;
        http_accept(c, &q->arena);
    }
}

static void on_body(struct http_conn *c, struct str body)
{
    struct local_server *s = c->server->user;
    struct inquiry *q = c->user;
    struct err_info info;
    struct buf out;
    err_info_init(&info);
    buf_init(&out, ANSWER_MAX_BYTES);
    enum err e = q->topic->answer(s->worker, body, &q->arena, &out, &info);
    if (!e && buf_failed(&out))
        e = ERR_NOMEM;
    if (e)
        reply_error(c, e, &info);
    else
        http_reply(c, 200, JSON_HEADERS, buf_view(&out));
    buf_release(&out);
    inquiry_free(q);
}

static void on_failed(struct http_conn *c, enum err e, const struct err_info *info)
{
    struct inquiry *q = c->user;
    if (!q)
        return; /* the last bytes of its answer could not be written */
    if (e != ERR_CLIENT_GONE)
        reply_error(c, e, info);
    inquiry_free(q);
}

static void on_sent(struct http_conn *c)
{
    (void)c;
}

static const struct http_service service = {on_head, on_body, on_failed, reply_error, on_sent};

/* ---- life ------------------------------------------------------------------------------------ */

static void on_accepted(struct tcp_listener *l, int fd, const struct addr *peer)
{
    struct local_server *s = (struct local_server *)l; /* first */
    if (s->server.count < CONNECTIONS_MAX)
        http_server_accept(&s->server, fd, peer);
    else
        close(fd);
}

static enum err listen_at(struct local_server *s, const char *data_dir, struct err_info *info)
{
    char path[DATADIR_PATH_MAX];
    enum err e = datadir_path(data_dir, LOCAL_SOCKET, path, info);
    int fd = e ? -1 : unix_listen(path, &e, info);
    if (fd < 0)
        return e;
    str_copy(s->path, sizeof s->path, str_c(path)); /* it fits, or could not have been bound */
    e = tcp_listen(&s->listener, s->worker->loop, fd, on_accepted);
    if (!e)
        return ERR_OK;
    close(fd);
    unlink(s->path);
    return e;
}

struct local_server *local_server_new(struct worker *w, const char *data_dir)
{
    struct err_info info;
    struct local_server *s = mem_zalloc(sizeof *s);
    err_info_init(&info);
    enum err e = s ? ERR_OK : ERR_NOMEM;
    if (s) {
        s->worker = w;
        s->server = (struct http_server){
            .loop = w->loop,
            .service = &service,
            .user = s,
            .limits = {.body_max_bytes = BODY_MAX_BYTES,
                       .head_ms = 2000,
                       .idle_ms = 2000,
                       .body_stall_ms = 2000,
                       .body_min_bytes_per_s = 1024,
                       .write_stall_ms = 2000,
                       .linger_ms = 200},
        };
        e = listen_at(s, data_dir, &info);
    }
    if (!e)
        return s;
    log_event(LOG_WARN, "control.no_socket",
              LOG_CSTR("reason", info.text[0] ? info.text : err_text(e)));
    mem_free(s);
    return NULL;
}

void local_server_stop(struct local_server *s)
{
    tcp_listener_close(&s->listener);
    http_server_close_unserved(&s->server);
}

void local_server_free(struct local_server **sp)
{
    struct local_server *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    while (s->inquiries)
        inquiry_free(s->inquiries);
    http_server_release(&s->server);
    unlink(s->path);
    mem_free(s);
}
