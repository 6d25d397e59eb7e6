/* responses/reply_in: a response object as a reply. Items of tools that ran at the upstream are
 * passed over: nobody who asked in another form asked for them. */
#include "llm/responses/responses.h"

#include "llm/carry.h"

struct reply_in {
    const struct json_doc *d;
    struct arena *a;
    struct neutral_candidate *c;
    struct part **end;
    struct buf logprobs;
    bool calls;
};

static struct part *add(struct reply_in *in, enum part_type type)
{
    struct part *p = neutral_part(in->a, type, in->end);
    if (p)
        in->end = &p->next;
    return p;
}

static void read_message(struct reply_in *in, uint32_t item)
{
    const struct json_doc *d = in->d;
    uint32_t list = json_get(d, item, STR("content"));
    if (!json_is(d, list, JSON_ARRAY))
        return;
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i)) {
        uint32_t type = json_get(d, i, STR("type"));
        bool refusal = json_string_is(d, type, STR("refusal"));
        if (!refusal && !json_string_is(d, type, STR("output_text")))
            continue;
        struct part *p = add(in, refusal ? PART_REFUSAL : PART_TEXT);
        if (!p)
            return;
        json_string(d, json_get(d, i, refusal ? STR("refusal") : STR("text")), in->a, &p->text);
        uint32_t logprobs = json_get(d, i, STR("logprobs"));
        if (!json_is(d, logprobs, JSON_ARRAY) || json_child(d, logprobs) == JSON_NONE)
            continue;
        struct str raw = json_raw(d, logprobs);
        if (in->logprobs.n)
            buf_char(&in->logprobs, ',');
        buf_add(&in->logprobs, raw.p + 1, raw.n - 2);
    }
}

static void read_call(struct reply_in *in, uint32_t item, bool custom)
{
    const struct json_doc *d = in->d;
    struct part *p = add(in, PART_TOOL_USE);
    if (!p)
        return;
    in->calls = true;
    json_string(d, json_get(d, item, STR("call_id")), in->a, &p->id);
    json_string(d, json_get(d, item, STR("name")), in->a, &p->name);
    json_string(d, json_get(d, item, custom ? STR("input") : STR("arguments")), in->a, &p->args);
    if (custom)
        p->args = responses_custom_args(p->args, in->a);
}

static void read_reasoning(struct reply_in *in, uint32_t item)
{
    struct part found = {.type = PART_REASONING};
    if (!responses_read_reasoning(in->d, item, in->a, &found))
        return;
    struct part *p = add(in, PART_REASONING);
    if (p)
        *p = found;
}

static void read_item(struct reply_in *in, uint32_t item)
{
    uint32_t type = json_get(in->d, item, STR("type"));
    if (json_string_is(in->d, type, STR("message")))
        read_message(in, item);
    else if (json_string_is(in->d, type, STR("reasoning")))
        read_reasoning(in, item);
    else if (json_string_is(in->d, type, STR("function_call")))
        read_call(in, item, false);
    else if (json_string_is(in->d, type, STR("custom_tool_call")))
        read_call(in, item, true);
}

static enum finish finish_of(const struct json_doc *d, uint32_t obj, bool calls)
{
    uint32_t why = json_get(d, json_get(d, obj, STR("incomplete_details")), STR("reason"));
    if (json_string_is(d, why, STR("content_filter")))
        return FINISH_CONTENT_FILTER;
    if (json_string_is(d, why, STR("max_output_tokens")))
        return FINISH_LENGTH;
    if (json_string_is(d, json_get(d, obj, STR("status")), STR("incomplete")))
        return FINISH_LENGTH; /* for whatever reason: it was cut */
    return calls ? FINISH_TOOL_CALLS : FINISH_STOP;
}

enum err responses_read_object(struct neutral_reply *out, const struct json_doc *d, uint32_t obj,
                               struct str provider, struct arena *a, struct fault *f)
{
    uint32_t error = json_get(d, obj, STR("error")), list = json_get(d, obj, STR("output"));
    uint32_t status = json_get(d, obj, STR("status"));
    if (error != JSON_NONE && !json_is(d, error, JSON_NULL)) {
        fault_from_object(f, provider, d, error);
        return f->err;
    }
    if (!json_is(d, list, JSON_ARRAY))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is no response object");
    if (json_is(d, status, JSON_STRING) && !json_string_is(d, status, STR("completed")) &&
        !json_string_is(d, status, STR("incomplete")))
        return fault_set(f, ERR_UPSTREAM_PROTOCOL,
                         "the upstream's answer is neither completed nor incomplete");

    struct reply_in in = {.d = d, .a = a, .c = arena_zalloc(a, sizeof *in.c)};
    if (!in.c)
        return ERR_NOMEM;
    in.end = &in.c->parts;
    buf_init(&in.logprobs, d->text.n);
    for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i))
        read_item(&in, i);
    if (in.logprobs.n)
        in.c->logprobs = arena_printf(a, "{\"content\":[%.*s],\"refusal\":null}",
                                      STR_FMT(buf_view(&in.logprobs)));
    bool failed = buf_failed(&in.logprobs);
    buf_release(&in.logprobs);
    in.c->finish = (uint8_t)finish_of(d, obj, in.calls);
    out->candidates = in.c;
    json_string(d, json_get(d, obj, STR("id")), a, &out->id);
    json_string(d, json_get(d, obj, STR("model")), a, &out->model);
    double created;
    if (json_double(d, json_get(d, obj, STR("created_at")), &created) && created >= 0 &&
        created < 1e12)
        out->created_s = (int64_t)created;
    out->has_usage = usage_read_openai(d, json_get(d, obj, STR("usage")), &out->usage);
    return failed || arena_failed(a) ? ERR_NOMEM : ERR_OK;
}

enum err responses_read_reply(struct neutral_reply *out, const struct json_doc *d,
                              const struct link *link, struct str provider, struct arena *a,
                              struct fault *f)
{
    (void)link;
    *out = (struct neutral_reply){0};
    return responses_read_object(out, d, json_root(d), provider, a, f);
}
