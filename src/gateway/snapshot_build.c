/* snapshot_build: reads all rows in one transaction and makes of them what the data plane looks up:
 * keys by digest, models by name, channels with their credentials opened. */
#include "gateway/snapshot_build.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_provider.h"
#include "store/repo_route.h"
#include "store/repo_tenant.h"
#include "store/repo_user.h"

#define ROWS_MAX     (256u << 20)
#define SNAPSHOT_MAX (256u << 20)

struct rows {
    struct arena arena;
    struct tenant_row *tenants;
    struct user_row *users;
    struct key_row *keys;
    struct provider_row *providers;
    struct channel_row *channels;
    struct route_row *routes;
    size_t tenants_n, users_n, keys_n, providers_n, channels_n, routes_n;
    int64_t rev;
};

/* ---- reading --------------------------------------------------------------------- */

static enum err read_all(struct sql *db, struct rows *r, struct err_info *info)
{
    struct arena *a = &r->arena;
    enum err e = repo_meta_config_rev(db, &r->rev, info);
    if (!e)
        e = repo_tenant_list(db, TENANT_ALL, a, &r->tenants, &r->tenants_n, info);
    if (!e)
        e = repo_user_list(db, TENANT_ALL, a, &r->users, &r->users_n, info);
    if (!e)
        e = repo_key_list_live(db, TENANT_ALL, clock_wall_ms(), a, &r->keys, &r->keys_n, info);
    if (!e)
        e = repo_provider_list(db, TENANT_ALL, a, &r->providers, &r->providers_n, info);
    if (!e)
        e = repo_channel_list(db, TENANT_ALL, a, &r->channels, &r->channels_n, info);
    if (!e)
        e = repo_channel_load_parts(db, TENANT_ALL, a, r->channels, r->channels_n, info);
    if (!e)
        e = repo_route_list(db, TENANT_ALL, a, &r->routes, &r->routes_n, info);
    if (!e)
        e = repo_route_load_candidates(db, TENANT_ALL, a, r->routes, r->routes_n, info);
    return e;
}

static enum err read_rows(struct sql *db, struct rows *r, struct err_info *info)
{
    arena_init(&r->arena, ROWS_MAX);
    enum err e = sql_begin(db, SQL_READ, info);
    if (e)
        return e;
    e = read_all(db, r, info);
    sql_rollback(db);
    return e ? e : arena_failed(&r->arena) ? ERR_NOMEM : ERR_OK;
}

/* ---- channels ----------------------------------------------------------------------- */

static const struct provider_row *find_provider(const struct rows *r, struct str name)
{
    for (size_t i = 0; i < r->providers_n; i++)
        if (str_eq(r->providers[i].name, name))
            return &r->providers[i];
    return NULL;
}

static uint32_t or_default(int64_t v, uint32_t dflt)
{
    return v == ROW_NULL ? dflt : (uint32_t)v;
}

static unsigned ops_of(const struct channel_row *row, const struct provider *p)
{
    unsigned ops = 0;
    struct str rest = row->ops, word;
    while (list_next(&rest, &word))
        ops |= OP_BIT(op_find(word));
    return ops ? ops : p->ops;
}

