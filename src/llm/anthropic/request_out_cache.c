/* request_out_cache: marks up to which a prompt is cached: the caller's, of which the last four
 * stay, or ours where the caller has none and the channel wants them: on the last tool, the last
 * block of the system prompt and the last but one of the user's turns, so that each call finds what
 * the one before it has left.
 *
 * https://platform.claude.com/docs/en/build-with-claude/prompt-caching */
#include "llm/anthropic/anthropic.h"

void request_out_mark(struct request_out *o, enum cache_mark mark)
{
    if (mark == CACHE_NONE)
        return;
    if (o->marks_skip) {
        o->marks_skip--;
        return;
    }
    json_key(&o->w, STR("cache_control"));
    json_put_raw(&o->w, mark == CACHE_1H ? STR("{\"type\":\"ephemeral\",\"ttl\":\"1h\"}")
                                         : STR("{\"type\":\"ephemeral\"}"));
}

enum cache_mark request_out_mark_of(const struct request_out *o, const struct part *p)
{
    enum cache_mark mark = (enum cache_mark)p->cache;
    for (const struct part *in = p->parts; in && !mark; in = in->next)
        mark = (enum cache_mark)in->cache;
    if (p == o->mark_system || p == o->mark_turn)
        mark = CACHE_5M;
    return p->type == PART_REASONING ? CACHE_NONE : mark;
}

static unsigned count(const struct request_out *o)
{
    unsigned n = 0;
    for (const struct tool *t = o->r->tools; t; t = t->next)
        n += t->cache && !t->kind.n;
    for (const struct part *p = o->r->system; p; p = p->next)
        n += p->cache && request_out_says(p);
    for (const struct turn *t = o->r->turns; t; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            n += request_out_mark_of(o, p) && request_out_has_part(o, t, p);
    return n;
}

/* The part that is written last: results come before all else in the user's turns. */
static const struct part *last_part(const struct request_out *o, struct turn_group g)
{
    const struct part *result = NULL, *other = NULL;
    for (const struct turn *t = g.from; t != g.end; t = t->next)
        for (const struct part *p = t->parts; p; p = p->next)
            if (request_out_has_part(o, t, p))
                *(p->type == PART_TOOL_RESULT ? &result : &other) = p;
    return other ? other : result;
}

static const struct part *last_but_one(const struct request_out *o)
{
    const struct part *last = NULL, *before = NULL;
    const struct turn *t = request_out_sendable(o, o->r->turns);
    while (t) {
        struct turn_group g = request_out_group(o, t);
        if (t->role == ROLE_USER) {
            before = last;
            last = last_part(o, g);
        }
        t = request_out_sendable(o, g.end);
    }
    return before;
}

static void place(struct request_out *o)
{
    for (const struct tool *t = o->r->tools; t; t = t->next)
        if (!t->kind.n && request_out_has_tool(o, t))
            o->mark_tool = t;
    for (const struct part *p = o->r->system; p; p = p->next)
        if (request_out_says(p))
            o->mark_system = p;
    o->mark_turn = last_but_one(o);
}

void request_out_plan_marks(struct request_out *o)
{
    unsigned n = count(o);
    o->marks_skip = n > ANTHROPIC_MARKS_MAX ? n - ANTHROPIC_MARKS_MAX : 0;
    if (!n && o->t->mark_cache && model_caps_can(o->t->caps, CAP_PROMPT_CACHE))
        place(o);
}
