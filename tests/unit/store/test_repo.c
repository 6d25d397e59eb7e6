/* Repositories: rows come back as they went in, columns agree with the schema, and what is another
 * tenant's is not found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "core/clock.h"
#include "store/migrate.h"
#include "store/repo_channel.h"
#include "store/repo_key.h"
#include "store/repo_meta.h"
#include "store/repo_model.h"
#include "store/repo_provider.h"
#include "store/repo_route.h"
#include "store/repo_tenant.h"
#include "store/repo_user.h"

static struct sql *db;
static struct arena arena;
static struct err_info info;
static int64_t one, two; /* tenants */

#define OK(call) assert_int_equal((call), ERR_OK)

static int64_t add_tenant(const char *slug)
{
    struct tenant_row t = {.slug = str_c(slug),
                           .name = STR("n"),
                           .status = STR("active"),
                           .time_zone = STR("UTC"),
                           .unlimited = 1};
    OK(repo_tenant_add(db, TENANT_ALL, &t, &info));
    return t.row.id;
}

static int setup(void **state)
{
    arena_init(&arena, 1 << 20);
    OK(sql_open(&sql_sqlite, ":memory:", SQL_CONFIG, &db, NULL));
    OK(migrate_run(db, &migrations_lyss, NULL, &info));
    one = add_tenant("one");
    two = add_tenant("two");
    return 0;
}

static int teardown(void **state)
{
    sql_close(&db);
    arena_release(&arena);
    return 0;
}

static struct channel_row channel(const char *name)
{
    return (struct channel_row){.name = str_c(name),
                                .provider = STR("openai-compatible"),
                                .base_url = STR("http://10.0.0.1/v1"),
                                .ops = STR("chat\nembeddings"),
                                .priority = 3,
                                .weight = 70,
                                .rpm = ROW_NULL,
                                .tpm = 5,
                                .concurrency = ROW_NULL,
                                .connect_timeout_ms = ROW_NULL,
                                .ttft_timeout_ms = 9,
                                .chunk_timeout_ms = ROW_NULL,
                                .total_timeout_ms = ROW_NULL,
                                .on_disconnect = STR("drain"),
                                .drain_max_s = 4,
                                .drain_max_tokens = ROW_NULL,
                                .min_output_tps = 7,
                                .cache_marks = STR("auto"),
                                .status = STR("maintenance")};
}

static void columns_agree_with_the_schema(void **state)
{
    const struct thing *things[] = {&thing_tenant, &thing_user,    &thing_key,  &thing_provider,
                                    &thing_model,  &thing_channel, &thing_route};
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        const struct thing *t = things[i];
        size_t seen = 0;
        struct sql_stmt *s =
            sql_query(db, "SELECT name, type, \"notnull\" FROM pragma_table_info(?1)");
        sql_bind_text(s, 1, str_c(t->table));
        while (sql_next(s)) {
            const struct column *c = thing_column(t, sql_text(s, 0));
            if (!c)
                continue;
            seen++;
            const char *want = c->type == COLUMN_BLOB ? "BLOB"
                               : column_is_text(c)    ? "TEXT"
                                                      : "INTEGER";
            assert_true(str_eq(sql_text(s, 1), str_c(want)));
            assert_int_equal(sql_i64(s, 2), c->type != COLUMN_OPT && c->type != COLUMN_TIME);
        }
        OK(sql_end(s, NULL));
        assert_int_equal(seen, t->n);
    }
}

static void a_channel_comes_back_whole(void **state)
{
    struct channel_row in = channel("a"), out, *all;
    OK(repo_channel_add(db, one, &in, &info));
    OK(repo_channel_get(db, one, in.row.id, &arena, &out, &info));
    for (size_t i = 0; i < thing_channel.n; i++) {
        const struct column *c = &thing_channel.columns[i];
        if (column_is_text(c))
            assert_true(str_eq(*row_text(&in, c), *row_text(&out, c)));
        else
            assert_int_equal(*row_int(&in, c), *row_int(&out, c));
    }
    assert_int_equal(out.row.tenant_id, one);
    in.weight = 71;
    OK(repo_channel_save(db, one, &in, &info));
    OK(repo_channel_find(db, one, STR("a"), &arena, &out, &info));
    assert_int_equal(out.weight, 71);
    size_t n;
    OK(repo_channel_list(db, TENANT_ALL, &arena, &all, &n, &info));
    assert_int_equal(n, 1);
}

