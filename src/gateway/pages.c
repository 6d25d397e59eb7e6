/* pages: small answers about the gateway itself. */
#include "gateway/pages.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/json_write.h"
#include "llm/dialect.h"

#define PAGE_MAX (4u << 20)

static void send_page(struct http_conn *c, int status, const char *type, struct buf *body,
                      bool head)
{
    struct buf h;
    buf_init(&h, 1024);
    buf_printf(&h, "Content-Type: %s\r\nCache-Control: no-store\r\n", type);
    if (buf_failed(body)) {
        buf_reset(body);
        status = 503;
    }
    if (head)
        http_reply_head(c, status, buf_view(&h), body->n);
    else
        http_reply(c, status, buf_view(&h), buf_view(body));
    buf_release(&h);
    buf_release(body);
}

static bool is_ready(struct gateway *g)
{
    return atomic_load(&g->ready) && atomic_load(&g->database_ok) && journal_usable(g->journal);
}

static void put_now(struct json_writer *j, const char *name)
{
    char iso[25];
    clock_iso(clock_wall_ms(), iso);
    json_key(j, str_c(name));
    json_put_string(j, str_c(iso));
}

struct channel_counts {
    unsigned total, healthy, degraded, unhealthy, unknown;
};

static void count_channels(const struct snapshot *s, struct channel_counts *n)
{
    for (unsigned i = 0; i < s->channels_n; i++) {
        uint32_t h = atomic_load_explicit(&s->channels[i]->cell->health, memory_order_relaxed);
        n->total++;
        n->degraded += h == HEALTH_DEGRADED;
        n->unhealthy += h == HEALTH_UNHEALTHY;
        n->unknown += h == HEALTH_UNKNOWN || h == HEALTH_NONE;
        /* unknown counts as healthy */
        n->healthy += h != HEALTH_DEGRADED && h != HEALTH_UNHEALTHY;
    }
}

static void put_health(struct worker *w, struct buf *b, bool *ok)
{
    struct gateway *g = w->gateway;
    bool database = atomic_load(&g->database_ok), journal = journal_usable(g->journal);
    struct channel_counts n = {0};
    count_channels(w->snapshot, &n);
    const char *channels = !n.total                  ? "no_channels"
                           : !n.healthy              ? "unhealthy"
                           : n.healthy * 2 < n.total ? "degraded"
                                                     : "healthy";
    *ok = database && journal;
    struct json_writer j;
    json_writer_init(&j, b);
    json_open_object(&j);
    json_field_string(&j, "status", *ok ? STR("healthy") : STR("unhealthy"));
    json_field_string(&j, "version", STR(LYSS_VERSION));
    json_field_string(&j, "environment", str_c(g->settings.environment));
    put_now(&j, "timestamp");
    json_field_string(&j, "database", database ? STR("healthy") : STR("unhealthy"));
    json_field_string(&j, "redis", STR("not_configured"));
    json_field_string(&j, "journal", journal ? STR("healthy") : STR("unhealthy"));
    json_key(&j, STR("channels"));
    json_open_object(&j);
    json_field_i64(&j, "total", n.total);
    json_field_i64(&j, "healthy", n.healthy);
    json_field_i64(&j, "degraded", n.degraded);
    json_field_i64(&j, "unhealthy", n.unhealthy);
    json_field_i64(&j, "unknown", n.unknown);
    json_field_string(&j, "status", str_c(channels));
    json_close_object(&j);
    json_close_object(&j);
    buf_char(b, '\n');
}

static void put_root(struct buf *b)
{
    struct json_writer j;
    json_writer_init(&j, b);
    json_open_object(&j);
    json_field_string(&j, "service", STR("lyss"));
    json_field_string(&j, "version", STR(LYSS_VERSION));
    json_key(&j, STR("links"));
    json_open_object(&j);
    json_field_string(&j, "openai", STR("/v1"));
    json_field_string(&j, "health", STR("/health"));
    json_field_string(&j, "metrics", STR("/metrics"));
    json_close_object(&j);
    json_close_object(&j);
    buf_char(b, '\n');
}

static bool metrics_allowed(const struct worker *w, const struct http_conn *c)
{
    const struct cidr_list *l = &w->metrics_allow;
    for (size_t i = 0; i < l->n; i++)
        if (cidr_holds(&l->items[i], &c->peer))
            return true;
    return false;
}

void page_serve(struct worker *w, struct http_conn *c, const struct surface *s,
                const struct http_head *h)
{
    struct buf b;
    buf_init(&b, PAGE_MAX);
    const char *type = "application/json";
    int status = 200;
    bool ok = true;
    switch (s->page) {
    case PAGE_HEALTH:
        put_health(w, &b, &ok);
        status = ok ? 200 : 503;
        break;
    case PAGE_LIVE:
        buf_lit(&b, "{\"status\":\"live\"}\n");
        break;
    case PAGE_READY:
        ok = is_ready(w->gateway);
        status = ok ? 200 : 503;
        buf_printf(&b, "{\"status\":\"%s\"}\n", ok ? "ready" : "not_ready");
        break;
    case PAGE_METRICS:
        if (!metrics_allowed(w, c)) {
            dialect_error_body(&dialect_openai, &b, ERR_FORBIDDEN, NULL, STR_NULL);
            status = 403;
            break;
        }
        metrics_render(w->gateway, &b);
        type = "text/plain; version=0.0.4";
        break;
    default:
        put_root(&b);
    }
    send_page(c, status, type, &b, s->head);
}

