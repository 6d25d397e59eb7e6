/* model_catalogue: entries laid one over another at load, then found by provider and name: an exact
 * name by a map, a pattern by a walk over the provider's few, the most letters first. */
#include "llm/model_catalogue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/map.h"
#include "llm/model_builtin.h"
#include "llm/model_read.h"

#define ARENA_MAX     (64u << 20)
#define PROVIDERS_MAX 64

struct shelf { /* what one provider has */
    struct model_provider provider;
    struct map exact;               /* name → struct catalogue_entry */
    struct catalogue_entry **globs; /* most letters first */
    unsigned globs_n;
};

struct model_catalogue {
    struct arena arena; /* holds everything but the maps */
    struct catalogue_entry *entries;
    size_t n;
    struct shelf *shelves;
    unsigned shelves_n;
};

static const struct catalogue_entry nothing_known;

/* ---- finding ----------------------------------------------------------------------- */

static struct shelf *shelf_of(const struct model_catalogue *c, struct str provider)
{
    for (unsigned i = 0; i < c->shelves_n; i++)
        if (str_eq(c->shelves[i].provider.name, provider))
            return &c->shelves[i];
    return NULL;
}

static const struct catalogue_entry *on_shelf(const struct shelf *s, struct str model)
{
    const struct catalogue_entry *e = s->exact.count ? map_get(&s->exact, model) : NULL;
    for (unsigned i = 0; !e && i < s->globs_n; i++)
        if (str_glob(s->globs[i]->pattern, model))
            e = s->globs[i];
    return e ? e : &nothing_known;
}

const struct catalogue_entry *model_find(const struct model_catalogue *c, struct str provider,
                                         struct str model)
{
    const struct shelf *s = shelf_of(c, provider);
    return s ? on_shelf(s, model) : &nothing_known;
}

const struct catalogue_entry *model_resolve(const struct model_catalogue *c, struct str provider,
                                            struct str upstream, struct str asked)
{
    const struct shelf *s = shelf_of(c, provider);
    if (!s)
        return &nothing_known;
    const struct catalogue_entry *e = on_shelf(s, upstream);
    return e == &nothing_known && s->provider.deployments ? on_shelf(s, asked) : e;
}

const struct model_caps *model_caps_find(const struct model_catalogue *c, struct str provider,
                                         struct str model)
{
    return &model_find(c, provider, model)->caps;
}

const struct catalogue_entry *model_at(const struct model_catalogue *c, size_t i)
{
    return i < c->n ? &c->entries[i] : NULL;
}

/* ---- building ---------------------------------------------------------------------- */

static struct catalogue_entry *same_name(struct model_catalogue *c, struct str provider,
                                         struct str pattern)
{
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->entries[i].pattern, pattern) && str_eq(c->entries[i].provider, provider))
            return &c->entries[i];
    return NULL;
}

static void set_names(struct catalogue_entry *e, struct str provider, struct str pattern)
{
    e->provider = provider;
    e->pattern = pattern;
    e->letters = 0;
    e->glob = false;
    for (size_t i = 0; i < pattern.n; i++)
        if (pattern.p[i] == '*' || pattern.p[i] == '?')
            e->glob = true;
        else
            e->letters++;
}

/* Copies the strings and prices of e, which are another catalogue's, into this one's arena. */
static enum err own(struct model_catalogue *c, struct catalogue_entry *e)
{
    struct price *rows = arena_alloc(&c->arena, (e->prices.n + 1) * sizeof *rows);
    if (!rows)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < e->prices.n; i++) {
        rows[i] = e->prices.rows[i];
        rows[i].source = arena_dup(&c->arena, rows[i].source);
    }
    e->prices.rows = rows;
    e->provider = arena_dup(&c->arena, e->provider);
    e->pattern = arena_dup(&c->arena, e->pattern);
    e->source = arena_dup(&c->arena, e->source);
    return arena_failed(&c->arena) ? ERR_NOMEM : ERR_OK;
}

static enum err copy_base(struct model_catalogue *c, const struct model_catalogue *base)
{
    enum err e = ERR_OK;
    for (size_t i = 0; base && i < base->n && !e; i++) {
        if (base->entries[i].lent)
            continue;
        struct catalogue_entry *to = &c->entries[c->n++];
        *to = base->entries[i];
        e = own(c, to);
    }
    for (unsigned i = 0; base && i < base->shelves_n && !e; i++) {
        struct shelf *s = &c->shelves[c->shelves_n++];
        s->provider = base->shelves[i].provider;
        s->provider.name = arena_dup(&c->arena, s->provider.name);
        s->provider.models_of = arena_dup(&c->arena, s->provider.models_of);
    }
    return e ? e : arena_failed(&c->arena) ? ERR_NOMEM : ERR_OK;
}

