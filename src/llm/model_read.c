/* model_read: one function a member, found by name in a table; a member that no table knows is an
 * error, so that a slip of the pen is told and not ignored. */
#include "llm/model_read.h"

#include <stdarg.h>
#include <stdio.h>

#include "llm/provider.h"

#define NAME_MAX_BYTES 128
#define SOURCE_MAX     512
#define PATTERNS_MAX   64
#define PRICES_MAX     64
#define TOKENS_MAX     1000000000
#define MS_A_DAY       INT64_C(86400000)

struct word {
    const char *name;
    uint32_t value;
};

#define X(name, bit, text) {text, bit},
static const struct word abilities[] = {MODEL_ABILITIES(X){NULL, 0}};
static const struct word rules[] = {MODEL_RULES(X){NULL, 0}};
#undef X
#define X(style, text) {text, THINK_##style},
static const struct word styles[] = {THINK_STYLES(X){NULL, 0}};
#undef X

size_t model_read_enter(struct model_reader *r, const char *fmt, ...)
{
    size_t mark = r->path_n;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(r->path + mark, sizeof r->path - mark, fmt, ap);
    va_end(ap);
    if (n > 0)
        r->path_n = mark + (size_t)n < sizeof r->path ? mark + (size_t)n : sizeof r->path - 1;
    return mark;
}

void model_read_leave(struct model_reader *r, size_t mark)
{
    r->path_n = mark;
    r->path[mark] = 0;
}

enum err model_read_bad(struct model_reader *r, uint32_t at, const char *fmt, ...)
{
    char why[256];
    unsigned line = 1;
    size_t off = at < r->doc->n ? r->doc->e[at].off : 0;
    for (size_t i = 0; i < off; i++)
        line += r->doc->text.p[i] == '\n';
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return err_set(r->info, ERR_INVALID, "line %u: %s%s%s", line, r->path, r->path_n ? ": " : "",
                   why);
}

/* ---- values ------------------------------------------------------------------------ */

static enum err text(struct model_reader *r, uint32_t v, size_t max, struct str *out)
{
    struct str s = STR_NULL;
    if (!json_is(r->doc, v, JSON_STRING))
        return model_read_bad(r, v, "expected a string");
    if (!json_string(r->doc, v, r->arena, &s))
        return ERR_NOMEM;
    if (!s.n || s.n > max)
        return model_read_bad(r, v, "expected 1 to %zu characters", max);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7F)
            return model_read_bad(r, v, "expected printable ASCII without spaces");
    *out = arena_dup(r->arena, s);
    return out->p ? ERR_OK : ERR_NOMEM;
}

static enum err source(struct model_reader *r, uint32_t v, struct str *out)
{
    enum err e = text(r, v, SOURCE_MAX, out);
    if (!e && !str_starts(*out, STR("https://")))
        e = model_read_bad(r, v, "expected an https:// address");
    return e;
}

static enum err number(struct model_reader *r, uint32_t v, int64_t min, int64_t max, int64_t *out)
{
    if (json_i64(r->doc, v, out) && *out >= min && *out <= max)
        return ERR_OK;
    return model_read_bad(r, v, "expected a whole number from %lld to %lld", (long long)min,
                          (long long)max);
}

static enum err tokens(struct model_reader *r, uint32_t v, uint32_t *out)
{
    int64_t n;
    enum err e = number(r, v, 0, TOKENS_MAX, &n);
    if (!e)
        *out = (uint32_t)n;
    return e;
}

/* One of the words. */
static enum err word(struct model_reader *r, uint32_t v, const struct word *list, uint32_t *out)
{
    for (const struct word *w = list; w->name; w++)
        if (json_string_is(r->doc, v, str_c(w->name))) {
            *out = w->value;
            return ERR_OK;
        }
    struct str raw = json_raw(r->doc, v);
    return model_read_bad(r, v, "%.*s is none of the words for it", (int)(raw.n < 64 ? raw.n : 64),
                          raw.p);
}

/* An array of words as a bit mask. */
static enum err words(struct model_reader *r, uint32_t v, const struct word *list, uint32_t *out)
{
    uint32_t bits = 0, bit = 0;
    enum err e = ERR_OK;
    if (!json_is(r->doc, v, JSON_ARRAY))
        return model_read_bad(r, v, "expected an array");
    for (uint32_t i = json_child(r->doc, v); i != JSON_NONE && !e; i = json_sibling(r->doc, v, i)) {
        e = word(r, i, list, &bit);
        bits |= bit;
    }
    if (!e)
        *out = bits;
    return e;
}

