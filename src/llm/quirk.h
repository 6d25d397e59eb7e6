/* quirk: in what an upstream that speaks the OpenAI wire differs, as data.
 *
 * A quirk list is a const array that ends with QUIRK_END.  Each is carried out
 * by wire_openai_request as a byte edit on a top-level field. */
#ifndef LYSS_LLM_QUIRK_H
#define LYSS_LLM_QUIRK_H

/* X(FIELD, name): top-level request fields that are looked at or can be edited. */
#define OPENAI_FIELDS(X)                                                                           \
    X(MODEL, "model")                                                                              \
    X(STREAM, "stream")                                                                            \
    X(STREAM_OPTIONS, "stream_options")                                                            \
    X(MESSAGES, "messages")                                                                        \
    X(INPUT, "input")                                                                              \
    X(PROMPT, "prompt")                                                                            \
    X(INSTRUCTIONS, "instructions")                                                                \
    X(TOOLS, "tools")                                                                              \
    X(FUNCTIONS, "functions")                                                                      \
    X(TOOL_CHOICE, "tool_choice")                                                                  \
    X(RESPONSE_FORMAT, "response_format")                                                          \
    X(TEXT, "text")                                                                                \
    X(N, "n")                                                                                      \
    X(MAX_TOKENS, "max_tokens")                                                                    \
    X(MAX_COMPLETION_TOKENS, "max_completion_tokens")                                              \
    X(MAX_OUTPUT_TOKENS, "max_output_tokens")                                                      \
    X(REASONING_EFFORT, "reasoning_effort")                                                        \
    X(REASONING, "reasoning")                                                                      \
    X(THINKING, "thinking")                                                                        \
    X(PREVIOUS_RESPONSE_ID, "previous_response_id")                                                \
    X(CONVERSATION, "conversation")                                                                \
    X(SYSTEM, "system")                                                                            \
    X(CONTENTS, "contents")                                                                        \
    X(CONTENT, "content")                                                                          \
    X(REQUESTS, "requests")                                                                        \
    X(SYSTEM_INSTRUCTION, "systemInstruction")                                                     \
    X(GENERATION_CONFIG, "generationConfig")                                                       \
    X(PROMPT_CACHE_KEY, "prompt_cache_key")                                                        \
    X(USER, "user")                                                                                \
    X(METADATA, "metadata")

enum openai_field {
#define X(field, name) FIELD_##field,
    OPENAI_FIELDS(X)
#undef X
        FIELD_COUNT
};

enum quirk_kind {
    QUIRK_END,
    QUIRK_RENAME,          /* field becomes `to`; goes away where `to` is there too */
    QUIRK_DROP,            /* field goes away, with a receipt */
    QUIRK_NO_JSON_SCHEMA,  /* response_format json_schema becomes json_object, with a receipt */
    QUIRK_FORCED_NO_THINK, /* a forced tool_choice turns thinking off, with a receipt if the caller
                              had asked for thinking */
    QUIRK_LOST_NO_THINK,   /* so does a call in the history that has lost its thought */
};

struct quirk {
    enum quirk_kind kind;
    enum openai_field field;
    enum openai_field to; /* RENAME */
};

/* For channels whose server knows only max_tokens. */
extern const struct quirk quirks_max_tokens_only[];

const char *openai_field_name(enum openai_field f);

#endif
