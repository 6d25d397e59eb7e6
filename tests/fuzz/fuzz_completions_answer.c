/* fuzz_completions_answer: any bytes as an answer in the form of completions, out in every other.
 * Lines are events, the first one a whole answer too. */
#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_answer(&codec_completions, data, size);
    return 0;
}
