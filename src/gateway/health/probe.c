/* probe: one call, or two where the first finds no list of models; what its end means is a table.
 */
#include "gateway/health/probe.h"

#include "core/clock.h"

#define REQUEST_MAX 16384

static const struct {
    const char *key, *failure, *what, *mend;
} kinds[] = {
#define X(kind, key, failure, what, mend) {key, failure, what, mend},
    PROBE_KINDS(X)
#undef X
};

const char *probe_key(enum probe_kind k)
{
    return kinds[k].key;
}

const char *probe_failure(enum probe_kind k)
{
    return kinds[k].failure;
}

const char *probe_what(enum probe_kind k)
{
    return kinds[k].what;
}

const char *probe_mend(enum probe_kind k)
{
    return kinds[k].mend;
}

bool probe_good(enum probe_kind k)
{
    return k == PROBE_OK || k == PROBE_UNPROVED;
}

/* ---- ends -------------------------------------------------------------------------- */

static const struct {
    enum err err;
    enum probe_kind kind;
} by_error[] = {
    {ERR_DNS, PROBE_DNS},
    {ERR_DNS_TIMEOUT, PROBE_DNS_TIMEOUT},
    {ERR_ADDRESS_REFUSED, PROBE_ADDRESS},
    {ERR_CONNECT, PROBE_REFUSED},
    {ERR_CONNECT_TIMEOUT, PROBE_CONNECT_TIMEOUT},
    {ERR_TLS, PROBE_TLS},
    {ERR_UPSTREAM_RESET, PROBE_RESET},
    {ERR_UPSTREAM_INCOMPLETE, PROBE_RESET},
    {ERR_UPSTREAM_TIMEOUT, PROBE_TIMEOUT},
    {ERR_UPSTREAM_PROTOCOL, PROBE_NOT_API},
    {ERR_BAD_REQUEST, PROBE_NOT_API}, /* a malformed head */
    {ERR_UPSTREAM_KEY, PROBE_CREDENTIAL},
    {ERR_UPSTREAM_THROTTLE, PROBE_RATE_LIMITED},
    {ERR_UPSTREAM_ERROR, PROBE_FAILED},
    {ERR_NOMEM, PROBE_NOMEM},
};

static enum probe_kind kind_of(const struct fault *f)
{
    if (f->kind & FAULT_NO_CREDIT)
        return PROBE_NO_CREDIT;
    if (f->kind & (FAULT_MAPPING | FAULT_MODEL))
        return PROBE_MODEL;
    if (f->kind & FAULT_PERMISSION)
        return PROBE_PERMISSION;
    for (size_t i = 0; i < sizeof by_error / sizeof *by_error; i++)
        if (by_error[i].err == f->err)
            return by_error[i].kind;
    return PROBE_FAILED;
}

static void release(struct probe *p)
{
    http_call_cancel(&p->call);
    deadline_clear(&p->deadline);
    if (p->request.p)
        explicit_bzero(p->request.p, p->request.n);
    buf_release(&p->request);
    buf_release(&p->reply);
}

void probe_cancel(struct probe *p)
{
    release(p);
}

static void finish(struct probe *p, struct probe_result *r)
{
    r->ms = (uint32_t)(loop_now_ms(p->loop) - p->began_ms);
    r->status = p->status;
    r->by_call = p->op != OP_MODELS;
    release(p);
    p->done(p, r);
}

static void finish_as(struct probe *p, enum probe_kind kind, enum err e,
                      const struct err_info *info)
{
    struct probe_result r = {.kind = kind};
    fault_from_err(&r.fault, e, info);
    finish(p, &r);
}

static void failed(struct probe *p, enum err e, const struct err_info *info)
{
    struct probe_result r = {0};
    fault_from_err(&r.fault, e, info);
    r.kind = kind_of(&r.fault);
    finish(p, &r);
}

/* ---- the call --------------------------------------------------------------------------- */

static const struct http_call_events events;
static void on_start(struct deadline *d);

/* The least that makes the upstream answer: the first that the channel serves, and that the model
 * asks for. (Who thinks may need more than is granted here; it says so, which is an answer.) */
static const struct {
    enum llm_op op;
    uint32_t rule;              /* only a model of which this is known; 0: any */
    const char *before, *after; /* of the model's name, where the body has it */
} calls[] = {
    {OP_RESPONSES, RULE_RESPONSES_ONLY, "{\"model\":\"",
     "\",\"max_output_tokens\":16,\"input\":\"Hi\"}"},
    {OP_CHAT, RULE_MAX_COMPLETION_TOKENS, "{\"model\":\"",
     "\",\"max_completion_tokens\":16,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"},
    {OP_CHAT, 0, "{\"model\":\"",
     "\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"},
    {OP_MESSAGES, 0, "{\"model\":\"",
     "\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"},
    {OP_GENERATE, 0,
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}],"
     "\"generationConfig\":{\"maxOutputTokens\":1}}",
     NULL},
    {OP_RESPONSES, 0, "{\"model\":\"", "\",\"max_output_tokens\":16,\"input\":\"Hi\"}"},
    {OP_EMBEDDINGS, 0, "{\"model\":\"", "\",\"input\":\"Hi\"}"},
    {OP_COMPLETIONS, 0, "{\"model\":\"", "\",\"max_tokens\":1,\"prompt\":\"Hi\"}"},
};

