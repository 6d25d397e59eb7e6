/* neutral_json: one table a struct says how each member is spelled; both directions walk it. */
#include "neutral_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/json_write.h"

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "not so: %s\n", #x), abort()))

enum kind { TEXT, RAW, FLAG, SWITCH, NAME, NUMBER };

struct member {
    const char *name;
    size_t at;
    enum kind kind;
    const char *const *names; /* NAME: of a uint8_t, by value; the first is unset */
};

static const char *const roles[] = {"user", "assistant", NULL};
static const char *const part_types[] = {
    "text", "image", "document", "audio", "tool_use", "tool_result", "reasoning", "refusal", NULL};
static const char *const issuers[] = {"", "openai", "anthropic", "gemini", "deepseek", NULL};
static const char *const caches[] = {"", "5m", "1h", NULL};
static const char *const choices[] = {"", "auto", "none", "required", "named", NULL};
static const char *const formats[] = {"", "text", "json", "schema", NULL};
static const char *const efforts[] = {"",     "none",  "minimal", "low", "medium",
                                      "high", "xhigh", "max",     NULL};
static const char *const finishes[] = {"",        "stop",       "stop_sequence",
                                       "length",  "tool_calls", "content_filter",
                                       "refusal", "pause",      NULL};
static const char *const events[] = {"start",   "text",     "reasoning", "signature", "redacted",
                                     "refusal", "tool",     "tool_args", "tool_end",  "finish",
                                     "usage",   "logprobs", "end",       "ping",      NULL};

#define M(struct_, member, kind, names)                                                            \
    {                                                                                              \
#member, offsetof(struct struct_, member), kind, names                                     \
    }
#define R(member, kind) M(neutral_request, member, kind, NULL)

static const struct member request_members[] = {
    R(model, TEXT),
    R(stream, FLAG),
    R(include_usage, FLAG),
    M(neutral_request, choice, NAME, choices),
    R(choice_name, TEXT),
    R(parallel, SWITCH),
    R(temperature, RAW),
    R(top_p, RAW),
    R(top_k, RAW),
    R(frequency_penalty, RAW),
    R(presence_penalty, RAW),
    R(seed, RAW),
    R(n, RAW),
    R(max_tokens, RAW),
    R(top_logprobs, RAW),
    R(logprobs, SWITCH),
    R(logit_bias, RAW),
    M(neutral_request, format, NAME, formats),
    R(schema_name, TEXT),
    R(schema_description, TEXT),
    R(schema, RAW),
    R(schema_strict, SWITCH),
    M(neutral_request, effort, NAME, efforts),
    R(thinking_budget, NUMBER),
    R(thinking_dynamic, FLAG),
    R(thinking_visible, SWITCH),
    R(verbosity, TEXT),
    R(user, TEXT),
    R(metadata, RAW),
    R(service_tier, TEXT),
    R(prompt_cache_key, TEXT),
    R(previous_response_id, TEXT),
    R(store, SWITCH),
    R(safety, RAW),
    R(modalities, RAW),
    R(prompt_suffix, TEXT),
    R(dimensions, RAW),
    R(task_type, TEXT),
    R(title, TEXT),
    R(base64, FLAG),
    R(single, FLAG),
    {NULL, 0, TEXT, NULL},
};

static const struct member part_members[] = {
    M(part, type, NAME, part_types), M(part, cache, NAME, caches),  M(part, issuer, NAME, issuers),
    M(part, is_error, FLAG, NULL),   M(part, redacted, FLAG, NULL), M(part, text, TEXT, NULL),
    M(part, id, TEXT, NULL),         M(part, name, TEXT, NULL),     M(part, args, TEXT, NULL),
    M(part, signature, TEXT, NULL),  M(part, data, TEXT, NULL),     {NULL, 0, TEXT, NULL},
};

static const struct member media_members[] = {
    M(media, mime, TEXT, NULL),    M(media, data, TEXT, NULL), M(media, url, TEXT, NULL),
    M(media, file_id, TEXT, NULL), M(media, name, TEXT, NULL), M(media, detail, TEXT, NULL),
    {NULL, 0, TEXT, NULL},
};

static const struct member turn_members[] = {
    M(turn, role, NAME, roles),
    M(turn, name, TEXT, NULL),
    {NULL, 0, TEXT, NULL},
};

static const struct member tool_members[] = {
    M(tool, name, TEXT, NULL),    M(tool, description, TEXT, NULL),
    M(tool, schema, RAW, NULL),   M(tool, kind, TEXT, NULL),
    M(tool, raw, RAW, NULL),      M(tool, strict, SWITCH, NULL),
    M(tool, cache, NAME, caches), {NULL, 0, TEXT, NULL},
};