static enum err shelf_for(struct model_catalogue *c, struct str provider, struct shelf **out,
                          struct model_reader *r, uint32_t at)
{
    *out = shelf_of(c, provider);
    if (*out)
        return ERR_OK;
    if (c->shelves_n == PROVIDERS_MAX)
        return model_read_bad(r, at, "more than %d providers", PROVIDERS_MAX);
    *out = &c->shelves[c->shelves_n++];
    (*out)->provider.name = provider;
    return ERR_OK;
}

static enum err add_providers(struct model_catalogue *c, struct model_reader *r, uint32_t obj)
{
    enum err e = ERR_OK;
    for (uint32_t k = json_child(r->doc, obj); k != JSON_NONE && !e;
         k = json_sibling(r->doc, obj, k + 1)) {
        struct model_provider p;
        struct shelf *s;
        e = model_read_provider(r, k, &p);
        if (!e)
            e = shelf_for(c, p.name, &s, r, k);
        if (!e)
            s->provider = p;
    }
    return e;
}

static enum err add_entry(struct model_catalogue *c, const struct model_catalogue *base,
                          struct model_reader *r, uint32_t obj, struct str provider,
                          struct str pattern)
{
    struct catalogue_entry e = base ? *model_find(base, provider, pattern) : nothing_known;
    struct catalogue_entry *to = same_name(c, provider, pattern);
    if (to && (to->override || !base))
        return model_read_bad(r, obj, "%.*s of %.*s is there twice", STR_FMT(pattern),
                              STR_FMT(provider));
    if (!to && c->n == MODELS_MAX)
        return model_read_bad(r, obj, "more than %u names", MODELS_MAX);
    set_names(&e, provider, pattern);
    e.lent = false;
    e.override = base != NULL;
    enum err failed = own(c, &e);
    if (!failed)
        failed = model_read_entry(r, obj, &e);
    if (!failed && !e.source.n && !r->lenient)
        failed = model_read_bad(r, obj, "\"source\" is missing");
    if (!failed)
        *(to ? to : &c->entries[c->n++]) = e;
    return failed;
}

static enum err add_models(struct model_catalogue *c, const struct model_catalogue *base,
                           struct model_reader *r, uint32_t array)
{
    enum err e = ERR_OK;
    unsigned at = 0;
    for (uint32_t i = json_child(r->doc, array); i != JSON_NONE && !e;
         i = json_sibling(r->doc, array, i)) {
        struct str provider, *patterns;
        struct shelf *s;
        unsigned n = 0;
        size_t mark = model_read_enter(r, "models[%u]", at++);
        e = model_read_names(r, i, &provider, &patterns, &n);
        if (!e)
            e = shelf_for(c, provider, &s, r, i);
        for (unsigned k = 0; k < n && !e; k++)
            e = add_entry(c, base, r, i, provider, patterns[k]);
        model_read_leave(r, mark);
    }
    return e;
}

/* Gives providers that have the models of another those that they have not named themselves. */
static enum err lend(struct model_catalogue *c)
{
    size_t own_n = c->n, cap = c->n;
    for (unsigned i = 0; i < c->shelves_n; i++)
        cap += c->shelves[i].provider.models_of.n ? own_n : 0;
    struct catalogue_entry *all = arena_alloc(&c->arena, (cap + 1) * sizeof *all);
    if (!all)
        return ERR_NOMEM;
    memcpy(all, c->entries, own_n * sizeof *all);
    c->entries = all;
    for (unsigned i = 0; i < c->shelves_n; i++) {
        const struct model_provider *p = &c->shelves[i].provider;
        for (size_t k = 0; p->models_of.n && k < own_n; k++) {
            const struct catalogue_entry *from = &c->entries[k];
            if (!str_eq(from->provider, p->models_of) || same_name(c, p->name, from->pattern))
                continue;
            struct catalogue_entry *e = &c->entries[c->n++];
            *e = *from;
            e->provider = p->name;
            e->prices = (struct price_list){NULL, 0};
            e->lent = true;
        }
    }
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct catalogue_entry *x = a, *y = b;
    int d = str_cmp(x->provider, y->provider);
    return d ? d : str_cmp(x->pattern, y->pattern);
}

static int by_letters(const void *a, const void *b)
{
    const struct catalogue_entry *x = *(struct catalogue_entry *const *)a;
    const struct catalogue_entry *y = *(struct catalogue_entry *const *)b;
    return x->letters != y->letters ? (int)y->letters - (int)x->letters : by_name(x, y);
}

static enum err put_on_shelves(struct model_catalogue *c)
{
    qsort(c->entries, c->n, sizeof *c->entries, by_name);
    for (unsigned i = 0; i < c->shelves_n; i++) {
        struct shelf *s = &c->shelves[i];
        map_init(&s->exact, MODELS_MAX);
        s->globs = arena_alloc(&c->arena, (c->n + 1) * sizeof *s->globs);
        if (!s->globs)
            return ERR_NOMEM;
        for (size_t k = 0; k < c->n; k++) {
            struct catalogue_entry *e = &c->entries[k];
            if (!str_eq(e->provider, s->provider.name))
                continue;
            if (e->glob)
                s->globs[s->globs_n++] = e;
            else if (map_put(&s->exact, e->pattern, e))
                return ERR_NOMEM;
        }
        qsort(s->globs, s->globs_n, sizeof *s->globs, by_letters);
    }
    return ERR_OK;
}

