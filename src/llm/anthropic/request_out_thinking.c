/* request_out_thinking: how a wish to think (an effort, a budget, "as you like") becomes what a
 * model of its generation takes, and what must give way to it.
 *
 * https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking and
 * …/adaptive-thinking. */
#include "llm/anthropic/anthropic.h"

#include <math.h>

/* ---- the limit of the answer ---- */

static void plan_limit(struct request_out *o)
{
    uint32_t most = o->t->caps->output_tokens;
    double v;
    if (!o->r->max_tokens.n) {
        o->max_tokens = most                   ? most
                        : o->t->reserve_output ? o->t->reserve_output
                                               : ANTHROPIC_MAX_TOKENS_ELSE;
        return;
    }
    if (!neutral_number(o->r->max_tokens, &v) || v < 1 || v != floor(v)) {
        request_out_refuse(o, F_MAX_TOKENS, "%s must be a whole number of at least 1",
                           request_out_field(o, F_MAX_TOKENS));
        return;
    }
    /* More than the model can give is refused there, and means nothing. */
    if (most && v > most)
        v = most;
    o->max_tokens = v > INT32_MAX ? INT32_MAX : (uint32_t)v;
}

/* The budget must leave room for an answer within max_tokens. False: there is no room to think. */
static bool fit_budget(struct request_out *o)
{
    uint32_t most = o->t->caps->output_tokens;
    if (o->budget < o->max_tokens)
        return true;
    if (!o->r->max_tokens.n) {
        o->max_tokens = o->budget + ANTHROPIC_MAX_TOKENS_ELSE;
    } else if (o->max_tokens / 2 >= ANTHROPIC_BUDGET_MIN) {
        o->budget = o->max_tokens / 2;
    } else {
        o->budget = ANTHROPIC_BUDGET_MIN;
        o->max_tokens += ANTHROPIC_BUDGET_MIN;
    }
    if (most && o->max_tokens > most)
        o->max_tokens = most;
    if (o->budget >= o->max_tokens)
        o->budget = o->max_tokens / 2;
    return o->budget >= ANTHROPIC_BUDGET_MIN;
}

/* ---- what is wanted, and what the model can do ---- */

static bool wants_off(const struct neutral_request *r)
{
    return r->effort == EFFORT_NONE || r->thinking_budget == 0;
}

static bool wants_on(const struct neutral_request *r)
{
    return !wants_off(r) &&
           (r->effort != EFFORT_UNSET || r->thinking_budget > 0 || r->thinking_dynamic);
}

static void plan_budget(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    enum effort e = r->effort == EFFORT_UNSET ? EFFORT_MEDIUM : (enum effort)r->effort;
    uint64_t want = r->thinking_budget > 0 ? (uint64_t)r->thinking_budget : effort_budget(e);
    o->thinking = THINKING_ENABLED;
    o->budget = model_caps_budget(o->t->caps, want);
    if (o->budget < ANTHROPIC_BUDGET_MIN)
        o->budget = ANTHROPIC_BUDGET_MIN;
    if (o->budget > INT32_MAX / 2)
        o->budget = INT32_MAX / 2;
    if (!o->count && !fit_budget(o)) {
        o->thinking = THINKING_OFF;
        request_out_drop(o, F_THINKING);
    }
}

static void plan_adaptive(struct request_out *o)
{
    const struct neutral_request *r = o->r;
    enum effort e = (enum effort)r->effort;
    if (e == EFFORT_UNSET && r->thinking_budget > 0)
        e = effort_of_budget((uint64_t)r->thinking_budget);
    e = model_caps_effort(o->t->caps, e);
    o->thinking = THINKING_ADAPTIVE;
    o->effort = e == EFFORT_MINIMAL || e == EFFORT_NONE ? EFFORT_LOW : e;
}

static void plan_on(struct request_out *o)
{
    switch (o->t->caps->thinking) {
    case THINK_NONE:
        request_out_drop(o, F_THINKING);
        return;
    case THINK_BUDGET:
        plan_budget(o);
        return;
    case THINK_TOGGLE: /* takes the budget's place but goes by the effort */
        plan_budget(o);
        o->effort = model_caps_effort(o->t->caps, (enum effort)o->r->effort);
        return;
    case THINK_EITHER:
        if (o->r->thinking_budget > 0) {
            plan_budget(o);
            return;
        }
        break;
    default: /* not in the catalogue: newer than it, more often than not */
        break;
    }
    plan_adaptive(o);
}

