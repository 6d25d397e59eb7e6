/* embed: Gemini's embedContent and batchEmbedContents.
 *
 * https://ai.google.dev/api/embeddings.  A batch is a list of whole requests;
 * what they ask for beside their text must be the same in all, since no other
 * form can say it text by text. */
#include "llm/gemini/gemini.h"
#include "llm/openai/openai.h"

#include <stdio.h>

#define BATCH_MAX 2048

struct ctx {
    struct neutral_request *out;
    const struct json_doc *d;
    struct arena *a;
    struct err_info *info;
    char at[32]; /* "requests[3]."; empty for embedContent */
};

static enum err refuse(const struct ctx *c, uint32_t at, const char *member, const char *why)
{
    char field[96], text[192];
    snprintf(field, sizeof field, "%s%s", c->at, member);
    snprintf(text, sizeof text, "%s %s", field, why);
    return gemini_refuse(c->d, at, c->info, field, text);
}

/* ---- requests in ---- */

/* The text of a Content; a string is accepted, as Google's SDKs do. */
static enum err read_content(const struct ctx *c, uint32_t at, struct str *out)
{
    struct part *list = NULL, **end = &list;
    uint32_t parts = gemini_get(c->d, at, "parts");
    if (json_string(c->d, at, c->a, out))
        return out->n ? ERR_OK : refuse(c, at, "content", "must not be empty");
    if (json_is(c->d, parts, JSON_OBJECT)) {
        struct part *p = neutral_part(c->a, PART_TEXT, end);
        if (p && !json_string(c->d, gemini_get(c->d, parts, "text"), c->a, &p->text))
            return refuse(c, parts, "content.parts.text", "must be a string");
    } else if (!json_is(c->d, parts, JSON_ARRAY)) {
        return refuse(c, at, "content", "must be an object with parts");
    }
    if (json_is(c->d, parts, JSON_ARRAY))
        OPENAI_EACH(c->d, i, parts)
        {
            struct part *p = neutral_part(c->a, PART_TEXT, end);
            if (!p)
                return ERR_NOMEM;
            if (!json_string(c->d, gemini_get(c->d, i, "text"), c->a, &p->text))
                return refuse(c, i, "content.parts", "can only be text here");
            end = &p->next;
        }
    *out = chat_join(list, PART_TEXT, STR("\n"), c->a);
    return out->n ? ERR_OK : refuse(c, at, "content", "must not be empty");
}

/* Of the request, or of its embedContentConfig. */
static uint32_t option(const struct ctx *c, uint32_t at, const char *name)
{
    uint32_t v = gemini_get(c->d, at, name);
    if (v == JSON_NONE)
        v = gemini_get(c->d, gemini_get(c->d, at, "embedContentConfig"), name);
    return json_is(c->d, v, JSON_NULL) ? JSON_NONE : v;
}

/* A value that all of a batch must share. */
static enum err share(const struct ctx *c, uint32_t at, const char *name, struct str *to,
                      struct str got)
{
    if (c->out->inputs_n == 1)
        *to = got;
    else if (!str_eq(*to, got))
        return refuse(c, at, name, "must be the same in all requests of a batch");
    return ERR_OK;
}

static enum err read_options(const struct ctx *c, uint32_t at)
{
    struct neutral_request *r = c->out;
    struct str type = STR_NULL, title = STR_NULL;
    int64_t n;
    uint32_t v = option(c, at, "taskType");
    if (v != JSON_NONE && !json_string(c->d, v, c->a, &type))
        return refuse(c, v, "taskType", "must be a string");
    enum err e = share(c, v, "taskType", &r->task_type, type);
    v = option(c, at, "title");
    if (!e && v != JSON_NONE && !json_string(c->d, v, c->a, &title))
        return refuse(c, v, "title", "must be a string");
    if (!e)
        e = share(c, v, "title", &r->title, title);
    v = option(c, at, "outputDimensionality");
    if (!e && v != JSON_NONE && (!json_i64(c->d, v, &n) || n < 1))
        return refuse(c, v, "outputDimensionality", "must be an integer of at least 1");
    return e ? e : share(c, v, "outputDimensionality", &r->dimensions, json_raw(c->d, v));
}

