/* neutral: making the neutral form, and what every codec does to it before writing. */
#include "llm/neutral.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/map.h"

#define CALLS_MAX  65536
#define LONG_BYTES 512 /* of a text, from which on it is left as it is escaped */

/* ---- lists: each new member goes to the end. The first member knows the last one, so that a body
 * of very many members costs no more than its length. ---- */

#define APPEND(list, x)                                                                            \
    do {                                                                                           \
        if (!*(list)) {                                                                            \
            *(list) = (x);                                                                         \
        } else {                                                                                   \
            __typeof__(x) end_ = (*(list))->last ? (*(list))->last : *(list);                      \
            while (end_->next)                                                                     \
                end_ = end_->next;                                                                 \
            end_->next = (x);                                                                      \
        }                                                                                          \
        (*(list))->last = (x);                                                                     \
    } while (0)

struct part *neutral_part(struct arena *a, enum part_type type, struct part **list)
{
    struct part *p = arena_zalloc(a, sizeof *p);
    if (!p)
        return NULL;
    p->type = (uint8_t)type;
    APPEND(list, p);
    return p;
}

struct turn *neutral_turn(struct arena *a, enum role role, struct turn **list)
{
    struct turn *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->role = (uint8_t)role;
    APPEND(list, t);
    return t;
}

struct tool *neutral_tool(struct arena *a, struct tool **list)
{
    struct tool *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->strict = -1;
    APPEND(list, t);
    return t;
}

void neutral_text(struct arena *a, struct text_list **list, struct str s)
{
    struct text_list *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return;
    t->s = s;
    APPEND(list, t);
}

void neutral_extra(struct arena *a, struct extra **list, struct str name, struct str raw)
{
    struct extra *x = arena_zalloc(a, sizeof *x);
    if (!x)
        return;
    x->name = name;
    x->raw = raw;
    x->next = *list;
    *list = x;
}

void neutral_request_init(struct neutral_request *r, enum llm_op op)
{
    *r = (struct neutral_request){.op = op};
    r->parallel = r->logprobs = r->schema_strict = r->thinking_visible = r->store = -1;
    r->thinking_budget = -1;
}

/* ---- shaping ---- */

void neutral_merge(struct neutral_request *r)
{
    for (struct turn *t = r->turns; t;) {
        struct turn *n = t->next;
        if (!n || n->role != t->role) {
            t = n;
            continue;
        }
        if (!t->parts) {
            t->parts = n->parts;
        } else if (n->parts) {
            struct part *end = t->parts->last ? t->parts->last : t->parts;
            while (end->next)
                end = end->next;
            end->next = n->parts;
            t->parts->last = n->parts->last ? n->parts->last : n->parts;
        }
        t->next = n->next;
    }
    if (r->turns)
        r->turns->last = NULL; /* it may have been joined to another */
}

void neutral_link(struct neutral_request *r)
{
    struct map names; /* id of a call → the call */
    map_init(&names, CALLS_MAX);
    for (struct turn *t = r->turns; t; t = t->next)
        for (struct part *p = t->parts; p; p = p->next) {
            if (p->type == PART_TOOL_USE && map_put(&names, p->id, p))
                break; /* full, or no memory: the rest stays without names */
            const struct part *call =
                p->type == PART_TOOL_RESULT && !p->name.n ? map_get(&names, p->id) : NULL;
            if (call)
                p->name = call->name;
        }
    map_release(&names);
}

bool neutral_is_long(const struct json_doc *d, uint32_t i)
{
    return json_is(d, i, JSON_STRING) && d->e[i].flags & JSON_ESCAPED &&
           d->e[i].end - d->e[i].off >= LONG_BYTES;
}

bool neutral_read_text(struct part *p, const struct json_doc *d, uint32_t i, struct arena *a)
{
    if (!neutral_is_long(d, i))
        return json_string(d, i, a, &p->text);
    p->escaped = json_raw(d, i);
    return true;
}

void neutral_put_text(struct json_writer *w, const struct part *p)
{
    if (p->escaped.n)
        json_put_raw_lent(w, p->escaped);
    else
        json_put_lent(w, p->text);
}

void neutral_plain_part(struct part *p, struct arena *a)
{
    struct json_entry entry;
    struct json_doc d = {.e = &entry, .cap = 1};
    if (!p->escaped.n)
        return;
    if (json_parse_onto(&d, p->escaped, NULL) || !json_string(&d, 0, a, &p->text))
        p->text = STR_NULL; /* the arena has latched: the text was valid once */
    p->escaped = STR_NULL;
}

static void plain_parts(struct part *p, struct arena *a)
{
    for (; p; p = p->next) {
        neutral_plain_part(p, a);
        for (struct part *in = p->parts; in; in = in->next)
            neutral_plain_part(in, a);
    }
}

void neutral_plain(struct neutral_request *r, struct arena *a)
{
    plain_parts(r->system, a);
    for (struct turn *t = r->turns; t; t = t->next)
        plain_parts(t->parts, a);
}

/* On a tape of its own: a reader of events may be at work on the thread's. */
static bool is_object(struct str text, struct arena *a)
{
    struct json_steps *steps = NULL;
    struct json_doc d;
    enum err e = json_steps_new(&steps, text);
    if (!e)
        e = json_step(steps, SIZE_MAX, &d, NULL);
    bool object = !e && json_is(&d, json_root(&d), JSON_OBJECT);
    json_steps_free(&steps);
    if (e == ERR_NOMEM)
        a->failed = true;
    return object;
}

struct str neutral_args_object(struct str args, struct arena *a)
{
    args = str_trim(args);
    if (!args.n)
        return STR("{}");
    if (is_object(args, a))
        return args;
    struct buf b;
    buf_init(&b, args.n * 6 + 64);
    struct json_writer w;
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_string(&w, "arguments", args);
    json_close_object(&w);
    if (buf_failed(&b))
        a->failed = true;
    struct str out = arena_dup(a, buf_view(&b));
    buf_release(&b);
    return out;
}

bool neutral_number(struct str raw, double *out)
{
    char text[64], *end;
    if (!raw.n || raw.n >= sizeof text)
        return false;
    str_copy(text, sizeof text, raw);
    *out = strtod(text, &end);
    return *end == 0;
}

/* ---- receipts ---- */

/* Names of unknown fields are the caller's words, and the receipt becomes a header. */
static bool fits_header(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ',')
            return false;
    return name.n > 0;
}

void receipt_add(struct receipt *r, const char *name)
{
    if (!fits_header(str_c(name)))
        name = "unknown";
    struct str rest = str_make(r->names, r->n), part, s = str_c(name);
    while (r->n && str_split(&rest, ',', &part))
        if (str_eq(part, s))
            return;
    if (r->n + s.n + 2 > sizeof r->names)
        return;
    if (r->n)
        r->names[r->n++] = ',';
    memcpy(r->names + r->n, s.p, s.n);
    r->n += (unsigned)s.n;
    r->names[r->n] = 0;
}
