/* passthrough: what goes on and what does not. Fields that belong to one connection (RFC
 * 9110, 7.6.1) or say who somebody is stay here, in both directions; the path stays below the
 * channel's. */
#include "gateway/passthrough.h"

#include <stdio.h>

#include "gateway/cells.h"
#include "llm/wire_openai_request.h"
#include "net/scratch.h"

#define FIELDS_MAX 12288

struct passthrough {
    struct str method, target, fields;
    int64_t channel_id;
};

static bool in_list(struct str name, const struct str *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ends(list[i], STR("*"))
                ? name.n >= list[i].n - 1 &&
                      str_ieq(str_make(name.p, list[i].n - 1), str_make(list[i].p, list[i].n - 1))
                : str_ieq(name, list[i]))
            return true;
    return false;
}

static const struct str of_one_hop[] = {
    STR("connection"),     STR("keep-alive"), STR("proxy-*"),           STR("te"),
    STR("trailer"),        STR("upgrade"),    STR("transfer-encoding"), STR("content-length"),
    STR("http2-settings"),
};
static const struct str of_the_caller[] = {
    STR("host"),
    STR("expect"),
    STR("authorization"),
    STR("x-api-key"),
    STR("api-key"),
    STR("x-goog-api-key"),
    STR("cookie"),
    STR("accept-encoding"),
    STR("user-agent"),
    STR("forwarded"),
    STR("x-forwarded-*"),
    STR("x-real-ip"),
    STR("x-lyss-*"),
    STR("x-request-id"),
    STR("origin"),
    STR("referer"),
    STR("traceparent"),
    STR("tracestate"),
    STR("sec-*"),
    STR("openai-organization"),
    STR("openai-project"),
    STR("via"),
    STR("x-goog-user-project"),
    STR("cf-*"),
    STR("true-client-ip"),
    STR("ocp-apim-subscription-key"),
};
static const struct str of_the_upstream[] = {
    STR("set-cookie"),
    STR("server"),
    STR("date"),
    STR("x-request-id"),
    STR("alt-svc"),
    STR("x-lyss-*"),
    STR("access-control-*"),
    STR("strict-transport-security"),
    STR("content-type"),
    STR("www-authenticate"),
    STR("cache-control"),
    STR("openai-organization"),
    STR("openai-project"),
    STR("anthropic-organization-id"),
};
#define LIST(l) (l), sizeof(l) / sizeof *(l)

/* Is it named by a Connection field, and so for this hop only? */
static bool named_by_connection(const struct http_head *h, struct str name)
{
    struct str rest = http_get(h, HTTP_CONNECTION), part;
    while (rest.p && str_split(&rest, ',', &part))
        if (str_ieq(str_trim(part), name))
            return true;
    return false;
}

/* The fields that go on, as lines, in *out. ERR_NOMEM, or ERR_HEAD_TOO_LARGE where they are too
 * long.
 */
static enum err pass_fields(struct request *r, const struct http_head *h, const struct str *stay,
                            size_t stay_n, struct str *out)
{
    struct buf *b = scratch_buf(SCRATCH_CALL_HEAD, FIELDS_MAX);
    size_t n = 0;
    for (unsigned i = 0; i < h->n; i++) {
        struct str name = h->f[i].name;
        if (in_list(name, LIST(of_one_hop)) || in_list(name, stay, stay_n) ||
            named_by_connection(h, name))
            continue;
        n += name.n + h->f[i].value.n + 4;
        buf_str(b, name);
        buf_lit(b, ": ");
        buf_str(b, h->f[i].value);
        buf_lit(b, "\r\n");
    }
    if (buf_failed(b))
        return n > FIELDS_MAX ? ERR_HEAD_TOO_LARGE : ERR_NOMEM;
    *out = arena_dup(&r->arena, buf_view(b));
    return out->p ? ERR_OK : ERR_NOMEM;
}

/* No segment may be "." or "..", however it is spelled, nor hide a slash. */
static bool path_ok(struct str path)
{
    struct str rest = path, part;
    while (rest.p && str_split(&rest, '/', &part)) {
        char plain[4];
        size_t n = 0;
        for (size_t i = 0; i < part.n && n < sizeof plain; n++) {
            bool dot = part.n - i >= 3 && part.p[i] == '%' && part.p[i + 1] == '2' &&
                       str_lower(part.p[i + 2]) == 'e';
            plain[n] = dot ? '.' : part.p[i];
            i += dot ? 3 : 1;
        }
        if ((n == 1 && plain[0] == '.') || (n == 2 && plain[0] == '.' && plain[1] == '.'))
            return false;
    }
    return str_find(path, STR("%2f")) < 0 && str_find(path, STR("%2F")) < 0 &&
           str_find(path, STR("%5c")) < 0 && str_find(path, STR("%5C")) < 0 &&
           str_chr(path, '\\') < 0;
}

/* Does it say who the caller is? However its name is spelled. */
static bool is_credential(struct str part, struct arena *a)
{
    static const struct str names[] = {STR("key"), STR("access_token"), STR("api-key"),
                                       STR("subscription-key")};
    struct str name, plain;
    str_split(&part, '=', &name);
    return surface_decode(name, a, &plain) && in_list(plain, names, sizeof names / sizeof *names);
}

/* The caller's query without a key in it. */
static void put_query(struct buf *b, struct str query, struct arena *a)
{
    struct str part;
    char sep = '?';
    while (query.p && str_split(&query, '&', &part)) {
        if (is_credential(part, a))
            continue;
        buf_char(b, sep);
        buf_str(b, part);
        sep = '&';
    }
}

