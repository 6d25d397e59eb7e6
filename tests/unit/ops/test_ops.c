/* Changes: what is refused and in which words, what a moved channel loses, keys, the first start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops/channel.h"
#include "ops/field.h"
#include "ops/key.h"
#include "ops/provider.h"
#include "ops/route.h"
#include "ops/setup.h"
#include "ops/tenant.h"
#include "ops/user.h"
#include "store/migrate.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_route.h"
#include "store/repo_tenant.h"

#define OK(call) assert_int_equal((call), ERR_OK)
#define KEY      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct ops o;
static struct arena arena;
static struct err_info info;
static int64_t tenant;

static int setup(void **state)
{
    struct tenant_row t = {0};
    arena_init(&arena, 1 << 20);
    o = (struct ops){.arena = &arena, .actor = STR("test")};
    OK(sql_open(&sql_sqlite, ":memory:", SQL_CONFIG, &o.db, NULL));
    OK(migrate_run(o.db, &migrations_lyss, NULL, &info));
    OK(vault_open(&(struct vault_options){.key = STR(KEY)}, o.db, &o.vault, &info));
    OK(field_defaults(&thing_tenant, &t, &arena, &info));
    t.slug = STR("acme");
    OK(ops_tenant_add(&o, TENANT_ALL, &t, &info));
    tenant = t.row.id;
    return 0;
}

static int teardown(void **state)
{
    vault_close(&o.vault);
    sql_close(&o.db);
    arena_release(&arena);
    return 0;
}

static int64_t count(const char *literal)
{
    struct sql_stmt *s = sql_query(o.db, literal);
    int64_t n = sql_next(s) ? sql_i64(s, 0) : -1;
    OK(sql_end(s, NULL));
    return n;
}

static struct channel_change channel(const char *name)
{
    struct channel_change c = {0};
    OK(field_defaults(&thing_channel, &c.row, &arena, &info));
    c.row.name = str_c(name);
    c.row.provider = STR("openai-compatible");
    c.row.base_url = STR("http://10.0.0.1/v1");
    return c;
}

static uint64_t bit(const struct thing *t, const char *flag)
{
    return 1ull << (thing_column(t, str_c(flag)) - t->columns);
}

static void values_are_checked_and_named(void **state)
{
    static const struct {
        const char *flag, *value;
        bool ok;
    } rows[] = {
        {"base-url", "https://api.example.com/v1", true},
        {"base-url", "http://127.0.0.1:8080", true},
        {"base-url", "", true},
        {"base-url", "ftp://x/", false},
        {"base-url", "http://u:p@x/", false},
        {"base-url", "http://x/?a=1", false},
        {"base-url", "http://x/?", false},
        {"base-url", "http://x/#f", false},
        {"base-url", "x.example.com", false},
        {"priority", "0", true},
        {"priority", "100", true},
        {"priority", "101", false},
        {"priority", "-1", false},
        {"weight", "0", false},
        {"weight", "1000", true},
        {"weight", "many", false},
        {"rpm", "none", true},
        {"rpm", "0", false},
        {"status", "maintenance", true},
        {"status", "off", false},
        {"on-disconnect", "drain", true},
        {"on-disconnect", "", false},
        {"op", "embeddings", true},
        {"op", "everything", false},
        {"name", "a b", false},
        {"name", "", false},
        {"param-overrides", "{\"a\": 1}", true},
        {"param-overrides", "[1]", false},
        {"param-overrides", "{", false},
        {"param-overrides", "", true},
    };
    struct channel_change c = channel("x");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        info = (struct err_info){0};
        enum err e = field_set(thing_column(&thing_channel, str_c(rows[i].flag)), &c.row,
                               str_c(rows[i].value), false, &arena, &info);
        if ((e == ERR_OK) != rows[i].ok)
            fail_msg("--%s '%s': %s", rows[i].flag, rows[i].value, err_name(e));
        if (e) {
            assert_string_equal(info.field, rows[i].flag);
            assert_non_null(strstr(info.text, rows[i].flag));
        }
    }
}

static void model_ids_are_checked(void **state)
{
    char long_id[258];
    memset(long_id, 'a', 257);
    long_id[257] = 0;
    const struct {
        const char *pattern;
        bool ok;
    } rows[] = {{"gpt-4o", true}, {"mock*", true},     {"org/model:free@2", true},
                {"a b", false},   {"a?b", false},      {"../x", false},
                {long_id, false}, {long_id + 1, true}, {"", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct channel_change c = channel("x");
        struct channel_model m = {str_c(rows[i].pattern), STR("")};
        c.models = &m, c.n_models = 1, c.models_given = true;
        enum err e = ops_channel_add(&o, tenant, &c, &info);
        assert_int_equal(e, rows[i].ok ? ERR_OK : ERR_INVALID);
        if (!e)
            OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    }
    assert_int_equal(count("SELECT count(*) FROM channels"), 0);
}

static struct channel_row stored(const char *name)
{
    struct channel_row row;
    OK(repo_channel_find(o.db, tenant, str_c(name), &arena, &row, &info));
    OK(repo_channel_load_parts(o.db, tenant, &arena, &row, 1, &info));
    return row;
}

static void a_moved_channel_loses_its_credential(void **state)
{
    struct secret key = secret_take_copy(STR("sk-0123456789abcdef")), opened;
    struct channel_change c = channel("x"), url = {0}, same = {0}, weight = {0}, both = {0};
    c.credentials = &key, c.n_credentials = 1;
    OK(ops_channel_add(&o, tenant, &c, &info));
    struct channel_row row = stored("x");
    assert_int_equal(row.n_credentials, 1);
    assert_true(str_eq(row.credentials[0].last4, STR("cdef")));
    OK(vault_unseal(o.vault, o.db, tenant, row.credentials[0].id, 1, row.credentials[0].sealed,
                    &opened, &info));
    assert_true(str_eq(secret_expose(&opened), STR("sk-0123456789abcdef")));
    secret_release(&opened);

    int64_t cleared;
    weight.given = bit(&thing_channel, "weight"), weight.row.weight = 5;
    OK(ops_channel_set(&o, tenant, STR("x"), &weight, &cleared, &info));
    assert_int_equal(stored("x").n_credentials, 1);
    same.given = bit(&thing_channel, "base-url"), same.row.base_url = STR("http://10.0.0.1/v1");
    OK(ops_channel_set(&o, tenant, STR("x"), &same, &cleared, &info));
    assert_int_equal(stored("x").n_credentials, 1);
    both.given = same.given, both.row.base_url = STR("http://10.0.0.2/v1");
    both.credentials = &key, both.n_credentials = 1;
    OK(ops_channel_set(&o, tenant, STR("x"), &both, &cleared, &info));
    assert_int_equal(cleared, 0);
    assert_int_equal(stored("x").n_credentials, 1);
    url.given = same.given, url.row.base_url = STR("http://10.0.0.3/v1");
    OK(ops_channel_set(&o, tenant, STR("x"), &url, &cleared, &info));
    assert_int_equal(cleared, 1);
    assert_int_equal(stored("x").n_credentials, 0);
    assert_int_equal(stored("x").weight, 5);
    secret_release(&key);
}

static void a_refused_change_leaves_nothing(void **state)
{
    struct secret bad = secret_take_copy(STR("sk\r\nX: y"));
    struct channel_change c = channel("x");
    int64_t audits = count("SELECT count(*) FROM audit"), before, after;
    OK(repo_meta_config_rev(o.db, &before, &info));
    c.credentials = &bad, c.n_credentials = 1;
    assert_int_equal(ops_channel_add(&o, tenant, &c, &info), ERR_INVALID);
    assert_null(strstr(info.text, "sk"));
    c.n_credentials = 0;
    c.row.provider = STR("nobody");
    assert_int_equal(ops_channel_add(&o, tenant, &c, &info), ERR_NOT_FOUND);
    c.row.provider = STR("openai-compatible"), c.row.base_url = STR("");
    assert_int_equal(ops_channel_add(&o, tenant, &c, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "--base-url"));
    OK(repo_meta_config_rev(o.db, &after, &info));
    assert_int_equal(before, after);
    assert_int_equal(count("SELECT count(*) FROM audit"), audits);
    assert_int_equal(count("SELECT count(*) FROM channels"), 0);
    secret_release(&bad);
}

static void changes_count_up_and_are_audited_without_secrets(void **state)
{
    struct secret key = secret_take_copy(STR("sk-canary-in-the-audit"));
    struct channel_change c = channel("x");
    int64_t before, after;
    OK(repo_meta_config_rev(o.db, &before, &info));
    c.credentials = &key, c.n_credentials = 1;
    OK(ops_channel_add(&o, tenant, &c, &info));
    OK(repo_meta_config_rev(o.db, &after, &info));
    assert_int_equal(after, before + 1);
    assert_int_equal(count("SELECT count(*) FROM audit WHERE thing = 'channel' AND action = 'add'"
                           " AND actor = 'test' AND after LIKE '%10.0.0.1%'"),
                     1);
    assert_int_equal(count("SELECT count(*) FROM audit WHERE before || after LIKE '%canary%'"), 0);
    assert_int_equal(ops_channel_add(&o, tenant, &c, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "lyss channel set"));
    assert_int_equal(ops_channel_remove(&o, tenant + 1, STR("x"), &info), ERR_NOT_FOUND);
    OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    secret_release(&key);
}

static void keys_are_made_rotated_and_revoked(void **state)
{
    struct key_row k = {0}, row;
    struct user_row u = {0};
    char first[APIKEY_TEXT_MAX], second[APIKEY_TEXT_MAX];
    OK(field_defaults(&thing_key, &k, &arena, &info));
    k.name = STR("app");
    assert_int_equal(ops_key_add(&o, tenant, STR(""), &k, first, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "lyss user add"));
    OK(field_defaults(&thing_user, &u, &arena, &info));
    u.email = STR("ada@example.com");
    OK(ops_user_add(&o, tenant, &u, &info));
    OK(ops_key_add(&o, tenant, STR(""), &k, first, &info));
    assert_true(apikey_form_ok(str_c(first)));
    uint8_t digest[32];
    struct apikey_hasher h;
    apikey_hasher_init(&h, vault_pepper(o.vault));
    apikey_digest(&h, str_c(first), digest);
    OK(repo_key_find(o.db, tenant, STR("app"), &arena, &row, &info));
    assert_true(str_eq(row.digest, str_make((char *)digest, 32)));
    OK(ops_key_rotate(&o, tenant, STR("app"), second, &info));
    OK(repo_key_find(o.db, tenant, STR("app"), &arena, &row, &info));
    assert_false(str_eq(row.digest, str_make((char *)digest, 32)));
    OK(ops_key_revoke(&o, tenant, STR("app"), &info));
    assert_int_equal(ops_key_revoke(&o, tenant, STR("app"), &info), ERR_NOT_FOUND);
    assert_int_equal(ops_user_remove(&o, tenant, STR("ada@example.com"), &info), ERR_CONFLICT);
}

static void routes_name_channels_of_their_tenant(void **state)
{
    struct channel_change c = channel("x");
    struct route_change r = {0};
    struct route_candidate cand = {
        .channel = STR("nobody"), .priority = ROW_NULL, .weight = ROW_NULL};
    OK(ops_channel_add(&o, tenant, &c, &info));
    OK(field_defaults(&thing_route, &r.row, &arena, &info));
    r.row.name = STR("gpt");
    assert_int_equal(ops_route_add(&o, tenant, &r, &info), ERR_INVALID);
    r.candidates = &cand, r.n_candidates = 1;
    assert_int_equal(ops_route_add(&o, tenant, &r, &info), ERR_NOT_FOUND);
    assert_int_equal(count("SELECT count(*) FROM routes"), 0);
    cand.channel = STR("x"), cand.weight = 1001;
    assert_int_equal(ops_route_add(&o, tenant, &r, &info), ERR_INVALID);
    cand.weight = 9;
    OK(ops_route_add(&o, tenant, &r, &info));
    OK(repo_route_load_candidates(o.db, tenant, &arena, &r.row, 1, &info));
    assert_int_equal(r.row.candidates[0].weight, 9);
}

static void providers_behave_like_a_known_kind(void **state)
{
    struct provider_row p = {0};
    OK(field_defaults(&thing_provider, &p, &arena, &info));
    p.name = STR("mine"), p.kind = STR("teapot");
    assert_int_equal(ops_provider_add(&o, TENANT_PLATFORM, &p, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "openai-compatible"));
    p.kind = STR("deepseek");
    OK(ops_provider_add(&o, TENANT_PLATFORM, &p, &info));
    OK(ops_provider_remove(&o, TENANT_PLATFORM, STR("mine"), &info));
    assert_int_equal(ops_provider_remove(&o, TENANT_PLATFORM, STR("openai"), &info), ERR_CONFLICT);
}

static void the_setup_token_works_once(void **state)
{
    char one[SETUP_TOKEN_MAX], two[SETUP_TOKEN_MAX];
    OK(ops_setup_token_mint(&o, one, &info));
    assert_int_equal(strlen(one), 64);
    OK(ops_setup_token_mint(&o, two, &info));
    assert_int_equal(ops_setup_token_use(&o, str_c(one), &info), ERR_UNAUTHORIZED);
    OK(ops_setup_token_use(&o, str_c(two), &info));
    assert_int_equal(ops_setup_token_use(&o, str_c(two), &info), ERR_UNAUTHORIZED);
    assert_int_equal(ops_setup_token_use(&o, STR("used"), &info), ERR_UNAUTHORIZED);
    OK(ops_setup_token_mint(&o, one, &info));
    assert_string_equal(one, "");
}

static void dev_replaces_its_key(void **state)
{
    char one[APIKEY_TEXT_MAX], two[APIKEY_TEXT_MAX];
    struct tenant_row t;
    OK(ops_dev_prepare(&o, one, &info));
    OK(ops_dev_prepare(&o, two, &info));
    assert_string_not_equal(one, two);
    OK(repo_tenant_find(o.db, TENANT_ALL, STR("demo"), &arena, &t, &info));
    assert_int_equal(t.unlimited, 1);
    assert_int_equal(count("SELECT count(*) FROM api_keys"), 2);
    assert_int_equal(count("SELECT count(*) FROM api_keys WHERE revoked_ms IS NULL"), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_are_checked_and_named),
        T(model_ids_are_checked),
        T(a_moved_channel_loses_its_credential),
        T(a_refused_change_leaves_nothing),
        T(changes_count_up_and_are_audited_without_secrets),
        T(keys_are_made_rotated_and_revoked),
        T(routes_name_channels_of_their_tenant),
        T(providers_behave_like_a_known_kind),
        T(the_setup_token_works_once),
        T(dev_replaces_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