static void plan_off(struct request_out *o)
{
    const struct model_caps *caps = o->t->caps;
    if (model_caps_rule(caps, RULE_THINKING_CANNOT_BE_OFF)) {
        request_out_drop(o, F_THINKING);
        o->effort = EFFORT_LOW;
    } else if (caps->thinking != THINK_NONE && caps->thinking != THINK_UNKNOWN) {
        o->thinking = THINKING_OFF;
    }
}

/* ---- what thinking conflicts with ---- */

static bool has_part_of(const struct request_out *o, const struct turn *t, enum part_type type)
{
    for (const struct part *p = t->parts; p; p = p->next)
        if (p->type == type && request_out_has_part(o, t, p))
            return true;
    return false;
}

/* With a budget, the assistant's turn whose tools have just been run must begin with the thinking
 * that led to it. (An adaptive model does not ask for that.) */
static bool lost_thinking(const struct request_out *o)
{
    const struct turn *assistant = NULL, *last = NULL;
    for (const struct turn *t = o->r->turns; t; t = t->next) {
        last = t;
        if (t->role == ROLE_ASSISTANT)
            assistant = t;
    }
    return assistant && last->role == ROLE_USER && has_part_of(o, last, PART_TOOL_RESULT) &&
           !has_part_of(o, assistant, PART_REASONING);
}

static void resolve_conflicts(struct request_out *o)
{
    bool forced = o->choice == CHOICE_REQUIRED || o->choice == CHOICE_NAMED;
    bool on = o->thinking == THINKING_ENABLED || o->thinking == THINKING_ADAPTIVE;
    bool by_itself =
        o->thinking == THINKING_UNSAID && model_caps_rule(o->t->caps, RULE_THINKING_DEFAULT_ON);
    bool lost =
        o->thinking == THINKING_ENABLED && o->t->caps->thinking != THINK_TOGGLE && lost_thinking(o);
    if (!(forced && (on || by_itself)) && !lost)
        return;
    if (on)
        request_out_drop(o, F_THINKING);
    o->thinking = THINKING_OFF;
    o->effort = EFFORT_UNSET;
}

void request_out_plan_thinking(struct request_out *o)
{
    plan_limit(o);
    if (wants_on(o->r))
        plan_on(o);
    else if (wants_off(o->r))
        plan_off(o);
    resolve_conflicts(o);
}

/* ---- writing ---- */

static void put_thinking(struct request_out *o)
{
    static const char *const types[] = {[THINKING_OFF] = "disabled",
                                        [THINKING_ENABLED] = "enabled",
                                        [THINKING_ADAPTIVE] = "adaptive"};
    if (o->thinking == THINKING_UNSAID)
        return;
    json_key(&o->w, STR("thinking"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type", str_c(types[o->thinking]));
    if (o->thinking == THINKING_ENABLED)
        json_field_i64(&o->w, "budget_tokens", o->budget);
    /* Later models leave thoughts out of the answer unless they are asked for. */
    if (o->thinking == THINKING_ADAPTIVE && o->r->thinking_visible >= 0)
        json_field_string(&o->w, "display",
                          o->r->thinking_visible ? STR("summarized") : STR("omitted"));
    json_close_object(&o->w);
}

static void put_format(struct request_out *o)
{
    struct buf closed;
    buf_init(&closed, o->r->schema.n * ANTHROPIC_CLOSED_TIMES + 64);
    anthropic_close_schema(o->r->schema, &closed);
    if (buf_failed(&closed) && !o->err)
        o->err = ERR_NOMEM;
    json_key(&o->w, STR("format"));
    json_open_object(&o->w);
    json_field_string(&o->w, "type", STR("json_schema"));
    json_key(&o->w, STR("schema"));
    json_put_raw(&o->w, buf_view(&closed));
    json_close_object(&o->w);
    buf_release(&closed);
}

void request_out_thinking(struct request_out *o)
{
    put_thinking(o);
    if (o->effort == EFFORT_UNSET && o->schema != SCHEMA_NATIVE)
        return;
    json_key(&o->w, STR("output_config"));
    json_open_object(&o->w);
    if (o->effort != EFFORT_UNSET)
        json_field_string(&o->w, "effort", str_c(effort_name(o->effort)));
    if (o->schema == SCHEMA_NATIVE)
        put_format(o);
    json_close_object(&o->w);
}