/* "2026-01-31" as its first millisecond, UTC. */
static enum err date(struct model_reader *r, uint32_t v, int64_t *out)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    struct str s = json_raw(r->doc, v);
    uint64_t y = 0, m = 0, d = 0;
    if (s.n == 12 && s.p[0] == '"' && s.p[5] == '-' && s.p[8] == '-' &&
        str_u64(str_make(s.p + 1, 4), 9999, &y) && str_u64(str_make(s.p + 6, 2), 12, &m) &&
        str_u64(str_make(s.p + 9, 2), 31, &d) && y >= 2000 && m && d) {
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        if (d <= (uint64_t)(before[m] - before[m - 1]) + (leap && m == 2)) {
            uint64_t p = y - 1;
            int64_t days = (int64_t)(p * 365 + p / 4 - p / 100 + p / 400 + before[m - 1] +
                                     (leap && m > 2) + d - 1) -
                           719162; /* 1970-01-01 */
            *out = days * MS_A_DAY;
            return ERR_OK;
        }
    }
    return model_read_bad(r, v, "expected a date like \"2026-01-31\"");
}

/* ---- members ----------------------------------------------------------------------- */

struct member {
    const char *name;
    enum err (*read)(struct model_reader *r, uint32_t v, void *into);
};

/* Every member of obj by its row in the table; a row without a function is read elsewhere. */
static enum err members(struct model_reader *r, uint32_t obj, const struct member *table,
                        void *into)
{
    enum err e = ERR_OK;
    if (!json_is(r->doc, obj, JSON_OBJECT))
        return model_read_bad(r, obj, "expected an object");
    for (uint32_t k = json_child(r->doc, obj); k != JSON_NONE && !e;
         k = json_sibling(r->doc, obj, k + 1)) {
        const struct member *m = table;
        while (m->name && !json_string_is(r->doc, k, str_c(m->name)))
            m++;
        if (!m->name) {
            struct str raw = json_raw(r->doc, k);
            return model_read_bad(r, k, "there is no member %.*s", (int)(raw.n < 64 ? raw.n : 64),
                                  raw.p);
        }
        if (json_count(r->doc, obj, str_c(m->name)) > 1)
            return model_read_bad(r, k, "%s is there twice", m->name);
        size_t mark = model_read_enter(r, "%s%s", r->path_n ? "." : "", m->name);
        e = m->read ? m->read(r, k + 1, into) : ERR_OK;
        model_read_leave(r, mark);
    }
    return e;
}

static enum err must_have(struct model_reader *r, uint32_t obj, const char *name)
{
    if (json_get(r->doc, obj, str_c(name)) != JSON_NONE)
        return ERR_OK;
    return model_read_bad(r, obj, "\"%s\" is missing", name);
}

enum err model_read_top(struct model_reader *r, uint32_t *providers, uint32_t *models)
{
    static const struct member table[] = {
        {"about", NULL}, {"providers", NULL}, {"models", NULL}, {NULL, NULL}};
    uint32_t root = json_root(r->doc);
    enum err e = members(r, root, table, NULL);
    *providers = json_get(r->doc, root, STR("providers"));
    *models = json_get(r->doc, root, STR("models"));
    if (!e && *providers != JSON_NONE && !json_is(r->doc, *providers, JSON_OBJECT))
        e = model_read_bad(r, *providers, "\"providers\" must be an object");
    if (!e && !json_is(r->doc, *models, JSON_ARRAY))
        e = model_read_bad(r, *models, "\"models\" must be there and be an array");
    return e;
}

static enum err provider_models_of(struct model_reader *r, uint32_t v, void *into)
{
    return text(r, v, NAME_MAX_BYTES, &((struct model_provider *)into)->models_of);
}

static enum err provider_deployments(struct model_reader *r, uint32_t v, void *into)
{
    if (json_bool(r->doc, v, &((struct model_provider *)into)->deployments))
        return ERR_OK;
    return model_read_bad(r, v, "expected true or false");
}

enum err model_read_provider(struct model_reader *r, uint32_t key, struct model_provider *out)
{
    static const struct member table[] = {
        {"models_of", provider_models_of}, {"deployments", provider_deployments}, {NULL, NULL}};
    *out = (struct model_provider){0};
    enum err e = text(r, key, NAME_MAX_BYTES, &out->name);
    if (e)
        return e;
    size_t mark = model_read_enter(r, "providers.%.*s", STR_FMT(out->name));
    e = members(r, key + 1, table, out);
    model_read_leave(r, mark);
    return e;
}