#define CALLS (sizeof calls / sizeof *calls)

/* A model that the channel names by its own name, not by a pattern. */
static struct str first_model(const struct channel *ch)
{
    for (unsigned i = 0; i < ch->models_n; i++) {
        const struct model_map *m = &ch->models[i];
        if (m->upstream.n)
            return m->upstream;
        if (!m->glob)
            return m->pattern;
    }
    return STR_NULL;
}

/* CALLS: none. */
static size_t find_call(const struct probe *p)
{
    const struct channel *ch = p->channel;
    const struct model_caps *m = model_caps_find(p->catalogue, str_c(ch->provider->name), p->model);
    size_t i = 0;
    while (i < CALLS && (!(ch->ops & OP_BIT(calls[i].op)) ||
                         (calls[i].rule && !model_caps_rule(m, calls[i].rule))))
        i++;
    return i;
}

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

static enum err write_request(struct probe *p, struct err_info *info)
{
    const struct channel *ch = p->channel;
    char text[1024];
    struct buf body;
    enum err e;
    buf_init(&body, sizeof text);
    buf_reset(&p->request);
    if (p->op != OP_MODELS) {
        buf_str(&body, str_c(calls[p->call_row].before));
        if (calls[p->call_row].after) {
            buf_str(&body, p->model);
            buf_str(&body, str_c(calls[p->call_row].after));
        }
    }
    buf_str(&p->request, p->op == OP_MODELS ? STR("GET ") : STR("POST "));
    e = provider_target(ch->provider, &ch->at, p->op, p->model, false, &p->request, info);
    buf_lit(&p->request, " HTTP/1.1\r\nHost: ");
    buf_str(&p->request, ch->authority);
    buf_lit(&p->request, "\r\n");
    if (p->credential)
        buf_str(&p->request, secret_expose(&p->credential->header));
    size_t fields = p->request.n;
    if (provider_serves(ch->provider, OP_MESSAGES))
        provider_version_header(STR_NULL, STR_NULL, &p->request);
    if (p->op != OP_MODELS)
        buf_printf(&p->request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   body.n);
    buf_lit(&p->request, "Accept-Encoding: identity\r\nUser-Agent: lyss/" LYSS_VERSION "\r\n");
    overrides_put_lines(&ch->headers, &p->request, fields);
    buf_lit(&p->request, "\r\n");
    buf_str(&p->request, buf_view(&body));
    if (!e && (buf_failed(&body) || buf_failed(&p->request)))
        e = ERR_NOMEM;
    buf_release(&body);
    return e;
}

static void send_call(struct probe *p)
{
    struct err_info info;
    err_info_init(&info);
    enum err e = write_request(p, &info);
    p->status = 0;
    buf_reset(&p->reply);
    p->iov[0] = (struct iovec){p->request.p, p->request.n};
    p->call = (struct http_call){.on = &events, .iov = p->iov, .work = p->work, .iov_n = 1};
    if (!e)
        e = http_call_start(p->client, p->origin, &p->call);
    if (e == ERR_INVALID)
        finish_as(p, PROBE_MODEL, e, &info);
    else if (e)
        failed(p, e, &info);
}

/* Asks for a token, since there is no list of models. False: it cannot be asked for, and nothing
 * has happened; else p may have ended already. */
static bool ask_token(struct probe *p)
{
    if (!p->model.n)
        p->model = first_model(p->channel);
    if (!plain(p->model) || (p->call_row = find_call(p)) == CALLS)
        return false;
    p->op = calls[p->call_row].op;
    send_call(p);
    return true;
}

static struct probe *of(struct http_call *call)
{
    return (struct probe *)((char *)call - offsetof(struct probe, call));
}

static void on_head(struct http_call *call, const struct http_head *h)
{
    struct probe *p = of(call);
    struct fault_headers w = {.retry_after = http_get(h, HTTP_RETRY_AFTER),
                              .retry_after_ms = http_get(h, HTTP_RETRY_AFTER_MS),
                              .now_s = clock_wall_ms() / 1000};
    p->status = h->status;
    p->retry_ms = retry_after_ms(&w);
}

