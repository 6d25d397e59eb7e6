/* Changes: what is refused and in which words, what a moved channel loses, whose things are whose,
 * keys, the first start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "ops/channel.h"
#include "ops/column.h"
#include "ops/key.h"
#include "ops/moment.h"
#include "ops/provider.h"
#include "ops/route.h"
#include "ops/setup.h"
#include "ops/tenant.h"
#include "ops/user.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_tenant.h"

#define OK(call) assert_int_equal((call), ERR_OK)
#define KEY      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define URL      "http://10.0.0.1/v1"

static struct ops o;
static struct arena arena;
static struct err_info info;
static int64_t tenant, other;

static int64_t add_tenant(const char *slug)
{
    struct tenant_row t = {.slug = str_c(slug)};
    OK(ops_tenant_add(&o, &t, column_bits(&thing_tenant, "slug"), &arena, &info));
    return t.row.id;
}

static int setup(void **state)
{
    err_info_init(&info);
    arena_init(&arena, 1 << 20);
    o = (struct ops){.actor = STR("test")};
    OK(sql_open(&sql_sqlite, ":memory:", SQL_CONFIG, &o.db, &info));
    OK(migrate_run(o.db, &migrations_lyss, NULL, &info));
    OK(vault_open(&(struct vault_options){.key = STR(KEY)}, o.db, &o.vault, &info));
    tenant = add_tenant("acme");
    other = add_tenant("other");
    return 0;
}

static int teardown(void **state)
{
    ops_close(&o);
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

static int64_t revision(void)
{
    int64_t rev;
    OK(repo_meta_config_rev(o.db, &rev, &info));
    return rev;
}

static const struct channel_model any = {{"*", 1}, {"", 0}};

static struct channel_request channel(const char *name)
{
    return (struct channel_request){
        .row = {.name = str_c(name), .provider = STR("openai-compatible"), .base_url = STR(URL)},
        .set = column_bits(&thing_channel, "name provider base_url"),
        .models = &any,
        .n_models = 1,
        .set_models = true};
}

static enum err add(int64_t whose, struct channel_request c)
{
    return ops_channel_add(&o, whose, &c, &arena, &info);
}

static struct channel_row stored(const char *name)
{
    struct channel_row row;
    OK(ops_channel_find(&o, tenant, str_c(name), &arena, &row, &info));
    return row;
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
        {"rpm", "99999999999999999999", false},
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
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct channel_row row = {0};
        const struct column *c = thing_column(&thing_channel, str_c(rows[i].flag));
        err_info_init(&info);
        enum err e =
            column_parse(&thing_channel, c, str_c(rows[i].value), false, &row, &arena, &info);
        if (!e)
            e = column_check(c, &row, &info);
        if ((e == ERR_OK) != rows[i].ok)
            fail_msg("--%s '%s': %s", rows[i].flag, rows[i].value, err_name(e));
        if (e)
            assert_string_equal(info.field, c->name);
    }
}

static void other_things_values_are_checked(void **state)
{
    static const struct {
        const struct thing *t;
        const char *column, *value;
        bool ok;
    } rows[] = {{&thing_tenant, "slug", "acme-2", true},
                {&thing_tenant, "slug", "Acme", false},
                {&thing_tenant, "slug", "-acme", false},
                {&thing_tenant, "name", "M\xC3\xBCller", true},
                {&thing_tenant, "name", "a\tb", false},
                {&thing_tenant, "name", "\xC3", false},
                {&thing_tenant, "name", "\xED\xA0\x80", false},
                {&thing_tenant, "unlimited", "on", true},
                {&thing_tenant, "unlimited", "maybe", false},
                {&thing_user, "email", "a@b.example", true},
                {&thing_user, "email", "a.example", false},
                {&thing_user, "email", "a@", false},
                {&thing_user, "email", "a b@c.example", false},
                {&thing_user, "role", "auditor", true},
                {&thing_user, "role", "root", false},
                {&thing_key, "expires_ms", "never", true},
                {&thing_key, "expires_ms", "30d", true},
                {&thing_key, "expires_ms", "soon", false},
                {&thing_key, "allowed_models", "gpt-*", true},
                {&thing_key, "allowed_models", "a b", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        union {
            struct tenant_row t;
            struct user_row u;
            struct key_row k;
        } row = {0};
        const struct column *c = thing_column(rows[i].t, str_c(rows[i].column));
        enum err e = column_parse(rows[i].t, c, str_c(rows[i].value), false, &row, &arena, &info);
        if (!e)
            e = column_check(c, &row, &info);
        if ((e == ERR_OK) != rows[i].ok)
            fail_msg("%s '%s': %s", rows[i].column, rows[i].value, err_name(e));
    }
}

static void moments_are_read(void **state)
{
    int64_t t;
    assert_true(moment_parse(STR("2000-03-01"), 0, &t) && t == 951868800000);
    assert_true(moment_parse(STR("2026-11-23T12:34:56Z"), 0, &t) && t == 1795437296000);
    assert_true(moment_parse(STR("15m"), 1000, &t) && t == 901000);
    assert_false(moment_parse(STR("2026-02-29"), 0, &t));
    assert_false(moment_parse(STR("2026-13-01"), 0, &t));
    assert_false(moment_parse(STR("2026-11-23T24:00"), 0, &t));
    assert_false(moment_parse(STR("2026-11-23 12:00 CET"), 0, &t));
    assert_false(moment_parse(STR(""), 0, &t));
}

static void what_nobody_sets_by_hand_is_refused(void **state)
{
    struct provider_row p = {.name = STR("x"), .managed_by = STR("builtin")};
    assert_int_equal(
        ops_provider_add(&o, &p, column_bits(&thing_provider, "name managed_by"), &arena, &info),
        ERR_INVALID);
    struct key_row k = {.revoked_ms = ROW_NULL, .user_id = 99};
    assert_int_equal(
        row_merge(&thing_key, &(struct key_row){0}, &k, column_bits(&thing_key, "user_id"), &info),
        ERR_INVALID);
    assert_string_equal(info.field, "user_id");
}

static void models_are_checked(void **state)
{
    char long_id[258];
    memset(long_id, 'a', 257);
    long_id[257] = 0;
    const struct {
        const char *text;
        bool ok;
    } rows[] = {{"gpt-4o", true},       {"mock*", true}, {"org/model:free@2", true},
                {"gpt-4o=x/y:z", true}, {"a b", false},  {"../x", false},
                {"a=b c", false},       {"a=b*", false}, {"a=b=c", false},
                {long_id, false},       {"", false},     {"=x", false},
                {long_id + 1, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct channel_request c = channel("x");
        struct channel_model m = channel_model_parse(str_c(rows[i].text));
        c.models = &m;
        enum err e = add(tenant, c);
        if (e != (rows[i].ok ? ERR_OK : ERR_INVALID))
            fail_msg("%s: %s", rows[i].text, err_name(e));
        if (!e)
            OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    }
    struct channel_request none = channel("x");
    none.n_models = 0;
    assert_int_equal(add(tenant, none), ERR_INVALID);
    assert_string_equal(info.field, "model");
    assert_int_equal(count("SELECT count(*) FROM channels"), 0);
    assert_int_equal(count("SELECT count(*) FROM channel_models"), 0);
}

static void overrides_cannot_take_what_is_lyss_own(void **state)
{
    static const struct {
        const char *headers, *params;
        bool ok;
    } rows[] = {{"{\"X-Team\":\"a\"}", "{\"temperature\":0}", true},
                {"{\"Authorization\":\"Bearer x\"}", "", false},
                {"{\"HOST\":\"x\"}", "", false},
                {"{\"x-goog-api-key\":\"x\"}", "", false},
                {"{\"X-Team\":\"a\",\"x-team\":\"b\"}", "", false},
                {"", "{\"top_k\":null,\"a\":{\"model\":1}}", true},
                {"", "{\"a\":1,\"a\":2}", false},
                {"{\"X-A\":\"a\\r\\nB: c\"}", "", false},
                {"{\"X A\":\"a\"}", "", false},
                {"{\"X-A\":1}", "", false},
                {"", "{\"model\":\"x\"}", false},
                {"", "{\"stream\":true}", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct channel_request c = channel("x");
        c.row.header_overrides = str_c(rows[i].headers);
        c.row.param_overrides = str_c(rows[i].params);
        c.set |= column_bits(&thing_channel, "header_overrides param_overrides");
        enum err e = add(tenant, c);
        if (e != (rows[i].ok ? ERR_OK : ERR_INVALID))
            fail_msg("%zu: %s", i, err_name(e));
        if (e)
            assert_string_equal(info.field,
                                rows[i].params[0] ? "param_overrides" : "header_overrides");
        else
            OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    }
}

static void a_moved_channel_loses_its_credential(void **state)
{
    struct secret key = secret_take_copy(STR("sk-0123456789abcdef")), opened;
    struct channel_request c = channel("x"), to = {0};
    int64_t cleared;
    c.credentials = &key, c.n_credentials = 1;
    OK(add(tenant, c));
    struct channel_row row = stored("x");
    assert_int_equal(row.n_credentials, 1);
    assert_true(str_eq(row.credentials[0].last4, STR("cdef")));
    OK(vault_unseal(o.vault, o.db, tenant, row.credentials[0].id, 1, row.credentials[0].sealed,
                    &opened, &info));
    assert_true(str_eq(secret_expose(&opened), STR("sk-0123456789abcdef")));
    secret_release(&opened);

    to.set = column_bits(&thing_channel, "weight"), to.row.weight = 5;
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(stored("x").n_credentials, 1);
    to.set = column_bits(&thing_channel, "base_url"), to.row.base_url = STR(URL "/");
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(stored("x").n_credentials, 1); /* the same place */
    to.row.base_url = STR("http://10.0.0.2/v1"), to.credentials = &key, to.n_credentials = 1;
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(cleared, 0);
    assert_int_equal(stored("x").n_credentials, 1);
    to.row.base_url = STR("http://10.0.0.3/v1"), to.keep_credentials = true;
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(stored("x").n_credentials, 1); /* the new one; keeping is for the same place */
    to.row.base_url = STR("http://10.0.0.4/v1"), to.n_credentials = 0;
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(cleared, 1);
    assert_int_equal(stored("x").n_credentials, 0);
    assert_int_equal(stored("x").weight, 5);
    secret_release(&key);
}

