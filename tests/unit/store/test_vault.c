/* The vault: what is sealed opens in its own place only, and a wrong key is refused untouched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/aead.h"
#include "store/migrate.h"
#include "store/vault.h"
#include "store/vault_key.h"

#define OK(call) assert_int_equal((call), ERR_OK)
#define KEY_A    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B    "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct sql *db;
static struct vault *vault;
static struct arena arena;
static struct err_info info;
static char dir[64], file[96];

static int setup(void **state)
{
    arena_init(&arena, 1 << 16);
    snprintf(dir, sizeof dir, "/tmp/lyss-vault-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/encryption.key", dir);
    OK(sql_open(&sql_sqlite, ":memory:", SQL_CONFIG, &db, NULL));
    OK(migrate_run(db, &migrations_lyss, NULL, &info));
    return 0;
}

static int teardown(void **state)
{
    vault_close(&vault);
    sql_close(&db);
    arena_release(&arena);
    unlink(file);
    rmdir(dir);
    return 0;
}

static enum err open_with(const char *key)
{
    vault_close(&vault);
    return vault_open(&(struct vault_options){.key = str_c(key), .key_file = file}, db, &vault,
                      &info);
}

static void a_credential_opens_in_its_place_only(void **state)
{
    struct str plain = STR("sk-upstream-secret"), sealed;
    struct secret out;
    OK(open_with(KEY_A));
    OK(vault_seal(vault, db, 1, 10, 1, plain, &arena, &sealed, &info));
    assert_int_equal(str_find(sealed, plain), -1);
    OK(vault_unseal(vault, db, 1, 10, 1, sealed, &out, &info));
    assert_true(str_eq(secret_expose(&out), plain));
    secret_release(&out);
    struct str other;
    OK(vault_seal(vault, db, 2, 10, 1, plain, &arena, &other, &info)); /* tenant 2 has a key too */
    static const int64_t wrong[][3] = {{2, 10, 1}, {1, 11, 1}, {1, 10, 2}, {1, 1, 10}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(
            vault_unseal(vault, db, wrong[i][0], wrong[i][1], wrong[i][2], sealed, &out, &info),
            ERR_CORRUPT);
        assert_true(secret_empty(&out));
    }
}

static void every_changed_byte_is_noticed(void **state)
{
    struct str sealed;
    struct secret out;
    OK(open_with(KEY_A));
    OK(vault_seal(vault, db, 1, 10, 1, STR("secret"), &arena, &sealed, &info));
    char *p = (char *)(uintptr_t)sealed.p;
    for (size_t i = 0; i < sealed.n; i++) {
        p[i] ^= 1;
        assert_int_equal(vault_unseal(vault, db, 1, 10, 1, sealed, &out, &info), ERR_CORRUPT);
        p[i] ^= 1;
        assert_int_equal(vault_unseal(vault, db, 1, 10, 1, str_make(p, i), &out, &info),
                         ERR_CORRUPT);
    }
    OK(vault_unseal(vault, db, 1, 10, 1, sealed, &out, &info));
    secret_release(&out);
}

static void it_opens_again_after_a_restart(void **state)
{
    struct str sealed;
    struct secret out;
    struct apikey_pepper pepper;
    OK(open_with(KEY_A));
    pepper = *vault_pepper(vault);
    OK(vault_seal(vault, db, 0, 10, 1, STR(""), &arena, &sealed, &info));
    OK(open_with(KEY_A));
    assert_memory_equal(&pepper, vault_pepper(vault), sizeof pepper);
    OK(vault_unseal(vault, db, 0, 10, 1, sealed, &out, &info));
    assert_true(secret_empty(&out));
    secret_release(&out);
}

static int64_t changes_in_all(void)
{
    struct sql_stmt *s = sql_query(db, "SELECT total_changes()");
    int64_t n = sql_next(s) ? sql_i64(s, 0) : -1;
    OK(sql_end(s, NULL));
    return n;
}

static void a_wrong_key_is_refused_and_changes_nothing(void **state)
{
    OK(open_with(KEY_A));
    int64_t before = changes_in_all();
    assert_int_equal(open_with(KEY_B), ERR_KEY_MISMATCH);
    assert_null(vault);
    assert_int_equal(open_with("too short"), ERR_INVALID);
    /* No key given and no file: one must not be made over a database that has another. */
    assert_int_equal(open_with(""), ERR_KEY_MISMATCH);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(changes_in_all(), before);
    OK(open_with(KEY_A));
}

static void a_data_key_that_was_rolled_back_is_forgotten(void **state)
{
    struct str sealed;
    struct secret out;
    OK(open_with(KEY_A));
    OK(sql_begin(db, SQL_WRITE, &info));
    OK(vault_seal(vault, db, 1, 10, 1, STR("lost"), &arena, &sealed, &info));
    OK(vault_unseal(vault, db, 1, 10, 1, sealed, &out, &info));
    secret_release(&out);
    sql_rollback(db);
    OK(vault_seal(vault, db, 1, 11, 1, STR("kept"), &arena, &sealed, &info));
    OK(open_with(KEY_A));
    OK(vault_unseal(vault, db, 1, 11, 1, sealed, &out, &info));
    assert_true(str_eq(secret_expose(&out), STR("kept")));
    secret_release(&out);
}

static void the_key_file_is_made_once_and_private(void **state)
{
    struct stat st;
    OK(open_with(""));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    OK(open_with(""));
    assert_int_equal(unlink(file), 0);
    assert_int_equal(open_with(""), ERR_KEY_MISMATCH);
}

static void a_named_file_is_never_made(void **state)
{
    struct vault_options o = {.key_file = file, .key_file_required = true};
    assert_int_equal(vault_open(&o, db, &vault, &info), ERR_NOT_FOUND);
    assert_int_equal(access(file, F_OK), -1);
}

static void keys_are_read_in_hex_and_base64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {KEY_A, true},
        {" " KEY_A "\n", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9", false}, /* bits behind the end */
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh", false},
        {KEY_A "00", false},
        {"", false},
    };
    uint8_t want[32], got[32];
    for (int i = 0; i < 32; i++)
        want[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(vault_key_parse(str_c(rows[i].text), got), rows[i].ok);
        if (rows[i].ok)
            assert_memory_equal(want, got, 32);
    }
}

/* The derivation is stable, and its outputs are apart by purpose. */
static void derived_keys_differ_by_purpose(void **state)
{
    uint8_t key[32] = {1}, a[16], b[16], again[16];
    OK(aead_derive(key, "one", a, 16));
    OK(aead_derive(key, "two", b, 16));
    OK(aead_derive(key, "one", again, 16));
    assert_memory_equal(a, again, 16);
    assert_memory_not_equal(a, b, 16);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_credential_opens_in_its_place_only),
        T(every_changed_byte_is_noticed),
        T(it_opens_again_after_a_restart),
        T(a_wrong_key_is_refused_and_changes_nothing),
        T(a_data_key_that_was_rolled_back_is_forgotten),
        T(the_key_file_is_made_once_and_private),
        T(a_named_file_is_never_made),
        cmocka_unit_test(keys_are_read_in_hex_and_base64),
        cmocka_unit_test(derived_keys_differ_by_purpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