static enum err take_models(struct arena *a, const struct channel_row *row, struct model_map **out,
                            unsigned *n)
{
    *out = arena_zalloc(a, (row->n_models + 1) * sizeof **out);
    for (size_t i = 0; *out && i < row->n_models; i++) {
        struct model_map *m = &(*out)[(*n)++];
        m->pattern = arena_dup(a, row->models[i].pattern);
        m->upstream = arena_dup(a, row->models[i].upstream);
        m->glob = str_chr(m->pattern, '*') >= 0 || str_chr(m->pattern, '?') >= 0;
    }
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

static enum err take_credential(struct channel *ch, int64_t id, const struct secret *opened)
{
    struct buf line;
    buf_init(&line, 16384);
    enum err e = provider_auth_header(ch->provider, opened, &line);
    struct credential *c = &ch->credentials[ch->credentials_n];
    c->id = id;
    if (!e)
        c->header = secret_take_copy(buf_view(&line));
    if (line.p)
        explicit_bzero(line.p, line.n);
    buf_release(&line);
    ch->credentials_n += !e;
    return e;
}

static enum err take_credentials(const struct snapshot_source *from, struct channel *ch,
                                 const struct channel_row *row, struct err_info *info)
{
    enum err e = ERR_OK;
    ch->credentials = arena_zalloc(&ch->arena, (row->n_credentials + 1) * sizeof *ch->credentials);
    if (!ch->credentials)
        return ERR_NOMEM;
    for (size_t i = 0; i < row->n_credentials && !e; i++) {
        const struct channel_credential *c = &row->credentials[i];
        struct secret opened = {0};
        if (!str_eq(c->status, STR("active")))
            continue;
        e = vault_unseal(from->vault, from->db, row->row.tenant_id, c->id, c->version, c->sealed,
                         &opened, info);
        if (!e)
            e = take_credential(ch, c->id, &opened);
        secret_release(&opened);
    }
    if (!e && !row->n_credentials && ch->provider->auth_optional) {
        struct secret none = {0};
        e = take_credential(ch, 0, &none);
    }
    return e;
}

static enum err fill_channel(const struct snapshot_source *from, struct channel *ch,
                             const struct channel_row *row, const struct provider_row *p,
                             struct err_info *info)
{
    struct arena *a = &ch->arena;
    ch->id = row->row.id;
    ch->created_ms = row->row.created_ms;
    ch->tenant_id = row->row.tenant_id;
    ch->name = arena_dup(a, row->name);
    ch->provider = provider_find(p->kind);
    if (!ch->provider)
        return err_set(info, ERR_INVALID, "provider kind '%.*s' is not built in", STR_FMT(p->kind));
    struct str base = row->base_url.n ? row->base_url : p->base_url;
    if (!base.n && ch->provider->base_url)
        base = str_c(ch->provider->base_url);
    base = arena_dup(a, base);
    enum err e = url_parse(base, &ch->url, info);
    if (e)
        return e;
    ch->at.prefix = ch->url.path;
    while (ch->at.prefix.n && ch->at.prefix.p[ch->at.prefix.n - 1] == '/')
        ch->at.prefix.n--;
    ch->at.api_version = arena_dup(a, row->api_version);
    ch->ops = ops_of(row, ch->provider);
    ch->priority = (int)row->priority;
    ch->weight = (int)row->weight;
    ch->rpm = row->rpm == ROW_NULL ? 0 : row->rpm;
    ch->tpm = row->tpm == ROW_NULL ? 0 : row->tpm;
    ch->concurrency = row->concurrency == ROW_NULL ? 0 : row->concurrency;
    ch->connect_ms = or_default(row->connect_timeout_ms, from->connect_ms);
    ch->ttft_ms = or_default(row->ttft_timeout_ms, from->ttft_ms);
    ch->chunk_ms = or_default(row->chunk_timeout_ms, from->chunk_ms);
    ch->total_ms = or_default(row->total_timeout_ms, from->total_ms);
    ch->drain = str_eq(row->on_disconnect, STR("drain"));
    ch->drain_ms = or_default(row->drain_max_s, 0) * 1000;
    ch->drain_tokens = or_default(row->drain_max_tokens, 0);
    ch->mark_cache = str_eq(row->cache_marks, STR("auto"));
    ch->min_tps = or_default(row->min_output_tps, 0);
    e = take_models(&ch->arena, row, &ch->models, &ch->models_n);
    if (!e)
        e = overrides_read_params(&ch->params, row->param_overrides, a, info);
    if (!e)
        e = overrides_read_headers(&ch->headers, row->header_overrides, a, info);
    if (!e)
        e = take_credentials(from, ch, row, info);
    return e ? e : channel_seal(ch);
}

static void mix(uint64_t *h, struct str s)
{
    *h = (*h ^ hash_str(s)) * 0x9e3779b97f4a7c15u;
}

/* Of all that a channel is made of: equal rows make equal channels, which are then shared. */
static int64_t fingerprint(const struct channel_row *row, const struct provider_row *p)
{
    uint64_t h = 0;
    for (size_t i = 0; i < thing_channel.n; i++) {
        const struct column *c = &thing_channel.columns[i];
        if (column_is_text(c))
            mix(&h, *row_text(row, c));
        else
            mix(&h, str_make((const char *)row_int(row, c), sizeof(int64_t)));
    }
    for (size_t i = 0; i < row->n_models; i++) {
        mix(&h, row->models[i].pattern);
        mix(&h, row->models[i].upstream);
    }
    for (size_t i = 0; i < row->n_credentials; i++) {
        mix(&h, row->credentials[i].sealed);
        mix(&h, row->credentials[i].status);
    }
    if (p) {
        mix(&h, p->kind);
        mix(&h, p->base_url);
    }
    return (int64_t)h;
}

static struct channel *shared(const struct snapshot *last, int64_t id, int64_t rev)
{
    for (unsigned i = 0; last && i < last->channels_n; i++)
        if (last->channels[i]->id == id && last->channels[i]->rev == rev)
            return channel_ref(last->channels[i]);
    return NULL;
}

/* Finds the live state of the channel and of its credentials. */
static enum err take_cells(const struct snapshot_source *from, struct channel *ch)
{
    ch->cell = cells_channel(from->cells, ch->id, ch->name);
    for (unsigned i = 0; ch->cell && i < ch->credentials_n; i++) {
        struct credential *c = &ch->credentials[i];
        c->cell = cells_credential(from->cells, ch->cell, c->id);
        if (!c->cell)
            return ERR_NOMEM;
    }
    return ch->cell ? ERR_OK : ERR_NOMEM;
}

enum err snapshot_channel(const struct snapshot_source *from, const struct channel_row *row,
                          const struct provider_row *provider, struct channel **out,
                          struct err_info *info)
{
    struct channel *ch = channel_new();
    if (!ch)
        return ERR_NOMEM;
    enum err e = fill_channel(from, ch, row, provider, info);
    if (!e)
        e = take_cells(from, ch);
    if (e)
        channel_unref(&ch);
    *out = ch;
    return e;
}

/* Of a channel that is not to be used only the names are kept: so that what it serves is not said
 * not to exist. */
static enum err add_dormant(struct snapshot *s, const struct channel_row *row)
{
    struct dormant *d = &s->dormant[s->dormant_n++];
    d->tenant_id = row->row.tenant_id;
    return take_models(&s->arena, row, &d->models, &d->models_n);
}

/* Adds the channel of one row to s, if it is to be used. */
static enum err add_channel(const struct snapshot_source *from, struct snapshot *s,
                            const struct rows *r, const struct channel_row *row)
{
    struct err_info info;
    err_info_init(&info);
    const struct provider_row *p = find_provider(r, row->provider);
    if (!str_eq(row->status, STR("active")) || (p && !str_eq(p->status, STR("active"))))
        return add_dormant(s, row);
    int64_t rev = fingerprint(row, p);
    struct channel *ch = shared(from->last, row->row.id, rev);
    if (!ch) {
        ch = channel_new();
        if (!ch)
            return ERR_NOMEM;
        enum err e = p ? fill_channel(from, ch, row, p, &info)
                       : err_set(&info, ERR_INVALID, "its provider does not exist");
        ch->rev = rev;
        if (!e)
            e = take_cells(from, ch);
        if (e) {
            log_event(LOG_ERROR, "channel.unusable", LOG_STR("channel", row->name),
                      LOG_CSTR("reason", info.text[0] ? info.text : err_text(e)));
            channel_unref(&ch);
            return e == ERR_NOMEM ? e : add_dormant(s, row);
        }
    }
    s->channels[s->channels_n++] = ch;
    return ERR_OK;
}

/* The demo channel is of no row: it exists only here. */
static enum err add_demo(const struct snapshot_source *from, struct snapshot *s)
{
    static const int64_t demo_id = -1;
    struct channel *ch = shared(from->last, demo_id, 0);
    if (!ch) {
        ch = channel_new();
        if (!ch)
            return ERR_NOMEM;
        ch->id = demo_id;
        ch->name = STR("demo");
        ch->provider = provider_find(STR("demo"));
        str_copy(ch->url.host, sizeof ch->url.host, STR("demo.invalid"));
        ch->url.host_n = 12;
        ch->url.port = 80;
        ch->at.prefix = STR("/v1");
        ch->ops = ch->provider->ops;
        ch->priority = 1;
        ch->weight = 100;
        ch->connect_ms = from->connect_ms;
        ch->ttft_ms = from->ttft_ms;
        ch->chunk_ms = from->chunk_ms;
        ch->total_ms = from->total_ms;
        ch->credentials = arena_zalloc(&ch->arena, sizeof *ch->credentials);
        ch->credentials_n = 1;
        ch->models = arena_zalloc(&ch->arena, 2 * sizeof *ch->models);
        if (ch->models) {
            ch->models[0].pattern = STR("demo");
            ch->models[1] = (struct model_map){.pattern = STR("demo-*"), .glob = true};
            ch->models_n = 2;
        }
        if (!ch->credentials || !ch->models || take_cells(from, ch) || channel_seal(ch)) {
            channel_unref(&ch);
            return ERR_NOMEM;
        }
    }
    s->channels[s->channels_n++] = ch;
    return ERR_OK;
}

/* ---- tenants and their models ----------------------------------------------------------- */

static bool usable_by(const struct channel *ch, const struct tenant *t)
{
    return ch->tenant_id == t->id || (ch->id < 0 && str_eq(t->slug, STR("demo")));
}

/* Where the upstream's name tells the model, requests need not look it up. */
static const struct catalogue_entry *entry_of(const struct snapshot_source *from,
                                              const struct channel *ch, struct str upstream)
{
    const struct catalogue_entry *e =
        model_find(from->catalogue, str_c(ch->provider->name), upstream);
    return upstream.n && e->pattern.n ? e : NULL;
}

static enum err add_name(const struct snapshot_source *from, struct snapshot *s, struct tenant *t,
                         struct str name)
{
    if (map_get(&t->exact, name))
        return ERR_OK;
    struct candidate all[CANDIDATES_MAX];
    struct route *r = arena_zalloc(&s->arena, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->name = name;
    r->algorithm = balance_default();
    for (unsigned i = 0; i < t->channels_n && r->n < CANDIDATES_MAX; i++) {
        struct str upstream;
        if (channel_serves(t->channels[i], name, &upstream))
            all[r->n++] =
                (struct candidate){t->channels[i], str_eq(upstream, name) ? STR_NULL : upstream,
                                   ROW_NULL, ROW_NULL, entry_of(from, t->channels[i], upstream)};
    }
    r->candidates = arena_alloc(&s->arena, (r->n + 1) * sizeof *all);
    if (!r->candidates)
        return ERR_NOMEM;
    memcpy(r->candidates, all, r->n * sizeof *all);
    return map_put(&t->exact, name, r);
}

static enum err add_names(const struct snapshot_source *from, struct snapshot *s, struct tenant *t)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < t->channels_n; i++)
        for (unsigned k = 0; k < t->channels[i]->models_n && !e; k++)
            if (!t->channels[i]->models[k].glob)
                e = add_name(from, s, t, t->channels[i]->models[k].pattern);
    return e;
}

