/* neutral: making the neutral form, and what every codec does to it before writing. */
#include "llm/neutral.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/json_write.h"

/* ---- lists: each new member goes to the end ---- */

struct part *neutral_part(struct arena *a, enum part_type type, struct part **list)
{
    struct part *p = arena_zalloc(a, sizeof *p);
    if (!p)
        return NULL;
    p->type = (uint8_t)type;
    while (*list)
        list = &(*list)->next;
    *list = p;
    return p;
}

struct turn *neutral_turn(struct arena *a, enum role role, struct turn **list)
{
    struct turn *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->role = (uint8_t)role;
    while (*list)
        list = &(*list)->next;
    *list = t;
    return t;
}

struct tool *neutral_tool(struct arena *a, struct tool **list)
{
    struct tool *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->strict = -1;
    while (*list)
        list = &(*list)->next;
    *list = t;
    return t;
}

void neutral_text(struct arena *a, struct text_list **list, struct str s)
{
    struct text_list *t = arena_zalloc(a, sizeof *t);
    if (!t)
        return;
    t->s = s;
    while (*list)
        list = &(*list)->next;
    *list = t;
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
        if (!t->next || t->next->role != t->role) {
            t = t->next;
            continue;
        }
        struct part **end = &t->parts;
        while (*end)
            end = &(*end)->next;
        *end = t->next->parts;
        t->next = t->next->next;
    }
}

static struct str name_of_call(const struct neutral_request *r, struct str id)
{
    struct str name = STR_NULL;
    for (const struct turn *t = r->turns; t; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (p->type == PART_TOOL_USE && str_eq(p->id, id))
                name = p->name;
    return name;
}

void neutral_link(struct neutral_request *r)
{
    for (struct turn *t = r->turns; t; t = t->next)
        for (struct part *p = t->parts; p; p = p->next)
            if (p->type == PART_TOOL_RESULT && !p->name.n)
                p->name = name_of_call(r, p->id);
}

/* On a tape of its own: a reader of events may be at work on the thread's. */
static bool is_object(struct str text)
{
    struct json_steps *steps = NULL;
    struct json_doc d;
    bool object = !json_steps_new(&steps, text) && !json_step(steps, SIZE_MAX, &d, NULL) &&
                  json_is(&d, json_root(&d), JSON_OBJECT);
    json_steps_free(&steps);
    return object;
}

struct str neutral_args_object(struct str args, struct arena *a)
{
    args = str_trim(args);
    if (!args.n)
        return STR("{}");
    if (is_object(args))
        return args;
    struct buf b;
    buf_init(&b, args.n * 6 + 64);
    struct json_writer w;
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_field_string(&w, "arguments", args);
    json_close_object(&w);
    struct str out = buf_failed(&b) ? STR_NULL : arena_dup(a, buf_view(&b));
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
