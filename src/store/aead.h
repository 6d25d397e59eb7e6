/* aead: AES-256-GCM over one block of bytes, and HKDF-SHA-256. Pure; any thread.
 *
 * A sealed text is: format byte 1, nonce (12), ciphertext, tag (16).  Nonces are
 * random: a data key seals far fewer than 2^32 texts. */
#ifndef LYSS_STORE_AEAD_H
#define LYSS_STORE_AEAD_H

#include "core/err.h"

enum { AEAD_KEY_BYTES = 32, AEAD_OVERHEAD = 1 + 12 + 16 };

/* out has room for plain.n + AEAD_OVERHEAD. */
enum err aead_seal(const uint8_t key[AEAD_KEY_BYTES], struct str aad, struct str plain,
                   uint8_t *out) MUST_CHECK;
/* out has room for sealed.n - AEAD_OVERHEAD. ERR_CORRUPT: too short, or not authentic. */
enum err aead_open(const uint8_t key[AEAD_KEY_BYTES], struct str aad, struct str sealed,
                   uint8_t *out) MUST_CHECK;
/* HKDF (RFC 5869) without salt. */
enum err aead_derive(const uint8_t key[AEAD_KEY_BYTES], const char *purpose, uint8_t *out,
                     size_t n) MUST_CHECK;

#endif