static struct channel *channel_of(const struct tenant *t, int64_t id)
{
    for (unsigned i = 0; i < t->channels_n; i++)
        if (t->channels[i]->id == id)
            return t->channels[i];
    return NULL;
}

static const struct balance_objective *objective_of(struct snapshot *s, const struct route_row *row)
{
    struct balance_objective *o = arena_alloc(&s->arena, sizeof *o);
    if (o)
        *o = (struct balance_objective){
            .success = (float)row->weigh_success / 100,
            .ttft = (float)row->weigh_ttft / 100,
            .rate = (float)row->weigh_rate / 100,
            .price = (float)row->weigh_price / 100,
            .headroom = (float)row->weigh_headroom / 100,
        };
    return o;
}

/* Replaces the implicit route of the row's name and aliases. */
static enum err add_route(const struct snapshot_source *from, struct snapshot *s, struct tenant *t,
                          const struct route_row *row)
{
    struct route proto = {.id = row->row.id,
                          .created_ms = row->row.created_ms,
                          .algorithm = balance_find(row->algorithm),
                          .affinity = affinity_parse(row->affinity),
                          .objective = objective_of(s, row),
                          .hedge_percent = row->hedge ? (uint8_t)row->hedge_percent : 0,
                          .hedge_cost_percent = (uint8_t)row->hedge_cost_percent,
                          .context_fallback = arena_dup(&s->arena, row->context_fallback),
                          .policy_fallback = arena_dup(&s->arena, row->policy_fallback)};
    if (!proto.objective)
        return ERR_NOMEM;
    if (!proto.algorithm)
        proto.algorithm = balance_default();
    proto.candidates = arena_zalloc(&s->arena, (row->n_candidates + 1) * sizeof *proto.candidates);
    if (!proto.candidates)
        return ERR_NOMEM;
    for (size_t i = 0; i < row->n_candidates && proto.n < CANDIDATES_MAX; i++) {
        struct candidate *c = &proto.candidates[proto.n];
        c->channel = channel_of(t, row->candidates[i].channel_id);
        if (!c->channel) {
            proto.inactive++;
            continue;
        }
        c->upstream = arena_dup(&s->arena, row->candidates[i].upstream);
        c->priority = row->candidates[i].priority;
        c->weight = row->candidates[i].weight;
        struct str own;
        if (!c->upstream.n && channel_serves(c->channel, row->name, &own) &&
            !str_eq(own, row->name))
            c->upstream = own;
        c->entry = entry_of(from, c->channel, c->upstream);
        proto.n++;
    }
    struct str rest = row->aliases, name = row->name;
    do {
        struct route *r = arena_alloc(&s->arena, sizeof *r);
        if (!r)
            return ERR_NOMEM;
        *r = proto;
        r->name = arena_dup(&s->arena, name);
        r->glob = str_chr(name, '*') >= 0 || str_chr(name, '?') >= 0;
        if (r->glob)
            t->globs[t->globs_n++] = *r;
        else if (map_put(&t->exact, r->name, r))
            return ERR_NOMEM;
    } while (list_next(&rest, &name));
    return ERR_OK;
}

