/* cmd_check: lyss check: settings with where they come from, the data directory, the schema, the
 * key. Changes nothing. */
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/group.h"
#include "cli/help.h"
#include "cli/print.h"
#include "llm/model_catalogue.h"
#include "ops/column.h"
#include "store/vault_key.h"

struct check {
    struct args args;
    struct config config;
    struct err_info *info;
    const char *data, *schema, *key, *models; /* what was found, for people and programs */
};

static enum err check_schema(struct check *k)
{
    struct sql *db = NULL;
    struct vault *vault = NULL;
    size_t from = 0;
    enum err e = ops_open_db(&k->config, &db, k->info);
    if (!e)
        e = migrate_plan(db, &migrations_lyss, &from, k->info);
    if (!e && from < migrations_lyss.n) {
        k->schema = "steps to come: lyss migrate --plan lists them";
        k->key = "not checked before the schema is up to date";
    } else if (!e) {
        k->schema = "up to date";
        e = ops_open_vault(&k->config, db, &vault, k->info);
        k->key = "fits the database";
    }
    if (vault)
        vault_close(&vault);
    if (db)
        sql_close(&db);
    return e;
}

static enum err check_models(struct check *k)
{
    char path[4096];
    struct model_catalogue *c = NULL;
    str_copy(path, sizeof path, k->config.models_file);
    k->models = path[0] ? "built in, with models_file laid over" : "built in";
    enum err e = path[0] ? model_catalogue_open(&c, path, k->info) : ERR_OK;
    model_catalogue_free(&c);
    return e;
}

static enum err check_all(struct check *k)
{
    char path[OPS_PATH_MAX];
    struct stat st;
    enum err e = check_models(k);
    e = e ? e : ops_path(&k->config, "lyss.db", path, k->info);
    if (e)
        return e;
    k->data = "there";
    if (stat(k->config.data_dir.p, &st)) {
        k->data = "not there yet; made at first start";
    } else {
        e = ops_data_dir(&k->config, k->info);
        if (e)
            return e;
    }
    if (!access(path, F_OK))
        return check_schema(k);
    k->schema = "no database yet; made at first start";
    k->key = "made at first start";
    uint8_t key[VAULT_KEY_BYTES];
    bool given = !secret_empty(&k->config.encryption_key);
    if (given || k->config.encryption_key_file.n) {
        e = vault_key_find(secret_expose(&k->config.encryption_key),
                           k->config.encryption_key_file.p, false, key, k->info);
        explicit_bzero(key, sizeof key);
        k->key = "good";
    }
    return e;
}

static void put_json(const struct check *k, struct buf *out)
{
    struct json_writer w;
    struct buf value;
    buf_init(&value, 1 << 20);
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_bool(&w, "ok", true);
    json_field_string(&w, "data_directory", str_c(k->data));
    json_field_string(&w, "schema", str_c(k->schema));
    json_field_string(&w, "encryption_key", str_c(k->key));
    json_field_string(&w, "models", str_c(k->models));
    json_key(&w, STR("settings"));
    json_open_array(&w);
    for (int i = 0; i < CONFIG_COUNT; i++) {
        buf_reset(&value);
        config_show(&k->config, (enum config_id)i, &value);
        json_open_object(&w);
        json_field_string(&w, "name", str_c(config_settings[i].name));
        json_field_string(&w, "value", buf_view(&value));
        json_field_string(&w, "source",
                          str_c(config_source_name((enum config_source)k->config.sources[i])));
        json_close_object(&w);
    }
    json_close_array(&w);
    json_close_object(&w);
    buf_char(out, '\n');
    buf_release(&value);
}

static void put_text(const struct check *k, struct buf *out)
{
    struct table t;
    struct buf value;
    buf_init(&value, 1 << 20);
    table_init(&t, 3);
    table_cell(&t, STR("setting"));
    table_cell(&t, STR("value"));
    table_cell(&t, STR("from"));
    for (int i = 0; i < CONFIG_COUNT; i++) {
        buf_reset(&value);
        config_show(&k->config, (enum config_id)i, &value);
        table_cell(&t, str_c(config_settings[i].name));
        table_cell(&t, buf_view(&value));
        table_cell(&t, str_c(config_source_name((enum config_source)k->config.sources[i])));
    }
    buf_release(&value);
    table_end(&t, out);
    buf_printf(out,
               "\ndata directory  %s\nschema          %s\nencryption key  %s\nmodels          %s\n",
               k->data, k->schema, k->key, k->models);
}

static void put_warnings(const struct config *c)
{
    struct str rest = buf_view(&c->warnings), line;
    while (str_split(&rest, '\n', &line))
        if (line.n)
            print_note("%.*s", STR_FMT(line));
}

int cmd_check(int argc, char **argv)
{
    struct err_info info;
    struct check k = {.info = &info};
    struct args_form form = {0};
    struct buf out;
    int status = 0;
    err_info_init(&info);
    buf_init(&out, PRINT_BYTES_MAX);
    buf_init(&k.config.warnings, 1);
    enum err e = args_parse(&k.args, &form, argc, argv, &info);
    if (!e && k.args.n_words)
        e = err_set(&info, ERR_INVALID, "check takes no words");
    if (!e && k.args.help) {
        status =
            help_command("lyss check: the settings in force and where they come from; the "
                         "data directory, schema and key\n\nUsage:\n  lyss check [flags]\n",
                         NULL, "  lyss check --config /etc/lyss.conf\n  lyss check --json\n", true);
    } else {
        if (!e)
            e = args_config(&k.args, &k.config, &info);
        if (!e) {
            put_warnings(&k.config);
            e = check_all(&k);
        }
        if (!e) {
            if (k.args.json)
                put_json(&k, &out);
            else
                put_text(&k, &out);
            e = print_out(&out, &info);
        }
        if (e)
            status = cli_failed(e, &info, NULL, "check");
    }
    buf_release(&out);
    config_release(&k.config);
    args_release(&k.args);
    return status;
}