static void a_provider_does_not_take_credentials_along(void **state)
{
    struct secret key = secret_take_copy(STR("sk-0123456789abcdef"));
    struct provider_row p = {.name = STR("mine"), .base_url = STR("https://a.example/v1")};
    OK(ops_provider_add(&o, &p, column_bits(&thing_provider, "name base_url"), &arena, &info));
    struct channel_request c = channel("x"), to = {0};
    int64_t cleared;
    c.row.provider = STR("mine"), c.row.base_url = STR("");
    c.credentials = &key, c.n_credentials = 1;
    OK(add(tenant, c));
    p.base_url = STR("https://b.example/v1");
    uint64_t url = column_bits(&thing_provider, "base_url");
    assert_int_equal(ops_provider_set(&o, STR("mine"), &p, url, &info), ERR_CONFLICT);
    assert_string_equal(info.field, "base_url");
    to.set = column_bits(&thing_channel, "provider"), to.row.provider = STR("openai");
    OK(ops_channel_set(&o, tenant, STR("x"), &to, &cleared, &info));
    assert_int_equal(cleared, 1);
    OK(ops_provider_set(&o, STR("mine"), &p, url, &info));
    secret_release(&key);
}

static void credentials_come_and_go_singly(void **state)
{
    struct secret one = secret_take_copy(STR("sk-0123456789abcd-1")),
                  two = secret_take_copy(STR("sk-0123456789abcd-2"));
    struct channel_request c = channel("x");
    c.credentials = &one, c.n_credentials = 1;
    OK(add(tenant, c));
    OK(ops_credential_add(&o, tenant, STR("x"), &two, &info));
    struct channel_row row = stored("x");
    assert_int_equal(row.n_credentials, 2);
    assert_false(str_eq(row.credentials[0].fingerprint, row.credentials[1].fingerprint));
    int64_t id = row.credentials[0].id;
    assert_int_equal(ops_credential_remove(&o, tenant, STR("x"), id + 99, &info), ERR_NOT_FOUND);
    assert_int_equal(ops_credential_remove(&o, other, STR("x"), id, &info), ERR_NOT_FOUND);
    OK(ops_credential_remove(&o, tenant, STR("x"), id, &info));
    assert_int_equal(stored("x").n_credentials, 1);
    secret_release(&one);
    secret_release(&two);
}

