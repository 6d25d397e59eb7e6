/* apikey: the form of an API key, and its digest.
 *
 * `lyss_`, 256 random bits in base64url (43 characters), and six characters of
 * checksum, so that a mistyped or cut key is known without a look-up and a key
 * in a leak can be told from noise.  Only HMAC-SHA-256 under the server's
 * pepper is stored: a copied database does not let anyone try keys. */
#ifndef LYSS_STORE_APIKEY_H
#define LYSS_STORE_APIKEY_H

#include "core/str.h"

enum { APIKEY_CHARS = 5 + 43 + 6, APIKEY_TEXT_MAX = APIKEY_CHARS + 1, APIKEY_DIGEST_BYTES = 32 };

/* What digests are taken under; the vault lends it. */
struct apikey_pepper {
    uint8_t bytes[32];
};

/* Writes a new key and a NUL. The caller wipes it when it has been shown. */
void apikey_mint(char out[APIKEY_TEXT_MAX]);
/* Prefix, alphabet, length and checksum. Takes the same time for every key of the right length. */
bool apikey_form_ok(struct str key);

/* The two SHA-256 states that stand behind the padded pepper; a thread copies it freely. */
struct apikey_hasher {
    uint32_t inner_[28], outer_[28]; /* room for a SHA256_CTX each */
};
void apikey_hasher_init(struct apikey_hasher *h, const struct apikey_pepper *pepper);
/* HMAC-SHA-256(pepper, key): two compressions for a well-formed key, no allocation. Pure. */
void apikey_digest(const struct apikey_hasher *h, struct str key, uint8_t out[APIKEY_DIGEST_BYTES]);

#endif