static const struct channel *find(const struct api_key *k, struct str name)
{
    for (unsigned i = 0; i < k->tenant->channels_n; i++) {
        const struct channel *ch = k->tenant->channels[i];
        if (str_eq(ch->name, name) && key_allows_channel(k, ch->id))
            return ch;
    }
    return NULL;
}

enum err passthrough_read(struct request *r, const struct surface *s, const struct api_key *k,
                          const struct http_head *h, struct err_info *info)
{
    const struct channel *ch = find(k, r->plan->deployment);
    if (!ch)
        return err_set(
            info, ERR_NOT_FOUND, "There is no channel '%.*s' for this API key.",
            STR_FMT(str_make(r->plan->deployment.p,
                             r->plan->deployment.n < 128 ? r->plan->deployment.n : 128)));
    if (k->models_n) /* which one is asked for is nowhere looked at */
        return err_set(info, ERR_FORBIDDEN,
                       "This API key may use certain models only, and so no passthrough.");
    if (!path_ok(s->rest))
        return err_set(info, ERR_INVALID, "the path may not hold '.' or '..' or escaped slashes");
    struct passthrough *p = arena_zalloc(&r->arena, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    struct buf *b = scratch_buf(SCRATCH_REPLY_BODY, 16384);
    buf_str(b, ch->at.prefix);
    buf_str(b, s->rest);
    put_query(b, h->query, &r->arena);
    p->channel_id = ch->id;
    p->method = arena_dup(&r->arena, h->method);
    p->target = arena_dup(&r->arena, buf_view(b));
    enum err e = pass_fields(r, h, LIST(of_the_caller), &p->fields);
    r->plan->passthrough = p;
    r->plan->body.op = OP_PASSTHROUGH;
    r->plan->body.n = 1;
    r->plan->model = STR("");
    r->ping = 0;
    r->stream = 1; /* its length in time is the upstream's affair */
    if (e == ERR_HEAD_TOO_LARGE)
        return err_set(info, e, "the header fields are too long to be passed on");
    return e || buf_failed(b) || arena_failed(&r->arena) ? ERR_NOMEM : ERR_OK;
}

bool passthrough_choose(struct request *r, struct choice *out, struct reasons *why)
{
    const struct api_key *k = snapshot_key(r->worker->snapshot, r->plan->key_digest);
    *why = (struct reasons){0};
    if (!k)
        return false;
    struct eligible_ask ask = {.key = k,
                               .catalogue = r->worker->gateway->catalogue,
                               .op = OP_PASSTHROUGH,
                               .now_ms = loop_now_ms(r->worker->loop)};
    for (unsigned i = 0; i < k->tenant->channels_n; i++) {
        struct channel *ch = k->tenant->channels[i];
        struct eligible e;
        if (ch->id != r->plan->passthrough->channel_id)
            continue;
        eligible_look(&ask, ch, STR(""), &e);
        struct gate_ask gate = eligible_gate_ask(&ask, STR(""));
        if (!e.why)
            e.why = gate_enter(ch, e.credential->cell, STR(""), &gate, &out->pass);
        if (e.why) {
            reasons_add(why, e.why, e.wait_ms);
            return false;
        }
        out->channel = ch;
        out->credential = e.credential;
        out->upstream = STR("");
        out->entry = model_find(ask.catalogue, str_c(ch->provider->name), STR("")); /* nothing */
        return true;
    }
    return false;
}

void passthrough_write_head(const struct request *r, const struct choice *c, size_t length,
                            struct buf *b)
{
    const struct passthrough *p = r->plan->passthrough;
    buf_str(b, p->method);
    buf_char(b, ' ');
    buf_str(b, p->target);
    buf_lit(b, " HTTP/1.1\r\nHost: ");
    buf_str(b, c->channel->authority);
    buf_lit(b, "\r\n");
    buf_str(b, secret_expose(&c->credential->header));
    size_t fields = b->n;
    buf_str(b, p->fields);
    buf_lit(b, "Accept-Encoding: identity\r\nUser-Agent: lyss/" LYSS_VERSION "\r\n");
    if (length || !str_eq(p->method, STR("GET"))) {
        buf_lit(b, "Content-Length: ");
        buf_u64(b, length);
        buf_lit(b, "\r\n");
    }
    overrides_put_lines(&c->channel->headers, b, fields);
    buf_lit(b, "\r\n");
}

enum err passthrough_error(int status)
{
    if (status < 400)
        return ERR_OK;
    return status < 500 ? ERR_UPSTREAM_REQUEST : ERR_UPSTREAM_ERROR;
}

bool passthrough_answer(struct request *r, const struct http_head *h)
{
    struct request_plan *p = r->plan;
    struct str type = http_get(h, HTTP_CONTENT_TYPE);
    enum err e = pass_fields(r, h, LIST(of_the_upstream), &p->passed);
    p->content_type = type.n ? arena_dup(&r->arena, type).p : NULL;
    if (e == ERR_NOMEM || arena_failed(&r->arena)) {
        attempt_error(r, ERR_NOMEM, NULL);
        return false;
    }
    relay_commit(r);
    if (h->framing != HTTP_BODY_NONE)
        return relay_send_down(r, STR(""), false);
    struct http_conn *c = r->conn;
    r->conn = NULL;
    r->head_sent = 1;
    http_reply(c, h->status, reply_headers(r, p->content_type), STR(""));
    return true;
}
