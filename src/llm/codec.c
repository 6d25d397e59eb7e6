/* codec: the table of codecs. */
#include "llm/codec.h"

const struct codec *codec_of(enum llm_op op)
{
    static const struct codec *const table[OP_COUNT] = {
        [OP_CHAT] = &codec_chat,
        [OP_COMPLETIONS] = &codec_completions,
        [OP_EMBEDDINGS] = &codec_embeddings,
        [OP_MESSAGES] = &codec_messages,
        [OP_COUNT_TOKENS] = &codec_count_tokens,
        [OP_GENERATE] = &codec_generate,
        [OP_GEMINI_COUNT] = &codec_gemini_count,
        [OP_GEMINI_EMBED] = &codec_gemini_embed,
        [OP_GEMINI_EMBEDS] = &codec_gemini_embeds,
        [OP_RESPONSES] = &codec_responses,
    };
    return table[op];
}