static void on_body(struct http_call *call, char *bytes, size_t n)
{
    struct probe *p = of(call);
    size_t room = PROBE_REPLY_MAX - p->reply.n;
    buf_add(&p->reply, bytes, n < room ? n : room); /* the beginning tells enough */
}

/* A list of models may be longer than what is kept of it. */
static bool looks_like_json(struct str body)
{
    struct json_doc d;
    body = str_trim(body);
    if (body.n < PROBE_REPLY_MAX)
        return body.n && (body.p[0] == '{' || body.p[0] == '[') &&
               json_parse(&d, body, NULL) == ERR_OK;
    return body.p[0] == '{' || body.p[0] == '[';
}

/* An error inside a 200: some say so to a path that they do not know. */
static bool error_inside(struct fault *f, const struct probe *p, struct str body)
{
    struct json_doc d;
    if (body.n >= PROBE_REPLY_MAX || json_parse(&d, body, NULL))
        return false;
    uint32_t error = json_get(&d, json_root(&d), STR("error"));
    if (!json_is(&d, error, JSON_OBJECT) && !json_is(&d, error, JSON_STRING))
        return false;
    fault_from_object(f, str_c(p->channel->provider->name), &d, error);
    return true;
}

static void judge(const struct probe *p, struct str body, struct probe_result *r)
{
    struct fault *f = &r->fault;
    bool json = looks_like_json(body), good = p->status >= 200 && p->status < 300;
    if (good && !(json && error_inside(f, p, body))) {
        r->kind = json ? PROBE_OK : PROBE_NOT_API;
        fault_from_err(f, json ? ERR_OK : ERR_UPSTREAM_PROTOCOL, NULL);
        return;
    }
    if (!good)
        fault_from_response(f, str_c(p->channel->provider->name), p->status, NULL, body);
    if (p->retry_ms)
        f->retry_ms = p->retry_ms;
    r->kind = kind_of(f);
    if (r->kind == PROBE_TIMEOUT) /* of somebody behind it: it has answered */
        r->kind = PROBE_FAILED;
    if (f->kind & FAULT_NO_ROOM)
        r->kind = PROBE_OK;
    else if (f->err == ERR_UPSTREAM_REQUEST && !(f->kind & FAULT_MODEL))
        r->kind = !json ? PROBE_NOT_API : f->status == 404 ? PROBE_ENDPOINT : PROBE_FAILED;
    if (r->kind == PROBE_NOT_API)
        f->err = ERR_UPSTREAM_PROTOCOL;
}

/* No list of models says little: there may be none, or the credential may not see it. */
static void on_end(struct http_call *call)
{
    struct probe *p = of(call);
    struct probe_result r = {0};
    if (buf_failed(&p->reply)) {
        failed(p, ERR_NOMEM, NULL);
        return;
    }
    judge(p, buf_view(&p->reply), &r);
    bool none = p->op == OP_MODELS && (p->status == 404 || p->status == 405 || p->status == 501);
    if ((none || (p->op == OP_MODELS && r.kind == PROBE_PERMISSION)) && ask_token(p))
        return;
    if (none && !p->channel->provider->lists_models) {
        finish_as(p, PROBE_UNPROVED, ERR_OK, NULL);
        return;
    }
    if (none && r.kind != PROBE_NOT_API)
        r.kind = PROBE_ENDPOINT;
    finish(p, &r);
}

static void on_fail(struct http_call *call, enum err e, const struct err_info *info)
{
    failed(of(call), e, info);
}

static const struct http_call_events events = {on_head, on_body, on_end, on_fail};

static void on_deadline(struct deadline *d)
{
    failed((struct probe *)((char *)d - offsetof(struct probe, deadline)), ERR_UPSTREAM_TIMEOUT,
           NULL);
}

/* The first step, on a turn of its own: no callback before probe_start has returned. */
static void on_start(struct deadline *d)
{
    struct probe *p = (struct probe *)((char *)d - offsetof(struct probe, deadline));
    deadline_set(p->loop, &p->deadline, p->began_ms + p->timeout_ms, on_deadline);
    if (!p->credential)
        finish_as(p, PROBE_NO_CREDENTIAL, ERR_UPSTREAM_KEY, NULL);
    else if (!p->model.n && provider_serves(p->channel->provider, OP_MODELS))
        send_call(p);
    else if (!ask_token(p))
        finish_as(p, PROBE_UNPROVED, ERR_OK, NULL);
}

void probe_start(struct probe *p)
{
    p->op = OP_MODELS;
    p->began_ms = loop_now_ms(p->loop);
    buf_init(&p->request, REQUEST_MAX);
    buf_init(&p->reply, PROBE_REPLY_MAX + 1);
    deadline_set(p->loop, &p->deadline, p->began_ms, on_start);
}
