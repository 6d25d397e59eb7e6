/* model_caps: what is known of a model: limits, abilities, and the rules that age with its
 * generation.
 *
 * Plain data out of a catalogue (llm/model_catalogue.h), which is immutable once
 * loaded: any thread, and pointers stay good as long as the catalogue. */
#ifndef LYSS_LLM_MODEL_CAPS_H
#define LYSS_LLM_MODEL_CAPS_H

#include "llm/effort.h"

struct model_catalogue;

/* X(STYLE, name): how a model is told to think. */
#define THINK_STYLES(X)                                                                            \
    X(UNKNOWN, "unknown")                                                                          \
    X(NONE, "none")         /* it cannot */                                                        \
    X(EFFORT, "effort")     /* OpenAI: reasoning_effort, reasoning.effort */                       \
    X(BUDGET, "budget")     /* Anthropic up to 4.5: enabled + budget_tokens; Gemini 2.5:           \
                               thinkingBudget */                                                   \
    X(EITHER, "either")     /* Anthropic 4.6: a budget, or adaptive */                             \
    X(ADAPTIVE, "adaptive") /* Anthropic 4.7 and later: adaptive, output_config.effort */          \
    X(LEVEL, "level")       /* Gemini 3: thinkingLevel */                                          \
    X(TOGGLE, "toggle")     /* DeepSeek: thinking.type, reasoning_effort */

enum thinking_style {
#define X(style, name) THINK_##style,
    THINK_STYLES(X)
#undef X
        THINK_COUNT
};

/* X(ABILITY, bit, name) */
#define MODEL_ABILITIES(X)                                                                         \
    X(TOOLS, 1, "tools")                                                                           \
    X(VISION, 2, "vision")                                                                         \
    X(JSON_SCHEMA, 4, "json_schema") /* output by a schema, native or by a forced tool */          \
    X(THINKING, 8, "thinking")                                                                     \
    X(DOCUMENTS, 16, "documents") /* PDF */                                                        \
    X(AUDIO, 32, "audio")         /* in */                                                         \
    X(JSON_OBJECT, 64, "json_object")                                                              \
    X(PROMPT_CACHE, 128, "prompt_cache")

enum {
#define X(ability, bit, name) CAP_##ability = (bit),
    MODEL_ABILITIES(X)
#undef X
};

/* X(RULE, bit, name) */
#define MODEL_RULES(X)                                                                             \
    /* wants max_completion_tokens, refuses max_tokens */                                          \
    X(MAX_COMPLETION_TOKENS, 1, "max_completion_tokens")                                           \
    /* refuses temperature, top_p, penalties, logprobs that are not the default */                 \
    X(FIXED_SAMPLING, 2, "fixed_sampling")                                                         \
    /* the same, but only while it thinks (effort other than none) */                              \
    X(FIXED_SAMPLING_THINKING, 4, "fixed_sampling_while_thinking")                                 \
    /* temperature or top_p, not both */                                                           \
    X(TEMPERATURE_OR_TOP_P, 8, "temperature_or_top_p")                                             \
    X(NO_STOP, 16, "no_stop") /* refuses stop sequences */                                         \
    /* refuses parallel_tool_calls */                                                              \
    X(NO_PARALLEL_SWITCH, 32, "no_parallel_switch")                                                \
    X(DEVELOPER_ROLE, 64, "developer_role") /* knows the role developer */                         \
    /* a last turn of the assistant is refused */                                                  \
    X(NO_PREFILL, 128, "no_prefill")                                                               \
    X(THINKING_DEFAULT_ON, 256, "thinking_default_on")                                             \
    X(THINKING_CANNOT_BE_OFF, 512, "thinking_cannot_be_off")                                       \
    /* function tools and an effort above none, be it the default, only over /v1/responses */      \
    X(EFFORT_WITH_TOOLS_WANTS_RESPONSES, 1024, "effort_with_tools_wants_responses")                \
    /* only over /v1/responses */                                                                  \
    X(RESPONSES_ONLY, 2048, "responses_only")                                                      \
    /* Anthropic output_config.format, Gemini responseJsonSchema */                                \
    X(JSON_SCHEMA_NATIVE, 4096, "json_schema_native")                                              \
    /* Gemini before 3: no JSON output beside function declarations */                             \
    X(JSON_NOT_WITH_TOOLS, 8192, "json_not_with_tools")                                            \
    /* Gemini 3: a replayed functionCall must bring its thoughtSignature */                        \
    X(SIGNATURE_REQUIRED, 16384, "signature_required")                                             \
    /* while it thinks, a tool cannot be forced */                                                 \
    X(FORCED_TOOL_NOT_THINKING, 32768, "forced_tool_not_while_thinking")                           \
    X(NO_FORCED_TOOL, 65536, "no_forced_tool") /* tool choice is auto or none only */

enum {
#define X(rule, bit, name) RULE_##rule = (bit),
    MODEL_RULES(X)
#undef X
};

struct model_caps {
    uint32_t context_tokens, output_tokens; /* 0: unknown */
    uint32_t abilities, known_abilities;    /* CAP_…; a bit that is not known: assume yes */
    uint32_t rules;                         /* RULE_… */
    uint8_t thinking;                       /* enum thinking_style */
    uint8_t efforts;                        /* EFFORT_BIT(…) that it takes; 0: unknown */
    uint8_t effort_default;                 /* enum effort where the caller names none */
    uint8_t estimate_percent;               /* real tokens by estimated ones; 0: the provider's */
    uint32_t budget_min, budget_max;        /* of thinking tokens; 0: unknown */
};

/* The catalogue that is built in. Never NULL. */
const struct model_catalogue *model_catalogue_builtin(void);

/* What is known of a model of a provider (a row name of llm/provider), by its upstream name: of
 * an exact name before patterns, of patterns the one with most letters. Never NULL: a model that
 * nothing is known of has a row of its own in which all is unknown. */
const struct model_caps *model_caps_find(const struct model_catalogue *c, struct str provider,
                                         struct str model);

/* May a model be asked for this? Unknown: yes. */
static inline bool model_caps_can(const struct model_caps *m, uint32_t ability)
{
    return !(m->known_abilities & ~m->abilities & ability);
}
static inline bool model_caps_rule(const struct model_caps *m, uint32_t rule)
{
    return (m->rules & rule) != 0;
}
/* The step that a model takes nearest to the one wanted, the higher of two; none only for none.
 * EFFORT_NONE that it does not take: its lowest. All unknown: what is wanted. */
enum effort model_caps_effort(const struct model_caps *m, enum effort wanted);
/* A budget of thinking tokens within what the model takes. */
uint32_t model_caps_budget(const struct model_caps *m, uint64_t wanted);

#endif
