/* usage: from an upstream's inclusive totals to disjoint counters.
 *
 * OpenAI counts cached, cache-writing and audio tokens within the prompt, and
 * reasoning and audio within the completion.  Each part is taken out of what is
 * left of its total, so that the counters always sum up to it.  Anthropic counts
 * cached and cache-writing tokens beside the input; Gemini counts thoughts beside
 * the candidates, and what its own tools read beside the prompt. */
#include "llm/usage.h"

uint64_t usage_input_tokens(const struct usage *u)
{
    return (uint64_t)u->in_uncached + u->cache_read + u->cache_write_5m + u->cache_write_1h +
           u->audio_in;
}

uint64_t usage_output_tokens(const struct usage *u)
{
    return (uint64_t)u->out_text + u->out_reasoning + u->audio_out;
}

bool usage_is_zero(const struct usage *u)
{
    return !usage_input_tokens(u) && !usage_output_tokens(u) && !u->images;
}

/* A counter of object obj; false when it is absent or no count. */
static bool count(const struct json_doc *d, uint32_t obj, struct str name, uint32_t *out)
{
    int64_t v;
    if (!json_i64(d, json_get(d, obj, name), &v) || v < 0)
        return false;
    *out = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    return true;
}

/* Moves up to part out of *total. */
static uint32_t carve(uint32_t *total, uint32_t part)
{
    if (part > *total)
        part = *total;
    *total -= part;
    return part;
}

static uint32_t count_or_zero(const struct json_doc *d, uint32_t obj, struct str name)
{
    uint32_t v = 0;
    return count(d, obj, name, &v) ? v : 0;
}

bool usage_read_openai(const struct json_doc *d, uint32_t obj, struct usage *out)
{
    if (!json_is(d, obj, JSON_OBJECT))
        return false;
    uint32_t in = 0, gen = 0, hit = 0, miss = 0;
    bool chat = count(d, obj, STR("prompt_tokens"), &in);
    chat = count(d, obj, STR("completion_tokens"), &gen) || chat;
    bool responses = false;
    if (!chat) {
        responses = count(d, obj, STR("input_tokens"), &in);
        responses = count(d, obj, STR("output_tokens"), &gen) || responses;
    }
    bool split = count(d, obj, STR("prompt_cache_hit_tokens"), &hit);
    split = count(d, obj, STR("prompt_cache_miss_tokens"), &miss) || split;
    if (!chat && !responses && !split)
        return false;
    if (split && in == 0)
        in = hit > UINT32_MAX - miss ? UINT32_MAX : hit + miss;

    uint32_t in_more =
        json_get(d, obj, responses ? STR("input_tokens_details") : STR("prompt_tokens_details"));
    uint32_t gen_more = json_get(
        d, obj, responses ? STR("output_tokens_details") : STR("completion_tokens_details"));
    struct usage u = {0};
    u.cache_read = carve(&in, split ? hit : count_or_zero(d, in_more, STR("cached_tokens")));
    u.cache_write_5m = carve(&in, count_or_zero(d, in_more, STR("cache_write_tokens")));
    u.audio_in = carve(&in, count_or_zero(d, in_more, STR("audio_tokens")));
    u.in_uncached = in;
    u.out_reasoning = carve(&gen, count_or_zero(d, gen_more, STR("reasoning_tokens")));
    u.audio_out = carve(&gen, count_or_zero(d, gen_more, STR("audio_tokens")));
    u.out_text = gen;
    *out = u;
    return true;
}

/* Anthropic names the tokens written to its cache as one total, as parts by how long they stay, or
 * both; a stream's later events have the total only, and then the parts known before hold. */
static bool cache_writes(const struct json_doc *d, uint32_t obj, struct usage *u)
{
    uint32_t parts = json_get(d, obj, STR("cache_creation")), total;
    bool found = count(d, parts, STR("ephemeral_5m_input_tokens"), &u->cache_write_5m);
    found = count(d, parts, STR("ephemeral_1h_input_tokens"), &u->cache_write_1h) || found;
    if (!count(d, obj, STR("cache_creation_input_tokens"), &total))
        return found;
    u->cache_write_1h = carve(&total, u->cache_write_1h);
    u->cache_write_5m = total;
    return true;
}

bool usage_read_anthropic(const struct json_doc *d, uint32_t obj, struct usage *u)
{
    uint32_t out, thought;
    bool found = count(d, obj, STR("input_tokens"), &u->in_uncached);
    found = count(d, obj, STR("cache_read_input_tokens"), &u->cache_read) || found;
    found = cache_writes(d, obj, u) || found;
    if (!count(d, obj, STR("output_tokens"), &out))
        return found;
    if (!count(d, json_get(d, obj, STR("output_tokens_details")), STR("thinking_tokens"), &thought))
        thought = u->out_reasoning;
    u->out_reasoning = carve(&out, thought);
    u->out_text = out;
    return true;
}

/* Tokens of one modality in a list of {"modality":"AUDIO","tokenCount":3}. */
static uint32_t modality(const struct json_doc *d, uint32_t list, struct str name)
{
    uint32_t n = 0;
    if (json_is(d, list, JSON_ARRAY))
        for (uint32_t i = json_child(d, list); i != JSON_NONE; i = json_sibling(d, list, i))
            if (json_string_is(d, json_get(d, i, STR("modality")), name))
                n = count_or_zero(d, i, STR("tokenCount"));
    return n;
}

bool usage_read_gemini(const struct json_doc *d, uint32_t obj, struct usage *out)
{
    const struct str audio = STR("AUDIO");
    uint32_t prompt = 0, tool = 0, gen = 0, thoughts = 0;
    bool any = count(d, obj, STR("promptTokenCount"), &prompt);
    any = count(d, obj, STR("toolUsePromptTokenCount"), &tool) || any;
    any = count(d, obj, STR("candidatesTokenCount"), &gen) || any;
    any = count(d, obj, STR("thoughtsTokenCount"), &thoughts) || any;
    if (!any)
        return false;
    uint32_t heard = modality(d, json_get(d, obj, STR("promptTokensDetails")), audio);
    uint32_t cached = modality(d, json_get(d, obj, STR("cacheTokensDetails")), audio);
    struct usage u = {.out_reasoning = thoughts};
    u.cache_read = carve(&prompt, count_or_zero(d, obj, STR("cachedContentTokenCount")));
    u.audio_in = carve(&prompt, heard > cached ? heard - cached : 0);
    u.in_uncached = prompt > UINT32_MAX - tool ? UINT32_MAX : prompt + tool;
    u.audio_out = carve(&gen, modality(d, json_get(d, obj, STR("candidatesTokensDetails")), audio));
    u.out_text = gen;
    *out = u;
    return true;
}
