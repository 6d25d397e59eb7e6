/* recall: the table of each worker, and a request's questions to them. */
#include "gateway/memory/recall.h"

#include <stddef.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "gateway/memory/errand.h"
#include "gateway/memory/recall_table.h"
#include "gateway/translate.h"
#include "llm/codec.h"

#define ITEMS_MAX 256  /* questions of one request; a longer history is answered in part */
#define SWEEP_MS  1000 /* what is too old goes at most so much later */

struct recall_shard {
    struct recall_table table;
    struct worker *worker;
    struct deadline sweep;
};

/* ---- the owner's side ---------------------------------------------------------------- */

static void on_sweep(struct deadline *d);

static void sweep(struct recall_shard *s)
{
    struct loop *l = s->worker->loop;
    uint64_t next_ms = recall_table_expire(&s->table, loop_now_ms(l));
    if (next_ms && !deadline_armed(&s->sweep))
        deadline_set(l, &s->sweep, next_ms + SWEEP_MS, on_sweep);
}

static void on_sweep(struct deadline *d)
{
    sweep((struct recall_shard *)((char *)d - offsetof(struct recall_shard, sweep)));
}

struct recall_shard *recall_shard_new(struct worker *w)
{
    struct recall_shard *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->worker = w;
    recall_table_init(&s->table, &w->gateway->recall_budget, w->settings.recall_ms);
    return s;
}

void recall_shard_free(struct recall_shard **sp)
{
    struct recall_shard *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    recall_table_release(&s->table);
    mem_free(s);
}

/* ---- to remember ------------------------------------------------------------------------ */

struct recall_value *recall_make(struct worker *w, struct str bytes)
{
    struct recall_value *v;
    while (!(v = recall_value_new(&w->gateway->recall_budget, bytes)))
        if (bytes.n > RECALL_VALUE_MAX || !recall_table_evict(&w->recall->table))
            return NULL;
    return v;
}

struct put {
    struct errand errand;
    struct recall_key key;
    struct recall_value *value;
    char id[];
};

static struct put *of_put(struct errand *e)
{
    return (struct put *)((char *)e - offsetof(struct put, errand));
}

static void put_there(struct errand *e)
{
    struct put *p = of_put(e);
    struct recall_shard *s = e->owner->recall;
    recall_table_put(&s->table, &p->key, p->value, clock_mono_ms());
    if (!e->owner->gateway->stopped)
        sweep(s);
    errand_return(e);
}

static void put_back(struct errand *e)
{
    mem_free(of_put(e));
}

void recall_put(struct worker *w, const struct recall_key *k, struct recall_value *v)
{
    struct put *p = mem_alloc(sizeof *p + k->id.n);
    if (!p) {
        recall_value_unref(&v);
        return;
    }
    p->key = *k;
    memcpy(p->id, k->id.p, k->id.n);
    p->key.id = str_make(p->id, k->id.n);
    p->value = v;
    if (errand_start(&p->errand, w, errand_owner(w, recall_hash(k)), put_there, put_back))
        put_back(&p->errand);
}

/* ---- to ask ------------------------------------------------------------------------------- */

struct item {
    struct errand errand;
    struct recall_ask *ask;
    struct recall_key key;
    struct turn *turn; /* where a call lacks its thoughts */
    struct recall_value *value;
};

struct recall_ask {
    struct request *request; /* NULL: it has ended */
    unsigned n, out;         /* items, and those that are under way */
    char *ids;               /* theirs */
    struct item items[];
};

static struct item *of_item(struct errand *e)
{
    return (struct item *)((char *)e - offsetof(struct item, errand));
}

static void ask_free(struct recall_ask **ap)
{
    struct recall_ask *a = *ap;
    *ap = NULL;
    for (unsigned i = 0; i < a->n; i++)
        recall_value_unref(&a->items[i].value);
    mem_free(a->ids);
    mem_free(a);
}

