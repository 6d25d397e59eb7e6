/* codec: the table of codecs. */
#include "llm/codec.h"

const struct codec *codec_of(enum llm_op op)
{
    static const struct codec *const table[OP_COUNT] = {0};
    return table[op];
}