static enum err add_tenant(const struct snapshot_source *from, struct snapshot *s,
                           const struct rows *r, const struct tenant_row *row)
{
    struct tenant *t = &s->tenants[s->tenants_n++];
    t->of = s;
    t->id = row->row.id;
    t->slug = arena_dup(&s->arena, row->slug);
    t->suspended = !str_eq(row->status, STR("active"));
    map_init(&t->exact, SNAPSHOT_MODELS_MAX);
    t->channels = arena_alloc(&s->arena, (s->channels_n + 1) * sizeof *t->channels);
    size_t names = 0;
    for (size_t i = 0; i < r->routes_n; i++)
        names += r->routes[i].row.tenant_id == t->id ? 1 + r->routes[i].aliases.n : 0;
    t->globs = arena_zalloc(&s->arena, (names + 1) * sizeof *t->globs);
    if (!t->channels || !t->globs)
        return ERR_NOMEM;
    for (unsigned i = 0; i < s->channels_n; i++)
        if (usable_by(s->channels[i], t))
            t->channels[t->channels_n++] = s->channels[i];
    enum err e = add_names(from, s, t);
    for (size_t i = 0; i < r->routes_n && !e; i++)
        if (r->routes[i].row.tenant_id == t->id && str_eq(r->routes[i].status, STR("active")))
            e = add_route(from, s, t, &r->routes[i]);
    return e;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static enum err add_words(struct snapshot *s, struct str list, struct str **out, unsigned *n)
{
    struct str rest = list, word;
    unsigned count = 0;
    while (list_next(&rest, &word))
        count++;
    *out = arena_alloc(&s->arena, (count + 1) * sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    rest = list;
    while (list_next(&rest, &word))
        (*out)[(*n)++] = arena_dup(&s->arena, word);
    return arena_failed(&s->arena) ? ERR_NOMEM : ERR_OK;
}

/* Names of channels become ids; one that is not there now stays as an id that fits none. */
static enum err add_channels(struct snapshot *s, struct api_key *k, struct str list)
{
    struct str *names;
    unsigned n = 0;
    enum err e = add_words(s, list, &names, &n);
    if (e)
        return e;
    k->channels = arena_alloc(&s->arena, (n + 1) * sizeof *k->channels);
    if (!k->channels)
        return ERR_NOMEM;
    for (unsigned i = 0; i < n; i++) {
        int64_t id = INT64_MIN;
        for (unsigned c = 0; c < k->tenant->channels_n; c++)
            if (str_eq(k->tenant->channels[c]->name, names[i]))
                id = k->tenant->channels[c]->id;
        k->channels[k->channels_n++] = id;
    }
    return ERR_OK;
}

static const struct user_row *find_user(const struct rows *r, int64_t id)
{
    size_t lo = 0, hi = r->users_n; /* in order of id */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r->users[mid].row.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->users_n && r->users[lo].row.id == id ? &r->users[lo] : NULL;
}

static bool list_has(struct str list, struct str word)
{
    struct str each;
    while (list_next(&list, &each))
        if (str_eq(each, word))
            return true;
    return false;
}

static enum err add_key(const struct snapshot_source *from, struct snapshot *s,
                        const struct rows *r, const struct key_row *row)
{
    struct tenant *t = NULL;
    for (unsigned i = 0; i < s->tenants_n; i++)
        if (s->tenants[i].id == row->row.tenant_id)
            t = &s->tenants[i];
    const struct user_row *u = find_user(r, row->user_id);
    if (!t || !u || row->digest.n != 32)
        return ERR_OK;
    struct api_key *k = arena_zalloc(&s->arena, sizeof *k);
    if (!k)
        return ERR_NOMEM;
    memcpy(k->digest, row->digest.p, 32);
    k->id = row->row.id;
    k->user_id = row->user_id;
    k->expires_ms = row->expires_ms == ROW_NULL ? 0 : row->expires_ms;
    k->tenant = t;
    k->user_suspended = !str_eq(u->status, STR("active"));
    k->ping_off = !row->ping;
    k->no_inference = row->scopes.n && !list_has(row->scopes, STR("inference"));
    k->cell = cells_key(from->cells, row->row.tenant_id, k->id);
    enum err e = add_words(s, row->allowed_models, &k->models, &k->models_n);
    if (!e)
        e = add_channels(s, k, row->allowed_channels);
    return e ? e : map_put(&s->keys, str_make((const char *)k->digest, 32), k);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static enum err build(const struct snapshot_source *from, const struct rows *r, struct snapshot *s)
{
    enum err e = ERR_OK;
    s->rev = r->rev;
    s->channels = arena_zalloc(&s->arena, (r->channels_n + 1) * sizeof *s->channels);
    s->tenants = arena_zalloc(&s->arena, (r->tenants_n + 1) * sizeof *s->tenants);
    s->dormant = arena_zalloc(&s->arena, (r->channels_n + 1) * sizeof *s->dormant);
    if (!s->channels || !s->tenants || !s->dormant)
        return ERR_NOMEM;
    if (from->demo)
        e = add_demo(from, s);
    for (size_t i = 0; i < r->channels_n && !e; i++)
        e = add_channel(from, s, r, &r->channels[i]);
    for (size_t i = 0; i < r->tenants_n && !e; i++)
        e = add_tenant(from, s, r, &r->tenants[i]);
    for (size_t i = 0; i < r->keys_n && !e; i++)
        e = add_key(from, s, r, &r->keys[i]);
    return e ? e : arena_failed(&s->arena) ? ERR_NOMEM : ERR_OK;
}

enum err snapshot_build(const struct snapshot_source *from, struct snapshot **out,
                        struct err_info *info)
{
    struct rows r = {0};
    struct snapshot *s = NULL;
    enum err e = read_rows(from->db, &r, info);
    if (!e && !(s = mem_zalloc(sizeof *s)))
        e = ERR_NOMEM;
    if (e)
        goto out;
    atomic_init(&s->refs, 1);
    arena_init(&s->arena, SNAPSHOT_MAX);
    map_init(&s->keys, SNAPSHOT_KEYS_MAX);
    e = build(from, &r, s);
    if (e)
        snapshot_unref(&s);
    else
        *out = s;
out:
    arena_release(&r.arena);
    return e;
}