static void a_refused_change_leaves_nothing(void **state)
{
    struct secret bad = secret_take_copy(STR("sk\r\nX: y"));
    struct channel_request c = channel("x");
    int64_t audits = count("SELECT count(*) FROM audit"), rev = revision();
    c.credentials = &bad, c.n_credentials = 1;
    assert_int_equal(add(tenant, c), ERR_INVALID);
    assert_null(strstr(info.text, "sk"));
    c.n_credentials = 0;
    c.row.provider = STR("nobody");
    assert_int_equal(add(tenant, c), ERR_NOT_FOUND);
    c.row.provider = STR("demo");
    assert_int_equal(add(tenant, c), ERR_INVALID);
    c.row.provider = STR("openai-compatible"), c.row.base_url = STR("");
    assert_int_equal(add(tenant, c), ERR_INVALID);
    assert_string_equal(info.field, "base_url");
    c.row.base_url = STR(URL), c.row.api_version = STR("2024-10-21");
    c.set |= column_bits(&thing_channel, "api_version");
    assert_int_equal(add(tenant, c), ERR_INVALID);
    assert_string_equal(info.field, "api_version");
    assert_int_equal(revision(), rev);
    assert_int_equal(count("SELECT count(*) FROM audit"), audits);
    assert_int_equal(count("SELECT count(*) FROM channels"), 0);
    secret_release(&bad);
}

