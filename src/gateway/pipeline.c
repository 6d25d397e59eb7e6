/* pipeline: a request's way from its head to its first attempt. Each phase is a function of the
 * table below; it returns STEP_NEXT, STEP_WAIT (something will call pipeline_run again) or
 * STEP_DONE (it has answered). */
#include "gateway/request.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/rng.h"
#include "gateway/hedge.h"
#include "gateway/memory/idempotency.h"
#include "gateway/pages.h"
#include "gateway/passthrough.h"
#include "gateway/memory/recall.h"
#include "gateway/refuse.h"
#include "gateway/surface.h"
#include "gateway/translate.h"
#include "gateway/weigh.h"
#include "net/gunzip.h"
#include "net/scratch.h"

#define ARENA_EXTRA_BYTES (8u << 20)

/* ---- authentication ----------------------------------------------------------------- */

static struct str find_credential(const struct http_head *h, enum dialect dialect)
{
    struct str s = http_get(h, HTTP_AUTHORIZATION);
    if (s.n > 7 && str_ieq(str_make(s.p, 7), STR("Bearer ")))
        return str_trim(str_from(s, 7));
    static const enum http_known carriers[] = {HTTP_X_API_KEY, HTTP_API_KEY, HTTP_X_GOOG_API_KEY};
    for (size_t i = 0; i < 3; i++)
        if (http_has(h, carriers[i]))
            return http_get(h, carriers[i]);
    struct str rest = dialect == DIALECT_GEMINI ? h->query : STR_NULL, part;
    while (rest.p && str_split(&rest, '&', &part))
        if (str_starts(part, STR("key=")))
            return str_from(part, 4);
    return STR_NULL;
}

static enum err authenticate(struct worker *w, const struct http_head *h, enum dialect dialect,
                             const struct api_key **out, uint8_t digest[32], struct err_info *info)
{
    struct str given = find_credential(h, dialect);
    if (!given.n)
        return err_set(info, ERR_UNAUTHORIZED,
                       "No API key. Send it as 'Authorization: Bearer lyss_…'.");
    if (!apikey_form_ok(given))
        return err_set(info, ERR_UNAUTHORIZED, "Incorrect API key. A key begins with lyss_.");
    apikey_digest(&w->hasher, given, digest);
    const struct api_key *k = snapshot_key(w->snapshot, digest);
    if (!k)
        return err_set(info, ERR_UNAUTHORIZED, "Incorrect API key.");
    if (k->expires_ms && k->expires_ms <= clock_wall_ms())
        return err_set(info, ERR_UNAUTHORIZED, "This API key has expired.");
    if (k->tenant->suspended || k->user_suspended)
        return err_set(info, ERR_FORBIDDEN, "This account is suspended.");
    if (k->no_inference)
        return err_set(info, ERR_FORBIDDEN,
                       "This API key may not call models: it lacks the scope 'inference'.");
    *out = k;
    return ERR_OK;
}

/* ---- head ------------------------------------------------------------------------------ */

#ifdef ARENA_DEBUG
enum { SPARES_MAX = 0 }; /* each is one of its own, for the sanitizer to watch */
#else
enum { SPARES_MAX = 64 };
#endif

static struct request *take(struct worker *w)
{
    struct request *r = w->spare;
    if (!r)
        return mem_zalloc(sizeof *r);
    w->spare = r->next;
    w->spares_n--;
    memset(r, 0, sizeof *r);
    return r;
}

static void give_back(struct worker *w, struct request *r)
{
    if (w->spares_n == SPARES_MAX) {
        mem_free(r);
        return;
    }
    r->next = w->spare;
    w->spare = r;
    w->spares_n++;
}

void request_release_spares(struct worker *w)
{
    while (w->spare) {
        struct request *r = w->spare;
        w->spare = r->next;
        mem_free(r);
    }
    w->spares_n = 0;
}