/* Adds one request; end: where its text goes. */
static enum err read_one(const struct ctx *c, uint32_t at, struct text_list ***end)
{
    struct str text = STR_NULL;
    uint32_t content = gemini_get(c->d, at, "content");
    if (content == JSON_NONE)
        return refuse(c, at, "content", "is missing: it must be an object with parts");
    enum err e = read_content(c, content, &text);
    if (e)
        return e;
    neutral_text(c->a, *end, text);
    if (!**end)
        return ERR_NOMEM;
    *end = &(**end)->next;
    c->out->inputs_n++;
    return read_options(c, at);
}

static enum err read_begin(struct ctx *c, enum llm_op op, struct str model)
{
    uint32_t root = json_root(c->d), at = gemini_get(c->d, root, "model");
    neutral_request_init(c->out, op);
    c->out->model = model;
    if (!json_is(c->d, root, JSON_OBJECT))
        return gemini_refuse(c->d, root, c->info, "", "the body must be a JSON object");
    if (!model.n && !json_string(c->d, at, c->a, &c->out->model))
        return refuse(c, root, "model", "is missing: it must be a string");
    return ERR_OK;
}

static enum err read_single(struct neutral_request *out, const struct json_doc *d, struct str model,
                            struct arena *a, struct err_info *info)
{
    struct ctx c = {.out = out, .d = d, .a = a, .info = info};
    struct text_list **end = &out->inputs;
    enum err e = read_begin(&c, OP_GEMINI_EMBED, model);
    out->single = true;
    if (!e)
        e = read_one(&c, json_root(d), &end);
    return !e && arena_failed(a) ? ERR_NOMEM : e;
}