static void changes_count_up_and_are_audited_without_secrets(void **state)
{
    struct secret key = secret_take_copy(STR("sk-canary-in-the-audit"));
    struct channel_request c = channel("x");
    int64_t rev = revision();
    c.credentials = &key, c.n_credentials = 1;
    c.row.header_overrides = STR("{\"X-Pass\":\"canary\"}");
    c.set |= column_bits(&thing_channel, "header_overrides");
    OK(add(tenant, c));
    assert_int_equal(revision(), rev + 1);
    assert_int_equal(count("SELECT count(*) FROM audit WHERE thing = 'channel' AND action = 'add'"
                           " AND actor = 'test' AND after LIKE '%10.0.0.1%'"),
                     1);
    assert_int_equal(count("SELECT count(*) FROM audit WHERE before || after LIKE '%canary%'"), 0);
    assert_int_equal(add(tenant, c), ERR_EXISTS);
    OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    assert_int_equal(revision(), rev + 2);
    assert_int_equal(count("SELECT count(*) FROM channel_credentials"), 0);
    secret_release(&key);
}

static void nothing_reaches_into_another_tenant(void **state)
{
    struct channel_row row;
    struct channel_request to = {.set = column_bits(&thing_channel, "weight"), .row.weight = 5};
    struct route_candidate k = {.channel = STR("x"), .priority = ROW_NULL, .weight = ROW_NULL};
    struct route_request r = {.row.name = STR("gpt"),
                              .set = column_bits(&thing_route, "name"),
                              .candidates = &k,
                              .n_candidates = 1};
    int64_t cleared;
    OK(add(tenant, channel("x")));
    assert_int_equal(ops_channel_find(&o, other, STR("x"), &arena, &row, &info), ERR_NOT_FOUND);
    assert_int_equal(ops_channel_set(&o, other, STR("x"), &to, &cleared, &info), ERR_NOT_FOUND);
    assert_int_equal(ops_channel_remove(&o, other, STR("x"), &info), ERR_NOT_FOUND);
    assert_int_equal(ops_route_add(&o, other, &r, &arena, &info), ERR_NOT_FOUND);
    OK(ops_route_add(&o, tenant, &r, &arena, &info));
    assert_int_equal(ops_route_remove(&o, other, STR("gpt"), &info), ERR_NOT_FOUND);
    OK(add(other, channel("x"))); /* the name is free there */
    assert_int_equal(stored("x").weight, 100);
    assert_int_equal(ops_tenant_remove(&o, STR("other"), &info), ERR_CONFLICT);
}

static void an_id_is_never_given_twice(void **state)
{
    OK(ops_tenant_remove(&o, STR("other"), &info));
    assert_true(add_tenant("newcomer") > other);
    OK(add(tenant, channel("x")));
    int64_t id = stored("x").row.id;
    OK(ops_channel_remove(&o, tenant, STR("x"), &info));
    OK(add(tenant, channel("x")));
    assert_true(stored("x").row.id > id);
}

static void a_change_survives_lack_of_memory(void **state)
{
    struct secret key = secret_take_copy(STR("sk-0123456789abcdef")), opened;
    enum err e = ERR_NOMEM;
    for (uint64_t n = 1; e; n++) {
        struct channel_request c = channel("x");
        struct arena a;
        int64_t rev = revision();
        c.credentials = &key, c.n_credentials = 1;
        arena_init(&a, 1 << 20);
        mem_fail_at(n);
        e = ops_channel_add(&o, tenant, &c, &a, &info);
        mem_fail_at(0);
        arena_release(&a);
        assert_false(sql_in_transaction(o.db));
        assert_int_equal(count("SELECT count(*) FROM channels"), e ? 0 : 1);
        assert_int_equal(revision(), e ? rev : rev + 1);
        assert_true(n < 10000);
    }
    vault_close(&o.vault); /* what was sealed after so many failures opens in the next process */
    OK(vault_open(&(struct vault_options){.key = STR(KEY)}, o.db, &o.vault, &info));
    struct channel_credential k = stored("x").credentials[0];
    OK(vault_unseal(o.vault, o.db, tenant, k.id, k.version, k.sealed, &opened, &info));
    assert_true(str_eq(secret_expose(&opened), STR("sk-0123456789abcdef")));
    secret_release(&opened);
    secret_release(&key);
}