static const struct member candidate_members[] = {
    M(neutral_candidate, finish, NAME, finishes),
    M(neutral_candidate, stop_sequence, TEXT, NULL),
    M(neutral_candidate, logprobs, RAW, NULL),
    {NULL, 0, TEXT, NULL},
};

static const struct member vector_members[] = {
    M(neutral_vector, raw, RAW, NULL),
    M(neutral_vector, base64, TEXT, NULL),
    {NULL, 0, TEXT, NULL},
};

static const struct member reply_members[] = {
    M(neutral_reply, id, TEXT, NULL),
    M(neutral_reply, model, TEXT, NULL),
    M(neutral_reply, created_s, NUMBER, NULL),
    {NULL, 0, TEXT, NULL},
};

static const struct member event_members[] = {
    M(neutral_event, finish, NAME, finishes),
    M(neutral_event, issuer, NAME, issuers),
    M(neutral_event, text, TEXT, NULL),
    M(neutral_event, id, TEXT, NULL),
    M(neutral_event, name, TEXT, NULL),
    M(neutral_event, model, TEXT, NULL),
    {NULL, 0, TEXT, NULL},
};

/* ---- writing ---- */

static void put_members(struct json_writer *w, const struct member *m, const void *from)
{
    for (; m->name; m++) {
        const char *at = (const char *)from + m->at;
        const struct str *s = (const void *)at;
        uint8_t v = *(const uint8_t *)at;
        struct str name = str_c(m->name);
        bool first_says_something = m->names == roles || m->names == part_types;
        switch (m->kind) {
        case TEXT:
            if (s->n)
                json_key(w, name), json_put_string(w, *s);
            break;
        case RAW:
            if (s->n)
                json_key(w, name), json_put_raw(w, *s);
            break;
        case FLAG:
            if (*(const bool *)at)
                json_key(w, name), json_put_bool(w, true);
            break;
        case SWITCH:
            if (*(const int8_t *)at >= 0)
                json_key(w, name), json_put_bool(w, *(const int8_t *)at);
            break;
        case NAME:
            if (v || first_says_something)
                json_key(w, name), json_put_string(w, str_c(m->names[v]));
            break;
        case NUMBER: {
            int64_t n;
            memcpy(&n, at, sizeof n);
            if (n > 0 || (n == 0 && m->at == offsetof(struct neutral_request, thinking_budget)))
                json_key(w, name), json_put_i64(w, n);
            break;
        }
        }
    }
}

static void put_parts(struct json_writer *w, struct str name, const struct part *p)
{
    if (!p)
        return;
    json_key(w, name);
    json_open_array(w);
    for (; p; p = p->next) {
        const struct media none = {STR_NULL};
        json_open_object(w);
        put_members(w, part_members, p);
        if (memcmp(&p->media, &none, sizeof none) != 0) {
            json_key(w, STR("media"));
            json_open_object(w);
            put_members(w, media_members, &p->media);
            json_close_object(w);
        }
        put_parts(w, STR("parts"), p->parts);
        json_close_object(w);
    }
    json_close_array(w);
}

static void put_texts(struct json_writer *w, struct str name, const struct text_list *t)
{
    if (!t)
        return;
    json_key(w, name);
    json_open_array(w);
    for (; t; t = t->next)
        json_put_string(w, t->s);
    json_close_array(w);
}

static void put_turns(struct json_writer *w, const struct turn *t)
{
    if (!t)
        return;
    json_key(w, STR("turns"));
    json_open_array(w);
    for (; t; t = t->next) {
        json_open_object(w);
        put_members(w, turn_members, t);
        put_parts(w, STR("parts"), t->parts);
        json_close_object(w);
    }
    json_close_array(w);
}

void neutral_json_request(const struct neutral_request *r, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "op", str_c(op_row(r->op)->name));
    put_members(&w, request_members, r);
    put_parts(&w, STR("system"), r->system);
    put_turns(&w, r->turns);
    if (r->tools) {
        json_key(&w, STR("tools"));
        json_open_array(&w);
        for (const struct tool *t = r->tools; t; t = t->next) {
            json_open_object(&w);
            put_members(&w, tool_members, t);
            json_close_object(&w);
        }
        json_close_array(&w);
    }
    put_texts(&w, STR("stop"), r->stop);
    put_texts(&w, STR("inputs"), r->inputs);
    if (r->extras) {
        json_key(&w, STR("extras"));
        json_open_object(&w);
        for (const struct extra *x = r->extras; x; x = x->next)
            json_key(&w, x->name), json_put_raw(&w, x->raw);
        json_close_object(&w);
    }
    json_close_object(&w);
}