static enum err read_batch(struct neutral_request *out, const struct json_doc *d, struct str model,
                           struct arena *a, struct err_info *info)
{
    struct ctx c = {.out = out, .d = d, .a = a, .info = info};
    struct text_list **end = &out->inputs;
    uint32_t list = gemini_get(d, json_root(d), "requests"), n = 0;
    enum err e = read_begin(&c, OP_GEMINI_EMBEDS, model);
    if (e)
        return e;
    if (json_child(d, list) == JSON_NONE || !json_is(d, list, JSON_ARRAY))
        return refuse(&c, list == JSON_NONE ? 0 : list, "requests",
                      "must be an array of at least one request");
    OPENAI_EACH(d, i, list)
    {
        if (n == BATCH_MAX)
            return refuse(&c, i, "", "is one more than a batch may have");
        snprintf(c.at, sizeof c.at, "requests[%u].", n++);
        if ((e = read_one(&c, i, &end)))
            return e;
    }
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- requests out ---- */

static void put_field(struct json_writer *w, const char *name, struct str text)
{
    if (!text.n)
        return;
    json_key(w, str_c(name));
    json_put_string(w, text);
}

static void put_one(struct json_writer *w, const struct neutral_request *r, struct str model,
                    struct str text)
{
    json_open_object(w);
    put_field(w, "model", model);
    json_key(w, STR("content"));
    json_open_object(w);
    json_key(w, STR("parts"));
    json_open_array(w);
    json_open_object(w);
    json_field_string(w, "text", text);
    json_close_object(w);
    json_close_array(w);
    json_close_object(w);
    put_field(w, "taskType", r->task_type);
    put_field(w, "title", r->title);
    if (r->dimensions.n) {
        json_key(w, STR("outputDimensionality"));
        json_put_raw(w, r->dimensions);
    }
    json_close_object(w);
}

static void drop(const struct neutral_request *r, struct receipt *receipt)
{
    if (r->user.n)
        receipt_add(receipt, "user");
    for (const struct extra *x = r->extras; x; x = x->next)
        openai_receipt(receipt, x->name);
}

static struct str model_path(struct str model, struct arena *a)
{
    if (str_starts(model, STR("models/")) || str_starts(model, STR("tunedModels/")))
        return model;
    return arena_printf(a, "models/%.*s", STR_FMT(model));
}

static enum err write_single(struct neutral_request *r, const struct target *t, struct arena *a,
                             struct buf *out, struct receipt *receipt, struct link *link,
                             struct err_info *info)
{
    struct json_writer w;
    link->schema_tool = false;
    if (r->inputs_n != 1 || !r->inputs)
        return err_set(info, ERR_INVALID, "this provider takes one text at a time");
    drop(r, receipt);
    json_writer_init(&w, out);
    put_one(&w, r, STR_NULL, r->inputs->s);
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

static enum err write_batch(struct neutral_request *r, const struct target *t, struct arena *a,
                            struct buf *out, struct receipt *receipt, struct link *link,
                            struct err_info *info)
{
    struct json_writer w;
    struct str model = model_path(t->model, a);
    link->schema_tool = false;
    drop(r, receipt);
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, STR("requests"));
    json_open_array(&w);
    for (const struct text_list *s = r->inputs; s; s = s->next)
        put_one(&w, r, model, s->s);
    json_close_array(&w);
    json_close_object(&w);
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- answers ---- */

static enum err no_vector(struct fault *f)
{
    return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer lacks a vector");
}

/* One vector or several: either form may come from a server that is like Google's. */
static enum err read_reply(struct neutral_reply *out, const struct json_doc *d,
                           const struct link *link, struct str provider, struct arena *a,
                           struct fault *f)
{
    uint32_t root = json_root(d), list = gemini_get(d, root, "embeddings"),
             one = gemini_get(d, root, "embedding");
    struct neutral_vector **end = &out->vectors;
    *out = (struct neutral_reply){.created_s = 0};
    if (gemini_is_error(d, root, provider, f))
        return f->err;
    for (uint32_t i = one != JSON_NONE ? one : json_child(d, list); i != JSON_NONE;
         i = one != JSON_NONE ? JSON_NONE : json_sibling(d, list, i)) {
        uint32_t values = gemini_get(d, i, "values");
        if (!json_is(d, values, JSON_ARRAY))
            return no_vector(f);
        if (!(*end = arena_zalloc(a, sizeof **end)))
            return ERR_NOMEM;
        (*end)->raw = json_raw(d, values);
        end = &(*end)->next;
    }
    if (!out->vectors)
        return no_vector(f);
    out->has_usage = usage_read_gemini(d, gemini_get(d, root, "usageMetadata"), &out->usage);
    return ERR_OK;
}

static void put_vector(struct json_writer *w, const struct neutral_vector *v, struct arena *a)
{
    json_open_object(w);
    json_key(w, STR("values"));
    if (v->raw.n)
        json_put_raw(w, v->raw);
    else
        openai_put_floats(w, v->base64, a);
    json_close_object(w);
}

static void write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                        struct buf *out)
{
    struct json_writer w;
    bool one = as->op == OP_GEMINI_EMBED;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, one ? STR("embedding") : STR("embeddings"));
    if (one && r->vectors) {
        put_vector(&w, r->vectors, a);
    } else {
        json_open_array(&w);
        for (const struct neutral_vector *v = r->vectors; v; v = v->next)
            put_vector(&w, v, a);
        json_close_array(&w);
    }
    json_close_object(&w);
}

const struct codec codec_gemini_embed = {
    .op = OP_GEMINI_EMBED,
    .read_request = read_single,
    .write_request = write_single,
    .read_reply = read_reply,
    .write_reply = write_reply,
};

const struct codec codec_gemini_embeds = {
    .op = OP_GEMINI_EMBEDS,
    .read_request = read_batch,
    .write_request = write_batch,
    .read_reply = read_reply,
    .write_reply = write_reply,
};