static struct request *request_new(struct worker *w, struct http_conn *c, const struct surface *s,
                                   const struct api_key *k, const uint8_t digest[32])
{
    struct request *r = take(w);
    if (!r)
        return NULL;
    arena_init(&r->arena, (size_t)w->settings.max_body_bytes * 2 + ARENA_EXTRA_BYTES);
    r->plan = arena_alloc(&r->arena, sizeof *r->plan);
    if (!r->plan) {
        arena_release(&r->arena);
        give_back(w, r);
        return NULL;
    }
    memset(r->plan, 0, offsetof(struct request_plan, body.at));
    memcpy(r->plan->key_digest, digest, 32);
    r->worker = w;
    r->conn = c;
    r->op = (uint8_t)s->op;
    r->dialect = (uint8_t)s->dialect;
    r->force_stream = s->force_stream;
    r->array = s->array;
    r->tenant_id = k->tenant->id;
    r->user_id = k->user_id;
    r->key_id = k->id;
    r->ping = !k->ping_off;
    r->started_ns = clock_mono_ns();
    r->started_wall_ms = clock_wall_ms();
    rng_uuid7(r->started_wall_ms, r->id);
    key_cell_used(k->cell, r->started_wall_ms);
    r->call.on = &relay_events;
    r->next = w->requests;
    r->prev = &w->requests;
    if (w->requests)
        w->requests->prev = &r->next;
    w->requests = r;
    w->requests_n++;
    return r;
}

void request_free(struct request *r)
{
    struct worker *w = r->worker;
    http_call_cancel(&r->call);
    relay_drop_reading(r);
    attempt_wipe_head(r);
    deadline_clear(&r->deadline);
    gate_leave(&r->pass, 0, 0, loop_now_ms(w->loop));
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    w->requests_n--;
    if (r->body_bytes)
        atomic_fetch_sub_explicit(&w->body_bytes, r->body_bytes, memory_order_relaxed);
    channel_unref(&r->channel);
    gunzip_free(&r->gunzip);
    mem_free(r->tail);
    mem_free(r->ids);
    mem_free(r->spent);
    translation_free(&r->translation);
    idempotency_drop(r);
    recall_free(&r->recall);
    mem_free(r->pace);
    hedge_shed(r);
    recall_leave(r);
    if (r->plan) {
        translate_release(r->plan);
        mem_free(r->plan->hold);
    } else {
        mem_free((char *)r->upstream_model);
    }
    arena_release(&r->arena);
    give_back(w, r);
}

/* 80 % of the memory budget is taken: bodies over 64 KiB have to wait. */
static bool short_of_memory(struct worker *w, uint64_t body_bytes)
{
    struct gateway *g = w->gateway;
    if (body_bytes <= COUNTED_BYTES)
        return false;
    return gateway_memory_used(g) + body_bytes > g->settings.memory_budget_bytes / 10 * 8;
}

static enum err check_body(struct worker *w, const struct http_head *h, struct err_info *info)
{
    struct str coding = http_get(h, HTTP_CONTENT_ENCODING);
    uint64_t max = w->settings.max_body_bytes;
    if (coding.n && !str_ieq(coding, STR("identity")))
        return err_set(info, ERR_UNSUPPORTED_ENCODING,
                       "Content-Encoding: only identity is accepted");
    if (h->framing == HTTP_BODY_LENGTH && h->length > max)
        return err_set(info, ERR_BODY_TOO_LARGE, "the body is larger than %llu bytes",
                       (unsigned long long)max);
    if (short_of_memory(w, h->framing == HTTP_BODY_CHUNKED ? COUNTED_BYTES + 1 : h->length))
        return ERR_OVERLOADED;
    return ERR_OK;
}