static int64_t add_user(int64_t whose, const char *email)
{
    struct user_row u = {.email = str_c(email)};
    OK(ops_user_add(&o, whose, &u, column_bits(&thing_user, "email"), &arena, &info));
    return u.row.id;
}

static bool digest_is(struct str digest, const char *text)
{
    uint8_t out[APIKEY_DIGEST_BYTES];
    struct apikey_hasher h;
    apikey_hasher_init(&h, vault_pepper(o.vault));
    apikey_digest(&h, str_c(text), out);
    return str_eq(digest, str_make((char *)out, sizeof out));
}

static void keys_are_made_rotated_and_revoked(void **state)
{
    const uint64_t set = column_bits(&thing_key, "name ping");
    struct key_row k = {.name = STR("app"), .ping = 0}, row;
    char first[APIKEY_TEXT_MAX], second[APIKEY_TEXT_MAX];
    assert_int_equal(ops_key_add(&o, tenant, STR(""), &k, set, &arena, first, &info),
                     ERR_NOT_FOUND);
    assert_string_equal(info.field, "user");
    int64_t ann = add_user(tenant, "ann@example.com");
    OK(ops_key_add(&o, tenant, STR(""), &k, set, &arena, first, &info));
    assert_true(apikey_form_ok(str_c(first)));
    OK(repo_key_find(o.db, tenant, STR("app"), &arena, &row, &info));
    assert_true(digest_is(row.digest, first));
    assert_true(row.user_id == ann && row.ping == 0);
    OK(ops_key_rotate(&o, tenant, STR("app"), &arena, &row, second, &info));
    OK(repo_key_find(o.db, tenant, STR("app"), &arena, &row, &info));
    assert_true(digest_is(row.digest, second));
    assert_true(row.user_id == ann && row.ping == 0 && row.revoked_ms == ROW_NULL);
    assert_int_equal(count("SELECT count(*) FROM api_keys WHERE revoked_ms IS NOT NULL"), 1);
    assert_int_equal(ops_key_revoke(&o, other, STR("app"), &info), ERR_NOT_FOUND);
    OK(ops_key_revoke(&o, tenant, STR("app"), &info));
    assert_int_equal(ops_key_revoke(&o, tenant, STR("app"), &info), ERR_NOT_FOUND);
    assert_int_equal(ops_user_remove(&o, tenant, STR("ann@example.com"), &info), ERR_CONFLICT);

    k = (struct key_row){.name = STR("app"), .allowed_channels = STR("nowhere")};
    uint64_t held = column_bits(&thing_key, "name allowed_channels");
    assert_int_equal(ops_key_add(&o, tenant, STR(""), &k, held, &arena, first, &info),
                     ERR_NOT_FOUND);
    assert_string_equal(first, "");
    add_user(tenant, "bob@example.com");
    assert_int_equal(ops_key_add(&o, tenant, STR(""), &k, set, &arena, first, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "ann@example.com, bob@example.com"));
}

static void routes_have_candidates(void **state)
{
    struct route_candidate k[2];
    struct route_request r = {.row.name = STR("gpt"), .set = column_bits(&thing_route, "name")};
    struct route_row row;
    OK(add(tenant, channel("x")));
    assert_int_equal(ops_route_add(&o, tenant, &r, &arena, &info), ERR_INVALID);
    r.candidates = k, r.n_candidates = 2, r.set_candidates = true;
    OK(route_candidate_parse(STR("x"), &k[0], &info));
    OK(route_candidate_parse(STR("x"), &k[1], &info));
    assert_int_equal(ops_route_add(&o, tenant, &r, &arena, &info), ERR_INVALID); /* twice */
    OK(route_candidate_parse(STR("x=up,priority=5,weight=9"), &k[1], &info));
    k[0].weight = 1001;
    assert_int_equal(ops_route_add(&o, tenant, &r, &arena, &info), ERR_INVALID);
    assert_int_equal(count("SELECT count(*) FROM routes"), 0);
    k[0].weight = ROW_NULL;
    OK(ops_route_add(&o, tenant, &r, &arena, &info));
    OK(ops_route_find(&o, tenant, STR("gpt"), &arena, &row, &info));
    assert_int_equal(row.n_candidates, 2);
    assert_true(str_eq(row.candidates[1].upstream, STR("up")));
    assert_int_equal(row.candidates[1].priority, 5);
    assert_int_equal(row.candidates[1].weight, 9);
    for (size_t i = 0; i < 4; i++) {
        const char *const bad[] = {"x,weight=0", "x,weight=1001", "x,priority=101", "x,hue=3"};
        assert_int_equal(route_candidate_parse(str_c(bad[i]), &k[0], &info), ERR_INVALID);
    }
}

