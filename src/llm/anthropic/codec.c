/* codec: the rows of the Messages form and of its token count. */
#include "llm/anthropic/anthropic.h"

const struct codec codec_messages = {
    .op = OP_MESSAGES,
    .read_request = anthropic_read_request,
    .write_request = anthropic_write_request,
    .read_reply = anthropic_read_reply,
    .write_reply = anthropic_write_reply,
    .reader_bytes = sizeof(struct anthropic_reader),
    .reader_init = anthropic_reader_init,
    .read_event = anthropic_read_event,
    .reader_release = anthropic_reader_release,
    .writer_bytes = sizeof(struct anthropic_writer),
    .writer_init = anthropic_writer_init,
    .write_event = anthropic_write_event,
    .writer_release = anthropic_writer_release,
};

const struct codec codec_count_tokens = {
    .op = OP_COUNT_TOKENS,
    .read_request = anthropic_read_count,
    .write_request = anthropic_write_count,
    .read_reply = anthropic_read_count_reply,
    .write_reply = anthropic_write_count_reply,
};