enum err model_read_names(struct model_reader *r, uint32_t obj, struct str *provider,
                          struct str **patterns, unsigned *n)
{
    uint32_t list = json_get(r->doc, obj, STR("models"));
    enum err e = json_is(r->doc, obj, JSON_OBJECT) ? must_have(r, obj, "provider")
                                                   : model_read_bad(r, obj, "expected an object");
    if (!e)
        e = must_have(r, obj, "models");
    size_t mark = model_read_enter(r, ".provider");
    if (!e)
        e = text(r, json_get(r->doc, obj, STR("provider")), NAME_MAX_BYTES, provider);
    if (!e && r->kinds && !provider_find(*provider))
        e = model_read_bad(r, json_get(r->doc, obj, STR("provider")), "there is no provider %.*s",
                           STR_FMT(*provider));
    model_read_leave(r, mark);
    mark = model_read_enter(r, ".models");
    unsigned size = json_size(r->doc, list);
    *n = 0;
    *patterns = NULL;
    if (!e && (!json_is(r->doc, list, JSON_ARRAY) || !size || size > PATTERNS_MAX))
        e = model_read_bad(r, list, "expected an array of 1 to %d names", PATTERNS_MAX);
    if (!e && !(*patterns = arena_alloc(r->arena, size * sizeof **patterns)))
        e = ERR_NOMEM;
    for (uint32_t i = e ? JSON_NONE : json_child(r->doc, list); i != JSON_NONE && !e;
         i = json_sibling(r->doc, list, i))
        e = text(r, i, NAME_MAX_BYTES, &(*patterns)[(*n)++]);
    model_read_leave(r, mark);
    return e;
}

/* ---- prices ------------------------------------------------------------------------ */

static enum err price_from(struct model_reader *r, uint32_t v, void *into)
{
    return date(r, v, &((struct price *)into)->from_ms);
}

static enum err price_above(struct model_reader *r, uint32_t v, void *into)
{
    return tokens(r, v, &((struct price *)into)->above_tokens);
}

static enum err price_source(struct model_reader *r, uint32_t v, void *into)
{
    return source(r, v, &((struct price *)into)->source);
}

static enum err rate(struct model_reader *r, uint32_t v, int64_t *out)
{
    struct str s = STR_NULL;
    if (json_string(r->doc, v, r->arena, &s) && price_parse(s, out))
        return ERR_OK;
    return model_read_bad(r, v, "expected USD a million as a string like \"2.50\"");
}

#define X(name, input)                                                                             \
    static enum err rate_##name(struct model_reader *r, uint32_t v, void *into)                    \
    {                                                                                              \
        return rate(r, v, &((struct price *)into)->rates.name);                                    \
    }
USAGE_COUNTERS(X)
#undef X

static enum err price_rates(struct model_reader *r, uint32_t v, void *into)
{
    static const struct member table[] = {
#define X(name, input) {#name, rate_##name},
        USAGE_COUNTERS(X)
#undef X
            {NULL, NULL}};
    return members(r, v, table, into);
}

static enum err one_price(struct model_reader *r, uint32_t v, struct price *p)
{
    static const struct member table[] = {{"from", price_from},
                                          {"above_input_tokens", price_above},
                                          {"usd_per_million", price_rates},
                                          {"source", price_source},
                                          {NULL, NULL}};
#define X(name, input) p->rates.name = PRICE_UNKNOWN;
    USAGE_COUNTERS(X)
#undef X
    enum err e = members(r, v, table, p);
    e = e ? e : must_have(r, v, "from");
    e = e ? e : must_have(r, v, "usd_per_million");
    return e || r->lenient ? e : must_have(r, v, "source");
}

static enum err entry_prices(struct model_reader *r, uint32_t v, void *into)
{
    struct catalogue_entry *entry = into;
    unsigned n = json_size(r->doc, v), at = 0;
    enum err e = ERR_OK;
    if (!json_is(r->doc, v, JSON_ARRAY) || n > PRICES_MAX)
        return model_read_bad(r, v, "expected an array of at most %d prices", PRICES_MAX);
    struct price *rows = arena_zalloc(r->arena, (n + 1) * sizeof *rows);
    if (!rows)
        return ERR_NOMEM;
    for (uint32_t i = json_child(r->doc, v); i != JSON_NONE && !e;
         i = json_sibling(r->doc, v, i), at++) {
        size_t mark = model_read_enter(r, "[%u]", at);
        e = one_price(r, i, &rows[at]);
        if (!e && at &&
            (rows[at].from_ms < rows[at - 1].from_ms ||
             (rows[at].from_ms == rows[at - 1].from_ms &&
              rows[at].above_tokens <= rows[at - 1].above_tokens)))
            e = model_read_bad(r, i, "prices must be in order of date, then of above_input_tokens");
        price_seal(&rows[at], entry->provider, entry->pattern);
        model_read_leave(r, mark);
    }
    entry->prices = (struct price_list){rows, n};
    return e;
}

/* ---- entries ----------------------------------------------------------------------- */

static enum err entry_context(struct model_reader *r, uint32_t v, void *into)
{
    return tokens(r, v, &((struct catalogue_entry *)into)->caps.context_tokens);
}

static enum err entry_output(struct model_reader *r, uint32_t v, void *into)
{
    return tokens(r, v, &((struct catalogue_entry *)into)->caps.output_tokens);
}