static void item_there(struct errand *e)
{
    struct item *it = of_item(e);
    it->value = recall_table_get(&e->owner->recall->table, &it->key, clock_mono_ms());
    errand_return(e);
}

static void item_back(struct errand *e)
{
    struct recall_ask *a = of_item(e)->ask;
    if (--a->out)
        return;
    if (a->request)
        pipeline_run(a->request);
    else
        ask_free(&a);
}

/* Sends all of them. True: all are answered. */
static bool ask_start(struct recall_ask *a)
{
    struct worker *w = a->request->worker;
    a->out = a->n;
    for (unsigned i = 0; i < a->n; i++) {
        struct item *it = &a->items[i];
        struct worker *owner = errand_owner(w, recall_hash(&it->key));
        a->out -= errand_start(&it->errand, w, owner, item_there, item_back);
    }
    return !a->out;
}

void recall_leave(struct request *r)
{
    struct recall_ask *a = r->plan ? r->plan->recall : NULL;
    if (!a)
        return;
    r->plan->recall = NULL;
    a->request = NULL;
    if (!a->out)
        ask_free(&a);
}

/* ---- what is lacking ------------------------------------------------------------------------ */

/* Neighbouring turns of the assistant are one: do they call a tool, and hold no thought? Then the
 * first call, in the turn *in. *t becomes what follows them. */
static const struct part *lacking(struct turn **t, struct turn **in)
{
    const struct part *call = NULL;
    bool thought = false;
    if ((*t)->role != ROLE_ASSISTANT) {
        *t = (*t)->next;
        return NULL;
    }
    for (; *t && (*t)->role == ROLE_ASSISTANT; *t = (*t)->next)
        for (const struct part *p = (*t)->parts; p; p = p->next) {
            thought |= p->type == PART_REASONING;
            if (p->type != PART_TOOL_USE || call)
                continue;
            call = p;
            *in = *t;
        }
    return thought ? NULL : call;
}

/* Does what this channel would be asked need thoughts to come back? */
static bool wants_thoughts(const struct request *r, const struct candidate *c)
{
    const struct model_caps *caps =
        c->entry ? &c->entry->caps
                 : model_caps_find(r->worker->gateway->catalogue, str_c(c->channel->provider->name),
                                   c->upstream.n ? c->upstream : r->plan->model);
    return caps->thinking == THINK_TOGGLE ||
           op_serve((enum llm_op)r->op, c->channel->ops) == OP_MESSAGES;
}

/* Looks at the body no more than it must: only a history with calls can lack thoughts, and only
 * some models want them. */
static bool may_lack(struct request *r)
{
    struct str call = r->op == OP_CHAT ? STR("\"tool_calls\"") : STR("\"function_call\"");
    if ((r->op != OP_CHAT && r->op != OP_RESPONSES) || !(r->plan->body.needs & NEED_TOOLS))
        return false;
    const struct resolved *to = resolve(r);
    for (unsigned i = 0; to->found && i < to->route.n && i < CANDIDATES_MAX; i++)
        if (wants_thoughts(r, &to->route.candidates[i]))
            return str_find(r->plan->body.body, call) >= 0;
    return false;
}

static unsigned count_lacking(const struct request *r)
{
    unsigned n = 0;
    for (struct turn *t = r->plan->neutral->turns, *in; t;)
        n += lacking(&t, &in) != NULL;
    return n < ITEMS_MAX ? n : ITEMS_MAX;
}

/* The response that the body goes on from; empty: none, or not to be read by bytes alone. */
static struct str previous_id(const struct request *r)
{
    const struct openai_request *b = &r->plan->body;
    const struct openai_member *m = &b->at[FIELD_PREVIOUS_RESPONSE_ID];
    if (r->op != OP_RESPONSES || !m->end || m->end - m->value < 3 || b->body.p[m->value] != '"')
        return STR_NULL;
    struct str id = str_make(b->body.p + m->value + 1, m->end - m->value - 2);
    return id.n <= RECALL_ID_MAX && str_chr(id, '\\') < 0 ? id : STR_NULL;
}

