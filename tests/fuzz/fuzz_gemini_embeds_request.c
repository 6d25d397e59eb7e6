/* fuzz_gemini_embeds_request: any bytes as a request in the form of Gemini's embeddings, out in
 * every other. */
#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_request(&codec_gemini_embeds, data, size);
    return 0;
}