static void names_are_unique_in_a_tenant_and_on_the_platform(void **state)
{
    struct channel_row c = channel("a");
    OK(repo_channel_add(db, one, &c, &info));
    OK(repo_channel_add(db, two, &c, &info));
    assert_int_equal(repo_channel_add(db, one, &c, &info), ERR_EXISTS);
    OK(repo_channel_add(db, TENANT_PLATFORM, &c, &info));
    assert_int_equal(repo_channel_add(db, TENANT_PLATFORM, &c, &info), ERR_EXISTS);
}

static void parts_find_their_channel(void **state)
{
    struct channel_row rows[6], *all;
    for (int i = 0; i < 6; i++) {
        char name[2] = {(char)('a' + i), 0};
        rows[i] = channel(name);
        OK(repo_channel_add(db, i % 2 ? one : two, &rows[i], &info));
        struct channel_model models[40];
        char patterns[40][16];
        for (int m = 0; m <= i * 6; m++) {
            snprintf(patterns[m], sizeof patterns[m], "m%d-%d", i, m);
            models[m] = (struct channel_model){str_c(patterns[m]), STR("up")};
        }
        OK(repo_channel_set_models(db, i % 2 ? one : two, rows[i].row.id, models, (size_t)i * 6 + 1,
                                   &info));
        struct channel_credential cred = {
            .version = 1, .fingerprint = STR("f"), .last4 = STR("1234"), .status = STR("active")};
        OK(repo_channel_add_credential(db, i % 2 ? one : two, rows[i].row.id, &cred, &info));
        cred.sealed = STR("x\0y");
        OK(repo_channel_seal_credential(db, i % 2 ? one : two, &cred, &info));
    }
    size_t n;
    OK(repo_channel_list(db, TENANT_ALL, &arena, &all, &n, &info));
    assert_int_equal(n, 6);
    OK(repo_channel_load_parts(db, TENANT_ALL, &arena, all, n, &info));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(all[i].n_models, i * 6 + 1);
        char last[48];
        snprintf(last, sizeof last, "m%zu-%zu", i, i * 6);
        assert_true(str_eq(all[i].models[i * 6].pattern, str_c(last)));
        assert_int_equal(all[i].n_credentials, 1);
        assert_int_equal(all[i].credentials[0].sealed.n, 3);
    }
    int64_t removed;
    OK(repo_channel_remove_credentials(db, one, all[1].row.id, 0, &removed, &info));
    assert_int_equal(removed, 1);
    OK(repo_channel_remove_credentials(db, one, all[0].row.id, 0, &removed, &info));
    assert_int_equal(removed, 0); /* it is two's */
}