/* ---- the phase --------------------------------------------------------------------------------
 */

static void add(struct recall_ask *a, struct request *r, enum recall_kind kind, struct str id,
                struct turn *turn, size_t *at)
{
    if (!id.n || id.n > RECALL_ID_MAX || a->n == ITEMS_MAX)
        return;
    struct item *it = &a->items[a->n++];
    memcpy(a->ids + *at, id.p, id.n);
    it->ask = a;
    it->turn = turn;
    it->key = (struct recall_key){kind, r->tenant_id, str_make(a->ids + *at, id.n)};
    *at += id.n;
}

/* NULL: there is nothing to ask, or no memory; then it goes without. */
static struct recall_ask *ask_new(struct request *r, struct str previous, bool thoughts)
{
    unsigned n = (previous.n > 0) + (thoughts ? count_lacking(r) : 0);
    struct recall_ask *a = n ? mem_zalloc(sizeof *a + n * sizeof *a->items) : NULL;
    size_t at = 0;
    if (!a)
        return NULL;
    a->request = r;
    a->ids = mem_alloc((size_t)n * RECALL_ID_MAX);
    if (!a->ids) {
        mem_free(a);
        return NULL;
    }
    add(a, r, RECALL_RESPONSE, previous, NULL, &at);
    for (struct turn *t = thoughts ? r->plan->neutral->turns : NULL, *in; t && a->n < n;) {
        const struct part *call = lacking(&t, &in);
        if (call)
            add(a, r, RECALL_THOUGHT, call->id, in, &at);
    }
    return a;
}

/* Puts the thoughts before the call that they led to. */
static void bring_back(struct request *r, struct turn *t, struct str bytes)
{
    struct part *thoughts = recall_thoughts(arena_dup(&r->arena, bytes), &r->arena),
                *end = thoughts;
    if (!thoughts)
        return;
    while (end->next)
        end = end->next;
    thoughts->last = t->parts && t->parts->last ? t->parts->last : NULL;
    end->next = t->parts;
    t->parts = thoughts;
}

static void take(struct request *r)
{
    struct recall_ask *a = r->plan->recall;
    struct worker_metrics *m = &r->worker->metrics;
    for (unsigned i = 0; i < a->n; i++) {
        const struct item *it = &a->items[i];
        counter_add(it->value ? &m->recall_hits : &m->recall_misses, 1);
        if (!it->value)
            continue;
        struct str bytes = str_make(it->value->bytes, it->value->n);
        if (it->key.kind == RECALL_THOUGHT) {
            bring_back(r, it->turn, bytes);
        } else {
            memcpy(&r->plan->pin_channel, bytes.p, 8);
            memcpy(&r->plan->pin_credential, bytes.p + 8, 8);
        }
    }
    recall_leave(r);
}

enum step recall_phase(struct request *r)
{
    struct request_plan *p = r->plan;
    if (p->passthrough)
        return STEP_NEXT;
    if (p->recall) {
        take(r);
        return STEP_NEXT;
    }
    struct str previous = p->body.needs & NEED_PINNED ? previous_id(r) : STR_NULL;
    bool thoughts = may_lack(r) && !translate_read(r, NULL);
    p->lacks_thoughts = thoughts && count_lacking(r);
    bool any = atomic_load_explicit(&r->worker->gateway->recall_budget.used_bytes,
                                    memory_order_relaxed) > 0;
    p->recall = any ? ask_new(r, previous, p->lacks_thoughts) : NULL;
    if (!p->recall)
        return STEP_NEXT;
    if (!ask_start(p->recall)) {
        r->phase = PHASE_WAIT;
        return STEP_WAIT;
    }
    take(r);
    return STEP_NEXT;
}

bool recall_rewrites(const struct request *r, const struct choice *c)
{
    return r->plan->lacks_thoughts && r->op == OP_CHAT && r->call_op == OP_CHAT &&
           c->entry->caps.thinking == THINK_TOGGLE && r->plan->neutral->effort != EFFORT_NONE;
}