/* https://www.w3.org/TR/trace-context/ 3.2: 00-{32 hex}-{16 hex}-{2 hex}, ids not all zero. */
static bool traceparent_ok(struct str s)
{
    static const char form[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    bool trace = false, span = false;
    if (s.n != sizeof form - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (form[i] == 'x' ? !hex : c != form[i])
            return false;
        trace |= i >= 3 && i < 35 && c != '0';
        span |= i >= 36 && i < 52 && c != '0';
    }
    return trace && span;
}

/* A name for the log: letters, digits and a little else. */
static bool request_id_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

static void keep_ids(struct request *r, const struct http_head *h)
{
    struct str id = http_get(h, HTTP_X_REQUEST_ID), trace = http_get(h, HTTP_TRACEPARENT);
    bool with_id = request_id_ok(id), with_trace = traceparent_ok(trace);
    if (!with_id && !with_trace)
        return;
    r->ids = mem_zalloc(sizeof *r->ids);
    if (!r->ids)
        return; /* the log can do without */
    if (with_id)
        str_copy(r->ids->request_id, sizeof r->ids->request_id, id);
    if (with_trace)
        str_copy(r->ids->traceparent, sizeof r->ids->traceparent, trace);
}

/* Keeps what later phases need of the head. */
static void read_head(struct request *r, const struct http_head *h)
{
    struct request_plan *p = r->plan;
    keep_ids(r, h);
    p->session = arena_dup(&r->arena, http_get(h, HTTP_X_LYSS_SESSION));
    p->strict = str_eq(http_get(h, HTTP_X_LYSS_STRICT), STR("1"));
    if (r->dialect != DIALECT_ANTHROPIC)
        return;
    p->anthropic_version = arena_dup(&r->arena, http_get(h, HTTP_ANTHROPIC_VERSION));
    p->anthropic_beta = arena_dup(&r->arena, http_get(h, HTTP_ANTHROPIC_BETA));
}

/* A preflight is answered before any credential is asked for. */
static void answer_preflight(struct http_conn *c, const struct http_head *h)
{
    struct worker *w = c->server->user;
    struct buf *lines = scratch_buf(SCRATCH_REPLY_HEADERS, HEADERS_MAX);
    browser_put_preflight(&w->browser, http_get(h, HTTP_ORIGIN), lines);
    http_reply(c, 204, buf_view(lines), STR_NULL);
}

static void on_head(struct http_conn *c, const struct http_head *h)
{
    struct worker *w = c->server->user;
    struct err_info info;
    struct surface s;
    const char *allow = NULL;
    err_info_init(&info);
    struct str origin = http_get(h, HTTP_ORIGIN);
    if (w->browser.hosts_n && !browser_host_ok(&w->browser, h->host)) {
        (void)!err_set(&info, ERR_BAD_REQUEST, "This host name is not served here.");
        refuse_bare(c, NULL, STR_NULL, ERR_BAD_REQUEST, &info, NULL);
        return;
    }
    if (origin.n && str_eq(h->method, STR("OPTIONS"))) {
        answer_preflight(c, h);
        return;
    }
    enum err e = surface_find(h->method, h->path, &s, &allow);
    if (e == ERR_NOT_FOUND)
        (void)!err_set(&info, e, "No such path: %.*s",
                       STR_FMT(str_make(h->path.p, h->path.n < 200 ? h->path.n : 200)));
    if (e) {
        s.dialect = surface_dialect(h);
        refuse_bare(c, &s, origin, e, &info, e == ERR_METHOD_NOT_ALLOWED ? allow : NULL);
        return;
    }
    surface_query(&s, h->query);
    if (op_row(s.op)->kind == KIND_LIST)
        s.dialect = surface_dialect(h);
    if (s.page) {
        page_serve(w, c, &s, h);
        return;
    }
    const struct api_key *k = NULL;
    uint8_t digest[32];
    e = authenticate(w, h, s.dialect, &k, digest, &info);
    if (!e && op_row(s.op)->has_body)
        e = check_body(w, h, &info);
    if (e) {
        refuse_bare(c, &s, origin, e, &info, NULL);
        return;
    }
    struct request *r = request_new(w, c, &s, k, digest);
    if (!r) {
        refuse_bare(c, &s, origin, ERR_NOMEM, &info, NULL);
        return;
    }
    if (origin.n) {
        struct buf *lines = scratch_buf(SCRATCH_REPLY_HEADERS, HEADERS_MAX);
        browser_put_cors(&w->browser, origin, lines);
        r->plan->cors = arena_dup(&r->arena, buf_view(lines));
    }
    read_head(r, h);
    if ((e = idempotency_read(r, h, &info))) {
        request_refuse(r, e, &info);
        return;
    }
    bool named = !s.name.p ||
                 (surface_decode(s.name, &r->arena, &r->plan->deployment) && r->plan->deployment.n);
    if (arena_failed(&r->arena)) {
        request_refuse(r, ERR_NOMEM, NULL);
        return;
    }
    if (!named) {
        (void)!err_set(&info, ERR_INVALID, "the model name in the path is malformed");
        request_refuse(r, ERR_INVALID, &info);
        return;
    }
    if (!op_row(s.op)->has_body) {
        page_models(r, k, s.head);
        return;
    }
    if (s.op == OP_PASSTHROUGH && (e = passthrough_read(r, &s, k, h, &info))) {
        request_refuse(r, e, &info);
        return;
    }
    if (h->framing == HTTP_BODY_LENGTH && h->length > COUNTED_BYTES) {
        r->body_bytes = h->length;
        atomic_fetch_add_explicit(&w->body_bytes, r->body_bytes, memory_order_relaxed);
    }
    c->user = r;
    http_accept(c, &r->arena);
}

/* ---- phases -------------------------------------------------------------------------------- */

static COLD enum step refused(struct request *r, enum err e, const struct err_info *info)
{
    request_refuse(r, e, info);
    return STEP_DONE;
}

static enum step phase_parse(struct request *r)
{
    struct request_plan *p = r->plan;
    if (p->passthrough)
        return STEP_NEXT;
    struct err_info info;
    err_info_init(&info);
    enum err e;
    bool stepped = false;
    if (p->parsing.steps) {
        struct json_doc doc;
        e = json_step(p->parsing.steps, PARSE_STEP_BYTES, &doc, &info);
        if (e == ERR_AGAIN && weigh_parsing(r)) {
            pipeline_run_later(r);
            return STEP_WAIT;
        }
        if (e == ERR_AGAIN)
            e = ERR_OVERLOADED;
        if (!e)
            e = openai_request_read_doc(&p->body, r->op, &doc, r->plan->deployment, &r->arena,
                                        &info);
        if (!e)
            translate_keep_tape(r, &doc);
        json_steps_free(&p->parsing.steps);
        weigh_request(r);
        stepped = true;
    } else {
        e = json_parse(&p->doc, p->body.body, &info);
        p->doc_parse = json_parse_count();
        if (!e)
            e = openai_request_read_doc(&p->body, r->op, &p->doc, r->plan->deployment, &r->arena,
                                        &info);
    }
    if (e)
        return refused(r, e, &info);
    r->stream = op_row(r->op)->may_stream && (p->body.stream || r->force_stream);
    r->plan->model = p->body.model;
    r->estimate_in = p->body.estimate_in;
    uint32_t out =
        p->body.max_output ? p->body.max_output : r->worker->settings.reserve_output_default;
    uint64_t all = op_row(r->op)->generates ? (uint64_t)out * p->body.n : 0;
    r->estimate_out = all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
    if (!stepped)
        return STEP_NEXT;
    r->at++; /* what else is long to do has a turn of its own */
    pipeline_run_later(r);
    return STEP_WAIT;
}

/* "a, b, c": names that the key may use, for the 404 answer. */
static void list_models(const struct api_key *k, char *out, size_t cap)
{
    size_t at = 0, n = 0;
    struct str name;
    void *value;
    out[0] = 0;
    while (map_next(&k->tenant->exact, &at, &name, &value)) {
        if (!key_allows_model(k, name))
            continue;
        int w = snprintf(out + n, cap - n, "%s%.*s", n ? ", " : "", STR_FMT(name));
        if (w < 0 || (size_t)w >= cap - n)
            return;
        n += (size_t)w;
    }
}

static enum step phase_resolve(struct request *r)
{
    if (r->plan->passthrough)
        return STEP_NEXT;
    struct err_info info;
    err_info_init(&info);
    const struct resolved *to = resolve(r);
    const struct api_key *k = to->key;
    if (!k)
        return refused(r, ERR_UNAUTHORIZED, &info); /* revoked while the body came in */
    str_copy(info.field, sizeof info.field, STR("model"));
    char name[128], models[320];
    str_copy(name, sizeof name, r->plan->model);
    if (!to->found) {
        list_models(k, models, sizeof models);
        (void)!err_set(&info, ERR_MODEL_NOT_FOUND, "The model '%s' does not exist. %s%s", name,
                       models[0] ? "Available: " : "No model is configured.", models);
        return refused(r, ERR_MODEL_NOT_FOUND, &info);
    }
    if (!key_allows_model(k, r->plan->model)) {
        (void)!err_set(&info, ERR_FORBIDDEN, "This API key may not use the model '%s'.", name);
        return refused(r, ERR_FORBIDDEN, &info);
    }
    return STEP_NEXT;
}

enum err request_admit(struct request *r)
{
    struct ledger_admitted a = {
        .tenant_id = r->tenant_id,
        .user_id = r->user_id,
        .key_id = r->key_id,
        .at_ms = r->started_wall_ms,
        .dialect = r->dialect,
        .op = r->op,
        .stream = r->stream,
        .est_in = r->estimate_in,
        .est_out = r->estimate_out,
        .model = r->plan->model,
    };
    memcpy(a.request_id, r->id, 16);
    enum err e = journal_admitted(r->worker->ring, &a);
    r->admitted = !e;
    return e;
}

static enum step phase_attempt(struct request *r)
{
    if (r->worker->stopping)
        return refused(r, ERR_SHUTDOWN, NULL);
    r->phase = PHASE_ATTEMPT;
    r->plan->first_attempt_ms = loop_now_ms(r->worker->loop);
    attempt_start(r);
    return STEP_DONE;
}

static enum step (*const phases[])(struct request *) = {
    phase_parse, phase_resolve, idempotency_phase, recall_phase, phase_attempt};

void pipeline_run(struct request *r)
{
    while (phases[r->at](r) == STEP_NEXT)
        r->at++;
}

static void on_step(struct message *m)
{
    struct parsing *p = (struct parsing *)((char *)m - offsetof(struct parsing, next));
    struct request *r = p->request;
    if (r->phase == PHASE_END) { /* the caller went away while the step was on its way */
        request_free(r);
        return;
    }
    pipeline_run(r);
}

void pipeline_run_later(struct request *r)
{
    struct parsing *p = &r->plan->parsing;
    p->request = r;
    p->next.run = on_step;
    loop_post(r->worker->loop, &p->next);
}

/* ---- the server's calls ------------------------------------------------------------------------
 */

static void on_body(struct http_conn *c, struct str body)
{
    struct request *r = c->user;
    r->plan->body.body = body;
    r->plan->ready_ns = request_now_ns(r, r->started_ns);
    if (body.n > COUNTED_BYTES && !r->body_bytes) { /* it came in chunks */
        r->body_bytes = body.n;
        atomic_fetch_add_explicit(&r->worker->body_bytes, r->body_bytes, memory_order_relaxed);
    }
    if (body.n > PARSE_STEP_BYTES && !r->plan->passthrough) {
        r->phase = PHASE_PARSE;
        if (json_steps_new(&r->plan->parsing.steps, body)) {
            request_refuse(r, ERR_NOMEM, NULL);
            return;
        }
    }
    pipeline_run(r);
}

static COLD void on_failed(struct http_conn *c, enum err e, const struct err_info *info)
{
    struct request *r = c->user;
    if (!r)
        return;
    if (e != ERR_CLIENT_GONE) {
        request_refuse(r, e, info);
        return;
    }
    c->user = NULL;
    r->conn = NULL;
    if (relay_orphan(r))
        return;
    if (r->admitted)
        request_settle(r, LEDGER_CLIENT_GONE, r->head_sent ? 200 : 0, ERR_CLIENT_GONE);
    if (r->phase == PHASE_PARSE) {
        r->phase = PHASE_END; /* the step under way frees it */
        return;
    }
    request_free(r);
}

static void on_malformed(struct http_conn *c, enum err e, const struct err_info *info)
{
    refuse_bare(c, NULL, STR_NULL, e, info, NULL);
}

static void on_sent(struct http_conn *c)
{
    if (c->user)
        relay_sent(c->user);
}

const struct http_service gateway_service = {on_head, on_body, on_failed, on_malformed, on_sent};
