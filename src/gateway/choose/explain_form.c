/* explain_form: the two texts, and between them explain(). */
#include "gateway/choose/explain_form.h"

#include <stdio.h>

#include "core/json_read.h"
#include "core/json_write.h"
#include "llm/wire_openai_request.h"

#define TEXT_MAX 200

static const struct {
    const char *name;
    unsigned need;
} needs[] = {{"tools", NEED_TOOLS},
             {"vision", NEED_VISION},
             {"json_schema", NEED_JSON_SCHEMA},
             {"thinking", NEED_THINKING}};

#define NEEDS (sizeof needs / sizeof *needs)

/* ---- the question ---------------------------------------------------------------------------- */

void explain_query_put(const struct explain_query *q, struct buf *out)
{
    struct json_writer w;
    char hex[2 * sizeof q->digest + 1];
    for (size_t i = 0; i < sizeof q->digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", q->digest[i]);
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_i64(&w, "tenant_id", q->tenant_id);
    json_field_string(&w, "model", q->model);
    json_field_string(&w, "key_digest", q->by_key ? str_c(hex) : STR(""));
    json_field_string(&w, "op", str_c(op_row(q->op)->name));
    for (size_t i = 0; i < NEEDS; i++) {
        json_key(&w, str_c(needs[i].name));
        json_put_bool(&w, (q->needs & needs[i].need) != 0);
    }
    json_field_i64(&w, "estimate_in", q->estimate_in);
    json_close_object(&w);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_digest(struct explain_query *q, struct str hex)
{
    q->by_key = hex.n > 0;
    if (!q->by_key)
        return true;
    if (hex.n != 2 * sizeof q->digest)
        return false;
    for (size_t i = 0; i < sizeof q->digest; i++) {
        int high = nibble(hex.p[2 * i]), low = nibble(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        q->digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_members(struct explain_query *q, const struct json_doc *d, struct arena *a)
{
    struct str op, digest;
    int64_t tokens;
    uint32_t root = json_root(d);
    bool on;
    for (size_t i = 0; i < NEEDS; i++) {
        if (!json_bool(d, json_get(d, root, str_c(needs[i].name)), &on))
            return false;
        q->needs |= on ? needs[i].need : 0;
    }
    if (!json_i64(d, json_get(d, root, STR("tenant_id")), &q->tenant_id) ||
        !json_string(d, json_get(d, root, STR("model")), a, &q->model) ||
        !json_string(d, json_get(d, root, STR("key_digest")), a, &digest) ||
        !json_string(d, json_get(d, root, STR("op")), a, &op) ||
        !json_i64(d, json_get(d, root, STR("estimate_in")), &tokens))
        return false;
    q->op = op_find(op);
    q->estimate_in = (uint32_t)tokens;
    return q->op != OP_NONE && tokens >= 0 && tokens <= UINT32_MAX && read_digest(q, digest);
}

enum err explain_query_get(struct explain_query *q, struct str text, struct arena *a,
                           struct err_info *info)
{
    struct json_doc d;
    *q = (struct explain_query){0};
    enum err e = json_parse(&d, text, info);
    if (e)
        return e;
    /* All that must be there are, and there are no more. */
    bool good = json_is(&d, json_root(&d), JSON_OBJECT) &&
                json_size(&d, json_root(&d)) == 5 + NEEDS && read_members(q, &d, a);
    return arena_failed(a) ? ERR_NOMEM
           : good          ? ERR_OK
                           : err_set(info, ERR_INVALID, "this is not a question to be explained");
}

/* ---- the answer ------------------------------------------------------------------------------ */

static size_t put_wait(char *out, size_t cap, uint64_t wait_ms)
{
    *out = 0;
    return wait_ms ? (size_t)snprintf(out, cap, ", again in about %llu s",
                                      (unsigned long long)(wait_ms + 999) / 1000)
                   : 0;
}

struct credentials {
    unsigned n, shut;
    enum reason why; /* of the first that is shut, and its wait */
    uint64_t wait_ms;
};

static const char *verdict(const struct explained *x, const struct credentials *c,
                           char out[TEXT_MAX])
{
    size_t n;
    if (x->why)
        n = (size_t)snprintf(out, TEXT_MAX, "%s", reason_words(x->why));
    else if (!x->first)
        n = (size_t)snprintf(out, TEXT_MAX, "eligible; asked when no higher priority is left");
    else
        n = (size_t)snprintf(out, TEXT_MAX, "eligible; %.0f %% of the tier by weight",
                             x->share * 100);
    if (x->why || !c->shut) {
        put_wait(out + n, TEXT_MAX - n, x->wait_ms);
        return out;
    }
    n += (size_t)snprintf(out + n, TEXT_MAX - n, "; %u of %u credentials not: %s", c->shut, c->n,
                          reason_words(c->why));
    put_wait(out + n, TEXT_MAX - n, c->wait_ms);
    return out;
}

/* Each credential by itself: the channel as a whole may be asked while one of them may. */
static void put_credentials(struct json_writer *w, const struct eligible_ask *ask,
                            const struct explained *x, struct credentials *out)
{
    const struct channel *ch = x->channel;
    struct gate_ask gate = eligible_gate_ask(ask, x->upstream);
    json_key(w, STR("credentials"));
    json_open_array(w);
    for (unsigned i = 0; i < ch->credentials_n; i++) {
        uint64_t wait_ms = 0;
        enum reason why = gate_look(ch, ch->credentials[i].cell, &gate, &wait_ms);
        out->n++;
        if (why && !out->shut++) {
            out->why = why;
            out->wait_ms = wait_ms;
        }
        json_open_object(w);
        json_field_i64(w, "id", ch->credentials[i].id);
        json_field_string(w, "reason", str_c(reason_key(why)));
        json_field_i64(w, "wait_ms", (int64_t)wait_ms);
        json_close_object(w);
    }
    json_close_array(w);
}

static void put_candidate(struct json_writer *w, const struct eligible_ask *ask,
                          const struct explained *x)
{
    char text[TEXT_MAX];
    struct credentials c = {0};
    json_open_object(w);
    json_field_string(w, "channel", x->channel->name);
    json_field_i64(w, "channel_id", x->channel->id);
    json_field_string(w, "upstream_model", x->upstream);
    json_field_i64(w, "priority", x->priority);
    json_field_i64(w, "weight", (int64_t)x->weight);
    json_field_bool(w, "eligible", !x->why);
    json_field_bool(w, "first", x->first);
    json_field_string(w, "reason", str_c(reason_key(x->why)));
    json_field_i64(w, "wait_ms", (int64_t)x->wait_ms);
    put_credentials(w, ask, x, &c);
    json_field_string(w, "text", str_c(verdict(x, &c, text)));
    json_close_object(w);
}

static void put_answer(const struct snapshot *s, const struct tenant *t, const struct route *r,
                       const struct eligible_ask *ask, const struct explained *all, unsigned n,
                       struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_i64(&w, "rev", s->rev);
    json_field_i64(&w, "route_id", r->id);
    json_field_string(&w, "route", r->id ? r->name : STR(""));
    json_field_string(&w, "algorithm", str_c(r->algorithm->name));
    json_key(&w, STR("in_use"));
    json_open_array(&w);
    for (unsigned i = 0; i < t->channels_n; i++)
        json_put_i64(&w, t->channels[i]->id);
    json_close_array(&w);
    json_key(&w, STR("candidates"));
    json_open_array(&w);
    for (unsigned i = 0; i < n; i++)
        put_candidate(&w, ask, &all[i]);
    json_close_array(&w);
    json_close_object(&w);
    buf_char(out, '\n');
}

enum err explain_answer(const struct snapshot *s, const struct model_catalogue *catalogue,
                        const struct explain_query *q, uint64_t now_ms, struct buf *out,
                        struct err_info *info)
{
    struct explained all[CANDIDATES_MAX];
    struct route route;
    const struct tenant *t = NULL;
    unsigned n;
    struct eligible_ask ask = {.catalogue = catalogue,
                               .op = q->op,
                               .needs = q->needs,
                               .estimate_in = q->estimate_in,
                               .now_ms = now_ms};
    for (unsigned i = 0; i < s->tenants_n; i++)
        if (s->tenants[i].id == q->tenant_id)
            t = &s->tenants[i];
    if (!t)
        return err_set(info, ERR_NOT_FOUND, "there is no such tenant");
    if (q->by_key) {
        ask.key = snapshot_key(s, q->digest);
        if (!ask.key || ask.key->tenant != t)
            return err_set(info, ERR_INVALID, "the key is not in force");
    }
    if (!explain(t, q->model, &ask, &route, all, &n))
        return err_set(info, ERR_MODEL_NOT_FOUND, "no route and no channel serves '%.*s'",
                       STR_FMT(str_make(q->model.p, q->model.n < 128 ? q->model.n : 128)));
    put_answer(s, t, &route, &ask, all, n, out);
    return ERR_OK;
}
