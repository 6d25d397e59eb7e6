/* demo: the service of the built-in provider: requests in, paced answers out.
 *
 * Each connection is one end of a socket pair.  A stream's pieces are due at
 * moments counted from its start, so that the wheel's coarse ticks do not add
 * up; what is due at a tick goes out in one write, unless the reader lags, when
 * it waits for `sent`. */
#include "gateway/demo/demo.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "core/alloc.h"
#include "gateway/demo/demo_parts.h"
#include "llm/dialect.h"
#include "net/http_server.h"

enum {
    CONNECTIONS_MAX = 8192,
    BODY_MAX_BYTES = 4 << 20, /* parsed in one go, in about a millisecond */
    ARENA_MAX_BYTES = 2 * BODY_MAX_BYTES + (256 << 10), /* a chunked body grows by doubling */
    OUT_MAX_BYTES = 1 << 20,
    BATCH_BYTES = 8192,
    QUEUE_MAX_BYTES = 16384,
};

#define JSON_HEADERS   STR("Content-Type: application/json\r\n")
#define STREAM_HEADERS STR("Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n")

/* How a model behaves; the first row is for every name without one. */
static const struct manner {
    struct str model;
    uint32_t first_ms, piece_ms, most_ms; /* until the first piece; a piece; all pieces at most */
    enum err fails;
    bool cuts;
} manners[] = {
    {{"demo", 4}, 150, 24, 4000, ERR_OK, false},
    {{"demo-fast", 9}, 0, 0, 0, ERR_OK, false},
    {{"demo-slow", 9}, 1000, 120, 30000, ERR_OK, false},
    {{"demo-error", 10}, 0, 0, 0, ERR_INTERNAL, false},
    {{"demo-ratelimit", 14}, 0, 0, 0, ERR_RATE_LIMITED, false},
    {{"demo-cut", 8}, 150, 24, 4000, ERR_OK, true},
};

struct demo {
    struct http_server server;
    struct loop *loop;
    struct demo_request *requests; /* all of them */
    unsigned busy;
};

struct demo_request {
    struct demo *demo;
    struct http_conn *conn;
    struct demo_request *next, **prev;
    struct deadline deadline;
    struct arena arena;
    struct buf out; /* what is written next */
    struct demo_answer answer;
    const struct manner *manner;
    const struct demo_wire *wire;
    uint64_t start_ms;
    enum llm_op op;
    uint32_t done;   /* pieces written */
    unsigned part;   /* the part being written … */
    struct str rest; /* … and what is left of it */
    bool opened;     /* … whose beginning is written */
    bool blocked;    /* waits for `sent` */
};

/* ---- a request's memory -------------------------------------------------------- */

static struct demo_request *request_new(struct demo *d, struct http_conn *c, enum llm_op op)
{
    struct demo_request *q = mem_zalloc(sizeof *q);
    if (!q)
        return NULL;
    q->demo = d;
    q->conn = c;
    q->op = op;
    arena_init(&q->arena, ARENA_MAX_BYTES);
    buf_init(&q->out, OUT_MAX_BYTES);
    q->next = d->requests;
    q->prev = &d->requests;
    if (q->next)
        q->next->prev = &q->next;
    d->requests = q;
    d->busy++;
    c->user = q;
    return q;
}

static void request_free(struct demo_request *q)
{
    deadline_clear(&q->deadline);
    *q->prev = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->demo->busy--;
    arena_release(&q->arena);
    buf_release(&q->out);
    mem_free(q);
}

/* ---- errors and whole answers --------------------------------------------------- */

static void reply_error(struct http_conn *c, enum err e, const struct err_info *info)
{
    struct buf b;
    buf_init(&b, 4096);
    dialect_error_body(&dialect_openai, &b, e, info, STR_NULL);
    http_reply(c, err_status(e),
               e == ERR_RATE_LIMITED ? STR("Content-Type: application/json\r\nRetry-After: 2\r\n")
                                     : JSON_HEADERS,
               buf_view(&b));
    buf_release(&b);
}

static void fail(struct demo_request *q, enum err e, const struct err_info *info)
{
    reply_error(q->conn, e, info);
    request_free(q);
}

static void reply_out(struct demo_request *q)
{
    if (buf_failed(&q->out)) {
        fail(q, ERR_NOMEM, NULL);
        return;
    }
    http_reply(q->conn, 200, JSON_HEADERS, buf_view(&q->out));
    request_free(q);
}

static void reply_whole(struct demo_request *q)
{
    q->wire->whole(&q->answer, &q->out);
    if (!q->manner->cuts || buf_failed(&q->out)) {
        reply_out(q);
        return;
    }
    struct str half = str_make(q->out.p, q->out.n / 2);
    if (!http_stream_start(q->conn, 200, JSON_HEADERS, half))
        return; /* failed() follows */
    http_stream_break(q->conn);
    request_free(q);
}

static void on_whole_due(struct deadline *d)
{
    reply_whole((struct demo_request *)((char *)d - offsetof(struct demo_request, deadline)));
}

