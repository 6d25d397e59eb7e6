/* vault_key: where the key-encryption key comes from: text or a file, made at first start. */
#ifndef LYSS_STORE_VAULT_KEY_H
#define LYSS_STORE_VAULT_KEY_H

#include "core/err.h"

enum { VAULT_KEY_BYTES = 32 };

/* The key given as text, or else that of the file; may_create: a missing file is made, mode 0600,
 * with a new key. ERR_NOT_FOUND: no file. ERR_INVALID: not a key. ERR_IO. Any thread. */
enum err vault_key_find(struct str text, const char *file, bool may_create,
                        uint8_t out[VAULT_KEY_BYTES], struct err_info *info) MUST_CHECK;
/* 64 hex digits, or base64 (either alphabet, padded or not) of 32 bytes; blanks around are cut. */
bool vault_key_parse(struct str text, uint8_t out[VAULT_KEY_BYTES]);
/* Exactly n bytes in hex. */
bool vault_key_hex(struct str text, uint8_t *out, size_t n);

#endif