static void another_tenants_things_are_not_found(void **state)
{
    struct channel_row c = channel("a");
    struct user_row u = {.email = STR("a@b.c"), .role = STR("end_user"), .status = STR("active")};
    OK(repo_channel_add(db, one, &c, &info));
    OK(repo_user_add(db, one, &u, &info));
    struct key_row k = {.user_id = u.row.id,
                        .name = STR("k"),
                        .digest = STR("d"),
                        .status = STR("active"),
                        .expires_ms = ROW_NULL,
                        .last_used_ms = ROW_NULL,
                        .revoked_ms = ROW_NULL};
    OK(repo_key_add(db, one, &k, &info));
    struct route_row r = {.name = STR("m"),
                          .algorithm = STR("round_robin"),
                          .affinity = STR("none"),
                          .status = STR("active")};
    OK(repo_route_add(db, one, &r, &info));
    assert_int_equal(repo_channel_get(db, two, c.row.id, &arena, &c, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_channel_find(db, two, STR("a"), &arena, &c, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_channel_save(db, two, &c, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_channel_remove(db, two, c.row.id, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_user_get(db, two, u.row.id, &arena, &u, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_user_save(db, two, &u, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_user_remove(db, two, u.row.id, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_key_get(db, two, k.row.id, &arena, &k, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_key_revoke(db, two, k.row.id, 5, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_route_get(db, two, r.row.id, &arena, &r, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_route_remove(db, two, r.row.id, &info), ERR_NOT_FOUND);
    assert_int_equal(repo_tenant_get(db, two, one, &arena, &(struct tenant_row){0}, &info),
                     ERR_NOT_FOUND);
    struct channel_row *channels;
    size_t n;
    OK(repo_channel_list(db, two, &arena, &channels, &n, &info));
    assert_int_equal(n, 0);
}

static void only_live_keys_are_listed_live(void **state)
{
    struct user_row u = {.email = STR("a@b.c"), .role = STR("end_user"), .status = STR("active")};
    OK(repo_user_add(db, one, &u, &info));
    struct key_row k = {.user_id = u.row.id,
                        .name = STR("k"),
                        .digest = STR("1"),
                        .status = STR("active"),
                        .expires_ms = ROW_NULL,
                        .last_used_ms = ROW_NULL,
                        .revoked_ms = ROW_NULL};
    OK(repo_key_add(db, one, &k, &info));
    int64_t first = k.row.id;
    k.name = STR("late"), k.digest = STR("2"), k.expires_ms = 1000;
    OK(repo_key_add(db, one, &k, &info));
    k.name = STR("off"), k.digest = STR("3"), k.expires_ms = ROW_NULL, k.status = STR("inactive");
    OK(repo_key_add(db, one, &k, &info));
    struct key_row *rows;
    size_t n;
    OK(repo_key_list_live(db, TENANT_ALL, 999, &arena, &rows, &n, &info));
    assert_int_equal(n, 2);
    OK(repo_key_list_live(db, TENANT_ALL, 1000, &arena, &rows, &n, &info));
    assert_int_equal(n, 1);
    OK(repo_key_used(db, one, first, 50, &info));
    OK(repo_key_used(db, one, first, 40, &info)); /* not set back */
    OK(repo_key_used(db, two, first, 60, &info)); /* not another tenant's */
    OK(repo_key_used(db, one, first + 99, 60, &info));
    OK(repo_key_get(db, one, first, &arena, &k, &info));
    assert_int_equal(k.last_used_ms, 50);
    OK(repo_key_revoke(db, one, first, 7, &info));
    assert_int_equal(repo_key_revoke(db, one, first, 8, &info), ERR_NOT_FOUND);
    OK(repo_key_list_live(db, TENANT_ALL, 999, &arena, &rows, &n, &info));
    assert_int_equal(n, 1);
    k.name = STR("k"), k.digest = STR("4"), k.status = STR("active");
    OK(repo_key_add(db, one, &k, &info)); /* the name is free again */
}

static void routes_carry_candidates_and_go_with_channels(void **state)
{
    struct channel_row a = channel("a"), b = channel("b");
    OK(repo_channel_add(db, one, &a, &info));
    OK(repo_channel_add(db, one, &b, &info));
    struct route_row r = {.name = STR("m"),
                          .algorithm = STR("round_robin"),
                          .affinity = STR("none"),
                          .status = STR("active")};
    OK(repo_route_add(db, one, &r, &info));
    struct route_candidate c[] = {
        {.channel_id = b.row.id, .upstream = STR("u"), .priority = 4, .weight = ROW_NULL},
        {.channel_id = a.row.id, .priority = ROW_NULL, .weight = 8}};
    OK(repo_route_set_candidates(db, one, r.row.id, c, 2, &info));
    OK(repo_route_load_candidates(db, TENANT_ALL, &arena, &r, 1, &info));
    assert_int_equal(r.n_candidates, 2);
    assert_true(str_eq(r.candidates[0].channel, STR("b")));
    assert_int_equal(r.candidates[0].priority, 4);
    assert_true(r.candidates[0].weight == ROW_NULL);
    assert_int_equal(r.candidates[1].upstream.n, 0);
    OK(repo_channel_remove(db, one, b.row.id, &info));
    OK(repo_route_load_candidates(db, one, &arena, &r, 1, &info));
    assert_int_equal(r.n_candidates, 1);
}

static void meta_and_audit(void **state)
{
    struct str v;
    int64_t before, after;
    OK(repo_meta_get(db, "x", &arena, &v, &info));
    assert_null(v.p);
    OK(repo_meta_set(db, "x", STR("1"), &info));
    OK(repo_meta_set(db, "x", STR("2"), &info));
    OK(repo_meta_get(db, "x", &arena, &v, &info));
    assert_true(str_eq(v, STR("2")));
    OK(repo_meta_config_rev(db, &before, &info));
    OK(repo_meta_bump_config_rev(db, &info));
    OK(repo_meta_config_rev(db, &after, &info));
    assert_int_equal(after, before + 1);
    struct audit_entry e = {
        .actor = STR("cli"), .action = STR("add"), .thing = STR("x"), .thing_id = 1};
    OK(repo_audit_add(db, one, &e, &info));
    assert_int_not_equal(sql_run(sql_query(db, "DELETE FROM audit"), NULL), ERR_OK);
    assert_int_not_equal(sql_run(sql_query(db, "UPDATE audit SET actor = 'x'"), NULL), ERR_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(columns_agree_with_the_schema),
        T(a_channel_comes_back_whole),
        T(names_are_unique_in_a_tenant_and_on_the_platform),
        T(parts_find_their_channel),
        T(another_tenants_things_are_not_found),
        T(only_live_keys_are_listed_live),
        T(routes_carry_candidates_and_go_with_channels),
        T(meta_and_audit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