static void providers_behave_like_a_known_kind(void **state)
{
    const uint64_t set = column_bits(&thing_provider, "name kind");
    struct provider_row p = {.name = STR("mine"), .kind = STR("teapot")};
    assert_int_equal(ops_provider_add(&o, &p, set, &arena, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "openai-compatible"));
    p.kind = STR("demo");
    assert_int_equal(ops_provider_add(&o, &p, set, &arena, &info), ERR_INVALID);
    p.kind = STR("deepseek");
    OK(ops_provider_add(&o, &p, set, &arena, &info));
    OK(ops_provider_remove(&o, STR("mine"), &info));
    assert_int_equal(ops_provider_remove(&o, STR("openai"), &info), ERR_CONFLICT);
    p.base_url = STR("http://10.0.0.9");
    assert_int_equal(
        ops_provider_set(&o, STR("openai"), &p, column_bits(&thing_provider, "base_url"), &info),
        ERR_CONFLICT);
    p.status = STR("inactive");
    OK(ops_provider_set(&o, STR("openai"), &p, column_bits(&thing_provider, "status"), &info));
}

static void the_setup_token_works_once(void **state)
{
    char one[SETUP_TOKEN_MAX], two[SETUP_TOKEN_MAX];
    OK(ops_setup_token(&o, one, &info));
    assert_int_equal(strlen(one), 43);
    OK(ops_setup_token(&o, two, &info));
    assert_int_equal(ops_setup_use(&o, str_c(one), &info), ERR_UNAUTHORIZED);
    assert_int_equal(count("SELECT count(*) FROM meta WHERE length(value) = 43"), 0);
    OK(ops_setup_use(&o, str_c(two), &info));
    assert_int_equal(ops_setup_use(&o, str_c(two), &info), ERR_UNAUTHORIZED);
    OK(ops_setup_token(&o, one, &info));
    assert_string_equal(one, "");
}

static void dev_replaces_its_key(void **state)
{
    char one[APIKEY_TEXT_MAX], two[APIKEY_TEXT_MAX];
    struct tenant_row t;
    struct key_row k;
    OK(ops_dev_prepare(&o, one, &info));
    OK(ops_dev_prepare(&o, two, &info));
    assert_string_not_equal(one, two);
    OK(repo_tenant_find(o.db, TENANT_ALL, STR("demo"), &arena, &t, &info));
    assert_int_equal(t.unlimited, 1);
    OK(repo_key_find(o.db, t.row.id, STR("demo"), &arena, &k, &info));
    assert_true(digest_is(k.digest, two));
    assert_int_equal(count("SELECT count(*) FROM users"), 1);
    assert_int_equal(count("SELECT count(*) FROM api_keys"), 2);
    assert_int_equal(count("SELECT count(*) FROM api_keys WHERE revoked_ms IS NULL"), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_are_checked_and_named),
        T(other_things_values_are_checked),
        T(moments_are_read),
        T(what_nobody_sets_by_hand_is_refused),
        T(models_are_checked),
        T(overrides_cannot_take_what_is_lyss_own),
        T(a_moved_channel_loses_its_credential),
        T(a_provider_does_not_take_credentials_along),
        T(credentials_come_and_go_singly),
        T(a_refused_change_leaves_nothing),
        T(changes_count_up_and_are_audited_without_secrets),
        T(nothing_reaches_into_another_tenant),
        T(an_id_is_never_given_twice),
        T(a_change_survives_lack_of_memory),
        T(keys_are_made_rotated_and_revoked),
        T(routes_have_candidates),
        T(providers_behave_like_a_known_kind),
        T(the_setup_token_works_once),
        T(dev_replaces_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