/* ---- streams -------------------------------------------------------------------- */

/* All pieces together, in ms. */
static uint64_t length_ms(const struct demo_request *q)
{
    uint64_t ms = (uint64_t)q->manner->piece_ms * q->answer.tokens_out;
    return ms < q->manner->most_ms ? ms : q->manner->most_ms;
}

/* When the next piece is due. */
static uint64_t due_ms(const struct demo_request *q)
{
    uint32_t n = q->answer.tokens_out;
    return q->start_ms + q->manner->first_ms + (n ? length_ms(q) * q->done / n : 0);
}

/* Appends the next piece and the frame that its part needs around it. */
static void put_piece(struct demo_request *q)
{
    struct demo_answer *a = &q->answer;
    if (!q->opened) {
        q->wire->part_begin(a, q->part, &q->out);
        q->rest = a->part[q->part].text;
        q->opened = true;
    }
    struct str piece = demo_piece(&q->rest);
    if (piece.n) {
        q->wire->piece(a, q->part, piece, &q->out);
        q->done++;
    }
    if (!q->rest.n) {
        q->wire->part_end(a, q->part, &q->out);
        q->opened = false;
        q->part++;
    }
}

static bool all_put(const struct demo_request *q)
{
    return q->part == q->answer.n;
}

static bool cut_due(const struct demo_request *q)
{
    return q->manner->cuts && q->done * 2 >= q->answer.tokens_out;
}

static void break_off(struct demo_request *q)
{
    http_stream_break(q->conn);
    request_free(q);
}

static void on_piece_due(struct deadline *d);

/* Writes what is due. */
static void go_on(struct demo_request *q)
{
    uint64_t now_ms = loop_now_ms(q->demo->loop);
    while (due_ms(q) <= now_ms) {
        if (tcp_queued(&q->conn->tcp) > QUEUE_MAX_BYTES) {
            q->blocked = true;
            return;
        }
        buf_reset(&q->out);
        while (!all_put(q) && !cut_due(q) && q->out.n < BATCH_BYTES && due_ms(q) <= now_ms &&
               !buf_failed(&q->out))
            put_piece(q);
        bool cut = cut_due(q), last = all_put(q) && !cut;
        if (last)
            q->wire->end(&q->answer, &q->out);
        if (buf_failed(&q->out)) {
            break_off(q);
            return;
        }
        if (last) {
            http_stream_write_last(q->conn, buf_view(&q->out));
            request_free(q);
            return;
        }
        if (q->out.n && !http_stream_write(q->conn, buf_view(&q->out)))
            return; /* failed() follows */
        if (cut) {
            break_off(q);
            return;
        }
    }
    deadline_set(q->demo->loop, &q->deadline, due_ms(q), on_piece_due);
}

static void on_piece_due(struct deadline *d)
{
    go_on((struct demo_request *)((char *)d - offsetof(struct demo_request, deadline)));
}

static void start_stream(struct demo_request *q)
{
    q->wire->begin(&q->answer, &q->out);
    if (buf_failed(&q->out)) {
        fail(q, ERR_NOMEM, NULL);
        return;
    }
    if (http_stream_start(q->conn, 200, STREAM_HEADERS, buf_view(&q->out)))
        go_on(q);
}

/* ---- requests ------------------------------------------------------------------- */

static const struct manner *manner_of(struct str model)
{
    if (!str_eq(model, STR("demo")) && !str_starts(model, STR("demo-")))
        return NULL;
    for (size_t i = 1; i < sizeof manners / sizeof *manners; i++)
        if (str_eq(model, manners[i].model))
            return &manners[i];
    return &manners[0];
}

static enum err choose_manner(struct demo_request *q, struct str model, struct err_info *info)
{
    q->manner = manner_of(model);
    if (!q->manner)
        return err_set(info, ERR_MODEL_NOT_FOUND, "the demo provider has no model \"%.*s\"",
                       STR_FMT(model));
    if (q->manner->fails)
        return err_set(info, q->manner->fails, "the model %.*s always fails in this way",
                       STR_FMT(model));
    return ERR_OK;
}

static void answer(struct demo_request *q, bool stream)
{
    static const struct demo_wire *const wires[OP_COUNT] = {
        [OP_CHAT] = &demo_chat,
        [OP_COMPLETIONS] = &demo_completions,
        [OP_RESPONSES] = &demo_responses,
    };
    q->wire = wires[q->op];
    q->start_ms = loop_now_ms(q->demo->loop);
    uint64_t wait_ms = q->manner->first_ms + length_ms(q) / 8;
    if (stream)
        start_stream(q);
    else if (wait_ms)
        deadline_set(q->demo->loop, &q->deadline, q->start_ms + wait_ms, on_whole_due);
    else
        reply_whole(q);
}

