/* codec: the forms of this folder as codecs. */
#include "llm/openai/openai.h"

const struct codec codec_chat = {
    .op = OP_CHAT,
    .read_request = chat_read_request,
    .write_request = chat_write_request,
    .read_reply = chat_read_reply,
    .write_reply = chat_write_reply,
    .reader_bytes = sizeof(struct chat_reader),
    .reader_init = chat_reader_init,
    .read_event = chat_read_event,
    .writer_bytes = sizeof(struct chat_writer),
    .writer_init = chat_writer_init,
    .write_event = chat_write_event,
};

const struct codec codec_completions = {
    .op = OP_COMPLETIONS,
    .read_request = completions_read_request,
    .write_request = completions_write_request,
    .read_reply = completions_read_reply,
    .write_reply = completions_write_reply,
    .reader_bytes = sizeof(struct chat_reader),
    .reader_init = completions_reader_init,
    .read_event = chat_read_event,
    .writer_bytes = sizeof(struct chat_writer),
    .writer_init = completions_writer_init,
    .write_event = chat_write_event,
};

const struct codec codec_embeddings = {
    .op = OP_EMBEDDINGS,
    .read_request = embeddings_read_request,
    .write_request = embeddings_write_request,
    .read_reply = embeddings_read_reply,
    .write_reply = embeddings_write_reply,
};
