/* fuzz_chat_request: any bytes as a request in the form of chat completions, out in every other. */
#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_request(&codec_chat, data, size);
    return 0;
}
