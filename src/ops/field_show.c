/* field_show: rows as text for people and as JSON for programs. */
#include "core/clock.h"
#include "ops/field.h"

static void show_text(const struct column *c, struct str value, struct buf *out)
{
    struct str word;
    bool first = true;
    if (c->type != COLUMN_LIST) {
        buf_str(out, value);
        return;
    }
    while (list_next(&value, &word)) {
        if (!first)
            buf_char(out, ',');
        buf_str(out, word);
        first = false;
    }
}

void field_show(const struct column *c, const void *row, struct buf *out)
{
    char iso[25];
    if (c->type == COLUMN_BLOB)
        return;
    if (column_is_text(c)) {
        show_text(c, *row_text(row, c), out);
        return;
    }
    int64_t v = *row_int(row, c);
    if (v == ROW_NULL) {
        buf_str(out, c->type == COLUMN_TIME ? STR("never") : STR("none"));
    } else if (c->type == COLUMN_BOOL) {
        buf_str(out, v ? STR("on") : STR("off"));
    } else if (c->type == COLUMN_TIME) {
        clock_iso(v, iso);
        buf_str(out, str_c(iso));
    } else {
        buf_i64(out, v);
    }
}

static void put_list(struct json_writer *w, struct str value)
{
    struct str word;
    json_open_array(w);
    while (list_next(&value, &word))
        json_put_string(w, word);
    json_close_array(w);
}

static void put_value(const struct column *c, const void *row, struct json_writer *w)
{
    json_key(w, str_c(c->name));
    if (c->type == COLUMN_LIST) {
        put_list(w, *row_text(row, c));
    } else if (c->check == CHECK_OBJECT) {
        struct str v = *row_text(row, c);
        json_put_raw(w, v.n ? v : STR("{}"));
    } else if (column_is_text(c)) {
        json_put_string(w, *row_text(row, c));
    } else if (*row_int(row, c) == ROW_NULL) {
        json_put_null(w);
    } else if (c->type == COLUMN_BOOL) {
        json_put_bool(w, *row_int(row, c) != 0);
    } else {
        json_put_i64(w, *row_int(row, c));
    }
}

void field_json_open(const struct thing *t, const void *row, struct json_writer *w)
{
    const struct row *r = row;
    json_open_object(w);
    json_field_i64(w, "id", r->id);
    if (t->of_tenant)
        json_field_i64(w, "tenant_id", r->tenant_id);
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].type != COLUMN_BLOB)
            put_value(&t->columns[i], row, w);
    json_field_i64(w, "created_ms", r->created_ms);
    json_field_i64(w, "updated_ms", r->updated_ms);
}
