/* override: what a channel's operator wants to be said, put over what is said. */
#include "llm/override.h"

#include "core/json_read.h"
#include "core/json_write.h"

/* Fields that are Lyss's own business: framing, routing and credentials. */
static const char *const own_fields[] = {
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
    "trailer",
    "keep-alive",
    "expect",
    "proxy-connection",
    "proxy-authorization",
    "cookie",
    "content-type",
    "accept-encoding",
    "http2-settings",
};

static const char *const own_params[] = {"model", "stream", "stream_options"};

/* ---- reading ------------------------------------------------------------------- */

static enum err check_param(const struct override *o, struct err_info *info)
{
    for (size_t i = 0; i < sizeof own_params / sizeof *own_params; i++)
        if (str_eq(o->name, str_c(own_params[i])))
            return err_set(info, ERR_INVALID, "%s is set by Lyss itself", own_params[i]);
    return ERR_OK;
}

static enum err check_field(const struct override *o, struct err_info *info)
{
    bool good = o->name.n > 0 && o->name.n <= 128;
    for (size_t i = 0; i < o->name.n; i++) {
        char l = str_lower(o->name.p[i]);
        good &= (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '-' || l == '_';
    }
    if (!good)
        return err_set(info, ERR_INVALID, "a header's name has letters, digits, '-' and '_'");
    for (size_t i = 0; i < sizeof own_fields / sizeof *own_fields; i++)
        if (str_ieq(o->name, str_c(own_fields[i])))
            return err_set(info, ERR_INVALID, "%s is set by Lyss itself", own_fields[i]);
    for (size_t i = 0; i < o->value.n; i++)
        if (o->value.p[i] < ' ' || o->value.p[i] >= 0x7F)
            return err_set(info, ERR_INVALID, "the value of %.*s is not printable ASCII",
                           STR_FMT(o->name));
    return ERR_OK;
}

/* One member into o. */
static enum err take(struct override *o, const struct json_doc *d, uint32_t key, bool headers,
                     struct arena *a, struct err_info *info)
{
    struct str text;
    if (!json_string(d, key, a, &text))
        return ERR_NOMEM;
    o->name = arena_dup(a, text);
    if (headers && !json_is(d, key + 1, JSON_STRING))
        return err_set(info, ERR_INVALID, "each value is a string");
    if (headers && !json_string(d, key + 1, a, &text))
        return ERR_NOMEM;
    if (!headers)
        text = json_is(d, key + 1, JSON_NULL) ? STR_NULL : json_raw(d, key + 1);
    o->value = arena_dup(a, text);
    return headers ? check_field(o, info) : check_param(o, info);
}

static enum err read_all(struct overrides *out, struct str json, bool headers, struct arena *a,
                         struct err_info *info)
{
    struct json_doc d;
    *out = (struct overrides){0};
    if (!json.n)
        return ERR_OK;
    enum err e = json_parse(&d, json, info);
    if (e)
        return e;
    uint32_t root = json_root(&d);
    if (!json_is(&d, root, JSON_OBJECT) || json_size(&d, root) > OVERRIDES_MAX)
        return err_set(info, ERR_INVALID, "a JSON object of at most %d members is wanted",
                       OVERRIDES_MAX);
    out->o = arena_zalloc(a, (json_size(&d, root) + 1) * sizeof *out->o);
    if (!out->o)
        return ERR_NOMEM;
    for (uint32_t k = json_child(&d, root); k != JSON_NONE; k = json_sibling(&d, root, k + 1)) {
        struct override *o = &out->o[out->n];
        e = take(o, &d, k, headers, a, info);
        for (unsigned i = 0; !e && i < out->n; i++)
            if (headers ? str_ieq(out->o[i].name, o->name) : str_eq(out->o[i].name, o->name))
                e = err_set(info, ERR_INVALID, "%.*s is given twice",
                            STR_FMT(str_make(o->name.p, o->name.n < 64 ? o->name.n : 64)));
        if (e)
            return e;
        out->n++;
    }
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err overrides_read_params(struct overrides *out, struct str json, struct arena *a,
                               struct err_info *info)
{
    return read_all(out, json, false, a, info);
}

enum err overrides_read_headers(struct overrides *out, struct str json, struct arena *a,
                                struct err_info *info)
{
    return read_all(out, json, true, a, info);
}

/* ---- bodies ---------------------------------------------------------------------- */

static bool is_overridden(const struct overrides *p, const struct json_doc *d, uint32_t key)
{
    for (unsigned i = 0; i < p->n; i++)
        if (json_string_is(d, key, p->o[i].name))
            return true;
    return false;
}

static void begin_member(struct buf *out)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_char(out, ',');
}

enum err overrides_put_body(const struct overrides *p, struct str body, struct edit *e, unsigned *n,
                            struct buf *out)
{
    struct json_doc d;
    enum err err = json_parse_outline(&d, body, edits_length(body, e, *n), NULL);
    uint32_t root = json_root(&d);
    unsigned next = 0, kept = 0;
    if (err || !json_is(&d, root, JSON_OBJECT))
        return err ? err : ERR_BAD_JSON;
    buf_char(out, '{');
    for (uint32_t k = json_child(&d, root); k != JSON_NONE; k = json_sibling(&d, root, k + 1)) {
        if (is_overridden(p, &d, k))
            continue;
        begin_member(out);
        buf_str(out, json_raw(&d, k));
        buf_char(out, ':');
        while (next < *n && e[next].off < d.e[k + 1].off)
            next++;
        for (; next < *n && e[next].off < d.e[k + 1].end; next++) {
            e[kept] = e[next];
            e[kept++].off += (uint32_t)out->n - d.e[k + 1].off;
        }
        buf_str(out, json_raw(&d, k + 1));
    }
    *n = kept;
    for (unsigned i = 0; i < p->n; i++) {
        if (!p->o[i].value.n)
            continue;
        begin_member(out);
        buf_char(out, '"');
        json_escape(out, p->o[i].name);
        buf_lit(out, "\":");
        buf_str(out, p->o[i].value);
    }
    buf_char(out, '}');
    return buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

/* ---- heads ------------------------------------------------------------------------ */

static bool named(const struct overrides *h, struct str line)
{
    ptrdiff_t colon = str_chr(line, ':');
    struct str name = str_make(line.p, colon < 0 ? 0 : (size_t)colon);
    for (unsigned i = 0; i < h->n; i++)
        if (str_ieq(h->o[i].name, name))
            return true;
    return false;
}

void overrides_put_lines(const struct overrides *h, struct buf *head, size_t from)
{
    if (!h->n || buf_failed(head) || !head->p)
        return;
    size_t to = from;
    for (size_t at = from; at < head->n;) {
        const char *nl = memchr(head->p + at, '\n', head->n - at);
        size_t n = nl ? (size_t)(nl - head->p) + 1 - at : head->n - at;
        if (!named(h, str_make(head->p + at, n))) {
            memmove(head->p + to, head->p + at, n);
            to += n;
        }
        at += n;
    }
    head->n = to;
    for (unsigned i = 0; i < h->n; i++) {
        buf_str(head, h->o[i].name);
        buf_lit(head, ": ");
        buf_str(head, h->o[i].value);
        buf_lit(head, "\r\n");
    }
}
