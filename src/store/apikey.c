/* apikey: minting, checking and digesting API keys.
 *
 * The digest is taken on every request.  OpenSSL 3's EVP_MAC spends more time
 * on fetching, allocating and copying contexts than on hashing 54 bytes, so the
 * low-level SHA256_* functions are used here, deprecated though they are: the
 * states behind the inner and the outer pad of HMAC (RFC 2104) are computed
 * once, copied by value, and each digest is then one block inside and one
 * outside.  A test compares with OpenSSL's own HMAC. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "store/apikey.h"

#include <openssl/sha.h>

#include "core/hash.h"
#include "core/rng.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const bool in_alphabet[256] = {
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['-'] = true, ['_'] = true};
static const char prefix[] = "lyss_";
enum { PREFIX = sizeof prefix - 1, BODY = 43, CHECKSUM = 6 };

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct apikey_hasher *)0)->inner_),
               "room for a state");

static void checksum_of(const char *key, char out[CHECKSUM])
{
    uint32_t crc = hash_crc32c(0, key, PREFIX + BODY);
    for (int i = 0; i < CHECKSUM; i++, crc >>= 6)
        out[i] = alphabet[crc & 63];
}

void apikey_mint(char out[APIKEY_TEXT_MAX])
{
    uint8_t raw[33];
    rng_bytes(raw, 32);
    raw[32] = 0; /* the 43rd character has 4 bits of the last byte and two of nothing */
    memcpy(out, prefix, PREFIX);
    for (int i = 0; i < BODY; i++) {
        int bit = i * 6, byte = bit / 8;
        unsigned pair = (unsigned)raw[byte] << 8 | raw[byte + 1 < 33 ? byte + 1 : 32];
        out[PREFIX + i] = alphabet[(pair >> (10 - bit % 8)) & 63];
    }
    checksum_of(out, out + PREFIX + BODY);
    out[APIKEY_CHARS] = 0;
    explicit_bzero(raw, sizeof raw);
}

bool apikey_form_ok(struct str key)
{
    if (key.n != APIKEY_CHARS || memcmp(key.p, prefix, PREFIX) != 0)
        return false;
    char want[CHECKSUM];
    checksum_of(key.p, want);
    unsigned char differs = 0;
    for (int i = 0; i < CHECKSUM; i++)
        differs |= (unsigned char)(want[i] ^ key.p[PREFIX + BODY + i]);
    for (int i = PREFIX; i < PREFIX + BODY; i++)
        differs |= !in_alphabet[(uint8_t)key.p[i]];
    return differs == 0;
}

static void start(SHA256_CTX *c, const struct apikey_pepper *pepper, uint8_t pad)
{
    uint8_t block[64];
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < sizeof pepper->bytes; i++)
        block[i] ^= pepper->bytes[i];
    SHA256_Init(c);
    SHA256_Update(c, block, sizeof block);
    explicit_bzero(block, sizeof block);
}

void apikey_hasher_init(struct apikey_hasher *h, const struct apikey_pepper *pepper)
{
    SHA256_CTX c;
    memset(h, 0, sizeof *h);
    start(&c, pepper, 0x36);
    memcpy(h->inner_, &c, sizeof c);
    start(&c, pepper, 0x5c);
    memcpy(h->outer_, &c, sizeof c);
    explicit_bzero(&c, sizeof c);
}

void apikey_digest(const struct apikey_hasher *h, struct str key, uint8_t out[APIKEY_DIGEST_BYTES])
{
    SHA256_CTX c;
    uint8_t inner[SHA256_DIGEST_LENGTH];
    memcpy(&c, h->inner_, sizeof c);
    SHA256_Update(&c, key.p, key.n);
    SHA256_Final(inner, &c);
    memcpy(&c, h->outer_, sizeof c);
    SHA256_Update(&c, inner, sizeof inner);
    SHA256_Final(out, &c);
}