/* With room for n entries. */
static struct model_catalogue *catalogue_new(size_t n)
{
    struct model_catalogue *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    arena_init(&c->arena, ARENA_MAX);
    c->entries = arena_alloc(&c->arena, (n + 1) * sizeof *c->entries);
    c->shelves = arena_zalloc(&c->arena, PROVIDERS_MAX * sizeof *c->shelves);
    if (arena_failed(&c->arena))
        model_catalogue_free(&c);
    return c;
}

/* Onto entries of its own: the thread's tape may be in use. */
static enum err parse(struct json_doc *doc, struct str text, struct err_info *info)
{
    struct err_info why;
    err_info_init(&why);
    doc->cap = (uint32_t)json_entries_max(text.n);
    doc->e = mem_alloc(doc->cap * sizeof *doc->e);
    if (!doc->e)
        return ERR_NOMEM;
    enum err e = json_parse_onto(doc, text, &why);
    unsigned line = 1;
    for (int64_t i = 0; e && i < why.offset && (size_t)i < text.n; i++)
        line += text.p[i] == '\n';
    return e ? err_set(info, e, "line %u: %s", line, why.text[0] ? why.text : err_text(e)) : e;
}

static enum err load(struct model_catalogue *c, const struct model_catalogue *base,
                     struct model_reader *r)
{
    uint32_t providers, models;
    enum err e = model_read_top(r, &providers, &models);
    e = e ? e : copy_base(c, base);
    e = e ? e : add_providers(c, r, providers);
    e = e ? e : add_models(c, base, r, models);
    e = e ? e : lend(c);
    e = e ? e : put_on_shelves(c);
    return e ? e : arena_failed(&c->arena) ? ERR_NOMEM : ERR_OK;
}

static enum err load_text(struct model_catalogue **out, const struct model_catalogue *base,
                          bool kinds, struct str text, struct err_info *info)
{
    struct json_doc doc = {0};
    struct model_catalogue *c = NULL;
    enum err e = text.n > MODELS_FILE_MAX ? ERR_TOO_BIG : parse(&doc, text, info);
    if (e)
        goto out;
    c = catalogue_new(MODELS_MAX);
    if (!c) {
        e = ERR_NOMEM;
        goto out;
    }
    struct model_reader r = {.doc = &doc, .arena = &c->arena, .info = info};
    r.lenient = base != NULL;
    r.kinds = kinds;
    e = load(c, base, &r);
    if (e)
        model_catalogue_free(&c);
    else
        *out = c;
out:
    mem_free(doc.e);
    return e;
}

enum err model_catalogue_load(struct model_catalogue **out, const struct model_catalogue *base,
                              struct str text, struct err_info *info)
{
    return load_text(out, base, false, text, info);
}

void model_catalogue_free(struct model_catalogue **cp)
{
    struct model_catalogue *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    for (unsigned i = 0; i < c->shelves_n; i++)
        map_release(&c->shelves[i].exact);
    arena_release(&c->arena);
    mem_free(c);
}

/* ---- where it comes from ------------------------------------------------------------ */

static struct model_catalogue *builtin;

static void load_builtin(void)
{
    struct err_info info;
    err_info_init(&info);
    enum err e =
        model_catalogue_load(&builtin, NULL, str_make(model_builtin, model_builtin_bytes), &info);
    if (e)
        fprintf(stderr, "lyss: data/models.json: %s\n", info.text);
    assert(!e);
}

const struct model_catalogue *model_catalogue_builtin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_builtin);
    return builtin;
}

static enum err read_file(const char *path, struct buf *out, struct err_info *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(info, ERR_IO, "%s cannot be read: %s", path, strerror(errno));
    enum err e = ERR_OK;
    for (;;) {
        char piece[16384];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            e = err_set(info, ERR_IO, "%s cannot be read: %s", path, strerror(errno));
        if (n <= 0)
            break;
        buf_add(out, piece, (size_t)n);
    }
    close(fd);
    if (!e && buf_failed(out))
        e = err_set(info, ERR_TOO_BIG, "%s is larger than %u bytes", path, MODELS_FILE_MAX);
    return e;
}

enum err model_catalogue_open(struct model_catalogue **out, const char *path, struct err_info *info)
{
    struct buf text;
    struct err_info why;
    err_info_init(&why);
    buf_init(&text, MODELS_FILE_MAX);
    enum err e = read_file(path, &text, info);
    if (!e) {
        e = load_text(out, model_catalogue_builtin(), true, buf_view(&text), &why);
        if (e)
            err_set(info, e, "%s: %s", path, why.text[0] ? why.text : err_text(e));
    }
    buf_release(&text);
    return e;
}
