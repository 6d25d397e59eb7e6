/* gemini/codec: the rows of generateContent and countTokens.
 *
 * A stream of generateContent has no terminal event: gemini/events.c says when
 * it is complete.  Gemini's callers get none either: the last event is the one
 * with the finishReason and the token counts. */
#include "llm/gemini/gemini.h"

const struct codec codec_generate = {
    .op = OP_GENERATE,
    .read_request = gemini_read_request,
    .write_request = gemini_write_request,
    .read_reply = gemini_read_reply,
    .write_reply = gemini_write_reply,
    .reader_bytes = sizeof(struct gemini_reader),
    .reader_init = gemini_reader_init,
    .read_event = gemini_read_event,
    .reader_ends = gemini_reader_ends,
    .writer_bytes = sizeof(struct gemini_writer),
    .writer_init = gemini_writer_init,
    .write_event = gemini_write_event,
    .writer_release = gemini_writer_release,
};

const struct codec codec_gemini_count = {
    .op = OP_GEMINI_COUNT,
    .read_request = gemini_read_count,
    .write_request = gemini_write_count,
    .read_reply = gemini_read_tokens,
    .write_reply = gemini_write_tokens,
};
