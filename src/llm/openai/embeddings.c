/* embeddings: texts in, vectors out; a vector is an array of numbers or base64 of float32.
 *
 * https://platform.openai.com/docs/api-reference/embeddings.  Its SDKs ask for
 * base64 unless told otherwise. */
#include "core/base64.h"
#include "llm/openai/openai.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUTS_MAX 2048 /* OpenAI's own */

/* ---- requests ---- */

static void in_input(struct openai_in *in, uint32_t i)
{
    struct neutral_request *r = in->r;
    struct text_list **end = &r->inputs;
    struct str s;
    r->single = json_is(in->d, i, JSON_STRING);
    if (r->single) {
        if (openai_string(in, i, &s) && !s.n)
            openai_fail(in, i, NULL, "must not be empty");
        neutral_text(in->a, end, s);
        r->inputs_n = 1;
        return;
    }
    if (!json_is(in->d, i, JSON_ARRAY) || json_child(in->d, i) == JSON_NONE) {
        openai_fail(in, i, NULL, "must be a string or an array of strings");
        return;
    }
    OPENAI_EACH(in->d, e, i)
    {
        if (json_is(in->d, e, JSON_NUMBER) || json_is(in->d, e, JSON_ARRAY))
            openai_fail(in, e, NULL, "is a list of tokens, which cannot be translated: send text");
        else if (r->inputs_n == INPUTS_MAX)
            openai_fail(in, i, NULL, "must not have more than %d texts", INPUTS_MAX);
        if (in->err || !openai_string(in, e, &s))
            return;
        if (!s.n)
            openai_fail(in, e, NULL, "must not be empty");
        neutral_text(in->a, end, s);
        if (*end)
            end = &(*end)->next;
        r->inputs_n++;
    }
}

static void in_encoding(struct openai_in *in, uint32_t i)
{
    in->r->base64 = json_string_is(in->d, i, STR("base64"));
    if (!in->r->base64 && !json_string_is(in->d, i, STR("float")))
        openai_fail(in, i, NULL, "must be float or base64");
}

static void in_dimensions(struct openai_in *in, uint32_t i)
{
    int64_t v;
    if (!json_i64(in->d, i, &v) || v < 1)
        openai_fail(in, i, NULL, "must be an integer of at least 1");
    else
        in->r->dimensions = json_raw(in->d, i);
}

static void skip(struct openai_in *in, uint32_t i)
{
    /* the model: read apart, since the path may name it */
}

#define FN(f) IN_FN, 0, 0, 0, f

static const struct openai_field fields[] = {
    {STR("model"), FN(skip)},
    {STR("input"), FN(in_input)},
    {STR("encoding_format"), FN(in_encoding)},
    {STR("dimensions"), FN(in_dimensions)},
    {STR("user"), IN_TEXT, offsetof(struct neutral_request, user)},
};

enum err embeddings_read_request(struct neutral_request *out, const struct json_doc *d,
                                 struct str model, struct arena *a, struct err_info *info)
{
    struct openai_in in = {.d = d, .a = a, .r = out, .info = info};
    neutral_request_init(out, OP_EMBEDDINGS);
    openai_read_fields(&in, fields, sizeof fields / sizeof *fields);
    openai_read_model(&in, model);
    if (!in.err && !out->inputs)
        openai_fail(&in, 0, "input", "is missing: it must be a string or an array of strings");
    return openai_in_end(&in);
}

enum err embeddings_write_request(struct neutral_request *r, const struct target *t,
                                  struct arena *a, struct buf *out, struct receipt *receipt,
                                  struct link *link, struct err_info *info)
{
    struct json_writer w;
    link->schema_tool = false;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "model", t->model);
    json_key(&w, STR("input"));
    if (r->single && r->inputs) {
        json_put_string(&w, r->inputs->s);
    } else {
        json_open_array(&w);
        for (const struct text_list *s = r->inputs; s; s = s->next)
            json_put_string(&w, s->s);
        json_close_array(&w);
    }
    json_field_string(&w, "encoding_format", r->base64 ? STR("base64") : STR("float"));
    if (r->dimensions.n) {
        json_key(&w, STR("dimensions"));
        json_put_raw(&w, r->dimensions);
    }
    if (r->user.n)
        json_field_string(&w, "user", r->user);
    if (r->task_type.n)
        receipt_add(receipt, "taskType");
    if (r->title.n)
        receipt_add(receipt, "title");
    for (const struct extra *x = r->extras; x; x = x->next) {
        if (r->op != OP_EMBEDDINGS) {
            openai_receipt(receipt, x->name);
            continue;
        }
        json_key(&w, x->name);
        json_put_raw(&w, x->raw);
    }
    json_close_object(&w);
    return buf_failed(out) || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* ---- answers ---- */

/* Each stands where its index says; where none is said, after the one before it. */
static enum err read_vectors(struct neutral_reply *out, const struct json_doc *d, uint32_t data,
                             struct arena *a, struct fault *f)
{
    int64_t n = 0, at = 0;
    OPENAI_EACH(d, e, data)
    n++;
    struct neutral_vector *all = arena_zalloc(a, (size_t)(n + 1) * sizeof *all);
    if (!all)
        return ERR_NOMEM;
    OPENAI_EACH(d, e, data)
    {
        uint32_t v = json_get(d, e, STR("embedding"));
        json_i64(d, json_get(d, e, STR("index")), &at);
        if (at < 0 || at >= n || all[at].raw.p || all[at].base64.p)
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's answer numbers its vectors wrongly");
        if (json_is(d, v, JSON_ARRAY))
            all[at].raw = json_raw(d, v);
        else if (!json_string(d, v, a, &all[at].base64))
            return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                             "the upstream's answer has an entry without a vector");
        at++;
    }
    for (int64_t i = 0; i + 1 < n; i++)
        all[i].next = &all[i + 1];
    out->vectors = n ? all : NULL;
    return ERR_OK;
}