static void put_usage(struct json_writer *w, const struct usage *u)
{
    json_key(w, STR("usage"));
    json_open_object(w);
#define X(name, input)                                                                             \
    if (u->name)                                                                                   \
        json_field_i64(w, #name, u->name);
    USAGE_COUNTERS(X)
#undef X
    json_close_object(w);
}

void neutral_json_reply(const struct neutral_reply *r, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    put_members(&w, reply_members, r);
    if (r->candidates) {
        json_key(&w, STR("candidates"));
        json_open_array(&w);
        for (const struct neutral_candidate *c = r->candidates; c; c = c->next) {
            json_open_object(&w);
            put_members(&w, candidate_members, c);
            put_parts(&w, STR("parts"), c->parts);
            json_close_object(&w);
        }
        json_close_array(&w);
    }
    if (r->vectors) {
        json_key(&w, STR("vectors"));
        json_open_array(&w);
        for (const struct neutral_vector *v = r->vectors; v; v = v->next) {
            json_open_object(&w);
            put_members(&w, vector_members, v);
            json_close_object(&w);
        }
        json_close_array(&w);
    }
    if (r->has_usage)
        put_usage(&w, &r->usage);
    if (r->tokens)
        json_field_i64(&w, "tokens", (int64_t)r->tokens);
    json_close_object(&w);
}

void neutral_json_event(const struct neutral_event *ev, struct buf *out)
{
    struct json_writer w;
    bool of_tool =
        ev->type == EVENT_TOOL || ev->type == EVENT_TOOL_ARGS || ev->type == EVENT_TOOL_END;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "type", str_c(events[ev->type]));
    if (ev->candidate)
        json_field_i64(&w, "candidate", ev->candidate);
    if (of_tool)
        json_field_i64(&w, "tool", ev->tool);
    put_members(&w, event_members, ev);
    if (ev->usage)
        put_usage(&w, ev->usage);
    json_close_object(&w);
}

/* ---- reading: a case is trusted, so what does not fit is asserted ---- */

static void get_name(const struct json_doc *d, uint32_t v, const struct member *m, uint8_t *to)
{
    uint8_t i = 0;
    while (m->names[i] && !json_string_is(d, v, str_c(m->names[i])))
        i++;
    if (!m->names[i]) {
        fprintf(stderr, "%s: no such name: %.*s\n", m->name, STR_FMT(json_raw(d, v)));
        abort();
    }
    *to = i;
}

static void get_members(const struct json_doc *d, uint32_t obj, const struct member *m, void *into,
                        struct arena *a)
{
    for (; m->name; m++) {
        uint32_t v = json_get(d, obj, str_c(m->name));
        char *at = (char *)into + m->at;
        bool on = false;
        if (v == JSON_NONE)
            continue;
        switch (m->kind) {
        case TEXT:
            if (!json_string(d, v, a, (struct str *)(void *)at))
                abort();
            break;
        case RAW:
            *(struct str *)(void *)at = json_raw(d, v);
            break;
        case FLAG:
            if (!json_bool(d, v, (bool *)at))
                abort();
            break;
        case SWITCH:
            if (!json_bool(d, v, &on))
                abort();
            *(int8_t *)at = on;
            break;
        case NAME:
            get_name(d, v, m, (uint8_t *)at);
            break;
        case NUMBER: {
            int64_t n;
            if (!json_i64(d, v, &n))
                abort();
            memcpy(at, &n, sizeof n);
            break;
        }
        }
    }
}

#define EACH(d, i, list)                                                                           \
    for (uint32_t list_ = (list), i = json_child(d, list_); i != JSON_NONE;                        \
         i = json_sibling(d, list_, i))

static void get_parts(const struct json_doc *d, uint32_t list, struct part **out, struct arena *a)
{
    EACH(d, i, list)
    {
        struct part *p = neutral_part(a, PART_TEXT, out);
        must(p);
        get_members(d, i, part_members, p, a);
        get_members(d, json_get(d, i, STR("media")), media_members, &p->media, a);
        get_parts(d, json_get(d, i, STR("parts")), &p->parts, a);
    }
}

static void get_texts(const struct json_doc *d, uint32_t list, struct text_list **out,
                      struct arena *a)
{
    EACH(d, i, list)
    {
        struct str s = STR_NULL;
        must(json_string(d, i, a, &s));
        neutral_text(a, out, s);
    }
}

static void get_extras(const struct json_doc *d, uint32_t obj, struct extra **out, struct arena *a)
{
    for (uint32_t k = json_child(d, obj); k != JSON_NONE; k = json_sibling(d, obj, k + 1)) {
        struct str name = STR_NULL;
        must(json_string(d, k, a, &name));
        neutral_extra(a, out, name, json_raw(d, k + 1));
    }
}

