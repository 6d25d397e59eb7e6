/* gemini/args: arguments of a call that come in pieces.
 *
 * Vertex AI can stream them: {"jsonPath":"$.a.b[0]","stringValue":"…",
 * "willContinue":true}.  Values come in the order of the document, so the text
 * is written straight out: what the last path has open and the next one does
 * not share is closed first.  Paths are kept as digests of their segments. */
#include "llm/gemini/gemini.h"

#include "core/hash.h"

struct path {
    struct str key[GEMINI_PATH_MAX]; /* empty p: an index */
    uint32_t seg[GEMINI_PATH_MAX];
    uint32_t array; /* bits: that segment is an index */
    unsigned n;
};

static bool push(struct path *p, struct str s, bool index)
{
    if (p->n == GEMINI_PATH_MAX - 1)
        return false;
    p->key[p->n] = index ? STR_NULL : s;
    p->seg[p->n] = hash_crc32c(index ? 1 : 2, s.p, s.n);
    if (index)
        p->array |= 1u << p->n;
    p->n++;
    return true;
}

/* What is between the quotes of ['…'], its escapes undone. */
static bool quoted(struct str s, struct arena *a, struct str *name)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    if (!p || s.n < 2 || (s.p[0] != '\'' && s.p[0] != '"') || s.p[s.n - 1] != s.p[0])
        return false;
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] == '\\' && i + 2 < s.n)
            i++;
        p[n++] = s.p[i];
    }
    *name = str_make(p, n);
    return true;
}

/* Where a bracketed segment ends: at the ']' outside of quotes. -1: nowhere. */
static ptrdiff_t bracket_end(struct str s)
{
    char quote = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (quote && c == '\\')
            i++;
        else if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        else if (c == ']')
            return (ptrdiff_t)i;
    }
    return -1;
}

/* RFC 9535's normalized paths and their shorthand: $.name, $['name'], $[0]. */
static bool parse_path(struct str s, struct arena *a, struct path *p)
{
    p->n = 0;
    p->array = 0;
    if (!s.n || s.p[0] != '$')
        return false;
    for (s = str_from(s, 1); s.n;) {
        struct str name;
        size_t end = 0;
        uint64_t index;
        if (s.p[0] == '.') {
            s = str_from(s, 1);
            while (end < s.n && s.p[end] != '.' && s.p[end] != '[')
                end++;
            if (!end || !push(p, str_make(s.p, end), false))
                return false;
            s = str_from(s, end);
            continue;
        }
        s = str_from(s, 1);
        ptrdiff_t close = bracket_end(s);
        if (close < 1)
            return false;
        struct str in = str_make(s.p, (size_t)close);
        bool number = str_u64(in, UINT32_MAX, &index);
        if (!number && !quoted(in, a, &name))
            return false;
        if (!push(p, number ? in : name, number))
            return false;
        s = str_from(s, (size_t)close + 1);
    }
    return p->n > 0 && !(p->array & 1);
}

static uint32_t bit(unsigned container)
{
    return 1u << container;
}

static void open_container(struct gemini_args *g, uint32_t seg, bool array, struct buf *out)
{
    g->seg[g->depth] = seg;
    g->filled &= ~bit(g->depth);
    g->array = array ? g->array | bit(g->depth) : g->array & ~bit(g->depth);
    g->depth++;
    buf_char(out, array ? '[' : '{');
}

static void close_to(struct gemini_args *g, unsigned depth, struct buf *out)
{
    if (g->in_string)
        buf_char(out, '"');
    g->in_string = false;
    while (g->depth > depth) {
        g->depth--;
        buf_char(out, g->array & bit(g->depth) ? ']' : '}');
    }
}

static uint32_t path_digest(const struct path *p)
{
    return hash_crc32c(p->array, p->seg, p->n * sizeof *p->seg);
}

/* Opens and closes containers until the last segment's own is the innermost, and names the
 * member. Container i + 1 is entered by segment i and is what segment i + 1 wants. */
static void go_to(struct gemini_args *g, const struct path *p, struct buf *out)
{
    unsigned same = 1;
    if (!g->depth)
        open_container(g, 0, false, out);
    while (same < g->depth && same < p->n && g->seg[same] == p->seg[same - 1] &&
           !(g->array & bit(same)) == !(p->array & bit(same)))
        same++;
    close_to(g, same, out);
    for (unsigned i = same - 1; i < p->n; i++) {
        struct json_writer w;
        if (g->filled & bit(g->depth - 1u))
            buf_char(out, ',');
        g->filled |= bit(g->depth - 1u);
        if (!(g->array & bit(g->depth - 1u))) {
            json_writer_init(&w, out);
            json_put_string(&w, p->key[i]);
            buf_char(out, ':');
        }
        if (i + 1 < p->n)
            open_container(g, p->seg[i], p->array & bit(i + 1), out);
    }
}

static bool add_one(struct gemini_args *g, const struct json_doc *d, uint32_t at, struct arena *a,
                    struct buf *out)
{
    static const struct str plain[] = {STR("numberValue"), STR("boolValue")};
    struct path p;
    struct str s;
    bool more = false;
    if (!json_string(d, json_get(d, at, STR("jsonPath")), a, &s) || !parse_path(s, a, &p))
        return false;
    json_bool(d, json_get(d, at, STR("willContinue")), &more);
    uint32_t text = json_get(d, at, STR("stringValue"));
    if (json_string(d, text, a, &s)) {
        uint32_t leaf = path_digest(&p);
        if (!g->in_string || g->leaf != leaf) {
            go_to(g, &p, out);
            buf_char(out, '"');
            g->in_string = true;
            g->leaf = leaf;
        }
        json_escape(out, s);
        if (!more) {
            buf_char(out, '"');
            g->in_string = false;
        }
        return true;
    }
    for (int i = 0; i < 2; i++) {
        uint32_t v = json_get(d, at, plain[i]);
        if (v != JSON_NONE && json_type(d, v) <= JSON_NUMBER) {
            go_to(g, &p, out);
            buf_str(out, json_raw(d, v));
            return true;
        }
    }
    if (json_get(d, at, STR("nullValue")) != JSON_NONE) {
        go_to(g, &p, out);
        buf_lit(out, "null");
    }
    return true;
}

bool gemini_args_add(struct gemini_args *g, const struct json_doc *d, uint32_t list,
                     struct arena *a, struct buf *out)
{
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i))
        if (!add_one(g, d, i, a, out))
            return false;
    return true;
}

void gemini_args_end(struct gemini_args *g, struct buf *out)
{
    close_to(g, 0, out);
}