enum err embeddings_read_reply(struct neutral_reply *out, const struct json_doc *d,
                               const struct link *link, struct str provider, struct arena *a,
                               struct fault *f)
{
    uint32_t root = json_root(d), data = json_get(d, root, STR("data"));
    *out = (struct neutral_reply){.created_s = 0};
    if (!json_is(d, data, JSON_ARRAY))
        return openai_reply_error(d, provider, f);
    json_string(d, json_get(d, root, STR("model")), a, &out->model);
    enum err e = read_vectors(out, d, data, a, f);
    if (e)
        return e;
    out->has_usage = usage_read_openai(d, json_get(d, root, STR("usage")), &out->usage);
    return arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

/* strtof of a JSON number with something else behind it, and the same to the last bit: a quotient
 * of two doubles that are exact is rounded once, and rounding it again to float does no harm unless
 * it lies right between two floats. The other numbers, of 16 digits and more or with an exponent,
 * are left to strtof. */
static float to_float(const char *p)
{
    static const double tens[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *at = p + (*p == '-');
    uint64_t v = 0, bits;
    unsigned digits = 0, behind = 0;
    for (; *at >= '0' && *at <= '9' && digits < 16; at++, digits++)
        v = v * 10 + (uint64_t)(*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9' && digits < 16; at++, digits++, behind++)
            v = v * 10 + (uint64_t)(*at - '0');
    if (digits > 15 || !v || *at == 'e' || *at == 'E')
        return strtof(p, NULL);
    double d = (double)v / tens[behind];
    memcpy(&bits, &d, sizeof bits);
    if ((bits & 0x1fffffff) == 0x10000000)
        return strtof(p, NULL);
    return (float)(*p == '-' ? -d : d);
}

/* Numbers of a JSON array, as little-endian float32 in base64. */
static void put_base64(struct json_writer *w, struct str raw, struct arena *a)
{
    struct buf bytes;
    struct str part;
    buf_init(&bytes, raw.n * 4 + 4); /* a number takes two letters at least */
    raw = str_trim(raw);
    if (raw.n >= 2)
        raw = str_trim(str_make(raw.p + 1, raw.n - 2));
    while (raw.n && str_split(&raw, ',', &part)) {
        float single = to_float(str_trim(part).p); /* ends at what stands behind it */
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        char le[4] = {(char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
        buf_add(&bytes, le, sizeof le);
    }
    char *p = arena_alloc(a, BASE64_ROOM(bytes.n));
    json_put_string(w, p ? str_make(p, base64_encode(p, buf_view(&bytes))) : STR_NULL);
    if (buf_failed(&bytes))
        w->out->failed = true;
    buf_release(&bytes);
}

void openai_put_floats(struct json_writer *w, struct str base64, struct arena *a)
{
    size_t n = 0;
    char *p = arena_alloc(a, base64.n / 4 * 3 + 3);
    if (p && !base64_decode(p, &n, base64))
        n = 0;
    json_open_array(w);
    for (size_t i = 0; p && i + 4 <= n; i += 4) {
        char text[32];
        uint32_t bits = 0;
        float v;
        for (int b = 3; b >= 0; b--)
            bits = bits << 8 | (unsigned char)p[i + (size_t)b];
        memcpy(&v, &bits, sizeof v);
        snprintf(text, sizeof text, "%.9g", (double)v);
        bool finite = v - v == 0;
        json_put_raw(w, finite ? str_c(text) : STR("null"));
    }
    json_close_array(w);
}

static void put_vector(struct json_writer *w, const struct neutral_vector *v, bool base64,
                       struct arena *a)
{
    json_key(w, STR("embedding"));
    if (base64 && v->base64.n)
        json_put_string(w, v->base64);
    else if (base64)
        put_base64(w, v->raw, a);
    else if (v->raw.n)
        json_put_raw(w, v->raw);
    else
        openai_put_floats(w, v->base64, a);
}

void embeddings_write_reply(const struct neutral_reply *r, const struct answer *as, struct arena *a,
                            struct buf *out)
{
    struct json_writer w;
    int64_t index = 0;
    uint64_t in = usage_input_tokens(&r->usage);
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "object", STR("list"));
    json_key(&w, STR("data"));
    json_open_array(&w);
    for (const struct neutral_vector *v = r->vectors; v; v = v->next) {
        json_open_object(&w);
        json_field_string(&w, "object", STR("embedding"));
        json_field_i64(&w, "index", index++);
        put_vector(&w, v, as->base64, a);
        json_close_object(&w);
    }
    json_close_array(&w);
    json_field_string(&w, "model", r->model.n ? r->model : as->model);
    if (!r->has_usage)
        in = as->estimate_in; /* the SDKs' types have no place for an unknown */
    json_key(&w, STR("usage"));
    json_open_object(&w);
    json_key(&w, STR("prompt_tokens")), json_put_u64(&w, in);
    json_key(&w, STR("total_tokens")), json_put_u64(&w, in);
    json_close_object(&w);
    json_close_object(&w);
}