static enum err read_request(struct neutral_request *out, const struct json_doc *d,
                             struct str model, struct arena *a, struct err_info *info)
{
    struct str op = STR_NULL;
    uint32_t root = json_root(d);
    neutral_request_init(out, OP_NONE);
    if (json_string(d, json_get(d, root, STR("op")), a, &op))
        out->op = op_find(op);
    get_members(d, root, request_members, out, a);
    get_parts(d, json_get(d, root, STR("system")), &out->system, a);
    EACH(d, i, json_get(d, root, STR("turns")))
    {
        struct turn *t = neutral_turn(a, ROLE_USER, &out->turns);
        must(t);
        get_members(d, i, turn_members, t, a);
        get_parts(d, json_get(d, i, STR("parts")), &t->parts, a);
    }
    EACH(d, i, json_get(d, root, STR("tools")))
    {
        struct tool *t = neutral_tool(a, &out->tools);
        must(t);
        get_members(d, i, tool_members, t, a);
    }
    get_texts(d, json_get(d, root, STR("stop")), &out->stop, a);
    get_texts(d, json_get(d, root, STR("inputs")), &out->inputs, a);
    for (const struct text_list *t = out->inputs; t; t = t->next)
        out->inputs_n++;
    get_extras(d, json_get(d, root, STR("extras")), &out->extras, a);
    return ERR_OK;
}

static enum err write_request(struct neutral_request *r, const struct target *t, struct arena *a,
                              struct buf *out, struct receipt *receipt, struct link *link,
                              struct err_info *info)
{
    neutral_json_request(r, out);
    return ERR_OK;
}

static bool get_usage(const struct json_doc *d, uint32_t obj, struct usage *u)
{
    int64_t v;
    *u = (struct usage){0};
#define X(name, input)                                                                             \
    if (json_i64(d, json_get(d, obj, STR(#name)), &v))                                             \
        u->name = (uint32_t)v;
    USAGE_COUNTERS(X)
#undef X
    return json_is(d, obj, JSON_OBJECT);
}

static enum err read_reply(struct neutral_reply *out, const struct json_doc *d,
                           const struct link *link, struct str provider, struct arena *a,
                           struct fault *f)
{
    uint32_t root = json_root(d);
    int64_t tokens = 0;
    struct neutral_candidate **c = &out->candidates;
    struct neutral_vector **v = &out->vectors;
    *out = (struct neutral_reply){.created_s = 0};
    get_members(d, root, reply_members, out, a);
    EACH(d, i, json_get(d, root, STR("candidates")))
    {
        *c = arena_zalloc(a, sizeof **c);
        must(*c);
        get_members(d, i, candidate_members, *c, a);
        get_parts(d, json_get(d, i, STR("parts")), &(*c)->parts, a);
        c = &(*c)->next;
    }
    EACH(d, i, json_get(d, root, STR("vectors")))
    {
        *v = arena_zalloc(a, sizeof **v);
        must(*v);
        get_members(d, i, vector_members, *v, a);
        v = &(*v)->next;
    }
    out->has_usage = get_usage(d, json_get(d, root, STR("usage")), &out->usage);
    if (json_i64(d, json_get(d, root, STR("tokens")), &tokens))
        out->tokens = (uint64_t)tokens;
    return ERR_OK;
}

static void write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                        struct buf *out)
{
    neutral_json_reply(r, out);
}

static void init_reader(void *state, const struct link *link)
{
}

static enum err read_event(void *state, struct str provider, struct str name, struct str data,
                           struct arena *scratch, neutral_emit *emit, void *ctx, struct fault *f)
{
    static const struct member type = {"type", 0, NAME, events};
    struct json_doc d;
    struct usage usage;
    struct neutral_event ev = {EVENT_START};
    uint8_t which = 0;
    int64_t v;
    if (!data.n)
        return ERR_OK;
    must(json_parse(&d, data, NULL) == ERR_OK);
    get_name(&d, json_get(&d, 0, STR("type")), &type, &which);
    ev.type = (enum event_type)which;
    if (json_i64(&d, json_get(&d, 0, STR("candidate")), &v))
        ev.candidate = (uint32_t)v;
    if (json_i64(&d, json_get(&d, 0, STR("tool")), &v))
        ev.tool = (uint32_t)v;
    get_members(&d, 0, event_members, &ev, scratch);
    if (get_usage(&d, json_get(&d, 0, STR("usage")), &usage))
        ev.usage = &usage;
    emit(ctx, &ev);
    return ERR_OK;
}

static void init_writer(void *state, const struct answer *as)
{
}

static void write_event(void *state, const struct neutral_event *ev, struct buf *out)
{
    buf_lit(out, "data: ");
    neutral_json_event(ev, out);
    buf_lit(out, "\n\n");
}

const struct codec codec_neutral = {
    .read_request = read_request,
    .write_request = write_request,
    .read_reply = read_reply,
    .write_reply = write_reply,
    .reader_bytes = 1,
    .reader_init = init_reader,
    .read_event = read_event,
    .writer_bytes = 1,
    .writer_init = init_writer,
    .write_event = write_event,
};
