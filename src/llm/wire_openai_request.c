/* wire_openai_request: reads a request once, then edits it for each attempt.
 *
 * Reading walks the top-level members of the tape and, for the estimate, the
 * values that a model reads.  Editing never looks at the tape again: it works
 * on the recorded places.  A member is cut together with one comma: the one
 * before it, or the one behind where nothing before it is kept. */
#include "llm/wire_openai_request.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/json_write.h"
#include "llm/estimate.h"

/* ---- reading ------------------------------------------------------------ */

static const struct {
    const char *name;
    uint8_t n;
} fields[FIELD_COUNT] = {
#define X(field, name) [FIELD_##field] = {name, sizeof(name) - 1},
    OPENAI_FIELDS(X)
#undef X
};

static enum err refuse(struct err_info *info, const char *field, int64_t offset, const char *fmt,
                       ...) __attribute__((format(printf, 4, 5)));

static enum err refuse(struct err_info *info, const char *field, int64_t offset, const char *fmt,
                       ...)
{
    if (info) {
        va_list ap;
        err_info_init(info);
        va_start(ap, fmt);
        vsnprintf(info->text, sizeof info->text, fmt, ap);
        va_end(ap);
        snprintf(info->field, sizeof info->field, "%s", field);
        info->offset = offset;
    }
    return ERR_INVALID;
}

/* Which known field a key is, or FIELD_COUNT. */
static enum openai_field field_of(const struct json_doc *d, uint32_t key)
{
    const struct json_entry *k = &d->e[key];
    if (k->flags & JSON_ESCAPED) {
        for (int f = 0; f < FIELD_COUNT; f++)
            if (json_string_is(d, key, str_c(fields[f].name)))
                return (enum openai_field)f;
        return FIELD_COUNT;
    }
    uint32_t n = k->end - k->off - 2;
    const char *p = d->text.p + k->off + 1;
    for (int f = 0; f < FIELD_COUNT; f++)
        if (fields[f].n == n && memcmp(fields[f].name, p, n) == 0)
            return (enum openai_field)f;
    return FIELD_COUNT;
}