static void on_body(struct http_conn *c, struct str body)
{
    struct demo_request *q = c->user;
    struct openai_request r;
    struct json_doc d;
    struct err_info info;
    err_info_init(&info);
    enum err e = json_parse(&d, body, &info);
    if (!e)
        e = openai_request_read_doc(&r, q->op, &d, STR_NULL, &q->arena, &info);
    if (!e)
        e = choose_manner(q, r.model, &info);
    if (!e && q->op == OP_EMBEDDINGS)
        e = demo_embeddings(&q->out, &r, &d, &info);
    else if (!e)
        e = demo_plan(&q->answer, &r, &d, &q->arena, &info);
    if (e)
        fail(q, e, &info);
    else if (q->op == OP_EMBEDDINGS)
        reply_out(q);
    else
        answer(q, r.stream);
}

static void reply_models(struct http_conn *c, struct str only)
{
    struct buf b;
    const struct dialect_row *d = &dialect_openai;
    struct model_entry m = {.owned_by = STR("lyss-demo"), .name = only};
    buf_init(&b, 8192);
    if (only.n) {
        if (!manner_of(only)) {
            reply_error(c, ERR_MODEL_NOT_FOUND, NULL);
            return;
        }
        d->model_one(&b, &m);
    } else {
        d->models_begin(&b);
        for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
            m.name = manners[i].model;
            dialect_models_add(d, &b, &m, i > 0);
        }
        m.name = STR("demo-parallel");
        dialect_models_add(d, &b, &m, true);
        d->models_end(&b, manners[0].model, m.name);
    }
    if (buf_failed(&b))
        reply_error(c, ERR_NOMEM, NULL);
    else
        http_reply(c, 200, JSON_HEADERS, buf_view(&b));
    buf_release(&b);
}

static enum llm_op op_of(struct str path)
{
    for (int op = OP_NONE + 1; op < OP_COUNT; op++)
        if (op == OP_MODEL ? str_starts(path, str_c(op_row(OP_MODEL)->path))
                           : str_eq(path, str_c(op_row((enum llm_op)op)->path)))
            return (enum llm_op)op;
    return OP_NONE;
}

static void on_head(struct http_conn *c, const struct http_head *h)
{
    struct demo *d = c->server->user;
    struct str path = str_starts(h->path, STR("/v1/")) ? str_from(h->path, 3) : h->path;
    enum llm_op op = op_of(path);
    struct demo_request *q;
    bool get = op == OP_MODELS || op == OP_MODEL;
    if (op == OP_NONE)
        reply_error(c, ERR_NOT_FOUND, NULL);
    else if (!str_eq(h->method, get ? STR("GET") : STR("POST")))
        reply_error(c, ERR_METHOD_NOT_ALLOWED, NULL);
    else if (get)
        reply_models(c, op == OP_MODEL ? str_from(path, strlen(op_row(op)->path)) : STR_NULL);
    else if (h->framing == HTTP_BODY_LENGTH && h->length > BODY_MAX_BYTES)
        reply_error(c, ERR_BODY_TOO_LARGE, NULL);
    else if (!(q = request_new(d, c, op)))
        reply_error(c, ERR_NOMEM, NULL);
    else
        http_accept(c, &q->arena);
}

static void on_failed(struct http_conn *c, enum err e, const struct err_info *info)
{
    struct demo_request *q = c->user;
    if (!q)
        return; /* the last bytes of its answer could not be written */
    if (e != ERR_CLIENT_GONE)
        reply_error(c, e, info);
    request_free(q);
}

static void on_sent(struct http_conn *c)
{
    struct demo_request *q = c->user;
    if (q && q->blocked) {
        q->blocked = false;
        go_on(q);
    }
}

static const struct http_service service = {on_head, on_body, on_failed, reply_error, on_sent};

/* ---- life ----------------------------------------------------------------------- */

enum err demo_new(struct demo **out, struct loop *l)
{
    struct demo *d = mem_zalloc(sizeof *d);
    *out = d;
    if (!d)
        return ERR_NOMEM;
    d->loop = l;
    d->server = (struct http_server){
        .loop = l,
        .service = &service,
        .user = d,
        .limits = {.body_max_bytes = BODY_MAX_BYTES,
                   .head_ms = 60000,
                   .idle_ms = 300000,
                   .body_stall_ms = 30000,
                   .body_min_bytes_per_s = 1,
                   .write_stall_ms = 60000,
                   .linger_ms = 2000},
    };
    return ERR_OK;
}

int demo_open(struct demo *d)
{
    int fd[2];
    unsigned before = d->server.count;
    struct addr nowhere = {0};
    if (before >= CONNECTIONS_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd))
        return -1;
    http_server_accept(&d->server, fd[1], &nowhere);
    if (d->server.count == before) {
        close(fd[0]);
        return -1;
    }
    return fd[0];
}

unsigned demo_busy(const struct demo *d)
{
    return d->busy;
}

void demo_close(struct demo **dp)
{
    struct demo *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    while (d->requests)
        request_free(d->requests);
    http_server_release(&d->server);
    mem_free(d);
}
