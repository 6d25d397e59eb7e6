/* channel: building, sharing and matching of channel configurations. */
#include "gateway/channel.h"

#include "core/alloc.h"

#define CHANNEL_ARENA_MAX (1u << 20)

struct channel *channel_new(void)
{
    struct channel *ch = mem_zalloc(sizeof *ch);
    if (!ch)
        return NULL;
    atomic_init(&ch->refs, 1);
    arena_init(&ch->arena, CHANNEL_ARENA_MAX);
    return ch;
}

enum err channel_seal(struct channel *ch)
{
    char authority[URL_AUTHORITY_MAX];
    ch->authority = arena_dup(&ch->arena, str_c(url_authority(&ch->url, authority)));
    ch->reply_headers = arena_printf(&ch->arena,
                                     "x-lyss-channel: %.*s\r\nx-lyss-provider: %s\r\n"
                                     "Cache-Control: no-store\r\n",
                                     STR_FMT(ch->name), ch->provider->name);
    return arena_failed(&ch->arena) ? ERR_NOMEM : ERR_OK;
}

struct channel *channel_ref(struct channel *ch)
{
    atomic_fetch_add_explicit(&ch->refs, 1, memory_order_relaxed);
    return ch;
}

void channel_unref(struct channel **chp)
{
    struct channel *ch = *chp;
    *chp = NULL;
    if (!ch || atomic_fetch_sub_explicit(&ch->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < ch->credentials_n; i++)
        secret_release(&ch->credentials[i].header);
    arena_release(&ch->arena);
    mem_free(ch);
}

const struct model_map *model_map_find(const struct model_map *all, unsigned n, struct str model)
{
    const struct model_map *hit = NULL;
    for (unsigned i = 0; i < n; i++) {
        const struct model_map *m = &all[i];
        if (!m->glob && str_eq(m->pattern, model))
            return m;
        if (m->glob && !hit && str_glob(m->pattern, model))
            hit = m;
    }
    return hit;
}

bool channel_serves(const struct channel *ch, struct str model, struct str *upstream)
{
    const struct model_map *hit = model_map_find(ch->models, ch->models_n, model);
    if (!hit)
        return false;
    *upstream = hit->upstream.n ? hit->upstream : model;
    return true;
}
