/* gemini/events: a streamed answer, event by event.
 *
 * Each event is a whole response with what is new in it; usageMetadata is
 * cumulative; there is no last event by name.  The stream is complete when
 * every candidate that was asked for has its finishReason: with that event where
 * it brings token counts, as Google's does, else with the one after it, whose
 * counts would be lost otherwise.  Candidates that never began may come no more:
 * then only the body's end tells.  What an event means is collected first and
 * emitted at the end: a writer may use the thread's json_parse tape. */
#include "llm/gemini/gemini.h"

#define ARGS_MAX ((size_t)1 << 20) /* of one event */

/* Events of one SSE event, in the scratch arena. */
struct item {
    struct item *next;
    struct neutral_event ev;
};

struct ctx {
    struct gemini_reader *s;
    const struct json_doc *d;
    struct arena *a;
    struct item *first, **end;
    struct usage usage;
};

void gemini_reader_init(void *state, const struct link *link)
{
    struct gemini_reader *s = state;
    unsigned n = link ? link->answers : 0;
    s->asked = (1u << (n < GEMINI_CANDIDATES_MAX ? n : GEMINI_CANDIDATES_MAX)) - 1;
}

/* All that began has its finishReason. */
static bool all_finished(const struct gemini_reader *s)
{
    return s->seen && s->seen == s->finished;
}

bool gemini_reader_ends(const void *state)
{
    return all_finished(state);
}

/* Lends an event to fill in; a spare one once the arena is latched. */
static struct neutral_event *add(struct ctx *c, enum event_type type, uint32_t candidate)
{
    static __thread struct neutral_event spare;
    struct item *i = arena_zalloc(c->a, sizeof *i);
    if (!i)
        return &spare;
    *c->end = i;
    c->end = &i->next;
    i->ev.type = type;
    i->ev.candidate = candidate;
    return &i->ev;
}

static void add_text(struct ctx *c, enum event_type type, uint32_t candidate, struct str text)
{
    if (!text.n)
        return;
    add(c, type, candidate)->text = text;
    c->s->spoke = true;
}

/* ---- calls ---- */

static void add_args(struct ctx *c, uint32_t candidate, struct str text)
{
    if (!text.n)
        return;
    struct neutral_event *ev = add(c, EVENT_TOOL_ARGS, candidate);
    ev->tool = c->s->calls[candidate] - 1;
    ev->text = text;
}

static void end_call(struct ctx *c, uint32_t candidate)
{
    add(c, EVENT_TOOL_END, candidate)->tool = c->s->calls[candidate] - 1;
}

/* Ends the call whose arguments were coming in pieces. */
static void close_call(struct ctx *c)
{
    struct gemini_reader *s = c->s;
    struct buf b;
    if (!s->open)
        return;
    s->open = false;
    buf_init(&b, 256);
    gemini_args_end(&s->args, &b);
    if (buf_failed(&b))
        c->a->failed = true;
    add_args(c, s->open_candidate, arena_dup(c->a, buf_view(&b)));
    buf_release(&b);
    end_call(c, s->open_candidate);
}

static void begin_call(struct ctx *c, uint32_t candidate, const struct gemini_part *g)
{
    struct gemini_reader *s = c->s;
    struct neutral_event *ev = add(c, EVENT_TOOL, candidate);
    ev->tool = s->calls[candidate];
    ev->name = g->name;
    ev->id = g->id.n ? g->id : gemini_call_id(str_c(s->id), candidate, s->calls[candidate], c->a);
    ev->text = g->signature;
    ev->issuer = (uint8_t)(g->signature.n ? ISSUER_GEMINI : ISSUER_NONE);
    s->calls[candidate]++;
    s->spoke = true;
}

static bool add_pieces(struct ctx *c, uint32_t candidate, uint32_t list)
{
    struct buf b;
    buf_init(&b, ARGS_MAX);
    bool ok = gemini_args_add(&c->s->args, c->d, list, c->a, &b) && !buf_failed(&b);
    add_args(c, candidate, arena_dup(c->a, buf_view(&b)));
    buf_release(&b);
    return ok;
}

/* A call is whole, or begins with a name and goes on in later parts without one until a part says
 * no more willContinue. */
static bool read_call(struct ctx *c, uint32_t candidate, const struct gemini_part *g)
{
    struct gemini_reader *s = c->s;
    bool more = false, ok = true;
    uint32_t pieces = json_get(c->d, g->call, STR("partialArgs"));
    json_bool(c->d, json_get(c->d, g->call, STR("willContinue")), &more);
    if (g->name.n) {
        close_call(c);
        begin_call(c, candidate, g);
        if (g->args.n || (!more && pieces == JSON_NONE)) {
            add_args(c, candidate, g->args);
            end_call(c, candidate);
            return true;
        }
        s->open = true;
        s->open_candidate = candidate;
        s->args = (struct gemini_args){0};
    }
    if (!s->open) /* the end of a call that has ended */
        return true;
    if (pieces != JSON_NONE)
        ok = add_pieces(c, s->open_candidate, pieces);
    if (!more)
        close_call(c);
    return ok;
}

/* ---- candidates ---- */