static uint32_t positive(const struct json_doc *d, uint32_t i)
{
    int64_t v;
    if (!json_i64(d, i, &v) || v <= 0)
        return 0;
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static bool type_is(const struct json_doc *d, uint32_t obj, struct str value)
{
    return json_string_is(d, json_get(d, obj, STR("type")), value);
}

static enum err read_model(struct openai_request *r, const struct json_doc *d, uint32_t i,
                           struct arena *a, struct err_info *info)
{
    if (r->by_path)
        return ERR_OK;
    if (!json_is(d, i, JSON_STRING))
        return refuse(info, "model", d->e[i].off, "model must be a string");
    uint32_t raw = d->e[i].end - d->e[i].off - 2;
    if (raw == 0)
        return refuse(info, "model", d->e[i].off, "model must not be empty");
    if (raw > 6 * OPENAI_MODEL_MAX_BYTES)
        return refuse(info, "model", d->e[i].off, "model is longer than %d bytes",
                      OPENAI_MODEL_MAX_BYTES);
    if (!json_string(d, i, a, &r->model))
        return ERR_NOMEM;
    if (r->model.n > OPENAI_MODEL_MAX_BYTES)
        return refuse(info, "model", d->e[i].off, "model is longer than %d bytes",
                      OPENAI_MODEL_MAX_BYTES);
    return ERR_OK;
}

static enum err read_stream(struct openai_request *r, const struct json_doc *d, uint32_t i,
                            struct err_info *info)
{
    bool on = false;
    if (!json_bool(d, i, &on) && !json_is(d, i, JSON_NULL))
        return refuse(info, "stream", d->e[i].off, "stream must be true or false");
    r->stream = on && op_row(r->op)->may_stream;
    return ERR_OK;
}

static enum err read_options(struct openai_request *r, const struct json_doc *d, uint32_t i,
                             struct err_info *info)
{
    if (json_is(d, i, JSON_NULL))
        return ERR_OK;
    if (!json_is(d, i, JSON_OBJECT))
        return refuse(info, "stream_options", d->e[i].off, "stream_options must be an object");
    if (json_count(d, i, STR("include_usage")) > 1)
        return refuse(info, "stream_options.include_usage", d->e[i].off,
                      "stream_options.include_usage is given twice");
    r->options_open = d->e[i].off;
    r->options_empty = d->e[i].next == i + 1;
    uint32_t v = json_get(d, i, STR("include_usage"));
    if (v == JSON_NONE)
        return ERR_OK;
    if (!json_bool(d, v, &r->asks_usage) && !json_is(d, v, JSON_NULL))
        return refuse(info, "stream_options.include_usage", d->e[v].off,
                      "stream_options.include_usage must be true or false");
    r->include_usage = d->e[v].off;
    r->include_usage_end = d->e[v].end;
    return ERR_OK;
}

/* https://ai.google.dev/api/generate-content#v1beta.GenerationConfig */
static void read_generation_config(struct openai_request *r, const struct json_doc *d, uint32_t i)
{
    r->max_output = positive(d, json_get(d, i, STR("maxOutputTokens")));
    uint32_t n = positive(d, json_get(d, i, STR("candidateCount")));
    r->n = n ? n : 1;
    r->schema = json_get(d, i, STR("responseSchema")) != JSON_NONE ||
                json_get(d, i, STR("responseJsonSchema")) != JSON_NONE;
    r->thinks = json_is(d, json_get(d, i, STR("thinkingConfig")), JSON_OBJECT);
}

/* A field that says what a channel must be able to do. */
static void read_fact(struct openai_request *r, const struct json_doc *d, enum openai_field f,
                      uint32_t i)
{
    bool object = json_is(d, i, JSON_OBJECT);
    switch (f) {
    case FIELD_TOOLS:
    case FIELD_FUNCTIONS:
        if (json_is(d, i, JSON_ARRAY) && d->e[i].next > i + 1)
            r->needs |= NEED_TOOLS;
        break;
    case FIELD_TOOL_CHOICE:
        r->forced_tool = (object && !type_is(d, i, STR("auto")) && !type_is(d, i, STR("none"))) ||
                         json_string_is(d, i, STR("required"));
        break;
    case FIELD_RESPONSE_FORMAT:
        r->schema = type_is(d, i, STR("json_schema"));
        break;
    case FIELD_TEXT:
        if (type_is(d, json_get(d, i, STR("format")), STR("json_schema")))
            r->needs |= NEED_JSON_SCHEMA;
        break;
    case FIELD_N:
        r->n = positive(d, i) ? positive(d, i) : 1;
        break;
    case FIELD_MAX_TOKENS:
        if (!r->max_output && r->op != OP_RESPONSES)
            r->max_output = positive(d, i);
        break;
    case FIELD_MAX_COMPLETION_TOKENS: /* wins over max_tokens */
        if (r->op == OP_CHAT && positive(d, i))
            r->max_output = positive(d, i);
        break;
    case FIELD_MAX_OUTPUT_TOKENS:
        if (r->op == OP_RESPONSES)
            r->max_output = positive(d, i);
        break;
    case FIELD_REASONING_EFFORT:
        r->thinks |= json_is(d, i, JSON_STRING) && !json_string_is(d, i, STR("none"));
        break;
    case FIELD_REASONING:
        r->thinks |= object && !json_string_is(d, json_get(d, i, STR("effort")), STR("none"));
        break;
    case FIELD_THINKING:
        r->thinks |= object && !type_is(d, i, STR("disabled"));
        break;
    case FIELD_PREVIOUS_RESPONSE_ID:
    case FIELD_CONVERSATION:
        if (!json_is(d, i, JSON_NULL))
            r->needs |= NEED_PINNED;
        break;
    case FIELD_GENERATION_CONFIG:
        read_generation_config(r, d, i);
        break;
    default:
        break;
    }
}

static bool model_reads(enum openai_field f)
{
    return f == FIELD_MESSAGES || f == FIELD_INPUT || f == FIELD_PROMPT ||
           f == FIELD_INSTRUCTIONS || f == FIELD_TOOLS || f == FIELD_FUNCTIONS ||
           f == FIELD_RESPONSE_FORMAT || f == FIELD_TEXT || f == FIELD_SYSTEM ||
           f == FIELD_CONTENTS || f == FIELD_CONTENT || f == FIELD_REQUESTS ||
           f == FIELD_SYSTEM_INSTRUCTION;
}

static enum err read_member(struct openai_request *r, const struct json_doc *d, uint32_t key,
                            struct estimate *in, unsigned *images, struct arena *a,
                            struct err_info *info)
{
    enum openai_field f = field_of(d, key);
    uint32_t i = key + 1;
    if (f == FIELD_COUNT)
        return ERR_OK;
    if (r->at[f].end)
        return refuse(info, fields[f].name, d->e[key].off, "%s is given twice", fields[f].name);
    r->at[f] = (struct openai_member){d->e[key].off, d->e[i].off, d->e[i].end, r->members};
    if (model_reads(f))
        estimate_add_value(in, d, i, images);
    if (f == FIELD_MODEL)
        return read_model(r, d, i, a, info);
    if (f == FIELD_STREAM)
        return read_stream(r, d, i, info);
    if (f == FIELD_STREAM_OPTIONS)
        return read_options(r, d, i, info);
    read_fact(r, d, f, i);
    return ERR_OK;
}

enum err openai_request_read_doc(struct openai_request *r, enum llm_op op, const struct json_doc *d,
                                 struct str deployment, struct arena *a, struct err_info *info)
{
    *r = (struct openai_request){.op = op, .n = 1, .body = d->text};
    uint32_t root = json_root(d);
    if (!json_is(d, root, JSON_OBJECT))
        return refuse(info, "", root == JSON_NONE ? 0 : d->e[root].off,
                      "the request body must be a JSON object");
    if (deployment.n > OPENAI_MODEL_MAX_BYTES)
        return refuse(info, "model", -1, "model is longer than %d bytes", OPENAI_MODEL_MAX_BYTES);
    r->by_path = deployment.n > 0;
    r->model = r->by_path ? deployment : STR_NULL;
    r->open = d->e[root].off;
    struct estimate in = {0};
    unsigned images = 0;
    for (uint32_t key = root + 1; key < d->e[root].next; key = d->e[key + 1].next) {
        enum err e = read_member(r, d, key, &in, &images, a, info);
        if (e)
            return e;
        r->members++;
    }
    if (!r->model.n)
        return refuse(info, "model", -1, "model is missing");
    if (images)
        r->needs |= NEED_VISION;
    if (r->schema)
        r->needs |= NEED_JSON_SCHEMA;
    if (r->thinks)
        r->needs |= NEED_THINKING;
    r->estimate_in = estimate_tokens(&in);
    return ERR_OK;
}

enum err openai_request_read(struct openai_request *r, enum llm_op op, struct str body,
                             struct str deployment, struct arena *a, struct err_info *info)
{
    struct json_doc d;
    enum err e = json_parse(&d, body, info);
    return e ? e : openai_request_read_doc(r, op, &d, deployment, a, info);
}

/* ---- editing ------------------------------------------------------------ */

/* Edits as they are collected; sorted and their cuts placed at the end. */
struct draft {
    const struct openai_request *r;
    struct arena *a;
    struct openai_edits *out;
    enum openai_field cut[OPENAI_EDITS_MAX];
    unsigned cuts;
    struct str insert; /* members for the front, each with a comma behind it */
    bool no_thinking;  /* it has been turned off */
};

static void replace(struct draft *t, uint32_t off, uint32_t end, struct str text)
{
    assert(t->out->n + t->cuts < OPENAI_EDITS_MAX);
    t->out->e[t->out->n++] = (struct edit){off, end - off, text};
}

static void cut(struct draft *t, enum openai_field f)
{
    assert(t->out->n + t->cuts < OPENAI_EDITS_MAX);
    t->cut[t->cuts++] = f;
}

static struct str join(struct arena *a, struct str x, struct str y)
{
    return x.n ? arena_join(a, (struct str[]){x, y}, 2) : y;
}

static void insert(struct draft *t, struct str member)
{
    t->insert = join(t->a, t->insert, member);
}

static void receipt(struct draft *t, const char *name)
{
    if (t->out->dropped.n)
        t->out->dropped = join(t->a, t->out->dropped, STR(","));
    t->out->dropped = join(t->a, t->out->dropped, str_c(name));
}

/* s as a JSON string with quotes. */
static struct str quoted(struct arena *a, struct str s)
{
    struct buf b;
    bool plain = true;
    for (size_t i = 0; i < s.n; i++)
        plain &= s.p[i] >= 0x20 && s.p[i] < 0x7F && s.p[i] != '"' && s.p[i] != '\\';
    buf_init(&b, 8 * s.n + 16);
    if (!plain) {
        json_escape(&b, s);
        s = buf_failed(&b) ? STR_NULL : buf_view(&b);
    }
    char *p = s.p ? arena_alloc(a, s.n + 2) : NULL;
    if (p) {
        p[0] = '"';
        memcpy(p + 1, s.p, s.n);
        p[s.n + 1] = '"';
    }
    size_t n = s.n + 2;
    buf_release(&b);
    return p ? str_make(p, n) : STR_NULL;
}

static struct str member_raw(const struct openai_request *r, enum openai_field f)
{
    return str_make(r->body.p + r->at[f].value, r->at[f].end - r->at[f].value);
}

static enum err edit_model(struct draft *t, const struct openai_edit_plan *plan)
{
    const struct openai_request *r = t->r;
    if (op_by_path(r->op))
        return ERR_OK; /* it is in the path */
    struct str want = plan->upstream_model.n || !r->by_path ? plan->upstream_model : r->model;
    struct str have = r->at[FIELD_MODEL].end ? member_raw(r, FIELD_MODEL) : STR_NULL;
    if (!want.n || (have.n == want.n + 2 && str_eq(str_make(have.p + 1, want.n), want)))
        return ERR_OK;
    struct str q = quoted(t->a, want);
    if (!q.p)
        return ERR_NOMEM;
    if (have.p)
        replace(t, r->at[FIELD_MODEL].value, r->at[FIELD_MODEL].end, q);
    else
        insert(t, join(t->a, join(t->a, STR("\"model\":"), q), STR(",")));
    return ERR_OK;
}

static void edit_stream(struct draft *t, const struct openai_edit_plan *plan)
{
    const struct openai_member *m = &t->r->at[FIELD_STREAM];
    if (!plan->force_stream || t->r->stream || op_by_path(t->r->op))
        return;
    if (m->end)
        replace(t, m->value, m->end, STR("true"));
    else
        insert(t, STR("\"stream\":true,"));
}

static void edit_options(struct draft *t, const struct openai_edit_plan *plan)
{
    const struct openai_request *r = t->r;
    const struct openai_member *m = &r->at[FIELD_STREAM_OPTIONS];
    if (plan->drop_stream_options) {
        if (m->end) {
            cut(t, FIELD_STREAM_OPTIONS);
            receipt(t, "stream_options");
        }
        return;
    }
    bool has_chunk = r->op == OP_CHAT || r->op == OP_COMPLETIONS;
    if (!plan->inject_usage || r->asks_usage || !has_chunk || !(r->stream || plan->force_stream))
        return;
    t->out->swallow_usage = true;
    if (r->include_usage_end)
        replace(t, r->include_usage, r->include_usage_end, STR("true"));
    else if (r->options_open)
        replace(t, r->options_open + 1, r->options_open + 1,
                r->options_empty ? STR("\"include_usage\":true") : STR("\"include_usage\":true,"));
    else if (m->end)
        replace(t, m->value, m->end, STR("{\"include_usage\":true}"));
    else
        insert(t, STR("\"stream_options\":{\"include_usage\":true},"));
}

static void no_thinking(struct draft *t)
{
    const struct openai_request *r = t->r;
    const struct openai_member *m = &r->at[FIELD_THINKING];
    if (t->no_thinking)
        return;
    t->no_thinking = true;
    if (m->end)
        replace(t, m->value, m->end, STR("{\"type\":\"disabled\"}"));
    else
        insert(t, STR("\"thinking\":{\"type\":\"disabled\"},"));
    if (r->thinks)
        receipt(t, "thinking");
}

/* Is there an assistant's turn with calls, and without the thought that led to them? Read only
 * where a name in the text says that there may be one. */
static bool lost_thought(const struct openai_request *r)
{
    const struct openai_member *m = &r->at[FIELD_MESSAGES];
    struct str text = str_make(r->body.p + m->value, m->end - m->value);
    struct json_doc d;
    if (!m->end || str_find(text, STR("\"tool_calls\"")) < 0 || json_parse(&d, text, NULL))
        return false;
    uint32_t all = json_root(&d);
    for (uint32_t i = json_child(&d, all); i != JSON_NONE; i = json_sibling(&d, all, i)) {
        uint32_t list = json_get(&d, i, STR("tool_calls"));
        if (!json_is(&d, list, JSON_ARRAY) || json_child(&d, list) == JSON_NONE)
            continue;
        uint32_t thought = json_get(&d, i, STR("reasoning_content"));
        if (!json_is(&d, thought, JSON_STRING) || json_string_is(&d, thought, STR_NULL))
            return true;
    }
    return false;
}

static void edit_quirk(struct draft *t, const struct quirk *q)
{
    const struct openai_request *r = t->r;
    const struct openai_member *m = &r->at[q->field];
    switch (q->kind) {
    case QUIRK_RENAME:
        if (m->end && r->at[q->to].end)
            cut(t, q->field);
        else if (m->end) {
            uint32_t key_end = m->key + 1;
            while (r->body.p[key_end] != '"') /* a known name: an escape can hold no quote */
                key_end++;
            replace(t, m->key, key_end + 1, quoted(t->a, str_c(fields[q->to].name)));
        }
        break;
    case QUIRK_DROP:
        if (m->end) {
            cut(t, q->field);
            receipt(t, fields[q->field].name);
        }
        break;
    case QUIRK_NO_JSON_SCHEMA:
        if (r->schema) {
            m = &r->at[FIELD_RESPONSE_FORMAT];
            replace(t, m->value, m->end, STR("{\"type\":\"json_object\"}"));
            receipt(t, "response_format.json_schema");
        }
        break;
    case QUIRK_FORCED_NO_THINK:
        if (r->forced_tool)
            no_thinking(t);
        break;
    case QUIRK_LOST_NO_THINK:
        if (lost_thought(r))
            no_thinking(t);
        break;
    case QUIRK_END:
        break;
    }
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Turns the cuts, from front to back, into edits. */
static void place_cuts(struct draft *t)
{
    const struct openai_request *r = t->r;
    const char *p = r->body.p;
    for (unsigned done = 0; done < t->cuts; done++) {
        unsigned first = done;
        for (unsigned i = done + 1; i < t->cuts; i++)
            if (r->at[t->cut[i]].index < r->at[t->cut[first]].index)
                first = i;
        enum openai_field f = t->cut[first];
        t->cut[first] = t->cut[done];
        t->cut[done] = f;
        uint32_t from = r->at[f].key, to = r->at[f].end;
        if (r->at[f].index > done) { /* something before it stays: take the comma before it */
            while (p[from - 1] != ',')
                from--;
            from--;
        } else if (r->at[f].index + 1 < r->members) {
            while (p[to] != ',')
                to++;
            to++;
            while (blank(p[to]))
                to++;
        }
        t->out->e[t->out->n++] = (struct edit){from, to - from, STR_NULL};
    }
}

enum err openai_request_edits(const struct openai_request *r, const struct openai_edit_plan *plan,
                              struct arena *a, struct openai_edits *out)
{
    struct draft t = {.r = r, .a = a, .out = out};
    out->n = 0;
    out->swallow_usage = false;
    out->dropped = STR_NULL;
    enum err e = edit_model(&t, plan);
    if (e)
        return e;
    edit_stream(&t, plan);
    edit_options(&t, plan);
    for (const struct quirk *q = plan->quirks; q && q->kind != QUIRK_END; q++)
        edit_quirk(&t, q);
    if (t.insert.n) {
        if (r->members == t.cuts)
            t.insert.n--; /* nothing follows: no comma */
        replace(&t, r->open + 1, r->open + 1, t.insert);
    }
    place_cuts(&t);
    edits_sort(out->e, out->n);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}
