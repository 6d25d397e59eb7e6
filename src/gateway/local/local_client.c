/* local_client: one call over a descriptor that is connected before the loop runs. */
#include "gateway/local/local_client.h"

#include <unistd.h>

#include "gateway/local/local_server.h"
#include "net/http_client.h"
#include "net/scratch.h"
#include "net/unix_socket.h"
#include "store/datadir.h"

#define HEAD_MAX   512
#define TIMEOUT_MS 3000

struct asking {
    struct http_call call; /* first */
    struct http_client client;
    struct http_origin origin;
    struct loop *loop;
    struct deadline deadline;
    struct iovec iov[2], work[2];
    struct buf *reply;
    struct err_info *info;
    int fd; /* -1: given away */
    int status;
    enum err end;
};

static void finish(struct asking *a, enum err e)
{
    a->end = e;
    deadline_clear(&a->deadline);
    loop_stop(a->loop);
}

static void on_head(struct http_call *c, const struct http_head *h)
{
    ((struct asking *)c)->status = h->status;
}

static void on_body(struct http_call *c, char *p, size_t n)
{
    buf_add(((struct asking *)c)->reply, p, n);
}

static void on_end(struct http_call *c)
{
    struct asking *a = (struct asking *)c;
    finish(a, buf_failed(a->reply) ? ERR_NOMEM : ERR_OK);
}

static void on_fail(struct http_call *c, enum err e, const struct err_info *info)
{
    struct asking *a = (struct asking *)c;
    const char *why = info && info->text[0] ? info->text : err_text(e);
    finish(a, err_set(a->info, e, "%s", why));
}

static const struct http_call_events events = {on_head, on_body, on_end, on_fail};

static void on_deadline(struct deadline *d)
{
    struct asking *a = (struct asking *)((char *)d - offsetof(struct asking, deadline));
    http_call_cancel(&a->call);
    finish(a, err_set(a->info, ERR_UPSTREAM_TIMEOUT, "no answer within %d s", TIMEOUT_MS / 1000));
}

static int give(void *asking)
{
    struct asking *a = asking;
    int fd = a->fd;
    a->fd = -1;
    return fd;
}

static enum err ask(struct asking *a, struct str head, struct str body)
{
    a->loop = loop_new("lyss-ask");
    if (!a->loop)
        return ERR_NOMEM;
    http_client_init(&a->client, a->loop, NULL, NULL, 0);
    a->origin = (struct http_origin){.open = give, .open_user = a};
    a->iov[0] = (struct iovec){(char *)(uintptr_t)head.p, head.n};
    a->iov[1] = (struct iovec){(char *)(uintptr_t)body.p, body.n};
    a->call =
        (struct http_call){.on = &events, .iov = a->iov, .work = a->work, .iov_n = body.n ? 2 : 1};
    enum err e = http_call_start(&a->client, &a->origin, &a->call);
    if (!e) {
        deadline_set(a->loop, &a->deadline, loop_now_ms(a->loop) + TIMEOUT_MS, on_deadline);
        loop_run(a->loop);
        e = a->end;
    }
    http_client_release(&a->client);
    loop_free(&a->loop);
    scratch_release();
    return e;
}

enum err local_ask(const char *data_dir, const char *path, struct str body, int *status,
                   struct buf *reply, struct err_info *info)
{
    char at[DATADIR_PATH_MAX];
    struct buf head;
    enum err e = datadir_path(data_dir, LOCAL_SOCKET, at, info);
    struct asking a = {.reply = reply, .info = info, .fd = -1};
    if (!e)
        a.fd = unix_connect(at, &e, info);
    if (e)
        return e;
    buf_init(&head, HEAD_MAX);
    buf_printf(&head,
               "POST %s HTTP/1.1\r\nHost: lyss\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               path, body.n);
    e = buf_failed(&head) ? ERR_NOMEM : ask(&a, buf_view(&head), body);
    buf_release(&head);
    if (a.fd >= 0)
        close(a.fd);
    *status = a.status;
    return e;
}
