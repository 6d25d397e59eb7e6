/* responses/codec: the row of the Responses form. */
#include "llm/responses/responses.h"

const struct codec codec_responses = {
    .op = OP_RESPONSES,
    .read_request = responses_read_request,
    .write_request = responses_write_request,
    .read_reply = responses_read_reply,
    .write_reply = responses_write_reply,
    .reader_bytes = sizeof(struct responses_reader),
    .reader_init = responses_reader_init,
    .read_event = responses_read_event,
    .writer_bytes = sizeof(struct responses_writer),
    .writer_init = responses_writer_init,
    .write_event = responses_write_event,
    .writer_sequence = responses_writer_sequence,
    .writer_held = responses_writer_held,
    .writer_release = responses_writer_release,
};
