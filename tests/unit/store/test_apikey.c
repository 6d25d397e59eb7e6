/* API keys: form, checksum, and a digest that equals OpenSSL's HMAC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "store/apikey.h"

static void minted_keys_are_well_formed_and_differ(void **state)
{
    char a[APIKEY_TEXT_MAX], b[APIKEY_TEXT_MAX];
    for (int i = 0; i < 200; i++) {
        apikey_mint(a);
        apikey_mint(b);
        assert_int_equal(strlen(a), 54);
        assert_memory_equal(a, "lyss_", 5);
        assert_true(apikey_form_ok(str_c(a)));
        assert_string_not_equal(a, b);
    }
}

static void every_changed_character_is_noticed(void **state)
{
    char key[APIKEY_TEXT_MAX];
    apikey_mint(key);
    for (int i = 0; i < APIKEY_CHARS; i++) {
        char was = key[i];
        key[i] = was == 'q' ? 'r' : 'q';
        assert_false(apikey_form_ok(str_c(key)));
        key[i] = was;
    }
    assert_true(apikey_form_ok(str_c(key)));
    assert_false(apikey_form_ok(str_make(key, APIKEY_CHARS - 1)));
    assert_false(apikey_form_ok(str_make(key, 5)));
    assert_false(apikey_form_ok(STR_NULL));
}

/* The checksum covers the alphabet's outsiders too: they are refused even when it fits. */
static void only_the_alphabet_is_taken(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char key[APIKEY_TEXT_MAX];
    apikey_mint(key);
    for (int i = 5; i < APIKEY_CHARS; i++)
        assert_non_null(strchr(alphabet, key[i]));
    key[20] = '+';
    assert_false(apikey_form_ok(str_c(key)));
}

static void digest_is_hmac_sha256(void **state)
{
    struct apikey_pepper pepper;
    for (unsigned i = 0; i < sizeof pepper.bytes; i++)
        pepper.bytes[i] = (uint8_t)(i * 7 + 3);
    struct apikey_hasher h;
    apikey_hasher_init(&h, &pepper);
    char text[300];
    for (size_t n = 0; n < sizeof text; n++) {
        uint8_t mine[32], theirs[32];
        unsigned len = 32;
        text[n] = (char)('a' + n % 26);
        apikey_digest(&h, str_make(text, n), mine);
        assert_non_null(HMAC(EVP_sha256(), pepper.bytes, sizeof pepper.bytes,
                             (const unsigned char *)text, n, theirs, &len));
        assert_memory_equal(mine, theirs, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minted_keys_are_well_formed_and_differ),
        cmocka_unit_test(every_changed_character_is_noticed),
        cmocka_unit_test(only_the_alphabet_is_taken),
        cmocka_unit_test(digest_is_hmac_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
