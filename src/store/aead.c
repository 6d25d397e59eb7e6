/* aead: the two primitives that the vault is built from, on OpenSSL's EVP. */
#include "store/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "core/rng.h"

enum { FORMAT = 1, NONCE = 12, TAG = 16 };

enum err aead_seal(const uint8_t key[AEAD_KEY_BYTES], struct str aad, struct str plain,
                   uint8_t *out)
{
    int n = 0;
    uint8_t *nonce = out + 1, *text = nonce + NONCE, *tag = text + plain.n;
    out[0] = FORMAT;
    rng_bytes(nonce, NONCE);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
              EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1 &&
              EVP_EncryptUpdate(c, text, &n, (const uint8_t *)plain.p, (int)plain.n) == 1 &&
              EVP_EncryptFinal_ex(c, text + n, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err aead_open(const uint8_t key[AEAD_KEY_BYTES], struct str aad, struct str sealed,
                   uint8_t *out)
{
    if (sealed.n < AEAD_OVERHEAD || sealed.p[0] != FORMAT)
        return ERR_CORRUPT;
    int n = 0;
    size_t plain = sealed.n - AEAD_OVERHEAD;
    const uint8_t *nonce = (const uint8_t *)sealed.p + 1, *text = nonce + NONCE;
    uint8_t tag[TAG];
    memcpy(tag, text + plain, TAG);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!c || EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) != 1) {
        EVP_CIPHER_CTX_free(c);
        return ERR_NOMEM;
    }
    bool ok = EVP_DecryptUpdate(c, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1 &&
              EVP_DecryptUpdate(c, out, &n, text, (int)plain) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
              EVP_DecryptFinal_ex(c, out + n, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!ok)
        explicit_bzero(out, plain); /* nothing unauthentic leaves */
    return ok ? ERR_OK : ERR_CORRUPT;
}

enum err aead_derive(const uint8_t key[AEAD_KEY_BYTES], const char *purpose, uint8_t *out, size_t n)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key,
                                          AEAD_KEY_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)purpose,
                                          strlen(purpose)),
        OSSL_PARAM_construct_end()};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = c && EVP_KDF_derive(c, out, n, params) == 1;
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
    return ok ? ERR_OK : ERR_NOMEM;
}
