/* usage: what one answer cost in tokens, in disjoint counters.
 *
 * No token is in two counters, so a cost is a dot product and the totals of
 * every dialect are sums.  Counters are per request and saturate.  Plain data. */
#ifndef LYSS_LLM_USAGE_H
#define LYSS_LLM_USAGE_H

#include "core/json_read.h"

/* X(name, is input): every counter, in the order of rows and journal records. */
#define USAGE_COUNTERS(X)                                                                          \
    X(in_uncached, true)                                                                           \
    X(cache_read, true)                                                                            \
    X(cache_write_5m, true)                                                                        \
    X(cache_write_1h, true)                                                                        \
    X(out_text, false)                                                                             \
    X(out_reasoning, false)                                                                        \
    X(audio_in, true)                                                                              \
    X(audio_out, false)                                                                            \
    X(images, false)

struct usage {
#define X(name, input) uint32_t name;
    USAGE_COUNTERS(X)
#undef X
};

/* Everything that was read, cached or not. */
uint64_t usage_input_tokens(const struct usage *u);
/* Everything that was written, audible and hidden reasoning included; not images. */
uint64_t usage_output_tokens(const struct usage *u);
bool usage_is_zero(const struct usage *u);

/* Reads an OpenAI `usage` object: chat, completions and embeddings (prompt_tokens …), Responses
 * (input_tokens …), DeepSeek's prompt_cache_hit_tokens and _miss_tokens. Its totals are inclusive;
 * parts larger than their total are cut to it. A member that is absent leaves zero.
 * False, and *out untouched: obj is no object, or holds none of the totals. */
bool usage_read_openai(const struct json_doc *d, uint32_t obj, struct usage *out);
/* Reads a Gemini `usageMetadata` object. The prompt holds cached tokens; tokens of tool use are
 * beside it; candidates and thoughts are the output. Same rules. */
bool usage_read_gemini(const struct json_doc *d, uint32_t obj, struct usage *out);

/* Reads an Anthropic `usage` object into *u. Its counters are disjoint but for output_tokens, which
 * includes thinking. In a stream they are cumulative and some events leave some out, so only what
 * is there is assigned; begin with zeros. False, and *u untouched: nothing is there. */
bool usage_read_anthropic(const struct json_doc *d, uint32_t obj, struct usage *u);

#endif
