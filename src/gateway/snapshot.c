/* snapshot: look-ups in, and the life of, the immutable configuration. */
#include "gateway/snapshot.h"

#include "core/alloc.h"

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot **sp)
{
    struct snapshot *s = *sp;
    *sp = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < s->channels_n; i++)
        channel_unref(&s->channels[i]);
    for (unsigned i = 0; i < s->tenants_n; i++)
        map_release(&s->tenants[i].exact);
    map_release(&s->keys);
    arena_release(&s->arena);
    mem_free(s);
}

const struct api_key *snapshot_key(const struct snapshot *s, const uint8_t digest[32])
{
    return map_get(&s->keys, str_make((const char *)digest, 32));
}

static unsigned dormant_serving(const struct tenant *t, struct str model)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->of->dormant_n; i++) {
        const struct dormant *d = &t->of->dormant[i];
        n += d->tenant_id == t->id && model_map_find(d->models, d->models_n, model);
    }
    return n;
}

bool snapshot_route(const struct tenant *t, struct str model, struct route *out,
                    struct candidate scratch[CANDIDATES_MAX])
{
    const struct route *r = map_get(&t->exact, model);
    for (unsigned i = 0; !r && i < t->globs_n; i++)
        if (str_glob(t->globs[i].name, model))
            r = &t->globs[i];
    if (r) {
        *out = *r;
        return true;
    }
    *out = (struct route){.name = model, .algorithm = balance_default(), .candidates = scratch};
    for (unsigned i = 0; i < t->channels_n && out->n < CANDIDATES_MAX; i++) {
        struct str upstream;
        if (channel_serves(t->channels[i], model, &upstream))
            scratch[out->n++] = (struct candidate){t->channels[i], upstream, ROW_NULL, ROW_NULL};
    }
    if (!out->n)
        out->inactive = dormant_serving(t, model);
    return out->n + out->inactive > 0;
}

bool key_allows_model(const struct api_key *k, struct str model)
{
    for (unsigned i = 0; i < k->models_n; i++)
        if (str_glob(k->models[i], model))
            return true;
    return k->models_n == 0;
}

bool key_allows_channel(const struct api_key *k, int64_t channel_id)
{
    for (unsigned i = 0; i < k->channels_n; i++)
        if (k->channels[i] == channel_id)
            return true;
    return k->channels_n == 0;
}
