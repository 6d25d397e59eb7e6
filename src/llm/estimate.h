/* estimate: how many tokens a text will be, before or without a tokenizer's word for it.
 *
 * Bytes of text ÷ 3.3, each Han or kana character one token, 85 to 1 500 an
 * image.  Only sums are kept, so pieces can be added as they pass.  Plain data,
 * no allocation, any thread. */
#ifndef LYSS_LLM_ESTIMATE_H
#define LYSS_LLM_ESTIMATE_H

#include "core/json_read.h"

struct estimate {
    uint64_t bytes;  /* of text, Han and kana apart */
    uint64_t tokens; /* counted one by one: Han, kana, images, token ids */
};

/* Adds plain UTF-8 text. */
void estimate_add_text(struct estimate *e, struct str utf8);
/* Adds a string of a parsed text; escapes of the form \uXXXX count as what they stand for, others
 * as they are written. */
void estimate_add_string(struct estimate *e, const struct json_doc *d, uint32_t i);
/* Adds everything a value holds that a model reads: strings and keys, images in data URLs, arrays
 * of token ids. *images, if not NULL, grows by the images seen. */
void estimate_add_value(struct estimate *e, const struct json_doc *d, uint32_t i, unsigned *images);
uint32_t estimate_tokens(const struct estimate *e);

#endif