/* ---- models --------------------------------------------------------------------- */

static bool listed(const struct api_key *k, struct str name)
{
    return key_allows_model(k, name);
}

static struct str owner(const struct route *r)
{
    return r->n ? str_c(r->candidates[0].channel->provider->name) : STR("lyss");
}

static void add_candidate(struct model_entry *m, const struct gateway *g, const struct candidate *c)
{
    const struct channel *ch = c->channel;
    const struct catalogue_entry *e =
        c->entry ? c->entry
                 : model_resolve(g->catalogue, str_c(ch->provider->name),
                                 c->upstream.n ? c->upstream : m->name, m->name);
    if (e->caps.context_tokens > m->context_tokens)
        m->context_tokens = e->caps.context_tokens;
    if (e->caps.output_tokens > m->output_tokens)
        m->output_tokens = e->caps.output_tokens;
    for (enum llm_op op = OP_NONE + 1; op < OP_COUNT; op++)
        if (op_serve(op, ch->ops) != OP_NONE || op_row(op)->kind == KIND_COUNT_TOKENS)
            m->serves |= OP_BIT(op); /* tokens can always be counted by estimate */
}

/* What its candidates know of a model: the largest of their limits, since long prompts go where
 * there is room for them; its date is that of the configuration. */
static struct model_entry entry(const struct gateway *g, const struct route *r, struct str name)
{
    struct model_entry m = {.name = name, .owned_by = owner(r)};
    int64_t created_ms = r->created_ms;
    for (unsigned i = 0; i < r->n; i++) {
        int64_t ms = r->candidates[i].channel->created_ms;
        add_candidate(&m, g, &r->candidates[i]);
        if (!r->id && ms && (!created_ms || ms < created_ms))
            created_ms = ms;
    }
    m.created_s = (created_ms ? created_ms : g->started_ms) / 1000;
    return m;
}

static int by_name(const void *a, const void *b)
{
    const struct route *const *x = a, *const *y = b;
    bool dx = str_eq((*x)->name, STR("demo")), dy = str_eq((*y)->name, STR("demo"));
    return dx != dy ? (dx ? -1 : 1) : str_cmp((*x)->name, (*y)->name);
}

void page_models(struct request *r, const struct api_key *k, bool head)
{
    struct buf b;
    struct http_conn *c = r->conn;
    struct err_info info;
    struct gateway *g = r->worker->gateway;
    const struct dialect_row *d = dialect_of(r->dialect);
    err_info_init(&info);
    buf_init(&b, PAGE_MAX);
    if (r->op == OP_MODEL) {
        struct route route;
        struct candidate scratch[CANDIDATES_MAX];
        if (!snapshot_route(k->tenant, r->plan->deployment, &route, scratch) ||
            !listed(k, r->plan->deployment)) {
            (void)!err_set(
                &info, ERR_MODEL_NOT_FOUND, "The model '%.*s' does not exist.",
                STR_FMT(str_make(r->plan->deployment.p,
                                 r->plan->deployment.n < 128 ? r->plan->deployment.n : 128)));
            request_refuse(r, ERR_MODEL_NOT_FOUND, &info);
            return;
        }
        struct model_entry m = entry(g, &route, r->plan->deployment);
        d->model_one(&b, &m);
    } else {
        size_t at = 0, n = 0;
        struct str name;
        void *value;
        const struct route **all =
            arena_alloc(&r->arena, (k->tenant->exact.count + 1) * sizeof *all);
        while (all && map_next(&k->tenant->exact, &at, &name, &value))
            if (listed(k, name))
                all[n++] = value;
        if (all && n)
            qsort(all, n, sizeof *all, by_name);
        d->models_begin(&b);
        for (size_t i = 0; i < n; i++) {
            struct model_entry m = entry(g, all[i], all[i]->name);
            dialect_models_add(d, &b, &m, i > 0);
        }
        d->models_end(&b, n ? all[0]->name : STR_NULL, n ? all[n - 1]->name : STR_NULL);
    }
    if (buf_failed(&b) || arena_failed(&r->arena)) {
        buf_release(&b);
        request_refuse(r, ERR_NOMEM, NULL);
        return;
    }
    r->conn = NULL;
    struct str headers = reply_headers(r, "application/json");
    if (head)
        http_reply_head(c, 200, headers, b.n);
    else
        http_reply(c, 200, headers, buf_view(&b));
    buf_release(&b);
    request_free(r);
}