static enum err entry_can(struct model_reader *r, uint32_t v, void *into)
{
    struct model_caps *c = &((struct catalogue_entry *)into)->caps;
    uint32_t bits = 0;
    enum err e = words(r, v, abilities, &bits);
    c->abilities |= bits;
    c->known_abilities |= bits;
    return e;
}

static enum err entry_cannot(struct model_reader *r, uint32_t v, void *into)
{
    struct model_caps *c = &((struct catalogue_entry *)into)->caps;
    uint32_t bits = 0;
    enum err e = words(r, v, abilities, &bits);
    c->abilities &= ~bits;
    c->known_abilities |= bits;
    return e;
}

static enum err entry_rules(struct model_reader *r, uint32_t v, void *into)
{
    return words(r, v, rules, &((struct catalogue_entry *)into)->caps.rules);
}

static enum err entry_percent(struct model_reader *r, uint32_t v, void *into)
{
    int64_t n;
    enum err e = number(r, v, 10, 250, &n);
    if (!e)
        ((struct catalogue_entry *)into)->caps.estimate_percent = (uint8_t)n;
    return e;
}

static enum err entry_source(struct model_reader *r, uint32_t v, void *into)
{
    return source(r, v, &((struct catalogue_entry *)into)->source);
}

static enum err effort(struct model_reader *r, uint32_t v, uint8_t *out)
{
    struct str s = STR_NULL;
    enum effort found = EFFORT_UNSET;
    if (json_string(r->doc, v, r->arena, &s))
        found = effort_find(s);
    if (found == EFFORT_UNSET)
        return model_read_bad(r, v, "expected none, minimal, low, medium, high, xhigh or max");
    *out = (uint8_t)found;
    return ERR_OK;
}

static enum err thinking_style(struct model_reader *r, uint32_t v, void *into)
{
    uint32_t style = THINK_UNKNOWN;
    enum err e = word(r, v, styles, &style);
    ((struct model_caps *)into)->thinking = (uint8_t)style;
    return e;
}

static enum err thinking_efforts(struct model_reader *r, uint32_t v, void *into)
{
    struct model_caps *c = into;
    uint8_t step = 0;
    enum err e = ERR_OK;
    if (!json_is(r->doc, v, JSON_ARRAY))
        return model_read_bad(r, v, "expected an array");
    c->efforts = 0;
    for (uint32_t i = json_child(r->doc, v); i != JSON_NONE && !e; i = json_sibling(r->doc, v, i)) {
        e = effort(r, i, &step);
        c->efforts |= (uint8_t)EFFORT_BIT(step);
    }
    return e;
}

static enum err thinking_default(struct model_reader *r, uint32_t v, void *into)
{
    return effort(r, v, &((struct model_caps *)into)->effort_default);
}

static enum err thinking_min(struct model_reader *r, uint32_t v, void *into)
{
    return tokens(r, v, &((struct model_caps *)into)->budget_min);
}

static enum err thinking_max(struct model_reader *r, uint32_t v, void *into)
{
    return tokens(r, v, &((struct model_caps *)into)->budget_max);
}

static enum err entry_thinking(struct model_reader *r, uint32_t v, void *into)
{
    static const struct member table[] = {
        {"style", thinking_style},    {"efforts", thinking_efforts}, {"default", thinking_default},
        {"budget_min", thinking_min}, {"budget_max", thinking_max},  {NULL, NULL}};
    struct model_caps *c = &((struct catalogue_entry *)into)->caps;
    c->efforts = c->effort_default = 0;
    c->budget_min = c->budget_max = 0;
    enum err e = members(r, v, table, c);
    e = e ? e : must_have(r, v, "style");
    if (e || c->thinking == THINK_UNKNOWN)
        return e;
    c->known_abilities |= CAP_THINKING;
    c->abilities = c->thinking == THINK_NONE ? c->abilities & ~(uint32_t)CAP_THINKING
                                             : c->abilities | CAP_THINKING;
    if (c->budget_max && c->budget_min > c->budget_max)
        e = model_read_bad(r, v, "budget_min is above budget_max");
    return e;
}

enum err model_read_entry(struct model_reader *r, uint32_t obj, struct catalogue_entry *e)
{
    static const struct member table[] = {{"provider", NULL},
                                          {"models", NULL},
                                          {"note", NULL},
                                          {"context_tokens", entry_context},
                                          {"output_tokens", entry_output},
                                          {"can", entry_can},
                                          {"cannot", entry_cannot},
                                          {"thinking", entry_thinking},
                                          {"rules", entry_rules},
                                          {"estimate_percent", entry_percent},
                                          {"prices", entry_prices},
                                          {"source", entry_source},
                                          {NULL, NULL}};
    return members(r, obj, table, e);
}
