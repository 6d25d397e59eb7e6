/* gemini/logprobs: logprobsResult from and to OpenAI's logprobs.
 *
 * Gemini: {chosenCandidates:[{token,tokenId,logProbability}],
 * topCandidates:[{candidates:[…]}]}, side by side; OpenAI:
 * {content:[{token,logprob,bytes,top_logprobs:[…]}],refusal}. */
#include "llm/gemini/gemini.h"

#define LOGPROBS_MAX ((size_t)4 << 20)

/* ---- to OpenAI ---- */

static void put_token(struct json_writer *w, const struct json_doc *d, uint32_t at, struct arena *a)
{
    struct str token;
    uint32_t p = json_get(d, at, STR("logProbability"));
    json_key(w, STR("token"));
    json_put_string(w, json_string(d, json_get(d, at, STR("token")), a, &token) ? token : STR(""));
    json_key(w, STR("logprob"));
    json_put_raw(w, json_is(d, p, JSON_NUMBER) ? json_raw(d, p) : STR("0"));
    json_field_null(w, "bytes");
}

static void put_content(struct json_writer *w, const struct json_doc *d, uint32_t chosen,
                        uint32_t tops, struct arena *a)
{
    uint32_t top = json_child(d, tops);
    for (uint32_t i = json_child(d, chosen); i != JSON_NONE; i = json_sibling(d, chosen, i)) {
        uint32_t list = json_get(d, top, STR("candidates"));
        json_open_object(w);
        put_token(w, d, i, a);
        json_key(w, STR("top_logprobs"));
        json_open_array(w);
        for (uint32_t k = json_child(d, list); k != JSON_NONE; k = json_sibling(d, list, k)) {
            json_open_object(w);
            put_token(w, d, k, a);
            json_close_object(w);
        }
        json_close_array(w);
        json_close_object(w);
        if (top != JSON_NONE)
            top = json_sibling(d, tops, top);
    }
}

struct str gemini_logprobs_read(const struct json_doc *d, uint32_t result, struct arena *a)
{
    uint32_t chosen = json_get(d, result, STR("chosenCandidates"));
    struct json_writer w;
    struct buf b;
    if (!json_is(d, chosen, JSON_ARRAY))
        return STR_NULL;
    buf_init(&b, LOGPROBS_MAX);
    json_writer_init(&w, &b);
    json_open_object(&w);
    json_key(&w, STR("content"));
    json_open_array(&w);
    put_content(&w, d, chosen, json_get(d, result, STR("topCandidates")), a);
    json_close_array(&w);
    json_field_null(&w, "refusal");
    json_close_object(&w);
    if (buf_failed(&b))
        a->failed = true;
    struct str out = arena_dup(a, buf_view(&b));
    buf_release(&b);
    return out;
}

/* ---- from OpenAI ---- */

static void put_candidate(struct json_writer *w, const struct json_doc *d, uint32_t at)
{
    uint32_t token = json_get(d, at, STR("token")), p = json_get(d, at, STR("logprob"));
    json_open_object(w);
    json_key(w, STR("token"));
    json_put_raw(w, json_is(d, token, JSON_STRING) ? json_raw(d, token) : STR("\"\""));
    json_key(w, STR("logProbability"));
    json_put_raw(w, json_is(d, p, JSON_NUMBER) ? json_raw(d, p) : STR("0"));
    json_close_object(w);
}

static void put_result(struct json_writer *w, const struct json_doc *d, uint32_t content)
{
    json_key(w, STR("logprobsResult"));
    json_open_object(w);
    json_key(w, STR("chosenCandidates"));
    json_open_array(w);
    for (uint32_t i = json_child(d, content); i != JSON_NONE; i = json_sibling(d, content, i))
        put_candidate(w, d, i);
    json_close_array(w);
    json_key(w, STR("topCandidates"));
    json_open_array(w);
    for (uint32_t i = json_child(d, content); i != JSON_NONE; i = json_sibling(d, content, i)) {
        uint32_t list = json_get(d, i, STR("top_logprobs"));
        json_open_object(w);
        json_key(w, STR("candidates"));
        json_open_array(w);
        if (json_is(d, list, JSON_ARRAY))
            for (uint32_t k = json_child(d, list); k != JSON_NONE; k = json_sibling(d, list, k))
                put_candidate(w, d, k);
        json_close_array(w);
        json_close_object(w);
    }
    json_close_array(w);
    json_close_object(w);
}

/* On a tape of its own: a reader of events may be at work on the thread's. */
void gemini_logprobs_put(struct json_writer *w, struct str openai)
{
    struct json_steps *steps = NULL;
    struct json_doc d;
    if (!openai.n)
        return;
    enum err e = json_steps_new(&steps, openai);
    if (!e)
        e = json_step(steps, SIZE_MAX, &d, NULL);
    if (e == ERR_NOMEM)
        w->out->failed = true;
    if (!e) {
        uint32_t content = json_get(&d, json_root(&d), STR("content"));
        if (json_is(&d, content, JSON_ARRAY))
            put_result(w, &d, content);
    }
    json_steps_free(&steps);
}