static bool read_part(struct ctx *c, uint32_t candidate, uint32_t at)
{
    struct gemini_part g;
    if (!gemini_read_part(c->d, at, c->a, &g))
        return true;
    if (g.kind == GPART_CALL)
        return read_call(c, candidate, &g);
    if (g.kind == GPART_NONE)
        return true;
    add_text(c, g.kind == GPART_THOUGHT ? EVENT_REASONING : EVENT_TEXT, candidate, g.text);
    if (g.signature.n) {
        struct neutral_event *ev = add(c, EVENT_SIGNATURE, candidate);
        ev->text = g.signature;
        ev->issuer = ISSUER_GEMINI;
    }
    return true;
}

static enum err read_candidate(struct ctx *c, uint32_t at, struct fault *f)
{
    const struct json_doc *d = c->d;
    struct gemini_reader *s = c->s;
    int64_t index = 0;
    bool broken = false;
    json_i64(d, json_get(d, at, STR("index")), &index);
    if (index < 0 || index >= GEMINI_CANDIDATES_MAX)
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's stream has too many candidates");
    uint32_t n = (uint32_t)index;
    uint32_t parts = json_get(d, json_get(d, at, STR("content")), STR("parts"));
    if (s->finished >> n & 1)
        return ERR_OK;
    s->seen |= 1u << n;
    for (uint32_t i = json_child(d, parts); i != JSON_NONE; i = json_sibling(d, parts, i))
        if (!read_part(c, n, i))
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's stream has arguments that cannot be followed");
    struct str logprobs = gemini_logprobs_read(d, json_get(d, at, STR("logprobsResult")), c->a);
    if (logprobs.n)
        add(c, EVENT_LOGPROBS, n)->text = logprobs;
    uint32_t reason = json_get(d, at, STR("finishReason"));
    if (!json_is(d, reason, JSON_STRING))
        return ERR_OK;
    if (s->open && s->open_candidate == n)
        close_call(c);
    enum finish finish = gemini_finish(d, reason, s->calls[n] > 0, &broken);
    if (broken && !s->spoke)
        return fault_set(f, ERR_UPSTREAM_ERROR, "the model's call was malformed");
    s->finished |= 1u << n;
    add(c, EVENT_FINISH, n)->finish = (uint8_t)finish;
    return ERR_OK;
}

/* ---- events ---- */

static void start(struct ctx *c, uint32_t root)
{
    struct gemini_reader *s = c->s;
    struct str id = STR_NULL, model = STR_NULL;
    if (s->started)
        return;
    s->started = true;
    json_string(c->d, json_get(c->d, root, STR("responseId")), c->a, &id);
    json_string(c->d, json_get(c->d, root, STR("modelVersion")), c->a, &model);
    str_copy(s->id, sizeof s->id, id);
    struct neutral_event *ev = add(c, EVENT_START, 0);
    ev->id = id;
    ev->model = model;
}

static enum err read_all(struct ctx *c, uint32_t root, struct fault *f)
{
    const struct json_doc *d = c->d;
    struct gemini_reader *s = c->s;
    bool late = s->closing; /* all had finished before */
    start(c, root);
    uint32_t list = json_get(d, root, STR("candidates"));
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i)) {
        enum err e = read_candidate(c, i, f);
        if (e)
            return e;
    }
    uint32_t feedback = json_get(d, root, STR("promptFeedback"));
    if (!s->seen && json_get(d, feedback, STR("blockReason")) != JSON_NONE) {
        s->asked = s->seen = s->finished = 1; /* there will be no others */
        add(c, EVENT_FINISH, 0)->finish = FINISH_CONTENT_FILTER;
    }
    bool counted = usage_read_gemini(d, json_get(d, root, STR("usageMetadata")), &c->usage);
    if (counted)
        add(c, EVENT_USAGE, 0)->usage = &c->usage;
    s->closing = all_finished(s) && !(s->asked & ~s->finished);
    if (s->closing && (counted || late))
        add(c, EVENT_END, 0);
    if (!c->first)
        add(c, EVENT_PING, 0);
    return ERR_OK;
}

enum err gemini_read_event(void *state, struct str provider, struct str name, struct str data,
                           struct arena *scratch, neutral_emit *emit, void *ctx, struct fault *f)
{
    struct json_doc d;
    struct ctx c = {.s = state, .d = &d, .a = scratch};
    (void)name;
    c.end = &c.first;
    if (str_trim(data).n) {
        enum err e = json_parse(&d, data, NULL);
        if (e == ERR_NOMEM) {
            fault_from_err(f, e, NULL);
            return e;
        }
        uint32_t root = e ? JSON_NONE : json_root(&d);
        if (!e && gemini_is_error(&d, root, provider, f))
            return f->err;
        if (!json_is(&d, root, JSON_OBJECT))
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's stream has an event that is not a JSON object");
        e = read_all(&c, root, f);
        if (e)
            return e;
    }
    if (arena_failed(scratch)) {
        fault_from_err(f, ERR_NOMEM, NULL);
        return ERR_NOMEM;
    }
    for (const struct item *i = c.first; i; i = i->next)
        emit(ctx, &i->ev);
    return ERR_OK;
}
